"""The backbone that a project is made with: checked as far as that goes without loading it."""

from __future__ import annotations

import os
from pathlib import Path

from tlkit.backbones.catalog import find, most_similar
from tlkit.errors import UserError

_KIND = {"images": "image", "boxes": "image", "texts": "text"}  # data of a template -> what its backbone must read
_USUAL_SIZE = 224  # pixels; what most networks that the catalogue does not know were trained on


def locate_backbone(handle: str, data: str | None, project: Path) -> str:
    """Return the handle as the project's config shall hold it: a folder relative to the project, as the data are.

    Args:
        handle: As `load_backbone` takes it; relative to the current folder when it is one.
        data: The template's kind of data.
        project: The project's folder.

    Raises:
        UserError: When there is no such backbone, or it is one for other data.
    """
    entry = find(handle)
    kind = entry.kind if entry else _kind_of_preset(handle)
    if kind and data in _KIND and kind != _KIND[data]:
        raise UserError(
            f"The backbone '{handle}' reads {kind}s. Expected one for {data}: "
            f"'tlkit backbones --{_KIND[data]}' lists them."
        )
    if handle.startswith("kerashub:"):
        return _located_preset(handle.removeprefix("kerashub:"), project)
    close = most_similar(handle)
    hint = f"Did you mean '{close}'? " if close else ""
    if handle.startswith(("tlkit:", "keras:")):
        if entry:  # the catalogue holds every one that there is
            return handle
        raise UserError(f"There is no backbone '{handle}'. {hint}Run 'tlkit backbones' to see all.")
    if "://" in handle:
        return handle
    if not (Path(handle) / "saved_model.pb").is_file():
        inside = sorted(Path(handle).glob("*/saved_model.pb"))
        if inside:
            hint = f"Did you mean '{inside[0].parent.as_posix()}'? "
        raise UserError(
            f"The backbone '{handle}' is no folder with a SavedModel (no saved_model.pb in it). Expected such a "
            f"folder, or a handle such as 'tlkit:mini-image'. {hint}Run 'tlkit backbones' to see well-known ones."
        )
    return _relative(handle, project)


def _kind_of_preset(handle: str) -> str | None:
    """What a folder of KerasHub's or Hugging Face's reads, by its settings; a mere name tells nothing."""
    settings = Path(handle.removeprefix("kerashub:")) / "config.json"
    if not handle.startswith("kerashub:") or not settings.is_file():
        return None
    known = settings.read_text(encoding="utf-8", errors="replace")
    return "image" if '"image_shape"' in known or '"image_size"' in known else "text"


def _located_preset(preset: str, project: Path) -> str:
    """A preset's name or address as it is, a folder relative to the project."""
    if Path(preset).is_dir():
        return f"kerashub:{_relative(preset, project)}"
    if preset.startswith((".", "/", "~")):
        raise UserError(
            f"There is no folder '{preset}'. Expected one with a model of KerasHub or in the format of Hugging Face, "
            "or the name of a preset, such as 'kerashub:bert_tiny_en_uncased' or 'kerashub:resnet_18_imagenet'."
        )
    return f"kerashub:{preset}"


def _relative(folder: str, project: Path) -> str:
    return Path(os.path.relpath(Path(folder).resolve(), project)).as_posix()


def usual_image_size(handle: str) -> int:
    """Width and height in pixels that a backbone was trained on, as far as the catalogue knows it."""
    entry = find(handle)
    return entry.size if entry and entry.size else _USUAL_SIZE


def is_transformer(handle: str) -> bool:
    """Whether a backbone of texts is a stack of Transformer blocks: every one with a preprocessor, or of KerasHub's."""
    entry = find(handle)
    return handle.startswith("kerashub:") or bool(entry and entry.preprocessor)
