"""The layers that weigh what an adaptation loss tells the encoder."""

from __future__ import annotations

import keras

from tlkit.callbacks.run_description import all_layers
from tlkit.errors import UserError

REVERSAL, SCALING = "tlkit>GradientReversal", "tlkit>GradientScaling"  # as they are registered in `tlkit.domain`


def gradient_scales(caller: str, model: keras.Model, kinds: tuple[str, ...] = (REVERSAL, SCALING)) -> list[keras.Layer]:
    """The layers of a model, and of models in it, that are of these kinds; each has a weight `scale`.

    Raises:
        UserError: When there is none.
    """
    found = [layer for layer in all_layers(model) if _names(layer) & set(kinds)]
    if not found:
        names = " or ".join(kind.partition(">")[2] for kind in kinds)
        raise UserError(
            f"{caller}: the model '{model.name}' has no layer {names}. Expected one before the domain output. Build it "
            f"with `build_dann` or one of its siblings in `tlkit.domain`."
        )
    return found


def _names(layer: keras.Layer) -> set[str]:
    return {keras.saving.get_registered_name(kind) for kind in type(layer).__mro__}
