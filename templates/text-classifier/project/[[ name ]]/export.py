"""Write the trained model for use elsewhere, and measure that it answers there as it does here.

A SavedModel that takes strings and answers with class names and probabilities: the tokenizer is inside. It needs
neither tlkit nor this project to run; export.json beside it says what it takes.
"""

import argparse
from pathlib import Path

from tlkit.distribution import leave_to_chief
from tlkit.errors import UserError, exit_on_user_error
from tlkit.export import ExportReport, export_texts_checked
from tlkit.settings import load_config

from .config import Config
from .data import load_datasets
from .evaluate import find_run, load_class_names
from .model import load_classifier

CHECKED = 200  # validation texts, at most, that both models are asked about


def export_run(run: Path, folder: Path) -> ExportReport:
    """Export the run's model into a folder, and ask it and the Keras model about the same validation texts."""
    rows = load_datasets(load_config(Config, run / "config.json")).rows.validation
    spread = range(0, len(rows), max(1, -(-len(rows) // CHECKED)))  # evenly over the data
    return export_texts_checked(
        load_classifier(run / "model.keras"),
        folder,
        class_names=load_class_names(run),
        texts=rows.read(spread),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", help="a folder in runs/; without it, the newest")
    parser.add_argument("--to", type=Path, help="the folder to write; without it, export/ inside the run")
    flags = parser.parse_args()
    leave_to_chief("Exporting a model")
    run = find_run(flags.run)
    folder = flags.to or run / "export"
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"'{folder}' is not empty. Expected a new folder: name one with --to.")
    report = export_run(run, folder)
    print(f"Exported to {folder} ({report.bytes / 1e6:.1f} MB)")
    print(
        f"Compared with the Keras model on {report.agreement.num_examples} validation texts: the same answer to "
        f"{report.agreement.same_answers:.1%}.\nLargest difference of a probability: "
        f"{report.agreement.largest_difference:.1e}, mean difference: {report.agreement.mean_difference:.1e}"
    )
    if not report.agrees:
        raise UserError(
            f"The exported model differs by {report.difference:.3f} from the Keras one. Expected at "
            f"most {report.tolerance}. Train with --precision float32, and export again."
        )


if __name__ == "__main__":
    with exit_on_user_error():
        main()
