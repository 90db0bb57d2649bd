"""The texts of one part: read from the disk when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tlkit.data.texts.scan import Scan


class TextRows:
    """The rows of one part, in the order of the files: where each text is, and the number of its class.

    Args:
        scan: What a pass over the source has found.
        numbers: Of the rows that belong to the part.
    """

    def __init__(self, scan: Scan, numbers: NDArray[np.uint32]) -> None:
        self.scan = scan
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __repr__(self) -> str:
        return f"<{len(self):,} texts>"

    @property
    def labels(self) -> NDArray[np.int32]:
        """Class numbers; -1 where they are not known."""
        return self.scan.labels[self.numbers]

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """64 bits for each text, equal for texts that differ only in upper and lower case and in spaces."""
        return self.scan.hashes[self.numbers]

    def read(self, numbers: Sequence[int] | NDArray[np.int64] | None = None) -> list[str]:
        """Texts by their number in this part; all of them when none are given."""
        scan = self.scan
        rows = self.numbers if numbers is None else self.numbers[np.asarray(numbers, np.int64)]
        files = scan.files_of(rows)
        texts = [""] * len(rows)
        # By place in the file, so that a disk reads forward.
        order = np.lexsort((scan.offsets[rows], files))
        for file in np.unique(files).tolist():
            source = scan.listed.sources[file]
            with source.file.path.open("rb") as opened:
                source.file.check_unchanged(opened.fileno())
                for place in order[files[order] == file].tolist():
                    opened.seek(scan.offsets[rows[place]])
                    texts[place] = source.text_of(opened.read(int(scan.sizes[rows[place]])))
        return texts

    def places(self, numbers: Sequence[int]) -> list[str]:
        """Where texts are, by their number in this part: "messages.csv, line 12", or "order/0012.txt"."""
        return self.scan.places([int(self.numbers[number]) for number in numbers])
