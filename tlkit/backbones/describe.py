"""What loading a backbone tells about it, in words: for `tlkit backbones HANDLE`."""

from __future__ import annotations

import keras
import tensorflow as tf

from tlkit.backbones.assemble import assemble
from tlkit.backbones.backbone import Backbone
from tlkit.backbones.graph import ProgramGraph
from tlkit.backbones.lift import Lifted
from tlkit.backbones.load import find_folder, open_model
from tlkit.backbones.safety import find_suspicious
from tlkit.errors import UserError


def describe_backbone(
    handle: str,
    *,
    weights: str = "pretrained",
    preprocessor: str | None = None,
    sequence_length: int | None = None,
    trust: bool = False,
) -> dict[str, str]:
    """Load a backbone and say what it offers; a handle that must be fetched is fetched.

    Args:
        handle: As `load_backbone` takes it.
        weights: As there. "random" spares fetching the weights of a "keras:…" network.
        preprocessor: As there.
        sequence_length: As there.
        trust: Bool. Whether to load a model that the scan found suspicious.

    Returns:
        Title -> sentence, in this order: folder, scan, input, features, maps (of texts: tokens), parameters, stages,
        cuts, training.
        Of a suspicious model that is not trusted only what the scan found.

    Raises:
        UserError: When there is no such model, or it cannot be loaded.

    Example:
        >>> from tlkit.backbones.describe import describe_backbone
        >>> describe_backbone("tlkit:mini-image")["features"]
        '320'
    """
    told: dict[str, str] = {}
    if not handle.startswith(("keras:", "kerashub:")):
        folder = find_folder(handle)
        told["folder"] = str(folder)
        found = find_suspicious(folder) if (folder / "saved_model.pb").is_file() else []
        told["scan"] = f"would reach outside the model: {', '.join(found)}" if found else "nothing suspicious"
        if found and not trust:
            told["loading"] = "refused without `trust=True`: only for models whose maker's code you would run"
            return told
    lifted = open_model(
        handle, weights=weights, preprocessor=preprocessor, sequence_length=sequence_length, trust=trust
    )
    backbone = assemble(lifted, handle)
    graph = ProgramGraph(backbone.program, (None, *backbone.native_shape))
    told["input"] = backbone.input_in_words
    features = backbone.compute_output_spec(keras.Input(backbone.native_shape, dtype=backbone.program.input_dtype.name))
    told["features"] = f"{features.shape[-1]}" if len(features.shape) == 2 else f"of shape {features.shape[1:]}"
    if backbone.text is None:
        told["maps"] = _maps(graph)
    else:
        told["tokens"] = _tokens(backbone)
    told["parameters"] = f"{backbone.count_params():,} in {len(backbone.weights)} weights"
    told["stages"] = _stages(backbone)
    told["cuts"] = _cuts(backbone)
    told["training"] = _training(lifted)
    return told


def _maps(graph: ProgramGraph) -> str:
    if graph.last_map is None:
        return "none, so outputs='spatial' and 'pyramid' are not to be had"

    def words(tensor: tf.Tensor) -> str:
        return " x ".join(map(str, tensor.shape[1:]))

    levels = ", ".join(f"{level} {words(tensor)}" for level, tensor in graph.pyramid().items())
    return f"the last is {words(graph.last_map)}; pyramid: {levels or 'none'}"


def _tokens(backbone: Backbone) -> str:
    known = backbone.program.endpoints
    vectors = "outputs='sequence' gives a vector for each" if "sequence" in known else "no vectors of single ones"
    return f"{vectors}; count_tokens() {'tells' if 'num_tokens' in known else 'does not know'} how many a text has"


def _stages(backbone: Backbone) -> str:
    if not backbone.stages:
        return "none"
    listed = ", ".join(f"{stage.name} {stage.num_parameters:,}" for stage in backbone.stages)
    return f"{len(backbone.stages)} (name and parameters, input first): {listed}"


def _cuts(backbone: Backbone) -> str:
    """Between which stages it can be split."""
    whole = range(1, len(backbone.stages))
    possible = [number for number in whole if _can_split(backbone, number)]
    if len(possible) == len(whole):
        return "split() works after every stage" if possible else "none"
    return f"split() works after {', '.join(map(str, possible)) or 'no'} of the {len(whole)} inner stages"


def _can_split(backbone: Backbone, num_frozen: int) -> bool:
    try:
        backbone.split(num_frozen)
    except UserError:
        return False
    return True


def _training(lifted: Lifted) -> str:
    if lifted.why_whole:
        return f"none: {lifted.why_whole}"
    if lifted.training_program is None:
        return "in inference mode only (BatchNorm stands still, no dropout): the model has no graph for training"
    return "in inference mode, or with training_mode=True in the model's own (moving BatchNorm, dropout)"
