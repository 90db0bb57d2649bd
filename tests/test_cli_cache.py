"""`tlkit cache`: what it lists, what it deletes, and each mistake word for word."""

import os
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from tlkit import cli
from tlkit.features import FeatureStore


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of two stores: one of 4,000 numbers used long ago, one of 1,000 used now."""
    monkeypatch.setenv("TLKIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "160")
    for name, rows in (("old", 4), ("new", 1)):
        made_of = {"backbone": ["tlkit:mini-image"], "frozen_stages": [["stride_2", "stride_4"]]}
        made_of["data"] = {"part": "train", "fingerprint": "x"}
        store = FeatureStore(
            tmp_path / "cache" / name, num_rows=rows, row_shape=(1000,), precision="float32", made_of=made_of
        )
        store.write(0, np.zeros((rows, 1000)))
    os.utime(tmp_path / "cache" / "old" / "description.json", (0, 86_400))  # 1970
    return tmp_path / "cache"


def run(*arguments, status=0):
    result = CliRunner().invoke(cli.app, ["cache", *arguments])
    assert result.exit_code == status, result.output
    return result


def test_lists_what_there_is(folder):
    said = run().stdout
    # 16,000 bytes of numbers and 4,000, headers of .npy (128 bytes) and the descriptions beside them.
    assert f"Features in {folder}: 2 of 20." in said and "kB, the longest unused first" in said
    rows = [line.split() for line in said.splitlines() if "tlkit:mini-image" in line]
    assert [row[-1] for row in rows] == ["old", "new"]
    assert rows[0][:4] == ["tlkit:mini-image", "stride_4", "train", "4"] and "1970-01-0" in said


def test_an_empty_cache(tmp_path):
    assert run("--folder", str(tmp_path / "none")).stdout == f"Features in {tmp_path / 'none'}: none.\n"


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["--older-than", "30"], ["new"]),
        (["--max-size", "10 kB"], ["new"]),
        (["--max-size", "1GB"], ["new", "old"]),
        (["--all"], []),
    ],
)
def test_deletes_what_was_asked_for(folder, arguments, left):
    said = run("--prune", *arguments).stdout
    assert sorted(path.name for path in folder.iterdir()) == left
    assert f"Left: {len(left)} of" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--prune"],
            "What shall be deleted? Expected '--prune' with '--older-than DAYS', '--max-size SIZE' or '--all'.",
        ),
        (["--all"], "'--all' deletes. Expected '--prune' before it."),
        (["--prune", "--max-size", "much"], "The size is 'much'. Expected a number of bytes, such as 2GB or 500MB."),
    ],
)
def test_mistakes_delete_nothing(folder, arguments, sentence):
    result = run(*arguments, status=1)
    assert sentence in result.stderr
    assert len(list(folder.iterdir())) == 2


def test_needs_no_tensorflow(folder):
    code = "import sys; from tlkit.cli import app; app(['cache'], standalone_mode=False)"
    code += "; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
