"""Checkpoints in a folder: whole or not there."""

import errno
import hashlib
import os
import resource
import signal

import numpy as np
import pytest
from ml_dtypes import bfloat16

import tlkit
from tlkit.callbacks.checkpoint_folder import (
    delete_checkpoints,
    list_checkpoints,
    read_newest_checkpoint,
    write_checkpoint,
)


def write(folder, *numbers, keep=2):
    for number in numbers:
        write_checkpoint(folder, number, {"number": number, "values": np.full(1000, number, "float32")}, keep=keep)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def same(a, b):
    if isinstance(a, np.ndarray | np.generic):
        return type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or a != a)


def test_what_is_read_is_what_was_written(tmp_path):
    state = {
        "whole": 3,
        "broken": 0.1,
        "infinite": [float("inf"), -float("inf"), float("nan")],
        "nothing": None,
        "yes": True,
        "text": "ä\n",
        "bytes": b"\x00\xff",
        7: {"a key that is a number": (1, (2, [3]))},
        "arrays": [
            np.arange(6, dtype="float64").reshape(2, 3)[:, ::2],  # with gaps
            np.array([1.5, np.nan], bfloat16),
            np.zeros((0, 3), "int8"),
            np.array(True),
            np.float32(0.1),
        ],
        "empty": [{}, [], ()],
    }
    write_checkpoint(tmp_path, 1, state, keep=2)
    assert same(read_newest_checkpoint(tmp_path), state)


def test_arrays_that_were_read_can_be_written_to(tmp_path):
    write(tmp_path, 1)
    read_newest_checkpoint(tmp_path)["values"][0] = 5


def test_nothing_there(tmp_path):
    assert read_newest_checkpoint(tmp_path / "none") is None
    assert read_newest_checkpoint(tmp_path) is None


def test_the_newest_are_kept(tmp_path):
    write(tmp_path, 1, 2, 9, 10, 100000)
    assert names(tmp_path) == ["epoch_00010", "epoch_100000"]
    assert read_newest_checkpoint(tmp_path)["number"] == 100000
    write(tmp_path, 100001, keep=1)
    assert names(tmp_path) == ["epoch_100001"]


def test_checksums_are_those_of_the_files(tmp_path):
    write(tmp_path, 1)
    folder = tmp_path / "epoch_00001"
    lines = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    assert {name: value for value, name in lines} == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("arrays.bin", "state.json")
    }


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_off(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


@pytest.mark.parametrize("harm", [flip_a_bit, cut_off, empty, os.remove])
@pytest.mark.parametrize("name", ["arrays.bin", "state.json", "SHA256SUMS"])
def test_a_damaged_one_falls_back_to_the_one_before_and_says_so(tmp_path, name, harm):
    write(tmp_path, 1, 2)
    harm(tmp_path / "epoch_00002" / name)
    with pytest.warns(UserWarning, match=r"the checkpoint '.*epoch_00002' is damaged \(.+\); it is passed over"):
        assert read_newest_checkpoint(tmp_path)["number"] == 1
    write(tmp_path, 2)
    assert read_newest_checkpoint(tmp_path)["number"] == 2
    assert names(tmp_path) == ["epoch_00001", "epoch_00002"]


def test_damaged_ones_after_the_one_written_go_away(tmp_path):
    write(tmp_path, 1, 5)
    cut_off(tmp_path / "epoch_00005" / "arrays.bin")
    write(tmp_path, 2)
    assert names(tmp_path) == ["epoch_00001", "epoch_00002"]


def test_all_damaged_is_an_error(tmp_path):
    write(tmp_path, 1, 2)
    for path in list_checkpoints(tmp_path).values():
        flip_a_bit(path / "arrays.bin")
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(tlkit.UserError, match="all 2 checkpoints in .* are damaged. Expected one that is whole"),
    ):
        read_newest_checkpoint(tmp_path)


def test_a_full_disk_leaves_those_before(tmp_path):
    write(tmp_path, 1, 2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))  # bytes a file: half of the values
    try:
        with pytest.raises(OSError) as error:
            write(tmp_path, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.errno == errno.EFBIG
    assert names(tmp_path) == ["epoch_00001", "epoch_00002"]
    assert read_newest_checkpoint(tmp_path)["number"] == 2


@pytest.mark.parametrize("name", ["replace", "fsync", "open", "rename"])
def test_killed_at_any_step_of_the_writing(tmp_path, monkeypatch, name):
    """An exception that nothing catches stands for the kill; what it leaves behind is left."""
    write(tmp_path, 1, 2)
    (tmp_path / ".unfinished_abc").mkdir()
    monkeypatch.setattr("tlkit.callbacks.checkpoint_folder._remove_unfinished", lambda directory: None)
    original, calls = getattr(os, name), 0
    while True:
        with monkeypatch.context() as patch:
            remaining = calls

            def step(*arguments, **options):
                nonlocal remaining
                remaining -= 1
                if remaining < 0:
                    raise KeyboardInterrupt
                return original(*arguments, **options)

            patch.setattr(os, name, step)
            try:
                write(tmp_path, 3)
            except KeyboardInterrupt:
                calls += 1
            else:
                break
        assert read_newest_checkpoint(tmp_path)["number"] in (2, 3)
    assert read_newest_checkpoint(tmp_path)["number"] == 3
    monkeypatch.undo()
    write(tmp_path, 4)
    assert names(tmp_path) == ["epoch_00003", "epoch_00004"]


def test_what_cannot_be_written_is_an_error(tmp_path):
    write(tmp_path, 1)
    with pytest.raises(TypeError, match="a set cannot be written into a checkpoint"):
        write_checkpoint(tmp_path, 2, {"values": {1, 2}}, keep=2)
    assert names(tmp_path) == ["epoch_00001"]


def test_deleting_leaves_what_others_put_there(tmp_path):
    write(tmp_path / "state", 1, 2)
    delete_checkpoints(tmp_path / "state")
    assert not (tmp_path / "state").exists()
    write(tmp_path, 1)
    (tmp_path / "notes.txt").write_text("mine")
    delete_checkpoints(tmp_path)
    assert names(tmp_path) == ["notes.txt"]
