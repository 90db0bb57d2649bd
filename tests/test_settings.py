"""Flags and JSON files of a config dataclass."""

import dataclasses
import json
from typing import Literal

import pytest

from tlkit import UserError
from tlkit.settings import load_config, parse_flags, save_config


@dataclasses.dataclass(frozen=True)
class Config:
    """Some settings."""

    # Where the photos lie.
    data: str = "data"
    # Shares of 100 % in all.
    split: tuple[float, float, float] = (0.7, 0.15, 0.15)
    # Kind of numbers.
    precision: Literal["float32", "mixed_float16"] = "float32"
    # Adam's rate.
    learning_rate: float = 1e-3
    # Photos a step.
    batch_size: int = 32
    # Mirror photos.
    flip: bool = True

    def __post_init__(self):
        if self.batch_size < 1:
            raise UserError(f"The setting 'batch_size' is {self.batch_size}. Expected at least 1 image.")


@dataclasses.dataclass(frozen=True)
class LongerConfig(Config):
    """The same and more."""

    # How many trials.
    trials: int = 10


def test_flags():
    assert parse_flags(Config, []) == Config()
    typed = ["--split", "0.5", "0.2", "0.3", "--flip", "false", "--precision", "mixed_float16", "--learning_rate=1e-4"]
    assert parse_flags(Config, typed) == Config(
        split=(0.5, 0.2, 0.3), flip=False, precision="mixed_float16", learning_rate=1e-4
    )
    assert parse_flags(LongerConfig, ["--trials", "3", "--data", "x"]) == LongerConfig(trials=3, data="x")


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path):
    file = tmp_path / "best.json"
    file.write_text('{"learning_rate": 1, "batch_size": 8, "split": [0.6, 0.2, 0.2]}')
    config = parse_flags(Config, ["--config", str(file), "--batch_size", "16"])
    assert config == Config(learning_rate=1, batch_size=16, split=(0.6, 0.2, 0.2))


def test_round_trip(tmp_path):
    config = Config(data='a "quoted" päth', split=(0.5, 0.25, 0.25), flip=False)
    save_config(config, tmp_path / "config.json")
    assert load_config(Config, tmp_path / "config.json") == config


def test_help_is_the_comments(capsys):
    with pytest.raises(SystemExit) as stop:
        parse_flags(LongerConfig, ["--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for sentence in ("Where the photos lie. (default: data)", "Shares of 100 % in all.", "How many trials."):
        assert sentence in text


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["--btch_size", "3"], "there is no flag '--btch_size'. Did you mean '--batch_size'?"),
        (["--batch-siez", "3"], "there is no flag '--batch_siez'. Did you mean '--batch_size'?"),
        (["photos"], "there is no flag 'photos'."),
        (["--batch_size", "many"], "argument --batch_size: invalid int value: 'many'."),
        (["--precision", "half"], "argument --precision: invalid choice: 'half' (choose from "),
        (["--split", "1", "2"], "argument --split: expected 3 arguments."),
        (["--config"], "argument --config: expected one argument."),
    ],
)
def test_mistakes_in_flags_are_one_sentence(typed, sentence, capsys):
    with pytest.raises(SystemExit) as stop:
        parse_flags(Config, typed)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"Error: {sentence}")
    assert said.endswith("--help' to see every setting.\n")
    assert said.count("\n") == 1


def test_values_out_of_range_are_the_dataclass_own_business():
    with pytest.raises(UserError, match="'batch_size' is 0. Expected at least 1 image"):
        parse_flags(Config, ["--batch_size", "0"])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"lerning_rate": 1}, "names 'lerning_rate', which is no setting here. Did you mean 'learning_rate'?"),
        ({"batch_size": 1.5}, "sets 'batch_size' to 1.5. Expected a value of type int."),
        ({"batch_size": True}, "sets 'batch_size' to True. Expected a value of type int."),
        ({"flip": 1}, "sets 'flip' to 1. Expected a value of type bool."),
        ({"precision": "half"}, "sets 'precision' to 'half'. Expected one of 'float32', 'mixed_float16'."),
        ({"split": [0.5, 0.5]}, "sets 'split' to [0.5, 0.5]. Expected a list of 3 values (float, float, float)."),
        ([1], "must hold one JSON object"),
    ],
)
def test_mistakes_in_files(content, sentence, tmp_path):
    (tmp_path / "c.json").write_text(json.dumps(content))
    with pytest.raises(UserError) as error:
        load_config(Config, tmp_path / "c.json")
    assert sentence in str(error.value)


def test_unreadable_files(tmp_path):
    (tmp_path / "torn.json").write_text('{"batch_size": ')
    with pytest.raises(UserError, match="torn.json' cannot be read as JSON"):
        load_config(Config, tmp_path / "torn.json")
    with pytest.raises(UserError, match="There is no settings file '.*missing.json'. Expected a JSON file"):
        load_config(Config, tmp_path / "missing.json")


def test_hyphens_are_as_good_as_underscores():
    assert parse_flags(Config, ["--batch-size", "4"]) == parse_flags(Config, ["--batch_size", "4"])
    assert parse_flags(Config, ["--learning-rate=1e-4"]) == Config(learning_rate=1e-4)


def test_the_best_settings(tmp_path):
    best = tmp_path / "tuning" / "best.json"
    with pytest.raises(UserError, match=r"There are no best settings yet: no file '.*best\.json'\. Search for them"):
        parse_flags(Config, ["--config", "best"], best=best)
    best.parent.mkdir()
    best.write_text('{"batch_size": 5}')
    assert parse_flags(Config, ["--config", "best"], best=best).batch_size == 5
    with pytest.raises(UserError, match="There is no settings file 'best'"):
        parse_flags(Config, ["--config", "best"])
