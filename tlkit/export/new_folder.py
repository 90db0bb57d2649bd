"""Where a SavedModel is written: a folder of its own, so that nothing of the user's is mixed with it or overwritten."""

from __future__ import annotations

import pathlib

from tlkit.errors import UserError


def check_new_folder(caller: str, folder: pathlib.Path) -> None:
    """Refuse a folder that holds something already.

    Raises:
        UserError: Saying what, on behalf of the public function `caller`.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{caller}: '{folder}' is a file. Expected a new folder.")
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if "saved_model.pb" in held:
        raise UserError(
            f"{caller}: '{folder}' already holds a SavedModel. Expected a new folder. Choose another one or remove it."
        )
    if held:
        shown = ", ".join(held[:3]) + (", …" if len(held) > 3 else "")
        raise UserError(f"{caller}: '{folder}' is not empty (it holds {shown}). Expected a new folder.")
