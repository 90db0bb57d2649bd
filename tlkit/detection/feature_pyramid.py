"""Maps of several sizes that all know what the deepest one knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from tlkit.errors import UserError

WIDTH = 128  # of pyramid and head: see `FeaturePyramid`


@keras.saving.register_keras_serializable("tlkit")
class FeaturePyramid(keras.layers.Layer):
    """Carry what the coarse maps know down to the fine ones, and give all the same number of channels.

    A backbone's fine maps show where something is, its coarse ones what it is; a detector needs both at every size.

        M_i = lateral_i(C_i) + upsampled(M_(i+1)),   M_last = lateral_last(C_last)
        P_i = smoothing_i(M_i)
        C_i = the backbone's maps; lateral = 1x1 convolution; upsampled = each pixel twice in height and width;
        smoothing = 3x3 convolution

    Args:
        width: Int above 0, channels of every map. Defaults to `128`: see Notes.

    Call arguments:
        maps: List of maps, finest first, or a dict of them whose sorted names are in that order, as
            `load_backbone(handle, outputs="pyramid")` gives them. Each has half the height and width of the one before,
            rounded up.

    Input shape: `(batch, height_i, width_i, channels_i)` each.    Output shape: a list of `(batch, height_i, width_i,
        width)`, finest first.

    Raises:
        UserError: When `width` is no number of channels, or the maps are not each half as high and wide as the last.

    Example:
        >>> from tlkit.detection import FeaturePyramid
        >>> maps = [np.zeros((1, 13, 13, 32), "float32"), np.zeros((1, 7, 7, 64), "float32")]
        >>> [map.shape for map in FeaturePyramid(width=16)(maps)]
        [TensorShape([1, 13, 13, 16]), TensorShape([1, 7, 7, 16])]

    Notes:
        An odd height or width, 13 above 7, say: upsampling gives 14, and the last row or column is left out.
        The smoothing is separable, 3x3 in each channel and then 1x1, as in EfficientDet: one full 3x3 convolution of
        256 channels, as in the paper, at the 2,100 places in an image of 320 x 320 pixels takes 1.2e9 multiplications,
        twice those of all MobileNetV2 (0.3e9 for 224 x 224).

    Reference: Lin, Dollár, Girshick, He, Hariharan and Belongie, 2017, "Feature Pyramid Networks for Object Detection",
        CVPR, https://arxiv.org/abs/1612.03144, section 3. Differs from it in: the width, 256 there; separable
        smoothing, from Tan, Pang and Le, 2020, https://arxiv.org/abs/1911.09070, section 3.3.
    """

    def __init__(self, width: int = WIDTH, **kwargs: Any):
        super().__init__(**kwargs)
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise UserError(
                f"FeaturePyramid: `width` is the number of channels of every map. Expected a whole number above 0. "
                f"Received: width={width!r}."
            )
        self.width = width
        self.laterals: list[keras.layers.Layer] = []
        self.smoothings: list[keras.layers.Layer] = []

    def build(self, maps_shape: Any) -> None:
        shapes = finest_first(maps_shape)
        _check_halved(shapes)
        for shape in shapes:
            lateral = keras.layers.Conv2D(self.width, 1, dtype=self.dtype_policy)
            smoothing = keras.layers.SeparableConv2D(self.width, 3, padding="same", dtype=self.dtype_policy)
            lateral.build(shape)
            smoothing.build((*shape[:-1], self.width))
            self.laterals.append(lateral)
            self.smoothings.append(smoothing)
        self.built = True

    def call(self, maps: Any) -> list[Any]:
        merged = [lateral(each) for lateral, each in zip(self.laterals, finest_first(maps), strict=True)]
        for level in reversed(range(len(merged) - 1)):
            height, width = ops.shape(merged[level])[1:3]
            upsampled = ops.repeat(ops.repeat(merged[level + 1], 2, axis=1), 2, axis=2)
            merged[level] = merged[level] + upsampled[:, :height, :width]
        return [smoothing(each) for smoothing, each in zip(self.smoothings, merged, strict=True)]

    def compute_output_spec(self, maps: Any) -> list[keras.KerasTensor]:
        return [keras.KerasTensor((*each.shape[:-1], self.width), self.compute_dtype) for each in finest_first(maps)]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width}


def finest_first(maps: Any) -> list[Any]:
    """Maps, or their shapes, as a list, finest first."""
    return [maps[name] for name in sorted(maps)] if isinstance(maps, Mapping) else list(maps)


def _check_halved(shapes: Sequence[Sequence[int | None]]) -> None:
    for fine, coarse in zip(shapes, shapes[1:], strict=False):
        for longer, shorter in zip(fine[1:3], coarse[1:3], strict=True):
            if longer is not None and shorter is not None and shorter != -(-longer // 2):
                raise UserError(
                    f"FeaturePyramid: the maps are no pyramid. Expected maps, finest first, each half as high and wide "
                    f"as the one before, rounded up. Received: shapes {[tuple(shape) for shape in shapes]}."
                )
