"""Features on disk: what is whole, what is damaged, what is found again and thrown away."""

import errno
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tlkit
from tlkit.features import FeatureStore, cache_folder, list_features, prune_features

VALUES = np.arange(30, dtype="float32").reshape(10, 3) / 4  # exact in every precision


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr("tlkit.features.feature_store._SHARD_ROWS", 4)


def make(folder, precision="float32", **options):
    return FeatureStore(folder, num_rows=10, row_shape=(3,), precision=precision, **options)


def fill(store, shards=(0, 1, 2), values=VALUES):
    for shard in shards:
        store.write(shard, values[store.rows_of(shard).start : store.rows_of(shard).stop])
    return store


@pytest.mark.parametrize(("precision", "row_bytes"), [("float32", 12), ("float16", 6), ("bfloat16", 6)])
def test_rows_are_found_by_number(tmp_path, precision, row_bytes):
    fill(make(tmp_path, precision))
    store = make(tmp_path, precision)  # as another process finds it
    assert store.num_shards == 3 and store.row_bytes == row_bytes and store.num_bytes == 10 * row_bytes
    assert store.missing() == []
    rows = store.read([9, 0, 4, 4, 3])
    np.testing.assert_array_equal(rows.astype("float32"), VALUES[[9, 0, 4, 4, 3]])


def test_precision_is_what_it_is_called(tmp_path):
    # 1 + 1/1024 has ten binary digits after the point: float16 keeps ten, bfloat16 seven.
    for precision, expected in (("float16", 1 + 1 / 1024), ("bfloat16", 1.0)):
        store = FeatureStore(tmp_path / precision, num_rows=1, row_shape=(1,), precision=precision)
        store.write(0, np.array([[1 + 1 / 1024]], "float32"))
        assert float(store.read([0])[0, 0]) == expected


def test_what_is_too_large_for_float16_is_refused(tmp_path):
    large = VALUES * 1e6
    with pytest.raises(tlkit.UserError, match=r"of up to 2.75e\+06 do not fit float16, which ends at 65504"):
        make(tmp_path / "16", "float16").write(0, large[:4])
    store = fill(make(tmp_path / "b16", "bfloat16"), values=large)
    np.testing.assert_allclose(store.read(range(10)).astype("float32"), large, rtol=2**-8)


def test_shards_of_large_rows_are_small(tmp_path):
    store = FeatureStore(tmp_path, num_rows=100, row_shape=(4096, 2048))  # 16 MiB each
    assert store.shard_rows == 4
    monster = FeatureStore(tmp_path / "b", num_rows=3, row_shape=(8192, 8192))
    assert monster.shard_rows == 1


def test_only_what_is_missing_is_listed(tmp_path):
    fill(make(tmp_path), shards=[1])
    assert make(tmp_path).missing() == [0, 2]


def truncate(path):
    path.write_bytes(path.read_bytes()[:-5])


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def empty(path):
    path.write_bytes(b"")


def store_others(path):
    np.save(path, np.zeros((4, 2), "float32"))


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty, store_others])
def test_a_damaged_shard_is_written_again(tmp_path, damage):
    fill(make(tmp_path))
    [path] = tmp_path.glob("00001-*.npy")
    damage(path)
    store = make(tmp_path)
    with pytest.warns(UserWarning, match=r"shard 1 of '.*' was damaged and is computed again\."):
        assert store.missing() == [1]
    assert not path.exists()
    np.testing.assert_array_equal(fill(store, [1]).read(range(10)), VALUES)


def test_two_writers_do_not_harm_each_other(tmp_path):
    """Also when the second one's numbers differ in the last bit, as those of another machine may."""
    stores = [make(tmp_path), make(tmp_path)]
    others = np.nextafter(VALUES, 99, dtype="float32")
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(fill, stores, [(0, 1, 2)] * 2, [VALUES, others]))
    store = make(tmp_path)
    assert store.missing() == []
    np.testing.assert_allclose(store.read(range(10)), VALUES, rtol=1e-6, atol=1e-6)


