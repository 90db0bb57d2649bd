"""What the numbers of a comparison mean, in plain words, and what to try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tlkit.domain.adaptation_summary import (
    ORACLE,
    SOURCE_ONLY,
    TRUTH,
    MethodSummary,
    PairedDifference,
    at_chosen,
    paired_difference,
)

_CLEAR_LOSS = 0.02  # two points: more than accuracies usually wander from one epoch to the next
_CLEAR_DISTANCE = 0.2  # of the 0 to 2 of the proxy A-distance: five points of the domain classifier's error
# Those that look at the target, but for entropy and SND, which reward a collapse.
_OF_TARGET = ("target_information", "target_clusters", "target_reverse")


def verdicts(
    runs: Sequence[Mapping[str, Any]], summaries: Mapping[str, MethodSummary], validator: str, measure: str
) -> dict[str, list[str]]:
    """Sentences on each method beside source only and the oracle."""
    adapted = [name for name in summaries if name not in (SOURCE_ONLY, ORACLE)]
    if measure == TRUTH:
        return {name: _with_labels(summaries[name], summaries[SOURCE_ONLY], validator) for name in adapted}
    return {name: _without_labels(name, runs, summaries, validator) for name in adapted}


def _with_labels(own: MethodSummary, base: MethodSummary, validator: str) -> list[str]:
    difference = own.difference
    by = f"{_points(difference.mean)} points of target accuracy against source only"
    helped = difference.low is not None and difference.low > 0
    if difference.low is None:
        sentences = [f"{own.method}: {by}, in one run. It may be chance: train with three seeds or more."]
    elif helped:
        sentences = [f"{own.method}: adaptation helped, {by} ({_interval(difference)})."]
    elif difference.high < 0:
        sentences = [
            f"{own.method}: Adaptation hurt (negative transfer), {by} ({_interval(difference)}). Take the model that "
            f"was trained on the source only."
        ]
    else:
        above = sum(value > 0 for value in difference.values)
        sentences = [
            f"{own.method}: {by}, higher with {above} of {len(difference.values)} seeds. It may be chance, for the "
            f"interval holds 0 ({_interval(difference)}). More seeds would tell."
        ]
    if own.gap_closed is not None:
        sentences.append(f"It closes {100 * own.gap_closed:.0f} % of the gap from source only to the oracle.")
    lost = float(np.mean(own.best) - np.mean(own.chosen))
    if lost > _CLEAR_LOSS:
        sentences.append(
            f"Choosing the epoch by {validator} costs {100 * lost:.1f} points against the epoch that target labels "
            f"would have chosen, which is not to be had in practice."
        )
    return sentences if helped else [*sentences, *_to_try(own, base)]


def _without_labels(
    name: str, runs: Sequence[Mapping[str, Any]], summaries: Mapping[str, MethodSummary], validator: str
) -> list[str]:
    own, base = ([run for run in runs if run["method"] == method] for method in (name, SOURCE_ONLY))
    scores = [score for score in _OF_TARGET if all(score in run["epochs"][0] for run in (*own, *base))]
    differences = {
        score: paired_difference(at_chosen(own, validator, score), at_chosen(base, validator, score))
        for score in scores
    }
    better = [score for score, d in differences.items() if min(d.values) > 0]
    worse = [score for score, d in differences.items() if max(d.values) < 0]
    sentences = [
        f"{name}: without target labels nobody can tell whether accuracy rose. Of {len(scores)} label-free scores "
        f"{len(better)} rate it above source only with every seed{_names(better)}, {len(worse)} below{_names(worse)}.",
        "That is a hint, not a proof: each of them has preferred models that were worse. To be sure, label target rows "
        "that were chosen at random and give them as `target_test`: 100 tell the accuracy to 10 points, 400 to 5.",
    ]
    return (
        sentences if len(better) > len(scores) / 2 else [*sentences, *_to_try(summaries[name], summaries[SOURCE_ONLY])]
    )


def _to_try(own: MethodSummary, base: MethodSummary) -> list[str]:
    """From what was seen to what may mend it; the general advice where nothing stands out."""
    advice = []
    if base.source_accuracy - own.source_accuracy > _CLEAR_LOSS:
        advice.append(
            f"source accuracy fell from {_percent(base.source_accuracy)} to {_percent(own.source_accuracy)}: a smaller "
            f"weight of the adaptation loss, and a warm start on the source alone"
        )
    if own.best and np.mean(own.best) - np.mean(own.last) > _CLEAR_LOSS:
        advice.append("target accuracy falls towards the end: fewer epochs, or a smaller weight")
    elif own.best and own.best == own.last:
        advice.append("the last epochs are the best: more epochs")
    if own.a_distance is not None and base.a_distance is not None:
        between = f"the A-distance went from {base.a_distance:.2f} to {own.a_distance:.2f}"
        if base.a_distance - own.a_distance >= _CLEAR_DISTANCE:
            advice.append(
                f"{between}, so the domains were brought together, but perhaps classes with wrong ones: CDAN or MCC "
                f"instead of DANN, and a class-balanced source"
            )
        elif not advice:
            advice.append(f"{between}, so the domains were hardly brought together: more epochs or a larger weight")
    if not advice:
        advice = ["a warm start, a smaller weight, a class-balanced source, CDAN or MCC instead of DANN, more epochs"]
    return [f"What to try: {'; '.join(advice)}."]


def _names(scores: Sequence[str]) -> str:
    return f" ({', '.join(scores)})" if scores else ""


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _interval(difference: PairedDifference) -> str:
    low, high = _points(difference.low), _points(difference.high)
    return f"95 % interval {low} to {high}, {len(difference.values)} seeds"
