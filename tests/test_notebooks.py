"""The notebooks that stand alone: what is committed was run, and what their text says is so."""

import importlib.util
import json
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import tlkit

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NUM_PICTURES = {"fine_tuning": 11, "domain_adaptation": 8, "tuning": 6, "detection": 12}
LARGEST = {"detection": 600_000}  # characters, since it is stored again with each change; photos with boxes take many
STAGES = ["stride_2", "stride_4", "stride_8", "stride_16", "stride_32"]

# Part of a cell's source -> what the text around that cell says, as code to run after it.
FINE_TUNING = {
    "class OpenTheBackbone": """
        assert all(stage.is_open for stage in model.get_layer("backbone").stages)
        assert sorted(distance.after) == [1, 2, 3, 4, 5, 6]
        assert all(moved[stage] == 0 for moved in distance.after.values() for stage in STAGES)
        assert all(moved["head"] > 0 for moved in distance.after.values())
    """,
    "unfreezing = ProgressiveUnfreezing(": """
        first_epoch = {"stride_32": 4, "stride_16": 7, "stride_8": 7, "stride_4": 99, "stride_2": 99}
        for epoch, moved in distance.after.items():
            assert all((moved[stage] > 0) == (epoch >= first_epoch[stage]) for stage in STAGES)
    """,
    "curve = find_learning_rate(": """
        assert curve.suggestion is not None
    """,
    "one_rate, one_rate_history": """
        one, layered = one_rate_distances[EPOCHS], layerwise_distances[EPOCHS]
        assert one["stride_4"] > one["stride_32"]
        assert all(layered[low] < layered[high] for low, high in zip(STAGES, STAGES[1:], strict=False))
        assert layerwise_history["val_accuracy"][-1] > one_rate_history["val_accuracy"][-1]
        for name, multiplier in layerwise.optimizer.multipliers.items():
            logged = layerwise_history[f"learning_rate/{name}"]
            assert np.allclose(logged, [multiplier * float(schedule(STEPS * e)) for e in range(1, EPOCHS + 1)])
    """,
    "held, held_history": """
        assert all(held_distances[EPOCHS][stage] < one_rate_distances[EPOCHS][stage] for stage in STAGES)
    """,
    "Largest difference of any weight": """
        assert uninterrupted_history == resumed_history and len(resumed_history["loss"]) == 6
        assert all(np.array_equal(a, b) for a, b in zip(uninterrupted.get_weights(), resumed.get_weights()))
    """,
}

DOMAIN_ADAPTATION = {
    "gap = {": """
        assert gap["scans held out"] > 0.8 and gap["photos"] < 0.65 * gap["scans held out"]
    """,
    "oracle = train_classifier(": """
        assert accuracy(oracle, target_test) > gap["photos"] + 0.2
    """,
    "whole = float(": """
        assert abs(whole - of_scans) < 1e-5 * of_scans
    """,
    'print("DiscriminatorWatch:"': """
        assert accuracy(label_classifier(dann), target_test) > gap["photos"] + 0.15
        assert max(history["val_label_accuracy"][-3:]) > gap["scans held out"] - 0.1
        assert history["reversal_scale"][0] == 0 and 0.25 < history["reversal_scale"][-1] < 0.3
    """,
    "distances = {": """
        assert min(distances.values()) > 1.7
    """,
    "{'score':22}": """
        assert choices["target_information"] > truth.max() - 0.1
        assert choices["target_snd"] < choices["target_information"] - 0.2
    """,
    "careless_accuracy = ": """
        assert {"collapsed", "too strong"} <= {verdict.state for verdict in careless_watch.verdicts}
        assert careless_accuracy < min(gap["photos"] + 0.1, accuracy(label_classifier(dann), target_test) - 0.15)
    """,
    "mcc_accuracy = ": """
        assert mcc_accuracy > max(careless_accuracy, gap["photos"]) + 0.1
    """,
    "comparison = compare_adaptation(": """
        assert comparison.summaries["dann"].difference.mean > 0.1
        assert comparison.summaries["careless dann"].difference.mean < comparison.summaries["dann"].difference.mean
    """,
    "reloaded = keras.models.load_model(": """
        assert abs(accuracy(reloaded, target_test) - choices["target_information"]) < 0.005
    """,
}

