"""What is said of graphics cards: those that TensorFlow uses, and why it does not use one. No card is needed."""

import dataclasses
import os
import stat

import pytest
from machines import INSTALLED, SEEN, T4, WORKING, findings, machine

from tlkit.environment.cards import Graphics, look_at_graphics, read_smi
from tlkit.environment.finding import GIB
from tlkit.environment.packages import Package
from tlkit.environment.tensorflow_import import Device

FILES = {"/dev/nvidia0": True, "/dev/nvidiactl": True, "/dev/nvidia-uvm": True}
LIBRARIES = {"nvidia-cudnn-cu12": Package("9.5"), "nvidia-cublas-cu12": Package("12.6")}
DRIVEN = Graphics((T4,), "fine", device_files=FILES, kernel_driver=True, vendors=("nvidia",))
FAILED = {"cards": (), "smi": "failed"}
DLOPEN = "W0000 00:00:1737.258825 10111 gpu_device.cc:2344] Cannot dlopen some GPU libraries."


@pytest.fixture(autouse=True)
def fresh_keras():
    """No Keras here: nothing to clear after each of many small tests."""


def with_card(tensorflow=None, interpreter=None, libraries=True, **graphics):
    """A machine with a Tesla T4, its driver and its libraries, but for what is given."""
    installed = {**INSTALLED, **(LIBRARIES if libraries else {})}
    return machine(
        graphics=dataclasses.replace(DRIVEN, **graphics),
        tensorflow=dataclasses.replace(WORKING, **(tensorflow or {})),
        interpreter=interpreter or {},
        packages={"installed": installed},
    )


def card(**changes):
    return (dataclasses.replace(T4, **changes),)


def gpu_findings(facts):
    return [finding for finding in findings(facts) if finding.name.startswith(("GPU", "MIG", "other GPUs"))]


