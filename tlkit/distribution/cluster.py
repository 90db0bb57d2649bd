"""Which of several workers this process is, as the environment tells: `TF_CONFIG`, or SLURM."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

import tensorflow as tf

from tlkit.errors import UserError

_EXAMPLE = '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}'

_SLURM_PORT = 8888  # TensorFlow's own choice; further tasks on a node take the next ones


class Member(NamedTuple):
    """One of the processes that train together."""

    job: str  # "chief" or "worker"
    number: int
    address: str


def find_cluster() -> Any | None:
    """The resolver of what the environment tells of workers, or None where it tells nothing.

    Raises:
        UserError: When what it tells cannot be read.
    """
    if os.environ.get("TF_CONFIG"):
        _check_tf_config()
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if os.environ.get("SLURM_JOB_ID"):
        return _slurm_cluster()
    return None


def _slurm_cluster() -> Any:
    try:
        # By itself it shares out GPUs by number, and fails on machines without any (a step of 0) and where SLURM shows
        # each task its own only: so it is told of one for each task, and to leave CUDA_VISIBLE_DEVICES alone.
        slurm = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=_SLURM_PORT,
            gpus_per_node=int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)),
            gpus_per_task=1,
            auto_set_gpu=False,
        )
        spec = slurm.cluster_spec()
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"choose_strategy: this is a job of SLURM, but its workers are not known ({error}). Expected a step that "
            f"'srun' started, with a task for each worker, or the environment variable TF_CONFIG."
        ) from None
    # It sorts the nodes by their names' letters, node10 before node9, and takes the task's rank for its place
    # among them: the place is that of the task's own address.
    own = f"{os.environ.get('SLURMD_NODENAME')}:{_SLURM_PORT + int(os.environ.get('SLURM_LOCALID', 0))}"
    addresses = spec.as_dict()["worker"]
    gpus = {"GPU": len(tf.config.list_physical_devices("GPU"))}  # all that SLURM lets this task see
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        spec,
        task_type="worker",
        task_id=addresses.index(own) if own in addresses else slurm.task_id,
        num_accelerators=gpus,
        rpc_layer="grpc",
    )


def no_cluster() -> UserError:
    """What to say where workers are asked for and none are told of."""
    return UserError(
        "choose_strategy: 'multi-worker' needs to know the workers. Expected the environment variable TF_CONFIG, "
        f"such as {_EXAMPLE} with this process's index, or a job of SLURM."
    )


def members(resolver: Any) -> list[Member]:
    """All that train, in the order in which TensorFlow numbers their replicas: the chief is the first."""
    spec = resolver.cluster_spec().as_dict()
    return [Member(job, *pair) for job in ("chief", "worker") for pair in enumerate(spec.get(job, ()))]


def number_of(resolver: Any) -> int:
    """This process's place among the `members`.

    Raises:
        UserError: When it is none of them.
    """
    own = (resolver.task_type, resolver.task_id)
    places = [(member.job, member.number) for member in members(resolver)]
    if own not in places:
        raise UserError(
            f"choose_strategy: the environment variable TF_CONFIG calls this process '{own[0]} {own[1]}', which is "
            f"none of its {len(places)} workers. Expected one such as {_EXAMPLE}."
        )
    return places.index(own)


def is_chief(strategy: tf.distribute.Strategy | None = None) -> bool:
    """Whether this process is the one that writes: of several workers the first one, otherwise every one.

    Args:
        strategy: Defaults to the one whose scope this is called in.
    """
    resolver = (strategy or tf.distribute.get_strategy()).cluster_resolver
    if resolver is None or resolver.task_type in (None, "", "chief"):
        return True
    return resolver.task_type == "worker" and resolver.task_id == 0 and "chief" not in resolver.cluster_spec().jobs


def leave_to_chief(what: str) -> None:
    """End this process, with a sentence and exit status 0, where it is one of several workers but not the first.

    For what one process does alone, such as judging a model, when all workers were given the same command.

    Args:
        what: What is done, as the subject of a sentence.

    Example:
        >>> leave_to_chief("Judging a model")  # one process: it goes on
    """
    if os.environ.get("TF_CONFIG"):
        number = number_of(find_cluster())
    else:  # a step of SLURM; without more than one task there is nobody to leave it to
        several = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1
        number = int(os.environ.get("SLURM_PROCID", 0)) if several else 0
    if number:
        print(f"{what} is for one process: worker 0 does it, and this one, worker {number}, has nothing to do.")
        raise SystemExit(0)


def check_one_process(strategy: str, what: str) -> None:
    """Refuse what several workers cannot do together.

    Args:
        strategy: Name for `choose_strategy`.
        what: What is wanted, as the subject of a sentence.

    Raises:
        UserError: When the strategy is "multi-worker".

    Example:
        >>> check_one_process("auto", "A search")
    """
    if strategy == "multi-worker":
        raise UserError(
            f"{what} runs in one process, and the setting 'strategy' is 'multi-worker'. Expected another one: take "
            f"--strategy auto, and keep several workers for the training."
        )


def _check_tf_config() -> None:
    words = os.environ["TF_CONFIG"]
    try:
        config = json.loads(words)
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise UserError(
            f"The environment variable TF_CONFIG is no JSON object: {words!r}. Expected one such as {_EXAMPLE}."
        )
