"""Features on disk, in shards that survive a kill, a damaged file and a second writer."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import shutil
import time
import uuid
import warnings
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from tlkit.errors import UserError

PRECISIONS: dict[str, Any] = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32}
DESCRIPTION = "description.json"

_SHARD_BYTES = 64 * 2**20  # small enough to be written in a second, large enough that a folder holds few files
_SHARD_ROWS = 1024  # what a kill can cost: half a minute of a MobileNetV2 at 224 px on two cores
_ABANDONED = 3600  # seconds after which a half-written file is nobody's: a shard takes less than a minute


class FeatureStore:
    """One array of rows in a folder, in shards of at most 64 MiB.

    A shard is a `.npy` file with its number and its CRC-32 as its name. It is written under another name and then
    renamed, so that it is there whole or not at all, and two processes that write the same one do not harm each other.

    Args:
        folder: Path. One for each store; made with the first shard.
        num_rows: Int. How many rows it holds when it is complete.
        row_shape: Tuple of ints, the shape of a row.
        precision: "float16", "bfloat16" or "float32": how numbers are kept.
        made_of: Dict of what the rows depend on, for `description.json`.

    Raises:
        UserError: When the precision is unknown, the folder cannot be made, or it holds other rows.

    Example:
        >>> from tlkit.features import FeatureStore
        >>> store = FeatureStore("features/demo", num_rows=3, row_shape=(2,), precision="float32")
        >>> store.missing()
        [0]
        >>> store.write(0, np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
        >>> store.read([2, 0]).tolist()
        [[5.0, 6.0], [1.0, 2.0]]
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        num_rows: int,
        row_shape: Sequence[int],
        precision: str = "float16",
        made_of: Mapping[str, Any] | None = None,
    ):
        check_precision("FeatureStore", precision)
        self.folder = pathlib.Path(folder)
        self.num_rows = num_rows
        self.row_shape = tuple(int(n) for n in row_shape)
        self.precision = precision
        self.dtype = np.dtype(PRECISIONS[precision])
        self.row_bytes = int(np.prod(self.row_shape, dtype=np.int64)) * self.dtype.itemsize
        self.shard_rows = max(1, min(_SHARD_ROWS, _SHARD_BYTES // max(self.row_bytes, 1)))
        self._paths: dict[int, pathlib.Path] = {}
        self._arrays: dict[int, np.ndarray] = {}
        self.made_of = dict(made_of or {})
        self._look_at_folder()

    @property
    def num_shards(self) -> int:
        return -(-self.num_rows // self.shard_rows)

    @property
    def num_bytes(self) -> int:
        """What the complete store takes on disk, headers aside."""
        return self.num_rows * self.row_bytes

    def rows_of(self, shard: int) -> range:
        """The numbers of the rows in a shard."""
        return range(shard * self.shard_rows, min((shard + 1) * self.shard_rows, self.num_rows))

    def missing(self) -> list[int]:
        """The shards that are not there, after a look at the checksum of every one that is; damaged ones are deleted.

        Warns: Of each damaged shard, in one sentence.
        """
        self._remove_abandoned()
        self._arrays.clear()
        found: dict[int, list[pathlib.Path]] = {}
        for path in sorted(self.folder.glob("*-*.npy")):
            number = path.name.partition("-")[0]
            if number.isdecimal():
                found.setdefault(int(number), []).append(path)
        known, self._paths = self._paths, {}
        for shard in range(self.num_shards):
            for path in found.get(shard, []):
                # What this object has looked at or written is not read again.
                if shard not in self._paths and (path == known.get(shard) or self._is_sound(shard, path)):
                    self._paths[shard] = path
        return [shard for shard in range(self.num_shards) if shard not in self._paths]

    def write(self, shard: int, rows: np.ndarray) -> None:
        """Write the rows of a shard.

        Raises:
            UserError: When a number does not fit the precision, or the disk is full. What was complete stays.
        """
        stored = self._stored(np.asarray(rows))
        path = self.folder / f"{shard:05d}-{zlib.crc32(stored.data):08x}.npy"
        temporary = self.folder / f".{shard:05d}-{uuid.uuid4().hex}.tmp"
        try:
            self._describe()
            with temporary.open("wb") as file:
                np.save(file, stored)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise self.no_room(error) from None
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._paths[shard] = path

    def read(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """The rows of these numbers, `(len(numbers), *row_shape)`, in the store's precision."""
        numbers = np.asarray(numbers)
        rows = np.empty((len(numbers), *self.row_shape), self.dtype)
        shards = numbers // self.shard_rows
        for shard in np.unique(shards):
            chosen = np.flatnonzero(shards == shard)
            rows[chosen] = self._array(int(shard))[numbers[chosen] - shard * self.shard_rows]
        return rows

    def _array(self, shard: int) -> np.ndarray:
        if shard not in self._arrays:
            try:
                array = np.load(self._paths[shard], mmap_mode="r")
            except (KeyError, OSError):
                raise UserError(
                    f"FeatureStore: shard {shard} is not in '{self.folder}'. Expected it to stay while it is read. "
                    f"Start again: only what is missing is computed."
                ) from None
            self._arrays[shard] = array.view(self.dtype)
        return self._arrays[shard]

    def _stored(self, rows: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(rows.astype(self.dtype))
        lost = np.isfinite(rows) & ~np.isfinite(stored.astype(np.float32))
        if lost.any():
            largest = np.abs(np.where(np.isfinite(rows), rows, 0)).max()
            raise UserError(
                f"FeatureStore: features of up to {largest:.3g} do not fit float16, which ends at 65504. Expected "
                f"smaller ones. Use precision='bfloat16' or 'float32'."
            )
        return stored.view(np.uint16) if self.precision == "bfloat16" else stored  # .npy knows no bfloat16

    def _is_sound(self, shard: int, path: pathlib.Path) -> bool:
        file_dtype = np.dtype(np.uint16) if self.precision == "bfloat16" else self.dtype
        try:
            array = np.load(path, mmap_mode="r")
            if array.shape == (len(self.rows_of(shard)), *self.row_shape) and array.dtype == file_dtype:
                if f"{zlib.crc32(np.ascontiguousarray(array).data):08x}" == path.stem.partition("-")[2]:
                    return True
        except FileNotFoundError:  # another process tidied up
            return False
        except (ValueError, OSError, EOFError):
            pass
        path.unlink(missing_ok=True)
        warnings.warn(
            f"FeatureStore: shard {shard} of '{self.folder}' was damaged and is computed again.", stacklevel=3
        )
        return False

    def _remove_abandoned(self) -> None:
        for path in self.folder.glob(".*.tmp"):
            try:
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()
            except OSError:  # another process was faster
                pass

    def no_room(self, error: OSError) -> UserError:
        """What to say of a disk that took no more."""
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return UserError(
                f"FeatureStore: '{self.folder}' cannot be written to ({error.strerror or error}). Expected a folder "
                f"to keep features in. Give another `folder`, or set TLKIT_CACHE_DIR."
            )
        missing = sum(len(self.rows_of(shard)) for shard in range(self.num_shards) if shard not in self._paths)
        free = shutil.disk_usage(self.folder.parent).free
        return UserError(
            f"FeatureStore: the disk of '{self.folder}' is full. Expected room for {size(missing * self.row_bytes)} "
            f"more; {size(free)} are free. What is complete is kept: make room and start again, or set "
            f"TLKIT_CACHE_DIR to a folder on another disk."
        )

    def _look_at_folder(self) -> None:
        """Make the folder above, and see whether this one holds what is expected; it comes with the first shard."""
        path = self.folder / DESCRIPTION
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_file():
                return
            os.utime(path)  # when it was last used
            there = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise self.no_room(error) from None
        except ValueError:
            there = {}
        kept = self._kept
        if any(there.get(name) != value for name, value in kept.items()):
            raise UserError(
                f"FeatureStore: '{self.folder}' holds other features. Expected {kept}. Received: "
                f"{ {name: there.get(name) for name in kept} }. Give another folder, or delete this one."
            )

    @property
    def _kept(self) -> dict[str, Any]:
        return {"rows": self.num_rows, "row_shape": list(self.row_shape), "precision": self.precision}

    def _describe(self) -> None:
        self.folder.mkdir(exist_ok=True)
        if not (self.folder / DESCRIPTION).is_file():
            text = json.dumps({**self._kept, "made_of": self.made_of}, indent=2, ensure_ascii=False, default=repr)
            temporary = self.folder / f".{uuid.uuid4().hex}.tmp"
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, self.folder / DESCRIPTION)


def check_precision(caller: str, precision: str) -> None:
    """Raise when there is no such precision."""
    if precision not in PRECISIONS:
        raise UserError(
            f"{caller}: `precision` is unknown. Expected one of {', '.join(map(repr, PRECISIONS))}. Received: "
            f"precision={precision!r}."
        )


def size(num_bytes: float) -> str:
    """A number of bytes in words.

    Example:
        >>> from tlkit.features.feature_store import size
        >>> size(2_560), size(3.1e9)
        ('2.56 kB', '3.1 GB')
    """
    for unit in ("B", "kB", "MB"):
        if num_bytes < 999.5:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.3g} GB" if num_bytes < 999.5 else f"{num_bytes:,.0f} GB"
