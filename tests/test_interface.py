"""Every form in which models on TF-Hub are called: one small SavedModel each."""

import numpy as np
import pytest
import saved_models
import tensorflow as tf

import tlkit

FEATURES = np.array([[0.5, -1.0, 2.0, 0.1], [-0.3, 0.4, 0.0, 1.5]], np.float32)
SPEC = saved_models._FEATURES


def save(folder, function, *traces, call=True, **tracked):
    """A model whose output in training is twice that in inference, times what else its caller chooses."""
    kernel = saved_models.variable("kernel", 4, 3)
    traced = tf.function(function(kernel))
    for arguments, keywords in traces:
        traced.get_concrete_function(*arguments, **keywords)
    tf.saved_model.save(saved_models.Model(traced if call else None, [kernel], **tracked), str(folder))
    return FEATURES @ kernel.numpy()


FLAG = tf.TensorSpec((), tf.bool, "training")
MOMENTUM = tf.TensorSpec((), tf.float32, "batch_norm_momentum")


def factor(training):
    return tf.where(tf.cast(training, tf.bool), 2.0, 1.0)


FORMS = {
    "absent": (lambda k: lambda x: x @ k, [((SPEC,), {})], "model(inputs)"),
    "keyword": (
        lambda k: lambda x, *, training=False: x @ k * factor(training),
        [((SPEC,), {"training": True}), ((SPEC,), {"training": False})],
        "model(inputs, training)",
    ),
    "position": (
        lambda k: lambda x, training: x @ k * factor(training),
        [((SPEC, False), {}), ((SPEC, True), {})],
        "model(inputs, training)",
    ),
    "tensor": (
        lambda k: lambda x, training: x @ k * factor(training),
        [((SPEC, FLAG), {})],
        "model(inputs, training)",
    ),
    "none for inference": (
        lambda k: lambda x, training=None: x @ k * (2.0 if training else 1.0),
        [((SPEC,), {}), ((SPEC, True), {})],
        "model(inputs, training)",
    ),
    "another name": (
        lambda k: lambda x, is_training=False: x @ k * factor(is_training),
        [((SPEC, True), {}), ((SPEC, False), {})],
        "model(inputs, is_training)",
    ),
    "mask beside it": (
        lambda k: lambda x, training=False, mask=None: x @ k * factor(training),
        [((SPEC, True, None), {}), ((SPEC, False, None), {})],
        "model(inputs, training, mask)",
    ),
    "inputs in a dict": (
        lambda k: lambda x, training=False: x["images"] @ k * factor(training),
        [(({"images": SPEC}, True), {}), (({"images": SPEC}, False), {})],
        "model(inputs, training)",
    ),
    "momentum": (
        lambda k: (
            lambda x, training=False, batch_norm_momentum=0.99: x @ k * factor(training) / 0.99 * batch_norm_momentum
        ),
        [((SPEC, True, MOMENTUM), {}), ((SPEC, False, MOMENTUM), {})],
        "model(inputs, training, batch_norm_momentum)",
    ),
    "outputs in a dict": (
        lambda k: lambda x, training=False: {"default": x @ k * factor(training), "block_1": x},
        [((SPEC, True), {}), ((SPEC, False), {})],
        "model(inputs, training)",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_it_is_called_as_it_was_traced(form, tmp_path):
    function, traces, _ = FORMS[form]
    expected = save(tmp_path / "model", function, *traces)
    backbone = tlkit.load_backbone(str(tmp_path / "model"))
    np.testing.assert_allclose(backbone(FEATURES), expected, rtol=1e-6)
    if form == "absent":
        return
    trains = tlkit.load_backbone(str(tmp_path / "model"), training_mode=True)
    trains.unfreeze()
    np.testing.assert_allclose(trains(FEATURES, training=True), 2 * expected, rtol=1e-6)
    np.testing.assert_allclose(trains(FEATURES, training=False), expected, rtol=1e-6)


def test_an_argument_of_ones_own(tmp_path):
    function, traces, _ = FORMS["momentum"]
    expected = save(tmp_path / "model", function, *traces)
    backbone = tlkit.load_backbone(str(tmp_path / "model"), arguments={"batch_norm_momentum": 0.5})
    np.testing.assert_allclose(backbone(FEATURES), expected / 0.99 * 0.5, rtol=1e-5)


def test_an_argument_that_it_does_not_know(tmp_path):
    function, traces, _ = FORMS["momentum"]
    save(tmp_path / "model", function, *traces)
    sentence = (
        r"`arguments` names 'momentum', which the SavedModel in '.*' does not know\. Expected one of: "
        r"'batch_norm_momentum'\. It is called as model\(inputs, training, batch_norm_momentum\)\."
    )
    with pytest.raises(tlkit.UserError, match=sentence):
        tlkit.load_backbone(str(tmp_path / "model"), arguments={"momentum": 0.5})


def test_an_argument_without_a_default(tmp_path):
    def function(kernel):
        return lambda x, training, temperature: x @ kernel * temperature

    expected = save(tmp_path / "model", function, ((SPEC, False, tf.TensorSpec((), tf.float32)), {}))
    with pytest.raises(
        tlkit.UserError, match=r"says no value for 'temperature'\. Give it: `arguments=\{'temperature': …"
    ):
        tlkit.load_backbone(str(tmp_path / "model"))
    backbone = tlkit.load_backbone(str(tmp_path / "model"), arguments={"temperature": 3.0})
    np.testing.assert_allclose(backbone(FEATURES), 3 * expected, rtol=1e-6)


class TestSignatures:
    """Models that only have signatures: no graph for training, everything else as usual."""

    def save(self, folder, signatures):
        kernel = saved_models.variable("kernel", 4, 3)
        module = tf.Module()
        module.kernel = kernel
        functions = {
            name: tf.function(lambda _f=function, **inputs: _f(kernel, **inputs)).get_concrete_function(**specs)
            for name, (function, specs) in signatures.items()
        }
        tf.saved_model.save(module, str(folder), signatures=functions)
        return FEATURES @ kernel.numpy()

    @pytest.mark.parametrize("name", ["serving_default", "default", "classify"])
    def test_the_only_one_or_the_default(self, tmp_path, name):
        inputs = tf.TensorSpec((None, 4), tf.float32, "x")
        expected = self.save(tmp_path / "model", {name: (lambda k, x: {"y": x @ k}, {"x": inputs})})
        backbone = tlkit.load_backbone(str(tmp_path / "model"))
        np.testing.assert_allclose(backbone(FEATURES), expected, rtol=1e-6)
        backbone.unfreeze()  # it could be lifted, so it can be trained, too
        assert [weight.name for weight in backbone.trainable_weights] == ["kernel"]
        with pytest.raises(tlkit.UserError, match="`training_mode` is not to be had: .* no graph for training"):
            tlkit.load_backbone(str(tmp_path / "model"), training_mode=True)
        with pytest.raises(tlkit.UserError, match="takes no `arguments`, since it is called by a signature"):
            tlkit.load_backbone(str(tmp_path / "model"), arguments={"momentum": 1.0})

    def test_two_inputs(self, tmp_path):
        a, b = (tf.TensorSpec((None, 4), tf.float32, name) for name in "ab")
        self.save(tmp_path / "model", {"serving_default": (lambda k, a, b: {"y": (a + b) @ k}, {"a": a, "b": b})})
        sentence = r"cannot be called on one batch\. .* Found signatures: 'serving_default' of a, b\."
        with pytest.raises(tlkit.UserError, match=sentence):
            tlkit.load_backbone(str(tmp_path / "model"))

    def test_several_outputs(self, tmp_path):
        inputs = tf.TensorSpec((None, 4), tf.float32, "x")
        self.save(tmp_path / "model", {"serving_default": (lambda k, x: {"a": x @ k, "b": x}, {"x": inputs})})
        with pytest.raises(tlkit.UserError, match=r"returns several tensors, named \['a', 'b'\]"):
            tlkit.load_backbone(str(tmp_path / "model"))


def save_tensorflow_1(folder, use_resource=False, act=None):
    """A graph with a session's variables, and the kernel's value times the features."""
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, 4), "x")
        kernel = v1.get_variable("kernel", (4, 3), use_resource=use_resource)
        with tf.control_dependencies([act()] if act else []):
            y = x @ kernel
        session.run(v1.global_variables_initializer())
        expected = FEATURES @ session.run(kernel)
        builder = v1.saved_model.Builder(str(folder))
        info = {"inputs": v1.saved_model.build_tensor_info(x), "outputs": v1.saved_model.build_tensor_info(y)}
        signature = v1.saved_model.build_signature_def(*({"x": info["inputs"]}, {"y": info["outputs"]}))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    return expected


