"""What the folder of a run holds, read without TensorFlow and without the project's package."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeGuard

from tlkit.errors import UserError, printable
from tlkit.runs import FIRST_ROW, RECORD, epochs_so_far

_MOST_STAGES = 1000  # a backbone has fewer: more are a slip of the pen in config.json
_FILES = ("config.json", "metrics.json", "history.csv", RECORD)


@dataclasses.dataclass(frozen=True)
class Run:
    """A run as it lies on the disk; what is missing there is empty.

    Args:
        folder: Where it lies.
        config: Setting -> value.
        class_names: In the order of the model's outputs.
        metrics: By part: "validation", "test", "target".
        history: Column of history.csv -> one value an epoch.
        record: What `RunRecord` wrote.
        findings: Sentences of the data's inspection, worst first.
        without_training: What a head without a training loop reaches on the same examples (`tlkit.ranking`).
    """

    folder: Path
    config: dict[str, Any]
    class_names: list[str]
    metrics: dict[str, dict[str, Any]]
    history: dict[str, list[float]]
    record: dict[str, Any]
    findings: list[dict[str, Any]]
    without_training: dict[str, Any]

    @property
    def name(self) -> str:
        return printable(self.folder.name)

    @property
    def part(self) -> str:
        """The part that counts: test, or validation where there is no other."""
        return "test" if "test" in self.metrics else "validation"

    @property
    def judged(self) -> dict[str, Any]:
        """The numbers of that part."""
        return self.metrics.get(self.part, {})

    @property
    def epochs(self) -> int:
        """How many epochs were trained."""
        return max(map(len, self.history.values()), default=0)

    @property
    def data(self) -> dict[str, Any]:
        """What the data were, in words that change when they do."""
        found = self.record.get("data")
        return found if isinstance(found, dict) else {}

    @property
    def stopped_after(self) -> int | None:
        """The last whole epoch where the training is not at its end, else None."""
        return epochs_so_far(self.folder)

    @property
    def best_by(self) -> tuple[str, str] | None:
        """The name of the number that chose the epoch that was kept, and "min" or "max"; None where it is not known."""
        adapts = self.config.get("adaptation", "none") != "none"
        monitor = self.config.get("adaptation_monitor" if adapts else "monitor")
        if not isinstance(monitor, str) or monitor not in self.history:
            return None
        return monitor, "min" if "loss" in monitor else "max"

    @property
    def kept_epoch(self) -> int | None:
        """The epoch that was kept, from 1: the first of the best, as `ModelCheckpoint` takes it."""
        if self.best_by is None:
            return None
        name, mode = self.best_by
        values = [value if mode == "min" else -value for value in self.history[name]]
        known = [value for value in values if not math.isnan(value)]
        return values.index(min(known)) + 1 if known else None

    @property
    def openings(self) -> list[tuple[int, int]]:
        """(epoch from 0, number of open stages), as trained, or as the settings plan it."""
        recorded = self.record.get("openings")
        if isinstance(recorded, list):
            return [(int(epoch), int(number)) for epoch, number in recorded if number]
        names = ("head_epochs", "epochs_per_stage", "stages_to_open")
        if not all(isinstance(self.config.get(name), int) for name in names):
            return []
        first, pace, count = (self.config[name] for name in names)
        return [(first + number * pace, number + 1) for number in range(min(count, _MOST_STAGES))]

    @property
    def kind(self) -> str:
        """What was trained, in a word or two; nothing where that is not known."""
        if "max_detections" in self.config or "map50" in self.judged:
            return "detector"
        if "text_column" in self.config:
            return "text classifier"
        return "image classifier" if "image_size" in self.config else ""


def read_run(folder: str | os.PathLike[str]) -> Run:
    """Read what there is of a run.

    Args:
        folder: Its folder, such as `runs/2026-11-21_13-35-17`.

    Raises:
        UserError: When it is no folder of a run, or a file in it is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir() or not any((folder / name).is_file() for name in _FILES):
        inside = sorted(file.parent.name for file in folder.glob("*/metrics.json")) if folder.is_dir() else []
        meant = (
            f" It holds {len(inside)} of them: name one, such as '{printable(folder / inside[-1])}'." if inside else ""
        )
        raise UserError(
            f"There is no run in '{printable(folder)}'. Expected the folder of a training, such as "
            f"runs/2026-11-21_13-35-17, with config.json and metrics.json in it.{meant}"
        )
    report = _read_json(folder / "data_report.json", dict, "train again")
    return Run(
        folder=folder,
        config=_read_json(folder / "config.json", dict, "copy it from another run, or train again"),
        class_names=[str(name) for name in _read_json(folder / "class_names.json", list, "train again")],
        metrics=_metrics(folder / "metrics.json"),
        history=_history(folder / "history.csv"),
        record=_record(folder / RECORD),
        findings=[each for each in report.get("findings") or [] if isinstance(each, dict)],
        without_training=_read_json(folder / FIRST_ROW, dict, "judge the run again with the project's `evaluate`"),
    )


