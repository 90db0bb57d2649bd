"""Searches of several processes, some of which are killed; real ones, so slow."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import keras_tuner
import pytest
from rich.console import Console

from tlkit import UserError
from tlkit.tuning import oracles, workers
from tlkit.tuning.progress import Progress

SEARCH = """
    import json, os, signal, sys, time
    from pathlib import Path
    import keras
    from tlkit import UserError
    from tlkit.errors import exit_on_user_error
    from tlkit.tuning import confirm_best, oracles, trial_runner, tune

    oracles.LOST_AFTER, trial_runner.BEAT = 4.0, 0.5  # seconds
    keras.utils.clear_session = lambda: None
    folder, seconds, *words = sys.argv[1:]
    meeting = dict(word.split("=") for word in words if "=" in word)  # listen or chief

    def run(settings, folder):
        state = folder / "state" / "epochs"
        state.parent.mkdir(parents=True, exist_ok=True)
        if "mistake" in words:
            raise UserError("The folder 'photos' is empty.")
        if "deadly" in words and settings["x"] == 2.0:
            os.kill(os.getpid(), signal.SIGKILL)
        for epoch in range(len(state.read_text()) if state.exists() else 0, 3):
            time.sleep(float(seconds) / 3)
            with open(state, "a") as file:
                file.write("x")
            with open(Path(sys.argv[1]) / "epochs.log", "a") as log:
                print(settings["x"], epoch, *([settings["seed"]] if "seed" in settings else []), file=log)
        return {"loss": (settings["x"] - 1) ** 2}

    if __name__ == "__main__":
        with exit_on_user_error():
            trials = tune(
                run, lambda hp: {"x": hp.Float("x", -2.0, 2.0, default=2.0)}, num_trials=6, folder=folder,
                objective="loss", seed=5, workers=1 if "alone" in words else 2, **meeting,
            )
            if "confirm" in words:
                found = confirm_best(
                    run, trials, seeds=[6, 7], folder=folder, objective="loss", direction="min", workers=2
                )
                print("CONFIRMED", json.dumps(found))
            print("END", json.dumps([(t.settings["x"], t.score, t.failure) for t in trials]))
"""


@pytest.fixture
def script(tmp_path):
    (tmp_path / "search.py").write_text(textwrap.dedent(SEARCH))
    return tmp_path / "search.py"


def start(script, folder, seconds, *words):
    return subprocess.Popen(
        [sys.executable, script, folder, str(seconds), *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def end(process):
    said, errors = process.communicate(timeout=300)
    return process.returncode, said, errors


def trials_of(said):
    return json.loads(said.split("END ")[1])


def processes_of(folder):
    """Ids of the search's processes by KerasTuner's names for them."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            command = (directory / "cmdline").read_bytes().decode().split("\0")
            variables = dict(v.split("=", 1) for v in (directory / "environ").read_text().split("\0") if "=" in v)
        except OSError:
            continue
        if str(folder) in command:
            found[variables.get(workers.NAME, "supervisor")] = int(directory.name)
    return found


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_a_killed_worker_and_a_killed_chief_change_nothing(script, tmp_path):
    _, said, _ = end(start(script, tmp_path / "alone", 0.1, "alone"))
    alone = trials_of(said)
    folder = tmp_path / "s"
    search = start(script, folder, 1.5)
    log = folder / "epochs.log"
    wait_for(lambda: log.exists())
    os.kill(processes_of(folder)["worker0"], signal.SIGKILL)  # in the middle of its first trial
    wait_for(lambda: "worker0" in processes_of(folder))
    killed = processes_of(folder)["worker1"]
    os.kill(killed, signal.SIGKILL)  # while the first one lives
    wait_for(lambda: processes_of(folder).get("worker1", killed) != killed, seconds=20)
    os.kill(processes_of(folder)["chief"], signal.SIGKILL)
    status, said, errors = end(search)
    assert status == 0, errors
    assert trials_of(said) == alone
    # Each epoch once, but one that was cut by the kill: trials were given back, none was given to two.
    assert sorted(log.read_text().split("\n")) == sorted((tmp_path / "alone" / "epochs.log").read_text().split("\n"))
    assert len(re.findall(r"^Trial \d of 6: loss", said, re.M)) == 6
    assert processes_of(folder) == {}


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_search(script, tmp_path, how):
    folder = tmp_path / "s"
    search = start(script, folder, 30)
    wait_for(lambda: len([*folder.glob("trial_*/settings.json")]) == 2)
    assert {*processes_of(folder)} == {"supervisor", "chief", "worker0", "worker1"}
    search.send_signal(how)
    status, *_ = end(search)
    assert status == {signal.SIGINT: -signal.SIGINT, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}[how]
    wait_for(lambda: processes_of(folder) == {}, seconds=10 if how == signal.SIGKILL else 0.5)
    status, said, errors = end(start(script, folder, 0.1))  # the same command goes on
    assert status == 0, errors
    assert len(trials_of(said)) == 6


