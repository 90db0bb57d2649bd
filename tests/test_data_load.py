"""What `fit` gets from an image folder: the right pixels, labels and orders, and clear errors."""

import re
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tlkit import UserError
from tlkit.data import epochs, load_image_folder, reading_threads, split_image_folder
from tlkit.distribution import choose_strategy
from tlkit.errors import exit_on_user_error


@pytest.fixture
def folder(tmp_path):
    """Two classes of 20 images, each of one grey level that tells which it is: 2 * index, and 100 more for "bee"."""
    for label, name in enumerate(("ant", "bee")):
        (tmp_path / name).mkdir()
        for index in range(20):
            Image.new("L", (12, 9), 2 * index + 100 * label).save(tmp_path / name / f"{index:02d}.png")
    return tmp_path


def load(folder, **options):
    return load_image_folder(folder, **{"image_size": 8, "batch_size": 4, "seed": 1, **options})


def levels(dataset):
    """The grey levels of the images in the order in which they come."""
    return [round(float(image[0, 0, 0]) * 255) for images, _ in dataset for image in images]


def expected_levels(files):
    return [2 * int(file.path.stem) + 100 * file.label for file in files]


@pytest.mark.parametrize("cache", [True, False])
def test_batches(folder, cache):
    data = load(folder, cache=cache)
    splits = split_image_folder(folder, seed=1)
    assert data.class_names == ["ant", "bee"] and data.files == splits
    for dataset, files in zip((data.train, data.validation, data.test), splits[:3], strict=True):
        assert len(dataset) == -(-len(files) // 4)
        for _ in range(2):  # decoded, then from memory
            assert sorted(levels(dataset)) == sorted(expected_levels(files))
    assert levels(data.validation) == expected_levels(splits.validation)
    assert levels(data.test) == expected_levels(splits.test)
    images, labels = next(iter(data.test))
    assert images.shape == (4, 8, 8, 3) and images.dtype == "float32" and labels.dtype == "int32"
    assert labels.numpy().tolist() == [file.label for file in splits.test[:4]]


def test_pixels_are_the_bytes_divided_by_255(folder):
    data = load(folder)
    expected = np.array([np.float32(level) / np.float32(255) for level in expected_levels(data.files.validation)])
    for _ in range(2):  # decoded, then from memory
        found = np.concatenate([images.numpy()[:, 0, 0, 0] for images, _ in data.validation])
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(1, 1), (4, 8, 8, 3), (7, 33, 33, 3)])
def test_tensorflow_takes_batches_without_a_copy(shape):
    import tensorflow as tf

    made = []

    def read():
        made.append(reading_threads.floats_for_tensorflow(shape))
        return made[0]

    tensor = next(iter(tf.data.Dataset.range(1).map(lambda _: tf.numpy_function(read, [], tf.float32))))
    assert made[0].shape == tensor.shape == shape
    assert np.shares_memory(np.asarray(memoryview(tensor)), made[0])


@pytest.mark.parametrize(("cache", "times"), [(True, 1), (False, 2)])
def test_kept_pixels_are_decoded_once(folder, monkeypatch, cache, times):
    module = sys.modules[load_image_folder.__module__]
    paths = []

    def count(path, image_size):
        paths.append(path)
        return np.zeros((image_size, image_size, 3), np.uint8)

    monkeypatch.setattr(module, "decode_image", count)
    data = load(folder, cache=cache)
    for dataset in (data.train_in_order, data.train):  # the second meets the images in other batches
        for _ in dataset:
            pass
    assert sorted(paths) == sorted(times * [file.path for file in data.files.train])


