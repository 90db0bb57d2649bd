"""What was trained and how, in sentences and tables; how far the stages moved; how to repeat it."""

from __future__ import annotations

import datetime
import math
import re
from typing import Any, NamedTuple

from tlkit.errors import printable
from tlkit.report.run_folder import Run, is_number, train_command

_OTHER_LAYERS = "other layers"  # as `ProgressiveUnfreezing` names what trains without being opened
_LEAST, _MOST = 1e-5, 1.0  # movements at the ends of the bars, which are logarithmic


class Moved(NamedTuple):
    """How far one group moved in one phase."""

    text: str
    share: float  # of the bar, from 0 to 1


class Movements(NamedTuple):
    """A row for each group, input first; a column for each phase. An empty cell: it was closed."""

    phases: list[str]
    rows: list[tuple[str, list[Moved | None]]]


def in_a_sentence(run: Run) -> str:
    """What was trained on what, how long and where."""
    config, record = run.config, run.record
    parts = []
    if config.get("backbone"):
        weights = "random weights" if config.get("weights") == "random" else str(config.get("weights", "")) + " weights"
        parts.append(f"{config['backbone']} with {weights.strip()}")
    if run.class_names:
        parts.append(f"{len(run.class_names)} classes")
    train = _without_checksum(run.data.get("train"))
    if train:
        parts.append(f"{train} to learn from")
    if run.epochs:
        seconds = record.get("seconds")
        took = f" in {duration(seconds)}" if is_number(seconds) else ""
        parts.append(f"{run.epochs} epoch{'s' if run.epochs > 1 else ''}{took}{_where(record)}")
    return "; ".join(parts) + "." if parts else "What was trained is not known."


def facts(run: Run) -> list[tuple[str, str]]:
    """The recipe: name and words."""
    config = run.config
    found = []
    if config.get("backbone"):
        count = run.record.get("weights")
        found.append(("Backbone", str(config["backbone"])))
        found.append(("Began with", f"{config.get('weights', 'unknown')} weights"))
        if is_number(count):
            found.append(("Size", f"{count:,} weights, the head's among them"))
    if run.openings or "head_epochs" in config:
        found.append(("Schedule", _schedule(run)))
    if is_number(config.get("learning_rate")):
        decay, rate = config.get("layer_decay", 1), f"{config['learning_rate']:g}"
        if is_number(decay):
            rate += " for all layers" if decay == 1 else f" for the head, times {decay:g} for each stage below it"
        found.append(("Learning rate", rate))
    if run.kept_epoch and run.best_by:
        monitor, mode = run.best_by
        extreme = "lowest" if mode == "min" else "highest"
        found.append(
            ("Kept", f"the model of epoch {run.kept_epoch} of {run.epochs}, the one with the {extreme} {monitor}")
        )
    if config.get("start_from"):
        found.append(("Warm start", f"the head of {config['start_from']}"))
    if run.class_names:
        names = ", ".join(run.class_names[:30])
        more = f" and {len(run.class_names) - 30} more" if len(run.class_names) > 30 else ""
        found.append(("Classes", names + more))
    return [(name, printable(words)) for name, words in found]


def settings(run: Run) -> list[tuple[str, str]]:
    """Every setting, as it was."""
    return [(printable(name), printable(shown_setting(value))) for name, value in run.config.items()]


def shown_setting(value: Any) -> str:
    """A setting's value as it is typed."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "(none)" if value == "" else str(value)


def stopped(run: Run) -> str:
    """A sentence where the training is not at its end, else nothing."""
    if run.stopped_after is None:
        return ""
    planned = run.config.get("epochs", "an unknown number")
    return (
        f"Stopped after epoch {run.stopped_after} of {planned}, or still training: these are the results of the best "
        "epoch so far. The command that began it goes on with it."
    )


def movements(run: Run) -> Movements | None:
    """The table of movements; None where nothing recorded them."""
    found: list[tuple[int, dict[str, float]]] = run.record.get("movements") or []
    if not found:
        return None
    # The last phase has most groups open, input first; what comes after them are the other layers.
    names = [name for name in dict.fromkeys(name for _, moved in found[::-1] for name in moved)]
    names.sort(key=lambda name: name == _OTHER_LAYERS)
    phases, begin = [], 1
    for epoch, _ in found:
        phases.append(f"epoch {begin}" if begin == epoch + 1 else f"epochs {begin} to {epoch + 1}")
        begin = epoch + 2
    rows = [(printable(name), [_moved(moved.get(name)) for _, moved in found]) for name in names]
    return Movements(phases, rows)


def repeat_commands(run: Run) -> list[tuple[str, str]]:
    """Words and a command each, the surest first."""
    commands = [
        (
            "With every setting of this run, whatever config.py says by now (in the project's folder):",
            train_command(run, "--fresh"),
        )
    ]
    command = run.record.get("command")
    if command:
        commands.append(("It was begun by:", str(command)))
    return [(words, printable(line)) for words, line in commands if run.config or line == command]


def provenance(run: Run) -> list[tuple[str, str]]:
    """Versions, device, times and the data's fingerprint."""
    record, found = run.record, []
    versions = record.get("versions")
    if isinstance(versions, dict):
        found.append(("Versions", ", ".join(f"{name} {number}" for name, number in versions.items())))
    if record.get("device"):
        devices = record.get("devices", 1)
        found.append(("Device", f"{f'{devices} × ' if devices != 1 else ''}{record['device']}"))
    if record.get("began"):
        found.append(("Began", _moment(record["began"])))
        found.append(("Ended", _moment(record["ended"]) if record.get("ended") else "it has not, or was stopped"))
    if "data" in run.config:
        found.append(("Data", str(run.config["data"])))
    found += [(f"Data, {name}", str(words)) for name, words in run.data.items() if name != "classes"]
    return [(name, printable(words)) for name, words in found]


def duration(seconds: float) -> str:
    """As a person says it: "26 s", "4 min", "2 h 5 min"."""
    minutes, hours = round(seconds / 60), int(round(seconds / 60) // 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if hours == 0 else f"{hours} h {minutes - 60 * hours} min"


def _without_checksum(words: Any) -> str:
    return re.sub(r" \([0-9a-f]+\)$", "", str(words)) if words else ""


def _where(record: dict[str, Any]) -> str:
    device, count = record.get("device"), record.get("devices", 1)
    return f" on {f'{count} × ' if count != 1 else ''}{device}" if device else ""


def _schedule(run: Run) -> str:
    openings = [(epoch, number) for epoch, number in run.openings if not run.epochs or epoch < run.epochs]
    if not openings:
        return "the head alone; the backbone stayed closed"
    first = openings[0][0]
    alone = f"the head alone for {first} epoch{'s' if first > 1 else ''}, then " if first else ""
    each = ", ".join(f"{number} from epoch {epoch + 1}" for epoch, number in openings)
    return f"{alone}stages open, from the top: {each}"


def _moved(share: float | None) -> Moved | None:
    if share is None:
        return None
    if share <= 0:
        return Moved("0", 0.0)
    place = math.log(share / _LEAST) / math.log(_MOST / _LEAST)
    return Moved(f"{100 * share:.2g} %", min(max(place, 0.02), 1.0))


def _moment(text: Any) -> str:
    try:
        return f"{datetime.datetime.fromisoformat(str(text)):%Y-%m-%d %H:%M:%S %z}".strip()
    except ValueError:
        return str(text)
