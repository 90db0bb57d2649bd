"""What a search found, where the run's settings came from one."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from tlkit.errors import printable
from tlkit.report.pictures import Picture, embed
from tlkit.report.run_folder import Run, project_of
from tlkit.runs import read_object

_SUMMARY = "report.json"  # as `tlkit.tuning.conclude` writes it
_BEST = "tuning/best.json"  # what `--config best` means in a project
_PICTURES = {
    "trials.png": "Each trial is a line over its settings; the best are dark.",
    "importance.png": "What the score depends on.",
    "curves.png": "The score of each trial by epoch.",
}


class Search(NamedTuple):
    """A search and what it found; the summary is empty where an older version made it."""

    folder: str
    is_trial: bool  # the run is one of its trials
    sentences: list[str]
    settings: list[tuple[str, str, str]]  # name, default, best
    pictures: list[tuple[Picture, str]]


def find_search(run: Run) -> Search | None:
    """The search that the run's settings came from, or that it is a trial of; None where there is none."""
    found = _folder_of(run)
    if found is None:
        return None
    folder, is_trial = found
    summary = read_object(folder / _SUMMARY)
    pictures = [(picture, words) for name, words in _PICTURES.items() if (picture := embed(folder / name))]
    if summary is None:
        sentences = [f"What the search found is in {printable(folder.name)}/report.md."]
        return Search(printable(folder.name), is_trial, sentences, [], pictures)
    return Search(printable(folder.name), is_trial, _sentences(summary), _settings(summary), pictures)


def _folder_of(run: Run) -> tuple[Path, bool] | None:
    folder = run.folder.resolve()
    for parent in folder.parents[:3]:
        if (parent / "search.json").is_file():
            return parent, True
    project = project_of(run)
    if project is None:
        return None
    flag = _config_flag(run)
    named = project[0] / (_BEST if flag == "best" else flag)
    for search in sorted(project[0].glob("*/search.json")):
        best = search.with_name(named.name if flag else "best.json")
        # Where the command is not known, settings that are the same came from there.
        same = "command" not in run.record and run.config and read_object(best) == run.config
        if same or (flag and best.resolve() == named.resolve()):
            return search.parent, False
    return None


def _config_flag(run: Run) -> str:
    """What `--config` was given, or nothing."""
    try:
        words = shlex.split(str(run.record.get("command") or ""))
    except ValueError:
        return ""
    for word, following in itertools.pairwise([*words, ""]):
        if word == "--config":
            return following
        if word.startswith("--config="):
            return word.removeprefix("--config=")
    return ""


def _sentences(summary: dict[str, Any]) -> list[str]:
    trials, failed = summary.get("num_trials"), summary.get("num_failed")
    words = f"{trials} trials" + (f", of which {failed} failed" if failed else "")
    goal = {"min": "small", "max": "large"}.get(str(summary.get("direction")), "good")
    return [f"{words}; {summary.get('objective')} shall be {goal}.", str(summary.get("verdict") or "")]


def _settings(summary: dict[str, Any]) -> list[tuple[str, str, str]]:
    best, default = summary.get("best"), summary.get("default")
    if not isinstance(best, dict):
        return []
    before = default if isinstance(default, dict) else {}
    return [(str(name), _short(before.get(name)), _short(value)) for name, value in best.items()]


def _short(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
