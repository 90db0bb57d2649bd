"""What a source of texts consists of: one table, tables by part, or folders of text files by class."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

from tlkit.data.image_listing import extensions, files_below, some, visible
from tlkit.data.manifest import PART_NAMES
from tlkit.data.texts.tables import TABLE_EXTENSIONS, Document, Source, open_table
from tlkit.data.texts.text_files import open_text_file
from tlkit.errors import UserError, printable

# What tables are kept in besides, and how they become one that is read.
_OTHER_TABLES = {
    ".json": "write one JSON object in each line and name it .jsonl (pandas: to_json(orient='records', lines=True))",
    ".xlsx": "save it as 'CSV UTF-8' in Excel",
    ".xls": "save it as 'CSV UTF-8' in Excel",
    ".ods": "save it as CSV with the character set UTF-8",
    ".parquet": "write it as CSV (pandas: read_parquet and to_csv(index=False))",
    ".gz": "unpack it",
    ".zip": "unpack it",
    ".txt": "name it .csv or .tsv if it is a table with a first line; a file that is one text belongs into a folder "
    "named by its class",
}


class Listed(NamedTuple):
    """The files of a source.

    Attributes:
        sources: One for each file.
        parts: The part each is given to, a value of PART_NAMES; None where the source does not tell.
        is_table: Whether they are tables, not texts.
    """

    sources: list[Source]
    parts: list[str | None]
    is_table: bool


def list_texts(source: Path, *, text_column: str, label_column: str, needs_label: bool = True) -> Listed:
    """Find the files of a source and the columns in each.

    Raises:
        UserError: When it is laid out in none of the ways that `split_texts` names.
    """
    if source.is_dir():
        tables = [entry for entry in visible(source) if entry.is_file() and entry.suffix.lower() in TABLE_EXTENSIONS]
        if not tables:
            return _documents(source, needs_label)
        found = _tables_by_part(source, tables)
    else:
        _check_table(source, text_column, needs_label)
        found = {source: None}
    sources: list[Source] = [
        open_table(path, text_column=text_column, label_column=label_column, needs_label=needs_label) for path in found
    ]
    return Listed(sources, list(found.values()), True)


def _check_table(path: Path, text_column: str, needs_label: bool) -> None:
    if not path.is_file() and not needs_label:
        raise UserError(
            f"There is no file or folder {path}: give a table ({', '.join(TABLE_EXTENSIONS)}) with the column "
            f"{text_column!r}, or a folder of .txt files."
        )
    if not path.is_file():
        raise UserError(
            f"There is no file or folder {path}: give a table ({', '.join(TABLE_EXTENSIONS)}) with the columns text "
            "and label, or a folder that holds one folder of .txt files for each class."
        )
    extension = path.suffix.lower()
    if extension not in TABLE_EXTENSIONS:
        open_text_file(path)  # says what it is, when it is no text
        how = _OTHER_TABLES.get(extension, "name it by what it is")
        raise UserError(f"{path} is none of the tables that are read ({', '.join(TABLE_EXTENSIONS)}): {how}.")


def _tables_by_part(folder: Path, tables: list[Path]) -> dict[Path, str | None]:
    """The tables of a folder: the only one, or those called by the parts."""
    parts = {table: PART_NAMES.get(table.stem.lower()) for table in tables}
    if len(tables) == 1:
        return {tables[0]: None}
    named = {table: part for table, part in parts.items() if part}
    if "train" not in named.values():
        raise UserError(
            f"{folder} holds {some([table.name for table in tables], 'table')}. Expected one, or train, val and test "
            "(train.csv ...); give the file that is meant instead of the folder."
        )
    if len(named) > len(set(named.values())):
        raise UserError(
            f"{folder} has two tables for the same part ({', '.join(table.name for table in named)}): keep one of them."
        )
    others = [table.name for table in tables if table not in named]
    if len(named) == 1:
        raise UserError(
            f"{folder} holds {some([table.name for table in tables], 'table')}. Expected train and another part, val "
            "or test; give the file that is meant instead of the folder."
        )
    if others:
        warnings.warn(f"{some(others, 'table')} in {folder} left out beside those of the parts.", stacklevel=5)
    return dict(named)


# Folders of text files ----------------------------------------------------------------------------


def _documents(folder: Path, needs_label: bool) -> Listed:
    """One text for each .txt file; its class is the folder below the source, or below a part's folder."""
    roots = _roots(folder)
    sources: list[Source] = []
    parts: list[str | None] = []
    classes: dict[str | None, set[str]] = {}
    for part, root in roots.items():
        files = files_below(root)
        texts = [path for path in files if path.suffix.lower() == ".txt"]
        loose = [path.name for path in texts if path.parent == root]
        if needs_label:
            texts = [path for path in texts if path.parent != root]
        labels = {path: path.relative_to(root).parts[0] if path.parent != root else None for path in texts}
        classes[part] = {label for label in labels.values() if label}
        if needs_label:
            _check_classes(root, classes[part], loose, files)
        _warn_of_others(root, [path for path in files if path.suffix.lower() != ".txt"])
        sources += [Document(open_text_file(path), label) for path, label in labels.items()]
        parts += [part] * len(texts)
    if needs_label:
        _require_equal_classes(roots, classes)
    if not sources:
        raise UserError(
            f"{folder} has no texts in it. Expected .txt files, or one table ({', '.join(TABLE_EXTENSIONS)})."
        )
    return Listed(sources, parts, False)


