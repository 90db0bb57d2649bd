"""The search on functions with a known answer; no model is trained."""

import json

import pytest

from tlkit import UserError
from tlkit.tuning import tune


def draw_x(hp):
    return {"x": hp.Float("x", -2.0, 2.0, default=2.0)}


def square(settings, folder):
    folder.mkdir()
    return {"loss": (settings["x"] - 1.0) ** 2, "other": 7}


def test_ranks_and_starts_with_the_defaults(tmp_path):
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


@pytest.mark.slow
def test_direction(tmp_path):
    def run(settings, folder):
        return {"accuracy": settings["x"], "score_error": settings["x"]}

    up = tune(run, draw_x, num_trials=4, folder=tmp_path / "up", objective="accuracy", seed=0)
    assert up[0].settings["x"] == max(trial.settings["x"] for trial in up) == 2.0
    down = tune(run, draw_x, num_trials=4, folder=tmp_path / "down", objective="accuracy", direction="min", seed=0)
    assert down[-1].settings["x"] == 2.0
    errors = tune(run, draw_x, num_trials=4, folder=tmp_path / "errors", objective="score_error", seed=0)
    assert errors[-1].settings["x"] == 2.0


@pytest.mark.slow
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
    assert calls[2] == calls[3]  # the running one starts anew
    assert "2 trials are done" in capsys.readouterr().out
    assert len(tune(killed_in_the_third, num_trials=12, **search)) == 12
    assert len(calls) == 13
    assert len(tune(killed_in_the_third, num_trials=12, **search)) == 12  # finished: nothing runs
    assert len(calls) == 13


@pytest.mark.slow
def test_failed_trials_are_recorded_and_the_search_goes_on(tmp_path, capsys):
    def run(settings, folder):
        if settings["x"] < 0:
            raise MemoryError("no room")
        if settings["x"] < 0.5:
            return {"loss": float("nan")}
        return {"loss": settings["x"]}

    search = {"num_trials": 12, "folder": tmp_path / "s", "objective": "loss", "seed": 1}
    trials = tune(run, draw_x, **search)
    assert len(trials) == 12
    bad = [trial for trial in trials if trial.settings["x"] < 0.5]
    assert 3 < len(bad) < 12
    assert trials[-len(bad) :] == bad
    for trial in bad:
        assert trial.score is None
        assert trial.failure == (
            "MemoryError: no room" if trial.settings["x"] < 0 else "ArithmeticError: loss became nan"
        )
    assert "failed. MemoryError: no room" in capsys.readouterr().out
    assert tune(run, draw_x, **search) == trials  # the reasons outlive the process


@pytest.mark.slow
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
    with pytest.raises(UserError, match="`num_trials` is 0"):
        tune(square, num_trials=0, objective="loss", **search)
    with pytest.raises(UserError, match="`direction` is 'up'"):
        tune(square, num_trials=1, objective="loss", direction="up", **search)


def test_damaged_search(tmp_path):
    tune(square, draw_x, num_trials=1, folder=tmp_path / "s", objective="loss", seed=1)
    oracle = tmp_path / "s" / "oracle.json"
    oracle.write_text(oracle.read_text()[:40])
    with pytest.raises(UserError, match="is damaged and cannot go on"):
        tune(square, draw_x, num_trials=2, folder=tmp_path / "s", objective="loss", seed=1)


def test_shared_settings_survive_json(tmp_path):
    search = {"search_space": draw_x, "folder": tmp_path / "s", "objective": "loss", "seed": 1}
    for _ in range(2):  # a tuple comes back from JSON as a list, which is no change
        tune(square, num_trials=1, shared_settings={"split": (0.7, 0.3)}, **search)
    assert json.loads((tmp_path / "s" / "search.json").read_text())["split"] == [0.7, 0.3]
