"""Facts as they are gathered: from made-up folders, environments and outputs, and from this machine."""

import http.server
import json
import os
import platform
import subprocess
import sys
import threading

import pytest

from tlkit.environment import folders, interpreter, keras_settings, network, packages, resources
from tlkit.environment.finding import GIB
from tlkit.environment.installation import look_at_installation
from tlkit.environment.probe import MARK
from tlkit.environment.tensorflow_import import read_probe


@pytest.fixture(autouse=True)
def fresh_keras():
    """No Keras here: nothing to clear after each of many small tests."""


def write(folder, **files):
    """Text files by their paths, with `__` for `/`."""
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


# The interpreter ----------------------------------------------------------------------------------


def test_this_interpreter():
    facts = interpreter.look_at_interpreter()
    assert facts.version == platform.python_version()
    assert facts.allowed == ">=3.11,<3.14"
    assert facts.bits == 64
    assert facts.prefix == sys.prefix


def test_marks_of_containers_wsl_and_processors(tmp_path):
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text("5.15.90.1-microsoft-standard-WSL2")
    (tmp_path / "proc/cpuinfo").write_text("model name: x\nflags\t\t: fpu sse sse2\n")
    (tmp_path / ".dockerenv").touch()
    facts = interpreter.look_at_interpreter(tmp_path)
    assert (facts.wsl, facts.container, facts.has_avx) == (True, True, False)


def test_an_arm_processor_has_no_list_of_flags(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("Features\t: fp asimd\n")
    assert interpreter.look_at_interpreter(tmp_path).has_avx is None


# Packages -----------------------------------------------------------------------------------------


def install(folder, name, version, *requires, extras=(), directory=None):
    """The dist-info folder of a made-up package."""
    info = folder / (directory or f"{name}-{version}.dist-info")
    info.mkdir(parents=True)
    lines = [f"Name: {name}", f"Version: {version}", *(f"Provides-Extra: {extra}" for extra in extras)]
    (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {line}" for line in requires)]))


def test_packages_are_read_from_every_folder_of_the_path(tmp_path, monkeypatch):
    first, second = tmp_path / "a", tmp_path / "b"
    install(first, "Tf_Keras", "2.21.0")
    install(first, "numpy", "2.4.0")
    install(first, "numpy", "1.26.0")
    install(first, "scipy", "1.0", directory="~cipy-1.0.dist-info")
    (first / "broken-1.dist-info").mkdir()
    install(second, "tf-keras", "2.16.0")
    install(second, "odd", "1.0", "x >= not a version !", "numpy ; python_version < '3'")
    monkeypatch.setattr(sys, "path", [str(first), str(second), str(tmp_path / "gone")])

    facts = packages.look_at_packages(tmp_path)

    assert {name: package.version for name, package in facts.installed.items()}["tf-keras"] == "2.21.0"
    assert facts.twice == ("numpy",)
    assert facts.leftovers == (str(first / "~cipy-1.0.dist-info"),)
    assert facts.own is None
    assert "broken" not in facts.installed
    assert packages.missing_packages(facts) == []


def test_files_that_hide_a_package_are_found(tmp_path, monkeypatch):
    install(tmp_path / "a", "tlkit", "0.1.0", "tensorflow>=2", "scikit-learn", "setuptools<82", extras=("gpu",))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "a"), *sys.path])
    write(tmp_path, **{"tensorflow.py": "", "sklearn__x.py": "", "setuptools.py": "", "keras__notes.txt": ""})
    (tmp_path / "PIL").mkdir()
    (tmp_path / "PIL/__init__.py").touch()
    assert packages.look_at_packages(tmp_path).shadows == ("tensorflow.py", "PIL/__init__.py")


def test_this_environment_has_what_tlkit_requires():
    facts = packages.look_at_packages()
    assert facts.installed["tensorflow"].version.startswith("2.21")
    assert packages.missing_packages(facts) == []
    assert packages.own_wish(facts, "setuptools").endswith("<82")
    assert packages.wishes_of_extra(facts, "gpu") == ["tensorflow[and-cuda]>=2.21,<2.22"]


# TensorFlow ---------------------------------------------------------------------------------------


def lines(*stages):
    return "\n".join(["noise", *(MARK + json.dumps({"seconds": 1.0} | stage) for stage in stages)])


IMPORTED = {"stage": "tensorflow", "version": "2.21.0", "is_cuda_build": True, "cuda": "12.5.1", "cudnn": "9"}
ALL = (
    IMPORTED,
    {"stage": "keras", "version": "3.15.1", "backend": "tensorflow"},
    {"stage": "devices", "gpus": [{"name": "T4", "capability": "7.5"}]},
    {"stage": "compute", "errors": {"GPU:0": "X: y"}},
    {"stage": "tensorflow_hub", "version": "0.16.1"},
)


