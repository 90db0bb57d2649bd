"""The folders of trainings: each in its own, named after the time; one that was interrupted is found again."""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path
from typing import Any

STATE = "state"  # the folder in a run for `ExactResume`: gone when the training has ended
RECORD = "run.json"  # in a run: what `RunRecord` wrote
FIRST_ROW = "without_training.json"  # in a run: what there is on its data without training, as `evaluate` found it


def new_run(runs: Path) -> Path:
    """A folder's name below `runs` that no run has yet; names sort by age. The folder is not made."""
    now = datetime.datetime.now()
    run = runs / now.strftime("%Y-%m-%d_%H-%M-%S")
    return run if not run.exists() else run.with_name(f"{run.name}-{now.microsecond:06d}")


def find_interrupted(runs: Path, config: Any) -> Path | None:
    """The newest run below `runs` that has these settings and was interrupted, or None.

    Args:
        runs: Folder of runs, each with its settings in `config.json` (`tlkit.settings.save_config`) and, while it is
            not at its end, what to go on from in the folder `state` (`ExactResume(run / tlkit.runs.STATE)`).
        config: A dataclass, as it was saved.
    """
    settings = json.loads(json.dumps(dataclasses.asdict(config)))
    interrupted = sorted((folder.parent for folder in runs.glob(f"*/{STATE}")), reverse=True)
    return next((run for run in interrupted if read_object(run / "config.json") == settings), None)


def epochs_so_far(run: Path) -> int | None:
    """How many epochs a run has saved that is not at its end, or None where it is: nothing is left to go on with.

    A run without an end was interrupted, or trains at this moment: both look alike from here.
    """
    state = run / STATE
    numbers = [folder.name.removeprefix("epoch_") for folder in state.glob("epoch_*")]  # as `ExactResume` names them
    return max((int(number) for number in numbers if number.isdigit()), default=0) if state.is_dir() else None


def read_object(file: Path) -> dict[str, Any] | None:
    """The JSON object in a file of a run, or None where it is missing or damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # killed while it was made
        return None
    return found if isinstance(found, dict) else None
