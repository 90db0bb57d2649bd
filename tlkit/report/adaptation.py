"""What adaptation to unlabelled data was worth, where there is any."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from tlkit.errors import UserError, printable
from tlkit.report.numbers import headline
from tlkit.report.pictures import Picture, embed
from tlkit.report.run_folder import Run, package_of, project_of, read_run
from tlkit.runs import read_object

_COMPARISON = "adaptation.json"  # as `AdaptationComparison.save` writes it
_OF_NO_MATTER = {"adaptation", "seed", "inspect", "strategy", "keep_features"}
_MOST = 6  # settings that are named


class Adaptation(NamedTuple):
    """The verdict of a comparison over seeds, and one training beside another."""

    method: str  # "none": there is a target, but nothing was learned from it
    target: str
    on_target: str  # the run's own score there, empty where no labels are known
    beside: str  # a sentence: against the same run without adaptation
    verdict: list[str]
    source: str  # where the verdict stands, and what was different there
    picture: Picture | None  # of the comparison
    domains: Picture | None  # features of both domains
    command: str  # measures it, where it was not


def find_adaptation(run: Run) -> Adaptation | None:
    """What there is to say; None where the run knows no other domain."""
    method, target = str(run.config.get("adaptation", "none")), str(run.config.get("target", ""))
    if method == "none" and not target and "target" not in run.metrics:
        return None
    score = headline(run.metrics.get("target", {}))
    on_target = "" if score is None else f"{score.text} {score.name} on {_count(run)}labelled target examples"
    if score is not None and score.interval_text:
        on_target += f" (95 % interval {score.interval_text})"
    comparison = _find_comparison(run, method)
    verdict, source, picture = ([], "", None) if comparison is None else _read(comparison, run, method)
    compare = f"python -m {package_of(run)}.compare" + ("" if method == "none" else f" --methods {method}")
    return Adaptation(
        method,
        target,
        on_target,
        _beside_unadapted(run, method),
        verdict,
        source,
        picture,
        embed(run.folder / "domains.png"),
        "" if verdict else compare,
    )


def _count(run: Run) -> str:
    count = run.metrics["target"].get("num_examples")
    return f"{count:,} " if isinstance(count, int) else ""


def _find_comparison(run: Run, method: str) -> Path | None:
    """The folder of the newest comparison in the project that says something of this method."""
    project = project_of(run)
    places = [run.folder.resolve().parent, *(sorted(project[0].iterdir()) if project else ())]
    files: set[Path] = {place / _COMPARISON for place in places if (place / _COMPARISON).is_file()}
    for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
        verdicts = (read_object(file) or {}).get("verdicts")
        if isinstance(verdicts, dict) and (method in verdicts or (method == "none" and verdicts)):
            return file.parent
    return None


def _read(folder: Path, run: Run, method: str) -> tuple[list[str], str, Picture | None]:
    verdicts: dict[str, Any] = (read_object(folder / _COMPARISON) or {})["verdicts"]
    chosen = verdicts.values() if method == "none" else [verdicts[method]]
    sentences = [str(sentence) for each in chosen if isinstance(each, list) for sentence in each]
    name = method if method != "none" else next(iter(verdicts))
    configs = [read_object(file) for file in sorted(folder.glob(f"{name}-*/config.json"))]
    other = _different(configs[0], run.config) if configs and configs[0] else []
    source = f"By the comparison in {printable(folder.name)}/"
    if other:
        more = f" and {len(other) - _MOST} more" if len(other) > _MOST else ""
        source += f", which trained with other settings: {', '.join(other[:_MOST])}{more}"
    return sentences, source, embed(folder / "adaptation.png")


def _different(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    names = sorted((one.keys() | other.keys()) - _OF_NO_MATTER)
    return [name for name in names if one.get(name) != other.get(name)]


def _beside_unadapted(run: Run, method: str) -> str:
    """Against the newest run in the same folder that differs in the adaptation only."""
    own = headline(run.metrics.get("target", {}))
    if method == "none" or own is None:
        return ""
    for file in sorted(run.folder.resolve().parent.glob("*/config.json"), reverse=True):
        config = read_object(file) or {}
        if config.get("adaptation") != "none" or _different(config, run.config):
            continue
        try:
            other = headline(read_run(file.parent).metrics.get("target", {}))
        except UserError:
            continue
        if other is not None and other.key == own.key:
            return (
                f"Adapted with {method} over not adapted: {100 * (own.value - other.value):+.1f} points of target "
                f"{own.name}, of one training each."
            )
    return ""
