"""A look at every text before anything is trained: what is there, and what will go wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tlkit.data.inspection.class_counts import Things, find_in_counts
from tlkit.data.inspection.finding import Finding, worst_first
from tlkit.data.inspection.printing import progress_bar
from tlkit.data.split_image_folder import checked_shares
from tlkit.data.stable_cut import PARTS
from tlkit.data.texts.cut_rows import count_by_part
from tlkit.data.texts.listing import list_texts
from tlkit.data.texts.scan import Scan, scan_rows
from tlkit.data.texts.split_texts import settle_problems, split_scan
from tlkit.data.texts.text_findings import Inspected, Looks, find_cut
from tlkit.data.texts.text_report import TextReport
from tlkit.errors import UserError

# Warnings of `split_texts` that inspection words itself, with the lines.
_WORDED_HERE = ("the same text in several", "or in spaces count as different", "not judged there")


def inspect_texts(
    source: str | Path,
    *,
    text_column: str = "text",
    label_column: str = "label",
    split: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    sequence_length: int | None = None,
    progress: bool = False,
) -> TextReport:
    """Look at all texts of a table or folder, and report what to mend before training on them.

    Counted are classes, and lengths in characters and words. Found are rows that cannot be used (no text, no label, a
    wrong number of cells, a wrong encoding), the same text with several labels, in several given parts or several
    times, classes with few texts or names that look alike, labels with stray spaces, texts that were encoded twice or
    hold HTML, and files that are left out.

    What is found raises nothing. The source is read once, and memory grows by about 60 bytes a row, whatever the length
    of the texts. The report lists at most a thousand lines of each finding, and counts all.

    Args:
        source: A file or folder, as `split_texts` takes it.
        text_column: The column of the texts.
        label_column: The column of their classes.
        split: As training will split.
        seed: The same.
        sequence_length: Words that the network will see of a text: longer ones are counted. A network's own pieces are
            shorter than words, so that it cuts a little earlier.
        progress: Show a progress bar on standard error.

    Raises:
        UserError: When there is nothing to inspect, because the source is not laid out as expected.

    Example:
        >>> report = inspect_texts("messages.csv", sequence_length=8)
        >>> report.num_texts, report.lengths["words"], report.num_cut
        (40, {'median': 7, '95 %': 9, 'longest': 9}, 20)
        >>> for finding in report.findings:
        ...     print(finding.severity, finding.sentence.partition(":")[0])
        warning 20 texts have more than 8 words
    """
    shares = checked_shares(split)
    looks = Looks()
    with warnings.catch_warnings(record=True) as caught, progress_bar(progress) as follow:
        warnings.simplefilter("always")
        listed = list_texts(Path(source), text_column=text_column, label_column=label_column)
        size = sum(each.file.state[0] for each in listed.sources)
        advance = _in_percent(follow("Reading texts (%)", 100), size)
        scan = scan_rows(listed, with_lengths=True, look=looks.at, advance=advance)
        try:
            splits = split_scan(Path(source), scan, shares, seed)
        except UserError:
            settle_problems(scan, "error")  # the reason why so little is there
            raise
    parts = np.empty(len(scan), np.uint8)
    for number, rows in enumerate(splits[:3]):
        parts[rows.numbers] = number
    counts = count_by_part(scan.labels, parts, len(scan.class_names))
    classes = {
        name: dict(zip(PARTS, row, strict=True)) for name, row in zip(scan.class_names, counts.tolist(), strict=True)
    }
    totals = {part: len(rows) for part, rows in zip(PARTS, splits[:3], strict=True)}
    lengths = _lengths(scan)
    num_cut = (
        0 if sequence_length is None or scan.lengths is None else int((scan.lengths[:, 1] > sequence_length).sum())
    )
    said = [str(warning.message) for warning in caught]
    findings = [Finding("warning", text) for text in said if not any(words in text for words in _WORDED_HERE)]
    findings += Inspected(scan, parts, looks).find_in_texts()
    findings += find_in_counts(classes, totals, Things("texts", "text", "texts"))
    findings += find_cut(num_cut, len(scan), sequence_length)
    return TextReport(
        source=str(source),
        text_column=text_column,
        label_column=label_column,
        split=shares,
        seed=seed,
        parts=totals,
        classes=classes,
        num_unusable=len(scan.problems),
        lengths=lengths,
        sequence_length=sequence_length,
        num_cut=num_cut,
        findings=worst_first(findings),
    )


def _in_percent(advance: Callable[[int], None], size: int) -> Callable[[int], None]:
    """Bytes, as they are read, to whole percents."""
    read, told = 0, 0

    def add(num_bytes: int) -> None:
        nonlocal read, told
        read += num_bytes
        percent = 100 * read // max(size, 1)
        if percent > told:
            advance(percent - told)
            told = percent

    return add


def _lengths(scan: Scan) -> dict[str, dict[str, int]]:
    if scan.lengths is None:
        return {}
    found = {}
    for name, numbers in zip(("characters", "words"), scan.lengths.T, strict=True):
        median, most, longest = np.quantile(numbers, [0.5, 0.95, 1.0], method="inverted_cdf").tolist()
        found[name] = {"median": int(median), "95 %": int(most), "longest": int(longest)}
    return found
