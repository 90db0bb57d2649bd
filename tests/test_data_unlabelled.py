"""Images of a target domain: what is learned from, what is held out, and where labels are and are not known."""

import numpy as np
import pytest
from PIL import Image

from tlkit import UserError
from tlkit.data import epochs, fingerprint_images, load_unlabelled_images


def write(folder, names):
    """One image for each name, of a grey level that tells its number."""
    for level, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (12, 9), level).save(folder / name)
    return folder


def load(folder, **options):
    return load_unlabelled_images(folder, **{"image_size": 8, "batch_size": 4, "seed": 1, **options})


def levels(dataset):
    return [round(float(image[0, 0, 0]) * 255) for images in dataset for image in images]


def names(files, folder):
    return [file.path.relative_to(folder).as_posix() for file in files]


def test_all_depths_one_order_an_epoch_and_nothing_in_both_parts(tmp_path):
    folder = write(tmp_path, [f"{'deep/er/' * (number % 2)}{number:02d}.png" for number in range(40)])
    (folder / "notes.txt").write_text("no image")
    target = load(folder)
    assert sorted(levels(target.train) + levels(target.held_out)) == list(range(40))
    assert levels(target.held_out) == [int(name[-6:-4]) for name in names(target.files.test, folder)]
    assert next(iter(target.train)).shape == (4, 8, 8, 3) and target.labelled is None
    assert 5 <= len(target.files.test) <= 19  # 12 expected; four standard deviations, sqrt(40 * .3 * .7) = 2.9, below
    first, second = levels(target.train_epoch((1, 0))), levels(target.train_epoch((1, 1)))
    assert first != second and sorted(first) == sorted(second) == sorted(levels(target.train))
    chained = epochs(target.train_epoch, seed=1).take(2 * len(target.train))
    assert levels(chained) == first + second
    assert load(folder).files == target.files and load(folder, seed=2).files != target.files
    assert fingerprint_images(target.files)["train"].startswith(f"{len(target.files.train)} images")


def test_images_added_later_move_none(tmp_path):
    folder = write(tmp_path, [f"{number}.png" for number in range(30)])
    before = load(folder).files
    after = load(write(folder, [f"later{number}.png" for number in range(30)])).files
    assert set(before.train) <= set(after.train) and set(before.test) <= set(after.test)


def test_names_of_classes_are_labels_to_judge_by(tmp_path):
    folder = write(tmp_path, [f"{name}/{number}.png" for name in ("bee", "ant") for number in range(20)])
    target = load(folder, class_names=["ant", "bee", "wasp"])  # none of the last
    images, labels = zip(*target.labelled, strict=True)
    # Levels 0 to 19 were written as bees, number 1.
    assert np.concatenate(labels).tolist() == [int(level < 20) for level in levels(images)]
    assert target.train.element_spec.shape.rank == 4  # no labels beside them
    assert target.files == load(folder).files._replace(
        train=target.files.train, test=target.files.test, class_names=["ant", "bee", "wasp"]
    )
    assert [file.path for file in load(folder).files.train] == [file.path for file in target.files.train]


def test_given_parts_of_which_one_is_labelled(tmp_path):
    folder = write(tmp_path, [f"train/{number}.png" for number in range(6)])
    write(folder, ["test/ant/6.png", "test/bee/7.png", "test/bee/8.png"])
    target = load(folder, class_names=["ant", "bee"])
    assert names(target.files.train, folder) == [f"train/{number}.png" for number in range(6)]
    assert [int(label) for _, labels in target.labelled for label in labels] == [0, 1, 1]
    assert [file.label for file in target.files.train] == [()] * 6


def test_what_is_labelled_in_part_judges_nothing(tmp_path):
    folder = write(tmp_path, ["train/0.png", "train/1.png", "test/ant/2.png", "test/3.png"])
    assert load(folder, class_names=["ant", "bee"]).labelled is None


@pytest.mark.parametrize("given", [["val"], ["valid", "test"], ["Validation"]])
def test_any_part_beside_train_is_held_out(tmp_path, given):
    write(tmp_path, ["train/0.png", *(f"{name}/{number}.png" for number, name in enumerate(given))])
    target = load(tmp_path)
    assert len(target.files.train) == 1 and len(target.files.test) == len(given)


def test_train_alone_is_cut(tmp_path):
    target = load(write(tmp_path, [f"train/{number}.png" for number in range(12)]))
    assert target.files.train and target.files.test


def test_two_images_are_enough(tmp_path):
    target = load(write(tmp_path, ["0.png", "1.png"]))
    assert (len(target.files.train), len(target.files.test)) == (1, 1)


@pytest.mark.parametrize(
    ("files", "options", "sentence"),
    [
        ([], {}, "has no image in it"),
        (["0.png"], {}, "has one image in it"),
        (["train/0.png", "test/a.txt"], {}, "has no image to be held out"),
        (["ant/0.png", "wasp/1.png"], {"class_names": ["ant", "bee"]}, "1 folder (wasp) beside them"),
        (["0.png", "1.png"], {"held_out": 1.0}, "Received: held_out=1.0"),
        (["0.png", "1.png"], {"on_corrupt": "drop"}, "Received: 'drop'"),
    ],
)
def test_what_cannot_be(tmp_path, files, options, sentence):
    write(tmp_path, [name for name in files if name.endswith("png")])
    for name in files:
        if name.endswith("txt"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("")
    with pytest.raises(UserError) as error:
        load(tmp_path, **options)
    assert sentence in str(error.value)


def test_no_folder(tmp_path):
    with pytest.raises(UserError, match="There is no folder .*: give a folder of images, labelled or not"):
        load(tmp_path / "nowhere")


def test_damaged_files(tmp_path):
    write(tmp_path, [f"{number}.png" for number in range(10)])
    (tmp_path / "torn.jpg").write_bytes(b"no photo")
    with pytest.raises(UserError, match="torn.jpg.*cannot be read as images"):
        load(tmp_path)
    with pytest.warns(UserWarning, match="1 of 11 images left out because they do not decode: .*torn.jpg"):
        target = load(tmp_path, on_corrupt="skip")
    assert len(target.files.train) + len(target.files.test) == 10
