"""Several runs in one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tlkit.errors import printable
from tlkit.report import story
from tlkit.report.numbers import class_table, headline, judged_on, other_numbers
from tlkit.report.run_folder import Run, is_number
from tlkit.report.transfer_gain import gain_between

_ABSENT = "–"
_CLASS_SCORES = ("F1", "AP50", "average precision")


class Row(NamedTuple):
    """One thing, and what it is in each run; `best` are the places of the best ones."""

    name: str
    cells: list[str]
    best: tuple[int, ...] = ()


class Comparison(NamedTuple):
    """Rows of results, of the settings that differ, and of classes; sentences that hold for the runs together."""

    results: list[Row]
    settings: list[Row]
    classes: list[Row]
    class_score: str
    sentences: list[str]


def compare(runs: Sequence[Run]) -> Comparison:
    """Put what is known of each into rows."""
    classes, name = _classes(runs)
    return Comparison(_results(runs), _settings(runs), classes, name, _sentences(runs))


def _results(runs: Sequence[Run]) -> list[Row]:
    scores = [headline(run.judged) for run in runs]
    before = [headline(run.without_training) for run in runs]
    rows = [Row("without training", [each.text if each else _ABSENT for each in before])] if any(before) else []
    for name in dict.fromkeys(score.name for score in scores if score is not None):
        chosen = [score if score is not None and score.name == name else None for score in scores]
        best = max(score.value for score in chosen if score is not None)
        places = tuple(place for place, score in enumerate(chosen) if score is not None and score.value == best)
        rows.append(Row(name, [score.text if score else _ABSENT for score in chosen], places if len(runs) > 1 else ()))
        if any(score.interval_text for score in chosen if score):
            rows.append(Row("95 % interval", [score.interval_text if score else _ABSENT for score in chosen]))
    rows.append(Row("judged on", [judged_on(run) if run.judged else "not judged" for run in runs]))
    others = [dict(other_numbers(run)) for run in runs]
    for name in dict.fromkeys(name for each in others for name in each):
        rows.append(Row(name, [each.get(name, _ABSENT) for each in others]))
    rows.append(Row("epochs", [str(run.epochs) if run.epochs else _ABSENT for run in runs]))
    rows.append(Row("kept", [f"epoch {run.kept_epoch}" if run.kept_epoch else _ABSENT for run in runs]))
    seconds = [run.record.get("seconds") for run in runs]
    rows.append(Row("time", [story.duration(each) if is_number(each) else _ABSENT for each in seconds]))
    rows.append(Row("device", [printable(run.record.get("device", _ABSENT)) for run in runs]))
    return rows


def _settings(runs: Sequence[Run]) -> list[Row]:
    """The settings in which the runs differ, and what their data were."""
    names = dict.fromkeys(name for run in runs for name in run.config)
    rows = []
    for name in names:
        values = [run.config.get(name, _ABSENT) for run in runs]
        if any(value != values[0] for value in values):
            rows.append(Row(printable(name), [printable(story.shown_setting(value)) for value in values]))
    data = [run.data for run in runs]
    for part in dict.fromkeys(part for each in data for part in each):
        values = [each.get(part, _ABSENT) for each in data]
        if any(value != values[0] for value in values):
            rows.append(Row(f"data, {printable(part)}", [printable(value) for value in values]))
    return rows


def _classes(runs: Sequence[Run]) -> tuple[list[Row], str]:
    """One score for each class, where all runs have it."""
    tables = [class_table(run) for run in runs]
    score = next((name for name in _CLASS_SCORES if all(name in columns for columns, _ in tables)), "")
    if not score:
        return [], ""
    found: list[dict[str, Any]] = [{row[0]: row[columns.index(score)] for row in rows} for columns, rows in tables]
    names = dict.fromkeys(name for each in found for name in each)
    return [Row(name, [each.get(name, _ABSENT) for each in found]) for name in names], score


def _sentences(runs: Sequence[Run]) -> list[str]:
    """What two of them say together, and what makes them hard to compare."""
    by_weights: dict[str, Run] = {}
    for run in runs:
        by_weights.setdefault(str(run.config.get("weights")), run)
    sentences = []
    pretrained, random = by_weights.get("pretrained"), by_weights.get("random")
    if pretrained and random and _judged_alike(pretrained, random):
        sentence = gain_between(pretrained, random).sentence
        differ = {row.name for row in _settings([pretrained, random])} - {"weights"}
        if differ:
            sentence = sentence.replace(", by the same schedule", f", which also differ in {', '.join(sorted(differ))}")
        sentences.append(sentence)
    data = [run.data for run in runs if run.data]
    if any(each != data[0] for each in data):
        sentences.append("Their data are not the same, so the numbers can be compared only with care.")
    if len({run.part for run in runs if run.judged}) > 1:
        sentences.append("Some were judged on test data, others on validation data, by which their epoch was chosen.")
    return [sentence for sentence in sentences if sentence]


def _judged_alike(one: Run, other: Run) -> bool:
    scores = headline(one.judged), headline(other.judged)
    return one.part == other.part and None not in scores and len({score.key for score in scores if score}) == 1
