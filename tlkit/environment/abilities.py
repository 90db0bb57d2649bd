"""What will work on this machine and what will not, in plain sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tlkit.environment.finding import Finding, show_bytes
from tlkit.environment.keras_settings import backend_of
from tlkit.environment.machine import Machine
from tlkit.environment.packages import missing_of_extra, missing_packages, wishes_of_extra

_TENSOR_CORES = 7.0  # compute capability from which 16-bit numbers are faster: tensorflow.org/guide/mixed_precision
_BFLOAT16 = 8.0  # and from which cards compute in bfloat16
_NOT_SHOWN = ("dev", "gpu", "samples")  # extras for other people, or said elsewhere
_EXTRAS = {
    "addons": "functions of tensorflow-addons",
    "litert": "export to LiteRT (TFLite)",
    "onnx": "export to ONNX",
    "serve": "a page to try models in",
}


@dataclass(frozen=True)
class Ability:
    """Something one may want to do, whether it will work here, and a sentence.

    Attributes:
        name: What one may want to do.
        works: "yes", "partly" or "no".
        sentence: Why, or with what restriction.
    """

    name: str
    works: Literal["yes", "partly", "no"]
    sentence: str


def judge_abilities(machine: Machine, findings: list[Finding]) -> list[Ability]:
    """Say what will work, from the facts and what was found wrong."""
    return [
        _new_project(machine),
        _cpu_training(machine, findings),
        _gpu_training(machine, findings),
        _mixed_precision(machine),
        _hub(machine, findings),
        *_exports(machine),
        _notebooks(machine),
    ]


def _new_project(machine: Machine) -> Ability:
    name = "new projects"
    if not machine.installation.templates:
        return Ability(name, "no", "The templates are missing.")
    if missing := missing_packages(machine.packages, ["jinja2"]):
        return Ability(name, "no", f"{missing[0]} is missing.")
    if missing := missing_packages(machine.packages, ["pillow", "numpy"]):
        return Ability(name, "partly", f"Without data: {' and '.join(missing)} needed to read images is missing.")
    return Ability(name, "yes", "`tlkit new image-classifier flowers` makes one.")


def _why_no_training(machine: Machine) -> str:
    if machine.tensorflow.outcome == "missing":
        return "TensorFlow is not installed."
    if backend_of(machine.settings) != "tensorflow":
        return "Keras is set to another backend than TensorFlow."
    if not machine.tensorflow.computes:
        return "Keras does not work." if "keras" in machine.tensorflow.errors else "TensorFlow does not work."
    missing = missing_packages(machine.packages)
    return f"Packages are missing: {', '.join(missing)}." if missing else ""


def _cpu_training(machine: Machine, findings: list[Finding]) -> Ability:
    name, resources = "training on the CPU", machine.resources
    if why := _why_no_training(machine):
        return Ability(name, "no", why)
    stops = {finding.name for finding in findings if finding.verdict == "problem"}
    if "memory" in stops:
        return Ability(name, "no", "There is too little memory.")
    memory = f" and {show_bytes(resources.usable_memory)} of memory" if resources.usable_memory else ""
    cores = f"{resources.usable_cores} core{'s' * (resources.usable_cores != 1)}{memory}"
    # Measured: the sample project, 30 epochs on 127 images of 128 x 128 pixels, in 60 to 70 s on two cores.
    return Ability(name, "yes", f"With {cores}. The sample project takes about a minute on two cores.")


def _gpu_training(machine: Machine, findings: list[Finding]) -> Ability:
    name, gpus = "training on a GPU", machine.tensorflow.gpus
    if why := _why_no_training(machine):
        return Ability(name, "no", why)
    if not gpus:
        unused = next((finding for finding in findings if finding.name == "GPU" and finding.verdict != "ok"), None)
        why = "The card is not used; the reason is above." if unused else "There is no card that TensorFlow can use."
        return Ability(name, "no", why)
    broken = [key for key in machine.tensorflow.errors if key.startswith("GPU:")]
    if len(broken) == len(gpus):
        return Ability(name, "no", "TensorFlow sees the card but cannot compute on it.")
    if len(gpus) - len(broken) > 1:
        return Ability(name, "yes", f"{len(gpus) - len(broken)} cards, which a project uses together by itself.")
    return Ability(name, "yes", f"{gpus[0].name}, which TensorFlow uses by itself.")


def _mixed_precision(machine: Machine) -> Ability:
    name = "mixed precision"
    if why := _why_no_training(machine):
        return Ability(name, "no", why)
    known = [float(gpu.capability) for gpu in machine.tensorflow.gpus if gpu.capability]
    if not known:
        return Ability(name, "partly", "Without a GPU it works but gains nothing: leave it off.")
    if min(known) < _TENSOR_CORES:
        return Ability(name, "partly", "It saves memory, but these cards are no faster with it.")
    # As `tlkit.distribution.choose_precision` does.
    chosen = "mixed_bfloat16" if min(known) >= _BFLOAT16 else "mixed_float16"
    return Ability(name, "yes", f"`--precision auto` takes {chosen} here; compare with and without what it gains.")


def _hub(machine: Machine, findings: list[Finding]) -> Ability:
    name, cache = "models of TF-Hub", next(f for f in machine.folders if f.purpose == "TF-Hub cache")
    if why := _why_no_training(machine):
        return Ability(name, "no", why)
    if "tensorflow_hub" in machine.tensorflow.errors:
        return Ability(name, "no", "tensorflow-hub cannot be imported; a downloaded and unpacked folder works.")
    if cache.error:
        return Ability(name, "no", "The cache cannot be written; a downloaded and unpacked folder works.")
    kept = f"{cache.models} in the cache work{'s' * (cache.models == 1)} offline. " if cache.models else ""
    tried = machine.network.tried
    if tried is None:
        rest = "Others are downloaded when first used; `tlkit doctor --network` tries the way there."
        return Ability(name, "yes", f"{kept}{rest}")
    if all(tried.values()):
        return Ability(name, "partly" if kept else "no", f"{kept}Nothing can be downloaded from here.")
    reached = "The way to some of their addresses is closed." if any(tried.values()) else "They can be downloaded."
    return Ability(name, "partly" if any(tried.values()) else "yes", f"{kept}{reached}")


def _exports(machine: Machine) -> list[Ability]:
    if why := _why_no_training(machine):
        return [Ability("export", "no", why)]
    abilities = [Ability("export to SavedModel", "yes", "For TensorFlow Serving, and for other programs of yours.")]
    for extra in machine.packages.extras:
        if extra in _NOT_SHOWN:
            continue
        missing = missing_of_extra(machine.packages, extra)
        name = _EXTRAS.get(extra, f"tlkit[{extra}]")
        if missing:
            sentence = f"{', '.join(missing)} missing: `pip install 'tlkit[{extra}]'`"
            abilities.append(Ability(name, "no", sentence))
        elif not wishes_of_extra(machine.packages, extra):
            abilities.append(Ability(name, "no", "Nothing was published for this Python and this machine."))
        else:
            abilities.append(Ability(name, "yes", "All that it needs is installed."))
    return abilities


def _notebooks(machine: Machine) -> Ability:
    installed = machine.packages.installed
    if "ipykernel" not in installed:
        return Ability("notebooks", "no", "Jupyter is missing: `pip install ipykernel jupyterlab`")
    if not {"jupyterlab", "notebook"} & installed.keys():
        return Ability("notebooks", "partly", "In VS Code and the like. For a browser: `pip install jupyterlab`")
    return Ability("notebooks", "yes", "`jupyter lab` in a project's folder.")
