"""Three-way merges of texts and of notebooks, on small ones."""

import json
import random

import nbformat
import pytest

from tlkit import UserError
from tlkit.scaffold import merging
from tlkit.scaffold.merging import Labels, has_markers, merge_text
from tlkit.scaffold.notebooks import merge_notebook

LABELS = Labels("yours", "template 2")


def merged_text(yours, base, new):
    merged = merge_text(*(text.encode() for text in (yours, base, new)), LABELS, "x.txt")
    return merged.content.decode(), merged.conflicts


@pytest.mark.parametrize(
    ("yours", "base", "new", "merged", "conflicts"),
    [
        ("a\nb\n", "a\nb\n", "a\nc\n", "a\nc\n", ()),
        ("a\nc\n", "a\nb\n", "a\nb\n", "a\nc\n", ()),
        ("A\nb\nc\n", "a\nb\nc\n", "a\nb\nC\n", "A\nb\nC\n", ()),
        ("a\nx\n", "a\nb\n", "a\nx\n", "a\nx\n", ()),  # the same on both sides
        ("a\nb", "a\nb", "a\nc", "a\nc", ()),
        ("", "a\n", "a\n", "", ()),
        ("a\nx\n", "a\nb\n", "a\ny\n", "a\n<<<<<<< yours\nx\n=======\ny\n>>>>>>> template 2\n", (2,)),
        ("x", "b", "y", "<<<<<<< yours\nx\n=======\ny\n>>>>>>> template 2\n", (1,)),
    ],
)
def test_texts(yours, base, new, merged, conflicts):
    assert merged_text(yours, base, new) == (merged, conflicts)