@pytest.mark.slow
def test_a_trial_that_takes_its_worker_along_is_given_up(script, tmp_path):
    status, said, errors = end(start(script, tmp_path / "s", 0.1, "deadly"))
    assert status == 0, errors
    trials = trials_of(said)
    assert trials[-1] == [2.0, None, "The process that ran it died 3 times, perhaps for want of memory."]
    assert all(failure is None for *_, failure in trials[:-1])
    assert "Trial 1 of 6 failed. The process that ran it died 3 times" in said


@pytest.mark.slow
def test_a_mistake_ends_all(script, tmp_path):
    status, _, errors = end(start(script, tmp_path / "s", 0.1, "mistake"))
    assert status == 1
    said = r"^Error: The first [34] trials all failed, the last one with: The folder 'photos' is"  # two at a time
    assert re.search(said, errors, re.M)
    assert processes_of(tmp_path / "s") == {}


@pytest.mark.slow
def test_confirming_is_shared_too_and_survives(script, tmp_path):
    folder = tmp_path / "s"
    search = start(script, folder, 3, "confirm")
    wait_for(lambda: [*folder.glob("confirmed/*/settings.json")])
    wait_for(lambda: {"share0", "share1"} <= {*processes_of(folder)})
    os.kill(processes_of(folder)["share0"], signal.SIGKILL)
    status, said, errors = end(search)
    assert status == 0, errors
    best = [x for x, *_ in trials_of(said)][:3]
    trained = [line.split() for line in (folder / "epochs.log").read_text().splitlines() if line.count(" ") == 2]
    # Three epochs of each on two seeds, none twice: the one that was killed went on.
    candidates = {*best, 2.0}
    expected = [(str(x), str(epoch), str(seed)) for x in candidates for seed in (6, 7) for epoch in range(3)]
    assert sorted(map(tuple, trained)) == sorted(expected)
    found = json.loads(re.search(r"CONFIRMED (.*)", said)[1])
    assert [(settings["x"], scores) for _, settings, scores, _ in found] == [
        (x, [(x - 1) ** 2] * 2) for x in sorted(candidates, key=lambda x: (x - 1) ** 2)
    ]
    assert f"{2 * len(candidates)} trainings on other seeds, up to 2 at once." in said
    assert processes_of(folder) == {}


@pytest.mark.slow
def test_another_machine_joins(script, tmp_path):
    _, said, _ = end(start(script, tmp_path / "alone", 0.1, "alone"))
    address = f"127.0.0.1:{workers._free_port('127.0.0.1')}"
    listening = start(script, tmp_path / "s", 3, "alone", f"listen={address}")
    joined = start(script, tmp_path / "s", 3, "alone", f"chief={address}")
    helped, (status, found, errors) = end(joined), end(listening)
    assert status == helped[0] == 0, errors + helped[2]
    assert trials_of(found) == trials_of(said)
    assert "Other machines join with: --chief " in found
    assert f"The search has ended; its results are where {address} is." in helped[1]
    names = {json.loads(file.read_text())["worker"] for file in (tmp_path / "s").glob("trial_*/begun.json")}
    assert len(names) == 2 and "worker0" in names
    assert processes_of(tmp_path / "s") == {}


@pytest.mark.slow
def test_the_trial_of_a_machine_that_is_gone_is_given_to_another(script, tmp_path):
    _, said, _ = end(start(script, tmp_path / "alone", 0.1, "alone"))
    address = f"127.0.0.1:{workers._free_port('127.0.0.1')}"
    folder = tmp_path / "s"
    listening = start(script, folder, 6, "alone", f"listen={address}")
    wait_for(lambda: "worker0" in processes_of(folder))
    here = processes_of(folder)
    joined = start(script, folder, 30, "alone", f"chief={address}")

    def its_trials():
        said = [file.with_name("begun.json") for file in folder.glob("trial_*/settings.json")]
        return [begun for begun in (json.loads(file.read_text()) for file in said) if begun["worker"] != "worker0"]

    wait_for(its_trials)
    time.sleep(1.0)  # it is said to have begun
    for process in [joined.pid, *(id_ for id_ in processes_of(folder).values() if id_ not in here.values())]:
        os.kill(process, signal.SIGKILL)
    status, found, errors = end(listening)
    assert status == 0, errors
    assert trials_of(found) == trials_of(said)
    assert not its_trials()  # worker0 ran it
    assert "is not heard of any more; it is given to another" in (folder / "workers" / "chief.log").read_text()
    assert re.search(r"^Trial (\d) of 6, worker0-\w{8}: (x=.*)\n(.*\n)*Trial \1 of 6, worker0: \2$", found, re.M)
    assert end(joined)[0] == -signal.SIGKILL


