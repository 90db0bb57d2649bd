"""Whether TensorFlow uses the graphics card, and if not, why not."""

from __future__ import annotations

from tlkit.environment.cards import Card
from tlkit.environment.finding import GIB, Finding, show_bytes
from tlkit.environment.gpu_reasons import find_reason
from tlkit.environment.machine import Machine
from tlkit.environment.packages import install_command, wishes_of_extra

_NO_CARD = "Training runs on the CPU: well for the embedded backbone and a few hundred images, slowly beyond."
_FULL = 0.5  # of a card's memory that others hold: half a card trains half a batch
_TIGHT = 4 * GIB  # of free memory on a card; below, larger backbones do not fit with a usual batch


def judge_gpu(machine: Machine) -> list[Finding]:
    """One finding for each card that TensorFlow uses; or the reason that it uses none; or that there is none."""
    graphics, tensorflow = machine.graphics, machine.tensorflow
    if tensorflow.gpus:
        return [_judge_used(machine, index) for index in range(len(tensorflow.gpus))] + _judge_unused(machine)
    if graphics.has_nvidia:
        return [find_reason(machine)]
    note = " TensorFlow uses no AMD cards as it comes from pip." if "amd" in graphics.vendors else ""
    return [Finding("GPU", "no NVIDIA card", meaning=_NO_CARD + note)]


# A card that is used ------------------------------------------------------------------------------


def _judge_used(machine: Machine, index: int) -> Finding:
    device = machine.tensorflow.gpus[index]
    card = _card_of(machine, index)
    parts = [device.name or "GPU"]
    if card and card.memory_total:
        parts.append(f"{show_bytes(card.memory_free)} of {show_bytes(card.memory_total)} free")
    if device.capability:
        parts.append(f"compute capability {device.capability}")
    if card and card.driver:
        parts.append(f"driver {card.driver}")
    name, found = f"GPU {index}", ", ".join(parts)
    if error := machine.tensorflow.errors.get(f"GPU:{index}"):
        meaning, commands = _explain(machine, error, device.capability)
        return Finding(name, f"{found}; computing on it: {error}", "problem", meaning, commands)
    if card and card.memory_total and not card.mig:
        if card.memory_free < min(_TIGHT, _FULL * card.memory_total):
            meaning = (
                "Other programs hold its memory: end them, or take smaller batches. A project takes what it needs; "
                "other code of yours does with the variable."
            )
            commands = ("nvidia-smi", "export TF_FORCE_GPU_ALLOW_GROWTH=true")
            return Finding(name, found, "warning", meaning, commands)
    if not _has_kernels(device.capability, machine.tensorflow.capabilities):
        # Blackwell with TensorFlow 2.21: https://github.com/tensorflow/tensorflow/issues/89272
        meaning = "TensorFlow brings no kernels for this card and compiles them at first use: that takes minutes once."
        return Finding(name, found, "warning", meaning)
    return Finding(name, found)


def _card_of(machine: Machine, index: int) -> Card | None:
    """The card that TensorFlow calls by `index`, which counts only those that CUDA_VISIBLE_DEVICES names."""
    cards, visible = machine.graphics.cards, machine.graphics.visible
    if visible is None:
        return cards[index] if len(cards) == len(machine.tensorflow.gpus) else None
    names = [name.strip() for name in visible.split(",")]
    if index >= len(names):
        return None
    name = names[index]
    matches = [card for card in cards if name == str(card.index) or (name and card.uuid.startswith(name))]
    return matches[0] if len(matches) == 1 else None


def _judge_unused(machine: Machine) -> list[Finding]:
    graphics, used = machine.graphics, len(machine.tensorflow.gpus)
    findings = []
    if any(card.mig for card in graphics.cards) and len(graphics.mig_instances) > 1:
        # https://docs.nvidia.com/datacenter/tesla/mig-user-guide/ "Running CUDA Applications on Bare-Metal"
        meaning = "The card is divided (MIG), and a process uses one part only: the first, unless one is named."
        command = (f"export CUDA_VISIBLE_DEVICES={graphics.mig_instances[0]}",)
        found = f"{len(graphics.mig_instances)} parts"
        findings.append(Finding("MIG", found, "ok", f"{meaning} Name it by CUDA_VISIBLE_DEVICES.", command))
    elif used < len(graphics.cards) and graphics.visible is not None:
        found = f"CUDA_VISIBLE_DEVICES={graphics.visible}"
        findings.append(Finding("other GPUs", found, meaning=f"Hides {len(graphics.cards) - used} of the cards."))
    return findings


def _has_kernels(capability: str, built: tuple[str, ...]) -> bool:
    """Whether the wheel holds machine code that the card runs: of its own major version, not newer than it."""
    if not capability or not built:
        return True
    major, minor = map(int, capability.split("."))
    numbers = [int(name.rpartition("_")[2]) for name in built]
    return any(number // 10 == major and number % 10 <= minor for number in numbers)


def _explain(machine: Machine, error: str, capability: str) -> tuple[str, tuple[str, ...]]:
    """What an error while computing on a card means."""
    text = " ".join((error, *machine.tensorflow.log))
    if "source was compiled with" in text or "CUDNN" in text or "DNN library" in text:
        # https://github.com/tensorflow/tensorflow/issues/60913
        return "The cuDNN that is found is not the one that TensorFlow was built with.", _cuda_libraries(machine)
    if "INVALID_PTX" in text or "INVALID_HANDLE" in text or "no kernel image" in text:
        # https://github.com/tensorflow/tensorflow/issues/101746
        return (
            f"TensorFlow brings no kernels for cards of compute capability {capability} and cannot compile them. "
            f"NVIDIA's own TensorFlow container has them; until then, train on the CPU.",
            ("export CUDA_VISIBLE_DEVICES=-1",),
        )
    if "libdevice" in text or "ptxas" in text:  # https://github.com/tensorflow/tensorflow/issues/58681
        return "CUDA's compiler files are missing.", _cuda_libraries(machine)
    if "OUT_OF_MEMORY" in text or "ResourceExhausted" in text or "out of memory" in text:
        return "Other programs hold the card's memory. See which, and end them.", ("nvidia-smi",)
    return "TensorFlow sees the card but cannot compute on it.", _cuda_libraries(machine)


def _cuda_libraries(machine: Machine) -> tuple[str, ...]:
    unset = ("unset LD_LIBRARY_PATH",) if machine.graphics.other_cuda else ()
    return (*unset, install_command(wishes_of_extra(machine.packages, "gpu"), "--upgrade"))
