"""Why TensorFlow does not use a card that is there: known reasons, the first that fits counts."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

from tlkit.environment.finding import Finding
from tlkit.environment.machine import Machine
from tlkit.environment.packages import install_command, missing_of_extra, wishes_of_extra

# The oldest driver for each CUDA: https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
_OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}
_UBUNTU = "sudo ubuntu-drivers install"
_DOCKER = "docker run --gpus all …"


def find_reason(machine: Machine) -> Finding:
    """The reason that a card is not used, as a finding."""
    for check in _REASONS:
        if finding := check(machine):
            return finding
    if not machine.tensorflow.version:
        return Finding("GPU", _name(machine), meaning="TensorFlow must be imported before it can be tried.")
    return _unknown(machine)


def _problem(found: str, meaning: str, *commands: str) -> Finding:
    return Finding("GPU", f"{found}, not used", "problem", meaning, commands)


def _smi_problem(text: str, meaning: str, *commands: str) -> Finding:
    return Finding("GPU", f"nvidia-smi: {textwrap.shorten(text, 150)}", "problem", meaning, commands)


def _name(machine: Machine) -> str:
    return ", ".join(card.name for card in machine.graphics.cards) or "NVIDIA card"


def _hidden(machine: Machine) -> Finding | None:
    visible, cards = machine.graphics.visible, machine.graphics.cards
    if visible is None:
        return None
    first = visible.split(",")[0].strip()
    known = {str(card.index) for card in cards}
    # CUDA stops reading at the first name that it does not know.
    is_uuid = any(
        first and uuid.startswith(first) for uuid in (*(c.uuid for c in cards), *machine.graphics.mig_instances)
    )
    if is_uuid or (first in known) or (first.isdigit() and not cards):
        return None
    meaning = "CUDA_VISIBLE_DEVICES hides every card. If that is not what you want, remove it."
    found = f"{_name(machine)}, hidden by CUDA_VISIBLE_DEVICES={visible!r}"
    return Finding("GPU", found, "warning", meaning, ("unset CUDA_VISIBLE_DEVICES",))


def _windows(machine: Machine) -> Finding | None:
    if machine.interpreter.system != "Windows":
        return None
    # https://www.tensorflow.org/install/pip#windows-native
    meaning = "TensorFlow has used no cards in Windows itself since 2.10. Install WSL2 and tlkit inside it."
    return _problem(_name(machine), meaning, "wsl --install")


def _no_driver(machine: Machine) -> Finding | None:
    graphics = machine.graphics
    if graphics.smi != "absent" or graphics.kernel_driver or graphics.device_files or machine.interpreter.wsl:
        return None
    meaning = (
        "NVIDIA's driver is not installed. On Ubuntu, type this and restart; elsewhere, take the system's package."
    )
    return _problem("NVIDIA card without a driver", meaning, _UBUNTU)


def _smi_failed(machine: Machine) -> Finding | None:
    graphics, text = machine.graphics, machine.graphics.smi_message
    if graphics.smi == "timeout":
        return _problem(_name(machine), "nvidia-smi hangs: the driver is stuck. Restart the machine.", "sudo reboot")
    if graphics.smi != "failed":
        return None
    if "version mismatch" in text:
        meaning = "The driver was updated while the old one was running. Restart the machine."
        return _smi_problem(text, meaning, "sudo reboot")
    if "Unknown Error" in text and machine.interpreter.container:
        # https://github.com/NVIDIA/nvidia-container-toolkit/issues/1397
        meaning = "The container has lost its card, as happens when the host's services are reloaded. Restart it."
        return _smi_problem(text, meaning, _DOCKER)
    if machine.interpreter.container and not machine.graphics.kernel_driver:
        meaning = "This container has nvidia-smi but no card. Start it with one, on a host that has one."
        return _smi_problem(text, meaning, _DOCKER)
    meaning = "The driver is installed but not running: load it, and restart or install it again if that fails."
    return _smi_problem(text, meaning, "sudo modprobe nvidia", "sudo dmesg | grep -i nvidia")


def _device_files(machine: Machine) -> Finding | None:
    graphics = machine.graphics
    if machine.interpreter.wsl or machine.interpreter.system != "Linux":
        return None
    files = {path.rsplit("/", 1)[-1]: usable for path, usable in graphics.device_files.items()}
    if graphics.kernel_driver and not any(name.removeprefix("nvidia").isdigit() for name in files):
        if machine.interpreter.container:
            meaning = (
                "The host has a card, but this container was started without it. To use it, start it with --gpus all."
            )
            return Finding("GPU", "the host's NVIDIA card, not used", "warning", meaning, (_DOCKER,))
        return _problem(_name(machine), "The driver has made no device files. Let it.", "sudo nvidia-modprobe -u -c=0")
    if barred := sorted(name for name, usable in files.items() if not usable and not name.startswith("nvidia-")):
        meaning = f"You may not use /dev/{barred[0]}. Join the groups that may, and log in again."
        return _problem(_name(machine), meaning, 'sudo usermod -aG video,render "$USER"')
    if files and "nvidia-uvm" not in files:  # https://github.com/tensorflow/tensorflow/issues/53341
        meaning = "CUDA's device file /dev/nvidia-uvm is missing. Make it, in the host if this is a container."
        return _problem(_name(machine), meaning, "sudo nvidia-modprobe -u -c=0")
    return None


def _wsl(machine: Machine) -> Finding | None:
    if not machine.interpreter.wsl or machine.graphics.wsl_library:
        return None
    meaning = "WSL does not show the driver of Windows. Update the driver in Windows, then WSL, and restart it."
    return _problem(_name(machine), meaning, "wsl --update", "wsl --shutdown")


def _old_driver(machine: Machine) -> Finding | None:
    cuda, driver = machine.tensorflow.cuda, next((card.driver for card in machine.graphics.cards if card.driver), "")
    oldest = _OLDEST_DRIVER.get(int(cuda.split(".")[0])) if cuda[:1].isdigit() else None
    if oldest is None or not driver or int(driver.split(".")[0]) >= oldest:
        return None
    meaning = f"The driver {driver} is too old for CUDA {cuda}: {oldest} or newer is needed. Update it and restart."
    return _problem(_name(machine), meaning, *(() if machine.interpreter.wsl else (_UBUNTU,)))


def _no_cuda_build(machine: Machine) -> Finding | None:
    if not machine.tensorflow.version or machine.tensorflow.is_cuda_build:
        return None
    if machine.interpreter.machine == "aarch64":  # https://www.tensorflow.org/install/pip#linux
        meaning = "For ARM, TensorFlow comes from pip without CUDA. NVIDIA's own TensorFlow container has it."
        return Finding("GPU", f"{_name(machine)}, not used", "warning", meaning)
    meaning = "This TensorFlow is built without CUDA. Install the usual one with its CUDA libraries."
    command = install_command(wishes_of_extra(machine.packages, "gpu"), "--force-reinstall")
    return _problem(_name(machine), meaning, command)


def _old_card(machine: Machine) -> Finding | None:
    numbers = [int(name.rpartition("_")[2]) / 10 for name in machine.tensorflow.capabilities]
    cards = [card for card in machine.graphics.cards if card.capability]
    if not numbers or not cards or any(float(card.capability) >= min(numbers) for card in cards):
        return None
    meaning = (
        f"TensorFlow is built for cards of compute capability {min(numbers)} and newer; this one has "
        f"{cards[0].capability}. Train on the CPU, or on another machine."
    )
    return Finding("GPU", f"{_name(machine)}, not used", "warning", meaning)


def _mig(machine: Machine) -> Finding | None:
    if not any(card.mig for card in machine.graphics.cards) or machine.graphics.mig_instances:
        return None
    meaning = "The card is set to be divided (MIG) but has no parts. Whoever runs the machine must make one."
    return _problem(_name(machine), meaning, "sudo nvidia-smi mig -cgi 0 -C")


def _no_libraries(machine: Machine) -> Finding | None:
    missing = missing_of_extra(machine.packages, "gpu")
    if not missing or machine.interpreter.environment == "conda" or not machine.tensorflow.version:
        return None
    meaning = f"TensorFlow finds no CUDA libraries: {', '.join(missing[:2])} and others are not installed."
    return _problem(_name(machine), meaning, "pip install 'tlkit[gpu]'")


def _other_cuda(machine: Machine) -> Finding | None:
    if not machine.graphics.other_cuda or not machine.tensorflow.version:
        return None
    # https://github.com/tensorflow/tensorflow/issues/66987
    found = f"{_name(machine)}, not used; LD_LIBRARY_PATH names {', '.join(machine.graphics.other_cuda)}"
    meaning = "The libraries there are loaded in the place of those that TensorFlow was built with. Try without."
    return Finding("GPU", found, "problem", meaning, ("unset LD_LIBRARY_PATH", "tlkit doctor"))


def _unknown(machine: Machine) -> Finding:
    said = [line for line in machine.tensorflow.log if "GPU" in line or "cu" in line.lower()]
    meaning = f"TensorFlow says: {said[-1].split('] ', 1)[-1]}" if said else "TensorFlow does not say why."
    # https://github.com/tensorflow/tensorflow/issues/66987: the names of libraries are logged at this level only
    show = "python -c 'import tensorflow as tf; tf.config.list_physical_devices()'"
    names = "2>&1 | grep -i -e dlopen -e 'dynamic library'"
    return _problem(_name(machine), meaning, f"TF_CPP_MAX_VLOG_LEVEL=3 {show} {names}")


_REASONS: tuple[Callable[[Machine], Finding | None], ...] = (
    _windows,
    _no_driver,
    _smi_failed,
    _device_files,
    _hidden,
    _wsl,
    _old_driver,
    _no_cuda_build,
    _old_card,
    _mig,
    _no_libraries,
    _other_cuda,
)
