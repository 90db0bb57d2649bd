"""tensorflow-addons beside Keras 3: its numbers against arithmetic, and Keras 3 untouched."""

import importlib.metadata
import itertools
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from packaging.requirements import Requirement

from tlkit import UserError, addons
from tlkit.distribution import choose_strategy
from tlkit.errors import exit_on_user_error

ADDONS = [item for item in map(Requirement, importlib.metadata.requires("tlkit")) if item.name == "tensorflow-addons"]
needs_addons = pytest.mark.skipif(not addons.is_offered(), reason="no tensorflow-addons for this Python or machine")


@pytest.fixture(scope="module")
def tfa():
    return addons.tfa


# The import ---------------------------------------------------------------------------------------

SNAPSHOT = """
import sys, warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "__array__ implementation")  # Keras 3.15 beside NumPy 2.4
{before}
import keras, tensorflow as tf
tf.keras.layers  # until it is used once, this is a placeholder
modules, keras_of_tf = dict(sys.modules), tf.keras
from tlkit.addons import tfa
{after}
assert [name for name, module in modules.items() if sys.modules.get(name) is not module] == []
assert [name for name in sys.modules if name.startswith(("keras.", "tensorflow.keras")) and name not in modules] == []
assert tf.keras is keras_of_tf and tf.keras.layers.Dense is keras.layers.Dense and keras.__version__[0] == "3"
assert sys.modules["tensorflow_addons"] is tfa
import numpy as np, tensorflow_addons
assert tensorflow_addons is tfa
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("adam", tfa.losses.pinball_loss, metrics=["mae"])
assert np.isfinite(model.fit(np.ones((4, 2)), np.ones(4), verbose=0).history["loss"][0])
import tf_keras
model = tf_keras.Sequential([tfa.layers.GroupNormalization(1), tf_keras.layers.Dense(3, activation="softmax")])
model.compile(tfa.optimizers.LAMB(), tfa.losses.SigmoidFocalCrossEntropy(), metrics=[tfa.metrics.CohenKappa(3)])
assert "cohen_kappa" in model.fit(np.ones((4, 2)), np.eye(3)[[0, 1, 2, 0]], verbose=0).history
print("as it was")
"""
HUB = """
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of pkg_resources
    import tf_keras, tensorflow_hub
"""
FAILED = """
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own
    try:
        import tensorflow_addons
    except ImportError:
        assert "tensorflow_addons.utils" in sys.modules  # what is left of it
    else:
        raise AssertionError("tensorflow-addons imports without help")
"""
THREADS = """
import threading
found = []
def work():
    from tlkit.addons import tfa
    import keras
    found.append((tfa.image.rotate, keras.layers.Dense))
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert len(found) == 8 and len(set(found)) == 1
"""


@needs_addons
@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("", HUB, id="hub after", marks=pytest.mark.slow),
        pytest.param(HUB, "", id="hub before", marks=pytest.mark.slow),
        pytest.param(FAILED + THREADS, THREADS, id="after a failed import, in threads"),
    ],
)
def test_keras_3_stays_as_it_is(before, after, tmp_path):
    script = SNAPSHOT.format(before=before, after=after)
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.stdout == "as it was\n", done.stderr


@needs_addons
def test_upstream_asks_for_the_inner_names_of_keras_that_the_bridge_serves(tfa):
    """Fails when tensorflow-addons wants another inner name, or tf_keras moves one."""
    wanted = set()
    for file in importlib.metadata.files("tensorflow-addons"):
        if file.suffix == ".py" and not {"tests", "test_utils.py", "conftest.py"} & set(file.parts):
            source = file.read_text(encoding="utf-8")
            wanted |= set(re.findall(r"^ *from (keras\.src\S*) import (\w+)", source, re.MULTILINE))
    assert wanted == {("keras.src", "backend"), ("keras.src.engine", "keras_tensor"), ("keras.src.utils", "tf_utils")}
    for module, name in wanted:
        assert hasattr(importlib.import_module(f"tf_{module}"), name)
    assert tfa.utils.types.keras_tensor.__name__ == "tf_keras.src.engine.keras_tensor"
    assert tfa.layers.GroupNormalization.__mro__[1].__module__.startswith("tf_keras.")


