"""Which worker a process is, and what it does then."""

import types

import pytest
import resumed_training
import tensorflow as tf
from worker_processes import tf_config

from tlkit.callbacks import exact_resume, run_description
from tlkit.distribution import check_one_process, choose_strategy, cluster, leave_to_chief, together
from tlkit.errors import UserError

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_PROCID": "2",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
}


@pytest.fixture
def environment(monkeypatch):
    for name in ("TF_CONFIG", "SLURMD_NODENAME", "SLURM_LOCALID", *SLURM):
        monkeypatch.delenv(name, raising=False)

    def set_variables(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


def test_slurm(environment):
    """Three tasks on two nodes without GPUs, where TensorFlow's resolver, left to itself, divides by none."""
    environment(**SLURM)
    resolver = cluster.find_cluster()
    assert [member.address for member in cluster.members(resolver)] == ["node1:8888", "node1:8889", "node2:8888"]
    assert cluster.number_of(resolver) == 2
    assert resolver.num_accelerators() == {"GPU": 0}


def test_slurm_numbers_tasks_by_node_however_the_nodes_are_called(environment):
    """The resolver sorts names as text, node10 before node9, while ranks follow the list of nodes."""
    environment(**SLURM | {"SLURM_STEP_NODELIST": "node[9-10]", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"})
    environment(SLURMD_NODENAME="node9")
    resolver = cluster.find_cluster()
    assert [member.address for member in cluster.members(resolver)] == ["node10:8888", "node9:8888", "node9:8889"]
    assert cluster.number_of(resolver) == 1


def test_a_job_of_slurm_outside_of_a_step(environment):
    environment(SLURM_JOB_ID="7")
    with pytest.raises(UserError, match="a job of SLURM, but its workers are not known .* that 'srun' started"):
        cluster.find_cluster()


def test_a_chief_comes_before_the_workers(environment):
    environment(
        TF_CONFIG='{"cluster": {"worker": ["b:1", "c:1"], "chief": ["a:1"]}, "task": {"type": "worker", "index": 0}}'
    )
    resolver = cluster.find_cluster()
    assert [member.address for member in cluster.members(resolver)] == ["a:1", "b:1", "c:1"]
    assert cluster.number_of(resolver) == 1


def test_no_worker_of_the_cluster(environment):
    environment(TF_CONFIG='{"cluster": {"worker": ["a:1"]}, "task": {"type": "evaluator", "index": 0}}')
    with pytest.raises(UserError, match="calls this process 'evaluator 0', which is none of its 1 workers"):
        cluster.number_of(cluster.find_cluster())


@pytest.mark.parametrize("variables", [{"TF_CONFIG": tf_config([1, 2, 3], 2)}, SLURM])
def test_other_workers_leave_it_to_the_chief(variables, environment, capsys):
    environment(**variables)
    with pytest.raises(SystemExit) as leaving:
        leave_to_chief("Judging a model")
    assert leaving.value.code == 0
    assert capsys.readouterr().out == (
        "Judging a model is for one process: worker 0 does it, and this one, worker 2, has nothing to do.\n"
    )


@pytest.mark.parametrize(
    "variables", [{}, {"TF_CONFIG": tf_config([1, 2], 0)}, SLURM | {"SLURM_PROCID": "0"}, {"SLURM_JOB_ID": "7"}]
)
def test_the_chief_goes_on(variables, environment):
    environment(**variables)
    leave_to_chief("Judging a model")


def test_what_one_process_does():
    check_one_process("mirrored", "A search")
    with pytest.raises(UserError, match="A search runs in one process, and the setting 'strategy' is 'multi-worker'"):
        check_one_process("multi-worker", "A search")


def test_workers_that_train_different_things(monkeypatch):
    ours = {"compile": {"loss": "mse"}, "fingerprint": {"train": "9 images"}}
    run_description.check_same_workers(ours)
    monkeypatch.setattr(run_description, "from_chief", lambda make: {**ours, "fingerprint": {"train": "8 images"}})
    with pytest.raises(UserError, match=r'Different \(chief -> here\): fingerprint.train: "8 images" -> "9 images"'):
        run_description.check_same_workers(ours)


def test_workers_that_tlkit_does_not_know_of(monkeypatch, tmp_path):
    """As with a strategy that the user's own code has made: nobody would tell the others what was saved."""
    monkeypatch.setattr(exact_resume, "num_workers", lambda: 2)
    with pytest.raises(UserError, match="knows of 4 devices, but 2 train. Expected several workers to come from"):
        resumed_training.fit(resumed_training.build(strategy=choose_strategy("mirrored")), tmp_path, states=False)


def test_an_error_that_is_no_lost_worker_stays_what_it_is():
    with pytest.raises(tf.errors.InternalError, match="out of ideas"), together._losses_in_words(None):
        raise tf.errors.InternalError(None, None, "out of ideas")


def test_a_machine_that_stopped_is_named_by_tensorflow(environment, monkeypatch):
    environment(TF_CONFIG=tf_config([1, 2, 3], 0))
    strategy = types.SimpleNamespace(cluster_resolver=cluster.find_cluster())
    monkeypatch.setattr(together, "answers", lambda address: True)
    words = "tasks are unhealthy (stopped sending heartbeats): /job:worker/replica:0/task:2; seen by /job:worker/task:0"
    assert together._who_was_lost(strategy, words) == "worker 2 at 127.0.0.1:3"
    assert together._who_was_lost(strategy, "the network") == "which one is not known"
    monkeypatch.setattr(together, "answers", lambda address: address != "127.0.0.1:2")
    assert together._who_was_lost(strategy, words) == "worker 1 at 127.0.0.1:2"
