"""What is said about a search: confirmed on new seeds, importance, report and pictures."""

import errno
import json
import math
import re
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tlkit import UserError
from tlkit.evaluation import plot_parallel_coordinates, plot_setting_importance, plot_trial_curves
from tlkit.tuning import Confirmed, Trial, conclude, confirm_best, setting_importance
from tlkit.tuning.confirm import verdict
from tlkit.tuning.report import print_trials


@pytest.fixture(autouse=True)
def no_clearing(monkeypatch):
    monkeypatch.setattr(keras.utils, "clear_session", lambda: None)


def trials_in(folder, scores, **settings):
    """Finished trials, best first: x is the number of the trial."""
    made = []
    for number, score in enumerate(scores):
        place = folder / f"trial_{number}" / "run"
        place.mkdir(parents=True)
        given = {"x": number + 1, **{name: values[number] for name, values in settings.items()}}
        made.append(
            Trial(given, score, {} if score is None else {"loss": score}, place, "no room" if score is None else None)
        )
        if score is not None:
            (place / "history.csv").write_text(f"epoch,loss\n0,{score + 1}\n1,{score}\n")
    return sorted(made, key=lambda trial: math.inf if trial.score is None else trial.score)


def test_the_best_are_printed_whole_in_80_columns(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    name, values = "opening_learning_rate_multiplier", [0.03296, 0.01234, 0.5678, 0.00123, 0.7]
    print_trials(trials_in(tmp_path, [0.5, 0.4, 0.2, 0.1, 0.7], **{name: values}), "val_loss")
    lines = [re.split(r"\s*[│┃]\s*", line) for line in capsys.readouterr().out.splitlines()]
    rows = {cells[1]: cells[2:-1] for cells in lines if len(cells) > 1}
    assert rows["trial"] == ["4", "3", "2", "1"]  # the worst, 5, is left to the report
    assert rows["val_loss"] == ["0.1000", "0.2000", "0.4000", "0.5000"]
    assert rows[name] == ["0.00123", "0.5678", "0.01234", "0.03296"]


def test_the_best_three_and_the_defaults_run_on_new_seeds(tmp_path, capsys):
    calls = []

    def run(settings, folder):
        calls.append((settings["x"], settings["seed"]))
        folder.mkdir()
        (folder / "model.keras").touch()
        # Trial 4 was lucky: on other seeds it is the worst; trial 3 is the best.
        return {"loss": {1: 0.5, 2: 0.4, 3: 0.2, 4: 0.9}[settings["x"]] + 0.01 * settings["seed"]}

    trials = trials_in(tmp_path, [0.5, 0.4, 0.2, 0.1, 0.7])
    search = {"seeds": [1, 3], "folder": tmp_path, "objective": "loss", "direction": "min"}
    found = confirm_best(run, trials, **search)
    assert sorted(calls) == [(x, seed) for x in (1, 2, 3, 4) for seed in (1, 3)]
    assert [confirmed.number for confirmed in found] == [3, 2, 1, 4]
    assert found[0].mean == pytest.approx(0.22)
    assert found[0].spread == pytest.approx(0.01 * math.sqrt(2))  # of 0.21 and 0.23
    assert not [*tmp_path.rglob("model.keras")]
    assert confirm_best(run, trials, **search) == found and len(calls) == 8  # it is kept
    assert confirm_best(run, trials, **{**search, "seeds": []}) == []


def test_confirming_goes_on_after_a_kill_and_leaves_out_what_fails(tmp_path, capsys):
    calls = []

    def run(settings, folder):
        calls.append(settings["x"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        if settings["x"] == 2:
            raise MemoryError("no room")
        return {"loss": float(settings["x"])}

    trials = trials_in(tmp_path, [0.3, 0.2, 0.1])
    search = {"seeds": [1], "folder": tmp_path, "objective": "loss", "direction": "min"}
    with pytest.raises(KeyboardInterrupt):
        confirm_best(run, trials, **search)
    assert [confirmed.number for confirmed in confirm_best(run, trials, **search)] == [1, 3]
    assert calls == [3, 2, 2, 1]
    assert "trial_2_seed_1 failed. MemoryError: no room" in capsys.readouterr().out

    def no_room(settings, folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match="The disk is full"):
        confirm_best(no_room, trials, **{**search, "seeds": [2]})


def test_verdicts():
    default = Confirmed(1, {}, [0.5, 0.7])  # 0.6
    assert verdict([Confirmed(4, {}, [0.40, 0.42]), default], "loss") == (
        # By 0.1 and 0.28, so by 0.19 with a spread of 0.18 / sqrt(2).
        "Trial 4 beats the defaults by more than the spread over seeds, 0.1273: loss 0.41 against 0.6, the mean of 2 "
        "new seeds."
    )
    assert verdict([Confirmed(4, {}, [0.5, 0.6]), default], "loss") == (
        # By 0 and 0.1: a spread of 0.1 / sqrt(2).
        "Trial 4 does not beat the defaults by more than the spread over seeds, 0.07071: loss 0.55 against 0.6, "
        "the mean of 2 new seeds. It may be luck."
    )
    assert "keep them" in verdict([default, Confirmed(4, {}, [0.8, 0.9])], "loss")
    assert "0.6, on one new seed. One seed says nothing of chance" in verdict(
        [Confirmed(4, {}, [0.4]), Confirmed(1, {}, [0.6])], "loss"
    )
    assert "nothing was compared" in verdict([Confirmed(4, {}, [0.4])], "loss")


def test_importance():
    # The score is 4 a + b; c is nothing. Variances 16 to 1, so a has nearly all.
    grid = [(a, b, c) for a in range(5) for b in range(5) for c in ("u", "v")]
    trials = [Trial({"b": b, "a": a, "c": c}, 4 * a + b, {}, Path()) for a, b, c in grid]
    shares = setting_importance([*trials, Trial({"a": 9, "b": 9, "c": "u"}, None, {}, Path(), "failed")])
    assert [*shares] == ["a", "b", "c"]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["a"] == pytest.approx(16 / 17, abs=0.05)
    assert shares["c"] < 0.01
    kinds = [
        Trial({"kind": kind, "n": n}, score, {}, Path()) for n in range(9) for kind, score in (("x", 1.0), ("y", 2.0))
    ]
    assert setting_importance(kinds)["kind"] > 0.95
    rounds = [Trial({"a": a}, float(epochs), {}, Path(), epochs=epochs) for a in range(9) for epochs in (1, 3, 9)]
    assert setting_importance(rounds)["epochs"] > 0.95
    assert setting_importance(trials[:3]) == {}
    assert setting_importance([Trial({"a": a}, 1.0, {}, Path()) for a in range(9)]) == {}


def test_the_report(tmp_path, capsys):
    trials = trials_in(tmp_path, [0.5, 0.4, 0.2, None, 0.1], rate=[1e-3, 1e-4, 1e-2, 3e-3, 2e-3])

    def run(settings, folder):
        return {"loss": {1: 0.5, 2: 0.4, 3: 0.2, 5: 0.9}[settings["x"]] + 0.001 * settings["x"] * settings["seed"]}

    best = conclude(run, trials, seeds=[1, 2], folder=tmp_path, objective="loss", direction="min")
    assert best == {"x": 3, "rate": 1e-2}  # not the lucky one
    report = (tmp_path / "report.md").read_text()
    assert "5 trials, of which 1 failed; loss shall be small." in report
    assert "| rate | 0.001 | 0.01 |" in report
    summary = json.loads((tmp_path / "report.json").read_text())
    assert summary.pop("verdict") in report
    assert summary == {"objective": "loss", "direction": "min", "num_trials": 5, "num_failed": 1,
                       "default": {"x": 1, "rate": 1e-3}, "best": {"x": 3, "rate": 1e-2}}  # fmt: skip
    # 0.203 and 0.206 against 0.501 and 0.502: by 0.298 and 0.296.
    assert (
        "Trial 3 beats the defaults by more than the spread over seeds, 0.001414: loss 0.2045 against 0.5015" in report
    )
    assert "| 1, the defaults | 0.5015 | 0.0007071 | 0.501, 0.502 |" in report
    assert "With 4 trials for 2 settings this means little." in report
    assert "| 5 | 0.1000 | 5 | 0.002 |" in report
    assert "- Trial 4 failed: no room" in report
    for picture in ("importance.png", "trials.png", "curves.png"):
        assert f"({picture})" in report
        assert (tmp_path / picture).stat().st_size > 5_000
    said = capsys.readouterr().out
    assert "Trial 3 beats the defaults" in said and f"Report and pictures: {tmp_path / 'report.md'}" in said
    # TensorBoard's HParams, one run a trial that has a score.
    assert {folder.name for folder in (tmp_path / "tensorboard").iterdir()} == {
        "trial_1",
        "trial_2",
        "trial_3",
        "trial_5",
    }
    events = EventAccumulator(str(tmp_path / "tensorboard" / "trial_5")).Reload()
    assert [tf.make_ndarray(event.tensor_proto).item() for event in events.Tensors("loss")] == [pytest.approx(0.1)]
    assert "hparams" in events.summary_metadata["_hparams_/session_start_info"].plugin_data.plugin_name


def test_a_report_without_new_seeds(tmp_path):
    trials = trials_in(tmp_path, [0.5, None])
    best = conclude(None, trials, seeds=[], folder=tmp_path, objective="loss", direction="min")
    assert best == {"x": 1}
    report = (tmp_path / "report.md").read_text()
    assert "The best of 1 was not run again, so a part of its score is luck." in report
    assert "There are too few scores to tell." in report


def texts(figure):
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_text()]


def test_parallel_coordinates():
    settings = [{"rate": 1e-4, "kind": "a"}, {"rate": 1e-2, "kind": "b"}, {"rate": 1e-3, "kind": "a"}]
    figure = plot_parallel_coordinates(settings, [0.3, 0.1, 0.2], objective="loss", lower_is_better=True)
    assert {"rate", "kind", "loss", "0.0001", "0.01", "a", "b", "0.1", "0.3"} <= {*texts(figure)}
    lines = [line.get_ydata() for line in figure.axes[0].lines if len(line.get_ydata()) == 3]
    # Worst first, the best on top; the rate logarithmically, so that 1e-3 is in the middle.
    assert [line.tolist() for line in lines] == [[0, 0, 1], pytest.approx([0.5, 0, 0.5]), [1, 1, 0]]
    assert [line.get_linewidth() for line in figure.axes[0].lines if len(line.get_ydata()) == 3] == [1.0, 1.0, 2.4]
    with pytest.raises(UserError, match="there is no trial"):
        plot_parallel_coordinates([], [], objective="loss", lower_is_better=True)
    plot_parallel_coordinates([{"x": 1}], [2.0], objective="loss", lower_is_better=False).canvas.draw()


def test_curves_and_importance():
    figure = plot_trial_curves({"trial 1": [3.0, 2.0], "trial 2": [1.0]}, objective="loss", best="trial 1")
    assert {"trial 1", "loss of 2 trials"} <= {*texts(figure)}
    figure = plot_setting_importance({"rate": 0.75, "a very long name of a setting, indeed": 0.25})
    assert {" 75 %", " 25 %", "rate"} <= {*texts(figure)}
    for plot in (lambda: plot_trial_curves({}, objective="loss", best=""), lambda: plot_setting_importance({})):
        with pytest.raises(UserError, match="there is no "):
            plot()
