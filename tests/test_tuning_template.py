"""A search in a generated project: killed in the middle of a training, and in Hyperband's rounds."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from projects import generate, make_photos, run

SEARCH = ["-m", "flowers.tune", *"--trials 2 --confirm 0 --image_size 32 --batch_size 8 --seed 3".split()]
SHORT = "--epochs 4 --head_epochs 1 --stages_to_open 1 --epochs_per_stage 1".split()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    return generate("image-classifier", folder, data=make_photos(folder / "photos", 10, size=32))


def scores(search):
    return {
        file.parent.name: json.loads(file.read_text())
        for file in sorted(search.glob("trial_*/metrics.json"))
    }  # fmt: skip


@pytest.mark.slow
def test_a_killed_search_ends_as_if_it_had_not_been(project, tmp_path, monkeypatch):
    said = run([*SEARCH, *SHORT], project)
    assert re.search(r"(Train with the best|The defaults stay): python -m flowers.train --config best\n", said)
    whole = scores(project / "tuning")
    best = (project / "tuning" / "best.json").read_text()
    shutil.rmtree(project / "tuning")
    monkeypatch.setenv("TLKIT_CACHE_DIR", str(tmp_path))  # nothing is kept yet, as at the first time

    with open(project / "killed.txt", "w") as log:
        search = subprocess.Popen([sys.executable, *SEARCH, *SHORT], cwd=project, stdout=log, stderr=log)
    second = project / "tuning" / "trial_1" / "run" / "state"
    deadline = time.monotonic() + 300
    while not list(second.glob("epoch_*")):
        assert search.poll() is None and time.monotonic() < deadline, (project / "killed.txt").read_text()
        time.sleep(0.05)
    os.kill(search.pid, signal.SIGKILL)
    search.wait()
    said = run([*SEARCH, *SHORT], project)
    assert "1 trials are done." in said
    assert "epochs are done; going on from" in said  # the second one did not begin anew
    assert scores(project / "tuning") == whole
    assert (project / "tuning" / "best.json").read_text() == best


@pytest.mark.slow
def test_hyperband_goes_on_with_open_stages(project):
    # Rounds of 2 and 4 epochs: ceil(1.5 * 3) = 5 trials, the best of which go on; the stage opens in the first round.
    search = ["hyperband" if word == "random" else word for word in [*SEARCH, "--algorithm", "random"]]
    said = run([*search, *SHORT, "--trials", "6", "--folder", "rounds"], project, timeout=900)
    histories = {}
    for file in (project / "rounds").glob("trial_*/run/history.csv"):
        with open(file, newline="") as rows:
            histories[file.parents[1].name] = [*csv.DictReader(rows)]
    epochs = {name: [int(row["epoch"]) for row in rows] for name, rows in histories.items()}
    assert epochs == {f"trial_{n}": [0, 1] if n < 5 else [0, 1, 2, 3] for n in range(6)}
    longest = next(part for part in said.split("Trial ") if part.startswith("6 of 6"))
    assert "2 epochs are done; going on from" in longest
    # What moved in this round, said by the callback that opened the stage in the round before.
    moved = [line for line in longest.splitlines() if line.startswith("Moved by the end of epoch 4")]
    assert len(moved) == 1
    earlier = json.loads((project / "rounds" / "trial_5" / "settings.json").read_text())
    first = next(
        n for n in range(5) if json.loads((project / f"rounds/trial_{n}/settings.json").read_text()) == earlier
    )
    assert histories["trial_5"][:2] == histories[f"trial_{first}"]
