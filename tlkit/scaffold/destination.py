"""Where a project may be made, and what it may be called."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
import unicodedata
from pathlib import Path

from tlkit.errors import UserError

# Folders of every generated project that a package of the same name would collide with.
_PROJECT_FOLDERS = {"data", "runs", "tests", "tuning"}


def check_destination(destination: str | Path) -> str:
    """Return the name of the project that would be made there.

    Raises:
        UserError: When something is there already, or the last part of the path cannot be the name of a package.
    """
    folder = Path(destination).resolve()
    if folder == Path.cwd():
        raise UserError(
            f"The destination '{destination}' is the folder you are in, which would be replaced under your feet. "
            "Go one folder up and give its name."
        )
    if folder.exists() and not folder.is_dir():
        raise UserError(f"The destination '{destination}' is a file. Expected a new folder or an empty one.")
    if folder.exists() and any(folder.iterdir()):
        found = sorted(entry.name for entry in folder.iterdir())
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise UserError(
            f"The destination '{destination}' is not empty (it holds {', '.join(found[:3])}{more}). "
            "Expected a new folder or an empty one, so that nothing of yours is overwritten."
        )
    reason = _unfit_name(folder)
    if reason:
        ascii_name = unicodedata.normalize("NFKD", folder.name).encode("ascii", "ignore").decode()
        fitting = re.sub(r"[^a-z0-9]+", "_", ascii_name.lower()).lstrip("_0123456789").rstrip("_")
        hint = f" Did you mean '{fitting}'?" if fitting and not _unfit_name(folder.with_name(fitting)) else ""
        raise UserError(
            f"'{folder.name}' cannot be the name of a project: {reason}. Expected a name for a Python package, "
            f"such as 'flowers'.{hint}"
        )
    return folder.name


def _unfit_name(folder: Path) -> str:
    """Why the last part of a path is no good name for a package, or nothing."""
    name = folder.name
    if not re.fullmatch(r"[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?", name):
        return "it must begin with a letter, end with a letter or digit, and hold only letters, digits and underscores"
    if keyword.iskeyword(name):
        return "it is a word of the Python language"
    if name in sys.stdlib_module_names:
        return "it is a module of Python's standard library"
    if name in _PROJECT_FOLDERS:
        return f"the project has a folder '{name}' of its own"
    if _is_installed(name, ignoring={folder, Path.cwd() / name}):
        return "a package of that name is installed here, and the project would hide it"
    return ""


def _is_installed(name: str, ignoring: set[Path]) -> bool:
    """Whether `import name` finds something.

    Python takes any folder for a package: those in `ignoring` do not count unless they hold an `__init__.py`.
    """
    spec = importlib.util.find_spec(name)
    if spec is None:
        return False
    return spec.has_location or any(Path(place) not in ignoring for place in spec.submodule_search_locations or [])
