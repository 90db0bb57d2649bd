"""The split is stable, stratified and explains what is wrong with a folder."""

import hashlib
import re
import zipfile

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
    check(
        "no class has a second image, so that nothing is left for", make_folder(tmp_path / "few", {"ant": 1, "bee": 1})
    )
    documents = make_folder(tmp_path / "documents", {"ant": 3})
    make_folder(documents, {"bee": 2}, extension=".pdf")
    check(re.escape("bee has no image in it (2 x .pdf)"), documents)
    voc = make_folder(tmp_path / "voc", {"JPEGImages": 3})
    make_folder(voc, {"Annotations": 2}, extension=".xml")
    check(re.escape("Annotations has no image in it, but 2 x .xml: these look like boxes") + ".*detection-head", voc)
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


def test_images_beside_the_parts_are_told(tmp_path):
    for part in ("train", "test"):
        make_folder(tmp_path / part, {"ant": 3, "bee": 3})
    (tmp_path / "stray.jpg").touch()
    with pytest.warns(UserWarning, match=r"1 image \(stray.jpg\) beside .*train left out of the split"):
        split_image_folder(tmp_path, seed=0)


def test_what_systems_leave_behind_is_no_class(tmp_path):
    make_folder(tmp_path, {"ant": 3, "bee": 3, "__MACOSX": 1, "ant/@eaDir": 1})
    splits = split_image_folder(tmp_path, seed=0)
    assert splits.class_names == ["ant", "bee"] and sum(map(len, splits[:3])) == 6


def test_a_link_to_a_folder_above_is_not_followed(tmp_path):
    make_folder(tmp_path, {"ant": 3, "bee": 3})
    for number, target in enumerate((tmp_path / "ant", tmp_path, tmp_path.parent)):
        (tmp_path / "ant" / f"again{number}").symlink_to(target, target_is_directory=True)
    assert sum(map(len, split_image_folder(tmp_path, seed=0)[:3])) == 6


# Groups -------------------------------------------------------------------------------------------


def make_bursts(root, numbers, size=3):
    """Class folders with bursts of `size` images each: ant/p00_0.jpg, ant/p00_1.jpg ..."""
    for name, number in numbers.items():
        (root / name).mkdir(parents=True)
        for burst in range(number):
            for index in range(size):
                (root / name / f"p{burst:02d}_{index}.jpg").touch()
    return root


def parts_of_groups(splits, group):
    found = {}
    for part, files in enumerate(splits[:3]):
        for file in files:
            found.setdefault(group(file.path), set()).add(part)
    return found


