"""Boxes on their way into the model and back: they stay on what they are of, and every epoch can be had again."""

import box_files
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tlkit.data import BoxAugmentation, epochs, load_boxes, resized_size, to_original_pixels, to_resized_pixels
from tlkit.data.boxes.augment import Move, move_boxes, move_pixels
from tlkit.data.boxes.letterbox import PADDING, decode_letterboxed
from tlkit.errors import UserError

STILL = BoxAugmentation(flip=0, scale=(1, 1), brightness=0, contrast=0)


def extent(pixels, is_object):
    """The box around the pixels of a thing."""
    rows, columns = np.nonzero(is_object(pixels.astype(int)))
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def is_red(pixels):
    return (pixels[..., 0] > 150) & (pixels[..., 1] < 90)


def red_box(size, box, path=None, **options):
    """A grey picture with a red box."""
    pixels = np.full((size[1], size[0], 3), 128, np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = (250, 10, 10)
    if path is not None:
        Image.fromarray(pixels).save(path, **options)
    return pixels


# Into the square and back -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "image_size", "resized"),
    [((640, 480), 320, (320, 240)), ((480, 640), 320, (240, 320)), ((10, 10), 64, (64, 64)), ((1000, 1), 64, (64, 1))],
)
def test_the_longer_side_fills_the_square(size, image_size, resized):
    assert resized_size(size, image_size) == resized


def test_boxes_there_and_back():
    boxes = [[64.0, 48, 320, 480]]
    resized = to_resized_pixels(boxes, (640, 480), 320)
    assert resized.tolist() == [[32, 24, 160, 240]]
    assert to_original_pixels(resized, (640, 480), 320).tolist() == boxes
    # 100 x 33 become 64 x 21, so that the height is scaled by 21/33.
    np.testing.assert_allclose(to_resized_pixels([0, 0, 100, 33], (100, 33), 64), [0, 0, 64, 21])


def test_what_reaches_into_the_padding_is_cut():
    assert to_original_pixels([[-5, 0, 400, 300]], (640, 480), 320).tolist() == [[0, 0, 640, 480]]


def test_a_batch_of_images_of_several_sizes():
    boxes = np.array([[[10.0, 10, 20, 20]], [[10.0, 10, 20, 20]]])
    back = to_original_pixels(boxes, [(640, 480), (160, 320)], 320)
    assert back.tolist() == [[[20, 20, 40, 40]], [[10, 10, 20, 20]]]
    for wrong in (np.zeros((2, 3)), np.zeros((3, 1, 4))):
        with pytest.raises(UserError, match="Expected boxes of shape"):
            to_original_pixels(wrong, [(640, 480), (160, 320)], 320)


