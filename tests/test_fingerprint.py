"""What changes the fingerprint of an image data set, and what does not."""

import os
import shutil

import pytest
from PIL import Image

from tlkit.data import fingerprint_images, split_image_folder


def make_photos(folder):
    for class_name in ("ant", "bee"):
        (folder / class_name).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(folder / class_name / f"{number}.png")
    return folder


def fingerprint(folder, seed=0):
    return fingerprint_images(split_image_folder(folder, seed=seed))


def test_it_is_the_same_wherever_the_photos_lie(tmp_path):
    first = fingerprint(make_photos(tmp_path / "a"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert fingerprint(tmp_path / "b") == first
    assert first["classes"] == "ant, bee"
    assert first["train"].startswith("8 images (")


def another_photo(folder):
    Image.new("RGB", (8, 8)).save(folder / "ant" / "new.png")


def another_size(folder):
    Image.new("RGB", (80, 80)).save(folder / "ant" / "0.png")


def another_label(folder):
    (folder / "ant" / "0.png").rename(folder / "bee" / "was_ant.png")


def another_class_name(folder):
    (folder / "ant").rename(folder / "antelope")


@pytest.mark.parametrize("change", [another_photo, another_size, another_label, another_class_name])
def test_it_changes_with_the_photos(tmp_path, change):
    before = fingerprint(make_photos(tmp_path / "a"))
    change(tmp_path / "a")
    assert fingerprint(tmp_path / "a") != before


def test_it_changes_with_the_split(tmp_path):
    folder = make_photos(tmp_path / "a")
    assert fingerprint(folder, seed=1)["train"] != fingerprint(folder, seed=0)["train"]


def very_files(folder):
    return fingerprint_images(split_image_folder(folder, seed=0), times=True)


def test_of_very_files_place_and_time_count(tmp_path):
    """A file of the same name and size may show something else."""
    first = very_files(make_photos(tmp_path / "a"))
    assert very_files(tmp_path / "a") == first
    shutil.copytree(tmp_path / "a", tmp_path / "b")  # with its times
    assert very_files(tmp_path / "b") != first
    os.utime(tmp_path / "a" / "ant" / "0.png", (0, 0))
    assert very_files(tmp_path / "a") != first