def test_a_whole_trial_is_read():
    facts = read_probe(lines(*ALL), "W0000 00:00:1 2 x.cc:3] no\nI0000 00:00:1 2 x.cc:3] yes", 0, 60)
    assert (facts.outcome, facts.version, facts.cuda, facts.keras, facts.gpus[0].name) == (
        "fine",
        "2.21.0",
        "12.5.1",
        "3.15.1",
        "T4",
    )
    assert facts.errors == {"GPU:0": "X: y"}
    assert facts.computes
    assert facts.log == ("W0000 00:00:1 2 x.cc:3] no",)


@pytest.mark.parametrize(
    ("stages", "status", "outcome", "stage", "computes"),
    [
        ((), -4, "crash", "tensorflow", False),
        (ALL[:3], -6, "crash", "compute", False),
        (ALL[:4], -11, "crash", "tensorflow_hub", True),
        ((), None, "timeout", "tensorflow", False),
        (ALL[:4], None, "timeout", "tensorflow_hub", True),
        (({"stage": "tensorflow", "error": "ImportError: x"},), 1, "error", "", False),
        (
            ({"stage": "tensorflow", "error": "ModuleNotFoundError: No module named 'tensorflow'"},),
            1,
            "missing",
            "",
            False,
        ),
        ((), 1, "error", "", False),
        (ALL[:2], 3, "crash", "devices", False),
    ],
)
def test_a_trial_that_ended_early_is_read(stages, status, outcome, stage, computes):
    facts = read_probe(lines(*stages), "Traceback\nSyntaxError: json.py", status, 60)
    assert (facts.outcome, facts.stage, facts.computes) == (outcome, stage, computes)


def test_signals_have_their_names():
    assert read_probe("", "", -4, 60).signal == "SIGILL"
    assert read_probe("", "", -9, 60).signal == "SIGKILL"
    assert read_probe("", "", 0xC000001D, 60).signal == "SIGILL"  # Windows
    assert read_probe("", "", 3, 60).signal == "exit status 3"


def test_python_that_does_not_start_is_an_error_and_says_its_last_line():
    assert read_probe("", "Traceback\nSyntaxError: json.py", 1, 60).errors == {"tensorflow": "SyntaxError: json.py"}


# Keras --------------------------------------------------------------------------------------------


def test_keras_settings_are_read(tmp_path):
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    facts = keras_settings.look_at_keras_settings({"KERAS_HOME": str(tmp_path), "KERAS_MAX_EPOCHS": "2", "X": "y"})
    assert facts.config == {"backend": "jax"}
    assert facts.switches == {"KERAS_MAX_EPOCHS": "2"}
    assert keras_settings.backend_of(facts) == "jax"


@pytest.mark.parametrize("text", ["{", "[1]", "\udcff"])
def test_a_file_that_keras_cannot_read_is_called_so(tmp_path, text):
    (tmp_path / "keras.json").write_text(text, errors="surrogateescape")
    facts = keras_settings.look_at_keras_settings({"KERAS_HOME": str(tmp_path)})
    assert (facts.config, facts.is_readable) == (None, False)


def test_no_file_is_nothing_wrong(tmp_path):
    facts = keras_settings.look_at_keras_settings({"KERAS_HOME": str(tmp_path)})
    assert (facts.config, facts.is_readable) == (None, True)


def test_the_folder_is_the_one_that_keras_takes():
    from keras.src.backend import config

    assert str(keras_settings.keras_home(os.environ)) == os.path.expanduser(config.keras_home())


# Memory and processors ----------------------------------------------------------------------------

MEMINFO = f"MemTotal: {16 * 1024**2} kB\nMemFree: 1 kB\nMemAvailable: {12 * 1024**2} kB\n"


def test_a_machine_without_limits(tmp_path):
    write(tmp_path, proc__meminfo=MEMINFO)
    facts = resources.look_at_resources(tmp_path)
    assert (facts.memory, facts.usable_memory, facts.memory_limit) == (16 * GIB, 12 * GIB, None)


