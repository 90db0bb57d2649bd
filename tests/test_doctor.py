"""`tlkit doctor` as it is typed: on this machine, beside a TensorFlow that is broken, and without any."""

import importlib.metadata
import json
import os
import stat
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tlkit
from tlkit.cli.doctor import _finite

ROOT = Path(tlkit.__file__).parents[1]
GROUPS = ["Python and packages", "TensorFlow and devices", "Memory and disk", "Caches and network"]


@pytest.fixture(autouse=True)
def fresh_keras():
    """No Keras here: nothing to clear after each of many small tests."""


def doctor(*arguments, folder, python=sys.executable, **environment):
    """Run it in another process, 80 columns wide, in `folder`; what it finds there and what is set counts."""
    dropped = ("KERAS_", "TF_", "TFHUB_", "KAGGLEHUB_", "CUDA_", "PYTHON", "SSL_", "COLUMNS", "FORCE_COLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    settings = {"COLUMNS": "80", "KERAS_HOME": str(folder / "keras"), "TFHUB_CACHE_DIR": str(folder / "hub")}
    done = subprocess.run(
        [python, "-m", "tlkit.cli", "doctor", *arguments],
        cwd=folder,
        env=kept | settings | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def report(done):
    """The JSON report: its findings by name, and all of it."""
    whole = json.loads(done.stdout)
    return {finding["name"]: finding for finding in whole["findings"]}, whole


def stub(folder, code):
    """A `tensorflow` that is found before the real one, and does what `code` says when it is imported."""
    package = folder / "stub" / "tensorflow"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(code)
    return str(package.parent)


def files_of(*names):
    """What installed packages and those that they require put into site-packages."""
    entries, waiting, done = set(), list(names), set()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in done:
            done.add(name)
            distribution = importlib.metadata.distribution(name)
            entries |= {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}
            needed = map(Requirement, distribution.requires or ())
            waiting += [line.name for line in needed if line.marker is None or line.marker.evaluate({"extra": ""})]
    return entries


@pytest.mark.slow
def test_this_machine(tmp_path):
    done = doctor("--json", folder=tmp_path)
    findings, whole = report(done)

    assert [finding["group"] for finding in whole["findings"]] == sorted(
        (finding["group"] for finding in whole["findings"]), key=GROUPS.index
    )
    assert findings["Python"]["verdict"] == "ok"
    assert findings["packages"]["verdict"] == "ok"
    assert findings["TensorFlow"]["verdict"] == "ok"
    assert whole["facts"]["tensorflow"]["outcome"] == "fine"
    assert whole["facts"]["tensorflow"]["errors"].get("tensorflow_hub", "") == ""
    assert {ability["name"]: ability["works"] for ability in whole["abilities"]}["training on the CPU"] == "yes"
    problems = [finding for finding in whole["findings"] if finding["verdict"] == "problem"]
    assert done.returncode == (1 if problems else 0)
    assert not any((tmp_path / name).exists() for name in ("hub",))  # looking makes nothing


def test_a_broken_tensorflow_is_told_as_a_table_of_80_columns_without_colours(tmp_path):
    path = stub(tmp_path, "raise ImportError('libtensorflow_cc.so.2: undefined symbol: _ZN3tsl')")
    done = doctor(folder=tmp_path, PYTHONPATH=path)

    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    table, _, rest = done.stdout.partition("\nWhat will work\n")
    assert max(map(len, table.splitlines())) <= 80
    assert [line.strip() for line in table.splitlines() if line.strip() in GROUPS] == GROUPS
    flat = " ".join(table.split())
    assert "problem TensorFlow ImportError: libtensorflow_cc.so.2: undefined symbol" in flat
    assert "Files of two builds of TensorFlow are mixed. Install it again." in flat
    assert "no training on the CPU TensorFlow does not work." in " ".join(rest.split())
    what_to_type = rest.partition("\nWhat to type\n")[2]
    assert "  # TensorFlow\n" in what_to_type
    assert " -m pip install --force-reinstall --no-deps 'tensorflow>=2.21,<2.22'\n" in what_to_type
    assert rest.rstrip().endswith("1 problem, 0 warnings.")


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import os; os.abort()", "importing TensorFlow crashed (SIGABRT)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "importing TensorFlow crashed (SIGILL)"),
        ("import os; os._exit(3)", "importing TensorFlow crashed (exit status 3)"),
        ("import time; time.sleep(60)", "importing TensorFlow took longer than 2 s"),
        ("import sys; sys.exit('no')", "SystemExit: no"),
        ("", "AttributeError: module 'tensorflow' has no attribute 'sysconfig'"),
        ("raise TypeError('Descriptors cannot be created directly.\\nIf this')", "TypeError: Descriptors cannot"),
        ("print('{'); raise RuntimeError", "RuntimeError: "),
    ],
)
def test_whatever_tensorflow_does_becomes_a_sentence(tmp_path, code, found):
    done = doctor("--json", "--timeout", "2", folder=tmp_path, PYTHONPATH=stub(tmp_path, code))
    finding = report(done)[0]["TensorFlow"]
    assert done.returncode == 1
    assert finding["verdict"] == "problem"
    assert finding["found"].startswith(found)


