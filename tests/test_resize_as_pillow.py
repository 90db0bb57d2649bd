"""Exported models resize pictures in TensorFlow as Pillow does, which they were trained on."""

import numpy as np
import PIL
import pytest
import tensorflow as tf
from PIL import Image

from tlkit.export.pixels import resize_as_pillow

# The order of directions is that of Pillow 13; with another one more pixels differ by a level.
SHARE = 0.94 if int(PIL.__version__.split(".")[0]) >= 13 else 0.7


@pytest.mark.parametrize(
    "size", [(96, 96), (48, 64), (64, 48), (130, 127), (300, 200), (200, 300), (128, 200), (250, 128)]
)
@pytest.mark.parametrize("wanted", [(128, 128), (96, 128), (64, 40)])
def test_levels_are_those_of_pillow(size, wanted):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = Image.fromarray(pixels).resize(wanted[::-1], Image.Resampling.BILINEAR)
    resized = resize_as_pillow(tf.constant(pixels), *wanted).numpy()
    assert np.abs(resized - np.asarray(expected, "float32")).max() <= 1
    assert (resized == np.asarray(expected)).mean() > SHARE


def test_halves_are_rounded_up():
    # Two columns to three: the middle one is the mean, 10 and 11 to 10.5, Pillow's 11.
    pixels = np.array([[[10] * 3, [11] * 3]], np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize((3, 1), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(expected[0, :, 0], [10, 11, 11])
    np.testing.assert_array_equal(resize_as_pillow(tf.constant(pixels), 1, 3).numpy(), expected)
