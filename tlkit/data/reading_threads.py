"""What readers for `tf.numpy_function` share: threads, memory, and an end while TensorFlow still reads ahead."""

from __future__ import annotations

import atexit
import functools
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import numpy as np

Given = ParamSpec("Given")
Item = TypeVar("Item")
Result = TypeVar("Result")

_ALIGNMENT = 64  # bytes: what TensorFlow is built with, for the widest registers (AVX-512); narrower ones fit as well
_THREADS = ThreadPoolExecutor(os.cpu_count())
_CALLS: list[None] = []  # one for each call of a reader that has not returned; lists append and pop in one step
_BEGUN = [0]  # how many calls there were
_QUIET = 10  # hundredths of a second without a call before Python may exit: one that enters or leaves is in no list


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`function` of every item, in order, on all cores, where it lets Python's lock go, as Pillow's decoding does."""
    try:
        return _THREADS.map(function, items)
    except RuntimeError:  # the program is about to end; TensorFlow says nothing when the data seem to, too
        raise StopIteration from None


def reader(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Mark what `tf.numpy_function` calls: Python does not exit in the middle of it.

    A data set that is read ahead may be in such a call when the program ends, after Ctrl-C in `fit` for instance.
    Python would never give the call its lock again, and TensorFlow wait for ever for the call.
    """

    @functools.wraps(function)
    def read(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        _CALLS.append(None)
        _BEGUN[0] += 1
        try:
            return function(*args, **kwargs)
        finally:
            _CALLS.pop()

    return read


def floats_for_tensorflow(shape: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """An array that is not yet written, and that TensorFlow takes from a reader as it is.

    It copies those that do not begin at a multiple of 64 bytes, as NumPy's seldom do. That is a third of what batches
    cost whose pixels are in memory.
    """
    num_bytes = 4 * math.prod(shape)
    buffer = np.empty(num_bytes + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + num_bytes].view(np.float32).reshape(shape)


@atexit.register  # runs after the threads were ended, so that new calls of `in_threads` return at once
def _let_calls_return() -> None:
    begun, quiet = _BEGUN[0], 0
    while begun and quiet < _QUIET:
        time.sleep(0.01)
        quiet = 0 if _CALLS or _BEGUN[0] != begun else quiet + 1
        begun = _BEGUN[0]
