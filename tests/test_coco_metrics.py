"""COCO's metrics: numbers by hand, and a callback whose logs other callbacks choose an epoch by."""

import copy
import json
import math
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkit.detection.coco_metrics import CocoMetrics
from tlkit.detection.evaluate_boxes import evaluate_boxes
from tlkit.errors import UserError

CELL = [10, 10, 30, 40]
OTHER = [50, 50, 90, 90]


def truth(*rows):
    """An image with rows (box, label)."""
    return {"boxes": [box for box, _ in rows], "labels": [label for _, label in rows]}


def found(*rows):
    """Predictions (box, score, label)."""
    return {
        "boxes": [box for box, _, _ in rows],
        "scores": [score for _, score, _ in rows],
        "labels": [label for _, _, label in rows],
    }


NAMES = ["cell", "dust"]


def test_perfect_is_1_without_a_word_on_standard_output(capfd):
    true = [truth((CELL, 0), (OTHER, 1)), truth((OTHER, 0), (CELL, 1)), truth()]
    predicted = [found((CELL, 0.9, 0), (OTHER, 0.8, 1)), found((OTHER, 0.7, 0), (CELL, 0.6, 1)), found()]
    result = evaluate_boxes(true, predicted, NAMES)
    assert [result[name] for name in ("map", "map50", "map75", "recall")] == pytest.approx([1, 1, 1, 1])
    assert (result["num_images"], result["num_boxes"]) == (3, 4)
    assert capfd.readouterr() == ("", "")


def test_nothing_found_is_0():
    result = evaluate_boxes([truth((CELL, 0))], [found()], NAMES)
    assert [result[name] for name in ("map", "map50", "map75", "recall")] == [0, 0, 0, 0]
    assert result["per_class"]["dust"] == {
        "ap": None, "ap50": None, "recall": None, "num_boxes": 0, "precision50": None,
    }  # fmt: skip


