"""Name the class of texts: given as words, in files, or on standard input.

Each argument is a text: "where is my order". `--file` reads files: a .txt file is one text, of a table (.csv, .tsv,
.jsonl) every row is one. Without either, each line of standard input is a text, and is answered as it comes.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import keras
from rich.console import Console
from rich.table import Column, Table

from tlkit.data import iterate_texts
from tlkit.distribution import leave_to_chief
from tlkit.errors import UserError, exit_on_user_error
from tlkit.settings import load_config

from .config import Config
from .evaluate import BATCH_SIZE, find_run, load_class_names, predict_texts
from .model import load_classifier

SHOWN = 200  # characters of a text in the table; the model reads all of it


class Prediction(NamedTuple):
    """What the model says about one text."""

    text: str
    class_name: str
    probability: float


def predict(
    model: keras.Model, class_names: list[str], texts: Iterable[str], batch_size: int = BATCH_SIZE
) -> Iterator[Prediction]:
    """One prediction for every text, in order, also for an empty one; no more than a batch is in memory."""
    # From a terminal or a pipe in another encoding come bytes that are no text: each is read as a question mark.
    texts = (text.encode(errors="replace").decode() for text in texts)
    while batch := list(islice(texts, batch_size)):
        for text, probabilities in zip(batch, predict_texts(model, batch), strict=True):
            best = int(probabilities.argmax())
            yield Prediction(text, class_names[best], float(probabilities[best]))


def read_files(files: list[Path], text_column: str) -> Iterator[str]:
    """The texts of all files, one after the other."""
    for file in files:
        yield from iterate_texts(file, text_column=text_column)


def as_line(text: str) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 4] + " ..."


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}.predict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="texts; more than one word in quotes")
    parser.add_argument("--file", nargs="+", type=Path, default=[], metavar="FILE", help=".txt, .csv, .tsv or .jsonl")
    parser.add_argument("--run", help="a folder in runs/; without it, the newest")
    flags = parser.parse_args()
    leave_to_chief("Predicting")
    run = find_run(flags.run)
    model, class_names = load_classifier(run / "model.keras"), load_class_names(run)
    if not flags.texts and not flags.file:
        lines = (line.rstrip("\r\n") for line in sys.stdin)
        for prediction in predict(model, class_names, lines, batch_size=1):
            print(f"{prediction.class_name}\t{prediction.probability:.3f}\t{as_line(prediction.text)}", flush=True)
        return
    column = load_config(Config, run / "config.json").text_column
    table = Table(Column("text", overflow="fold"), "class", "probability", title=f"by the model of {run.name}")
    for text, class_name, probability in predict(model, class_names, [*flags.texts, *read_files(flags.file, column)]):
        table.add_row(as_line(text), class_name, f"{probability:.1%}")
    if not table.row_count:
        raise UserError(f"There is no text in {', '.join(map(str, flags.file))}.")
    Console(markup=False, highlight=False).print(table)  # a text may hold square brackets


if __name__ == "__main__":
    with exit_on_user_error():
        main()
