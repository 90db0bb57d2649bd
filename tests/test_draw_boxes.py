"""Boxes on a picture: colours where they belong, the picture's own size, and what is refused."""

import numpy as np
import pytest
from PIL import Image

import tlkit
from tlkit.evaluation import draw_boxes


def test_a_class_has_one_colour_and_the_inside_stays():
    boxes = np.array([[10, 30, 40, 60], [60, 30, 90, 60], [100, 30, 130, 60]])
    picture = draw_boxes(Image.new("RGB", (160, 100), "white"), boxes, ["cat", "dog", "cat"], [0.9, 0.8, 0.7])
    first, second, third = (picture.getpixel((x, 45)) for x in (10, 60, 100))
    assert first == third != second and (255, 255, 255) not in (first, second)
    assert picture.getpixel((25, 45)) == (255, 255, 255) and picture.size == (160, 100)


def test_a_class_has_the_colour_of_its_place_among_all():
    box = np.array([[10, 30, 40, 60]])
    alone, among = (
        draw_boxes(Image.new("RGB", (64, 64)), box, ["dog"], colours=colours).getpixel((10, 45))
        for colours in (None, ["cat", "dog"])
    )
    assert alone == (230, 159, 0) and among == (86, 180, 233)  # the first colour and the second


def test_a_file_is_turned_as_it_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.new("RGB", (80, 40)).save(tmp_path / "a.jpg", exif=exif)
    assert draw_boxes(tmp_path / "a.jpg", np.zeros((0, 4)), []).size == (40, 80)


def test_what_is_refused(tmp_path):
    (tmp_path / "torn.png").write_bytes(b"\x89PNG")
    with pytest.raises(tlkit.UserError, match=r"torn.png' cannot be read"):
        draw_boxes(tmp_path / "torn.png", np.zeros((0, 4)), [])
    with pytest.raises(tlkit.UserError, match="1 boxes. Expected a class name, and a score, for each. Received: 2"):
        draw_boxes(Image.new("RGB", (8, 8)), np.zeros((1, 4)), ["a", "b"])
