"""Search for better settings: every trial trains with other ones; the best are written to tuning/best.json.

Stop it whenever you like, or lose the power: the same command goes on where it stopped. What to search is in
`search_space`. What came of it is in tuning/report.md; `train --config best` trains with the best.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Literal

from tlkit.distribution import check_one_process
from tlkit.errors import exit_on_user_error
from tlkit.settings import parse_flags, save_config
from tlkit.tuning import conclude, tune

from .config import BEST, PROJECT, Config
from .train import train


@dataclasses.dataclass(frozen=True)
class TuneConfig(Config):
    """The recipe's settings, and those of the search. Flags fix what the search space leaves alone."""

    # Sets of settings to try, counting those of earlier calls; about 10 a searched setting is a good night's work.
    trials: int = 10
    # Folder of the search, relative to the project's folder; another search needs another one.
    folder: str = BEST.parent.name
    # How settings are chosen. "random" is hard to beat with few trials; "bayesian" learns from the scores, from about 3
    # trials a setting; "hyperband" trains many a few epochs and goes on with the best third, again and again: for long
    # trainings, since stages that open late are not judged early; "grid" tries every combination.
    algorithm: Literal["random", "bayesian", "hyperband", "grid"] = "random"
    # Trials that run at once on this machine, each with its share of the cores, or a graphics card.
    workers: int = 1
    # HOST:PORT where other machines may ask for trials, such as 0.0.0.0:5000; only in a network that you trust.
    listen: str = ""
    # HOST:PORT of a search that listens on another machine: help it. `folder` must be on a disk that both have.
    chief: str = ""
    # The best three and the defaults are trained again on so many new seeds each, since the best of many is lucky, too;
    # 0 leaves it at that.
    confirm: int = 2


def search_space(hp, config: Config) -> dict:
    """One set of settings, drawn by the search; `hp` is KerasTuner's `HyperParameters`. Names are fields of Config.

    The first trial takes the defaults, the config as it is, so that the search ends at least as well as it began.
    """
    # As many stages as open before the end, and the first of them as late as still leaves the last one an epoch.
    per_stage, last = config.epochs_per_stage, config.epochs - 1
    stages = max(config.stages_to_open, min(3, 1 + (last - config.head_epochs) // per_stage))
    earliest = min(1, config.head_epochs)
    latest = min(2 * config.head_epochs, last - max(stages - 1, 0) * per_stage)
    rate, multiplier = config.learning_rate, "opening_learning_rate_multiplier"
    settings = {
        # A factor of ten either way.
        "learning_rate": hp.Float("learning_rate", 0.1 * rate, 10 * rate, sampling="log", default=rate),
        "layer_decay": hp.Float("layer_decay", 0.1, 1.0, sampling="log", default=config.layer_decay),
        "l2_sp": hp.Choice("l2_sp", sorted({0.0, 1e-3, 1e-2, 1e-1, config.l2_sp}), default=config.l2_sp),
        "stages_to_open": hp.Int("stages_to_open", 0, stages, default=config.stages_to_open),
        "head_epochs": hp.Int("head_epochs", earliest, max(earliest, latest), default=config.head_epochs),
        multiplier: hp.Float(multiplier, 0.01, 1.0, sampling="log", default=config.opening_learning_rate_multiplier),
        "dropout": hp.Float("dropout", 0.0, 0.6, default=config.dropout),
        # A few values only: trials with the same one share the features of closed stages.
        "augmentation": hp.Choice(
            "augmentation", sorted({0.0, 0.5, 1.0, 1.5, config.augmentation}), default=config.augmentation
        ),
    }
    if config.adapts:  # judged without target labels, by `adaptation_monitor`
        weight = config.adaptation_weight
        settings["adaptation_weight"] = hp.Float(
            "adaptation_weight", 0.1 * weight, 10 * weight, sampling="log", default=weight
        )
    return settings


def run_trial(config: Config, settings: dict, folder: Path, epochs: int | None = None) -> dict[str, float]:
    """Train once; returns the best epoch's numbers. Judged on the validation photos: the test photos stay unseen.

    With Hyperband, `epochs` is where this round ends. What lies in `folder` is gone on from: a trial that was killed,
    or the round before.
    """
    # What closed stages make of the photos is kept in `tlkit cache`, for all trials and workers.
    history = train(dataclasses.replace(config, **settings), folder, pause_after=epochs)
    best = {name: min if "loss" in name else max for name in history if name.startswith(("val_", "target_", "source_"))}
    return {name: choose(history[name]) for name, choose in best.items()}


def main() -> None:
    flags = vars(parse_flags(TuneConfig))
    trials, folder, confirm = flags.pop("trials"), PROJECT / flags.pop("folder"), flags.pop("confirm")
    algorithm, workers = flags.pop("algorithm"), flags.pop("workers")
    listen, chief = flags.pop("listen") or None, flags.pop("chief") or None
    config = Config(**flags)
    check_one_process(config.strategy, "A search")
    run, search = functools.partial(run_trial, config), functools.partial(search_space, config=config)
    goal = {"objective": config.best_by["monitor"], "direction": config.best_by["mode"]}
    results = tune(
        run,
        search,
        num_trials=trials,
        folder=folder,
        **goal,
        seed=config.seed,
        algorithm=algorithm,
        max_epochs=config.epochs if algorithm == "hyperband" else None,
        workers=workers,
        listen=listen,
        chief=chief,
        shared_settings=dataclasses.asdict(config),
    )
    seeds = [config.seed + 1 + number for number in range(confirm)]
    best = conclude(run, results, seeds=seeds, folder=folder, **goal, workers=workers)
    # All of the settings, also those that were given as flags: the same training again, for longer.
    save_config(dataclasses.replace(config, **best), folder / BEST.name)
    file = "best" if folder == BEST.parent else folder / BEST.name
    is_new = any(getattr(config, name) != value for name, value in best.items())
    print(f"{'Train with the best' if is_new else 'The defaults stay'}: python -m {__package__}.train --config {file}")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