UNUSED = {
    "no libraries": (
        with_card(libraries=False),
        "problem",
        "Tesla T4, not used; TensorFlow finds no CUDA libraries: nvidia-cublas-cu12, nvidia-cudnn-cu12 and others",
        ("python -m pip install 'tlkit[gpu]'",),
    ),
    "hidden by nothing": (
        with_card(visible=""),
        "warning",
        "hidden by CUDA_VISIBLE_DEVICES=''; CUDA_VISIBLE_DEVICES hides every card.",
        ("unset CUDA_VISIBLE_DEVICES",),
    ),
    "hidden by -1": (with_card(visible="-1"), "warning", "hidden by CUDA_VISIBLE_DEVICES='-1'", None),
    "hidden by a card that is not there": (with_card(visible="3"), "warning", "CUDA_VISIBLE_DEVICES='3'", None),
    "Windows": (
        with_card(interpreter={"system": "Windows", "libc": ""}),
        "problem",
        "TensorFlow has used no cards in Windows itself since 2.10. Install WSL2",
        ("wsl --install",),
    ),
    "no driver": (
        machine(graphics=Graphics(vendors=("nvidia",))),
        "problem",
        "NVIDIA card without a driver, not used",
        ("sudo ubuntu-drivers install",),
    ),
    "updated driver": (
        with_card(**FAILED, smi_message="Failed to initialize NVML: Driver/library version mismatch"),
        "problem",
        "The driver was updated while the old one was running. Restart the machine.",
        ("sudo reboot",),
    ),
    "driver not running": (
        with_card(**FAILED, smi_message="NVIDIA-SMI has failed because it couldn't communicate with the driver"),
        "problem",
        "nvidia-smi: NVIDIA-SMI has failed because it couldn't communicate with the driver; The driver is installed",
        ("sudo modprobe nvidia", "sudo dmesg | grep -i nvidia"),
    ),
    "stuck driver": (with_card(cards=(), smi="timeout"), "problem", "nvidia-smi hangs", ("sudo reboot",)),
    "container lost its card": (
        with_card(**FAILED, smi_message="Failed to initialize NVML: Unknown Error", interpreter={"container": True}),
        "problem",
        "The container has lost its card",
        ("docker run --gpus all …",),
    ),
    "container without the host's card": (
        machine(graphics=Graphics(kernel_driver=True), interpreter={"container": True}),
        "warning",
        "the host's NVIDIA card, not used; The host has a card, but this container was started without it.",
        ("docker run --gpus all …",),
    ),
    "GPU container on a host without a card": (
        with_card(**FAILED, kernel_driver=False, device_files={}, smi_message="no", interpreter={"container": True}),
        "problem",
        "This container has nvidia-smi but no card.",
        ("docker run --gpus all …",),
    ),
    "no device files": (
        with_card(device_files={}),
        "problem",
        "The driver has made no device files.",
        ("sudo nvidia-modprobe -u -c=0",),
    ),
    "barred": (
        with_card(device_files=FILES | {"/dev/nvidia0": False}),
        "problem",
        "You may not use /dev/nvidia0.",
        ('sudo usermod -aG video,render "$USER"',),
    ),
    "no unified memory": (
        with_card(device_files={"/dev/nvidia0": True}),
        "problem",
        "/dev/nvidia-uvm is missing",
        ("sudo nvidia-modprobe -u -c=0",),
    ),
    "WSL without the driver of Windows": (
        with_card(kernel_driver=False, device_files={"/dev/dxg": True}, interpreter={"wsl": True}),
        "problem",
        "WSL does not show the driver of Windows.",
        ("wsl --update", "wsl --shutdown"),
    ),
    "old driver": (
        with_card(cards=card(driver="470.82.01")),
        "problem",
        "The driver 470.82.01 is too old for CUDA 12.5.1: 525 or newer is needed.",
        ("sudo ubuntu-drivers install",),
    ),
    "built without CUDA": (
        with_card({"is_cuda_build": False, "cuda": "", "capabilities": ()}),
        "problem",
        "This TensorFlow is built without CUDA.",
        ("python -m pip install --force-reinstall 'tensorflow[and-cuda]>=2.21,<2.22'",),
    ),
    "ARM": (
        with_card({"is_cuda_build": False, "cuda": ""}, interpreter={"machine": "aarch64"}),
        "warning",
        "For ARM, TensorFlow comes from pip without CUDA.",
        (),
    ),
    "old card": (
        with_card(cards=card(name="GeForce GTX 970", capability="5.2")),
        "warning",
        "GeForce GTX 970, not used; TensorFlow is built for cards of compute capability 6.0 and newer",
        (),
    ),
    "divided into nothing": (
        with_card(cards=card(name="A100", mig=True)),
        "problem",
        "The card is set to be divided (MIG) but has no parts.",
        ("sudo nvidia-smi mig -cgi 0 -C",),
    ),
    "another CUDA": (
        with_card(other_cuda=("/usr/local/cuda-11.8/lib64",)),
        "problem",
        "LD_LIBRARY_PATH names /usr/local/cuda-11.8/lib64; The libraries there are loaded in the place of those",
        ("unset LD_LIBRARY_PATH", "tlkit doctor"),
    ),
    "no known reason": (
        with_card({"log": (DLOPEN,)}),
        "problem",
        "Tesla T4, not used; TensorFlow says: Cannot dlopen some GPU libraries.",
        None,
    ),
}


@pytest.mark.parametrize("case", UNUSED, ids=str)
def test_the_reason_that_a_card_is_not_used(case):
    facts, verdict, words, commands = UNUSED[case]

    (finding,) = gpu_findings(facts)

    assert finding.verdict == verdict
    assert words in f"{finding.found}; {finding.meaning}"
    assert finding.meaning.endswith(".")
    if commands is not None:
        assert finding.commands == commands


def test_no_card_is_fine_and_one_of_amd_is_named():
    (finding,) = gpu_findings(machine())
    assert (finding.verdict, finding.found) == ("ok", "no NVIDIA card")
    (finding,) = gpu_findings(machine(graphics=Graphics(vendors=("amd",))))
    assert finding.verdict == "ok"
    assert finding.meaning.endswith("TensorFlow uses no AMD cards as it comes from pip.")


