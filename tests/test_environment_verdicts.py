"""What is said of made-up machines: for each fact that is wrong the verdict, the words and what to type."""

import dataclasses

import pytest
from machines import CACHE, INSTALLED, MACHINE, OWN, PYTHON, SEEN, T4, findings, machine, unusual, with_packages

from tlkit.environment.abilities import judge_abilities
from tlkit.environment.cards import Graphics
from tlkit.environment.finding import GIB
from tlkit.environment.packages import Package, Packages
from tlkit.environment.tensorflow_import import Device, TensorFlowImport
from tlkit.environment.verdicts import typed_here


@pytest.fixture(autouse=True)
def fresh_keras():
    """No Keras here: nothing to clear after each of many small tests."""


def with_folder(**changes):
    return machine(folders=(dataclasses.replace(CACHE, **changes), *MACHINE.folders[1:]))


def error(text):
    return machine(tensorflow=TensorFlowImport("error", errors={"tensorflow": text}))


def crash(signal, stage="tensorflow"):
    return machine(tensorflow=TensorFlowImport("crash", stage=stage, signal=signal))


REINSTALL = "python -m pip install --force-reinstall --no-deps 'tensorflow>=2.21,<2.22'"
NEW_ENVIRONMENT = ("python3.12 -m venv .venv", ". .venv/bin/activate")
DELETE = ("rm '/home/ada/.keras/keras.json'",)