class TestTensorFlow1:
    def test_its_own_variables_cannot_be_lifted_and_it_says_so(self, tmp_path):
        expected = save_tensorflow_1(tmp_path / "model")
        backbone = tlkit.load_backbone(str(tmp_path / "model"))
        np.testing.assert_allclose(backbone(FEATURES), expected, rtol=1e-6)
        assert backbone.stages == ()
        with pytest.raises(tlkit.UserError, match="cannot train: it has no weights that are variables of TensorFlow 2"):
            backbone.unfreeze()

    def test_resource_variables_train_like_any_other(self, tmp_path):
        expected = save_tensorflow_1(tmp_path / "model", use_resource=True)
        backbone = tlkit.load_backbone(str(tmp_path / "model"))
        np.testing.assert_allclose(backbone(FEATURES), expected, rtol=1e-6)
        backbone.unfreeze()
        assert [weight.name for weight in backbone.trainable_weights] == ["kernel"]

    @pytest.mark.parametrize(
        ("name", "act"),
        [
            ("WriteFile", lambda folder: tf.io.write_file(f"{folder}/owned", "x")),
            ("RestoreV2", lambda folder: tf.raw_ops.RestoreV2(
                prefix=f"{folder}/x", tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32])[0]),
        ],
    )  # fmt: skip
    def test_what_a_signature_needs_is_scanned(self, tmp_path, name, act):
        # The saver's own operations stand in the same graph; only those may reach files.
        save_tensorflow_1(tmp_path / "model", act=lambda: act(tmp_path))
        with pytest.raises(tlkit.UserError, match=f"would reach outside the model: .*{name}"):
            tlkit.load_backbone(str(tmp_path / "model"))
        assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("model.keras", None, r"is a file\. .* It is a Keras model or its weights: in Keras, write `model\.export"),
        ("model.tar.gz", None, r"is a file\. .* It is an archive: unpack it and give the folder\."),
        ("saved_model.pb", None, r"is a file\. .* Give the folder that holds it\."),
        ("model.tflite", None, r"is a file\. .* It is a LiteRT model, which cannot be trained"),
        ("model.pth", None, r"is a file\. .* It belongs to another framework"),
        ("folder", ["1/saved_model.pb", "2/saved_model.pb"], r"is not a SavedModel\. .* Did you mean '.*folder/2'\?"),
        (
            "folder",
            ["checkpoint", "model.ckpt.index"],
            r"is not a SavedModel\. .* Found: checkpoint, model\.ckpt\.index\.",
        ),
        ("folder", [], r"is not a SavedModel\. .* Found: nothing\."),
        (
            "missing",
            ...,
            r"is not a SavedModel\. .* Found: no such folder\. .* `tlkit backbones` lists well-known ones",
        ),
    ],
)
def test_what_is_no_saved_model(tmp_path, name, content, sentence):
    path = tmp_path / name
    if content is None:
        path.write_bytes(b"x")
    elif content is not ...:
        path.mkdir()
        for file in content:
            (path / file).parent.mkdir(exist_ok=True)
            (path / file).write_bytes(b"x")
    with pytest.raises(tlkit.UserError, match=sentence):
        tlkit.load_backbone(str(path))


def test_a_name_that_lacks_its_source():
    with pytest.raises(tlkit.UserError, match=r"Found: no such folder\. Did you mean 'keras:EfficientNetB0'\?"):
        tlkit.load_backbone("EfficientNetB0")