def test_nothing_is_guessed_of_a_card_while_tensorflow_cannot_be_imported():
    (finding,) = gpu_findings(with_card({"version": "", "outcome": "error", "is_cuda_build": False, "cuda": ""}))
    assert (finding.verdict, finding.meaning) == ("ok", "TensorFlow must be imported before it can be tried.")


@pytest.mark.parametrize("visible", ["0", "0,7", "GPU-1f", " 0"])
def test_a_card_that_is_named_is_not_called_hidden(visible):
    assert "hidden" not in gpu_findings(with_card(visible=visible, libraries=False))[0].found


# Cards that are used ------------------------------------------------------------------------------

BLACKWELL = {"gpus": (Device("RTX 5090", "12.0"),)}
USED = {
    "all well": (
        with_card({"gpus": SEEN}),
        "ok",
        "Tesla T4, 14 GiB of 15 GiB free, compute capability 7.5, driver",
        (),
    ),
    "full": (
        with_card({"gpus": SEEN}, cards=card(memory_free=GIB)),
        "warning",
        "1.0 GiB of 15 GiB free",
        ("nvidia-smi", "export TF_FORCE_GPU_ALLOW_GROWTH=true"),
    ),
    "of the same family as a kernel": (with_card({"gpus": (Device("A10", "8.6"),)}), "ok", "A10", ()),
    "newer than the kernels": (with_card(BLACKWELL), "warning", "compiles them at first use: that takes minutes", ()),
    "newer, and nothing helps": (
        with_card(BLACKWELL | {"errors": {"GPU:0": "InternalError: failed with 'CUDA_ERROR_INVALID_PTX'"}}),
        "problem",
        "TensorFlow brings no kernels for cards of compute capability 12.0 and cannot compile them.",
        ("export CUDA_VISIBLE_DEVICES=-1",),
    ),
    "another cuDNN": (
        with_card({"gpus": SEEN, "errors": {"GPU:0": "FailedPreconditionError: DNN library initialization failed."}}),
        "problem",
        "The cuDNN that is found is not the one that TensorFlow was built with.",
        ("python -m pip install --upgrade 'tensorflow[and-cuda]>=2.21,<2.22'",),
    ),
    "no compiler": (
        with_card(
            {"gpus": SEEN, "errors": {"GPU:0": "InternalError: libdevice not found at ./libdevice.10.bc"}},
            other_cuda=("/usr/local/cuda/lib64",),
        ),
        "problem",
        "CUDA's compiler files are missing.",
        ("unset LD_LIBRARY_PATH", "python -m pip install --upgrade 'tensorflow[and-cuda]>=2.21,<2.22'"),
    ),
    "no memory": (
        with_card({"gpus": SEEN, "errors": {"GPU:0": "ResourceExhaustedError: out of memory"}}),
        "problem",
        "Other programs hold the card's memory.",
        ("nvidia-smi",),
    ),
}


@pytest.mark.parametrize("case", USED, ids=str)
def test_what_is_said_of_a_card_that_is_used(case):
    facts, verdict, words, commands = USED[case]
    (finding,) = gpu_findings(facts)
    assert (finding.name, finding.verdict, finding.commands) == ("GPU 0", verdict, commands)
    assert words in f"{finding.found}; {finding.meaning}"


def test_memory_is_that_of_the_card_that_is_shown_and_not_of_the_first():
    cards = (dataclasses.replace(T4, memory_free=GIB), dataclasses.replace(T4, index=1, uuid="GPU-99"))
    first, hidden = gpu_findings(with_card({"gpus": SEEN}, cards=cards, visible="1"))
    assert (first.verdict, "14 GiB of 15 GiB free" in first.found) == ("ok", True)
    assert hidden.meaning == "Hides 1 of the cards."


def test_parts_of_a_divided_card_are_named():
    facts = with_card({"gpus": SEEN}, cards=card(mig=True), mig_instances=("MIG-aa", "MIG-bb"))
    assert gpu_findings(facts)[1].commands == ("export CUDA_VISIBLE_DEVICES=MIG-aa",)


# Facts --------------------------------------------------------------------------------------------

