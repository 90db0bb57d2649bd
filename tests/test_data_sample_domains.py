"""The sample domains: the promised layout, the same bytes each time, and the digits that they are said to be."""

import collections

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tlkit import UserError
from tlkit.data import load_unlabelled_images, split_image_folder, write_sample_domains

DIGITS = [str(digit) for digit in range(10)]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    write_sample_domains(folder / "source", folder / "target")
    return folder


def pixels(file, size=32):
    """The image in `size` x `size` blocks, each the mean of its pixels, in [0, 1]."""
    with Image.open(file) as image:
        return np.asarray(image.resize((size, size), Image.Resampling.BOX)) / 255


def test_layout(sample):
    source = split_image_folder(sample / "source", seed=0)
    assert source.class_names == DIGITS
    labels = collections.Counter(file.label for part in source[:3] for file in part)
    assert set(labels.values()) == {100}  # 20 fonts, 5 widths
    target = load_unlabelled_images(sample / "target", image_size=32, batch_size=32, class_names=DIGITS, seed=0)
    assert len(target.files.train) == 1500 and len(target.files.test) == 297
    assert all(file.path.parent.name == "train" for file in target.files.train)  # nothing tells their classes
    for file in sample.rglob("*.png"):
        with Image.open(file) as image:
            assert image.size == (32, 32) and image.mode == "L"
            assert image.getextrema()[1] >= 150, f"{file.name} shows nothing"


def test_handwritten_digits_are_those_of_the_data_set_each_once(sample):
    digits, files = load_digits(), list((sample / "target").rglob("*.png"))
    written = {int(file.stem): file for file in files}
    assert sorted(int(file.stem) for file in files) == list(range(1797))
    for number in (0, 1499, 1500, 1796):
        # Bicubic enlargement keeps the mean of a block of 4 x 4 near its level, of 0 to 16.
        small = pixels(written[number], 8)
        assert np.corrcoef(small.ravel(), digits.images[number].ravel())[0, 1] > 0.97
        assert number < 1500 or written[number].parent.name == str(digits.target[number])


def test_printed_digits_are_what_they_are_said_to_be(sample):
    files = {digit: sorted((sample / "source" / digit).iterdir()) for digit in DIGITS}
    means = np.stack([np.mean([pixels(file) for file in files[digit]], axis=0) for digit in DIGITS])
    # 6 and 9 are each other turned upside down; no other pair of digits is more like that than a digit is like itself.
    turned = means[:, ::-1, ::-1].reshape(10, -1)
    likeness = np.corrcoef(turned, means.reshape(10, -1))[:10, 10:]
    assert likeness[6].argmax() == 9 and likeness[9].argmax() == 6
    assert [likeness[digit].argmax() for digit in (0, 8)] == [0, 8]
    # With one and seven, print has the least ink; with zero and eight, much.
    ink = means.mean(axis=(1, 2))
    assert set(ink.argsort()[:2]) == {1, 7} and set(ink.argsort()[-4:]) >= {0, 8}
    # Each fills the height, as the handwritten ones do: ink in the upper and the lower eighth.
    for file in sum(files.values(), []):
        rows = pixels(file, 8).max(axis=1)
        assert rows[0] > 0.1 and rows[-1] > 0.1, file


def test_nothing_is_there_twice(sample):
    contents = [file.read_bytes() for file in sample.rglob("*.png")]
    assert len(set(contents)) == len(contents)


def test_the_same_bytes_each_time(sample, tmp_path):
    def content(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")}

    write_sample_domains(tmp_path / "source", tmp_path / "target")
    assert content(tmp_path) == content(sample)


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="because something is there"):
        write_sample_domains(tmp_path / "source", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
