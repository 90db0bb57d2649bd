"""The Python that runs tlkit: version, environment and platform."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging import tags
from packaging.specifiers import SpecifierSet

from tlkit.environment.finding import Finding

_OLDEST_GLIBC = (2, 27)  # TensorFlow 2.21's Linux wheels are tagged manylinux_2_27


@dataclass(frozen=True)
class Interpreter:
    """Facts about the Python interpreter, its environment and the platform it was built for."""

    version: str
    allowed: str  # tlkit's Requires-Python; empty where tlkit is not installed
    implementation: str
    bits: int
    free_threaded: bool
    executable: str
    is_python_on_path: bool  # whether typing `python` starts this one
    installer: Literal["pip", "uv", "none"]
    environment: Literal["venv", "conda", "none"]
    prefix: str
    externally_managed: bool  # PEP 668: pip refuses to install here
    system: str
    machine: str
    libc: str  # "glibc 2.36", "musl", or empty where it does not matter
    has_avx: bool | None  # None where it cannot be told
    wsl: bool
    container: bool


def look_at_interpreter(root: Path = Path("/")) -> Interpreter:
    """Gather the facts; `root` is where `/proc` and the marks of containers are looked for."""
    try:
        allowed = importlib.metadata.metadata("tlkit")["Requires-Python"] or ""
        allowed = ",".join(sorted(allowed.split(","), reverse=True))  # from … to, as one reads it
    except importlib.metadata.PackageNotFoundError:
        allowed = ""
    on_path = shutil.which("python")
    pip = importlib.util.find_spec("pip") is not None
    release = _read(root / "proc/sys/kernel/osrelease").lower()
    return Interpreter(
        version=platform.python_version(),
        allowed=allowed,
        implementation=platform.python_implementation(),
        bits=64 if sys.maxsize > 2**32 else 32,
        free_threaded=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        executable=sys.executable,
        # A virtual environment's `python` is a link to another's: the folders are compared, not the files.
        is_python_on_path=on_path is not None and Path(on_path).parent == Path(sys.executable).parent,
        installer="pip" if pip else "uv" if shutil.which("uv") else "none",
        environment=_environment(),
        prefix=sys.prefix,
        externally_managed=(Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED").is_file(),
        system=platform.system(),
        machine=platform.machine(),
        libc=_libc(),
        has_avx=_has_avx(_read(root / "proc/cpuinfo")),
        wsl="microsoft" in release,
        container=any((root / mark).exists() for mark in (".dockerenv", "run/.containerenv"))
        or "KUBERNETES_SERVICE_HOST" in os.environ,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _environment() -> Literal["venv", "conda", "none"]:
    if sys.prefix != sys.base_prefix:
        return "venv"
    return "conda" if (Path(sys.prefix) / "conda-meta").is_dir() else "none"


def _libc() -> str:
    if platform.system() != "Linux":
        return ""
    if any(tag.startswith("musllinux") for tag in tags.platform_tags()):
        return "musl"
    return " ".join(platform.libc_ver()).strip()


def _has_avx(cpuinfo: str) -> bool | None:
    """Whether the first processor's flags name AVX; ARM's file has no such line."""
    flags = next((line.split() for line in cpuinfo.splitlines() if line.startswith("flags")), None)
    return None if flags is None else "avx" in flags


def judge_interpreter(python: Interpreter) -> list[Finding]:
    """Judge version, environment and platform."""
    return [_judge_version(python), _judge_environment(python), _judge_platform(python)]


def _judge_version(python: Interpreter) -> Finding:
    found = f"{python.implementation} {python.version}, {python.bits} bit"
    why = ""
    if python.implementation != "CPython":
        why = f"TensorFlow is built for CPython only, not for {python.implementation}."
    elif python.bits != 64:
        why = "TensorFlow is built for 64-bit Python only."
    elif python.free_threaded:
        found += ", free-threaded"
        why = "TensorFlow is not built for free-threaded Python."
    elif python.allowed and not SpecifierSet(python.allowed).contains(python.version, prereleases=True):
        why = f"tlkit needs Python {python.allowed}."
    if not why:
        return Finding("Python", found)
    # 3.12 is the middle of the range that tlkit and TensorFlow share.
    commands = ("python3.12 -m venv .venv", ". .venv/bin/activate")
    return Finding("Python", found, "problem", f"{why} Make an environment with another one.", commands)


def _judge_environment(python: Interpreter) -> Finding:
    words = {"venv": "virtual environment", "conda": "conda environment", "none": "no virtual environment"}
    found = f"{words[python.environment]}, {python.prefix}"
    if python.environment != "none" or python.container:
        return Finding("environment", found)
    meaning = "Packages of other projects and of the system can clash with tlkit's here."
    if python.externally_managed:
        meaning += " The system forbids pip to install in this Python."
    return Finding(
        "environment",
        found,
        "warning",
        f"{meaning} Better one environment for each project, with tlkit installed in it.",
        ("python3 -m venv .venv", ". .venv/bin/activate"),
    )


def _judge_platform(python: Interpreter) -> Finding:
    found = " ".join(filter(None, (python.system, python.machine, python.libc)))
    found += ", in WSL" if python.wsl else ""
    found += ", in a container" if python.container else ""
    is_mac, machine = python.system == "Darwin", python.machine.lower()
    if python.libc == "musl":  # https://github.com/tensorflow/tensorflow/issues/85371
        why = "TensorFlow is not built for musl (Alpine Linux). Use a system with glibc, such as Debian or Ubuntu."
    elif python.libc.startswith("glibc") and _numbers(python.libc) < _OLDEST_GLIBC:
        why = f"TensorFlow needs glibc {_OLDEST_GLIBC[0]}.{_OLDEST_GLIBC[1]} or newer. Use a newer Linux."
    elif is_mac and machine == "x86_64":  # https://github.com/tensorflow/tensorflow/issues/75279
        why = "TensorFlow is no longer built for Intel Macs. On a Mac with an Apple chip, install Python for arm64."
    elif python.system == "Linux" and machine not in ("x86_64", "aarch64"):
        why = f"TensorFlow is not built for the processor {python.machine}."
    elif python.has_avx is False:  # https://github.com/tensorflow/tensorflow/issues/46496
        why = (
            "This processor has no AVX, which TensorFlow needs: it ends with 'Illegal instruction'. In a virtual "
            "machine, let it show the host's processor; otherwise use another machine."
        )
    else:
        notes = {
            "Windows": "Trains on the CPU. For a card, install in WSL2: TensorFlow uses none in Windows itself.",
            "Darwin": "Trains on the CPU: TensorFlow does not use Apple's GPU.",
        }
        return Finding("platform", found, meaning=notes.get(python.system, ""))
    return Finding("platform", found, "problem", why)


def _numbers(libc: str) -> tuple[int, ...]:
    return tuple(int(part) for part in libc.split()[-1].split(".") if part.isdigit())
