"""The sample domains: the promised layout, equal bytes for equal seeds, and the digits that they are said to be."""

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


def test_layout(sample):
    source = split_image_folder(sample / "source", seed=0)
    assert source.class_names == DIGITS and sum(map(len, source[:3])) == 900
    target = load_unlabelled_images(sample / "target", image_size=32, batch_size=32, class_names=DIGITS, seed=0)
    assert len(target.files.train) == 600 and len(target.files.test) == 297
    assert all(file.path.parent.name == "train" for file in target.files.train)  # nothing tells their classes
    for file in sample.rglob("*.png"):
        with Image.open(file) as image:
            assert image.size == (32, 32) and image.mode == ("L" if "source" in file.parts else "RGB")
            assert max(image.convert("L").getextrema()) >= 150, f"{file.name} shows nothing"


def test_handwritten_digits_are_those_of_the_data_set_each_once(sample):
    digits, files = load_digits(), list(sample.rglob("*.png"))
    written = {int(file.stem): file for file in files}
    assert sorted(int(file.stem) for file in files) == list(range(1797))
    for number in (0, 899, 900, 1499, 1500, 1796):
        with Image.open(written[number]) as image:
            small = np.asarray(image.convert("L").resize((8, 8), Image.Resampling.BOX)) / 255
        # Bicubic enlargement keeps the mean of a block of 4 x 4 near its level, of 0 to 16; a photo disturbs it.
        likeness = np.corrcoef(small.ravel(), digits.images[number].ravel())[0, 1]
        assert likeness > 0.97 if number < 900 else likeness > 0.3
        assert 900 <= number < 1500 or written[number].parent.name == str(digits.target[number])


def test_strokes_lie_on_the_photo(sample):
    """Without ink a pixel is at most 0.8 of the photo's white, 204; full ink is at least 0.8 of white, 204."""
    digits, full, empty = load_digits().images, [], []
    for file in sorted((sample / "target" / "test").rglob("*.png")):
        middle = np.asarray(Image.open(file))[1::4, 1::4]  # a pixel inside each block of 4 x 4
        full.append(middle[digits[int(file.stem)] == 16])
        empty.append(middle[digits[int(file.stem)] == 0])
    assert np.median(np.concatenate(full)) >= 204
    assert np.percentile(np.concatenate(empty), 95) <= 204 and np.concatenate(empty).std() > 20  # a photo is there


def test_equal_seeds_write_equal_bytes(sample, tmp_path):
    def content(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")}

    write_sample_domains(tmp_path / "source", tmp_path / "target", seed=0)
    write_sample_domains(tmp_path / "same", tmp_path / "other", seed=1)
    assert content(tmp_path / "source") == content(sample / "source") == content(tmp_path / "same")
    assert content(tmp_path / "target") == content(sample / "target") != content(tmp_path / "other")


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="because something is there"):
        write_sample_domains(tmp_path / "source", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