def test_a_group_goes_where_its_own_hash_says(tmp_path):
    make_bursts(tmp_path, {"ant": 60, "bee": 60})
    splits = split_image_folder(tmp_path, seed=3, group_pattern=r"/(p\d+)_")
    found = parts_of_groups(splits, lambda path: path.stem.split("_")[0])  # p07 of both classes is one group
    assert len(found) == 60 and sum(map(len, splits[:3])) == 360
    for group, parts in found.items():
        digest = hashlib.sha256(f"3:{group}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        assert parts == {0 if place < 0.7 else 1 if place < 0.7 + 0.15 else 2}


def test_the_whole_match_is_the_group_where_nothing_is_captured(tmp_path):
    make_bursts(tmp_path, {"ant": 20, "bee": 20})
    whole = split_image_folder(tmp_path, seed=0, group_pattern=r"(?:ant|bee)/p\d+")
    assert all(len(parts) == 1 for parts in parts_of_groups(whole, lambda path: path.as_posix()[:-6]).values())
    assert whole == split_image_folder(tmp_path, seed=0, group_pattern=r"(\w+/p\d+)_\d")


def test_files_that_the_pattern_does_not_match_stay_where_they_were(tmp_path):
    make_bursts(make_folder(tmp_path, {"cat": 100, "dog": 100}), {"ant": 30, "bee": 30})
    plain = split_image_folder(tmp_path, seed=0)
    grouped = split_image_folder(tmp_path, seed=0, group_pattern=r"^(?:cat/|(\w+/p\d+)_)")  # matches, captures nothing
    for before, after in zip(plain[:3], grouped[:3], strict=True):
        alone = ("cat", "dog")
        assert [f for f in before if f.path.parent.name in alone] == [f for f in after if f.path.parent.name in alone]
    assert plain == split_image_folder(tmp_path, seed=0, group_pattern="")


@pytest.mark.parametrize("seed", range(10))
def test_every_class_of_few_groups_is_in_every_part(tmp_path, seed):
    make_bursts(tmp_path, {"ant": 3, "bee": 5, "cat": 2, "dog": 1})
    splits = split_image_folder(tmp_path, seed=seed, group_pattern=r"\w+/p\d+")
    counts = [[sum(file.label == label for file in part) for part in splits[:3]] for label in range(4)]
    assert counts[0] == [3, 3, 3] and min(counts[1]) >= 3
    assert counts[2:] == [[3, 3, 0], [3, 0, 0]]


def test_added_images_of_a_group_go_to_its_part(tmp_path):
    make_bursts(tmp_path, {"ant": 30, "bee": 30})
    before = split_image_folder(tmp_path, seed=0, group_pattern=r"\w+/p\d+")
    for burst in range(30):
        (tmp_path / "ant" / f"p{burst:02d}_new.jpg").touch()
    after = split_image_folder(tmp_path, seed=0, group_pattern=r"\w+/p\d+")
    for old, new in zip(before[:3], after[:3], strict=True):
        assert set(old) <= set(new)
    assert all(len(parts) == 1 for parts in parts_of_groups(after, lambda path: path.as_posix()[:-6]).values())


def test_validation_is_cut_from_train_by_group(tmp_path):
    make_bursts(tmp_path / "train", {"ant": 40, "bee": 40})
    make_folder(tmp_path / "test", {"ant": 5, "bee": 5})
    splits = split_image_folder(tmp_path, seed=0, group_pattern=r"(p\d+)_")
    assert all(len(parts) == 1 for parts in parts_of_groups(splits, lambda path: path.name[:3]).values())
    assert len(splits.test) == 10 and splits.validation


def test_groups_in_two_given_parts_are_told_by_name(tmp_path):
    make_bursts(tmp_path / "train", {"ant": 9, "bee": 9})
    make_bursts(tmp_path / "val", {"ant": 4, "bee": 2})
    with pytest.warns(UserWarning, match=r"has images of 4 groups \(p00, p01, p02 and 1 more\) in several of its"):
        splits = split_image_folder(tmp_path, seed=0, group_pattern=r"(p\d+)_")
    assert [len(part) for part in splits[:3]] == [54, 18, 0]  # taken as given all the same


def test_groups_of_a_table(tmp_path):
    make_folder(tmp_path / "photos", {"": 90})
    lines = [f"{n:04d}.jpg,{'ab'[n % 2]},{f'patient {n // 6}' if n < 84 else ''}" for n in range(90)]
    table = tmp_path / "photos" / "table.csv"
    table.write_text("\n".join(["file,label,group", *lines]), encoding="utf-8")
    splits = split_image_folder(table, seed=1)
    found = parts_of_groups(splits, lambda path: int(path.stem) // 6)
    assert all(len(parts) == 1 for group, parts in found.items() if group < 14)
    for group in range(14):
        place = int.from_bytes(hashlib.sha256(f"1:patient {group}".encode()).digest()[:8], "big") / 2**64
        assert found[group] == {0 if place < 0.7 else 1 if place < 0.7 + 0.15 else 2}


def test_mistakes_about_groups(tmp_path):
    make_bursts(tmp_path, {"ant": 4, "bee": 4})

    def check(message, pattern):
        with pytest.raises(UserError, match=message) as caught:
            split_image_folder(tmp_path, seed=0, group_pattern=pattern)
        assert "\n" not in str(caught.value)

    check(re.escape("The group_pattern '(p' is no regular expression (missing ), unterminated subpattern at"), "(p")
    check("finds nothing in any of the 24 paths, such as 'ant/p00_0.jpg'", "patient")
    check("finds nothing in any of the 24 paths", "x*")  # matches everywhere, an empty text
    check(r"its 24 images are of 1 group \(p\), and no class is in two of them", "p")


def test_an_archive_in_the_place_of_a_table(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ant/1.png", bytes(range(256)) * 40)
    with pytest.raises(UserError, match="photos.zip is an archive. Unpack it"):
        split_image_folder(tmp_path / "photos.zip", seed=0)
