"""Whether TensorFlow can be imported and computes here, tried in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tlkit.environment.finding import Finding
from tlkit.environment.packages import Packages, install_command, own_wish
from tlkit.environment.probe import MARK, STAGES

_SLOW = 30.0  # seconds; two busy cores take 5 to 6


@dataclass(frozen=True)
class Device:
    """A card that TensorFlow sees."""

    name: str
    capability: str


@dataclass(frozen=True)
class TensorFlowImport:
    """Facts about a trial import.

    Attributes:
        outcome: "missing", not installed and not tried; "error", an exception; "crash", ended by a signal;
            "timeout"; "fine", all stages were reached (`errors` may hold those of later ones).
        stage: The stage that a crash or time limit cut off.
        errors: Stage or device to the error raised there.
        seconds: What importing TensorFlow took.
        log: The warnings and errors of TensorFlow's C++ part.
    """

    outcome: Literal["missing", "fine", "error", "crash", "timeout"]
    stage: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    signal: str = ""
    seconds: float = 0.0
    limit: float = 0.0
    version: str = ""
    keras: str = ""
    is_cuda_build: bool = False
    cuda: str = ""
    cudnn: str = ""
    capabilities: tuple[str, ...] = ()
    gpus: tuple[Device, ...] = ()
    log: tuple[str, ...] = ()

    @property
    def computes(self) -> bool:
        """Whether a gradient was computed on the CPU."""
        reached = self.outcome == "fine" or (self.stage in STAGES and STAGES.index(self.stage) > 3)
        return reached and not {"tensorflow", "keras", "devices", "compute", "CPU:0"} & self.errors.keys()


def try_tensorflow(limit: float) -> TensorFlowImport:
    """Import TensorFlow in another process, for at most `limit` seconds."""
    # The environment is the user's own, but for the C++ log, which says why a card is not used.
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    command = [sys.executable, "-m", "tlkit.environment.probe"]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=limit, check=False
        )
        out, err, status = done.stdout, done.stderr, done.returncode
    except subprocess.TimeoutExpired as expired:
        out, err, status = _text(expired.stdout), _text(expired.stderr), None
    return read_probe(out, err, status, limit)


def _text(output: str | bytes | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def read_probe(out: str, err: str, status: int | None, limit: float) -> TensorFlowImport:
    """Make facts of what the process printed; `status` is None where its time was up."""
    lines = [json.loads(line.removeprefix(MARK)) for line in out.splitlines() if line.startswith(MARK)]
    stages: dict[str, dict[str, Any]] = {line["stage"]: line for line in lines}
    errors = {stage: line["error"] for stage, line in stages.items() if "error" in line}
    errors |= stages.get("compute", {}).get("errors", {})
    outcome: Literal["missing", "fine", "error", "crash", "timeout"] = "fine"
    if status is None:
        outcome = "timeout"
    elif status > 0 and not stages and "Error" in err:  # Python itself went wrong, before the first stage
        errors["tensorflow"], outcome = err.strip().splitlines()[-1], "error"
    elif status < 0 or (status > 0 and not errors):
        outcome = "crash"
    elif "No module named 'tensorflow'" in errors.get("tensorflow", ""):
        outcome = "missing"
    elif "tensorflow" in errors:
        outcome = "error"
    tensorflow = stages.get("tensorflow", {})
    return TensorFlowImport(
        outcome=outcome,
        stage=next((stage for stage in STAGES if stage not in stages), "") if outcome in ("crash", "timeout") else "",
        errors=errors,
        signal=_signal_name(status) if outcome == "crash" and status is not None else "",
        seconds=tensorflow.get("seconds", 0.0),
        limit=limit,
        version=tensorflow.get("version", ""),
        keras=stages.get("keras", {}).get("version", ""),
        is_cuda_build=tensorflow.get("is_cuda_build", False),
        cuda=tensorflow.get("cuda", ""),
        cudnn=tensorflow.get("cudnn", ""),
        capabilities=tuple(tensorflow.get("capabilities", ())),
        gpus=tuple(Device(**gpu) for gpu in stages.get("devices", {}).get("gpus", ())),
        log=tuple(line for line in err.splitlines() if re.match(r"[WE]\d{4} |.*: [WEF] ", line))[-10:],
    )


def _signal_name(status: int) -> str:
    """What ended a process: a signal, Windows' number for one, or its own exit status."""
    try:
        return _WINDOWS.get(status) or signal.Signals(-status).name
    except ValueError:
        return f"exit status {status}"


# Windows has no signals; these are its statuses for the same (ntstatus.h).
_WINDOWS = {0xC000001D: "SIGILL", 0xC0000005: "SIGSEGV"}

