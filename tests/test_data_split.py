"""The split is stable, stratified and explains what is wrong with a folder."""

import hashlib
import re

import pytest

from tlkit import UserError
from tlkit.data import ImageFile, split_image_folder


def make_folder(root, numbers, extension=".jpg"):
    """Empty files are enough: the split opens none."""
    for name, number in numbers.items():
        (root / name).mkdir(parents=True)
        for index in range(number):
            (root / name / f"{index:04d}{extension}").touch()
    return root


def names(files):
    return [file.path.name for file in files]


def test_the_part_follows_from_the_documented_hash(tmp_path):
    make_folder(tmp_path, {"ant": 60, "bee": 40})
    splits = split_image_folder(tmp_path, seed=3)
    for part, (low, high) in {"train": (0, 0.7), "validation": (0.7, 0.85), "test": (0.85, 1)}.items():
        for path, label in getattr(splits, part):
            digest = hashlib.sha256(f"3:{('ant', 'bee')[label]}/{path.name}".encode()).digest()
            assert low <= int.from_bytes(digest[:8], "big") / 2**64 < high
    assert sum(map(len, splits[:3])) == 100
    assert splits.class_names == ["ant", "bee"]
    assert splits.test == sorted(splits.test, key=lambda file: (file.label, file.path))
    assert isinstance(splits.train[0], ImageFile)


def test_added_files_move_no_old_ones(tmp_path):
    make_folder(tmp_path, {"ant": 50, "bee": 50})
    before = split_image_folder(tmp_path, seed=0)
    for index in range(200):
        (tmp_path / "ant" / f"new{index}.png").touch()
    after = split_image_folder(tmp_path, seed=0)
    for old, new in zip(before[:3], after[:3], strict=True):
        assert set(old) <= set(new)


def test_another_seed_is_another_split_and_the_place_does_not_matter(tmp_path):
    here, there = (make_folder(tmp_path / place, {"ant": 80, "bee": 80}) for place in ("here", "there"))
    assert names(split_image_folder(here, seed=1).train) == names(split_image_folder(there, seed=1).train)
    assert names(split_image_folder(here, seed=1).train) != names(split_image_folder(here, seed=2).train)


def test_every_class_is_split_within_the_binomial_spread(tmp_path):
    make_folder(tmp_path, {"common": 1000, "rare": 100})
    splits = split_image_folder(tmp_path, split=(0.6, 0.2, 0.2), seed=0)
    for label, number in enumerate((1000, 100)):
        for part, share in zip(splits[:3], (0.6, 0.2, 0.2), strict=True):
            spread = (number * share * (1 - share)) ** 0.5
            assert abs(sum(file.label == label for file in part) - number * share) < 4 * spread


@pytest.mark.parametrize("seed", range(20))
def test_a_class_of_three_is_in_every_part(tmp_path, seed):
    make_folder(tmp_path, {"ant": 3, "bee": 4, "cat": 2, "dog": 1})
    splits = split_image_folder(tmp_path, seed=seed)
    counts = [[sum(file.label == label for file in part) for part in splits[:3]] for label in range(4)]
    assert counts[0] == [1, 1, 1]
    assert min(counts[1]) == 1
    assert counts[2] == [1, 1, 0]  # too few for all: train, then validation
    assert counts[3] == [1, 0, 0]


def test_without_a_test_share_test_is_empty(tmp_path):
    make_folder(tmp_path, {"ant": 20, "bee": 20})
    splits = split_image_folder(tmp_path, split=(0.7, 0.3, 0), seed=0)
    assert splits.test == [] and len(splits.train) + len(splits.validation) == 40


def test_given_parts_are_taken_as_they_are(tmp_path):
    for part, number in {"train": 7, "valid": 2, "test": 3}.items():
        make_folder(tmp_path / part, {"ant": number, "bee": number})
    splits = split_image_folder(tmp_path, seed=0)
    assert [len(part) for part in splits[:3]] == [14, 4, 6]
    assert {file.path.parts[-3] for file in splits.validation} == {"valid"}