def _roots(folder: Path) -> dict[str | None, Path]:
    """The folders of the parts by name, when `train` and another are among the folders, and the folder itself else."""
    folders = [entry for entry in visible(folder) if entry.is_dir()]
    named = [entry for entry in folders if entry.name.lower() in PART_NAMES]
    parts: dict[str | None, Path] = {PART_NAMES[entry.name.lower()]: entry for entry in named}
    if "train" not in parts:
        if named and len(named) == len(folders):
            raise UserError(
                f"{folder} has {named[0].name}/ but no train/ in it: expected the training texts in train/."
            )
        return {None: folder}
    if len(parts) == 1 and len(folders) > 1:
        return {None: folder}  # a class that happens to be called "train"
    if len(parts) < len(named):
        names = ", ".join(entry.name for entry in named)
        raise UserError(f"{folder} has two folders for the same part ({names}): keep one of them.")
    others = [entry.name for entry in folders if entry not in named]
    if others:
        warnings.warn(f"{some(others, 'folder')} beside {folder / 'train'} left out of the split.", stacklevel=6)
    return parts


def _check_classes(root: Path, classes: set[str], loose: list[str], files: list[Path]) -> None:
    if not classes:
        if loose:
            raise UserError(
                f"{some(loose, 'text')} directly in {root}: expected one folder for each class with the texts inside; "
                "move each into its class folder."
            )
        held = f" ({extensions(files)})" if files else ""
        raise UserError(
            f"{root} has no texts in it{held}. Expected a table ({', '.join(TABLE_EXTENSIONS)}), or one folder of "
            ".txt files for each class."
        )
    empty = [entry.name for entry in visible(root) if entry.is_dir() and entry.name not in classes]
    if empty:
        raise UserError(f"The class folder {root / empty[0]} has no text in it: add .txt files or remove the folder.")
    if loose:
        warnings.warn(f"{some(loose, 'text')} directly in {root}, in no class folder, left out.", stacklevel=6)


def _require_equal_classes(roots: dict[str | None, Path], classes: dict[str | None, set[str]]) -> None:
    first = next(iter(roots))
    train = "train" if "train" in roots else first
    for part, names in classes.items():
        for name in sorted(names ^ classes[train]):
            has, lacks = (part, train) if name in names else (train, part)
            raise UserError(
                f"{roots[has]} has a class {name!r} and {roots[lacks]} has none of that name: expected the same class "
                "folders in both."
            )


def _warn_of_others(root: Path, others: list[Path]) -> None:
    if others:
        warnings.warn(
            f"{len(others)} file{'s' if len(others) > 1 else ''} in {printable(root)} left out, because texts are read "
            f"from .txt files only ({extensions(others)}).",
            stacklevel=6,
        )
