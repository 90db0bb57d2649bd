"""Tell whether adaptation helps: the same training without and with it, with several seeds, judged on the target.

Where the target's held-out texts have labels, they tell the truth; without, label-free scores give a hint.
Stop it whenever you like: the same command goes on where it stopped.
"""

import dataclasses
from pathlib import Path

import keras

from tlkit.data import fingerprint_texts
from tlkit.distribution import check_one_process
from tlkit.domain import AdaptationComparison, compare_adaptation
from tlkit.errors import UserError, exit_on_user_error
from tlkit.ranking import without_training
from tlkit.settings import parse_flags

from .config import PROJECT, Config
from .data import load_datasets, load_target
from .model import ADAPTATIONS, build_encoder, load_classifier
from .train import LABEL_FREE_SCORES, train


@dataclasses.dataclass(frozen=True)
class CompareConfig(Config):
    """The recipe's settings, and three of the comparison."""

    # Methods to compare with no adaptation, with commas between, such as dann,mcc; empty: the setting `adaptation`.
    methods: str = ""
    # How often each is trained, with other seeds: fewer than 3 hardly tell a difference from chance.
    seeds: int = 3
    # Folder of the comparison, relative to the project's folder; other settings need another one.
    folder: str = "comparison"


def compare(config: Config, methods: list[str], seeds: int, folder: Path) -> AdaptationComparison:
    """Train without adaptation and with each of the methods; every finished training is kept in the folder."""
    unknown = [method for method in methods if method not in ADAPTATIONS]
    if unknown or not methods:
        raise UserError(
            f"The methods are '{','.join(methods)}'. Expected some of {', '.join(ADAPTATIONS)}: --methods dann."
        )
    data = load_datasets(config)
    target = load_target(config, data)
    if target is None:
        raise UserError("The setting 'target' is ''. Expected unlabelled texts to adapt to.")

    def train_one(method: str, seed: int, callbacks: list[keras.callbacks.Callback]) -> keras.Model:
        run = folder / f"{method} {seed}".replace(" ", "-")
        adaptation = method if method in ADAPTATIONS else "none"
        train(dataclasses.replace(config, adaptation=adaptation, seed=seed), run, callbacks)
        return load_classifier(run / "model.keras")

    first_row = None  # of the table: a ridge regression on the closed backbone's features, where labels can judge it
    if target.labelled is not None and config.weights == "pretrained":
        first_row = without_training(build_encoder(config), data.train, target.labelled).accuracy
    settings = dataclasses.asdict(dataclasses.replace(config, adaptation="none", seed=0))
    return compare_adaptation(
        train_one,
        methods=methods,
        source_validation=data.validation,
        target=target.held_out,
        target_test=target.labelled,
        seeds=range(config.seed, config.seed + seeds),
        validator=config.adaptation_monitor,
        scores=LABEL_FREE_SCORES,
        folder=folder,
        without_training=first_row,
        fingerprint={**settings, "texts": [fingerprint_texts(part.rows) for part in (data, target)]},
    )


def main() -> None:
    flags = vars(parse_flags(CompareConfig))
    methods, seeds, folder = flags.pop("methods"), flags.pop("seeds"), PROJECT / flags.pop("folder")
    config = Config(**flags)
    check_one_process(config.strategy, "A comparison")
    methods = [name.strip() for name in methods.split(",") if name.strip()] or [config.adaptation]
    comparison = compare(config, methods, seeds, folder)
    comparison.save(folder)
    comparison.print()
    print(f"Numbers and picture: {folder}/adaptation.json, .txt and .png")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
