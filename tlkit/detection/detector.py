"""A detector as one Keras model: backbone, pyramid and head; and, for use, the decoder on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tlkit.backbones import Backbone
from tlkit.detection.detection_decoder import OUTPUTS, DetectionDecoder
from tlkit.detection.detection_head import DetectionHead
from tlkit.detection.feature_pyramid import WIDTH, FeaturePyramid, finest_first
from tlkit.detection.locations import STRIDES, check_image_size, map_sizes
from tlkit.errors import UserError


def build_detector(
    backbone: keras.layers.Layer,
    num_classes: int,
    *,
    image_size: int | Sequence[int] | None = None,
    width: int = WIDTH,
    num_convolutions: int = 2,
    strides: Sequence[int] = STRIDES,
) -> keras.Model:
    """Put a detection head on a backbone: images go in, what there is at each location comes out.

    An ordinary model for `fit` on data that `detection_targets` was mapped over. Its layers are the backbone,
    "feature_pyramid" and "head"; `ProgressiveUnfreezing`, `prepare_unfreezing` and `LayerwiseLearningRates` find the
    backbone's stages in it. `with_decoder` gives the model that returns boxes.

    Args:
        backbone: Layer or model from images to their maps, finest first: of `load_backbone(handle, outputs="pyramid")`,
            or any that returns a list of maps, or a dict whose sorted names are in that order. It is part of the new
            model, not copied.
        num_classes: Int above 0.
        image_size: Int, or pair of ints, height and width in pixels. None takes the size that the backbone was trained
            on; twice that finds smaller objects.
        width: Int, channels of pyramid and head.
        num_convolutions: Int, convolutions of either tower of the head.
        strides: Ints, those of the backbone's maps, finest first. Defaults to `(8, 16, 32)`.

    Returns:
        An uncompiled `keras.Model` with the outputs "class", "box" and "centerness" of `DetectionHead`.

    Raises:
        UserError: When the backbone returns no such maps, its size is not known, or an argument is out of range.

    Example:
        >>> from tlkit.detection import CenternessLoss, DetectionBoxLoss, DetectionClassLoss, build_detector
        >>> backbone = tlkit.load_backbone("tlkit:mini-image", outputs="pyramid")
        >>> detector = build_detector(backbone, num_classes=3, image_size=96)
        >>> losses = {"class": DetectionClassLoss(), "box": DetectionBoxLoss(), "centerness": CenternessLoss()}
        >>> detector.compile("adam", losses)
        >>> detector.output["class"].shape  # 12 x 12 + 6 x 6 + 3 x 3 locations
        (None, 189, 3)

    Reference: Tian, Shen, Chen and He, 2019, "FCOS: Fully Convolutional One-Stage Object Detection", ICCV,
        https://arxiv.org/abs/1904.01355, figure 2. Differs from it in: three maps instead of five, and a lighter head.
    """
    if isinstance(backbone, Backbone) and backbone.outputs != "pyramid":
        raise UserError(
            f"build_detector: the backbone returns its '{backbone.outputs}' output. Expected maps of several sizes. "
            f"Load it with `load_backbone('{backbone.handle}', outputs='pyramid')`."
        )
    size = check_image_size(_known_size(backbone) if image_size is None else image_size)
    images = keras.Input((*size, 3), name="image")
    maps = backbone(images)
    _check_maps(maps, size, strides)
    pyramid = FeaturePyramid(width, name="feature_pyramid")(maps)
    head = DetectionHead(num_classes, width, num_convolutions, strides, name="head")
    return keras.Model(images, head(pyramid), name="detector")


def with_decoder(
    detector: keras.Model, *, max_detections: int = 100, score_threshold: float = 0.05, iou_threshold: float = 0.6
) -> keras.Model:
    """The model from images to boxes that a detector becomes with a `DetectionDecoder`: to predict, evaluate, export.

    It shares its weights with the detector, so it is as trained as that is.

    Args:
        detector: A model of `build_detector`, or what `tlkit.load_model` made of its file.
        max_detections: As of `DetectionDecoder`.
        score_threshold: As there.
        iou_threshold: As there.

    Returns:
        An uncompiled `keras.Model` with the outputs "boxes", "scores", "labels" and "num_detections".

    Raises:
        UserError: When the model has no `DetectionHead` whose outputs are its own.

    Example:
        >>> from tlkit.detection import build_detector, with_decoder
        >>> detector = build_detector(tlkit.load_backbone("tlkit:mini-image", outputs="pyramid"), 3, image_size=64)
        >>> found = with_decoder(detector, max_detections=10).predict(np.zeros((2, 64, 64, 3)), verbose=0)
        >>> found["boxes"].shape, found["labels"].shape
        ((2, 10, 4), (2, 10))
    """
    outputs = getattr(detector, "output", None) if getattr(detector, "inputs", None) else None
    heads = [layer for layer in getattr(detector, "layers", []) if isinstance(layer, DetectionHead)]
    if not isinstance(outputs, dict) or set(outputs) != set(OUTPUTS) or len(heads) != 1:
        raise UserError(
            f"with_decoder: the model '{getattr(detector, 'name', detector)}' is no detector. Expected a model with "
            f"the outputs 'class', 'box' and 'centerness' of one DetectionHead, as build_detector returns."
        )
    images = detector.inputs[0]
    decoder = DetectionDecoder(
        tuple(images.shape[1:3]),
        heads[0].strides,
        max_detections=max_detections,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        name="decoder",
    )
    return keras.Model(images, decoder(outputs), name="box_detector")


def _known_size(backbone: keras.layers.Layer) -> tuple[int, int]:
    shape = backbone.native_shape if isinstance(backbone, Backbone) else getattr(backbone, "input_shape", None)
    size = tuple(shape[-3:-1]) if isinstance(shape, tuple) else (None,)
    if None in size:
        raise UserError(
            f"build_detector: it is not known which size '{getattr(backbone, 'name', backbone)}' takes. Expected "
            f"`image_size`, height and width of the images in pixels. Type `image_size=320`, say."
        )
    return size


def _check_maps(maps: Any, size: tuple[int, int], strides: Sequence[int]) -> None:
    if not isinstance(maps, list | tuple | dict):
        raise UserError(
            f"build_detector: the backbone returns one tensor, of shape {tuple(maps.shape)}. Expected a list or a dict "
            f"of maps, finest first, one for each of the strides {tuple(strides)}."
        )
    expected, received = map_sizes(size, strides), [tuple(each.shape[1:3]) for each in finest_first(maps)]
    if received != expected:
        raise UserError(
            f"build_detector: the backbone's maps are not those of `strides`. Expected sizes {expected} for images of "
            f"{size[0]} x {size[1]} pixels at strides {tuple(strides)}. Received: {received}. Give the strides of the "
            f"backbone's maps, or an `image_size` that they divide."
        )
