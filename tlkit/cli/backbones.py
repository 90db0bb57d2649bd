"""`tlkit backbones`: the catalogue of well-known models, and what is known of one."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tlkit.backbones.cache import where_cached
from tlkit.backbones.catalog import CatalogEntry, find, load_catalog, most_similar
from tlkit.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

NOT_STATED = "not stated"
_KERASHUB = "kerashub:"
_TITLES = ("kind", "size", "range", "features", "weights", "licence", "open", "offline")
_LEGEND = """
size     pixels of width and height; + takes other sizes, too
range    black and white as the model itself expects them; torch and caffe:
         less ImageNet's mean
weights  without the classifier; * with it, as published
open     stages to open first, of those there are
offline  yes; no: it would be fetched; random: only with weights="random"
-        no public page says it; open: not measured

'tlkit backbones HANDLE' describes one, with the pages its facts were read on."""


def backbones(
    handle: Annotated[
        str | None,
        typer.Argument(
            metavar="HANDLE", help="Describe this one: a handle or a SavedModel folder.", show_default=False
        ),
    ] = None,
    image: Annotated[bool, typer.Option("--image", help="Only models of images.")] = False,
    text: Annotated[bool, typer.Option("--text", help="Only models of texts.")] = False,
    search: Annotated[
        str | None, typer.Option(metavar="WORD", help="Only those with this word in what is known of them.")
    ] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Download HANDLE when it is not on this machine.")] = False,
    preprocessor: Annotated[
        str | None,
        typer.Option(metavar="HANDLE", help="Of an encoder of texts: what turns texts into its inputs."),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load HANDLE even when the scan finds that it reaches outside.")
    ] = False,
    ranking: Annotated[
        bool, typer.Option("--rank", help="Judge all that are on this machine, and HANDLE, on the examples of --data.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(metavar="PATH", help="With --rank: your examples, as 'tlkit new' takes them.")
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option("--also", metavar="HANDLE", help="With --rank: this one, too; again for more.")
    ] = None,
    # With an underscore, too: so are they spelled in projects, and in the errors about a missing column.
    text_column: Annotated[
        str,
        typer.Option("--text-column", "--text_column", metavar="NAME", help="With --rank: the column of the texts."),
    ] = "text",
    label_column: Annotated[
        str,
        typer.Option("--label-column", "--label_column", metavar="NAME", help="With --rank: that of their classes."),
    ] = "label",
    most: Annotated[
        int, typer.Option(metavar="N", min=10, help="With --rank: train on and judge by so many examples at most.")
    ] = 2000,
    to: Annotated[
        str, typer.Option(metavar="FOLDER", help="With --rank: where ranking.csv and ranking.png are written.")
    ] = "ranking",
) -> None:
    """Show the well-known backbones; describe one: its page, a scan, what loading tells; or rank them on your data."""
    from rich.console import Console

    # Lines are never cut or folded: a handle is there to be copied.
    console = Console(markup=False, highlight=False, soft_wrap=True)
    if ranking != (data is not None):
        raise UserError("`--rank` and `--data PATH` go together: examples to judge by.")
    if data is not None:
        from tlkit.cli.rank import rank

        handles = [*([handle] if handle else []), *(also or [])]
        kind: Literal["image", "text"] | None = "image" if image else "text" if text else None
        rank(console, data, handles=handles, kind=kind, columns=(text_column, label_column), most=most, to=to)
    elif handle is None:
        kinds = {kind for kind, wanted in (("image", image), ("text", text)) if wanted} or {"image", "text"}
        _print_list(console, [entry for entry in load_catalog().values() if entry.kind in kinds], search)
    else:
        _print_one(console, handle, fetch=fetch, preprocessor=preprocessor, trust=trust)


# The list -----------------------------------------------------------------------------------------


def _print_list(console: Console, entries: Iterable[CatalogEntry], word: str | None) -> None:
    chosen = [entry for entry in entries if word is None or _mentions(entry, word)]
    if not chosen:
        raise UserError(f"No backbone mentions '{word}'. Run 'tlkit backbones' to see all.")
    cached = [where_cached(entry.handle) for entry in chosen]
    rows = [_cells(entry, path is not None) for entry, path in zip(chosen, cached, strict=True)]
    widths = [max(map(len, column)) for column in zip(_TITLES, *rows, strict=True)]
    console.print("handle", style="bold")
    console.print(_line(_TITLES, widths), style="bold")
    for entry, row, path in zip(chosen, rows, cached, strict=True):
        console.print(entry.handle, style="cyan")
        console.print(_line(row, widths))
        if path and not entry.handle.startswith("tlkit:"):
            console.print(f"  in {path}", style="green")
    console.print(_LEGEND, style="dim")


def _mentions(entry: CatalogEntry, word: str) -> bool:
    facts = (entry.handle, entry.kaggle, entry.languages, entry.licence, entry.note, entry.needs)
    return any(word.lower() in fact.lower() for fact in facts if fact)


def _cells(entry: CatalogEntry, is_cached: bool) -> tuple[str, ...]:
    """One row of the list, in the order of `_TITLES`."""
    size = f"{entry.size} px{'+' if entry.any_size else ''}" if entry.size else None
    weights = None if entry.weights is None else f"{entry.weights / 1e6:.1f} M{'*' * entry.weights_with_classifier}"
    cells = (
        entry.kind,
        size if entry.kind == "image" else "",
        _short_range(entry) if entry.kind == "image" else "",
        None if entry.features is None else f"{entry.features:,}",
        weights,
        entry.licence,
        None if entry.stages is None else f"{entry.stages_to_open} of {entry.stages}",
        "yes" if is_cached else "random" if entry.handle.startswith("keras:") else "no",
    )
    return tuple("-" if cell is None else cell for cell in cells)


def _short_range(entry: CatalogEntry) -> str | None:
    if entry.input_range is None:
        return entry.preprocessing
    black, white = entry.input_range
    return f"{black:g}..{white:g}"


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    return "  " + "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


# One of them --------------------------------------------------------------------------------------


def _print_one(console: Console, handle: str, *, fetch: bool, preprocessor: str | None, trust: bool) -> None:
    entry = find(handle)
    if entry is None:
        _check_is_address(handle)
        console.print(handle, style="bold cyan")
        close = most_similar(handle) if "://" in handle else None
        if "://" in handle:
            console.print(f"  not in the catalogue{f'; did you mean {close} ?' if close else ''}")
    else:
        _print_facts(console, entry, handle)
    is_here = where_cached(handle) is not None
    if handle.startswith(_KERASHUB):
        is_here = pathlib.Path(handle.removeprefix(_KERASHUB)).expanduser().is_dir()
    needs_no_fetching = is_here or ("://" not in handle and not handle.startswith(_KERASHUB))
    first = preprocessor or (entry.preprocessor if entry else None)
    misses_first = first is not None and "://" in first and where_cached(first) is None
    if not fetch and (misses_first or not needs_no_fetching):
        console.print(
            "\nNot on this machine: --fetch downloads it and shows its stages, maps and what a scan finds.", style="dim"
        )
        return
    # Stages and maps are the same with random weights, which need no download.
    weights = "pretrained" if is_here or fetch or not handle.startswith("keras:") else "random"
    _print_loaded(console, handle, weights, preprocessor, trust)


def _print_loaded(console: Console, handle: str, weights: str, preprocessor: str | None, trust: bool) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's notes on this machine would stand in between
    from tlkit.backbones.describe import describe_backbone

    console.print("\nloaded" + (", with random weights" if weights == "random" else ""), style="bold")
    told = describe_backbone(handle, weights=weights, preprocessor=preprocessor, trust=trust)
    width = max(map(len, told))
    for title, sentence in told.items():
        console.print(f"  {title.ljust(width)}  {sentence}")


def _print_facts(console: Console, entry: CatalogEntry, handle: str) -> None:
    """What the public pages say of it, and where it lies; each fact with the page it stands on."""
    console.print(entry.handle, style="bold cyan")
    facts = _facts(entry)
    width = max(map(len, facts))
    for name, (fact, key) in facts.items():
        page = entry.sources.get(key)
        console.print(f"  {name.ljust(width)}  {fact}{f'  ({page})' if page else ''}")
    cached = where_cached(handle)
    console.print(f"  {'cached'.ljust(width)}  {cached or 'no'}", style="green" if cached else None)
    console.print(f"  {'source'.ljust(width)}  {entry.source}")


def _facts(entry: CatalogEntry) -> dict[str, tuple[str, str]]:
    """Name -> the fact in words and its field in the catalogue."""
    facts: dict[str, tuple[str | None, str]] = {"kind": (entry.kind, "kind")}
    if entry.kind == "image":
        facts["image size"] = (_size(entry), "size")
        facts["input range"] = (_range(entry), "input_range")
    else:
        facts["languages"] = (entry.languages, "languages")
        if entry.preprocessor:
            facts["preprocessor"] = (entry.preprocessor, "preprocessor")
        if entry.needs:
            facts["needs"] = (f"the package {entry.needs}", "needs")
    facts["features"] = (None if entry.features is None else f"{entry.features:,}", "features")
    facts["weights"] = (_weights(entry), "weights")
    if entry.kind == "image":
        top1 = None if entry.top1 is None else f"{entry.top1} % of images right, as published"
        facts["ImageNet"] = (top1, "top1")
    facts["licence"] = (entry.licence, "licence")
    facts["fine-tuning"] = ({True: "yes", False: "no", None: None}[entry.fine_tunable], "fine_tunable")
    if entry.stages is not None:
        facts["stages"] = (f"{entry.stages}; open the upper {entry.stages_to_open} first", "stages")
    if entry.note:
        facts["note"] = (entry.note, "note")
    if entry.kaggle:
        facts["on Kaggle"] = (entry.kaggle, "kaggle")
    return {name: (fact or NOT_STATED, key) for name, (fact, key) in facts.items()}


def _size(entry: CatalogEntry) -> str | None:
    if entry.size is None:
        return None
    others = {True: ", or another", False: ", no other", None: ""}[entry.any_size]
    return f"{entry.size} x {entry.size} pixels{others}"


def _range(entry: CatalogEntry) -> str | None:
    ranges = {
        "inside": "the model scales pixels from 0 to 255 itself",
        "tf": "pixels are brought from 0 to 255 to -1 to 1 first",
        "torch": "pixels are brought from 0 to 255 to ImageNet's mean and deviation first",
        "caffe": "pixels from 0 to 255 are put in the order blue, green, red, less the mean color, first",
    }
    if entry.preprocessing:
        return ranges[entry.preprocessing]
    if entry.input_range is None:
        return None
    black, white = entry.input_range
    return f"{black:g} (black) to {white:g} (white)"


def _weights(entry: CatalogEntry) -> str | None:
    if entry.weights is None:
        return None
    if entry.weights_with_classifier:
        return f"about {entry.weights / 1e6:g} million with the classifier"
    exact = entry.weights % 1000 != 0  # published counts are rounded
    return f"{entry.weights:,}" if exact else f"about {entry.weights / 1e6:g} million"


def _check_is_address(handle: str) -> None:
    """Refuse what is neither a folder nor an address, with the handle that was probably meant."""
    if "://" in handle or handle.startswith(_KERASHUB) or pathlib.Path(handle).expanduser().is_dir():
        return
    close = most_similar(handle)
    raise UserError(
        f"There is no backbone '{handle}': it is in no catalogue, no folder and no address."
        f"{f' Did you mean {close!r}?' if close else ''} Run 'tlkit backbones' to see all."
    )
