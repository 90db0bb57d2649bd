"""The notebooks that stand alone: what is committed was run, and what their text says is so."""

import json
import textwrap
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks/fine_tuning.ipynb"
STAGES = ["stride_2", "stride_4", "stride_8", "stride_16", "stride_32"]

# Part of a cell's source -> what the text around that cell says, as code to run after it.
CLAIMS = {
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
        assert one["stride_2"] > one["stride_32"] and layered["stride_2"] < layered["stride_32"]
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


def outputs_of(cells):
    return [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]


def test_what_is_committed_was_run():
    text = NOTEBOOK.read_text(encoding="utf-8")
    notebook = json.loads(text)
    pytest.importorskip("nbformat").validate(notebook)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = outputs_of(code)
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 11
    assert '"Largest difference of any weight: 0.0\\n"' in text
    assert len(text) < 300_000  # it is stored again with each change
    assert not [place for place in ("/tmp", "/home", "/root", "site-packages", " at 0x") if place in text]


@pytest.mark.slow
def test_it_runs_and_its_text_is_right():
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for part, claim in CLAIMS.items():
        (place,) = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and part in cell.source]
        check = f"STAGES = {STAGES}\n{textwrap.dedent(claim)}"
        notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(check))
    nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3").execute()  # raises what a cell raises
    outputs = outputs_of(notebook.cells)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 11
    said = [output.text for output in outputs if output.get("name") == "stderr"]
    assert not [text for text in said if "Warning" in text]