TUNING = {
    'write_sample_images("photos")': """
        parts = [{file.path for file in part} for part in data.files[:3]]
        assert [len(part) for part in parts] == [150, 150, 150] and len(set.union(*map(set, parts))) == 450
        assert [list(np.bincount([file.label for file in part])) for part in data.files[:3]] == [[15] * 10] * 3
    """,
    'measure("on features, each further trial"': """
        whole, first, further = (seconds[name] for name in seconds if name != "build the model")
        assert further < first < whole and further < 0.6 * whole
    """,
    "except KeyboardInterrupt:": """
        assert before == 4 * EPOCHS + 6 and len(trained) == before
        assert trained[-1][0].name == "trial_4" and trained[-1][1] == 5
        assert len([*Path("random").glob("trial_*/metrics.json")]) == 4
    """,
    "trials = tune(run, search_space, num_trials=8": """
        begun = [(int(folder.name.removeprefix("trial_")), epoch) for folder, epoch in trained]
        everything = [(trial, epoch) for trial in range(8) for epoch in range(EPOCHS)]
        assert begun[: before - 1] + begun[before:] == everything and begun[before - 1] == begun[before] == (4, 5)
        (fifth,) = [trial for trial in trials if trial.folder.parent.name == "trial_4"]
        known_epochs = len(trained)
        again = run(fifth.settings, Path("never stopped/run"))
        assert abs(again["val_loss"] - fifth.score) < 1e-6
        del trained[known_epochs:]
    """,
    "*shown, worst = trials": """
        assert worst.settings["open_stages"] == 1 and worst.score > 2 > 1.5 * shown[-1].score
        assert worst.settings["learning_rate"] == max(trial.settings["learning_rate"] for trial in trials)
        (first,) = [trial for trial in trials if trial.folder.parent.name == "trial_0"]
        assert first.settings == defaults and trials[0].score < 0.75 * first.score
    """,
    "known = {": """
        drawn = {name: [trial.settings for trial in sorted(found, key=lambda trial: int(trial.folder.parent.name[6:]))]
                 for name, found in searches.items()}
        assert len(drawn["random"]) == len(drawn["bayesian"]) == 11 and len(drawn["hyperband"]) == 13
        assert drawn["random"][:9] == drawn["bayesian"][:9] and drawn["random"][9:] != drawn["bayesian"][9:]
        nine = [trial for trial in searches["hyperband"] if trial.epochs == 1]
        assert sorted(map(str, drawn["random"][:9])) == sorted(str(trial.settings) for trial in nine)
        assert sorted(trial.epochs for trial in searches["hyperband"]) == [1] * 9 + [3] * 3 + [9]
    """,
    "rounds = collections.Counter(": """
        assert spent[-1] == 21 and 11 * EPOCHS == 99  # Hyperband comes last
        assert min(trial.score for trial in searches["hyperband"]) < 0.75 * searches["random"][0].score
        best_of_random = min(searches["random"], key=lambda trial: trial.score)
        dropped = [trial.epochs for trial in searches["hyperband"] if trial.settings == best_of_random.settings]
        assert dropped and max(dropped) < EPOCHS
    """,
    "confirmed = confirm_best(": """
        assert default.settings == defaults and [len(one.scores) for one in confirmed] == [3, 3]
        assert low < difference.mean() < high < -0.1
    """,
    "chosen = conclude(": """
        assert chosen == best.settings and (Path(winner) / "report.md").exists()
    """,
    "test[name] = model.evaluate(": """
        assert test["best"] > test["defaults"] - 0.03 and min(test.values()) > 0.7
    """,
}