def test_finding_a_thing_twice_is_a_mistake():
    true = [truth((CELL, 0), (OTHER, 0))]
    predicted = [found((CELL, 0.9, 0), (CELL, 0.8, 0), (OTHER, 0.7, 0))]
    # Recall 1/2 with precision 1, then a mistake, then recall 1 with precision 2/3: 51 and 50 of the 101 recalls.
    result = evaluate_boxes(true, predicted, ["cell"])
    assert result["map"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert result["recall"] == 1
    curve = result["per_class"]["cell"]["precision50"]
    assert curve == pytest.approx([1] * 51 + [2 / 3] * 50)
    # Behind all others, it costs nothing.
    predicted = [found((CELL, 0.9, 0), (CELL, 0.6, 0), (OTHER, 0.7, 0))]
    assert evaluate_boxes(true, predicted, ["cell"])["map"] == pytest.approx(1)


def test_how_well_a_box_fits_counts():
    # 62 of 100 square pixels: enough at IoU .5, .55 and .6, three of ten.
    result = evaluate_boxes([truth(([0, 0, 10, 10], 0))], [found(([0, 0, 6.2, 10], 0.9, 0))], ["cell"])
    assert [result[name] for name in ("map", "map50", "map75", "recall")] == pytest.approx([0.3, 1, 0, 0.3])


def test_each_class_is_judged_by_itself():
    true = [truth((CELL, 0), (OTHER, 1))]
    result = evaluate_boxes(true, [found((CELL, 0.9, 0), (OTHER, 0.8, 0))], NAMES)
    per_class = {name: (one["ap"], one["ap50"], one["recall"]) for name, one in result["per_class"].items()}
    assert per_class["cell"] == pytest.approx((1, 1, 1))
    assert per_class["dust"] == (0, 0, 0)
    assert result["map"] == pytest.approx(0.5)


def test_sizes_are_those_of_coco():
    sides = {"small": 31, "medium": 33, "large": 97}
    for missed in sides:
        true = [truth(([0, 0, side, side], 0)) for side in sides.values()]
        predicted = [found() if size == missed else found(([0, 0, side, side], 0.9, 0)) for size, side in sides.items()]
        result = evaluate_boxes(true, predicted, ["cell"])
        assert {size: result[f"map_{size}"] for size in sides} == pytest.approx(
            {size: float(size != missed) for size in sides}
        )
    assert evaluate_boxes(true[:1], predicted[:1], ["cell"])["map_large"] is None
    without = evaluate_boxes(true, predicted, ["cell"], by_size=False)
    assert without == result | {f"map_{size}": None for size in sides}


def test_padding_does_not_count():
    true = [{"boxes": np.array([CELL, [-1] * 4]), "labels": np.array([0, -1])}]
    boxes = np.array([CELL, [0, 0, 0, 0], OTHER], "float32")
    predicted = {"boxes": boxes, "scores": np.array([0.9, 0.99, 0.95]), "labels": np.array([0, -1, 0])}
    assert evaluate_boxes(true, [{**predicted, "num_detections": np.int32(2)}], ["cell"])["map"] == pytest.approx(1)
    # The third has a higher score than the first: recall 1 with precision 1/2.
    assert evaluate_boxes(true, [predicted], ["cell"])["map"] == pytest.approx(0.5)


def test_the_result_is_json():
    result = evaluate_boxes([truth((CELL, 0))], [found((CELL, 0.9, 0))], NAMES)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def iou(a, b):
    width, height = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def average_precision(true, predicted, threshold):
    """The definition, for one class, without a library."""
    taken, right = set(), []
    everything = [(-s, n, k) for n, image in enumerate(predicted) for k, s in enumerate(image["scores"])]
    for _, n, k in sorted(everything):
        box = predicted[n]["boxes"][k]
        fits = [(iou(box, other), j) for j, other in enumerate(true[n]["boxes"]) if (n, j) not in taken]
        best, j = max(fits, default=(0, 0))
        right.append(best >= threshold)
        taken |= {(n, j)} if right[-1] else set()
    hits = np.cumsum(right)
    recalls = hits / sum(len(image["boxes"]) for image in true)
    precisions = hits / np.arange(1, len(right) + 1)
    return np.mean([max(precisions[recalls >= r - 1e-12], default=0) for r in np.linspace(0, 1, 101)])


def test_equals_the_definition_on_random_boxes():
    random = np.random.default_rng(0)

    def boxes(number):
        corners = random.uniform(0, 60, (number, 2))
        return np.concatenate([corners, corners + random.uniform(10, 40, (number, 2))], axis=1)

    true = [{"boxes": boxes(4), "labels": np.zeros(4, int)} for _ in range(6)]
    predicted = []
    for image in true:
        all_boxes = np.concatenate([image["boxes"] + random.normal(0, 3, (4, 4)), boxes(3)])
        predicted.append({"boxes": all_boxes, "scores": random.uniform(size=7), "labels": np.zeros(7, int)})
    result = evaluate_boxes(true, predicted, ["cell"])
    expected = [average_precision(true, predicted, threshold) for threshold in np.arange(0.5, 0.96, 0.05)]
    assert 0.1 < expected[0] < 0.95
    assert result["map50"] == pytest.approx(expected[0])
    assert result["map"] == pytest.approx(np.mean(expected))


@pytest.mark.parametrize(
    ("true", "predicted", "said"),
    [
        ([truth((CELL, 0))], [], "predictions for each of 1 images, not 0"),
        ([truth()], [found((CELL, 0.9, 0))], "no true box to judge by"),
        ([], [], "no true box to judge by"),
        ([truth((CELL, 2))], [found()], "true image 0 has the label 2. Expected labels below 2"),
        ([truth((CELL, 0))], [found((CELL, math.nan, 0))], "not all finite"),
        ([truth((CELL, 0))], [found((CELL[:3], 0.9, 0))], "Expected \\(n, 4\\)"),
        ([truth((CELL, 0))], [{"boxes": [CELL], "scores": [0.5, 0.5], "labels": [0]}], "Expected \\(n, 4\\)"),
    ],
)
def test_what_cannot_be_judged_is_refused(true, predicted, said):
    with pytest.raises(UserError, match=said):
        evaluate_boxes(true, predicted, NAMES)


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(UserError, match=r"pip install 'tlkit\[detection\]'"):
        evaluate_boxes([truth((CELL, 0))], [found()], NAMES)


# The callback -------------------------------------------------------------------------------------


def validation(box=(1.0, 1, 5, 5), images=3):
    boxes = np.array([[box, [-1] * 4]] * images, "float32")
    labels = np.array([[0, -1]] * images, "int32")
    data = tf.data.Dataset.from_tensor_slices((np.zeros((images, 4), "float32"), {"boxes": boxes, "labels": labels}))
    return data.batch(2)


def box_model():
    """Learns one box: its bias. A step of SGD at rate 1 halves what is missing of each corner (four share the loss)."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(4, kernel_initializer="zeros")(inputs))
    model.compile(keras.optimizers.SGD(1.0), "mse")
    return model


def with_scores(model):
    """The box, and a row of padding."""
    box = model.output[:, None, :]
    boxes = keras.ops.concatenate([box, keras.ops.zeros_like(box)], axis=1)
    one = keras.ops.ones_like(model.output[:, :1])
    outputs = {
        "boxes": boxes,
        "scores": keras.ops.concatenate([one, one * 0], axis=1),
        "labels": keras.ops.cast(keras.ops.concatenate([one * 0, one * -1], axis=1), "int32"),
        "num_detections": keras.ops.cast(one[:, 0], "int32"),
    }
    return keras.Model(model.inputs, outputs)


TRAIN = (np.zeros((1, 4), "float32"), np.array([[1.0, 1, 5, 5]], "float32"))
# After epoch k the box is (1, 1, 5, 5) * (1 - 2^-k). IoU: .127, .434, .676 (more than four thresholds), .826 (seven).
MAPS = [0, 0, 0.4, 0.7]


def test_the_logs_hold_it_before_other_callbacks_choose_by_it(tmp_path, capfd):
    metrics = CocoMetrics(validation(), ["cell"], predict_model=with_scores)
    best = keras.callbacks.ModelCheckpoint(
        str(tmp_path / "{epoch}.weights.h5"), monitor="val_map", mode="max", save_best_only=True, save_weights_only=True
    )
    stop = keras.callbacks.EarlyStopping("val_map50", patience=1, mode="max", start_from_epoch=2)
    model = box_model()
    history = model.fit(*TRAIN, epochs=9, verbose=0, callbacks=[metrics, best, stop]).history
    assert history["val_map"] == pytest.approx(MAPS)
    assert history["val_map50"] == pytest.approx([0, 0, 1, 1])  # so that the fourth was the last
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.weights.h5", "3.weights.h5", "4.weights.h5"]
    assert [epoch["map"] for epoch in metrics.epochs] == pytest.approx(MAPS)
    assert set(metrics.epochs[0]["per_class"]["cell"]) == {"ap", "ap50", "recall", "num_boxes"}
    assert metrics.epochs[0]["num_images"] == 3
    assert capfd.readouterr().out == ""


def test_a_copy_starts_anew_and_judges_its_own_model():
    metrics = CocoMetrics(validation(), ["cell"], predict_model=with_scores)
    box_model().fit(*TRAIN, epochs=3, verbose=0, callbacks=[metrics])
    again = copy.deepcopy(metrics)
    assert again.epochs == [] and again.validation is metrics.validation
    for callback in (again, metrics):
        history = box_model().fit(*TRAIN, epochs=4, verbose=0, callbacks=[callback]).history
        assert history["val_map"] == pytest.approx(MAPS)
    assert len(metrics.epochs) == 7


def test_the_epochs_go_on_from_a_state():
    metrics = CocoMetrics(validation(), ["cell"], predict_model=with_scores)
    model = box_model()
    model.fit(*TRAIN, epochs=2, verbose=0, callbacks=[metrics])
    fresh = CocoMetrics(validation(), ["cell"], predict_model=with_scores)
    fresh.set_state(json.loads(json.dumps(metrics.get_state())))
    model.fit(*TRAIN, initial_epoch=2, epochs=4, verbose=0, callbacks=[fresh])
    assert [epoch["map"] for epoch in fresh.epochs] == pytest.approx(MAPS)


def test_a_diverged_training_is_not_judged():
    metrics = CocoMetrics(validation(), ["cell"], predict_model=with_scores)
    model = box_model()
    model.layers[-1].bias.assign([math.nan] * 4)
    history = model.fit(*TRAIN, epochs=1, verbose=0, callbacks=[metrics]).history
    assert math.isnan(history["val_map"][0]) and metrics.epochs == [{}]


def test_what_the_callback_cannot_use_is_refused():
    with pytest.raises(UserError, match="finite data set"):
        CocoMetrics(validation().repeat(), ["cell"])
    with pytest.raises(UserError, match="a function of the model"):
        CocoMetrics(validation(), ["cell"], predict_model=with_scores(box_model()))
    with pytest.raises(UserError, match="the model does not predict boxes"):
        box_model().fit(*TRAIN, verbose=0, callbacks=[CocoMetrics(validation(), ["cell"])])
    other = tf.data.Dataset.from_tensors(TRAIN)
    with pytest.raises(UserError, match="expected batches"):
        box_model().fit(*TRAIN, verbose=0, callbacks=[CocoMetrics(other, ["cell"], predict_model=with_scores)])
