"""The numbers of a run, as a person reads them."""

from __future__ import annotations

from typing import Any, NamedTuple

from tlkit.report.run_folder import Run, is_number

_SCORES = {  # the number that counts -> its name, whether it is shown in percent
    "accuracy": ("accuracy", True),
    "mean_average_precision": ("mean average precision", True),
    "map50": ("mAP50", False),
}
_OTHERS = {
    "balanced_accuracy": ("balanced accuracy", True),
    "macro_f1": ("macro F1", True),
    "micro_f1": ("micro F1", True),
    "exact_match": ("exact match", True),
    "map": ("mAP, COCO's mean", False),
    "map75": ("mAP75", False),
    "log_loss": ("log loss", False),
}
_OF_CLASSES = {
    "recall": ("recall", True),
    "precision": ("precision", True),
    "f1": ("F1", True),
    "average_precision": ("average precision", True),
    "ap50": ("AP50", False),
    "ap": ("AP", False),
    "num_examples": ("examples", None),
    "num_positives": ("examples", None),
    "num_boxes": ("boxes", None),
}
_WORST_BY = ("f1", "ap50", "recall")


class Score(NamedTuple):
    """One number with its interval, where it has one."""

    key: str
    name: str
    value: float
    interval: tuple[float, float] | None
    is_share: bool

    @property
    def text(self) -> str:
        return shown(self.value, self.is_share)

    @property
    def interval_text(self) -> str:
        if self.interval is None:
            return ""
        low, high = self.interval
        return f"{100 * low:.1f} to {shown(high, True)}" if self.is_share else f"{low:.3f} to {high:.3f}"


def headline(numbers: dict[str, Any]) -> Score | None:
    """The number that counts, of one part; None where the numbers are of a kind that is not known."""
    for key, (name, is_share) in _SCORES.items():
        if is_number(numbers.get(key)):
            given = numbers.get(f"{key}_interval")
            known = isinstance(given, list) and len(given) == 2 and all(map(is_number, given))
            return Score(key, name, numbers[key], (given[0], given[1]) if known and given else None, is_share)
    return None


def other_numbers(run: Run) -> list[tuple[str, str]]:
    """Those beside it: name and value."""
    found = [
        (name, shown(run.judged[key], is_share))
        for key, (name, is_share) in _OTHERS.items()
        if is_number(run.judged.get(key))
    ]
    for part in ("validation", "target"):
        score = headline(run.metrics.get(part, {}))
        if score is not None and part != run.part:
            found.append((f"{score.name}, {part}", score.text))
    return found


def judged_on(run: Run) -> str:
    """What the number stands on, such as "300 test images"."""
    thing = {"text classifier": "texts", "": "examples"}.get(run.kind, "images")
    numbers = run.judged
    if is_number(numbers.get("num_boxes")):
        return f"{numbers['num_boxes']:,} boxes in {numbers.get('num_images', 0):,} {run.part} images"
    return f"{numbers['num_examples']:,} {run.part} {thing}" if is_number(numbers.get("num_examples")) else run.part


def class_table(run: Run) -> tuple[list[str], list[list[str]]]:
    """Column names and one row a class, the worst first."""
    found = run.judged.get("per_class")
    rows = {str(k): v for k, v in found.items() if isinstance(v, dict)} if isinstance(found, dict) else {}
    keys = [key for key in _OF_CLASSES if any(key in row for row in rows.values())]
    by = next((key for key in _WORST_BY if key in keys), None)

    def goodness(item: tuple[str, dict[str, Any]]) -> float:
        value = item[1].get(by) if by else None
        return float(value) if value is not None and is_number(value) else 2.0  # nothing to judge by: last

    cells = [
        [name, *(shown(row.get(key), _OF_CLASSES[key][1]) for key in keys)]
        for name, row in sorted(rows.items(), key=goodness)
    ]
    return ["class", *(_OF_CLASSES[key][0] for key in keys)], cells


def confusions(run: Run, most: int = 3) -> list[tuple[int, int, str, str]]:
    """The classes that are most often taken for others: how often, of how many, the true class, the one said."""
    matrix, names = run.judged.get("confusion_matrix"), run.class_names
    if not isinstance(matrix, list) or len(matrix) != len(names):
        return []
    found = [
        (count, sum(row), names[truth], names[said])
        for truth, row in enumerate(matrix)
        if isinstance(row, list) and len(row) == len(names) and all(map(is_number, row))
        for said, count in enumerate(row)
        if said != truth and count
    ]
    return sorted(found, key=lambda each: -each[0])[:most]


def calibration_sentence(run: Run) -> str:
    """Whether it is right as often as it says; empty where that was not measured."""
    found = run.judged.get("calibration")
    names = ("confidence", "accuracy", "expected_calibration_error", "error_by_chance")
    if not isinstance(found, dict) or not all(is_number(found.get(name)) for name in names):
        return ""
    confidence, accuracy, error, chance = (found[name] for name in names)
    sentence = f"It is {confidence:.1%} sure on average and {accuracy:.1%} right; calibration error {error:.1%}"
    if error <= 1.5 * chance:
        return f"{sentence}, of which chance alone would give {chance:.1%}: no finding."
    return f"{sentence}, against {chance:.1%} by chance alone: it is too {'' if confidence > accuracy else 'un'}sure."


def shown(value: Any, is_share: bool | None) -> str:
    """A number as text: a share in percent, a count in full; a dash for what is none."""
    if not is_number(value):
        return "–"
    if is_share is None:
        return f"{value:,}"
    return f"{value:.1%}" if is_share else f"{value:.3f}"