@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner")  # as in tlkit.tuning.search
def test_a_silent_worker_loses_its_trial_and_a_late_answer_counts_once(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(oracles.time, "monotonic", lambda: now[0])
    oracle = oracles.make_oracle(
        "random", lambda hp: {"x": hp.Float("x", 0.0, 1.0)}, keras_tuner.Objective("loss", "min"),
        num_trials=2, seed=1, folder=tmp_path, max_epochs=None, keep_models=0,
    )  # fmt: skip
    oracle._set_project_dir(tmp_path.parent, tmp_path.name)
    oracle.verbose = 0
    first, second = oracle.create_trial("silent"), oracle.create_trial("busy")
    assert oracle.create_trial("idle").status == "IDLE"  # not STOPPED: either may yet be lost
    now[0] += oracles.LOST_AFTER
    oracle.get_trial(second.trial_id)
    assert oracle.create_trial("idle").status == "IDLE"  # just not too long
    now[0] += 1.0
    assert oracle.create_trial("idle").trial_id == first.trial_id
    assert {name: trial.trial_id for name, trial in oracle.ongoing_trials.items()} == {
        "busy": second.trial_id, "idle": first.trial_id
    }  # fmt: skip
    for trial in (second, first, first):  # the silent one was only slow
        oracle.update_trial(trial.trial_id, {"loss": 0.5})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    assert oracle.end_order == [second.trial_id, first.trial_id]
    assert oracle.create_trial("idle").status == "STOPPED"


def test_shares_of_the_machine(monkeypatch):
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(9)), raising=False)
    threads = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    assert workers._resources(0, 4, 0) == dict.fromkeys(threads, "2")
    assert workers._resources(11, 12, 0) == dict.fromkeys(threads, "1")
    cards = [workers._resources(n, 3, 2) for n in range(3)]
    assert [card["CUDA_VISIBLE_DEVICES"] for card in cards] == ["0", "1", "0"]
    assert all(card["TF_FORCE_GPU_ALLOW_GROWTH"] == "true" for card in cards)  # two share one
    assert "TF_FORCE_GPU_ALLOW_GROWTH" not in workers._resources(0, 2, 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert workers._resources(1, 2, 2)["CUDA_VISIBLE_DEVICES"] == "7"


def test_addresses():
    assert workers.parse_address("10.0.0.1:5000", "chief") == ("10.0.0.1", 5000)
    for wrong in ("10.0.0.1", ":5000", "host:", "host:65536", "host:x"):
        with pytest.raises(UserError, match=f"`chief` is '{wrong}'. Expected HOST:PORT"):
            workers.parse_address(wrong, "chief")


def test_progress(tmp_path, capsys):
    def write(number, begun, **files):
        folder = tmp_path / f"trial_{number}"
        folder.mkdir(exist_ok=True)
        (folder / "begun.json").write_text(json.dumps({"worker": "worker0", "deaths": 0, "since": 0.0, **begun}))
        (folder / "settings.json").write_text('{"rate": 0.25}')
        for name, text in files.items():
            (folder / name.replace("_", ".")).write_text(text)

    progress = Progress(tmp_path, 8, "loss", "min", workers=2)
    assert progress.summary() == "0 of 8 done"
    write(0, {"seconds": 100.0}, metrics_json='{"loss": 0.5}')
    write(1, {"seconds": 200.0}, metrics_json='{"loss": 0.125}')
    write(2, {"seconds": 60.0}, failure_txt="MemoryError: no room")
    write(3, {"since": time.time() - 240})
    progress.print_news()
    assert capsys.readouterr().out.splitlines() == [
        "Trial 4 of 8, worker0: rate=0.25",
        "Trial 1 of 8, worker0: rate=0.25",
        "Trial 1 of 8: loss 0.5 after 100 s",
        "Trial 2 of 8, worker0: rate=0.25",
        "Trial 2 of 8: loss 0.125 after 200 s",
        "Trial 3 of 8, worker0: rate=0.25",
        "Trial 3 of 8 failed. MemoryError: no room",
    ]
    progress.print_news()
    assert capsys.readouterr().out == ""
    # Five left, of 120 s on average, two at once: 300 s.
    assert progress.summary() == "3 of 8 done, 1 failed; best loss 0.125 (trial 2); about 5 min left"
    table = progress.table()
    assert [[*column.cells] for column in table.columns] == [["4"], ["4 min"], ["rate=0.25"]]
    screen = io.StringIO()
    with progress.shown(Console(file=screen, force_terminal=True, width=120)):
        pass
    assert "3 of 8 done" in screen.getvalue() and "rate=0.25" in screen.getvalue()
    with progress.shown(Console(file=(log := io.StringIO()))):
        pass
    assert log.getvalue() == ""  # a log has lines instead


def test_a_process_that_dies_of_a_full_disk_is_not_started_again(tmp_path, monkeypatch):
    """A chief that cannot write ends each question of a worker with an error of gRPC, which says nothing of a disk."""
    monkeypatch.setattr(workers.shutil, "disk_usage", lambda folder: SimpleNamespace(free=4096))
    monkeypatch.setattr(workers, "_command", lambda: [sys.executable, "-c", "raise SystemExit(1)"])
    with pytest.raises(UserError, match=r"^The disk is full, so the search in '.*' has stopped\. Make room"):
        workers.search_with_workers(tmp_path, 1)