def test_validation_is_cut_from_train_when_only_test_is_given(tmp_path):
    make_folder(tmp_path / "train", {"ant": 600, "bee": 600})
    make_folder(tmp_path / "test", {"ant": 5, "bee": 5})
    splits = split_image_folder(tmp_path, seed=0)
    assert len(splits.test) == 10 and len(splits.train) + len(splits.validation) == 1200
    share = 0.15 / 0.85
    assert abs(len(splits.validation) - 1200 * share) < 4 * (1200 * share * (1 - share)) ** 0.5


def test_train_and_val_leave_test_empty(tmp_path):
    make_folder(tmp_path / "train", {"ant": 4, "bee": 4})
    make_folder(tmp_path / "val", {"ant": 2, "bee": 2})
    assert [len(part) for part in split_image_folder(tmp_path, seed=0)[:3]] == [8, 4, 0]


def test_a_class_may_be_called_train(tmp_path):
    make_folder(tmp_path, {"train": 9, "plane": 9})
    assert split_image_folder(tmp_path, seed=0).class_names == ["plane", "train"]


def test_deeper_folders_are_searched_and_hidden_files_are_not(tmp_path):
    make_folder(tmp_path, {"ant/2024": 5, "ant/.thumbnails": 5, "bee": 5})
    (tmp_path / "bee" / "._0001.jpg").touch()
    (tmp_path / "bee" / "notes.txt").touch()
    (tmp_path / "ant" / "2024" / "again").symlink_to(tmp_path / "ant", target_is_directory=True)
    assert sum(map(len, split_image_folder(tmp_path, seed=0)[:3])) == 10


def test_an_unknown_extension_is_not_lost_in_silence(tmp_path):
    make_folder(tmp_path, {"ant": 3, "bee": 3})
    (tmp_path / "ant" / "phone.heic").touch()
    with pytest.warns(UserWarning, match=r"1 of the 7 files .* left out.*1 x \.heic"):
        split_image_folder(tmp_path, seed=0)


def test_mistakes_are_told_in_one_sentence(tmp_path):
    def check(message, folder, **options):
        with pytest.raises(UserError, match=message) as caught:
            split_image_folder(folder, seed=0, **options)
        assert "\n" not in str(caught.value)

    check("There is no folder", tmp_path / "nowhere")
    check("has no folder in it", make_folder(tmp_path / "empty", {"": 0}))
    check("only the one class folder 'ant'", make_folder(tmp_path / "one", {"ant": 3}))
    loose = make_folder(tmp_path / "loose", {"ant": 3, "bee": 3})
    (loose / "stray.jpg").touch()
    check(r"1 image \(stray.jpg\) directly in", loose)
    check("bee has no image in it .*it is empty", make_folder(tmp_path / "hollow", {"ant": 3, "bee": 0}))
    documents = make_folder(tmp_path / "documents", {"ant": 3})
    make_folder(documents, {"bee": 2}, extension=".pdf")
    check(re.escape("bee has no image in it (2 x .pdf)"), documents)
    differ = make_folder(tmp_path / "differ" / "train", {"ant": 3, "bee": 3}).parent
    make_folder(differ / "test", {"ant": 3, "wasp": 3})
    check("train has a class 'bee' and .*test has none", differ)
    headless = make_folder(tmp_path / "headless" / "test", {"ant": 3, "bee": 3}).parent
    check("has test/ but no train/", headless)
    twice = make_folder(tmp_path / "twice" / "train", {"ant": 3, "bee": 3}).parent
    make_folder(twice / "val", {"ant": 3, "bee": 3})
    make_folder(twice / "validation", {"ant": 3, "bee": 3})
    check("two folders for the same part", twice)
    for split in ((0.7, 0.3), (0.7, 0.2, 0.2), (1, 0, 0), (1.2, -0.1, -0.1)):
        check("expected three shares", loose, split=split)


def test_a_folder_beside_the_parts_is_told(tmp_path):
    for part in ("train", "test"):
        make_folder(tmp_path / part, {"ant": 3, "bee": 3})
    make_folder(tmp_path, {"unlabelled": 3})
    with pytest.warns(UserWarning, match=r"1 folder \(unlabelled\) beside"):
        split_image_folder(tmp_path, seed=0)
