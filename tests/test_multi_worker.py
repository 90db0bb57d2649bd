"""Several workers: processes on this machine that train one model together."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
from worker_processes import free_ports, tf_config

from tlkit import distribution
from tlkit.errors import UserError

TRAIN = textwrap.dedent("""
    import json
    import os
    import sys
    import numpy as np
    import tlkit.distribution
    import tensorflow as tf
    if sys.argv[1] == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    if sys.argv[1] == "tensorflow":
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        strategy = tlkit.distribution.choose_strategy(sys.argv[1])
        assert tlkit.distribution.choose_strategy(sys.argv[1]) is strategy
    import keras
    import tlkit.callbacks
    import tlkit.finetune
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    x = random.normal(size=(70, 5)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, (x[:, 0] > 0).astype("int32"))).batch(16)  # the last one holds 6
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    data = data.with_options(options)
    with strategy.scope():
        inputs = keras.Input((5,))
        hidden = keras.layers.Dense(4, "tanh", kernel_regularizer=keras.regularizers.L2(0.01))(inputs)
        hidden = keras.layers.BatchNormalization(trainable=False)(hidden)  # as in a closed backbone
        model = keras.Model(inputs, keras.layers.Dense(2, "softmax")(hidden))
        model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(data, epochs=4, validation_data=data, verbose=0, shuffle=False)
    # The same model on features of its closed stages, from float32, then with a stage open.
    import tlkit.features.plan
    from tlkit.features import fit_on_features, list_features
    tlkit.features.plan._seconds_to_read = lambda features, folder: 0.0  # so small a model is faster than a file
    with strategy.scope():
        photos = keras.Input((32, 32, 3))
        backbone = tlkit.load_backbone(os.environ["MODEL"], name="backbone")
        on_features = keras.Model(photos, keras.layers.Dense(2, "softmax")(backbone(photos)))
        on_features.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        tlkit.finetune.prepare_unfreezing(on_features)
    pictures = random.uniform(size=(24, 32, 32, 3)).astype("float32")
    rows = tf.data.Dataset.from_tensor_slices((pictures, np.arange(24) % 2)).batch(8)
    opener = tlkit.callbacks.ProgressiveUnfreezing(schedule={0: 0, 4: 1}, verbose=0)
    kept = {"fingerprint": "noise", "precision": "float32", "folder": os.environ["FEATURES"], "seed": 1}
    fit_on_features(on_features, rows, epochs=8, callbacks=[opener], verbose=0, **kept)
    with strategy.scope():
        inputs = keras.Input((100,))
        dropping = keras.Model(inputs, keras.layers.Dropout(0.5)(inputs))
    tlkit.distribution.seed_replicas(dropping)
    here = strategy.run(lambda: dropping(tf.ones((1, 100)), training=True))
    number = tlkit.distribution.worker_number()
    told = {
        "dropped": np.asarray(strategy.experimental_local_results(here)[0]).ravel().tolist(),
        "numbers": tlkit.distribution.from_workers(number),
        "chief_says": tlkit.distribution.from_chief(lambda: [*b"\\xff\\x00?", number]),
        "replicas": strategy.num_replicas_in_sync,
        "chief": tlkit.distribution.is_chief(strategy),
        "logs": history.history,
        "evaluated": model.evaluate(data, verbose=0),
        "predicted": model.predict(data, verbose=0).tolist(),
        "weights": [weight.tolist() for weight in model.get_weights() + on_features.get_weights()],
        "kept": len(list_features(os.environ["FEATURES"])),
    }
    print("TOLD " + json.dumps(told), flush=True)
""")


def start(tmp_path, name, ports=(), index=0, model="", **environment):
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    environment |= {"MODEL": str(model), "FEATURES": str(tmp_path / f"features of {name} {index}")}
    if ports:
        environment["TF_CONFIG"] = tf_config(ports, index)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, str(script), name], env=environment, **pipes)


def told(process):
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    return json.loads(stdout.split("TOLD ")[1])


@pytest.mark.slow
def test_two_devices_and_two_workers_train_as_one_device_does(tmp_path, image_model):
    """20 steps of SGD with shares of unequal size, a loss of regularization, validation, predict; and messages.

    And 24 steps on features, half of them with a stage open: each worker keeps its own.
    """
    ports = free_ports(2)
    workers = [start(tmp_path, "multi-worker", ports, index, image_model) for index in range(2)]
    found = [told(worker) for worker in workers]
    alone, mirrored = (told(start(tmp_path, name, model=image_model)) for name in ("auto", "mirrored"))
    assert [each["kept"] for each in (*found, mirrored, alone)] == [2, 2, 2, 2]  # one for each cut
    assert [each["replicas"] for each in (*found, mirrored, alone)] == [2, 2, 2, 1]
    assert [each["chief"] for each in (*found, alone)] == [True, False, True]
    assert [each["numbers"] for each in (*found, alone)] == [[0, 1], [0, 1], [0]]
    assert all(each["chief_says"] == [*b"\xff\x00?", 0] for each in (*found, alone))
    assert found[0]["dropped"] == alone["dropped"]  # the first device draws as it does alone
    assert found[1]["dropped"] != alone["dropped"]
    for each in (*found, mirrored):
        for name, values in alone["logs"].items():
            np.testing.assert_allclose(each["logs"][name], values, rtol=1e-5)
        np.testing.assert_allclose(each["evaluated"], alone["evaluated"], rtol=1e-5)
        np.testing.assert_allclose(each["predicted"], alone["predicted"], atol=1e-5)
        for own, weight in zip(each["weights"], alone["weights"], strict=True):
            np.testing.assert_allclose(own, weight, atol=1e-5)


@pytest.mark.slow
def test_keras_still_fails_without_the_repair(tmp_path):
    """When it does not, https://github.com/keras-team/keras/issues/20585 is mended: `_MultiWorkerStrategy` may go."""
    ports = free_ports(2)
    workers = [start(tmp_path, "tensorflow", ports, index) for index in range(2)]
    try:
        _, said = workers[0].communicate(timeout=120)
        assert workers[0].returncode != 0 and "PerReplica" in said
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


@pytest.mark.slow
def test_a_worker_that_never_begins_is_named_and_not_waited_for_without_end(tmp_path):
    ports = free_ports(2)
    script = tmp_path / "wait.py"
    script.write_text("from tlkit.distribution import workers\nworkers.START_TIMEOUT = 3\nworkers.join_workers()\n")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CONFIG": tf_config(ports, 0)}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert f"Waiting for the workers 127.0.0.1:{ports[1]}, 0.05 minutes at most." in done.stderr
    assert "Timeout (0:00:03)!" in done.stderr


@pytest.mark.parametrize("value", [None, "workers"])
def test_no_cluster(value, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    if value is None:
        monkeypatch.delenv("TF_CONFIG", raising=False)
        message = "'multi-worker' needs to know the workers. Expected the environment variable TF_CONFIG"
    else:
        monkeypatch.setenv("TF_CONFIG", value)
        message = "The environment variable TF_CONFIG is no JSON object: 'workers'. Expected one such as"
    with pytest.raises(UserError, match=message):
        distribution.choose_strategy("multi-worker")


def test_too_late(monkeypatch):
    assert tf.constant(1) + 1 == 2  # TensorFlow runs
    cluster = {"cluster": {"worker": ["127.0.0.1:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    with pytest.raises(UserError, match="several workers were asked for too late. Expected before anything else"):
        distribution.choose_strategy("multi-worker")


def test_no_tpu():
    with pytest.raises(UserError, match="'tpu' found none .* Take 'auto' elsewhere"):
        distribution.choose_strategy("tpu")
