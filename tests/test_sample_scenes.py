"""The sample scenes are always the same ones, and nothing in one part is in another."""

import itertools

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tlkit.data import read_boxes, write_sample_scenes
from tlkit.data.boxes import sample_scenes
from tlkit.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "new"
    write_sample_scenes(folder)
    return folder


def test_scenes_have_what_was_promised(folder):
    table = read_boxes(folder)
    assert table.class_names == ["0", "1", "2", "3", "4"]
    parts = [image.split for image in table.images]
    assert [parts.count(part) for part in ("train", "validation", "test")] == [200, 50, 50]
    assert {(image.width, image.height) for image in table.images} == {(192, 192)}
    numbers = [len(image.boxes) for image in table.images]
    assert numbers.count(0) == 300 / 25 and max(numbers) == 5
    sides = np.concatenate([image.boxes[:, 2:] - image.boxes[:, :2] for image in table.images])
    # The ink of a digit as high as asked for may spread a little.
    assert 22 <= sides[:, 1].min() < 30 and 66 < sides[:, 1].max() <= 76
    for part in ("train", "validation", "test"):
        labels = np.concatenate([image.labels for image in table.images if image.split == part])
        assert np.bincount(labels).min() >= 20


def test_digits_hardly_overlap(folder):
    for image in read_boxes(folder).images:
        for one, other in itertools.combinations(image.boxes, 2):
            both = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None).prod()
            assert both <= 0.1 * min((box[2:] - box[:2]).prod() for box in (one, other))


def test_no_digit_is_in_two_parts():
    data = load_digits()
    parts = [sample_scenes._digits(data, *share) for share in sample_scenes.SHARES.values()]
    written = [{(digit.label, digit.levels.shape, digit.levels.tobytes()) for digit in part} for part in parts]
    assert sum(map(len, written)) == sum(map(len, parts)) == (data.target < 5).sum()  # none is there twice
    assert 500 < len(written[0]) < 560
    for one, other in itertools.combinations(written, 2):
        assert not one & other


def test_the_same_seed_writes_the_same_bytes(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_scenes, "SCENES", {"train": 3, "val": 2, "test": 2})
    write_sample_scenes(tmp_path / "a")
    write_sample_scenes(tmp_path / "b", seed=1)
    names = sorted(path.name for path in (tmp_path / "a" / "images").iterdir())
    assert len(names) == 7
    for name in names:
        content = (tmp_path / "a" / "images" / name).read_bytes()
        assert content == (folder / "images" / name).read_bytes()
        assert content != (tmp_path / "b" / "images" / name).read_bytes()
    assert set((tmp_path / "a" / "boxes.csv").read_text().splitlines()) <= set(
        (folder / "boxes.csv").read_text().splitlines()
    )


def test_a_folder_with_something_in_it_is_refused(folder):
    with pytest.raises(UserError, match="something is there"):
        write_sample_scenes(folder)
