"""What says at each place of the maps which class is there, and where the sides of its box are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tlkit.detection.feature_pyramid import WIDTH, finest_first
from tlkit.detection.locations import STRIDES, check_strides
from tlkit.errors import UserError

PRIOR = 0.01  # of an object at a place, before training: RetinaNet's section 4.1, taken over by FCOS
# Detectron's bound on what goes into exp: a box of 1000 / 16 strides. Without it one wild step makes infinity.
LARGEST_EXPONENT = math.log(1000 / 16)


@keras.saving.register_keras_serializable("tlkit")
class DetectionHead(keras.layers.Layer):
    """At every location of every map: a logit for each class, the distances to a box's sides, and a centerness.

    The head of FCOS: no anchor boxes. Its convolutions are the same for all maps; only a scale of the distances is
    each map's own. Train its outputs with `DetectionClassLoss`, `DetectionBoxLoss` and `CenternessLoss` on what
    `detection_targets` makes of boxes; `DetectionDecoder` makes boxes of them.

        class = W_c . T_c(P),   centerness = w . T_b(P),   box = stride_i * exp(s_i * (W_b . T_b(P)))
        P = map i at one place; T = `num_convolutions` times: 3x3 convolution, group normalisation, relu;
        s_i = learned scale, 1 at first; box = left, top, right, bottom: pixels from the location to the box's sides

    Args:
        num_classes: Int above 0.
        width: Int above 0, channels of the convolutions. Defaults to `128`: see Notes.
        num_convolutions: Int, at least 0, how many convolutions either tower T has. Defaults to `2`; the paper has 4.
        strides: Ints, finest map first, each twice the one before: pixels from one place of a map to the next. Defaults
            to `(8, 16, 32)`.

    Call arguments:
        maps: List of maps, finest first, or a dict of them whose sorted names are in that order; all with the same
            number of channels, height and width known.

    Input shape: `(batch, height_i, width_i, channels)` each.    Output shape: a dict of "class" `(batch, locations,
        num_classes)`, logits; "box" `(batch, locations, 4)`, pixels; "centerness" `(batch, locations, 1)`, logits.
        `locations` tells their order. All are float32, in mixed precision, too.

    Raises:
        UserError: When an argument is out of its range, or the maps are not one for each stride or of unknown size.

    Example:
        >>> from tlkit.detection import DetectionHead
        >>> head = DetectionHead(num_classes=5, width=32, strides=(8, 16))
        >>> outputs = head([np.zeros((1, 4, 4, 32), "float32"), np.zeros((1, 2, 2, 32), "float32")])
        >>> {name: tuple(tensor.shape) for name, tensor in outputs.items()}
        {'class': (1, 20, 5), 'box': (1, 20, 4), 'centerness': (1, 20, 1)}

    Notes:
        At first every class has probability 0.01, so that the many places without an object do not drown the rest.
        Group normalisation looks at one image at a time: small batches and several devices make no difference.
        Convolutions are separable, as in EfficientDet, the last ones 1x1. On two cores pyramid and head make a training
        step of MobileNetV2 on 320 x 320 pixels take 1.29 times as long as without them, and an answer 1.36 times,
        suppression included: `benchmarks/detection_speed.py`.

    Reference: Tian, Shen, Chen and He, 2019, "FCOS: Fully Convolutional One-Stage Object Detection", ICCV,
        https://arxiv.org/abs/1904.01355, sections 3.1 and 3.2; centerness beside the box as in its section 4.1.3 and
        the authors' code. The prior: https://arxiv.org/abs/1708.02002, section 4.1. Differs from it in: 256 channels, 4
        full convolutions and 3x3 predictions there; distances are in strides inside exp, as in the authors' code.
    """

    def __init__(
        self,
        num_classes: int,
        width: int = WIDTH,
        num_convolutions: int = 2,
        strides: Sequence[int] = STRIDES,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        for name, value, least in (
            ("num_classes", num_classes, 1),
            ("width", width, 1),
            ("num_convolutions", num_convolutions, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UserError(
                    f"DetectionHead: `{name}` is a number of things. Expected a whole number, at least {least}. "
                    f"Received: {name}={value!r}."
                )
        self.num_classes, self.width, self.num_convolutions = num_classes, width, num_convolutions
        self.strides = check_strides(strides)
        self.class_tower = self._tower()
        self.box_tower = self._tower()
        prior = keras.initializers.Constant(-math.log((1 - PRIOR) / PRIOR))
        self.class_logits = self._prediction(num_classes, prior)
        self.box_exponents = self._prediction(4)
        self.centerness_logits = self._prediction(1)

    def _tower(self) -> list[keras.layers.Layer]:
        layers: list[keras.layers.Layer] = []
        options = {"dtype": self.dtype_policy}
        for _ in range(self.num_convolutions):
            layers.append(keras.layers.SeparableConv2D(self.width, 3, padding="same", use_bias=False, **options))
            # 32 groups: Wu and He, 2018, https://arxiv.org/abs/1803.08494, table 3; fewer where 32 does not divide.
            layers.append(keras.layers.GroupNormalization(math.gcd(self.width, 32), **options))
            layers.append(keras.layers.ReLU(**options))
        return layers

    def _prediction(self, channels: int, bias: Any = "zeros") -> keras.layers.Layer:
        # Standard deviation 0.01: RetinaNet's section 4.1. In mixed precision it computes in the type of the weights.
        kernel = keras.initializers.RandomNormal(stddev=0.01)
        return keras.layers.Conv2D(
            channels, 1, kernel_initializer=kernel, bias_initializer=bias, dtype=self.variable_dtype
        )

    def build(self, maps_shape: Any) -> None:
        shapes = finest_first(maps_shape)
        self._check(shapes)
        for tower, predictions in (
            (self.class_tower, [self.class_logits]),
            (self.box_tower, [self.box_exponents, self.centerness_logits]),
        ):
            shape = tuple(shapes[0])
            for layer in tower:
                layer.build(shape)
                shape = layer.compute_output_shape(shape)
            for layer in predictions:
                layer.build(shape)
        self.scales = self.add_weight(shape=(len(self.strides),), initializer="ones", autocast=False, name="scales")
        self.built = True

    def _check(self, shapes: list[tuple[int | None, ...]]) -> None:
        if len(shapes) != len(self.strides):
            raise UserError(
                f"DetectionHead: there is not one map for each stride. Expected {len(self.strides)} maps, at strides "
                f"{self.strides}. Received: {len(shapes)} maps."
            )
        if any(None in shape[1:] for shape in shapes) or len({shape[-1] for shape in shapes}) > 1:
            raise UserError(
                f"DetectionHead: the maps do not fit. Expected a known height and width, and the same number of "
                f"channels in all, as `FeaturePyramid` gives them for images of one size. Received: shapes "
                f"{[tuple(shape) for shape in shapes]}."
            )

    def call(self, maps: Any, training: bool | None = None) -> dict[str, Any]:
        outputs: dict[str, list[Any]] = {"class": [], "box": [], "centerness": []}
        scales = ops.convert_to_tensor(self.scales)
        for level, (stride, each) in enumerate(zip(self.strides, finest_first(maps), strict=True)):
            of_class = of_box = each
            for layer in self.class_tower:
                of_class = layer(of_class)
            for layer in self.box_tower:
                of_box = layer(of_box)
            exponents = ops.minimum(scales[level] * self.box_exponents(of_box), LARGEST_EXPONENT)
            outputs["class"].append(_as_rows(self.class_logits(of_class)))
            outputs["box"].append(_as_rows(stride * ops.exp(exponents)))
            outputs["centerness"].append(_as_rows(self.centerness_logits(of_box)))
        return {name: ops.concatenate(levels, axis=1) for name, levels in outputs.items()}

    def compute_output_spec(self, maps: Any, training: bool | None = None) -> dict[str, keras.KerasTensor]:
        shapes = [tuple(each.shape) for each in finest_first(maps)]
        self._check(shapes)
        rows = sum(shape[1] * shape[2] for shape in shapes)
        channels = {"class": self.num_classes, "box": 4, "centerness": 1}
        return {
            name: keras.KerasTensor((shapes[0][0], rows, last), self.variable_dtype) for name, last in channels.items()
        }

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "width": self.width,
            "num_convolutions": self.num_convolutions,
            "strides": list(self.strides),
        }


def _as_rows(tensor: Any) -> Any:
    height, width, channels = tensor.shape[1:]
    return ops.reshape(tensor, (-1, height * width, channels))
