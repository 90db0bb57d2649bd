"""The search on functions with a known answer; no model is trained."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap

import keras
import keras_tuner
import pytest
import tensorflow as tf

from tlkit import UserError
from tlkit.tuning import tune


@pytest.fixture(autouse=True)
def no_clearing(monkeypatch):
    # It collects garbage, a third of a second a trial; here are no models.
    monkeypatch.setattr(keras.utils, "clear_session", lambda: None)


def draw_x(hp):
    return {"x": hp.Float("x", -2.0, 2.0, default=2.0)}


def square(settings, folder):
    folder.mkdir()
    return {"loss": (settings["x"] - 1.0) ** 2, "other": 7}


def test_ranks_and_starts_with_the_defaults(tmp_path, capsys):
    drawn = []

    def run(settings, folder):
        drawn.append(settings["x"])
        return square(settings, folder)

    trials = tune(run, draw_x, num_trials=8, folder=tmp_path / "s", objective="loss", seed=0)
    assert drawn[0] == 2.0
    assert len({*drawn}) == 8
    assert [trial.score for trial in trials] == sorted((x - 1.0) ** 2 for x in drawn)
    assert trials[0].settings == {"x": min(drawn, key=lambda x: abs(x - 1.0))}
    assert trials[0].metrics == {"loss": trials[0].score, "other": 7.0}
    assert trials[0].folder.is_dir()
    assert trials[0].failure is None
    assert f"8 trials in {tmp_path / 's'}, which takes 0.0 MB." in capsys.readouterr().out


def test_direction(tmp_path):
    def run(settings, folder):
        return {"accuracy": settings["x"], "score_error": settings["x"]}

    up = tune(run, draw_x, num_trials=4, folder=tmp_path / "up", objective="accuracy", seed=0)
    assert up[0].settings["x"] == max(trial.settings["x"] for trial in up) == 2.0
    down = tune(run, draw_x, num_trials=4, folder=tmp_path / "down", objective="accuracy", direction="min", seed=0)
    assert down[-1].settings["x"] == 2.0
    errors = tune(run, draw_x, num_trials=4, folder=tmp_path / "errors", objective="score_error", seed=0)
    assert errors[-1].settings["x"] == 2.0


def test_equal_seeds_draw_alike(tmp_path):
    # 0 as well, which KerasTuner itself takes for "no seed".
    def settings_of(folder, seed):
        trials = tune(square, draw_x, num_trials=4, folder=tmp_path / folder, objective="loss", seed=seed)
        return [trial.settings for trial in trials]

    assert settings_of("a", 0) == settings_of("b", 0) != settings_of("c", 1)


def test_goes_on_after_a_kill_and_extends(tmp_path, capsys):
    calls = []

    def killed_in_the_third(settings, folder):
        calls.append(settings["x"])
        folder.mkdir()
        (folder / "half_written").touch()
        if len(calls) == 3:
            raise KeyboardInterrupt
        return {"loss": settings["x"]}

    search = {"search_space": draw_x, "folder": tmp_path / "s", "objective": "loss", "seed": 3}
    with pytest.raises(KeyboardInterrupt):
        tune(killed_in_the_third, num_trials=5, **search)
    trials = tune(killed_in_the_third, num_trials=5, **search)  # mkdir would fail on what the kill left
    assert len(trials) == 5
    assert len(calls) == 6
    assert calls[2] == calls[3]  # nothing in its folder could be gone on from
    assert "2 trials are done" in capsys.readouterr().out
    assert len(tune(killed_in_the_third, num_trials=12, **search)) == 12
    assert len(calls) == 13
    assert len(tune(killed_in_the_third, num_trials=12, **search)) == 12  # finished: nothing runs
    assert len(calls) == 13


def test_failed_trials_are_recorded_and_the_search_goes_on(tmp_path, capsys):
    def run(settings, folder):
        if settings["x"] < -1:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nwith a page of text")
        if settings["x"] < 0:
            raise MemoryError("no room")
        if settings["x"] < 0.5:
            return {"loss": float("nan")}
        return {"loss": settings["x"]}

    search = {"num_trials": 16, "folder": tmp_path / "s", "objective": "loss", "seed": 1}
    trials = tune(run, draw_x, **search)
    assert len(trials) == 16
    bad = [trial for trial in trials if trial.settings["x"] < 0.5]
    assert 3 < len(bad) < 16
    assert trials[-len(bad) :] == bad
    reasons = {
        "ResourceExhaustedError: OOM when allocating tensor A smaller batch_size needs less memory.": (-2, -1),
        "MemoryError: no room": (-1, 0),
        "ArithmeticError: loss became nan": (0, 0.5),
    }
    for trial in bad:
        low, high = reasons[trial.failure]
        assert trial.score is None
        assert low <= trial.settings["x"] < high
    assert {trial.failure for trial in bad} == {*reasons}
    assert "failed. MemoryError: no room" in capsys.readouterr().out
    assert tune(run, draw_x, **search) == trials  # the reasons outlive the process


def test_all_fail(tmp_path):
    def run(settings, folder):
        raise UserError("The folder 'photos' is empty.")

    search = {"search_space": draw_x, "objective": "loss", "seed": 1}
    with pytest.raises(UserError, match=r"All 2 trials failed; the first one with: The folder 'photos' is empty\."):
        tune(run, num_trials=2, folder=tmp_path / "a", **search)
    with pytest.raises(UserError, match=r"The first 3 trials all failed, the last one with: The folder 'photos'"):
        tune(run, num_trials=20, folder=tmp_path / "b", **search)


def test_mistakes_are_named(tmp_path):
    search = {"search_space": draw_x, "folder": tmp_path / "s", "seed": 1}
    with pytest.raises(UserError, match=r"`run` returned \['loss', 'other'\] but the objective is 'val_loss'"):
        tune(square, num_trials=9, objective="val_loss", **search)
    with pytest.raises(UserError, match=r"holds a search with other settings \(batch_size, objective\)"):
        tune(square, num_trials=9, objective="loss", shared_settings={"batch_size": 3}, **search)
    with pytest.raises(UserError, match=r"holds a search with other settings \(algorithm, max_epochs\)"):
        tune(square, num_trials=9, objective="val_loss", algorithm="hyperband", max_epochs=9, **search)
    with pytest.raises(UserError, match="`num_trials` is 0"):
        tune(square, num_trials=0, objective="loss", **search)
    with pytest.raises(UserError, match="`keep_models` is -1"):
        tune(square, num_trials=1, objective="loss", keep_models=-1, **search)
    with pytest.raises(UserError, match="`direction` is 'up'"):
        tune(square, num_trials=1, objective="loss", direction="up", **search)
    with pytest.raises(UserError, match="`algorithm` is 'evolution'. Expected one of 'random', 'bayesian'"):
        tune(square, num_trials=1, objective="loss", algorithm="evolution", **search)
    for wrong in ({"algorithm": "hyperband"}, {"max_epochs": 9}):
        with pytest.raises(UserError, match="`max_epochs` is (None|9) with `algorithm="):
            tune(square, num_trials=1, objective="loss", **wrong, **search)


def test_shared_settings_survive_json(tmp_path):
    search = {"search_space": draw_x, "folder": tmp_path / "s", "objective": "loss", "seed": 1}
    for _ in range(2):  # a tuple comes back from JSON as a list, which is no change
        tune(square, num_trials=1, shared_settings={"split": (0.7, 0.3)}, **search)
    assert json.loads((tmp_path / "s" / "search.json").read_text())["split"] == [0.7, 0.3]


# Which settings


def draw_three(hp):
    kind = hp.Choice("kind", ["flat", "deep"], default="deep")
    settings = {"kind": kind, "width": hp.Int("width", 1, 3)}
    with hp.conditional_scope("kind", ["deep"]):
        return settings | ({"depth": hp.Choice("depth", [4, 5])} if kind == "deep" else {})


def test_grid_is_that_of_kerastuner(tmp_path):
    def points(settings, folder):
        return {"accuracy": settings["width"] + settings.get("depth", 0)}

    search = {"algorithm": "grid", "objective": "accuracy", "seed": 1, "folder": tmp_path / "s"}
    # Theirs, in one go: its place is not in what it saves.
    hp = keras_tuner.HyperParameters()
    draw_three(hp)
    theirs = keras_tuner.oracles.GridSearchOracle(objective="accuracy", max_trials=100, hyperparameters=hp)
    theirs._set_project_dir(tmp_path, "theirs")
    expected = []
    with pytest.warns(DeprecationWarning):
        while (trial := theirs.create_trial("tuner0")).status == "RUNNING":
            expected.append(trial.hyperparameters.values)
            theirs.update_trial(trial.trial_id, {"accuracy": 1.0})
            trial.status = "COMPLETED"
            theirs.end_trial(trial)
    assert len(expected) == 3 * 2 + 3
    tune(points, draw_three, num_trials=4, **search)
    trials = tune(points, draw_three, num_trials=100, **search)  # goes on where it was
    assert [t.settings for t in sorted(trials, key=lambda t: int(t.folder.parent.name[6:]))] == expected
    assert trials[0].settings == {"kind": "deep", "width": 3, "depth": 5}


def test_bayesian_is_led_to_the_best(tmp_path):
    search = {"algorithm": "bayesian", "objective": "loss", "seed": 1}
    trials = tune(square, draw_x, num_trials=9, folder=tmp_path / "s", **search)
    # Three random ones, then those that a model of the scores chooses: a parabola is soon known.
    assert trials[0].score < 1e-3
    tune(square, draw_x, num_trials=5, folder=tmp_path / "again", **search)
    again = tune(square, draw_x, num_trials=9, folder=tmp_path / "again", **search)
    assert [t.settings for t in again] == [t.settings for t in trials]  # as if it had not stopped


def learner(folder_name="state"):
    """A `run` that learns x in each epoch, and keeps what it has learned as a training does."""
    calls = []

    def run(settings, folder, epochs):
        state = folder / folder_name / "learned.json"
        done, learned = json.loads(state.read_text()) if state.exists() else (0, 0.0)
        calls.append((settings["x"], done, epochs))
        learned += (epochs - done) * settings["x"]
        state.parent.mkdir(parents=True, exist_ok=True)
        state.write_text(json.dumps((epochs, learned)))
        (folder / "model.keras").write_text(str(learned))
        return {"accuracy": learned}

    run.calls = calls
    return run


def test_hyperband_goes_on_with_the_best(tmp_path):
    run, search = learner(), {"algorithm": "hyperband", "objective": "accuracy", "seed": 1}
    trials = tune(run, draw_x, num_trials=9 + 3, max_epochs=9, folder=tmp_path / "s", **search)
    # The first bracket by hand: ceil((1 + log3(9)) / 3 * 3^2) = 9 trials of 1 epoch, 3 of 3 epochs, 1 of 9.
    first, second = run.calls[:9], run.calls[9:]
    assert run.calls[0][0] == 2.0  # the defaults
    assert {call[1:] for call in first} == {(0, 1)}
    by_x = sorted((x for x, *_ in first), reverse=True)
    assert second == [(x, 1, 3) for x in by_x[:3]]  # each goes on after its own first epoch
    assert trials[0].metrics["accuracy"] == pytest.approx(3 * by_x[0])
    assert (trials[0].epochs, trials[-1].epochs) == (3, 1)
    tune(run, draw_x, num_trials=13, max_epochs=9, folder=tmp_path / "s", **search)
    assert run.calls[12:] == [(by_x[0], 3, 9)]


def test_hyperband_keeps_what_it_may_go_on_from(tmp_path):
    run, search = learner(), {"algorithm": "hyperband", "objective": "accuracy", "seed": 1, "keep_models": 1}
    tune(run, draw_x, num_trials=10, max_epochs=9, folder=tmp_path / "s", **search)
    # Nine and the first of the next round: the eight others and that one may be gone on from.
    kept = {state.parent.parent.name for state in (tmp_path / "s").glob("trial_*/run/state")}
    assert len(kept) == 9
    tune(run, draw_x, num_trials=14, max_epochs=9, folder=tmp_path / "s", **search)  # the bracket has ended
    kept = {state.parent.parent.name for state in (tmp_path / "s").glob("trial_*/run/state")}
    assert kept == {"trial_13"}  # the first of the next one
    assert len([*(tmp_path / "s").glob("trial_*/run/model.keras")]) == 2  # the best, and that


def test_keeps_the_best_models(tmp_path, capsys):
    def run(settings, folder):
        folder.mkdir()
        (folder / "model.keras").write_bytes(bytes(1_500_000))
        (folder / "history.csv").touch()
        return {"loss": settings["x"]}

    trials = tune(run, draw_x, num_trials=6, folder=tmp_path / "s", objective="loss", seed=1, keep_models=2)
    assert [(trial.folder / "model.keras").exists() for trial in trials] == [True, True, *[False] * 4]
    assert all((trial.folder / "history.csv").exists() for trial in trials)
    assert "takes 3.0 MB, the models of 2 trials among it." in capsys.readouterr().out


# Surviving


def test_a_full_disk_stops_the_search_and_it_goes_on(tmp_path):
    full = []

    def run(settings, folder):
        if full:
            raise RuntimeError("writing failed") from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.keras")
        return square(settings, folder)

    search = {"search_space": draw_x, "folder": tmp_path / "s", "objective": "loss", "seed": 1}
    tune(run, num_trials=1, **search)
    full.append(True)
    with pytest.raises(UserError, match=r"The disk is full, so the search in '.*/s' has stopped\. Make room and run"):
        tune(run, num_trials=3, **search)
    full.clear()
    trials = tune(run, num_trials=3, **search)
    assert all(trial.failure is None for trial in trials)
    straight = tune(run, num_trials=3, **{**search, "folder": tmp_path / "straight"})
    assert [t.settings for t in straight] == [t.settings for t in trials]


def test_a_disk_that_is_full_for_the_search_itself(tmp_path, monkeypatch):
    def no_room(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fills_it(settings, folder):
        monkeypatch.setattr(os, "fsync", no_room)
        return square(settings, folder)

    search = {"search_space": draw_x, "folder": tmp_path / "s", "objective": "loss", "seed": 1, "num_trials": 2}
    with pytest.raises(UserError, match="The disk is full, so the search"):
        tune(fills_it, **search)
    monkeypatch.undo()
    assert len(tune(square, **search)) == 2
    assert not [*(tmp_path / "s").rglob(".*")]  # nothing half written is left


@pytest.mark.parametrize("damaged", ["oracle.json", "search.json", "trial_1/trial.json"])
@pytest.mark.parametrize("how", ["torn", "empty", "missing"])
def test_a_torn_file_is_mended(tmp_path, damaged, how):
    search = {"search_space": draw_x, "objective": "loss", "seed": 1}
    straight = tune(square, num_trials=5, folder=tmp_path / "straight", **search)
    tune(square, num_trials=3, folder=tmp_path / "s", **search)
    file = tmp_path / "s" / damaged
    if how == "missing":
        file.unlink()
    else:
        file.write_text("" if how == "empty" else file.read_text()[:40])
    trials = tune(square, num_trials=5, folder=tmp_path / "s", **search)
    assert [(t.settings, t.score) for t in trials] == [(t.settings, t.score) for t in straight]


def test_damaged_beyond_mending(tmp_path):
    search = {"search_space": draw_x, "folder": tmp_path / "s", "objective": "loss", "seed": 1}
    tune(square, num_trials=1, **search)
    for file in (tmp_path / "s").glob("oracle.json*"):
        file.write_text(file.read_text()[:40])
    with pytest.raises(UserError, match="is damaged and cannot go on"):
        tune(square, num_trials=2, **search)


KILLED = """
    import json, os, signal, sys
    from pathlib import Path
    import keras
    from tlkit.tuning import files, tune

    keras.utils.clear_session = lambda: None
    kill_at, moments = int(sys.argv[2]), 0

    def moment():
        global moments
        moments += 1
        if moments == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    replace = os.replace
    def replacing(*args):
        moment()  # before each file of the search is put in its place
        replace(*args)
    os.replace = replacing

    def run(settings, folder):
        state = folder / "state" / "epochs"
        state.parent.mkdir(parents=True, exist_ok=True)
        for epoch in range(len(state.read_text()) if state.exists() else 0, 3):
            with open(sys.argv[3], "a") as log:
                print(settings["x"], epoch, file=log)
            with open(state, "a") as file:
                file.write("x")
            moment()
        return {"loss": (settings["x"] - 1) ** 2}

    trials = tune(
        run, lambda hp: {"x": hp.Float("x", -2.0, 2.0)}, num_trials=4, folder=sys.argv[1], objective="loss", seed=5
    )
    print("END", json.dumps([(t.settings, t.score) for t in trials]), moments)
