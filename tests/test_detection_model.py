"""Pyramid, head, losses, decoder and the whole detector: shapes and sums by hand, and it learns what it is shown."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from detectors import SIZE, compiled_detector, data, intersection_over_union, small_backbone, squares

import tlkit
from tlkit import UserError
from tlkit.detection import (
    CenternessLoss,
    DetectionBoxLoss,
    DetectionClassLoss,
    DetectionDecoder,
    DetectionHead,
    FeaturePyramid,
    build_detector,
    locations,
    with_decoder,
)
from tlkit.distribution import choose_strategy
from tlkit.finetune import LayerwiseLearningRates, prepare_unfreezing
from tlkit.finetune.groups import find_backbones

# Pyramid --------------------------------------------------------------------------------------------


def identity_pyramid(maps, width):
    """A pyramid whose convolutions change nothing, so that only the sums are left."""
    pyramid = FeaturePyramid(width)
    pyramid(maps)
    for lateral, smoothing in zip(pyramid.laterals, pyramid.smoothings, strict=True):
        lateral.set_weights([np.eye(width)[None, None], np.zeros(width)])
        middle = np.zeros((3, 3, width, 1))
        middle[1, 1] = 1
        smoothing.set_weights([middle, np.eye(width)[None, None], np.zeros(width)])
    return pyramid


def test_feature_pyramid_of_lin_and_others_adds_what_is_above():
    fine = np.arange(9.0).reshape(1, 3, 3, 1).astype("float32")  # an odd size: 3 above 2 above 1
    middle = np.array([10.0, 20, 30, 40], "float32").reshape(1, 2, 2, 1)
    coarse = np.full((1, 1, 1, 1), 100, "float32")
    levels = identity_pyramid([fine, middle, coarse], 1)({"P5": coarse, "P3": fine, "P4": middle})
    expected = [[[110, 111, 122], [113, 114, 125], [136, 137, 148]], [[110, 120], [130, 140]], [[100]]]
    for level, values in zip(levels, expected, strict=True):
        np.testing.assert_array_equal(level[0, ..., 0], values)


@pytest.mark.parametrize("sizes", [(4, 3), (6, 2), (5, 2)])
def test_maps_that_are_no_pyramid(sizes):
    with pytest.raises(UserError, match="Expected maps, finest first, each half as high and wide"):
        FeaturePyramid(8)([np.zeros((1, size, size, 3), "float32") for size in sizes])


# Head -----------------------------------------------------------------------------------------------


def test_head_is_the_same_for_all_maps_but_for_the_scale_of_its_boxes():
    fine = np.random.default_rng(0).normal(size=(2, 4, 4, 8)).astype("float32")
    head = DetectionHead(3, width=8, strides=(8, 16))
    head([fine, fine[:, :2, :2]])
    head.scales.assign([1.0, 2.0])
    outputs = head([fine, fine[:, :2, :2]])
    alone = head([np.zeros((2, 4, 4, 8), "float32"), fine[:, :2, :2]])
    assert {name: tuple(each.shape) for name, each in outputs.items()} == {
        "class": (2, 20, 3),
        "box": (2, 20, 4),
        "centerness": (2, 20, 1),
    }
    np.testing.assert_allclose(outputs["class"][:, 16:], alone["class"][:, 16:], atol=1e-6)
    swapped = DetectionHead(3, width=8, strides=(8, 16))
    swapped([fine, fine[:, :2, :2]])
    swapped.set_weights(head.get_weights())
    swapped.scales.assign([2.0, 1.0])
    # distance = stride * exp(scale * x): twice the scale is the square of what exp gives.
    first, second = outputs["box"][:, :16] / 8, swapped([fine, fine[:, :2, :2]])["box"][:, :16] / 8
    np.testing.assert_allclose(second, first**2, rtol=1e-5)


def test_head_before_training_says_one_percent_and_boxes_of_about_a_stride():
    maps = [np.random.default_rng(0).normal(size=(1, size, size, 32)).astype("float32") for size in (4, 2)]
    outputs = DetectionHead(5, width=32, strides=(8, 16))(maps)
    np.testing.assert_allclose(tf.sigmoid(outputs["class"]), 0.01, atol=2e-3)
    np.testing.assert_allclose(outputs["box"][:, :16], 8, rtol=0.3)
    np.testing.assert_allclose(outputs["box"][:, 16:], 16, rtol=0.3)


def test_no_distance_is_infinite():
    head = DetectionHead(1, width=4, num_convolutions=0, strides=(8,))
    head([np.zeros((1, 1, 1, 4), "float32")])
    head.box_exponents.set_weights([np.ones((1, 1, 4, 4)), np.zeros(4)])
    np.testing.assert_allclose(head([np.full((1, 1, 1, 4), 1e6, "float32")])["box"], 500, rtol=1e-5)  # 8 * 1000 / 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "`num_classes` is a number of things. Expected a whole number, at least 1"),
        ({"num_classes": 2, "num_convolutions": -1}, "`num_convolutions` is .* at least 0"),
        ({"num_classes": 2, "width": 8.0}, "`width`"),
        ({"num_classes": 2, "strides": (8, 24)}, "each twice the one before. Received: strides=\\(8, 24\\)"),
    ],
)
def test_arguments_of_the_head(arguments, message):
    with pytest.raises(UserError, match=message):
        DetectionHead(**arguments)


def test_maps_that_the_head_does_not_take():
    with pytest.raises(UserError, match="Expected 3 maps, at strides .* Received: 2 maps"):
        DetectionHead(2, width=8)([np.zeros((1, 4, 4, 8), "float32"), np.zeros((1, 2, 2, 8), "float32")])
    with pytest.raises(UserError, match="the same number of channels in all"):
        maps = [np.zeros((1, 4, 4, 8), "float32"), np.zeros((1, 2, 2, 4), "float32")]
        DetectionHead(2, width=8, strides=(8, 16))(maps)
    with pytest.raises(UserError, match="Expected a known height and width"):
        DetectionHead(2, width=8, strides=(8,))([keras.Input((None, None, 8))])


# Losses ---------------------------------------------------------------------------------------------


def test_losses_are_sums_over_an_image_and_means_over_the_batch():
    logits = np.zeros((2, 3, 2), "float32")
    absent, here = 0.75 * 0.25 * np.log(2), 0.25 * 0.25 * np.log(2)  # alpha_t * (1 - 1/2)^2 * log 2
    of_images = [6 * absent, 4 * absent + 2 * here]
    labels = np.array([[-1, -1, -1], [0, 1, -1]])
    np.testing.assert_allclose(DetectionClassLoss(reduction=None)(labels, logits), of_images, rtol=1e-6)
    np.testing.assert_allclose(DetectionClassLoss()(labels, logits), np.mean(of_images), rtol=1e-6)


def test_box_loss_counts_a_location_by_its_centerness():
    true = np.array([[[4, 4, 4, 4], [1, 2, 4, 2], [0, 0, 0, 0]]], "float32")
    predicted = np.array([[[2, 2, 2, 2], [1, 2, 4, 4], [9, 9, 9, 9]]], "float32")
    # 16 of 64 pixels; 5 x 4 of 5 x 6 pixels with a centerness of sqrt(1 / 4 * 2 / 2).
    expected = (1 - 16 / 64) + 0.5 * (1 - 20 / 30)
    np.testing.assert_allclose(DetectionBoxLoss()(true, predicted), expected, rtol=1e-6)


def test_centerness_loss_is_cross_entropy_where_an_object_is():
    true, logits = np.array([[[0.5], [0.8], [0.0]]]), np.log([[[1.0], [4.0], [9.0]]])
    expected = np.log(2) - 0.8 * np.log(0.8) - 0.2 * np.log(0.2)
    np.testing.assert_allclose(CenternessLoss()(true, logits), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("loss", "true", "predicted"),
    [
        (DetectionClassLoss, (2, 5, 1), (2, 5, 3)),
        (DetectionBoxLoss, (2, 5, 4), (2, 5, 5)),
        (CenternessLoss, (2, 5), (2, 5, 1)),
    ],
)
def test_shapes_that_a_loss_does_not_take(loss, true, predicted):
    with pytest.raises(UserError, match=f"{loss.__name__}: the shapes do not fit.*`detection_targets` makes such"):
        loss()(np.zeros(true), np.zeros(predicted))


# Decoder --------------------------------------------------------------------------------------------


def decoded(rows, image_size=16, num_classes=2, **options):
    """What the decoder makes of rows (location, box, class, its probability, centerness) at stride 8."""
    count = len(locations(image_size, (8,)))
    outputs = {
        "class": np.full((1, count, num_classes), -20, "float32"),
        "box": np.ones((1, count, 4), "float32"),
        "centerness": np.full((1, count, 1), -20, "float32"),
    }
    for place, box, label, probability, center in rows:
        x, y = locations(image_size, (8,))[place]
        outputs["box"][0, place] = [x - box[0], y - box[1], box[2] - x, box[3] - y]
        outputs["class"][0, place, label] = np.log(probability / (1 - probability))
        outputs["centerness"][0, place] = np.log(center / (1 - center))
    found = DetectionDecoder(image_size, (8,), **options)(outputs)
    count = int(found["num_detections"][0])
    assert (found["labels"][0, count:].numpy() == -1).all()
    assert not found["scores"][0, count:].numpy().any()
    boxes, scores, labels = (found[name][0, :count].numpy() for name in ("boxes", "scores", "labels"))
    return [(box, label, round(float(s), 4)) for box, label, s in zip(boxes.tolist(), labels, scores, strict=True)]


def test_decoder_keeps_the_best_of_boxes_that_overlap_and_cuts_at_the_border():
    rows = [
        (0, [0, 0, 12, 8], 1, 0.9, 0.9),  # 96 of 112 pixels shared with the next
        (1, [0, 0, 14, 8], 1, 0.9, 0.4),
        (2, [-3, 8, 9, 16], 1, 0.5, 0.5),  # over the border
        (3, [0, 0, 14, 20], 0, 0.8, 0.2),  # 112 of 224 pixels of the second; another class
    ]
    expected = [([0, 0, 12, 8], 1, 0.9), ([0, 8, 9, 16], 1, 0.5), ([0, 0, 14, 16], 0, 0.4)]
    assert decoded(rows) == expected
    assert decoded(rows, max_detections=2) == expected[:2]
    assert decoded(rows, score_threshold=0.45) == expected[:2]
    # 96 / 112 = 0.857 is no overlap now; sqrt(.9 * .4) = .6
    assert decoded(rows, iou_threshold=0.86) == [expected[0], ([0, 0, 14, 8], 1, 0.6), *expected[1:]]


def test_decoder_leaves_out_what_lies_outside_of_the_image_and_answers_where_nothing_is():
    beyond = (3, [11, 11, 14, 14], 0, 0.9, 0.9)  # around (12, 12), in an image of 10 x 10
    inside = (0, [1, 2, 9, 10], 0, 0.9, 0.9)
    assert decoded([beyond], image_size=10) == []
    assert decoded([beyond, inside], image_size=10, score_threshold=0.0)[0] == ([1, 2, 9, 10], 0, 0.9)
    assert decoded([]) == []


def test_decoder_takes_the_outputs_of_its_size_only():
    outputs = {"class": np.zeros((1, 5, 2)), "box": np.zeros((1, 5, 4)), "centerness": np.zeros((1, 5, 1))}
    with pytest.raises(UserError, match="at 4 locations, those of images of 16 x 16 pixels at strides \\(8,\\)"):
        DetectionDecoder(16, (8,))(outputs)
    for options in ({"max_detections": 0}, {"score_threshold": 1.0}, {"iou_threshold": 0.0}):
        [(name, value)] = options.items()
        with pytest.raises(UserError, match=f"`{name}`.*Received: .*{name}={value}"):
            DetectionDecoder(16, **options)


# The whole ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    """A detector that saw eight images 90 times, and these."""
    keras.utils.set_random_seed(0)
    images, objects = squares(8)
    detector = compiled_detector(width=32, num_convolutions=1)
    detector.fit(data(images, objects, 8).cache().repeat(90), shuffle=False, verbose=0)
    return detector, images, objects


def test_overfits_eight_images(trained):
    detector, images, objects = trained
    found = with_decoder(detector).predict(images, verbose=0)
    for number in range(len(images)):
        is_there, is_shown = objects["labels"][number] >= 0, found["scores"][number] > 0.5
        overlap = intersection_over_union(objects["boxes"][number][is_there], found["boxes"][number][is_shown])
        right = objects["labels"][number][is_there][:, None] == found["labels"][number][is_shown]
        matches = (overlap > 0.5) & right
        assert matches.sum(axis=1).tolist() == [1] * is_there.sum()  # each object once
        assert matches.sum(axis=0).tolist() == [1] * is_shown.sum()  # and nothing else


def test_comes_back_from_a_keras_file(trained, tmp_path):
    detector, images, _ = trained
    with_decoder(detector).save(tmp_path / "boxes.keras")
    detector.save(tmp_path / "detector.keras")
    expected = with_decoder(detector).predict(images, verbose=0)
    for again in (
        tlkit.load_model(tmp_path / "boxes.keras"),
        with_decoder(tlkit.load_model(tmp_path / "detector.keras")),
    ):
        for name, values in again.predict(images, verbose=0).items():
            np.testing.assert_array_equal(values, expected[name])


@pytest.mark.slow
def test_loss_and_step_on_two_devices_are_those_of_the_paper(trained):
    detector = trained[0]
    images, objects = squares(4, seed=1)  # one, two, three and one object: the halves differ
    batch = data(images, objects, 4)
    _, targets, _ = next(iter(batch))
    found = {"class": np.sum(targets["class"] >= 0), "centerness": np.sum(targets["class"] >= 0)}
    found["box"] = np.sum(targets["centerness"])
    with tf.GradientTape() as tape:
        outputs = detector(images)
        losses = {  # equation 2 over the whole batch
            name: tf.reduce_sum(loss(reduction=None)(targets[name], outputs[name])) / found[name]
            for name, loss in (("class", DetectionClassLoss), ("box", DetectionBoxLoss), ("centerness", CenternessLoss))
        }
        total = tf.add_n(losses.values())
    gradients = tape.gradient(total, detector.trainable_variables)
    expected = [
        np.asarray(v) - 0.01 * np.asarray(g) for v, g in zip(detector.trainable_variables, gradients, strict=True)
    ]
    with choose_strategy("mirrored").scope():
        model = compiled_detector(width=32, num_convolutions=1, optimizer=keras.optimizers.SGD(0.01))
        model.set_weights(detector.get_weights())
    history = model.fit(batch, shuffle=False, verbose=0).history
    assert history["loss"] == pytest.approx([float(total)], rel=1e-4)
    for name, value in losses.items():
        assert history[f"{name}_loss"] == pytest.approx([float(value)], rel=1e-4)
    for weight, value in zip(model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(weight), value, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_losses_and_gradients_in_mixed_precision(policy, trained):
    keras.mixed_precision.set_global_policy(policy)
    model = compiled_detector(width=32, num_convolutions=1)
    model.set_weights(trained[0].get_weights())
    images, targets, weights = next(iter(data(*trained[1:], 8)))
    expected = trained[0].compute_loss(images, targets, trained[0](images), weights)
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        loss = model.compute_loss(images, targets, outputs, weights)
    assert {each.dtype for each in outputs.values()} == {tf.float32}
    assert loss.dtype == tf.float32
    assert float(loss) == pytest.approx(float(expected), rel=0.05)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(np.isfinite(gradient).all() and np.any(gradient) for gradient in gradients)


def test_stages_of_the_backbone_are_found():
    backbone = tlkit.load_backbone("tlkit:mini-image", outputs="pyramid")
    detector = build_detector(backbone, 2, image_size=64, width=8, num_convolutions=0)
    assert detector.get_layer("backbone") is backbone
    assert find_backbones(detector) == [backbone]
    frozen = len(detector.trainable_variables)
    detector.compile(LayerwiseLearningRates(keras.optimizers.Adam(), detector, layer_decay=0.5), "mse")
    prepare_unfreezing(detector)
    assert len(detector.trainable_variables) == frozen
    backbone.unfreeze(last=1)
    assert len(detector.trainable_variables) > frozen


def test_backbones_that_carry_no_detector(image_model):
    with pytest.raises(UserError, match="its 'pooled' output.*outputs='pyramid'"):
        build_detector(tlkit.load_backbone(str(image_model)), 2)
    with pytest.raises(UserError, match="Expected sizes \\[\\(24, 24\\), .*Received: \\[\\(12, 12\\)"):
        build_detector(small_backbone(), 2, strides=(4, 8, 16))
    inputs = keras.Input((None, None, 3))
    with pytest.raises(UserError, match="it is not known which size .* takes.*`image_size=320`"):
        build_detector(keras.Model(inputs, [inputs]), 2)
    with pytest.raises(UserError, match="returns one tensor, of shape"):
        build_detector(keras.Model(inputs, inputs), 2, image_size=SIZE)
    with pytest.raises(UserError, match="with_decoder: the model 'backbone' is no detector"):
        with_decoder(small_backbone())
