"""Search for better settings: every trial trains with other ones; the best are written to tuning/best.json.

Stop it whenever you like: the same command goes on where it stopped. What to search is in `search_space`.
"""

import dataclasses
import functools
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tlkit.errors import exit_on_user_error
from tlkit.settings import parse_flags, save_config
from tlkit.tuning import tune

from .config import PROJECT, Config
from .train import train


@dataclasses.dataclass(frozen=True)
class TuneConfig(Config):
    """The recipe's settings, and two of the search. Flags fix what the search space leaves alone."""

    # Sets of settings to try, counting those of earlier calls; about 10 a searched setting is a good night's work.
    trials: int = 10
    # Folder of the search, relative to the project's folder; another search needs another one.
    folder: str = "tuning"


def search_space(hp, config: Config) -> dict:
    """One set of settings, drawn by the search; `hp` is KerasTuner's `HyperParameters`. Names are fields of Config.

    The first trial takes the defaults, the config as it is, so that the search ends at least as well as it began.
    """
    return {
        "learning_rate": hp.Float("learning_rate", 1e-4, 1e-2, sampling="log", default=config.learning_rate),
        "layer_decay": hp.Float("layer_decay", 0.2, 1.0, default=config.layer_decay),
        "stages_to_open": hp.Int("stages_to_open", 0, max(4, config.stages_to_open), default=config.stages_to_open),
        "width": hp.Choice("width", sorted({32, 64, 128, config.width}), default=config.width),
    }


def run_trial(config: Config, settings: dict, folder: Path) -> dict[str, float]:
    """Train once; returns the best epoch's numbers. Judged on the validation images: the test images stay unseen."""
    history = train(dataclasses.replace(config, **settings), folder)
    (folder / "model.keras").unlink()  # a night of models would fill the disk; the best settings train again in no time
    best = {name: min if "loss" in name else max for name in history if name.startswith("val_")}
    return {name: choose(history[name]) for name, choose in best.items()}


def main() -> None:
    flags = vars(parse_flags(TuneConfig))
    trials, folder = flags.pop("trials"), PROJECT / flags.pop("folder")
    config = Config(**flags)
    results = tune(
        functools.partial(run_trial, config),
        functools.partial(search_space, config=config),
        num_trials=trials,
        folder=folder,
        objective=config.best_by["monitor"],
        direction=config.best_by["mode"],
        seed=config.seed,
        shared_settings=dataclasses.asdict(config),
    )
    table = Table(config.best_by["monitor"], *results[0].settings, title="best first")
    for trial in results:
        score = "failed" if trial.score is None else f"{trial.score:.4f}"
        table.add_row(score, *(f"{value:.3g}" for value in trial.settings.values()))
    Console().print(table)
    # All of the settings, also those that were given as flags: the same training again, for longer.
    save_config(dataclasses.replace(config, **results[0].settings), folder / "best.json")
    print(f"Train with the best: python -m {__package__}.train --config {folder / 'best.json'}")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