def test_a_file_named_like_a_package_is_found(tmp_path):
    (tmp_path / "tensorflow.py").write_text("import tensorflow.keras")
    findings, _ = report(doctor("--json", folder=tmp_path))
    assert findings["files in the way"]["commands"] == ["mv tensorflow.py my_tensorflow.py"]
    assert findings["TensorFlow"]["verdict"] == "problem"


def test_switches_of_the_environment_are_found(tmp_path):
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "keras.json").write_text('{"image_data_format": "channels_first"}')
    (tmp_path / "file").touch()
    done = doctor(
        "--json",
        folder=tmp_path,
        PYTHONPATH=stub(tmp_path, "raise ImportError"),
        KERAS_BACKEND="jax",
        KERAS_MAX_EPOCHS="1",
        TF_USE_LEGACY_KERAS="1",
        TFHUB_CACHE_DIR=str(tmp_path / "file" / "hub"),
        HTTPS_PROXY="http://ada:secret@proxy:3128",
        SSL_CERT_FILE=str(tmp_path / "gone.pem"),
    )
    findings, _ = report(done)
    assert {name: finding["verdict"] for name, finding in findings.items() if finding["verdict"] != "ok"} == {
        "TensorFlow": "problem",
        "Keras backend": "problem",
        "image data format": "warning",
        "TF_USE_LEGACY_KERAS": "warning",
        "KERAS_MAX_EPOCHS": "warning",
        "TF-Hub cache": "problem",
        "SSL_CERT_FILE": "problem",
    }
    assert "secret" not in done.stdout


def test_a_card_is_asked_after_with_nvidia_smi(tmp_path):
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'Failed to initialize NVML: Driver/library version mismatch'; exit 18\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    done = doctor("--json", folder=tmp_path, PATH=path, PYTHONPATH=stub(tmp_path, "raise ImportError"))
    finding = report(done)[0]["GPU"]
    assert finding["found"] == "nvidia-smi: Failed to initialize NVML: Driver/library version mismatch"
    assert finding["commands"] == ["sudo reboot"]


def test_other_versions_are_found_in_another_folder_of_packages(tmp_path):
    for name, version in (("setuptools", "82.0.1"), ("tensorflow_cpu", "2.21.0"), ("tensorflow_addons", "0.22.0")):
        info = tmp_path / "stub" / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    (tmp_path / "stub" / "tensorflow.py").write_text("raise ImportError")
    findings, _ = report(doctor("--json", folder=tmp_path, PYTHONPATH=str(tmp_path / "stub")))
    assert findings["setuptools"]["found"].startswith("82.0.1, but tlkit needs setuptools<82")
    assert findings["tensorflow, twice"]["found"] == "tensorflow-cpu 2.21.0"
    assert findings["tensorflow-addons"]["verdict"] == "warning"


def test_no_time_at_all_is_a_usage_mistake(tmp_path):
    done = doctor("--timeout", "0", folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""


def test_without_tensorflow_keras_and_numpy_it_says_what_to_install(tmp_path):
    """An environment with nothing but what a command line needs, as after `pip install --no-deps`."""
    venv.create(tmp_path / "bare", symlinks=True)
    python = tmp_path / "bare" / "bin" / "python"
    there = Path(sysconfig.get_path("purelib"))
    here = next((tmp_path / "bare" / "lib").glob("python*/site-packages"))
    for name in files_of("typer", "rich", "packaging"):
        (here / name).symlink_to(there / name)
    own = next(there.glob("tlkit-*.dist-info"))
    (here / own.name).symlink_to(own)
    (here / "tlkit.pth").write_text(f"{ROOT}\n")

    done = doctor(folder=tmp_path, python=str(python))

    assert done.returncode == 1
    flat = " ".join(done.stdout.split())
    assert "problem TensorFlow not installed Nothing can be trained without it." in flat
    assert "no training on the CPU TensorFlow is not installed." in flat
    (command,) = (line for line in done.stdout.splitlines() if " install " in line and "jupyter" not in line)
    assert "'tensorflow>=2.21,<2.22'" in command and "'numpy>=2,<3'" in command and "setuptools<82" in command
    assert done.stderr == ""


def test_json_has_no_numbers_that_are_none():
    assert _finite({"a": float("nan"), 3: [1.5, float("inf"), "text", None]}) == {
        "a": None,
        "3": [1.5, None, "text", None],
    }