def test_two_processes_write_one_store(tmp_path):
    lines = [
        "import sys, numpy as np; from tlkit.features import FeatureStore",
        "store = FeatureStore(sys.argv[1], num_rows=3000, row_shape=(50,), precision='float32')",
        "print('ready', flush=True); input()",
        "for s in range(3): store.write(s, np.full((len(store.rows_of(s)), 50), s, 'float32'))",
        "assert 'tensorflow' not in sys.modules",
    ]
    command = [sys.executable, "-c", "\n".join(lines), str(tmp_path / "store")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:  # both at once
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate()[1] or process.wait() for process in processes] == [0, 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tlkit.features.feature_store._SHARD_ROWS", 1024)
        store = FeatureStore(tmp_path / "store", num_rows=3000, row_shape=(50,), precision="float32")
        assert store.missing() == []
        assert store.read([0, 1023, 1024, 2999])[:, 7].tolist() == [0, 0, 1, 2]


def test_a_full_disk_leaves_what_is_complete(tmp_path, monkeypatch):
    store = fill(make(tmp_path), [0])

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(tlkit.UserError, match=r"disk of '.*' is full. Expected room for 72 B more; .* are free"):
            fill(store, [1])
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".npy", ".json"]  # nothing half-written
    again = make(tmp_path)
    assert again.missing() == [1, 2]
    np.testing.assert_array_equal(fill(again, [1, 2]).read(range(10)), VALUES)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(tlkit.UserError, match="cannot be written to .* set TLKIT_CACHE_DIR"):
        make(tmp_path / "file" / "features" / "key")


def test_other_features_in_the_folder_are_an_error(tmp_path):
    fill(make(tmp_path))
    with pytest.raises(tlkit.UserError, match="holds other features. Expected .*'rows': 11"):
        FeatureStore(tmp_path, num_rows=11, row_shape=(3,), precision="float32")
    with pytest.raises(tlkit.UserError, match="Expected one of 'float16', 'bfloat16', 'float32'. Received: .*'int8'"):
        make(tmp_path, "int8")


def test_features_deleted_while_they_are_read_are_an_error(tmp_path):
    store = fill(make(tmp_path / "store"))
    prune_features(tmp_path, max_bytes=0)
    with pytest.raises(tlkit.UserError, match="shard 0 is not in .* only what is missing is computed"):
        store.read([0])


def test_half_written_files_of_a_killed_run_go_after_an_hour(tmp_path):
    store = make(tmp_path)
    old, new = tmp_path / ".00000-old.tmp", tmp_path / ".00000-new.tmp"
    for file, age in ((old, 3700), (new, 3500)):
        file.write_bytes(b"half")
        os.utime(file, (time.time() - age,) * 2)
    store.missing()
    assert (old.exists(), new.exists()) == (False, True)


# The cache as a whole -----------------------------------------------------------------------------


def three_stores(root):
    """Of 120 bytes of rows each, used three, two and one days ago."""
    for days in (1, 3, 2):
        fill(make(root / f"used{days}", made_of={"backbone": ["demo"]}))
        os.utime(root / f"used{days}" / "description.json", (time.time() - days * 86_400 - 60,) * 2)


def names(stores):
    return [store.folder.name for store in stores]


def test_stores_are_listed_with_what_they_are_made_of(tmp_path):
    three_stores(tmp_path)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "description.json").write_text(json.dumps({"title": "not ours"}))
    stores = list_features(tmp_path)
    assert names(stores) == ["used3", "used2", "used1"]
    assert stores[0].made_of == {
        "rows": 10,
        "row_shape": [3],
        "precision": "float32",
        "made_of": {"backbone": ["demo"]},
    }
    assert stores[0].num_bytes == sum(file.stat().st_size for file in stores[0].folder.iterdir()) > 120
    make(tmp_path / "used3")  # opened again: now it is the newest
    assert names(list_features(tmp_path)) == ["used2", "used1", "used3"]


def test_old_stores_are_deleted(tmp_path):
    three_stores(tmp_path)
    assert names(prune_features(tmp_path, max_days=2)) == ["used3", "used2"]
    assert names(list_features(tmp_path)) == ["used1"]


def test_the_longest_unused_go_until_the_rest_is_small_enough(tmp_path):
    three_stores(tmp_path)
    one = list_features(tmp_path)[0].num_bytes
    assert names(prune_features(tmp_path, max_bytes=2 * one)) == ["used3"]
    assert names(prune_features(tmp_path, max_bytes=0)) == ["used2", "used1"]
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_not_ours_stay(tmp_path):
    fill(make(tmp_path / "store"))
    (tmp_path / "store" / "notes.txt").write_text("mine")
    prune_features(tmp_path, max_bytes=0)
    assert [file.name for file in (tmp_path / "store").iterdir()] == ["notes.txt"]


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("TLKIT_CACHE_DIR", str(tmp_path / "chosen"))
    assert cache_folder() == tmp_path / "chosen"
    monkeypatch.delenv("TLKIT_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_folder() == tmp_path / "xdg" / "tlkit" / "features"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_folder() == tmp_path / "local" / "tlkit" / "features"
    assert list_features(tmp_path / "nothing") == []