@needs_addons
def test_the_versions_that_were_tried_are_those_that_tlkit_asks_for():
    asked = {item.name: item.specifier for item in map(Requirement, importlib.metadata.requires("tlkit"))}
    for name in ("tensorflow", "tf-keras", "tensorflow-addons"):
        major, minor = map(int, addons.TRIED[name].split("."))
        assert asked[name].contains(f"{major}.{minor}.0")
        assert not asked[name].contains(f"{major}.{minor + 1}.0")
        assert not asked[name].contains(f"{major}.{minor - 1}.9")
    pins = {item.name: item.specifier for item in map(Requirement, importlib.metadata.requires("tensorflow-addons"))}
    assert pins["typeguard"].contains(addons.TRIED["typeguard"])
    assert not pins["typeguard"].contains("3.0.0")


@pytest.mark.parametrize(
    ("python", "system", "machine", "offered"),
    [
        ("3.11", "linux", "x86_64", True),
        ("3.11", "linux", "aarch64", False),
        ("3.11", "darwin", "arm64", True),
        ("3.11", "win32", "AMD64", False),
        ("3.12", "linux", "x86_64", False),
        ("3.13", "darwin", "arm64", False),
    ],
)
def test_where_there_are_releases(python, system, machine, offered):
    markers = {"python_version": python, "sys_platform": system, "platform_machine": machine}
    assert addons.is_offered(markers) is offered


def refusal(monkeypatch, **versions):
    """What a fresh import says where other versions are installed; None stands for a missing package."""
    found = {**dict.fromkeys(addons.TRIED), **{name: f"{version}.1" for name, version in addons.TRIED.items()}}
    found |= {name.replace("_", "-"): version for name, version in versions.items()}

    def version(name):
        if found[name] is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.delitem(vars(addons), "tfa", raising=False)
    monkeypatch.delitem(sys.modules, "tensorflow_addons", raising=False)
    with pytest.raises(UserError) as refused:
        addons.tfa  # noqa: B018
    return str(refused.value)


def test_without_the_extra_one_sentence_says_what_to_type(monkeypatch):
    monkeypatch.setattr(addons, "is_offered", lambda: True)
    assert refusal(monkeypatch, tensorflow_addons=None) == (
        "tlkit.addons: the package 'tensorflow-addons' is missing. Expected the extra 'addons' of tlkit. "
        "Run `pip install 'tlkit[addons]'`."
    )
    assert "the package 'typeguard' is missing" in refusal(monkeypatch, typeguard=None)


def test_where_there_is_no_release_one_sentence_says_so(monkeypatch):
    monkeypatch.setattr(addons, "is_offered", lambda: False)
    monkeypatch.setattr("platform.python_version", lambda: "3.13.1")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert refusal(monkeypatch, tensorflow_addons=None) == (
        "tlkit.addons: tensorflow-addons ended before there was a release for Python 3.13.1 on Linux x86_64. Expected "
        "Python 3.11 on macOS or on Linux x86_64. Take what Keras 3 has instead, by the table in "
        "docs/tensorflow_addons.md, or make an environment with `python3.11 -m venv .venv`."
    )


def test_versions_that_were_not_tried_are_refused(monkeypatch):
    said = refusal(monkeypatch, tensorflow="2.22.0", typeguard="4.4.1")
    assert "was not tried with tensorflow 2.22.0 and typeguard 4.4.1. Expected tensorflow 2.21 and " in said
    assert said.endswith(
        "Run `pip install 'tensorflow==2.21.*' 'tf-keras==2.21.*' 'tensorflow-addons==0.23.*' 'typeguard==2.13.*'`."
    )
    assert "tensorflow 2.210.0." in refusal(monkeypatch, tensorflow="2.210.0")


def test_another_name_is_no_part_of_it():
    with pytest.raises(AttributeError, match="has no attribute 'tensorflow_addons'"):
        addons.tensorflow_addons  # noqa: B018


# Images, text, sequences --------------------------------------------------------------------------

