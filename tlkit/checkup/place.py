"""Where a project is, and its own modules for a while."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tlkit.checkup.attempts import one_line, where_in
from tlkit.errors import UserError, printable

_MODULES = ("config.py", "data.py", "model.py")  # what a package must hold to be looked at


@dataclass(frozen=True)
class Place:
    """A project's folder and the name of the package in it.

    Attributes:
        folder: The project, not the package.
        name: Of the package.
        made_with: What `tlkit new` wrote about itself and the template; empty where that is gone.
    """

    folder: Path
    name: str
    made_with: dict[str, str]

    def module(self, file: str) -> str:
        """A file of the package, as it is shown."""
        return f"{self.name}/{file}"


def find_project(folder: Path) -> Place:
    """Find the package of a project.

    Raises:
        UserError: When there is none.
    """
    shown = printable(folder)
    if not folder.is_dir():
        raise UserError(f"There is no folder '{shown}'. Expected a project that `tlkit new` made.")
    root = folder.resolve()
    record = _read_record(root / ".tlkit" / "answers.json")
    found = sorted(path.parent.name for path in root.glob("*/config.py") if _is_package(path.parent))
    name = record.get("name", "")
    if name not in found:
        if len(found) != 1:
            hint = f"Did you mean '{printable(folder.parent if folder.name else root.parent)}'? "
            raise UserError(
                f"'{shown}' is no project of tlkit: {_none_or_several(found)}. Expected a folder that `tlkit new` "
                f"made. {hint if _is_package(root) else ''}Make one with 'tlkit new', or name its folder."
            )
        name = found[0]
    return Place(root, name, record)


def _is_package(folder: Path) -> bool:
    return all((folder / module).is_file() for module in _MODULES)


def _none_or_several(found: list[str]) -> str:
    modules = f"{', '.join(_MODULES[:-1])} and {_MODULES[-1]}"
    if not found:
        return f"no folder in it holds {modules}"
    return f"several folders in it hold {modules} ({', '.join(map(printable, found))})"


def _read_record(file: Path) -> dict[str, str]:
    """Name, template, its version and tlkit's, as far as they are there."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        answers = known.get("answers") or {}
    except (OSError, ValueError, AttributeError):
        return {}
    wanted = {key: known.get(key) for key in ("template", "template_version", "tlkit_version")}
    return {key: str(value) for key, value in (wanted | {"name": answers.get("name")}).items() if value}


@contextlib.contextmanager
def project_modules(place: Place) -> Iterator[Callable[[str], ModuleType]]:
    """Gives a function that imports one of the project's own modules; afterwards they are as if never imported."""

    def ours(name: str) -> bool:
        return name == place.name or name.startswith(f"{place.name}.")

    others = {name: sys.modules.pop(name) for name in [*sys.modules] if ours(name)}  # of an installed namesake
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a look leaves nothing behind
    sys.path.insert(0, str(place.folder))
    importlib.invalidate_caches()
    try:
        yield lambda module: importlib.import_module(f"{place.name}.{module}")
    finally:
        sys.dont_write_bytecode = writes_bytecode
        sys.path.remove(str(place.folder))
        for name in [*sys.modules]:
            if ours(name):
                del sys.modules[name]
        sys.modules.update(others)


def load_settings(place: Place, load: Callable[[str], ModuleType]) -> Any:
    """The project's settings: its `Config` with all its defaults.

    Raises:
        UserError: When config.py cannot be imported, has no `Config`, or refuses a value.
    """
    file = place.folder / place.name / "config.py"
    try:
        config = load("config").Config
    except (Exception, SystemExit) as error:
        raise UserError(
            f"'{printable(file)}' cannot be imported: {one_line(error)}{_at(error, place)}. Expected a module with the "
            f"dataclass `Config`. Mend it there, or take it from the version control."
        ) from error
    try:
        return config()
    except UserError as error:
        raise UserError(f"'{printable(file)}' is refused: {error}") from error
    except (Exception, SystemExit) as error:
        raise UserError(
            f"'{printable(file)}' is refused: {one_line(error)}{_at(error, place)}. Expected that `Config()` works "
            f"with its defaults. Mend it there."
        ) from error


def _at(error: BaseException, place: Place) -> str:
    where = where_in(error, place.folder)
    return f" ({where})" if where else ""
