"""The sample images: the promised layout, equal bytes for equal seeds, halves that do not meet."""

import importlib.util

import pytest
from PIL import Image

from tlkit import UserError
from tlkit.data import split_image_folder, write_sample_images


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "images"
    write_sample_images(folder)
    return folder


def test_layout(sample):
    splits = split_image_folder(sample, seed=0)
    names = "brick coins galaxies grass gravel handwriting moon print retina tissue"
    assert splits.class_names == names.split()
    assert len(splits.train) + len(splits.validation) == 150 and len(splits.test) == 300
    assert {file.label for file in splits.validation} == set(range(10))
    files = list(sample.rglob("*.png"))
    assert sum(file.stat().st_size for file in files) < 6e6
    for file in files:
        with Image.open(file) as image:
            assert image.size == (96, 96) and image.mode == "L"
            low, high = image.getextrema()
            assert high - low >= 8, f"{file.name} shows nothing"


def test_equal_seeds_write_equal_bytes(sample, tmp_path):
    def content(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")}

    write_sample_images(tmp_path / "again", seed=0)
    write_sample_images(tmp_path / "other", seed=1)
    expected = content(sample)
    assert content(tmp_path / "again") == expected
    assert all(data != expected[path] for path, data in content(tmp_path / "other").items())


def test_train_and_test_come_from_halves_that_do_not_meet(tmp_path, monkeypatch):
    """With photographs black at the left and white at the right, no crop sees the other half."""
    from tlkit.data import sample_images

    photos = tmp_path / "photos"
    photos.mkdir()
    for name in sample_images.PHOTOS.values():
        photo = Image.effect_noise((300, 200), 20).point(lambda level: level // 4)  # levels 0 to 63
        photo.paste(255, (150, 0, 300, 200))
        photo.paste(Image.effect_noise((150, 200), 20).point(lambda level: 192 + level // 4), (150, 0))
        photo.save(photos / name, quality=100)
    seen = {"train": [], "test": []}
    crop = sample_images._random_crop

    def watched(half, generator):
        seen["train" if half.getpixel((0, 0)) < 128 else "test"].append(half.getextrema())
        return crop(half, generator)

    monkeypatch.setattr(sample_images, "_photo_folder", lambda: photos)
    monkeypatch.setattr(sample_images, "_random_crop", watched)
    monkeypatch.setattr(sample_images, "SMALLEST_DEVIATION", 0.0)
    write_sample_images(tmp_path / "images")
    assert len(seen["train"]) == 150 and len(seen["test"]) == 300
    assert max(high for _, high in seen["train"]) < 128 < min(low for low, _ in seen["test"])


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError, match="something is there"):
        write_sample_images(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_missing_photographs_name_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"tlkit\[samples\]"):
        write_sample_images(tmp_path / "images")
    assert not (tmp_path / "images").exists()
