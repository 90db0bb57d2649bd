"""Memory and processors that this process may use, containers' limits included."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from tlkit.environment.finding import GIB, Finding, show_bytes

# The sample project takes 1.05 GiB at its peak, 0.65 of them for TensorFlow alone (Linux, CPU, 30 epochs).
_LEAST_MEMORY = 1.2 * GIB
_FAIR_MEMORY = 4 * GIB


@dataclass(frozen=True)
class Resources:
    """Facts; bytes, and None where the system does not say.

    Attributes:
        memory: What the machine has.
        memory_free: What is free or can be freed at once.
        memory_limit: What the container or control group allows.
        memory_used: What of that limit is in use.
        cores: Processors that this process may run on.
        cores_limit: Processors' worth of time that the control group allows.
    """

    memory: int | None = None
    memory_free: int | None = None
    memory_limit: int | None = None
    memory_used: int | None = None
    cores: int = 1
    cores_limit: float | None = None

    @property
    def usable_memory(self) -> int | None:
        """What a training may still take."""
        left = self.memory_limit - (self.memory_used or 0) if self.memory_limit is not None else None
        known = [
            size
            for size in (self.memory_free if self.memory_free is not None else self.memory, left)
            if size is not None
        ]
        return min(known) if known else None

    @property
    def usable_cores(self) -> int:
        """Whole processors, at least one."""
        limit = self.cores if self.cores_limit is None else math.ceil(self.cores_limit)
        return max(1, min(self.cores, limit))


def look_at_resources(root: Path = Path("/")) -> Resources:
    """Gather the facts; `root` is where `/proc` and `/sys/fs/cgroup` are looked for."""
    total, free = _meminfo(root / "proc/meminfo")
    if total is None and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:  # macOS
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit, used = _memory_limit(root)
    if limit is not None and total is not None and limit >= total:
        limit = used = None  # "no limit" is a very large number in version 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Resources(total, free, limit, used, affinity, _cores_limit(root))


def _meminfo(path: Path) -> tuple[int | None, int | None]:
    try:
        lines = dict(line.split(":", 1) for line in path.read_text(encoding="ascii").splitlines() if ":" in line)
        kibibytes = [int(lines[name].split()[0]) for name in ("MemTotal", "MemAvailable")]
    except (OSError, KeyError, ValueError):
        return None, None
    return kibibytes[0] * 1024, kibibytes[1] * 1024


def _groups(root: Path, controller: str) -> list[Path]:
    """The folders of this process's control group and of those around it, in version 2 or 1."""
    mount = root / "sys/fs/cgroup"
    try:
        lines = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
    except OSError:
        lines = []
    folders = []
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if controllers == "" or controller in controllers.split(","):
            base = mount / controller if controllers else mount
            own = base / path.lstrip("/")
            folders += [own, *(parent for parent in own.parents if parent.is_relative_to(base))]
    return [*folders, mount, mount / controller]  # a container often sees its own group as the root


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None  # no such file, or "max"


def _memory_limit(root: Path) -> tuple[int | None, int | None]:
    limits = []
    for group in _groups(root, "memory"):
        for limit_file, used_file in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            if (limit := _number(group / limit_file)) is not None:
                limits.append((limit, max(0, (_number(group / used_file) or 0) - _cache(group / "memory.stat"))))
    return min(limits) if limits else (None, None)


def _cache(path: Path) -> int:
    """Bytes of files that the kernel keeps in memory and gives back when asked."""
    try:
        lines = dict(line.split(None, 1) for line in path.read_text(encoding="ascii").splitlines())
        return int(lines.get("inactive_file", lines.get("total_inactive_file", "0")))
    except (OSError, ValueError):
        return 0


def _cores_limit(root: Path) -> float | None:
    limits = []
    for group in _groups(root, "cpu"):
        try:
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        except (OSError, ValueError):
            quota, period = (str(_number(group / f"cpu.cfs_{name}_us")) for name in ("quota", "period"))
        if quota.isdigit() and period.isdigit():  # "max" and -1 are no limit
            limits.append(int(quota) / int(period))
    return min(limits) if limits else None


def judge_resources(resources: Resources) -> list[Finding]:
    """Judge memory and processors."""
    return [_judge_memory(resources), _judge_cores(resources)]


def _judge_memory(resources: Resources) -> Finding:
    usable = resources.usable_memory
    if usable is None:
        return Finding("memory", "not known", meaning="A training takes at least 1.2 GiB.")
    found = f"{show_bytes(usable)} free"
    if resources.memory_limit is not None:
        found += f", of {show_bytes(resources.memory_limit)} that this container may use"
    elif resources.memory is not None:
        found += f" of {show_bytes(resources.memory)}"
    if usable < _LEAST_MEMORY:
        meaning = "A training takes at least 1.2 GiB: the system would end it. Close programs, or raise the limit."
        return Finding("memory", found, "problem", meaning)
    if usable < _FAIR_MEMORY:
        meaning = "Enough for the sample project. Larger backbones and larger images need more, or smaller batches."
        return Finding("memory", found, "warning", meaning)
    return Finding("memory", found)


def _judge_cores(resources: Resources) -> Finding:
    found = f"{resources.usable_cores} usable"
    if resources.cores_limit is not None and resources.cores_limit < resources.cores:
        found += f" (a limit of {resources.cores_limit:g} on {resources.cores})"
    elif resources.cores < (os.cpu_count() or 1):
        found += f" of {os.cpu_count()}"
    if resources.usable_cores == 1:
        meaning = "Reading images and training share one core: a GPU would wait for its images."
        return Finding("CPU cores", found, "warning", meaning)
    return Finding("CPU cores", found)
