"""SIGTERM, the notice that a machine is about to be taken away."""

from __future__ import annotations

import signal
import sys
import threading
import types
from collections.abc import Callable
from typing import Any


class TerminationNotice:
    """Turns SIGTERM into something that is looked at between two batches.

    Args:
        is_running: Function of a stack frame: whether what shall be stopped in order is under way. When it is not,
            such as after an error that left the notice in place, the signal does what it did before.
    """

    def __init__(self, is_running: Callable[[types.FrameType | None], bool]):
        self.is_running = is_running
        self.received = False
        self._previous: Any = None

    def watch(self) -> None:
        """Begin to listen, where Python can: in the main thread, when the signal is not ignored."""
        self.release()  # what ended with an error did not
        self.received = False
        previous = signal.getsignal(signal.SIGTERM)
        in_main_thread = threading.current_thread() is threading.main_thread()
        # None: set by a library in C, which Python cannot put back.
        if in_main_thread and previous not in (None, signal.SIG_IGN):
            self._previous = previous
            signal.signal(signal.SIGTERM, self._take_note)

    def release(self) -> None:
        """Put the handler back that was there before."""
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
            self._previous = None

    def exit(self) -> None:
        """End the program in order, after the handler that was there before.

        Raises:
            SystemExit: With status 143, as a shell reports a process that SIGTERM ended.
        """
        previous = self._previous
        self.release()
        if callable(previous):
            previous(signal.SIGTERM, sys._getframe())
        raise SystemExit(128 + signal.SIGTERM)

    def _take_note(self, number: int, frame: types.FrameType | None) -> None:
        if self.is_running(frame):
            self.received = True
        else:
            self.release()
            signal.raise_signal(number)