RAMP = np.arange(12, dtype="float32").reshape(3, 4, 1)


@needs_addons
def test_images_in_tf_data(tfa):
    def moved(image):
        quarter = tfa.image.rotate(image[:, :3], np.pi / 2)
        shifted = tfa.image.translate(image, [1.0, 0.0])  # one to the right, one to nowhere, zeros come in
        return quarter, shifted, tfa.image.sharpness(image, 1.0), tfa.image.cutout(image[None], (2, 2), offset=(1, 1))

    (quarter, shifted, sharp, cut), *_ = tf.data.Dataset.from_tensors(RAMP).map(moved).as_numpy_iterator()
    np.testing.assert_allclose(quarter, np.rot90(RAMP[:, :3]), atol=1e-5)
    np.testing.assert_array_equal(shifted[:, 0], 0)
    np.testing.assert_array_equal(shifted[:, 1:], RAMP[:, :-1])
    np.testing.assert_allclose(sharp, RAMP, atol=1e-6)  # 1 leaves an image as it is
    expected = RAMP.copy()
    expected[0:2, 0:2] = 0  # 2 by 2 around (1, 1)
    np.testing.assert_array_equal(cut[0], expected)


@needs_addons
def test_equalize_spreads_the_values_of_an_image(tfa):
    """Four values, each a quarter of the pixels: with 16 pixels a step is (16 - 4) // 255, 0, so nothing changes;
    with 1,024 it is 768 // 255 = 3, and the first 256 (1, 2, 3 times) give (256 + 1) // 3 = 85, 171, 256 -> 255."""
    few, many = (np.repeat(np.uint8([10, 20, 30, 40]), n).reshape(4, n, 1) for n in (4, 256))
    np.testing.assert_array_equal(tfa.image.equalize(few), few)
    assert np.unique(tfa.image.equalize(many)).tolist() == [0, 85, 171, 255]


@needs_addons
def test_crf_against_every_path(tfa):
    """log p(tags) = score(tags) - log of the sum of exp(score) over all 3^4 paths; the best path has the best score."""
    random = np.random.default_rng(0)
    scores, steps = random.normal(size=(4, 3)).astype("float32"), random.normal(size=(3, 3)).astype("float32")

    def score(path):
        return sum(scores[i, tag] for i, tag in enumerate(path)) + sum(steps[pair] for pair in itertools.pairwise(path))

    paths = {path: score(path) for path in itertools.product(range(3), repeat=4)}
    tags = (0, 2, 1, 1)
    for jit in (False, True):
        likelihood = tf.function(tfa.text.crf_log_likelihood, jit_compile=jit)
        value, _ = likelihood(scores[None], tf.constant([tags]), tf.constant([4]), tf.constant(steps))
        np.testing.assert_allclose(value[0], paths[tags] - np.log(sum(map(np.exp, paths.values()))), rtol=1e-5)
    best, best_score = tfa.text.crf_decode(scores[None], tf.constant(steps), tf.constant([4]))
    assert tuple(best[0].numpy()) == max(paths, key=paths.get)
    np.testing.assert_allclose(best_score[0], max(paths.values()), rtol=1e-5)


@needs_addons
def test_where_there_is_python_beside_compiled_code_it_is_used_without_a_word(tfa):
    white = tf.ones((2, 2, 3))
    np.testing.assert_allclose(tfa.image.adjust_hsv_in_yiq(white, 0.5), white, atol=1e-6)  # white has no hue
    # Two beams, one step: the parents of what was chosen last say nothing yet.
    last = tf.constant([[[1, 2]]])
    tree = tfa.seq2seq.gather_tree(last, tf.constant([[[0, 1]]]), tf.constant([1]), 9)
    np.testing.assert_array_equal(tree, last)


