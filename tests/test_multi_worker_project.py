"""A generated project on two workers: who writes, a worker that is killed, and going on after it."""

import os
import shutil
import signal
import time

import numpy as np
import pytest
from projects import generate, make_messages
from worker_processes import Workers

import tlkit

FLAGS = ("--strategy", "multi-worker", "--batch_size", "8", "--head_epochs", "1", "--stages_to_open", "1")
FLAGS += ("--epochs_per_stage", "1", "--epochs", "4", "--inspect", "false")
MINUTE = 60


@pytest.fixture(scope="module")
def workers():
    return Workers()


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Two copies of a project, as on two machines; its user has put a BatchNorm beside the dropout."""
    first = tmp_path_factory.mktemp("first")
    project = generate("text-classifier", first, data=make_messages(first / "messages.csv"))
    model = project / "flowers/model.py"
    plain, own = "[layers.Dropout(config.dropout),", "[layers.BatchNormalization(), layers.Dropout(config.dropout),"
    assert plain in model.read_text()
    model.write_text(model.read_text().replace(plain, own))
    second = tmp_path_factory.mktemp("second") / "place"
    shutil.copytree(first, second)
    return project, second / project.name


def said(project, index):
    return tuple((project.parent / f"worker{index}.{end}").read_text() for end in ("out", "err"))


def train_to_the_end(workers, places):
    """Returns the chief's run, and what both said."""
    processes, _ = workers.start(places, "train", *FLAGS)
    for index, process in enumerate(processes):
        process.join(5 * MINUTE)
        assert process.exitcode == 0, said(places[index], index)
    assert said(places[1], 1)[0] == "" and not (places[1] / "runs").exists()  # only the chief speaks and writes
    run = max((places[0] / "runs").iterdir())
    return run, said(places[0], 0)[0]


@pytest.mark.slow
def test_a_worker_is_killed_and_all_are_started_again(workers, places):
    """It ends as a training that nobody disturbed: weights, statistics and draws of each worker included."""
    undisturbed, told = train_to_the_end(workers, places)
    assert "Strategy 'multi-worker': 2 workers with 1 CPU each, 8 examples a step, 4 on each device." in told
    assert {"model.keras", "history.csv", "metrics.json", "confusion_matrix.png"} <= {
        f.name for f in undisturbed.iterdir()
    }

    processes, addresses = workers.start(places, "train", *FLAGS)
    while not list((places[0] / "runs").glob("*/state/epoch_00001")):
        assert all(process.is_alive() for process in processes), said(places[0], 0)
        time.sleep(0.02)
    os.kill(processes[1].pid, signal.SIGKILL)
    processes[0].join(5 * MINUTE)  # it takes seconds, but two cores may have other work, too
    assert processes[0].exitcode == 1
    errors = [line for line in said(places[0], 0)[1].splitlines() if "Error" in line or "Traceback" in line]
    assert errors == [
        f"Error: The training stopped because another worker was lost: worker 1 at {addresses[1]}. What it said last "
        f"tells why. Start all 2 workers again with the same command: the training goes on after its last whole epoch."
    ]

    gone_on, told = train_to_the_end(workers, places)
    assert "Going on with the interrupted training" in told and "epochs are done; going on from" in told
    assert gone_on != undisturbed
    assert (gone_on / "history.csv").read_bytes() == (undisturbed / "history.csv").read_bytes()
    weights = [tlkit.load_model(run / "model.keras", compile=False).get_weights() for run in (undisturbed, gone_on)]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
