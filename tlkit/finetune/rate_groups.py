"""Which weights of a model share a learning rate: stages, groups of layers, or rules over their paths."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras

from tlkit.errors import UserError
from tlkit.finetune.groups import BackboneStages, LayerGroups, find_backbones

Names = Sequence[Sequence[str]] | Mapping[str, Sequence[str]]
HEAD = "head"  # what lies in no stage and no group


class Weight(NamedTuple):
    """A weight as it is remembered in a file."""

    path: str
    shape: tuple[int, ...]
    group: int | None  # None: no rule matches it, which is no fault while it does not train


class RateGroups:
    """The groups of a model's weights and the multiplier of each.

    Args:
        multipliers: Dict of a group's name to its multiplier, input first.
        weights: A `Weight` for each of `model.weights`, in that order.
        variables: Those weights themselves; None when read from a file.
        built: Positions of the weights that an optimizer was built on, in its order; as `variables`.
    """

    def __init__(
        self,
        multipliers: Mapping[str, float],
        weights: Sequence[Weight],
        variables: Sequence[keras.Variable] | None = None,
        built: Sequence[int] | None = None,
    ):
        self.names = tuple(multipliers)
        self.multipliers = tuple(multipliers.values())
        self.weights = tuple(weights)
        self.variables = None if variables is None else tuple(variables)
        self.built = None if built is None else tuple(built)

    def bind(self, model: keras.Model) -> None:
        """Find the weights of a file again in the model that was read from it: they have the same order."""
        if [tuple(v.shape) for v in model.weights] != [weight.shape for weight in self.weights]:
            raise UserError(
                f"LayerwiseLearningRates: the weights of the model '{model.name}' are not those that the groups were "
                f"made for. Expected {len(self.weights)} weights of the same shapes. Received: {len(model.weights)} "
                f"weights. Make the optimizer anew: `LayerwiseLearningRates(optimizer, model)`."
            )
        self.variables = tuple(model.weights)

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Find the group of each variable that an optimizer is being built on."""
        self.built = tuple(self._found(variables) if self.variables is None else self._known(variables))
        without = [self.weights[position].path for position in self.built if self.weights[position].group is None]
        if without:
            raise _unmatched(without)

    def multiplier(self, index: int) -> float:
        """The multiplier of the optimizer's variable of this index."""
        return self.multipliers[self.group(index)]

    def group(self, index: int) -> int:
        """The group of the optimizer's variable of this index."""
        return self.weights[self.built[index]].group

    def _known(self, variables: Sequence[keras.Variable]) -> list[int]:
        position_of = {id(variable): position for position, variable in enumerate(self.variables)}
        strange = [variable.path for variable in variables if id(variable) not in position_of]
        if strange:
            raise UserError(
                f"LayerwiseLearningRates: the optimizer is being built on the weight '{strange[0]}'"
                f"{_and_more(strange)}, not of the model that it was made for. Expected the same model, with all its "
                f"layers. Make the optimizer for the model that it trains: `LayerwiseLearningRates(optimizer, model)`."
            )
        return [position_of[id(variable)] for variable in variables]

    def _found(self, variables: Sequence[keras.Variable]) -> list[int]:
        """Positions of the variables of a model read from a file, as Keras finds their slots: by order.

        Their paths cannot be relied on: two may be equal, and Keras gives many a layer a shorter one when it opens a
        file. They serve where the optimizer was built on other weights than it is now.
        """
        shapes = [tuple(variable.shape) for variable in variables]
        if self.built is not None and shapes == [self.weights[position].shape for position in self.built]:
            return list(self.built)
        positions = []
        for variable in variables:
            same = [p for p, weight in enumerate(self.weights) if weight.path == variable.path]
            if len({self.weights[p].group for p in same}) != 1:
                raise UserError(
                    f"LayerwiseLearningRates: the weight '{variable.path}' cannot be told among those in the file, of "
                    f"which {len(same)} have this path. Expected one. Open the file with `tlkit.load_model`."
                )
            positions.append(same[0])
        return positions

    def get_config(self) -> dict[str, Any]:
        built = self.built
        if built is None:  # what an optimizer would be built on now
            built = [position for position, variable in enumerate(self.variables) if variable.trainable]
        return {
            "multipliers": [list(pair) for pair in zip(self.names, self.multipliers, strict=True)],
            "weights": [[weight.path, list(weight.shape), weight.group] for weight in self.weights],
            "built": list(built),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RateGroups:
        weights = [Weight(path, tuple(shape), group) for path, shape, group in config["weights"]]
        return cls(dict(config["multipliers"]), weights, built=config["built"])


def groups_by_decay(model: keras.Model, layer_decay: float, names: Names | None) -> RateGroups:
    """The head at 1 and each stage toward the input at `layer_decay` of the one after it."""
    if isinstance(layer_decay, bool) or not isinstance(layer_decay, (int, float)) or not 0 < layer_decay <= 1:
        raise UserError(
            f"LayerwiseLearningRates: `layer_decay` is out of range. Expected a number above 0 and at most 1, by which "
            f"the rate is multiplied from one stage to the one before it, such as 1 / 2.6. "
            f"Received: layer_decay={layer_decay!r}."
        )
    parts = _stages(model, names)
    stages = {name: weights for part in parts for name, weights in part.items()}
    if not stages:
        raise UserError(
            f"LayerwiseLearningRates: the model '{model.name}' has no backbone with stages. Expected stages or groups "
            f"of layers, input first. Name the groups, `groups=[[LAYER, LAYER], [LAYER]]`, or give `multipliers`."
        )
    head = _head(model, stages)
    first = 1 if any(weight.trainable for weight in head) else 0  # without a head, the last group has the whole rate
    multipliers = {
        name: float(layer_decay) ** (len(part) - 1 - position + first)
        for part in parts
        for position, name in enumerate(part)
    }
    if head:
        stages[_name_of_head(stages)] = head
        multipliers[_name_of_head(multipliers)] = 1.0
    group_of: dict[int, int] = {}
    for group, (name, weights) in enumerate(stages.items()):
        for weight in weights:
            if group_of.setdefault(id(weight), group) != group:
                raise UserError(
                    f"LayerwiseLearningRates: the weight '{weight.path}' is in two groups, "
                    f"'{tuple(stages)[group_of[id(weight)]]}' and '{name}'. Expected each weight in one."
                )
    return _recorded(model, multipliers, group_of)


def groups_by_rules(model: keras.Model, rules: Mapping[str, float], names: Names | None) -> RateGroups:
    """A group for each rule: the weights that it is the first to match."""
    _check_rules(rules)
    stages = {name: weights for part in _stages(model, names) for name, weights in part.items()}
    if head := _head(model, stages):
        stages[_name_of_head(stages)] = head
    members = {name: {id(weight) for weight in weights} for name, weights in stages.items()}
    group_of: dict[int, int] = {}
    matched = dict.fromkeys(rules, False)
    for weight in model.weights:
        for group, rule in enumerate(rules):
            if id(weight) in members[rule] if rule in members else re.fullmatch(rule, weight.path):
                matched[rule] = True
                group_of.setdefault(id(weight), group)
    for group, rule in enumerate(rules):
        if group not in group_of.values():
            raise _idle(rule, matched[rule], list(stages), model.weights[0].path)
    missing = [weight.path for weight in model.trainable_weights if id(weight) not in group_of]
    if missing:
        raise _unmatched(missing)
    return _recorded(model, {rule: float(multiplier) for rule, multiplier in rules.items()}, group_of)


def _check_rules(rules: Mapping[str, float]) -> None:
    if not isinstance(rules, Mapping) or not rules:
        raise UserError(
            f"LayerwiseLearningRates: `multipliers` is not usable. Expected a dict of stages, or of regular "
            f"expressions for paths of weights, to numbers. Received: multipliers={rules!r}."
        )
    for rule, multiplier in rules.items():
        number = isinstance(multiplier, (int, float)) and not isinstance(multiplier, bool)
        if number and multiplier == 0:
            raise UserError(
                f"LayerwiseLearningRates: the rule {rule!r} has the multiplier 0, which would train nothing at the "
                f"cost of training. Expected a number above 0. Freeze the layers instead: `layer.trainable = False`."
            )
        if not number or not math.isfinite(multiplier) or multiplier < 0:
            raise UserError(
                f"LayerwiseLearningRates: the multiplier of the rule {rule!r} is not usable. Expected a number above "
                f"0. Received: {multiplier!r}."
            )
        try:
            re.compile(rule)
        except (re.error, TypeError) as error:
            raise UserError(
                f"LayerwiseLearningRates: the rule {rule!r} is no regular expression: {error}. Expected the name of a "
                f"stage, or a regular expression for whole paths of weights, such as 'encoder/.*'."
            ) from None


def _stages(model: keras.Model, names: Names | None) -> list[dict[str, tuple[keras.Variable, ...]]]:
    """For each backbone, or for the groups given, the weights of each stage, input first."""
    if not model.weights:
        raise UserError(
            f"LayerwiseLearningRates: the model '{model.name}' has no weights yet. Expected a built model. Call it on "
            f"a batch, or `model.build(input_shape)`, first."
        )
    if names is not None:
        parts = [LayerGroups(model, names).groups]
        empty = [group.name for group in parts[0] if not group.weights]
        if empty:
            raise UserError(f"LayerwiseLearningRates: the group '{empty[0]}' has no weights. Leave it out of `groups`.")
        return [{group.name: group.weights for group in part} for part in parts]
    backbones = find_backbones(model)
    several = len(backbones) > 1
    return [
        {f"{b.name}/{g.name}" if several else g.name: g.weights for g in BackboneStages(b).groups} for b in backbones
    ]


def _head(model: keras.Model, stages: Mapping[str, Sequence[keras.Variable]]) -> tuple[keras.Variable, ...]:
    inside = {id(weight) for weights in stages.values() for weight in weights}
    return tuple(weight for weight in model.weights if id(weight) not in inside)


def _name_of_head(taken: Mapping[str, Any]) -> str:
    return HEAD if HEAD not in taken else "other layers"


def _recorded(model: keras.Model, multipliers: Mapping[str, float], group_of: Mapping[int, int]) -> RateGroups:
    weights = [Weight(weight.path, tuple(weight.shape), group_of.get(id(weight))) for weight in model.weights]
    return RateGroups(multipliers, weights, model.weights)


def _unmatched(paths: Sequence[str]) -> UserError:
    return UserError(
        f"LayerwiseLearningRates: no rule of `multipliers` matches the weight '{paths[0]}'{_and_more(paths)}. Expected "
        f"a rule for every weight that trains; they match whole paths. Add one, such as '.*': 1.0 at the end."
    )


def _idle(rule: str, matched: bool, stages: Sequence[str], path: str) -> UserError:
    if matched:
        return UserError(
            f"LayerwiseLearningRates: all weights that the rule {rule!r} matches are taken by rules before it. "
            f"Expected every rule to have weights, of which the first rule that matches counts. Put it further up."
        )
    close = difflib.get_close_matches(rule, stages, n=1)
    return UserError(
        f"LayerwiseLearningRates: the rule {rule!r} matches no weight. Expected the name of a stage "
        f"({', '.join(map(repr, stages))}) or a regular expression for whole paths, such as {path!r}. "
        + (f"Did you mean {close[0]!r}?" if close else f"For everything under a name: '{rule}/.*'.")
    )


def _and_more(paths: Sequence[str]) -> str:
    return f" and {len(paths) - 1} more" if len(paths) > 1 else ""
