"""Name the class of texts: given as words, in files, or on standard input.

Each argument is a text: "where is my order". `--file` reads files: a .txt file is one text, of a table (.csv, .tsv,
.jsonl) every row is one. Without either, each line of standard input is a text, and is answered as it comes.

On a terminal, texts and files are answered with a table that shows the beginning of each text. Into a file or another
program goes a line for each, as they come: class, probability and the whole text, with tabs between. `--to` writes a
table of its own: all columns of what was read, and beside them the class as `predicted` and its probability as
`confidence`.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain, islice, tee
from pathlib import Path
from typing import NamedTuple

import keras
from rich.console import Console
from rich.table import Column, Table

from tlkit.data import TextRow, iterate_rows, list_columns, write_rows
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
    texts = iter(texts)
    while batch := list(islice(texts, batch_size)):
        for text, probabilities in zip(batch, predict_texts(model, batch), strict=True):
            best = int(probabilities.argmax())
            yield Prediction(text, class_names[best], float(probabilities[best]))


def read_rows(texts: Iterable[str], files: list[Path], text_column: str) -> Iterator[TextRow]:
    """Texts that were typed, and then those of all files with what stands beside them."""
    for text in texts:
        # From a terminal or a pipe in another encoding come bytes that are no text: each is read as a question mark.
        text = text.encode(errors="replace").decode()
        yield TextRow(text, {text_column: text})
    for file in files:
        yield from iterate_rows(file, text_column=text_column)


def write_table(
    file: Path, columns: list[str], rows: Iterable[TextRow], model: keras.Model, class_names: list[str]
) -> int:
    """A CSV table of all rows with what the model says: whole, or not at all; no more than a batch is in memory."""
    rows, again = tee(rows)
    predictions = predict(model, class_names, (row.text for row in again))
    found = (
        row.cells | {"predicted": prediction.class_name, "confidence": f"{prediction.probability:.4f}"}
        for row, prediction in zip(rows, predictions, strict=True)
    )
    return write_rows(file, [*columns, "predicted", "confidence"], found)


def print_lines(predictions: Iterable[Prediction]) -> int:
    """A line for each text, as they come, for another program to read."""
    number = 0
    try:
        for text, class_name, probability in predictions:
            print(f"{class_name}\t{probability:.3f}\t{' '.join(text.split())}", flush=True)
            number += 1
    except BrokenPipeError:  # `| head` has read enough; what Python has not written yet goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return number + 1
    return number


def print_table(predictions: Iterable[Prediction], title: str) -> int:
    """A table to be read on a terminal, with the beginning of each text."""
    table = Table(Column("text", overflow="fold"), "class", "probability", title=title)
    for text, class_name, probability in predictions:
        line = " ".join(text.split())
        table.add_row(line if len(line) <= SHOWN else line[: SHOWN - 4] + " ...", class_name, f"{probability:.1%}")
    if table.row_count:
        Console(markup=False, highlight=False).print(table)  # a text may hold square brackets
    return table.row_count


def parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}.predict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="texts; more than one word in quotes")
    parser.add_argument("--file", nargs="+", type=Path, default=[], metavar="FILE", help=".txt, .csv, .tsv or .jsonl")
    parser.add_argument("--text_column", metavar="NAME", help="the column of the texts; without it, that of the run")
    parser.add_argument("--to", type=Path, metavar="FILE.csv", help="write a table instead of printing")
    parser.add_argument("--run", help="a folder in runs/; without it, the newest")
    return parser.parse_args()


def main() -> None:
    flags = parse_flags()
    leave_to_chief("Predicting")
    run = find_run(flags.run)
    text_column = flags.text_column or load_config(Config, run / "config.json").text_column
    columns = [list_columns(file, text_column=text_column) for file in flags.file] if flags.to else []
    if flags.to and flags.to.resolve() in [file.resolve() for file in flags.file]:
        raise UserError(f"'{flags.to}' is both read and written. Expected another name behind --to.")
    model, class_names = load_classifier(run / "model.keras"), load_class_names(run)
    is_piped = not flags.texts and not flags.file
    texts = (line.rstrip("\r\n") for line in sys.stdin) if is_piped else flags.texts
    rows = read_rows(texts, flags.file, text_column)
    if flags.to:
        typed = [text_column] if is_piped or flags.texts else []
        number = write_table(flags.to, [*dict.fromkeys(chain(typed, *columns))], rows, model, class_names)
        print(f"{number:,} texts in '{flags.to}'")
        return
    predictions = predict(model, class_names, (row.text for row in rows), batch_size=1 if is_piped else BATCH_SIZE)
    if is_piped or not sys.stdout.isatty():
        number = print_lines(predictions)
    else:
        number = print_table(predictions, f"by the model of {run.name}")
    if not number and flags.file:
        raise UserError(f"There is no text in {', '.join(map(str, flags.file))}.")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
