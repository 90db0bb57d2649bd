"""Processes that are killed with SIGKILL at random moments, and run again, end as one that was left alone."""

import random
import signal

import pytest
from resumed_training import EPOCHS, STEPS, Processes


@pytest.fixture(scope="module")
def processes():
    return Processes()


@pytest.fixture(scope="module")
def uninterrupted(processes, tmp_path_factory):
    """The end of a training that was left alone, by the number of devices."""
    found = {}

    def end(devices):
        if devices not in found:
            folder = tmp_path_factory.mktemp("uninterrupted")
            found[devices] = processes.end(folder, devices), (folder / "log.csv").read_bytes()
        return found[devices]

    return end


def check_killed(processes, uninterrupted, folder, devices, kills):
    """Kills again and again, then compares everything with the training that was left alone."""
    for batches, wait in kills:
        assert processes.kill_after(folder, devices, batches, wait) in (-signal.SIGKILL, 0)
    end, log = uninterrupted(devices)
    assert processes.end(folder, devices) == end
    assert (folder / "log.csv").read_bytes() == log


def random_kill(seed):
    """Some batch of the training and a moment after it: in the next batch, in validation, in the writing."""
    dice = random.Random(seed)
    return dice.randint(1, EPOCHS * STEPS), dice.uniform(0, 0.05)


def test_killed_in_each_stage(processes, uninterrupted, tmp_path):
    # The middle of epochs 2, 4 and 6: each process counts its batches from its own start.
    check_killed(processes, uninterrupted, tmp_path, 1, [(STEPS + 2, 0), (2 * STEPS + 2, 0), (2 * STEPS + 2, 0)])


@pytest.mark.slow
def test_killed_on_two_devices(processes, uninterrupted, tmp_path):
    check_killed(processes, uninterrupted, tmp_path, 2, [(2 * STEPS + 2, 0)])


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("seed", range(10))
def test_killed_at_a_random_moment(processes, uninterrupted, tmp_path, devices, seed):
    check_killed(processes, uninterrupted, tmp_path, devices, [random_kill(f"{seed} of {devices}")])


@pytest.mark.slow
def test_killed_ten_times_before_it_gets_to_an_end(processes, uninterrupted, tmp_path):
    dice = random.Random(5)
    kills = [(dice.randint(1, STEPS + 2), dice.uniform(0, 0.05)) for _ in range(10)]
    check_killed(processes, uninterrupted, tmp_path, 1, kills)


def test_a_notice_stops_in_order(processes, uninterrupted, tmp_path):
    assert processes.kill_after(tmp_path, 1, STEPS + 2, with_signal=signal.SIGTERM) == 128 + signal.SIGTERM
    assert "stopped by SIGTERM with 1 epochs saved" in (tmp_path / "stdout.txt").read_text()
    end, log = uninterrupted(1)
    assert processes.end(tmp_path, 1) == end
    assert "1 epochs are done; going on from" in (tmp_path / "stdout.txt").read_text()


def test_run_again_after_the_end_is_the_end(processes, uninterrupted, tmp_path):
    end, _ = uninterrupted(1)
    assert processes.end(tmp_path, 1) == end
    assert processes.end(tmp_path, 1) == end
