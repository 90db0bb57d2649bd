"""Made-up facts about machines, for judging without one."""

import dataclasses

from tlkit.environment.cards import Card, Graphics
from tlkit.environment.finding import GIB, Finding
from tlkit.environment.folders import Folder
from tlkit.environment.installation import Installation
from tlkit.environment.interpreter import Interpreter
from tlkit.environment.keras_settings import KerasSettings
from tlkit.environment.machine import Machine
from tlkit.environment.network import Network
from tlkit.environment.packages import Package, Packages
from tlkit.environment.resources import Resources
from tlkit.environment.tensorflow_import import Device, TensorFlowImport
from tlkit.environment.verdicts import judge

OWN = (
    "tensorflow>=2.21,<2.22",
    "keras>=3.15,<3.16",
    "numpy>=2,<3",
    "h5py>=3.12,<4",
    "tensorflow-hub>=0.16.1,<0.17",
    "setuptools<82",
    "pillow>=11,<14",
    "jinja2>=3.1,<4",
    'tensorflow[and-cuda]>=2.21,<2.22 ; extra == "gpu"',
    'onnx>=1.18,<2 ; extra == "onnx"',
    'tensorflow-addons>=0.23,<0.24 ; extra == "addons"',
)
CUDA = ("nvidia-cudnn-cu12<10.0,>=9.3", "nvidia-cublas-cu12<13.0,>=12.5")
TENSORFLOW = Package(
    "2.21.0",
    ("keras>=3.12.0", "h5py<3.15.0,>=3.11.0", "protobuf<8.0.0,>=6.31.1", "setuptools")
    + tuple(f'{line} ; extra == "and-cuda"' for line in CUDA),
)
INSTALLED = {
    "tlkit": Package("0.1.0", OWN),
    "tensorflow": TENSORFLOW,
    "keras": Package("3.15.1", ("h5py", "numpy")),
    "numpy": Package("2.4.6"),
    "h5py": Package("3.14.0", ("numpy>=1.19.3",)),
    "tensorflow-hub": Package("0.16.1", ("numpy>=1.12.0",)),
    "setuptools": Package("81.0.0"),
    "protobuf": Package("7.36.2"),
    "pillow": Package("13.0.0"),
    "jinja2": Package("3.1.6"),
    "ipykernel": Package("7.4.0"),
    "jupyterlab": Package("4.5.0"),
}
T4 = Card(0, "Tesla T4", "GPU-1f2e", "550.54.15", 15 * GIB, 14 * GIB, "7.5")
SEEN = (Device("Tesla T4", "7.5"),)

PYTHON = Interpreter(
    version="3.12.4",
    allowed=">=3.11,<3.14",
    implementation="CPython",
    bits=64,
    free_threaded=False,
    executable="/home/ada/flowers/.venv/bin/python",
    is_python_on_path=True,
    installer="pip",
    environment="venv",
    prefix="/home/ada/flowers/.venv",
    externally_managed=False,
    system="Linux",
    machine="x86_64",
    libc="glibc 2.39",
    has_avx=True,
    wsl=False,
    container=False,
)
WORKING = TensorFlowImport(
    "fine",
    seconds=4.2,
    limit=120,
    version="2.21.0",
    keras="3.15.1",
    is_cuda_build=True,
    cuda="12.5.1",
    cudnn="9",
    capabilities=("sm_60", "sm_70", "sm_80", "sm_89", "compute_90"),
)
CACHE = Folder(
    "TF-Hub cache", "/home/ada/hub", "TFHUB_CACHE_DIR", exists=True, size=90 * 1024**2, models=2, free=90 * GIB
)
MACHINE = Machine(
    interpreter=PYTHON,
    packages=Packages(OWN, INSTALLED, ("gpu", "onnx", "addons", "dev")),
    settings=KerasSettings({}, "/home/ada/.keras/keras.json", {"backend": "tensorflow"}),
    tensorflow=WORKING,
    graphics=Graphics(),
    resources=Resources(32 * GIB, 20 * GIB, None, None, 8, None),
    folders=(
        CACHE,
        Folder("Keras folder", "/home/ada/.keras", exists=True, free=90 * GIB),
        Folder("working folder", "/home/ada/flowers", exists=True, free=90 * GIB),
        Folder("temporary files", "/tmp", exists=True, free=90 * GIB),
    ),
    network=Network(),
    installation=Installation("0.1.0", "/home/ada/tlkit", ("mini-image",), ("image-classifier",)),
)


def machine(**changes) -> Machine:
    """The machine on which all is well, with other facts: a whole group, or single facts of one as a dict."""
    return dataclasses.replace(
        MACHINE,
        **{
            name: dataclasses.replace(getattr(MACHINE, name), **change) if isinstance(change, dict) else change
            for name, change in changes.items()
        },
    )


def with_packages(without: tuple[str, ...] = (), **versions: str) -> Machine:
    """The machine with other versions of packages (`_` for `-`), more of them, or fewer."""
    installed = {name: package for name, package in INSTALLED.items() if name not in without}
    for name, version in versions.items():
        name = name.replace("_", "-")
        installed[name] = Package(version, installed[name].requires if name in installed else ())
    return machine(packages={"installed": installed})


def findings(of: Machine) -> list[Finding]:
    return [finding for group in judge(of).values() for finding in group]


def unusual(of: Machine) -> list[Finding]:
    """What is not ok."""
    return [finding for finding in findings(of) if finding.verdict != "ok"]