def test_a_container_of_version_2(tmp_path):
    write(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="0::/\n")
    write(
        tmp_path / "sys/fs/cgroup",
        **{
            "memory.max": str(2 * GIB),
            "memory.current": str(GIB),
            "memory.stat": f"anon 5\ninactive_file {GIB // 2}\n",
            "cpu.max": "150000 100000\n",
        },
    )
    facts = resources.look_at_resources(tmp_path)
    # Half of what is in use are cached files, which the kernel gives back: 2 - (1 - 0.5).
    assert (facts.memory_limit, facts.usable_memory) == (2 * GIB, 3 * GIB // 2)
    assert facts.cores_limit == 1.5
    assert facts.usable_cores == min(2, facts.cores)


def test_the_tightest_of_nested_groups_counts(tmp_path):
    write(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="0::/user/job\n")
    write(tmp_path / "sys/fs/cgroup/user", **{"memory.max": str(3 * GIB), "memory.current": "0"})
    write(tmp_path / "sys/fs/cgroup/user/job", **{"memory.max": "max", "memory.current": "0", "cpu.max": "max 100000"})
    facts = resources.look_at_resources(tmp_path)
    assert (facts.memory_limit, facts.cores_limit) == (3 * GIB, None)


def test_a_container_of_version_1(tmp_path):
    write(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="4:memory:/docker/1\n3:cpu,cpuacct:/\n0::/\n")
    group = tmp_path / "sys/fs/cgroup/memory"
    write(group, **{"memory.limit_in_bytes": str(4 * GIB), "memory.usage_in_bytes": str(GIB)})
    write(group / "docker/1", **{"memory.limit_in_bytes": str(2**63 - 4096), "memory.usage_in_bytes": "0"})
    write(tmp_path / "sys/fs/cgroup/cpu", **{"cpu.cfs_quota_us": "200000", "cpu.cfs_period_us": "100000"})
    facts = resources.look_at_resources(tmp_path)
    assert (facts.memory_limit, facts.usable_memory, facts.cores_limit) == (4 * GIB, 3 * GIB, 2.0)


def test_no_limit_is_a_very_large_number_in_version_1(tmp_path):
    write(tmp_path, proc__meminfo=MEMINFO)
    write(tmp_path / "sys/fs/cgroup/memory", **{"memory.limit_in_bytes": "9223372036854771712"})
    write(tmp_path / "sys/fs/cgroup/cpu", **{"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"})
    facts = resources.look_at_resources(tmp_path)
    assert (facts.memory_limit, facts.cores_limit) == (None, None)


def test_a_system_that_says_nothing():
    assert resources.judge_resources(resources.Resources())[0].found == "not known"


# Folders ------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An environment whose caches all lie in `tmp_path`, which is not among the temporary files."""
    monkeypatch.setattr(folders.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("TFHUB_CACHE_DIR", "KAGGLEHUB_CACHE", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "temporary").mkdir()
    (tmp_path / "home").mkdir()
    return tmp_path


def look(purpose):
    return {folder.purpose: folder for folder in folders.look_at_folders()}[purpose]


def test_the_default_cache_of_tf_hub_is_temporary(elsewhere):
    cache = look("TF-Hub cache")
    assert cache.path == str(elsewhere / "temporary/tfhub_modules")
    assert (cache.is_temporary, cache.exists, cache.error, cache.set_by) == (True, False, "", "")


def test_models_in_the_cache_are_counted_and_emptied_ones_are_found(elsewhere, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(elsewhere / "hub"))
    write(elsewhere / "hub", **{"aa__saved_model.pb": "1234", "aa.descriptor.txt": "x", "cc__variables__x": ""})
    (elsewhere / "hub/bb").mkdir()
    (elsewhere / "hub/dd.1f.tmp").mkdir()  # a download that goes on
    cache = look("TF-Hub cache")
    assert (cache.models, cache.size, cache.set_by, cache.is_temporary) == (1, 5, "TFHUB_CACHE_DIR", False)
    assert cache.broken == (str(elsewhere / "hub/bb"), str(elsewhere / "hub/cc"))


def test_a_folder_that_cannot_be_made_is_found_also_by_root(elsewhere, monkeypatch):
    (elsewhere / "file").touch()
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(elsewhere / "file/hub"))
    assert look("TF-Hub cache").error == "Not a directory"


def test_a_folder_that_is_not_made_yet_can_be_written(elsewhere, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(elsewhere / "new/keras"))
    keras = look("Keras folder")
    assert (keras.exists, keras.error) == (False, "")
    assert keras.free > 0
    assert not (elsewhere / "new").exists()  # nothing is made by looking


def test_no_folder_for_temporary_files_is_found(elsewhere, monkeypatch):
    def none():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(folders.tempfile, "gettempdir", none)
    monkeypatch.setenv("TMPDIR", str(elsewhere / "temporary"))
    assert look("temporary files").error == "nothing can be written there"
    assert look("TF-Hub cache").path == str(elsewhere / "temporary/tfhub_modules")


def test_a_working_folder_that_was_deleted_is_found(elsewhere, monkeypatch):
    (elsewhere / "gone").mkdir()
    monkeypatch.chdir(elsewhere / "gone")
    (elsewhere / "gone").rmdir()
    assert look("working folder").error == "it was deleted"
    assert packages.look_at_packages().shadows == ()
    monkeypatch.chdir(elsewhere)


def test_a_user_without_a_home_is_no_reason_to_stop(elsewhere, monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda path: str(path))
    assert look("Keras folder").path == "/tmp/.keras"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_found(elsewhere, monkeypatch):
    (elsewhere / "hub").mkdir(mode=0o500)
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(elsewhere / "hub"))
    assert look("TF-Hub cache").error == "Permission denied"