NEW = "0, NVIDIA A100-SXM4-40GB, GPU-5d5b, 550.54.15, 40960, 40000, 8.0, Enabled\n"
LIST = "GPU 0: NVIDIA A100 (UUID: GPU-5d5b)\n  MIG 1g.5gb Device 0: (UUID: MIG-c6d4f1ef-42e4)\n"


def fake_smi(folder, script):
    """An `nvidia-smi` of our own, and an environment that finds it alone."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"PATH": str(folder)}


def test_facts_of_a_card_and_its_parts(tmp_path):
    environment = fake_smi(tmp_path, f"case $1 in -L) printf '{LIST}';; *) printf '{NEW}';; esac")
    graphics = look_at_graphics(environment | {"CUDA_VISIBLE_DEVICES": "0"}, root=tmp_path / "empty")
    assert graphics.smi == "fine"
    (card,) = graphics.cards
    assert (card.name, card.memory_total, card.capability, card.mig) == (
        "NVIDIA A100-SXM4-40GB",
        40960 * 1024**2,
        "8.0",
        True,
    )
    assert graphics.mig_instances == ("MIG-c6d4f1ef-42e4",)
    assert graphics.visible == "0"


def test_an_old_driver_that_does_not_know_the_question_is_asked_less(tmp_path):
    old = "echo '0, Tesla K80, GPU-1, 410.48, 11441, [N/A]'"
    refuse = 'case "$1" in *compute_cap*) echo \'Field "compute_cap" is not a valid field to query.\'; exit 2;; esac'
    graphics = look_at_graphics(fake_smi(tmp_path, f"{refuse}\n{old}"), root=tmp_path / "empty")
    (card,) = graphics.cards
    assert (card.name, card.driver, card.memory_free, card.capability) == ("Tesla K80", "410.48", 0, "")


def test_what_nvidia_smi_says_when_it_fails_is_kept(tmp_path):
    environment = fake_smi(tmp_path, "echo 'Failed to initialize NVML:' >&2; echo 'Unknown Error' >&2; exit 255")
    graphics = look_at_graphics(environment, root=tmp_path / "empty")
    assert (graphics.smi, graphics.smi_message) == ("failed", "Failed to initialize NVML: Unknown Error")
    assert graphics.has_nvidia


def test_a_program_that_hangs_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("tlkit.environment.cards._SMI_SECONDS", 0.2)
    assert look_at_graphics(fake_smi(tmp_path, "exec /bin/sleep 30"), root=tmp_path / "empty").smi == "timeout"


def test_a_driver_without_cards_is_no_card():
    assert read_smi("No devices were found\n") == ()


def test_facts_of_the_system(tmp_path):
    for name in ("dev/nvidia0", "dev/nvidia-uvm", "proc/driver/nvidia/version", "usr/lib/wsl/lib/libcuda.so.1"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name, vendor, kind in (("01", "0x10de", "0x030200"), ("02", "0x1002", "0x030000"), ("03", "0x10de", "0x0403")):
        device = tmp_path / "sys/bus/pci/devices" / name
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")
        (device / "class").write_text(f"{kind}\n")
    cuda = tmp_path / "cuda"
    cuda.mkdir()
    (cuda / "libcudart.so.11.8").touch()
    (tmp_path / "other").mkdir()
    path = os.pathsep.join(map(str, (tmp_path / "other", cuda, tmp_path / "gone")))

    graphics = look_at_graphics({"PATH": "", "LD_LIBRARY_PATH": path}, root=tmp_path)

    assert [name.rsplit("/", 1)[1] for name in graphics.device_files] == ["nvidia-uvm", "nvidia0"]
    assert graphics.kernel_driver and graphics.wsl_library and graphics.has_nvidia
    assert graphics.vendors == ("amd", "nvidia")
    assert graphics.other_cuda == (str(cuda),)


def test_a_system_without_any_of_it(tmp_path):
    graphics = look_at_graphics({"PATH": ""}, root=tmp_path)
    assert graphics == Graphics()
    assert not graphics.has_nvidia