@pytest.mark.parametrize("turn", range(1, 9))
def test_boxes_are_of_the_picture_as_a_viewer_shows_it(turn, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = turn
    red_box((80, 40), (8, 4, 24, 20), tmp_path / "a.png", exif=exif)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.png")))
    expected = to_resized_pixels(extent(shown, is_red), shown.shape[1::-1], 40)
    pixels = decode_letterboxed(tmp_path / "a.png", shown.shape[1::-1], 40)
    np.testing.assert_allclose(extent(pixels, is_red), expected, atol=1)
    assert (pixels[-1, -1] == PADDING).all()


def test_a_file_that_was_changed_is_refused(tmp_path):
    red_box((80, 40), (8, 4, 24, 20), tmp_path / "a.png")
    with pytest.raises(UserError, match="has 80 x 40 pixels; its boxes were read for 40 x 80"):
        decode_letterboxed(tmp_path / "a.png", (40, 80), 64)
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(UserError, match="cannot be read"):
        decode_letterboxed(tmp_path / "a.png", (80, 40), 64)


# Augmentation -------------------------------------------------------------------------------------


def test_boxes_move_by_hand():
    # A picture of 4 x 2 in a square of 4 becomes 8 x 4 and lies one pixel left of the square's edge and one down.
    move = Move(width=8, height=4, left=-1, top=1, is_flipped=False)
    boxes, is_left = move_boxes([[1, 0, 2, 1], [0, 0, 1, 1]], move, (4, 2), side=4, min_area=0.3)
    assert boxes.tolist() == [[1, 1, 3, 3], [0, 1, 1, 3]]
    boxes, _ = move_boxes([[1, 0, 2, 1]], move._replace(is_flipped=True), (4, 2), side=4, min_area=0.3)
    assert boxes.tolist() == [[1, 1, 3, 3]]  # 4 - 3, 4 - 1
    boxes, _ = move_boxes([[0, 0, 1, 1]], move._replace(is_flipped=True), (4, 2), side=4, min_area=0.3)
    assert boxes.tolist() == [[3, 1, 4, 3]]
    assert is_left.tolist() == [True, True]


@pytest.mark.parametrize(("left", "is_kept"), [(-6, True), (-7, True), (-8, False), (-10, False), (-30, False)])
def test_a_box_is_kept_while_enough_of_it_is_left(left, is_kept):
    # Ten pixels wide: of 4 and 3 tenths there is enough, of 2 tenths and of nothing there is not.
    move = Move(width=20, height=20, left=left, top=0, is_flipped=False)
    boxes, is_left = move_boxes([[0, 5, 10, 15]], move, (20, 20), side=20, min_area=0.3)
    assert is_left.tolist() == [is_kept]
    assert boxes.tolist() == ([[0, 5, 10 + left, 15]] if is_kept else [])


def test_pixels_move_by_hand():
    picture = Image.fromarray(np.arange(4, dtype=np.uint8).reshape(1, 4, 1).repeat(3, axis=2) * 60)
    moved = move_pixels(picture, Move(4, 1, left=-1, top=2, is_flipped=True), side=4)
    expected = np.full((4, 4), PADDING)
    expected[2] = [PADDING, 180, 120, 60]  # the first is cut off; then mirrored
    assert moved[..., 0].tolist() == expected.tolist()


@pytest.mark.parametrize("seed", range(40))
def test_boxes_stay_on_what_they_are_of(seed):
    square = np.full((96, 96, 3), PADDING, np.uint8)
    square[:72] = red_box((96, 72), (20, 30, 60, 54))
    change = BoxAugmentation(brightness=0.05, contrast=0.1, min_area=0.0)
    pixels, boxes, labels = change(square, [[20, 30, 60, 54]], [3], (96, 72), seed=(1, 2, seed))
    assert pixels.shape == (96, 96, 3) and pixels.dtype == np.uint8
    if len(boxes):
        assert labels.tolist() == [3]
        np.testing.assert_allclose(extent(pixels, is_red), boxes[0], atol=1.01)
    else:
        assert not is_red(pixels.astype(int)).any()


def test_equal_seeds_change_alike_and_others_differently():
    square, boxes = red_box((64, 64), (20, 20, 40, 40)), [[20, 20, 40, 40]]
    change = BoxAugmentation()
    results = [change(square, boxes, [0], (64, 64), seed=seed) for seed in ((7, 1, 5), (7, 1, 5), (7, 1, 6), (7, 2, 5))]
    assert all((a == b).all() for a, b in zip(results[0], results[1], strict=True))
    assert len({result[0].tobytes() for result in results}) == 3


def test_what_is_switched_off_changes_nothing():
    square = red_box((64, 64), (20, 20, 40, 40))
    for seed in range(5):
        pixels, boxes, _ = STILL(square, [[20, 20, 40, 40]], [0], (64, 64), seed=(seed,))
        assert (pixels == square).all() and boxes.tolist() == [[20, 20, 40, 40]]


def test_how_often_and_how_far():
    change, content = BoxAugmentation(flip=0.25, scale=(0.5, 1.5)), (64, 48)
    moves = [change.draw(np.random.default_rng(seed), content, 64) for seed in range(400)]
    assert 0.18 < np.mean([move.is_flipped for move in moves]) < 0.32  # three deviations of .022
    assert min(move.width for move in moves) in (32, 33, 34) and max(move.width for move in moves) in (94, 95, 96)
    assert all(abs(move.height - move.width * 48 / 64) <= 1 for move in moves)
    for move in moves:  # in the square when it is smaller, over it when it is larger
        assert min(64 - move.width, 0) <= move.left <= max(64 - move.width, 0)
        assert min(64 - move.height, 0) <= move.top <= max(64 - move.height, 0)


@pytest.mark.parametrize("wrong", [{"flip": 2}, {"scale": (0, 1)}, {"scale": (2, 1)}, {"min_area": -1}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match="BoxAugmentation: expected"):
        BoxAugmentation(**wrong)


def test_keras_still_moves_boxes_wrongly():
    """Why `BoxAugmentation` is not made of Keras's layers; see there on the day on which this fails."""
    pixels = red_box((10, 10), (1, 2, 4, 5)).astype("float32")[None]
    truth = {"boxes": np.array([[[1.0, 2, 4, 5], [-1] * 4]], "float32"), "labels": np.array([[0, -1]], "float32")}

    def change(layer):
        found = layer(tf.nest.map_structure(tf.constant, {"images": pixels, "bounding_boxes": truth}), training=True)
        boxes = np.asarray(found["bounding_boxes"]["boxes"])[0]
        return np.asarray(found["images"])[0], boxes

    crop = keras.layers.RandomCrop(6, 6, bounding_box_format="xyxy", seed=3)
    cropped, boxes = change(crop)
    assert extent(cropped, is_red) == [0, 2, 2, 5] and boxes[0].tolist() == [1, 0, 4, 3]
    flip = keras.layers.RandomFlip("horizontal", bounding_box_format="xyxy", seed=1)
    assert (change(flip)[1][1] != -1).all()  # padding has become a box


# Data sets ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return box_files.write_voc(tmp_path_factory.mktemp("boxes"))


def load(source, **options):
    return load_boxes(source, **{"image_size": 32, "batch_size": 4, "seed": 7, **options})


def taken(dataset):
    """Images, boxes and labels of a data set, one after the other."""
    batches = [(images.numpy(), truth["boxes"].numpy(), truth["labels"].numpy()) for images, truth in dataset]
    return [np.concatenate(values) for values in zip(*batches, strict=True)]


def test_a_batch_is_images_boxes_and_labels(source):
    data = load(source)
    assert data.class_names == ["cat", "dog"] and data.max_boxes == 8
    images, boxes, labels = taken(data.validation)
    assert images.shape == (1, 32, 32, 3) and images.dtype == np.float32 and 0 <= images.min() < images.max() <= 1
    # 64 x 64 pixels become 32 x 32.
    np.testing.assert_allclose(boxes[0], [[5, 10, 15, 30], [16, 16, 32, 32], *[[-1] * 4] * 6])
    assert labels.tolist() == [[0, 1, -1, -1, -1, -1, -1, -1]] and labels.dtype == np.int32
    spec = data.train.element_spec
    assert spec[0].shape[1:] == (32, 32, 3) and spec[1]["boxes"].shape[1:] == (8, 4)
    assert {name: value.dtype for name, value in spec[1].items()} == {"boxes": tf.float32, "labels": tf.int32}


def test_each_training_image_comes_once_an_epoch_with_its_boxes(source):
    data = load(source)
    assert int(data.train.cardinality()) == len(data.train) == 1
    _, boxes, labels = taken(data.train)
    rows = sorted((b[m >= 0].tolist(), m[m >= 0].tolist()) for b, m in zip(boxes, labels, strict=True))
    sizes = [(image.width, image.height) for image in data.rows.train]
    assert rows == sorted(
        (to_resized_pixels(image.boxes, size, 32).astype(np.float32).tolist(), image.labels.tolist())
        for image, size in zip(data.rows.train, sizes, strict=True)
    )


def test_rows_are_a_multiple_of_eight(tmp_path):
    boxes = [("cat", k, k, k + 10, k + 10) for k in range(9)]
    pictures = {"a": ((64, 64), "train", boxes), "b": ((64, 64), "val", boxes[:1])}
    data = load(box_files.write_csv(tmp_path, pictures))
    assert data.max_boxes == 16 and data.test is None


@pytest.mark.parametrize("cache", [True, False])
def test_an_epoch_is_a_function_of_seed_and_epoch(source, cache):
    change = BoxAugmentation()
    first = load(source, augment=change, cache=cache, batch_size=2)
    twice = taken(epochs(first.train_epoch, seed=3).take(4))  # two epochs of two batches
    again = load(source, augment=change, cache=not cache, batch_size=2)
    taken(again.train)  # whatever ran before
    second = taken(epochs(again.train_epoch, seed=3, first_epoch=1).take(2))
    for whole, half in zip(twice, second, strict=True):
        np.testing.assert_array_equal(whole[4:], half)
    assert not np.array_equal(twice[0][:4], twice[0][4:])
    assert not np.array_equal(taken(epochs(again.train_epoch, seed=4, first_epoch=1).take(2))[0], second[0])


def test_only_training_images_are_changed_and_differently_each_time(source):
    plain, changed = load(source), load(source, augment=BoxAugmentation())
    np.testing.assert_array_equal(taken(plain.validation)[0], taken(changed.validation)[0])
    np.testing.assert_array_equal(taken(plain.test)[0], taken(changed.test)[0])
    first, second = taken(changed.train), taken(changed.train)
    assert not np.array_equal(np.sort(first[0], axis=0), np.sort(second[0], axis=0))
    assert first[1].min() == -1 and first[1].max() <= 32
    # A seed below 0 is one, too.
    taken(epochs(changed.train_epoch, seed=-3).take(1))


def test_damaged_images(tmp_path):
    folder = box_files.write_yolo(tmp_path)
    file = folder / "images" / "train" / "1.png"
    file.write_bytes(file.read_bytes()[:-200])  # the header is good
    with pytest.raises(tf.errors.OpError, match=r"1.png cannot be read \(truncated.*on_bad='skip'"):
        taken(load(folder).train)
    with pytest.warns(UserWarning, match="1 of 6 images left out because they do not decode: .*1.png"):
        data = load(folder, on_bad="skip")
    assert [image.path.stem for image in data.rows.train] == ["0", "2", "5"]
    # Of fewer images than a batch the first one holds a power of two, which replicas can share.
    assert [len(images) for images, _ in data.train] == [2, 1]