@needs_addons
def test_what_is_only_compiled_is_refused(tfa, capsys):
    sentence = "this function of tensorflow-addons needs '_image_ops.so', compiled for TensorFlow 2.15, which"
    with pytest.raises(UserError, match=sentence):
        tfa.image.euclidean_dist_transform(tf.zeros((4, 4, 1), tf.uint8))
    with pytest.raises(UserError, match="'_parse_time_op.so'"):
        tfa.text.parse_time("2024-05-01", "%Y-%m-%d", "SECOND")
    with pytest.raises(SystemExit), exit_on_user_error():  # inside a tf.function TensorFlow wraps it
        tfa.image.connected_components(tf.constant([[True, False]]))
    assert capsys.readouterr().err.startswith("Error: tlkit.addons: this function of tensorflow-addons needs")


# Losses and metrics -------------------------------------------------------------------------------

BOXES = tf.constant([[0.0, 0, 2, 2], [0, 0, 1, 1]])  # y_min, x_min, y_max, x_max
OTHERS = tf.constant([[1.0, 1, 3, 3], [2, 0, 3, 1]])
# 1 - (intersection / union - (hull - union) / hull): the first pair shares 1 of 7 in a hull of 9, the second nothing.
GIOU = [1 - (1 / 7 - 2 / 9), 1 - (0 - 1 / 3)]


@needs_addons
def test_giou_against_its_formula(tfa):
    np.testing.assert_allclose(tfa.losses.giou_loss(BOXES, OTHERS), GIOU, rtol=1e-6)


@needs_addons
def test_focal_loss_against_its_formula_and_kerass(tfa):
    """FL = -alpha_t (1 - p_t)^2 log p_t, with alpha 1/4 for a positive and 3/4 for a negative."""
    labels, p = tf.constant([[1.0], [0.0]]), tf.constant([[0.8], [0.8]])
    expected = [-0.25 * 0.2**2 * np.log(0.8), -0.75 * 0.8**2 * np.log(0.2)]
    loss = tfa.losses.sigmoid_focal_crossentropy(labels, p)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    theirs = keras.losses.binary_focal_crossentropy(labels, p, apply_class_balancing=True)
    np.testing.assert_allclose(loss, theirs, rtol=1e-5)
    # Over several outputs it is a sum, Keras's a mean: one row with both.
    row = tfa.losses.sigmoid_focal_crossentropy(tf.transpose(labels), tf.transpose(p))
    np.testing.assert_allclose(row, [sum(expected)], rtol=1e-5)


@needs_addons
def test_triplet_loss_against_distances_by_hand(tfa):
    """Points 0 and 1 of one class, 3 and 7 of the other: max(0, farthest own + 1 - nearest other) is
    1 + 1 - 3 -> 0, 1 + 1 - 2 = 0, 4 + 1 - 2 = 3, 4 + 1 - 6 -> 0; their mean is 3/4."""
    points = tf.constant([[0.0], [1.0], [3.0], [7.0]])
    loss = tfa.losses.triplet_hard_loss(tf.constant([0, 0, 1, 1]), points, margin=1.0)
    np.testing.assert_allclose(loss, 0.75, rtol=1e-5)


def judge(loss, strategy=None, **options):
    """A model that returns its input, judged by Keras 3: row 0 counts three times."""
    with (strategy or tf.distribute.get_strategy()).scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Activation("linear")])
        model.compile(loss=loss, **options)
    return model.evaluate(OTHERS, BOXES, sample_weight=np.array([3.0, 1.0]), batch_size=2, verbose=0)


@needs_addons
@pytest.mark.parametrize("jit_compile", [False, True])
def test_keras_3_weights_the_losses_as_its_own(tfa, jit_compile):
    expected = (3 * GIOU[0] + GIOU[1]) / 2
    for loss in (tfa.losses.GIoULoss(), tfa.losses.GIoULoss(reduction="sum_over_batch_size"), tfa.losses.giou_loss):
        assert judge(loss, jit_compile=jit_compile) == pytest.approx(expected, rel=1e-5)