# facts, verdict, name, words of what was found and what it means, what to type
TABLE = {
    "old Python": (
        machine(interpreter={"version": "3.10.9"}),
        "problem",
        "Python",
        "CPython 3.10.9, 64 bit; tlkit needs Python >=3.11,<3.14.",
        NEW_ENVIRONMENT,
    ),
    "new Python": (machine(interpreter={"version": "3.14.0rc1"}), "problem", "Python", "3.14.0rc1", NEW_ENVIRONMENT),
    "PyPy": (machine(interpreter={"implementation": "PyPy"}), "problem", "Python", "CPython only", NEW_ENVIRONMENT),
    "32 bit": (machine(interpreter={"bits": 32}), "problem", "Python", "64-bit Python only", NEW_ENVIRONMENT),
    "free-threaded": (machine(interpreter={"free_threaded": True}), "problem", "Python", "threaded", NEW_ENVIRONMENT),
    "no environment": (
        machine(interpreter={"environment": "none", "prefix": "/usr", "externally_managed": True}),
        "warning",
        "environment",
        "The system forbids pip to install in this Python.",
        ("python3 -m venv .venv", ". .venv/bin/activate"),
    ),
    "musl": (machine(interpreter={"libc": "musl"}), "problem", "platform", "not built for musl (Alpine Linux)", ()),
    "old glibc": (machine(interpreter={"libc": "glibc 2.17"}), "problem", "platform", "glibc 2.27 or newer", ()),
    "Intel Mac": (
        machine(interpreter={"system": "Darwin", "libc": "", "has_avx": None}),
        "problem",
        "platform",
        "no longer built for Intel Macs",
        (),
    ),
    "other processor": (machine(interpreter={"machine": "riscv64"}), "problem", "platform", "riscv64", ()),
    "no AVX": (machine(interpreter={"has_avx": False}), "problem", "platform", "This processor has no AVX", ()),
    # Packages
    "setuptools 82": (
        with_packages(setuptools="82.0.1"),
        "problem",
        "setuptools",
        "82.0.1, but tlkit needs setuptools<82; tensorflow-hub imports pkg_resources",
        ("python -m pip install 'setuptools<82'",),
    ),
    "no setuptools": (
        with_packages(without=("setuptools",)),
        "problem",
        "missing packages",
        "setuptools; Without it, tlkit does not work. tensorflow-hub imports pkg_resources",
        ("python -m pip install 'setuptools<82'",),
    ),
    "packages missing": (
        with_packages(without=("jinja2", "protobuf")),
        "problem",
        "missing packages",
        "jinja2, protobuf; Without them, tlkit does not work.",
        ("python -m pip install 'jinja2>=3.1,<4' 'protobuf>=6.31.1,<8.0.0'",),
    ),
    "another TensorFlow version": (
        with_packages(tensorflow="2.20.0"),
        "problem",
        "tensorflow",
        "2.20.0, but tlkit needs tensorflow>=2.21,<2.22",
        ("python -m pip install 'tensorflow>=2.21,<2.22'",),
    ),
    "what TensorFlow wants": (
        with_packages(h5py="3.15.1"),  # tlkit itself would take it
        "warning",
        "h5py",
        "3.15.1, but tensorflow needs h5py>=3.11.0,<3.15.0",
        ("python -m pip install 'h5py>=3.12,<3.15.0'",),
    ),
    "old protobuf": (
        with_packages(protobuf="5.29.0"),
        "warning",
        "protobuf",
        "refuse to load with a protobuf outside of its range",
        ("python -m pip install 'protobuf>=6.31.1,<8.0.0'",),
    ),
    "new protobuf": (with_packages(protobuf="8.1.0"), "warning", "protobuf", "8.1.0", None),
    "two TensorFlows": (
        with_packages(tensorflow_cpu="2.21.0"),
        "problem",
        "tensorflow, twice",
        "tensorflow-cpu 2.21.0; It writes into the same folder as tensorflow",
        (
            "python -m pip uninstall -y tensorflow tensorflow-cpu",
            "python -m pip install 'tensorflow>=2.21,<2.22'",
        ),
    ),
    "nightly": (with_packages(tf_nightly="2.22.0.dev1"), "problem", "tensorflow, twice", "tf-nightly", None),
    "intel": (with_packages(tensorflow_intel="2.18.0"), "problem", "tensorflow, twice", "tensorflow-intel", None),
    "keras nightly": (with_packages(keras_nightly="3.16.0.dev1"), "problem", "keras, twice", "keras-nightly", None),
    "addons": (
        with_packages(tensorflow_addons="0.22.0"),
        "warning",
        "tensorflow-addons",
        "cannot be imported beside Keras 3, but `from tlkit.addons import tfa` works, for its functions on tensors. "
        "That needs tensorflow-addons>=0.23,<0.24 (found 0.22.0); who does not use it can remove it.",
        (
            "python -m pip install 'tensorflow-addons>=0.23,<0.24'",
            "python -m pip uninstall -y tensorflow-addons",
        ),
    ),
    "addons without its typeguard": (
        machine(
            packages={
                "installed": {
                    **INSTALLED,
                    "tensorflow-addons": Package("0.23.0", ("typeguard<3.0.0,>=2.7",)),
                    "typeguard": Package("4.4.0"),
                }
            }
        ),
        "warning",
        "tensorflow-addons",
        "That needs typeguard>=2.7,<3.0.0 (found 4.4.0);",
        ("python -m pip install 'typeguard>=2.7,<3.0.0'", "python -m pip uninstall -y tensorflow-addons"),
    ),
    "addons where there is no release": (
        machine(
            packages={
                "own": tuple(line for line in OWN if "addons" not in line),
                "installed": {**INSTALLED, "tensorflow-addons": Package("0.23.0")},
            }
        ),
        "warning",
        "tensorflow-addons",
        "It is no longer developed and cannot be imported beside Keras 3. tlkit does not need it.",
        ("python -m pip uninstall -y tensorflow-addons",),
    ),
    "metal": (
        with_packages(tensorflow_metal="1.2.0"),
        "problem",
        "tensorflow-metal",
        "stops TensorFlow 2.18 and newer from being imported",
        ("python -m pip uninstall -y tensorflow-metal",),
    ),
    "text": (
        with_packages(tensorflow_text="2.20.0"),
        "warning",
        "tensorflow-text",
        "2.20.0 beside tensorflow 2.21.0; It is compiled for one minor version",
        ("python -m pip install 'tensorflow-text==2.21.*'",),
    ),
    "somebody else's wish": (
        machine(packages={"installed": {**INSTALLED, "oldlib": Package("1.0", ("numpy<2",))}}),
        "warning",
        "other packages",
        "oldlib 1.0 needs numpy<2; tlkit is not affected",
        (),
    ),
    "interrupted": (
        machine(packages={"twice": ("numpy",)}),
        "problem",
        "interrupted installation",
        "numpy: two versions",
        ("python -m pip install --force-reinstall 'numpy>=2,<3'",),
    ),
    "shadow": (
        machine(packages={"shadows": ("keras.py",)}),
        "problem",
        "files in the way",
        "keras.py; `python -m` looks in the working folder first",
        ("mv keras.py my_keras.py",),
    ),
    "not installed": (
        machine(packages=Packages(None, {})),
        "warning",
        "packages",
        "tlkit is not installed",
        ("python -m pip install -e .",),
    ),
    "files gone": (
        machine(installation={"missing": ("tlkit/saving.py",), "origin": "file:///home/ada/tlkit-0.1.0.whl"}),
        "problem",
        "tlkit",
        "Missing: tlkit/saving.py. Install tlkit again",
        ("python -m pip install --force-reinstall --no-deps 'tlkit @ file:///home/ada/tlkit-0.1.0.whl'",),
    ),
    "no embedded backbone": (
        machine(installation={"backbones": (), "origin": "file:///home/ada/tlkit", "is_editable": True}),
        "problem",
        "tlkit",
        "Missing: the embedded backbones.",
        ("python -m pip install --no-deps -e /home/ada/tlkit",),
    ),
    # TensorFlow
    "TensorFlow's files gone": (
        machine(tensorflow=TensorFlowImport("missing")),
        "problem",
        "TensorFlow",
        "its files are missing; Nothing can be trained without it.",
        (REINSTALL,),
    ),
    "illegal instruction": (
        crash("SIGILL"),
        "problem",
        "TensorFlow",
        "importing TensorFlow crashed (SIGILL); This processor lacks an instruction that TensorFlow needs",
        (),
    ),
    "out of memory": (crash("SIGKILL"), "problem", "TensorFlow", "most often the memory was not enough", ()),
    "disk error": (crash("SIGBUS"), "problem", "TensorFlow", "the disk is full", (REINSTALL,)),
    "abort": (
        crash("SIGABRT", "compute"),
        "problem",
        "TensorFlow",
        "computing a gradient crashed (SIGABRT); Its files do not fit this machine or each other.",
        (REINSTALL,),
    ),
    "hang": (
        machine(tensorflow=TensorFlowImport("timeout", stage="tensorflow", limit=120)),
        "problem",
        "TensorFlow",
        "importing TensorFlow took longer than 120 s; It hangs, or the disk is very slow",
        ("tlkit doctor --timeout 600",),
    ),
    "slow": (machine(tensorflow={"seconds": 45.0}), "warning", "TensorFlow", "imported in 45.0 s", ()),
    "mixed builds": (
        error("ImportError: libtensorflow_cc.so.2: undefined symbol: _ZN3tsl"),
        "problem",
        "TensorFlow",
        "undefined symbol: _ZN3tsl; Files of two builds of TensorFlow are mixed.",
        (REINSTALL,),
    ),
    "protobuf at import": (
        error("TypeError: Descriptors cannot be created directly."),
        "problem",
        "TensorFlow",
        "The installed protobuf does not fit this TensorFlow.",
        ("python -m pip install 'protobuf>=6.31.1,<8.0.0'",),
    ),
    "NumPy at import": (
        error("ImportError: numpy.core.multiarray failed to import"),
        "problem",
        "TensorFlow",
        "The installed NumPy does not fit this TensorFlow.",
        ("python -m pip install 'numpy>=2,<3'",),
    ),
    "Windows library": (error("ImportError: DLL load failed"), "problem", "TensorFlow", "Redistributable", ()),
    "own file": (
        error("AttributeError: partially initialized module 'tensorflow' has no attribute 'sysconfig'"),
        "problem",
        "TensorFlow",
        "A file of yours has the name of a package",
        (),
    ),
    "unknown error": (error("RuntimeError: moon phase"), "problem", "TensorFlow", "RuntimeError: moon", (REINSTALL,)),
    "Keras does not import": (
        machine(tensorflow={"errors": {"keras": "ModuleNotFoundError: No module named 'jax'"}}),
        "problem",
        "Keras",
        "No module named 'jax'",
        None,
    ),
    "pkg_resources": (
        machine(tensorflow={"errors": {"tensorflow_hub": "ModuleNotFoundError: No module named 'pkg_resources'"}}),
        "problem",
        "tensorflow-hub",
        "TF-Hub handles do not load; everything else works.",
        ("python -m pip install 'setuptools<82'",),
    ),
    # Keras settings
    "backend by environment": (
        machine(settings={"switches": {"KERAS_BACKEND": "jax"}}),
        "problem",
        "Keras backend",
        "jax; tlkit works with Keras on TensorFlow only.",
        ("export KERAS_BACKEND=tensorflow",),
    ),
    "backend by file": (
        machine(settings={"config": {"backend": "torch"}}),
        "problem",
        "Keras backend",
        '"backend": "torch" in /home/ada/.keras/keras.json',
        ("export KERAS_BACKEND=tensorflow",),
    ),
    "channels first": (
        machine(settings={"config": {"image_data_format": "channels_first"}}),
        "warning",
        "image data format",
        "channels_first in /home/ada/.keras/keras.json",
        DELETE,
    ),
    "float64": (machine(settings={"config": {"floatx": "float64"}}), "warning", "floatx", "twice the time", DELETE),
    "float16": (machine(settings={"config": {"floatx": "float16"}}), "warning", "floatx", "mixed precision", DELETE),
    "refused settings": (
        machine(settings={"config": {"floatx": "int8"}}),
        "problem",
        "keras.json",
        "\"floatx\": 'int8' in /home/ada/.keras/keras.json; Keras refuses to be imported with that.",
        DELETE,
    ),
    "unreadable settings": (
        machine(settings={"config": None, "is_readable": False}),
        "warning",
        "keras.json",
        "takes its defaults",
        DELETE,
    ),
    "legacy Keras": (
        machine(settings={"switches": {"TF_USE_LEGACY_KERAS": "1"}}),
        "warning",
        "TF_USE_LEGACY_KERAS",
        "`tf.keras` is Keras 2 now",
        ("unset TF_USE_LEGACY_KERAS",),
    ),
    "short training": (
        machine(settings={"switches": {"KERAS_MAX_EPOCHS": "1"}}),
        "warning",
        "KERAS_MAX_EPOCHS",
        "Every training ends after 1 epochs without a word.",
        ("unset KERAS_MAX_EPOCHS",),
    ),
    "slow protobuf": (
        machine(settings={"switches": {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}}),
        "warning",
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION",
        "slow Python code",
        ("unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION",),
    ),
    # Memory and disk
    "little memory": (
        machine(resources={"memory_limit": GIB, "memory_used": 0}),
        "problem",
        "memory",
        "1.0 GiB free, of 1.0 GiB that this container may use; A training takes at least 1.2 GiB",
        (),
    ),
    "fair memory": (machine(resources={"memory_free": 3 * GIB}), "warning", "memory", "3.0 GiB free of 32 GiB", ()),
    "one core": (
        machine(resources={"cores_limit": 0.5}),
        "warning",
        "CPU cores",
        "1 usable (a limit of 0.5 on 8); Reading images and training share one core",
        (),
    ),
    "full disk": (with_folder(free=GIB // 10, disk=7), "problem", "disk", "102 MiB free at /home/ada/hub", ()),
    "small disk": (with_folder(free=GIB, disk=7), "warning", "disk", "1.0 GiB free at /home/ada/hub", ()),
    # Caches and network
    "temporary cache": (
        with_folder(is_temporary=True, set_by=""),
        "warning",
        "TF-Hub cache",
        "A restart may clear it; models are then downloaded again.",
        ('export TFHUB_CACHE_DIR="$HOME/.cache/tfhub"',),
    ),
    "emptied models": (
        with_folder(broken=("/home/ada/hub/1f2e",)),
        "warning",
        "emptied TF-Hub models",
        "1f2e; They hold no model any more.",
        ("rm -r '/home/ada/hub/1f2e'",),
    ),
    "read-only cache": (
        with_folder(error="Read-only file system"),
        "problem",
        "TF-Hub cache",
        "/home/ada/hub (TFHUB_CACHE_DIR): Read-only file system; Models of TF-Hub cannot be kept there.",
        ('export TFHUB_CACHE_DIR="$HOME/.cache/tfhub"',),
    ),
    "read-only working folder": (
        machine(folders=(*MACHINE.folders[:2], dataclasses.replace(MACHINE.folders[2], error="Permission denied"))),
        "warning",
        "working folder",
        "Permission denied; Projects and runs cannot be written here.",
        ("cd ~",),
    ),
    "no temporary folder": (
        machine(folders=(*MACHINE.folders[:3], dataclasses.replace(MACHINE.folders[3], error="No space left"))),
        "problem",
        "temporary files",
        "No space left; Saving and loading models needs it.",
        ('mkdir -p "$HOME/tmp"', 'export TMPDIR="$HOME/tmp"'),
    ),
    "no certificates": (
        machine(network={"missing_certificates": {"SSL_CERT_FILE": "/etc/gone.pem"}}),
        "problem",
        "SSL_CERT_FILE",
        "/etc/gone.pem; There is no such file",
        ("unset SSL_CERT_FILE",),
    ),
    "unchecked certificates": (
        machine(network={"unchecked": True}),
        "warning",
        "TFHUB_DISABLE_CERT_VALIDATION",
        "a model is a program",
        ("unset TFHUB_DISABLE_CERT_VALIDATION",),
    ),
    "no way out": (
        machine(network={"tried": {"https://tfhub.dev": "Name or service not known"}}),
        "warning",
        "network",
        "https://tfhub.dev: Name or service not known; Models there cannot be downloaded from here.",
        (),
    ),
}


def test_a_good_machine_is_called_good():
    assert unusual(MACHINE) == []
    assert [finding.name for finding in findings(MACHINE)] == [
        *("Python", "environment", "platform", "tlkit", "packages"),
        *("TensorFlow", "Keras settings", "GPU"),
        *("memory", "CPU cores", "disk"),
        *("TF-Hub cache", "Keras folder", "working folder", "temporary files", "network"),
    ]


@pytest.mark.parametrize("case", TABLE, ids=str)
def test_a_wrong_fact_is_named_with_what_to_type(case):
    facts, verdict, name, words, commands = TABLE[case]

    told = {finding.name: finding for finding in unusual(facts)}

    assert name in told, f"only {list(told)}"
    found = told[name]
    assert found.verdict == verdict
    assert words in f"{found.found}; {found.meaning}"
    assert found.meaning.endswith(".") and "  " not in found.meaning
    if commands is not None:
        assert found.commands == commands


def test_nothing_is_said_twice_of_what_is_missing():
    """Without TensorFlow one command installs it, among the missing packages."""
    facts = with_packages(without=("tensorflow",))
    facts = dataclasses.replace(facts, tensorflow=TensorFlowImport("missing"))
    told = {finding.name: finding.commands for finding in unusual(facts)}
    assert told == {"missing packages": ("python -m pip install 'tensorflow>=2.21,<2.22'",), "TensorFlow": ()}


def test_an_empty_package_that_requires_the_real_one_is_no_clash():
    requires_it = Package("2.21.0", ("tensorflow-intel==2.21.0",))
    facts = machine(
        packages={"installed": {**INSTALLED, "tensorflow": requires_it, "tensorflow-intel": Package("2.21.0")}}
    )
    assert "tensorflow, twice" not in [finding.name for finding in findings(facts)]


def test_a_consequence_is_called_so_and_needs_no_command_of_its_own():
    facts = machine(
        settings={"switches": {"KERAS_BACKEND": "torch"}},
        tensorflow={"errors": {"keras": "ModuleNotFoundError: No module named 'torch'"}},
    )
    told = {finding.name: finding for finding in unusual(facts)}
    assert told["Keras"].meaning == "That follows from the setting below."
    assert told["Keras"].commands == ()
    assert told["Keras backend"].commands == ("export KERAS_BACKEND=tensorflow",)


def test_an_import_that_a_file_disturbs_needs_no_installation():
    facts = machine(
        packages={"shadows": ("tensorflow.py",)},
        tensorflow=TensorFlowImport("error", errors={"tensorflow": "ImportError: x"}),
    )
    told = {finding.name: finding for finding in unusual(facts)}
    assert told["TensorFlow"].meaning == "A file of yours is imported in its place: tensorflow.py."
    assert told["TensorFlow"].commands == ()


def test_addons_that_the_extra_wants_are_no_clash():
    facts = with_packages(tensorflow_addons="0.23.0")
    told = {finding.name: finding for finding in findings(facts)}["tensorflow-addons"]
    assert (told.verdict, told.commands) == ("ok", ())
    assert "`from tlkit.addons import tfa` works, for its functions on tensors." in told.meaning


def test_leftovers_of_pip_are_mentioned_and_do_no_harm():
    facts = machine(packages={"leftovers": ("/venv/~umpy",)})
    assert unusual(facts) == []
    assert "leftovers of pip" in [finding.name for finding in findings(facts)]


# What will work -----------------------------------------------------------------------------------


def abilities(facts):
    return {ability.name: ability for ability in judge_abilities(facts, findings(facts))}


def test_a_good_machine_without_a_card():
    told = abilities(MACHINE)
    assert {name: ability.works for name, ability in told.items()} == {
        "new projects": "yes",
        "training on the CPU": "yes",
        "training on a GPU": "no",
        "mixed precision": "partly",
        "models of TF-Hub": "yes",
        "export to SavedModel": "yes",
        "export to ONNX": "no",
        "functions of tensorflow-addons": "no",
        "notebooks": "yes",
    }
    assert told["training on the CPU"].sentence.startswith("With 8 cores and 20 GiB of memory.")
    assert told["export to ONNX"].sentence == "onnx missing: `pip install 'tlkit[onnx]'`"
    assert told["models of TF-Hub"].sentence.startswith("2 in the cache work offline. ")


def test_nothing_of_training_works_without_tensorflow():
    told = abilities(machine(tensorflow=TensorFlowImport("missing")))
    assert {ability.works for ability in told.values()} == {"yes", "no"}
    assert [name for name, ability in told.items() if ability.works == "yes"] == ["new projects", "notebooks"]
    assert told["training on the CPU"].sentence == "TensorFlow is not installed."


@pytest.mark.parametrize(
    ("facts", "name", "works", "words"),
    [
        (machine(tensorflow={"errors": {"CPU:0": "X"}}), "training on the CPU", "no", "TensorFlow does not work."),
        (machine(tensorflow={"errors": {"keras": "X"}}), "training on the CPU", "no", "Keras does not work."),
        (machine(settings={"switches": {"KERAS_BACKEND": "jax"}}), "training on the CPU", "no", "another backend"),
        (with_packages(without=("h5py",)), "training on the CPU", "no", "Packages are missing: h5py."),
        (machine(resources={"memory_free": GIB}), "training on the CPU", "no", "too little memory"),
        (crash("SIGABRT", "tensorflow_hub"), "training on the CPU", "yes", "With 8 cores"),
        (machine(tensorflow={"gpus": SEEN}), "training on a GPU", "yes", "Tesla T4, which TensorFlow uses by itself."),
        (machine(tensorflow={"gpus": SEEN * 2}), "training on a GPU", "yes", "2 cards"),
        (machine(tensorflow={"gpus": SEEN, "errors": {"GPU:0": "X"}}), "training on a GPU", "no", "cannot compute"),
        (machine(graphics=Graphics(cards=(T4,), smi="fine")), "training on a GPU", "no", "the reason is above"),
        (machine(tensorflow={"gpus": SEEN}), "mixed precision", "yes", "takes mixed_float16 here"),
        (machine(tensorflow={"gpus": (Device("H", "9.0"),)}), "mixed precision", "yes", "takes mixed_bfloat16 here"),
        (machine(tensorflow={"gpus": (Device("P", "6.1"),)}), "mixed precision", "partly", "no faster"),
        (machine(tensorflow={"errors": {"tensorflow_hub": "X"}}), "models of TF-Hub", "no", "cannot be imported"),
        (with_folder(error="Read-only"), "models of TF-Hub", "no", "cannot be written"),
        (machine(network={"tried": {"a": ""}}), "models of TF-Hub", "yes", "They can be downloaded."),
        (machine(network={"tried": {"a": "", "b": "x"}}), "models of TF-Hub", "partly", "is closed"),
        (machine(network={"tried": {"a": "x"}}), "models of TF-Hub", "partly", "Nothing can be downloaded"),
        (with_packages(onnx="1.19.0"), "export to ONNX", "yes", "is installed"),
        (with_packages(tensorflow_addons="0.23.0"), "functions of tensorflow-addons", "yes", "is installed"),
        (
            machine(packages={"own": tuple(line for line in OWN if "addons" not in line)}),
            "functions of tensorflow-addons",
            "no",
            "Nothing was published for this Python and this machine.",
        ),
        (with_packages(without=("jupyterlab",)), "notebooks", "partly", "pip install jupyterlab"),
        (with_packages(without=("ipykernel",)), "notebooks", "no", "Jupyter is missing"),
        (with_packages(without=("jinja2",)), "new projects", "no", "jinja2 is missing"),
        (with_packages(without=("pillow",)), "new projects", "partly", "pillow"),
    ],
)
def test_what_will_work(facts, name, works, words):
    ability = abilities(facts)[name]
    assert (ability.works, words in ability.sentence) == (works, True), ability


# Commands as they are typed -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "changes", "typed"),
    [
        ("pip install x", {}, "python -m pip install x"),
        ("pip install x", {"is_python_on_path": False}, "/home/ada/flowers/.venv/bin/python -m pip install x"),
        ("pip uninstall -y x y", {"installer": "uv"}, "uv pip uninstall x y"),
        (
            "pip install x",
            {"installer": "uv", "is_python_on_path": False},
            "uv pip install --python /home/ada/flowers/.venv/bin/python x",
        ),
        ("pip install x", {"is_python_on_path": False, "executable": "/a b/python"}, "'/a b/python' -m pip install x"),
        ("unset X", {"system": "Windows"}, "Remove-Item Env:X"),
        ('export X="$HOME/y"', {"system": "Windows"}, '$env:X = "$HOME/y"'),
        ("export X=y", {"system": "Windows"}, '$env:X = "y"'),
        ("python3.12 -m venv .venv", {"system": "Windows"}, "py -3.12 -m venv .venv"),
        (". .venv/bin/activate", {"system": "Windows"}, r".venv\Scripts\activate"),
        ("export X=y", {}, "export X=y"),
    ],
)
def test_commands_fit_the_interpreter_and_the_shell(command, changes, typed):
    assert typed_here(command, dataclasses.replace(PYTHON, **changes)) == typed


def test_the_made_up_requirements_are_like_tlkits_own():
    """The table above stands for what is judged on a real machine: the same packages with the same ranges."""
    import importlib.metadata

    from packaging.requirements import Requirement

    real = {Requirement(line).name: Requirement(line).specifier for line in importlib.metadata.requires("tlkit")}
    for line in OWN:
        if "extra" not in line:
            assert real[Requirement(line).name] == Requirement(line).specifier
