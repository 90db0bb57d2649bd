"""What opens and closes as one: the stages of a backbone, or groups of a model's layers, input first."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import keras

from tlkit.backbones import Backbone
from tlkit.errors import UserError


class Group(NamedTuple):
    """A stage or some layers: a name, its weights, and whether it trains."""

    name: str
    weights: tuple[keras.Variable, ...]
    is_open: bool


class BackboneStages:
    """The stages of a `Backbone` that is a layer of a model."""

    def __init__(self, backbone: Backbone):
        self.backbone = backbone
        self.name = f"'{backbone.name}'"
        self.why_none = backbone.why_whole

    @property
    def groups(self) -> tuple[Group, ...]:
        """The stages, input first."""
        return tuple(Group(stage.name, stage.weights, stage.is_open) for stage in self.backbone.stages)

    def open(self, last: int) -> None:
        """Open the last stages and close those before them."""
        if not self.backbone.why_whole:
            self.backbone.unfreeze(last=last)


class LayerGroups:
    """Layers of any Keras model, named in groups.

    Args:
        model: The model; layers of nested models are found, too.
        names: Lists of layer names, input first, or a dict of them by the name of the group.

    Raises:
        UserError: When a name is not a layer's, stands in two groups, or a group is empty.
    """

    why_none = "`groups` is empty"

    def __init__(self, model: keras.Model, names: Sequence[Sequence[str]] | Mapping[str, Sequence[str]]):
        layers = {layer.name: layer for layer in _all_layers(model)}
        named = names if isinstance(names, Mapping) else {_title(group): group for group in names}
        used: set[str] = set()
        for group in named.values():
            for name in group:
                if name not in layers:
                    close = difflib.get_close_matches(name, layers, n=1)
                    raise UserError(
                        f"groups: the model '{model.name}' has no layer '{name}'. "
                        + (f"Did you mean '{close[0]}'?" if close else "`model.summary()` shows their names.")
                    )
                if name in used:
                    raise UserError(f"groups: the layer '{name}' is named twice. Expected each layer in one group.")
                used.add(name)
            if isinstance(group, str) or not group:
                raise UserError(f"groups: {group!r} is no group. Expected lists of layer names, input first.")
        self.model = model
        self.name = f"the model '{model.name}'"
        self.layers = {title: tuple(layers[name] for name in group) for title, group in named.items()}

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups, input first."""
        return tuple(
            Group(title, tuple(w for layer in layers for w in layer.weights), all(layer.trainable for layer in layers))
            for title, layers in self.layers.items()
        )

    def open(self, last: int) -> None:
        """Open the last groups and close those before them."""
        first_open = len(self.layers) - last
        if last:
            self._open_what_holds_them()
        for position, layers in enumerate(self.layers.values()):
            for layer in layers:
                layer.trainable = position >= first_open

    def _open_what_holds_them(self) -> None:
        """A closed nested model hides its layers' weights, whatever their own flags say."""
        members = {id(layer) for layers in self.layers.values() for layer in layers}
        for holder in [self.model, *_all_layers(self.model)]:
            inside = list(_all_layers(holder))
            if not holder.trainable and any(id(layer) in members for layer in inside):
                flags = [layer.trainable for layer in inside]
                holder.trainable = True  # Keras writes it into every layer inside
                for layer, flag in zip(inside, flags, strict=True):
                    layer.trainable = flag


def _title(group: Sequence[str]) -> str:
    return group[0] if len(group) == 1 else f"{group[0]}…{group[-1]}" if group else ""


def _all_layers(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    for inner in getattr(layer, "layers", ()):
        yield inner
        yield from _all_layers(inner)


def find_backbones(model: keras.Model) -> list[Backbone]:
    """Every `Backbone` in a model, nested models included, each once."""
    found = {id(layer): layer for layer in _all_layers(model) if isinstance(layer, Backbone)}
    return list(found.values())