# What a text in the error means and what to type; the first that is found counts. {tensorflow}: its requirement.
_REINSTALL = "pip install --force-reinstall --no-deps {tensorflow}"
_ERRORS: tuple[tuple[str, str, str], ...] = (
    ("partially initialized module", "A file of yours has the name of a package and is imported in its place.", ""),
    # https://github.com/tensorflow/tensorflow/issues/84167
    ("libmetal_plugin", "Apple's plugin does not fit this TensorFlow.", "pip uninstall -y tensorflow-metal"),
    (
        "DLL load failed",  # https://www.tensorflow.org/install/pip#windows-native
        "A library of Windows is missing: install the Microsoft Visual C++ Redistributable.",
        "",
    ),
    ("GLIBCXX_", "An older C++ library comes first; LD_LIBRARY_PATH or conda bring one.", "unset LD_LIBRARY_PATH"),
    ("GLIBC_", "This Linux is older than TensorFlow supports. Use a newer one.", ""),
    # https://github.com/tensorflow/tensorflow/issues/56266 and 98980
    ("escriptors cannot", "The installed protobuf does not fit this TensorFlow.", "pip install {protobuf}"),
    ("gencode", "The installed protobuf does not fit this TensorFlow.", "pip install {protobuf}"),
    # https://github.com/tensorflow/tensorflow/issues/559
    ("numpy", "The installed NumPy does not fit this TensorFlow.", "pip install {numpy}"),
    ("undefined symbol", "Files of two builds of TensorFlow are mixed. Install it again.", _REINSTALL),
    ("file too short", "The installation is not complete; the disk may have been full. Install again.", _REINSTALL),
    ("No module named 'tensorflow.", "The installation is not complete. Install again.", _REINSTALL),
)
_SIGNALS: dict[str, tuple[str, str]] = {
    "SIGILL": (
        "This processor lacks an instruction that TensorFlow needs, most often AVX. In a virtual machine, let it show "
        "the host's processor; otherwise use another machine.",
        "",
    ),
    "SIGKILL": ("The system ended it: most often the memory was not enough.", ""),
    "SIGBUS": ("A file could not be read whole: the disk is full, or the installation broken.", _REINSTALL),
}


def judge_tensorflow(tensorflow: TensorFlowImport, packages: Packages) -> list[Finding]:
    """Judge the import, what was computed, and whether tensorflow_hub can be imported."""
    if tensorflow.outcome == "missing":
        meaning = "Nothing can be trained without it."
        if "tensorflow" in packages.installed:  # pip believes that it is there
            return [Finding("TensorFlow", "its files are missing", "problem", meaning, _fill(_REINSTALL, packages))]
        # What installs it stands with the missing packages, unless nothing is known of those.
        known = packages.own is not None
        command = () if known else (install_command(["tensorflow"]),)
        return [Finding("TensorFlow", "not installed", "problem", meaning, command)]
    if not tensorflow.version:
        return [_judge_failure(tensorflow, packages)]
    built = f", built for CUDA {tensorflow.cuda} and cuDNN {tensorflow.cudnn}" if tensorflow.is_cuda_build else ""
    found = f"{tensorflow.version}, imported in {tensorflow.seconds:.1f} s{built}"
    findings = [Finding("TensorFlow", found)]
    if tensorflow.seconds > _SLOW:
        meaning = "That is slow. A network drive or a virus scanner may be the cause; a local disk is faster."
        findings = [Finding("TensorFlow", found, "warning", meaning)]
    if tensorflow.outcome != "fine":
        findings.append(_judge_failure(tensorflow, packages))
    for stage, name in (("keras", "Keras"), ("devices", "devices"), ("compute", "computing"), ("CPU:0", "CPU")):
        if stage in tensorflow.errors:
            findings.append(_explain(name, tensorflow.errors[stage], packages))
    if "tensorflow_hub" in tensorflow.errors:
        error, meaning = tensorflow.errors["tensorflow_hub"], "TF-Hub handles do not load; everything else works."
        # https://github.com/tensorflow/hub/issues/934
        wish = own_wish(packages, "setuptools" if "pkg_resources" in error else "tensorflow-hub")
        command = (install_command([wish]),)
        findings.append(Finding("tensorflow-hub", error, "problem", meaning, command))
    return findings


def _judge_failure(tensorflow: TensorFlowImport, packages: Packages) -> Finding:
    """What stopped the trial: an error while importing, a signal or the time limit."""
    doing = {
        "tensorflow": "importing TensorFlow",
        "keras": "importing Keras",
        "devices": "looking for devices",
        "compute": "computing a gradient",
        "tensorflow_hub": "importing tensorflow-hub",
    }.get(tensorflow.stage, "trying TensorFlow")
    if tensorflow.outcome == "timeout":
        found = f"{doing} took longer than {tensorflow.limit:.0f} s"
        meaning = "It hangs, or the disk is very slow (a network drive, a virus scanner). Give it more time once."
        return Finding("TensorFlow", found, "problem", meaning, ("tlkit doctor --timeout 600",))
    if tensorflow.outcome == "crash":
        default = ("Its files do not fit this machine or each other. Install it again.", _REINSTALL)
        meaning, command = _SIGNALS.get(tensorflow.signal, default)
        found = f"{doing} crashed{f' ({tensorflow.signal})' if tensorflow.signal else ''}"
        return Finding("TensorFlow", found, "problem", meaning, _fill(command, packages))
    return _explain("TensorFlow", tensorflow.errors.get("tensorflow", "unknown error"), packages)


def _explain(name: str, error: str, packages: Packages) -> Finding:
    if packages.shadows:
        return Finding(name, error, "problem", f"A file of yours is imported in its place: {packages.shadows[0]}.")
    default = ("It cannot be used like this. Install it again; if that does not help, report it.", _REINSTALL)
    known = next((entry[1:] for entry in _ERRORS if entry[0] in error), default)
    return Finding(name, error, "problem", known[0], _fill(known[1], packages))


def _fill(command: str, packages: Packages) -> tuple[str, ...]:
    for name in ("tensorflow", "protobuf", "numpy"):
        command = command.replace(f"{{{name}}}", install_command([own_wish(packages, name)]).split(maxsplit=2)[-1])
    return (command,) if command else ()
