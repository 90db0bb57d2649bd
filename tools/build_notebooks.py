"""Make the notebooks from their percent scripts in `notebooks/`, the single source.

    python tools/build_notebooks.py          writes those that are out of date
    python tools/build_notebooks.py --check  only says which are

A script that has the name of a template makes the template's notebook, `templates/*/project/[[ name ]].ipynb.jinja`.
Any other stands alone: its notebook is written beside it.

A script is plain Python, so that it can be linted and read in a diff; the two things that only a generated project
knows stand in it as the placeholders below. Each cell's id is a hash of its content, so that a change of one cell is a
change of one cell in the diff.

A template's notebook has no outputs. One that stands alone is run and keeps them, since it is read on pages where
nobody runs it. It is up to date when its cells are those of the script. After a change of code it is run anew, after
one of words it is not; to have it run for another reason, delete it first.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import sys
from pathlib import Path

import jupytext
import nbclient
import nbformat
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PLACEHOLDERS = {"my_project": "[[ name ]]", "tlkit-requirement": "[[ tlkit_requirement ]]"}


def build_notebook(script: Path) -> dict:
    """The notebook that a percent script makes, without outputs."""
    notebook = jupytext.read(script, fmt="py:percent")
    seen: dict[str, int] = {}
    cells = []
    for cell in notebook.cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        seen[digest] = seen.get(digest, 0) + 1
        entry = {
            "cell_type": cell.cell_type,
            "id": digest if seen[digest] == 1 else f"{digest}-{seen[digest]}",
            "metadata": {},
            "source": cell.source.splitlines(keepends=True),
        }
        cells.append(entry | ({"execution_count": None, "outputs": []} if cell.cell_type == "code" else {}))
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def text_of(notebook: dict) -> str:
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def template_text(script: Path) -> str:
    """The notebook of a template: what only a project knows is left to be filled in."""
    text = text_of(build_notebook(script))
    if "[[" in text:
        raise SystemExit(f"{script.name} holds '[[', which a template takes for a placeholder: write it otherwise.")
    for placeholder, expression in PLACEHOLDERS.items():
        text = text.replace(placeholder, expression)
    return text


def run_notebook(notebook: dict) -> dict:
    """The same with outputs. What went to stderr is left out: TensorFlow's notes on the machine."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    node = nbformat.reads(text_of(notebook), as_version=4)
    nbclient.NotebookClient(node, timeout=600, kernel_name="python3", record_timing=False).execute()
    for cell in node.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for data in [output.data for output in cell.outputs if "image/png" in output.get("data", {})]:
                data["image/png"] = in_few_colours(data["image/png"])
    run = json.loads(nbformat.writes(node))  # long texts and pictures in lines, as Jupyter writes them
    return run | {"metadata": notebook["metadata"]}  # without the versions of this machine


def in_few_colours(png: str) -> str:
    """A picture in 128 colours, enough for plots and grey photos, and at most half of the bytes."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").quantize(128)
    picture.save(small := io.BytesIO(), "png", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def read_notebook(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"cells": []}


def code_cells(notebook: dict) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def has_same_cells(notebook: dict, other: dict) -> bool:
    cells, others = ([(c["cell_type"], c["source"]) for c in each["cells"]] for each in (notebook, other))
    return cells == others


def with_outputs(notebook: dict, last: dict) -> dict:
    """The notebook with the outputs of its last run, or of a new one where its code has changed."""
    code, old = code_cells(notebook), code_cells(last)
    if [cell["source"] for cell in code] != [cell["source"] for cell in old]:
        return run_notebook(notebook)
    for cell, before in zip(code, old, strict=True):
        cell |= {key: before[key] for key in ("outputs", "execution_count")}
    return notebook


def main() -> None:
    stale, check = [], "--check" in sys.argv
    for script in sorted((ROOT / "notebooks").glob("*.py")):
        project = ROOT / "templates" / script.stem.replace("_", "-") / "project"
        if project.is_dir():
            target, text = project / "[[ name ]].ipynb.jinja", template_text(script)
            is_current = target.exists() and target.read_text(encoding="utf-8") == text
        else:
            target, notebook = script.with_suffix(".ipynb"), build_notebook(script)
            last = read_notebook(target)
            is_current = has_same_cells(notebook, last)
            text = "" if is_current or check else text_of(with_outputs(notebook, last))
        if not is_current:
            stale.append(target.relative_to(ROOT).as_posix())
            if not check:
                target.write_text(text, encoding="utf-8")
    print("\n".join(stale) or "up to date")
    raise SystemExit(bool(stale) and check)


if __name__ == "__main__":
    main()
