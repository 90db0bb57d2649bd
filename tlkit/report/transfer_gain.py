"""What pretraining and training are worth: a run beside random weights, and beside no training at all."""

from __future__ import annotations

from typing import NamedTuple

from tlkit.errors import UserError
from tlkit.report.numbers import headline
from tlkit.report.run_folder import Run, read_run, train_command
from tlkit.runs import read_object

_COUNTERPARTS = {"pretrained": "random", "random": "pretrained"}
# What may differ between the two: it changes no result, or hardly.
_OF_NO_MATTER = {"weights", "inspect", "strategy", "keep_features"}


class Gain(NamedTuple):
    """What there is to say of it; `command` measures it where it was not."""

    sentence: str
    command: str = ""
    clear: bool = False  # beyond chance


def counterpart(run: Run) -> Run | None:
    """The newest run beside this one that differs in its weights only, pretrained or random, and was judged alike."""
    wanted = _COUNTERPARTS.get(str(run.config.get("weights")))
    score = headline(run.judged)
    if wanted is None or score is None:
        return None
    for file in sorted(run.folder.resolve().parent.glob("*/config.json"), reverse=True):
        config = read_object(file) or {}
        if config.get("weights") != wanted or _settings(config) != _settings(run.config):
            continue
        try:
            other = read_run(file.parent)
        except UserError:  # damaged: it is not the one that was asked for
            continue
        found = headline(other.judged)
        if found is not None and (other.part, found.key) == (run.part, score.key) and _same_data(run, other):
            return other
    return None


def transfer_gain(run: Run) -> Gain:
    """A plain sentence: what it is, whether it may be chance, or that it was not measured and how to."""
    other = counterpart(run)
    if other is not None:
        pretrained, random = (run, other) if run.config.get("weights") == "pretrained" else (other, run)
        return gain_between(pretrained, random)
    weights = str(run.config.get("weights"))
    if weights not in _COUNTERPARTS:
        return Gain("Transfer gain over random weights was not measured: what weights it began with is not known.")
    command = train_command(run, f"--weights {_COUNTERPARTS[weights]}")
    if weights == "random":
        return Gain(
            "This run began with random weights: it is the baseline that a pretrained one is compared with, and there "
            "is none with the same settings beside it yet.",
            command,
        )
    return Gain(
        "Transfer gain over random weights was not measured: there is no run with the same settings and random weights "
        "beside it.",
        command,
    )


def over_no_training(run: Run) -> str:
    """What a head without a training loop reaches on the same examples; nothing where it was not measured."""
    first, own = headline(run.without_training), headline(run.judged)
    if first is None or own is None or first.key != own.key:
        return ""
    sentence = f"Without training, a regression on the closed backbone's features reaches {first.text}"
    if first.interval is None or own.interval is None:
        return f"{sentence}."
    if own.interval[0] > first.interval[1]:
        return f"{sentence}: the training is better than that beyond chance."
    if own.interval[1] < first.interval[0]:
        return f"{sentence}: the training is worse than that beyond chance."
    if own.value <= first.value:
        return f"{sentence}: the training was not better, though the 95 % intervals overlap."
    return f"{sentence}. The 95 % intervals overlap: what the training added may be chance."


def gain_between(pretrained: Run, random: Run) -> Gain:
    """The sentence for two runs that were judged alike."""
    high, low = headline(pretrained.judged), headline(random.judged)
    if high is None or low is None:
        return Gain("")
    gain = high.value - low.value
    amount = f"{100 * gain:+.1f} points" if high.is_share else f"{gain:+.3f}"
    sentence = (
        f"Pretrained over random weights, by the same schedule: {amount} of {pretrained.part} {high.name} "
        f"({high.text} against {low.text})."
    )
    if high.interval is None or low.interval is None:
        return Gain(sentence)
    apart = high.interval[0] > low.interval[1] or low.interval[0] > high.interval[1]
    chance = "Their 95 % intervals do not overlap." if apart else "Their 95 % intervals overlap: it may be chance."
    return Gain(f"{sentence} {chance}", clear=apart)


def _settings(config: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in config.items() if name not in _OF_NO_MATTER}


def _same_data(one: Run, other: Run) -> bool:
    """Whether the data were the same, as far as both say."""
    return not one.data or not other.data or one.data == other.data
