"""Where training runs: one device, several of one machine, several machines. The one door to `tf.distribute`."""

from tlkit.distribution.cluster import check_one_process, is_chief, leave_to_chief
from tlkit.distribution.description import describe_strategy
from tlkit.distribution.precision import PRECISIONS, choose_precision
from tlkit.distribution.replica_seeds import seed_replicas
from tlkit.distribution.strategies import STRATEGIES, choose_strategy
from tlkit.distribution.together import from_chief, from_workers, num_workers, train_together, worker_number

__all__ = [
    "PRECISIONS",
    "STRATEGIES",
    "check_one_process",
    "choose_precision",
    "choose_strategy",
    "describe_strategy",
    "from_chief",
    "from_workers",
    "is_chief",
    "leave_to_chief",
    "num_workers",
    "seed_replicas",
    "train_together",
    "worker_number",
]