def test_a_cache_in_the_cloud_is_not_looked_into(elsewhere, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", "gs://bucket/hub")
    (finding,) = folders.judge_folders((look("TF-Hub cache"),))
    assert (finding.verdict, finding.found) == ("ok", "gs://bucket/hub (TFHUB_CACHE_DIR)")


def test_kagglehubs_folder_is_for_those_who_use_it(elsewhere, monkeypatch):
    assert "Kaggle cache" not in {folder.purpose for folder in folders.look_at_folders()}
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(elsewhere / "kaggle"))
    assert look("Kaggle cache").path == str(elsewhere / "kaggle")


def test_counting_gives_up_on_a_huge_folder(elsewhere, monkeypatch):
    monkeypatch.setattr(folders, "_MEASURING", -1.0)
    write(elsewhere / "home/.keras", x="1234", sub__y="1234")
    keras = look("Keras folder")
    assert (keras.size, keras.is_counted) == (4, False)
    assert "more than 4 bytes" in folders.judge_folders((keras,))[0].found


# Network ------------------------------------------------------------------------------------------


def test_proxies_are_shown_without_their_passwords():
    facts = network.look_at_network({"HTTPS_PROXY": "http://ada:secret@proxy:3128", "no_proxy": "localhost"})
    assert facts.proxies == {"HTTPS_PROXY": "http://…@proxy:3128", "no_proxy": "localhost"}
    assert network.judge_network(facts)[0].found == "no_proxy=localhost, HTTPS_PROXY=http://…@proxy:3128"
    assert network.look_at_network({"http_proxy": "ada:s@cret@proxy:3128"}).proxies == {"http_proxy": "…@proxy:3128"}


def test_switches_and_certificates(tmp_path):
    facts = network.look_at_network(
        {
            "SSL_CERT_FILE": str(tmp_path / "gone.pem"),
            "REQUESTS_CA_BUNDLE": str(tmp_path),
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "0",
            "TFHUB_DISABLE_CERT_VALIDATION": "true",
        }
    )
    assert facts.missing_certificates == {"SSL_CERT_FILE": str(tmp_path / "gone.pem")}
    assert facts.offline == ("HF_HUB_OFFLINE",)
    assert facts.unchecked


def test_nothing_is_tried_unless_asked(monkeypatch):
    monkeypatch.setattr(network.urllib.request, "urlopen", lambda *_, **__: pytest.fail("tried"))
    assert network.look_at_network({}).tried is None
    assert network.judge_network(network.look_at_network({}))[0].found == "not tried; no proxy is set"


def test_an_address_is_reached_or_not(monkeypatch):
    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.HTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        open_way, closed = f"http://127.0.0.1:{server.server_port}", "http://127.0.0.1:1"
        facts = network.look_at_network({}, [open_way, closed])
        server.shutdown()
    assert facts.tried[open_way] == ""  # an answer, though it is a refusal
    assert "refused" in facts.tried[closed]


# The installation ---------------------------------------------------------------------------------


def test_this_installation_is_complete():
    facts = look_at_installation("0.1.0")
    assert facts.backbones == ("mini-image", "mini-text")
    assert "image-classifier" in facts.templates
    assert facts.missing == ()


def test_a_package_without_its_data_is_found_incomplete(tmp_path):
    (tmp_path / "tlkit").mkdir()
    facts = look_at_installation("0.1.0", tmp_path / "tlkit")
    assert (facts.backbones, facts.templates) == ((), ())


def test_nothing_heavy_is_imported_to_look():
    """The modules that gather and judge are read before TensorFlow is known to work."""
    names = "abilities, verdicts, machine, probe"
    heavy = "('tensorflow', 'keras', 'numpy', 'PIL', 'tensorflow_hub', 'jinja2')"
    code = (
        f"import sys; from tlkit.environment import {names}; print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