@needs_addons
def test_keras_3_weights_the_losses_on_two_devices(tfa):
    """Also a loss that is one number for a batch: each device has the four points that give 3/4."""
    strategy = choose_strategy("mirrored")
    expected = (3 * GIOU[0] + GIOU[1]) / 2
    assert judge(tfa.losses.GIoULoss(), strategy) == pytest.approx(expected, rel=1e-5)
    with strategy.scope():
        model = keras.Sequential([keras.Input((1,)), keras.layers.Activation("linear")])
        model.compile(loss=tfa.losses.TripletHardLoss(margin=1.0))
    points, classes = np.tile([[0.0], [1.0], [3.0], [7.0]], (2, 1)), np.tile([0, 0, 1, 1], 2)
    assert model.evaluate(points, classes, batch_size=8, verbose=0) == pytest.approx(0.75, rel=1e-5)


@needs_addons
def test_a_loss_that_is_called_by_hand_reduces_by_itself(tfa):
    assert float(tfa.losses.GIoULoss()(BOXES, OTHERS)) == pytest.approx(sum(GIOU) / 2, rel=1e-5)
    assert float(tfa.losses.GIoULoss(reduction="sum")(BOXES, OTHERS)) == pytest.approx(sum(GIOU), rel=1e-5)


@needs_addons
def test_a_sum_that_keras_3_would_average_is_refused(tfa):
    with pytest.raises(UserError, match=r"`GIoULoss` was given reduction='sum', but in `compile` Keras 3 takes the"):
        judge(tfa.losses.GIoULoss(reduction="sum"))


@needs_addons
def test_metrics_count_by_hand_and_are_refused_in_compile(tfa):
    """Three of four agree; by chance 2/4 * 3/4 + 2/4 * 1/4 = 1/2 would: kappa = (3/4 - 1/2) / (1 - 1/2) = 1/2."""
    kappa = tfa.metrics.CohenKappa(num_classes=3)
    kappa.update_state(np.eye(3)[[0, 0, 1, 1]], np.eye(3)[[0, 0, 1, 0]])
    assert float(kappa.result()) == pytest.approx(0.5)
    assert float(tfa.metrics.hamming_distance(tf.constant([1, 0, 1]), tf.constant([1, 1, 1]))) == pytest.approx(1 / 3)
    for run_eagerly in (False, True):
        with pytest.raises(UserError, match="the metric `CohenKappa` belongs to Keras 2, and Keras 3 would report"):
            judge("mse", metrics=[tfa.metrics.CohenKappa(num_classes=4)], run_eagerly=run_eagerly)


@needs_addons
def test_an_activation_trains_in_a_keras_3_layer(tfa):
    """lisht(x) = x tanh(x)."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, activation=tfa.activations.lisht)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.set_weights([np.array([[2.0]]), np.array([0.5])])
    x = np.array([[0.25]])
    assert model.predict(x, verbose=0)[0, 0] == pytest.approx(1.0 * np.tanh(1.0), rel=1e-5)
    before = model.evaluate(x, np.array([[0.0]]), verbose=0)
    model.fit(x, np.array([[0.0]]), epochs=5, verbose=0)
    assert model.evaluate(x, np.array([[0.0]]), verbose=0) < before


@needs_addons
def test_sparsemax_is_a_projection_on_the_probabilities(tfa):
    """Of 0, 1/2 and 1 the last two stay: less (1/2 + 1 - 1) / 2 = 1/4 they are 1/4 and 3/4. Keras 3.15 says 0, 0,
    1/4 (keras#23425): when this is mended, so is the table in docs/tensorflow_addons.md."""
    np.testing.assert_allclose(tfa.activations.sparsemax(tf.constant([[0.0, 0.5, 1.0]])), [[0, 0.25, 0.75]])


@needs_addons
def test_time_stopping_stops_keras_3(tfa):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    fitted = model.fit(np.ones((4, 2)), np.ones(4), epochs=3, verbose=0, callbacks=[tfa.callbacks.TimeStopping(0)])
    assert len(fitted.epoch) == 1


@needs_addons
def test_optimizers_and_layers_are_refused_by_keras_3(tfa):
    """What docs/tensorflow_addons.md says of them; Keras's own sentences."""
    with pytest.raises(ValueError, match="Could not interpret optimizer identifier"):
        judge("mse", optimizer=tfa.optimizers.LAMB())
    with pytest.raises(ValueError, match=r"Only instances of `keras\.Layer`"):
        keras.Sequential([tfa.layers.GroupNormalization(1)])