def test_a_program_can_end_while_images_are_read_ahead(folder):
    """As after Ctrl-C in `fit`, the data set is still there. Python and TensorFlow waited for each other for ever."""
    code = f"""
import sys, time
import numpy as np
from tlkit.data import epochs, load_image_folder
slow = lambda path, size: time.sleep(0.05) or np.zeros((size, size, 3), np.uint8)
sys.modules[load_image_folder.__module__].decode_image = slow
data = load_image_folder({str(folder)!r}, image_size=8, batch_size=4, seed=1, cache=False)
batches = iter(epochs(data.train_epoch, seed=1))
next(batches)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0 and "Traceback" not in ended.stderr


def test_the_data_seem_to_end_when_the_program_does(folder, monkeypatch):
    """TensorFlow prints the traceback of any other error, when a program ends while images are read ahead."""
    import tensorflow as tf

    ended = ThreadPoolExecutor(1)
    ended.shutdown()  # as Python does to all of them before it exits
    monkeypatch.setattr(reading_threads, "_THREADS", ended)
    with pytest.raises(tf.errors.InvalidArgumentError, match="OutOfRangeError"):
        next(iter(load(folder).validation))


@pytest.mark.parametrize("batch_size", [8, 64])
def test_small_folders_fit_on_two_devices(folder, batch_size):
    """40 images, 6 or so of them for validation: fewer than a batch, and not an even number."""
    import keras

    data = load(folder, batch_size=batch_size, split=(0.8, 0.2, 0))
    assert len(data.files.validation) < 64
    with choose_strategy("mirrored").scope():
        model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(data.train, validation_data=data.validation, epochs=2, shuffle=False, verbose=0)
    assert np.isfinite(history.history["val_loss"]).all()


def test_no_test_files_no_test_data(folder):
    assert load(folder, split=(0.8, 0.2, 0)).test is None


def test_every_epoch_has_its_own_order_and_a_new_load_has_the_same_ones(folder):
    train = load(folder).train
    first, second = levels(train), levels(train)
    assert first != second and sorted(first) == sorted(second)
    again = load(folder).train
    assert [levels(again), levels(again)] == [first, second]
    assert levels(load(folder, seed=2).train) != first


def test_the_order_of_an_epoch_is_a_function_of_seed_and_epoch(folder):
    data = load(folder)
    steps = len(data.train)

    def orders(seed, first, number):
        batches = iter(epochs(data.train_epoch, seed=seed, first_epoch=first))
        return [levels([next(batches) for _ in range(steps)]) for _ in range(number)]

    whole = orders(7, 0, 4)
    assert len({tuple(order) for order in whole}) == 4
    assert all(sorted(order) == sorted(expected_levels(data.files.train)) for order in whole)
    assert orders(7, 2, 2) == whole[2:]
    assert orders(8, 0, 1) != whole[:1]
    assert levels(data.train_in_order) == expected_levels(data.files.train)


def test_fit(folder):
    import keras

    data = load(folder)
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(data.train, validation_data=data.validation, epochs=2, verbose=0, shuffle=False).history
    assert len(history["val_loss"]) == 2
    exact = epochs(data.train_epoch, seed=1, first_epoch=1)
    model.fit(exact, steps_per_epoch=len(data.train), initial_epoch=1, epochs=3, verbose=0, shuffle=False)


def test_bad_headers_are_found_at_once(folder):
    for index in range(5):
        (folder / "ant" / f"{index:02d}.png").write_bytes(b"" if index else b"<html>")
    with pytest.raises(UserError, match=r"^5 files \(.*00.png: not an image.*01.png: the file is empty.* and 2 more\)"):
        load(folder)


def damage(folder):
    """Cut a training image in its middle; its header stays good."""
    path = split_image_folder(folder, seed=1).train[3].path
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    return path


def test_a_file_damaged_further_in_is_named_on_one_line(folder, capsys):
    path = damage(folder)
    with pytest.raises(SystemExit), exit_on_user_error():
        levels(load(folder).train)
    message = capsys.readouterr().err
    assert re.fullmatch(rf"Error: The image {path} cannot be read \(.*\)\. Replace .*\n", message)


def test_a_file_damaged_further_in_is_named_by_fit(folder, capsys):
    import keras

    path = damage(folder)
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(SystemExit), exit_on_user_error():
        model.fit(load(folder).train, verbose=0, shuffle=False)
    assert capsys.readouterr().err.startswith(f"Error: The image {path} cannot be read (")


def test_skip_leaves_out_what_does_not_decode_and_says_so(folder):
    path = damage(folder)
    (folder / "bee" / "05.png").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"2 of 40 images left out") as caught:
        data = load(folder, on_corrupt="skip")
    assert str(path) in str(caught[0].message) and "05.png" in str(caught[0].message)
    kept = [file.path for part in data.files[:3] for file in part]
    assert len(kept) == 38 and path not in kept
    assert sorted(levels(data.train)) == sorted(expected_levels(data.files.train))


def test_skip_warns_of_nothing_when_all_is_well(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(folder, on_corrupt="skip")


def test_skip_refuses_to_lose_a_class(folder):
    for path in (folder / "bee").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match="No training image of the class 'bee'"):
        load(folder, on_corrupt="skip")


def test_an_unknown_policy_is_refused(folder):
    with pytest.raises(UserError, match="Received: 'ignore'"):
        load(folder, on_corrupt="ignore")


def test_importing_and_splitting_load_no_tensorflow():
    code = "import sys, tlkit.data, tlkit.evaluation; print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# Tables -------------------------------------------------------------------------------------------


@pytest.fixture
def table(folder):
    """The 40 images with zero to three labels each."""
    cells = ["cat", "cat|dog", "", "ant|cat|dog"]
    lines = [f"{path.relative_to(folder)},{cells[int(path.stem) % 4]}" for path in sorted(folder.glob("*/*.png"))]
    (folder / "table.csv").write_text("\n".join(["file,label", *lines]), encoding="utf-8")
    return folder / "table.csv"


def test_multi_label_batches_are_rows_of_zeros_and_ones(table):
    data = load(table)
    assert data.multi_label and data.class_names == ["ant", "cat", "dog"]
    rows = [[0, 1, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1]]
    seen = 0
    for dataset in (data.train, data.validation, data.test):
        for images, labels in dataset:
            assert labels.dtype == "float32" and labels.shape == (len(images), 3)
            numbers = [round(float(image[0, 0, 0]) * 255) % 100 // 2 for image in images]
            assert labels.numpy().tolist() == [rows[number % 4] for number in numbers]
            seen += len(images)
    assert seen == 40
    assert not load(table.parent).multi_label


def test_multi_label_data_fit(table):
    import keras

    data = load(table)
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3, activation="sigmoid")]
    model = keras.Sequential(layers)
    model.compile("sgd", "binary_crossentropy")
    train = epochs(data.train_epoch, seed=1)
    history = model.fit(
        train, steps_per_epoch=len(data.train), validation_data=data.validation, epochs=2, verbose=0, shuffle=False
    )
    assert np.isfinite(history.history["val_loss"]).all()


def test_skip_keeps_multi_label_data_as_they_are(table):
    path = split_image_folder(table, seed=1).train[3].path
    path.write_bytes(b"")
    with pytest.warns(UserWarning, match=r"1 of 40 images left out"):
        data = load(table, on_corrupt="skip")
    assert data.multi_label and len(data.files.train) == len(split_image_folder(table, seed=1).train) - 1
    for file in data.files.train:
        if 0 in file.classes:
            file.path.write_bytes(b"")
    with pytest.raises(UserError, match="No training image of the class 'ant'"):
        load(table, on_corrupt="skip")


def test_groups_stay_together(folder):
    data = load(folder, group_pattern=r"/(\d)")  # 00 to 09 and 10 to 19 of both classes
    assert {tuple(sorted({int(file.path.stem) // 10 for file in part})) for part in data.files[:2]} == {(0,), (1,)}
    assert data.test is None