def project_of(run: Run) -> tuple[Path, str] | None:
    """The folder of the project that a run lies in, and the name of its package; None where it lies in none."""
    for parent in list(run.folder.resolve().parents)[:5]:
        packages = [file.parent for file in parent.glob("*/train.py") if (file.parent / "config.py").is_file()]
        if packages and (parent / "pyproject.toml").is_file():
            return parent, packages[0].name
    return None


def package_of(run: Run) -> str:
    """The name to type in commands: that of the project around the run, or of the command that trained it."""
    project = project_of(run)
    if project is not None:
        return project[1]
    match = re.match(r"python -m (\w+)\.\w+", str(run.record.get("command")))
    return match[1] if match else "PACKAGE"


def place_of(run: Run) -> str:
    """The run's folder as a command in the project's folder names it."""
    project = project_of(run)
    return f"runs/{run.folder.name}" if project is None else run.folder.resolve().relative_to(project[0]).as_posix()


def train_command(run: Run, flags: str) -> str:
    """The command that trains with the run's settings and these flags, in the project's folder."""
    return f"python -m {package_of(run)}.train --config {shlex.quote(f'{place_of(run)}/config.json')} {flags}"


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value from JSON is a number that can be shown."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _metrics(file: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = _read_json(file, dict, "judge the run again with the project's `evaluate`")
    for part, numbers in found.items():
        if not isinstance(numbers, dict):
            raise _damaged(file, f"'{printable(part)}' is no table of numbers", "judge the run again with `evaluate`")
    return found


def _record(file: Path) -> dict[str, Any]:
    mend = "delete it: only what it told is missing in the report then"
    found: dict[str, Any] = _read_json(file, dict, mend)
    try:
        for epoch, numbers in found.get("movements") or []:
            if not isinstance(epoch, int) or not all(map(is_number, numbers.values())):
                raise ValueError("a movement is no number")
        for epoch, number in found.get("openings") or []:
            int(epoch), int(number)
    except (TypeError, ValueError, AttributeError) as error:
        raise _damaged(file, str(error), mend) from error
    return found


def _history(file: Path) -> dict[str, list[float]]:
    if not file.is_file():
        return {}
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        columns: Iterable[str] = rows[0] if rows else ()
        return {name: [float(row[name]) for row in rows] for name in columns if name != "epoch"}
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise _damaged(file, str(error), "delete it: only the curves are missing in the report then") from error


def _read_json(file: Path, kind: type, mend: str) -> Any:
    """What a file holds, or an empty one of that kind where there is no such file."""
    if not file.exists():
        return kind()
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(file, str(error), mend) from error
    if not isinstance(found, kind):
        raise _damaged(file, f"it holds no {'object' if kind is dict else 'list'}", mend)
    return found


def _damaged(file: Path, why: str, mend: str) -> UserError:
    return UserError(f"The file '{printable(file)}' is damaged ({printable(why)}): {mend}.")
