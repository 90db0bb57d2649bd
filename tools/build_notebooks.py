"""Make each template's notebook from its percent script in `notebooks/`, the single source.

    python tools/build_notebooks.py          writes templates/*/project/[[ name ]].ipynb.jinja
    python tools/build_notebooks.py --check  only says whether they are up to date

A script is plain Python, so that it can be linted and read in a diff; the two things that only a generated project
knows stand in it as the placeholders below. Outputs are left out, and each cell's id is a hash of its content, so that
a change of one cell is a change of one cell in the diff.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import jupytext

ROOT = Path(__file__).resolve().parents[1]
PLACEHOLDERS = {"my_project": "[[ name ]]", "tlkit-requirement": "[[ tlkit_requirement ]]"}


def build_notebook(script: Path) -> str:
    """The text of the notebook template that a percent script makes."""
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
    content = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    text = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if "[[" in text:
        raise SystemExit(f"{script.name} holds '[[', which a template takes for a placeholder: write it otherwise.")
    for placeholder, expression in PLACEHOLDERS.items():
        text = text.replace(placeholder, expression)
    return text


def notebook_of(script: Path) -> Path:
    """Where the notebook of `notebooks/image_classifier.py` belongs."""
    return ROOT / "templates" / script.stem.replace("_", "-") / "project" / "[[ name ]].ipynb.jinja"


def main() -> None:
    stale = []
    for script in sorted((ROOT / "notebooks").glob("*.py")):
        target, text = notebook_of(script), build_notebook(script)
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            stale.append(target.relative_to(ROOT).as_posix())
            if "--check" not in sys.argv:
                target.write_text(text, encoding="utf-8")
    print("\n".join(stale) or "up to date")
    raise SystemExit(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    main()
