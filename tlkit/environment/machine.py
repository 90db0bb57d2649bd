"""Everything that is known of a machine, gathered once; judging it is another matter and needs no machine."""

from __future__ import annotations

from dataclasses import dataclass

from tlkit.environment.cards import Graphics, look_at_graphics
from tlkit.environment.folders import Folder, look_at_folders
from tlkit.environment.installation import Installation, look_at_installation
from tlkit.environment.interpreter import Interpreter, look_at_interpreter
from tlkit.environment.keras_settings import KerasSettings, look_at_keras_settings
from tlkit.environment.network import HOSTS, Network, look_at_network
from tlkit.environment.packages import Packages, look_at_packages
from tlkit.environment.resources import Resources, look_at_resources
from tlkit.environment.tensorflow_import import TensorFlowImport, try_tensorflow


@dataclass(frozen=True)
class Machine:
    """The facts, by where they come from."""

    interpreter: Interpreter
    packages: Packages
    settings: KerasSettings
    tensorflow: TensorFlowImport
    graphics: Graphics
    resources: Resources
    folders: tuple[Folder, ...]
    network: Network
    installation: Installation


def look_at_machine(version: str, *, limit: float = 120.0, network: bool = False) -> Machine:
    """Gather the facts about this machine.

    Args:
        version: tlkit's.
        limit: Seconds that importing and trying TensorFlow may take.
        network: Whether the addresses of models are tried.
    """
    return Machine(
        interpreter=look_at_interpreter(),
        packages=look_at_packages(),
        settings=look_at_keras_settings(),
        tensorflow=try_tensorflow(limit),
        graphics=look_at_graphics(),
        resources=look_at_resources(),
        folders=look_at_folders(),
        network=look_at_network(hosts=HOSTS if network else ()),
        installation=look_at_installation(version),
    )
