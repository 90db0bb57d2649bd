"""Folders of trainings: new ones, and those that were interrupted."""

import dataclasses

from tlkit.callbacks.checkpoint_folder import write_checkpoint
from tlkit.runs import STATE, epochs_so_far, find_interrupted, new_run
from tlkit.settings import save_config


@dataclasses.dataclass(frozen=True)
class Config:
    rate: float = 0.1
    split: tuple[float, float] = (0.5, 0.5)


def make_run(runs, name, config, interrupted):
    (runs / name / STATE if interrupted else runs / name).mkdir(parents=True)
    if config is not None:
        save_config(config, runs / name / "config.json")
    return runs / name


def test_a_new_run_is_new(tmp_path):
    first = new_run(tmp_path)
    assert first.parent == tmp_path and not first.exists()
    first.mkdir()
    assert not new_run(tmp_path).exists()


def test_the_newest_interrupted_run_with_these_settings(tmp_path):
    assert find_interrupted(tmp_path / "none yet", Config()) is None
    make_run(tmp_path, "1", Config(), interrupted=True)
    expected = make_run(tmp_path, "2", Config(), interrupted=True)
    make_run(tmp_path, "3", Config(rate=0.2), interrupted=True)
    make_run(tmp_path, "4", Config(), interrupted=False)
    make_run(tmp_path, "5", None, interrupted=True)
    (tmp_path / "5" / "config.json").write_text('{"rate": 0.')
    assert find_interrupted(tmp_path, Config()) == expected
    assert find_interrupted(tmp_path, Config(rate=0.3)) is None


def test_how_far_a_run_is_that_has_no_end(tmp_path):
    assert epochs_so_far(make_run(tmp_path, "1", Config(), interrupted=False)) is None
    run = make_run(tmp_path, "2", Config(), interrupted=True)
    assert epochs_so_far(run) == 0
    for number in (4, 5):
        write_checkpoint(run / STATE, number, {}, keep=2)
    (run / STATE / ".unfinished_6").mkdir()  # it was being written
    assert epochs_so_far(run) == 5
