"""Graphics cards: what the system, the driver and the environment say of them, without TensorFlow."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

_SMI_SECONDS = 20.0  # a sleeping driver takes a few seconds; one that hangs, for ever
_FIELDS = ("index", "name", "uuid", "driver_version", "memory.total", "memory.free")
_NEW_FIELDS = ("compute_cap", "mig.mode.current")  # drivers before 2022 know them not and refuse the whole query
_VENDORS = {"0x10de": "nvidia", "0x1002": "amd"}
_CUDA_LIBRARY = re.compile(r"lib(cudart|cudnn|cublas|cufft|cusolver|cusparse|nvrtc)[\w-]*\.so")


@dataclass(frozen=True)
class Card:
    """A card as nvidia-smi lists it; memory in bytes, 0 where it does not say."""

    index: int
    name: str
    uuid: str = ""
    driver: str = ""
    memory_total: int = 0
    memory_free: int = 0
    capability: str = ""
    mig: bool = False


@dataclass(frozen=True)
class Graphics:
    """Facts about graphics cards.

    Attributes:
        smi: How nvidia-smi ended: "absent", "fine", "failed" or "timeout".
        smi_message: What it said when it failed.
        mig_instances: The parts of divided cards, by their names for CUDA_VISIBLE_DEVICES.
        device_files: `/dev/nvidia*` to whether this user may use it.
        kernel_driver: Whether the kernel has NVIDIA's driver loaded.
        vendors: Makers of the cards on the PCI bus, of those that matter here.
        visible: CUDA_VISIBLE_DEVICES; None where it is not set.
        other_cuda: Folders of LD_LIBRARY_PATH that hold CUDA libraries.
        wsl_library: Whether WSL shows the driver of Windows (`/usr/lib/wsl/lib/libcuda.so.1`).
    """

    cards: tuple[Card, ...] = ()
    smi: Literal["absent", "fine", "failed", "timeout"] = "absent"
    smi_message: str = ""
    mig_instances: tuple[str, ...] = ()
    device_files: Mapping[str, bool] = field(default_factory=dict)
    kernel_driver: bool = False
    vendors: tuple[str, ...] = ()
    visible: str | None = None
    other_cuda: tuple[str, ...] = ()
    wsl_library: bool = False

    @property
    def has_nvidia(self) -> bool:
        """Whether anything tells of an NVIDIA card."""
        files = any(re.fullmatch(r".*/nvidia\d+", path) for path in self.device_files)
        driver = self.kernel_driver or self.smi in ("failed", "timeout")
        return bool(self.cards) or driver or files or "nvidia" in self.vendors


def look_at_graphics(environment: Mapping[str, str] = os.environ, root: Path = Path("/")) -> Graphics:
    """Gather the facts; `root` is where `/dev`, `/proc` and `/sys` are looked for."""
    wsl = root / "usr/lib/wsl/lib"
    smi, cards, message, instances = _ask_smi(environment, wsl)
    devices = sorted([*(root / "dev").glob("nvidia*"), *(root / "dev").glob("dxg")])
    folders = [folder for folder in environment.get("LD_LIBRARY_PATH", "").split(os.pathsep) if folder]
    return Graphics(
        cards=cards,
        smi=smi,
        smi_message=message,
        mig_instances=instances,
        device_files={str(path): os.access(path, os.R_OK | os.W_OK) for path in devices if not path.is_dir()},
        kernel_driver=(root / "proc/driver/nvidia/version").exists(),
        vendors=_vendors(root / "sys/bus/pci/devices"),
        visible=environment.get("CUDA_VISIBLE_DEVICES"),
        other_cuda=tuple(folder for folder in folders if _holds_cuda(Path(folder))),
        wsl_library=(wsl / "libcuda.so.1").exists(),
    )


def _ask_smi(
    environment: Mapping[str, str], wsl: Path
) -> tuple[Literal["absent", "fine", "failed", "timeout"], tuple[Card, ...], str, tuple[str, ...]]:
    program = shutil.which("nvidia-smi", path=environment.get("PATH")) or shutil.which("nvidia-smi", path=str(wsl))
    if program is None:
        return "absent", (), "", ()
    message = ""
    for fields in ((*_FIELDS, *_NEW_FIELDS), _FIELDS):
        try:
            status, output = _run(program, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits")
        except subprocess.TimeoutExpired:
            return "timeout", (), "", ()
        except OSError as error:
            return "failed", (), str(error), ()
        if status == 0:
            cards = read_smi(output)
            instances = _mig_instances(program) if any(card.mig for card in cards) else ()
            return "fine", cards, "" if cards else output.strip(), instances
        message = " ".join(output.split()) or f"exit status {status}"
        if "not a valid field" not in message:
            break
    return "failed", (), message, ()


def _run(program: str, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, errors="replace", timeout=_SMI_SECONDS, check=False
    )
    return done.returncode, done.stdout if done.returncode == 0 else f"{done.stdout}\n{done.stderr}"


def read_smi(output: str) -> tuple[Card, ...]:
    """The cards in nvidia-smi's answer, one line each with the fields asked for, memory in MiB.

    Example:
        >>> from tlkit.environment.cards import read_smi
        >>> read_smi("0, NVIDIA T4, GPU-1f, 550.54.15, 15360, 14900, 7.5, [N/A]")[0].capability
        '7.5'
    """
    cards = []
    for row in csv.reader(output.splitlines(), skipinitialspace=True):
        if len(row) < len(_FIELDS) or not row[0].strip().isdigit():
            continue  # "No devices were found"
        index, name, uuid, driver, total, free, *rest = (cell.strip() for cell in row)
        capability, mig = (*rest, "", "")[:2]
        cards.append(
            Card(
                int(index),
                name,
                uuid,
                driver,
                _mebibytes(total),
                _mebibytes(free),
                capability if re.fullmatch(r"\d+\.\d+", capability) else "",
                mig == "Enabled",
            )
        )
    return tuple(cards)


def _mebibytes(text: str) -> int:
    return int(text) * 1024**2 if text.isdigit() else 0  # "[N/A]", "[Insufficient Permissions]"


def _mig_instances(program: str) -> tuple[str, ...]:
    try:
        _, output = _run(program, "-L")
    except (subprocess.TimeoutExpired, OSError):
        return ()
    return tuple(re.findall(r"UUID: (MIG-[\w/-]+)", output))


def _vendors(devices: Path) -> tuple[str, ...]:
    """The makers of the display and 3D controllers on the PCI bus (class 0x03…)."""
    vendors = set()
    try:
        for device in devices.iterdir():
            if (device / "class").read_text(encoding="ascii").startswith("0x03"):
                vendors.add(_VENDORS.get((device / "vendor").read_text(encoding="ascii").strip(), "other"))
    except OSError:
        pass  # no PCI bus to be seen: WSL, macOS, Windows, some containers
    return tuple(sorted(vendors - {"other"}))


def _holds_cuda(folder: Path) -> bool:
    try:
        return any(_CUDA_LIBRARY.match(name) for name in os.listdir(folder))
    except OSError:
        return False