DETECTION = {
    "def as_arrays(": """
        assert [len(part) for part in (train, validation, test)] == [200, 50, 50]
        assert (train_truth["labels"] >= 0).sum(axis=1).max() == 5
    """,
    "boxes = {name: rows[[crowded]]": """
        assert [len(rows) for rows in levels.values()] == [256, 64, 16]
        all_targets = detection_targets(train, train_truth)[1]["class"].numpy()
        assert (all_targets[:, :256] >= 0).any() and (all_targets[:, 256:] == -1).all()
        assert (all_targets >= 0).mean() < 0.15
    """,
    "history = fit(look, answer)": """
        assert history["val_map50"][-1] > 0.6 > 0.3 > history["val_map50"][0]
        assert all(tight < loose for tight, loose in zip(history["val_map"], history["val_map50"]))
        assert history["centerness_loss"][-1] > 0.8 * history["centerness_loss"][0]
    """,
    "said = answer.predict(maps": """
        assert sigmoid(before["class"]).max() < 0.05 and digit.max() > 0.6
        assert digit[levels[16]].max() < 0.2 and digit[levels[32]].max() < 0.2
    """,
    "(everything,) = ": """
        sure_ones = [int((rows["scores"] >= 0.3).sum()) for rows in (everything, suppressed)]
        assert sure_ones[0] > 1.5 * sure_ones[1] >= 1.5 * len(keep_surest(suppressed, score_threshold=0.3)["scores"])
    """,
    "thresholds = [": """
        assert min(scores[:6]) > max(scores) - 0.06 and scores[-1] < max(scores) - 0.15
    """,
    "plot_precision_recall(metrics)": """
        assert 0.5 < metrics["map50"] < 0.95
        assert all(20 <= one["num_boxes"] <= 40 for one in metrics["per_class"].values())
    """,
    "kinds = collections.Counter(": """
        assert kinds["right"] + kinds["missed"] == (test_truth["labels"] >= 0).sum() == 147
        assert kinds["right"] > kinds["missed"] > 0 and sum(kinds[name] for name in names) == sum(kinds.values())
    """,
    "random_history = fit(": """
        assert random_metrics["map50"] < metrics["map50"] - 0.3
    """,
    "reloaded = tlkit.load_model(": """
        assert all(np.allclose(a["scores"], b["scores"], atol=1e-4) for a, b in zip(answered, found))
    """,
}

CLAIMS = {
    "fine_tuning": FINE_TUNING,
    "domain_adaptation": DOMAIN_ADAPTATION,
    "tuning": TUNING,
    "detection": DETECTION,
}


def outputs_of(cells):
    return [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]


@pytest.mark.parametrize("name", NUM_PICTURES)
def test_what_is_committed_was_run(name):
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    notebook = json.loads(text)
    pytest.importorskip("nbformat").validate(notebook)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = outputs_of(code)
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == NUM_PICTURES[name]
    assert '"Largest difference of any weight: 0.0\\n"' in text or name != "fine_tuning"
    assert len(text) < LARGEST.get(name, 300_000)
    assert not [place for place in ("/tmp", "/home", "/root", "site-packages", " at 0x") if place in text]


def first_cell(name):
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    return "".join(next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")["source"])


@pytest.mark.parametrize("is_there", [True, False])
def test_the_first_cell_installs_what_is_missing(is_there, monkeypatch):
    (cell,) = {first_cell(name) for name in NUM_PICTURES}
    commands = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if is_there else None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
    exec(cell, {})
    if is_there:
        assert not commands
        return
    ((python, *words, requirement),) = commands
    assert [python, *words] == [sys.executable, "-m", "pip", "install", "--quiet", "--find-links", "."]
    requirement = Requirement(requirement)
    assert requirement.name == "tlkit" and requirement.specifier.contains(tlkit.__version__)
    extras = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"detection", "samples"} == requirement.extras <= set(extras["optional-dependencies"])


@pytest.mark.slow
@pytest.mark.parametrize("name", NUM_PICTURES)
def test_it_runs_and_its_text_is_right(name):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    for part, claim in CLAIMS[name].items():
        (place,) = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and part in cell.source]
        check = f"STAGES = {STAGES}\n{textwrap.dedent(claim)}"
        notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(check))
    nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3").execute()  # raises what a cell raises
    outputs = outputs_of(notebook.cells)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == NUM_PICTURES[name]
    said = [output.text for output in outputs if output.get("name") == "stderr"]
    assert not [text for text in said if "Warning" in text]
