"""`tlkit backbones --rank`: every backbone at hand on the user's own data."""

from __future__ import annotations

import csv
import math
import os
import pathlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from tlkit.backbones.cache import where_cached
from tlkit.backbones.catalog import load_catalog
from tlkit.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from tlkit.backbones import Backbone
    from tlkit.ranking import RankedBackbone

_TABLES = (".csv", ".tsv")
_COLUMNS = ("accuracy", "95 % interval", "in 10 s", "LogME", "LEEP", "ms each", "weights", "features")
_LEGEND = """
accuracy  of a logistic regression on frozen features, on validation examples
in 10 s   the same by class means alone
LogME     evidence of a linear model on the training examples: higher is better
LEEP      likelihood of the classes given what a classifier's own head says; likewise
ms each   forward, in batches of 32, on this machine
Fine-tuning gains more on some backbones than on others: try the best two or three."""


def rank(
    console: Console,
    data: str,
    *,
    handles: Sequence[str],
    kind: Literal["image", "text"] | None,
    columns: tuple[str, str],
    most: int,
    to: str,
) -> None:
    """Judge what is at hand, print the table as it grows, and write ranking.csv and ranking.png."""
    source = pathlib.Path(data).expanduser()
    if not source.exists():
        raise UserError(
            f"There is no file or folder '{data}'. Expected examples of each class, as `tlkit new` takes them."
        )
    kind = kind or _kind_of(source)
    catalog = [entry.handle for entry in load_catalog().values() if entry.kind == kind and where_cached(entry.handle)]
    chosen = [*dict.fromkeys([*handles, *catalog])]
    folder = pathlib.Path(to)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from tlkit.backbones import load_backbone
    from tlkit.ranking import ImageExamples, TextExamples, rank_backbones

    examples: ImageExamples | TextExamples
    if kind == "image":
        examples = ImageExamples(source, most=most, on_corrupt="skip")
    else:
        examples = TextExamples(source, text_column=columns[0], label_column=columns[1], most=most, on_bad="skip")
    train, validation = examples.num_examples
    console.print(
        f"{len(chosen)} backbones on {train:,} training and {validation:,} validation {kind}s of "
        f"{len(examples.class_names)} classes; the test {kind}s stay unseen."
    )
    with console.status("") as status:  # moves on a terminal only

        def load(handle: str) -> Backbone:
            status.update(f"{handle} ({chosen.index(handle) + 1} of {len(chosen)})")
            return load_backbone(handle)

        ranked = rank_backbones(chosen, examples, load=load, say=lambda one: _say(console, one))
    good = [one for one in ranked if one.failure is None]
    if not good:
        raise UserError(f"None of the {len(ranked)} backbones could be judged; the first: {ranked[0].failure}")
    _print_table(console, good)
    _write(folder, ranked, good)
    console.print(f"\nTable and picture: {folder / 'ranking.csv'}, {folder / 'ranking.png'}")
    template = "image-classifier" if kind == "image" else "text-classifier"
    console.print(f"Begin with: tlkit new {template} NAME --data {data} --backbone {good[0].handle}")


def _kind_of(source: pathlib.Path) -> Literal["image", "text"]:
    """By the files that are there; a table of images has the column `file`, and beside images lie notes, too."""
    from tlkit.data.decoding import IMAGE_EXTENSIONS

    files = [path for path in source.rglob("*") if path.is_file()] if source.is_dir() else [source]
    suffixes = {path.suffix.lower() for path in files}
    if suffixes & IMAGE_EXTENSIONS or any(_lists_images(path) for path in files if path.suffix.lower() in _TABLES):
        return "image"
    if suffixes & {".txt", ".jsonl", ".ndjson", *_TABLES}:
        return "text"
    raise UserError(f"'{source}' holds neither images nor texts that are known. Say which: --image or --text.")


def _lists_images(table: pathlib.Path) -> bool:
    with table.open(encoding="utf-8-sig", errors="replace") as file:
        return "file" in re.split(r"[,;\t]", file.readline().strip().lower())


def _say(console: Console, one: RankedBackbone) -> None:
    console.print(f"{one.handle}: {f'{one.accuracy:.1%}' if one.failure is None else f'left out. {one.failure}'}")


def _print_table(console: Console, ranked: Sequence[RankedBackbone]) -> None:
    """Handles stand on lines of their own, as in `tlkit backbones`: they are there to be copied."""
    rows = [
        (
            f"{one.accuracy:.1%}",
            f"{one.interval[0]:.1%} to {one.interval[1]:.1%}",
            f"{one.in_ten_seconds:.1%}",
            f"{one.log_me:.3f}",
            "" if math.isnan(one.leep) else f"{one.leep:.3f}",
            f"{one.milliseconds:.2g}" if one.milliseconds < 100 else f"{one.milliseconds:.0f}",
            f"{one.num_weights / 1e6:.1f} M",
            f"{one.num_features:,}",
        )
        for one in ranked
    ]
    # A column without a cell is left out: few backbones are classifiers, and LEEP is for those.
    columns = [column for column in zip(_COLUMNS, *rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    console.print()
    for place, cells in enumerate(zip(*columns, strict=True)):
        if place:
            console.print(ranked[place - 1].handle, style="cyan")
        line = "  " + "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        console.print(line, style=None if place else "bold")
    missing = set(_COLUMNS) - {column[0] for column in columns}
    legend = [line for line in _LEGEND.splitlines() if line.partition(" ")[0] not in missing]
    console.print("\n".join(legend), style="dim")


def _write(folder: pathlib.Path, ranked: Sequence[RankedBackbone], good: Sequence[RankedBackbone]) -> None:
    from tlkit.evaluation import plot_backbones

    folder.mkdir(parents=True, exist_ok=True)
    _write_table(folder / "ranking.csv", ranked)
    plot_backbones(good).savefig(folder / "ranking.png", dpi=110)


def _write_table(file: pathlib.Path, ranked: Sequence[RankedBackbone]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow([name for name in ranked[0]._fields if name != "interval"] + ["low", "high"])
        for one in ranked:
            values = {name: value for name, value in one._asdict().items() if name != "interval"}
            known = [*values.values(), *one.interval]
            writer.writerow(["" if isinstance(value, float) and math.isnan(value) else value for value in known])