def test_git_that_fails_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "git").write_text("#!/bin/sh\necho 'fatal:\nno luck' >&2\nexit 128\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(UserError) as caught:
        merged_text("a", "b", "c")
    assert str(caught.value) == (
        "'git merge-file' failed on 'x.txt': fatal:\\nno luck. Nothing was changed. Expected a git that works: try "
        "'git --version'."
    )


def test_a_repository_around_it_has_no_word_in_it(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert merged_text("A\nb\nc\n", "a\nb\nc\n", "a\nb\nC\n") == ("A\nb\nC\n", ())


@pytest.mark.parametrize(
    ("text", "is_marked"),
    [
        ("a\n<<<<<<< yours\nx\n=======\ny\n>>>>>>> new\n", True),
        ("<<<<<<< HEAD\r\nx\r\n=======\r\ny\r\n>>>>>>> other\r\n", True),
        ("<<<<<<< a\nx\n||||||| b\nz\n=======\ny\n>>>>>>> c", True),
        ("Title\n=======\n", False),
        ("<<<<<<< a\n>>>>>>> b\n", False),
        (">>>>>>> a\n=======\n<<<<<<< b\n", False),
        ("    <<<<<<< a\n    =======\n    >>>>>>> b\n", False),
    ],
)
def test_conflicts_that_are_left(text, is_marked):
    assert has_markers(text.encode()) == is_marked


def test_line_endings():
    endings = [merging.line_ending(text) for text in (b"a\nb", b"a\r\nb\r\n", b"a\r\nb\n", b"a", b"\0\n")]
    assert endings == [b"\n", b"\r\n", None, None, None]


# Notebooks --------------------------------------------------------------------------------------------------------


def notebook(*cells, minor=5, metadata=None, **ids):
    """Of code cells, of `md:…` markdown cells; ids are letters unless said otherwise."""
    entries = []
    for number, source in enumerate(cells):
        is_markdown = source.startswith("md:")
        entry = {"cell_type": "markdown" if is_markdown else "code", "metadata": {}}
        entry["source"] = source.removeprefix("md:").splitlines(keepends=True)
        if not is_markdown:
            entry |= {"execution_count": None, "outputs": []}
        if minor >= 5:
            entry["id"] = ids.get("ids", "abcdefghijkl")[number]
        entries.append(entry)
    text = json.dumps({"cells": entries, "metadata": metadata or {}, "nbformat": 4, "nbformat_minor": minor})
    return text.encode()


def merged_notebook(yours, base, new):
    merged = merge_notebook(yours, base, new, LABELS, lambda a, b, c: merge_text(a, b, c, LABELS, "x.ipynb"))
    result = json.loads(merged.content)
    nbformat.validate(result)
    return result, merged.conflicts


def merged_sources(yours, base, new):
    result, conflicts = merged_notebook(yours, base, new)
    prefix = {"markdown": "md:", "code": ""}
    return [prefix[cell["cell_type"]] + "".join(cell["source"]) for cell in result["cells"]], conflicts


MARKERS = ["md:<<<<<<< yours", "md:=======", "md:>>>>>>> template 2"]


@pytest.mark.parametrize(
    ("yours", "base", "new", "merged"),
    [
        (["x", "B"], ["x", "b"], ["X", "b"], ["X", "B"]),
        (["a", "mine", "b"], ["a", "b"], ["a", "b", "new"], ["a", "mine", "b", "new"]),
        (["b"], ["a", "b"], ["a", "b", "new"], ["b", "new"]),
        (["b", "a", "c"], ["a", "b", "c"], ["a", "b", "c", "new"], ["b", "a", "c", "new"]),
        (["a\n", "", "\n\n"], ["a", "", "c"], ["a", "", "c"], ["a\n", "", "\n\n"]),
        (["# %% [code] x\n\\# %%", "b"], ["a", "b"], ["a", "B"], ["# %% [code] x\n\\# %%", "B"]),
        (["md:text", "b"], ["text", "b"], ["text", "B"], ["md:text", "B"]),
        (["same", "same", "x"], ["same", "same"], ["same", "same"], ["same", "same", "x"]),
        (["", ""], ["a", "b"], ["a", "b"], ["", ""]),
    ],
)
def test_cells(yours, base, new, merged):
    assert merged_sources(*(notebook(*cells) for cells in (yours, base, new))) == (merged, ())


@pytest.mark.parametrize(
    ("yours", "base", "new", "merged", "conflicts"),
    [
        (["x = 1\ny = 0"], ["x = 0\ny = 0"], ["x = 2\ny = 0"],
         ["<<<<<<< yours\nx = 1\n=======\nx = 2\n>>>>>>> template 2\ny = 0"], (1,)),
        (["a", "mine"], ["a"], ["a", "new"], ["a", MARKERS[0], "mine", MARKERS[1], "new", MARKERS[2]], (2,)),
        (["a"], ["a", "long = 1\nb = 2"], ["a", "long = 1\nb = 3"],
         ["a", MARKERS[0], MARKERS[1], "long = 1\nb = 3", MARKERS[2]], (2,)),
    ],
)  # fmt: skip
def test_conflicts_of_cells(yours, base, new, merged, conflicts):
    assert merged_sources(*(notebook(*cells) for cells in (yours, base, new))) == (merged, conflicts)


def test_notebooks_older_than_ids():
    texts = ("first = 1", "second = 20"), ("first = 1", "second = 2"), ("first = 10", "second = 2")
    yours, base, new = (notebook(*cells, minor=minor) for cells, minor in zip(texts, (4, 5, 5), strict=True))
    result, _ = merged_notebook(yours, base, new)
    assert ["".join(cell["source"]) for cell in result["cells"]] == ["first = 10", "second = 20"]
    assert result["nbformat_minor"] == 5 and len({cell["id"] for cell in result["cells"]}) == 2
    result, _ = merged_notebook(*(notebook(*cells, minor=4) for cells in texts))
    assert result["nbformat_minor"] == 4 and not any("id" in cell for cell in result["cells"])


def test_what_the_notebook_says_of_itself():
    base = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}
    mine = base | {"language_info": {"name": "python", "version": "3.12"}, "mine": 1}
    new = base | {"kernelspec": {"name": "tlkit", "display_name": "tlkit"}, "language_info": {"name": "py"}}
    result, _ = merged_notebook(*(notebook("a", metadata=metadata) for metadata in (mine, base, new)))
    assert result["metadata"] == new | {"language_info": mine["language_info"], "mine": 1}


def randomly_changed(cells, source):
    cells = [list(cell) for cell in cells]
    for _ in range(source.randint(1, 4)):
        action, place = source.choice(["insert", "delete", "edit", "edit", "grow"]), source.randrange(len(cells) + 1)
        word = f"word{source.randrange(10**6)}"
        if action == "insert" or place == len(cells):
            cells.insert(place, [word, f"{word} again"])
        elif action == "delete":
            del cells[place]
        elif action == "edit" and cells[place]:
            cells[place][source.randrange(len(cells[place]))] = word
        else:
            cells[place].append(word)
    return cells


@pytest.mark.parametrize("seed", range(25))
def test_no_new_line_of_either_side_is_lost(seed):
    source = random.Random(seed)
    base = [[f"line {cell} {line}" for line in range(source.randint(0, 4))] for cell in range(5)]
    yours, new = randomly_changed(base, source), randomly_changed(base, source)
    texts = [["\n".join(cell) for cell in cells] for cells in (yours, base, new)]
    merged, _ = merged_sources(*(notebook(*cells) for cells in texts))
    lines = {line for cell in merged for line in cell.splitlines()}
    added = {line for cells in (yours, new) for cell in cells for line in cell if line.startswith("word")}
    assert added <= lines
    kept = {line for cell in yours for line in cell} & {line for cell in new for line in cell}
    assert kept <= lines