"""


def search_killed_at(script, folder, moment):
    """Run the search in a process that kills itself at that moment; what it said last, or None."""
    done = subprocess.run(
        [sys.executable, script, folder, str(moment), folder.with_suffix(".log")], capture_output=True, text=True
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.stdout.split("END ")[1] if done.returncode == 0 else None


@pytest.mark.slow
def test_killed_at_many_moments_it_ends_as_if_it_had_not_been(tmp_path):
    script = tmp_path / "search.py"
    script.write_text(textwrap.dedent(KILLED))
    trials, moments = search_killed_at(script, tmp_path / "straight", 0).rsplit(" ", 1)
    epochs = (tmp_path / "straight.log").read_text()
    moments = int(moments)
    assert moments > 40
    for moment in range(1, moments, 7):
        folder = tmp_path / f"killed_{moment}"
        assert search_killed_at(script, folder, moment) is None
        assert search_killed_at(script, folder, 0).rsplit(" ", 1)[0] == trials
        # The one that was running went on after its last epoch: none was trained twice.
        assert folder.with_suffix(".log").read_text() == epochs


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "ant.jpg").write_bytes(b"a picture")
    with pytest.raises(UserError, match=r"photos' is not empty \(it holds ant.jpg\) and holds no search"):
        tune(
            lambda settings, folder: {"loss": 0.0},
            lambda hp: {"x": hp.Float("x", 0.0, 1.0)},
            num_trials=1,
            folder=tmp_path / "photos",
            objective="loss",
            seed=0,
        )
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["ant.jpg"]
