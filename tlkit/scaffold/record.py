"""What a project keeps about how it was made, in its folder `.tlkit`: what an update needs."""

from __future__ import annotations

import io
import json
import stat
import zipfile
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import tlkit
from tlkit.scaffold.rendering import File, Tree, is_unsafe
from tlkit.scaffold.templates import Answer, Template

ANSWERS = ".tlkit/answers.json"
PRISTINE = ".tlkit/pristine.zip"


class Record(NamedTuple):
    """How a project was made, or updated last.

    Attributes:
        template: Its name.
        template_version: Of that time.
        tlkit_version: Of that time.
        answers: What the template was rendered with.
        pristine: Every file as it was rendered.
    """

    template: str
    template_version: str
    tlkit_version: str
    answers: dict[str, Answer]
    pristine: Tree


def keep_record(template: Template, answers: Mapping[str, Answer], tree: Tree) -> Tree:
    """The files of a record; those of the template in one archive, so that no tool takes them for the user's own."""
    record = {"template": template.name, "template_version": template.version, "tlkit_version": tlkit.__version__}
    text = json.dumps(record | {"answers": answers}, indent=2, ensure_ascii=False) + "\n"
    return {ANSWERS: File(text.encode()), PRISTINE: File(pack(tree))}


def pack(tree: Mapping[str, File]) -> bytes:
    """An archive of files; equal trees give equal archives."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path, file in tree.items():
            entry = zipfile.ZipInfo(path)  # dated 1980
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if file.is_executable else 0o644) << 16
            packed.writestr(entry, file.content)
    return archive.getvalue()


def read_record(answers: bytes, pristine: bytes) -> Record:
    """Read what `keep_record` wrote.

    Raises:
        ValueError: When it is damaged; the message says how, in a few words.
    """
    try:
        known = json.loads(answers)
        given = known["answers"]
        template, version, made_with = (known[key] for key in ("template", "template_version", "tlkit_version"))
    except (ValueError, KeyError, TypeError) as error:
        what = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else "it is no JSON of that form"
        raise ValueError(f"{ANSWERS}: {what}") from None
    is_of_form = isinstance(given, dict) and all(isinstance(value, Answer) for value in given.values())
    if not (
        is_of_form
        and isinstance(given.get("name"), str)
        and all(isinstance(text, str) for text in (template, version, made_with))
    ):
        raise ValueError(f"{ANSWERS}: it is no JSON of that form")
    return Record(template, version, made_with, given, _unpack(pristine))


def _unpack(archive: bytes) -> Tree:
    tree: Tree = {}
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            for entry in packed.infolist():
                if is_unsafe(entry.filename):
                    raise ValueError(f"{PRISTINE}: it names '{entry.filename}', outside the project")
                is_executable = bool(entry.external_attr >> 16 & stat.S_IXUSR)
                tree[entry.filename] = File(packed.read(entry), is_executable)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError):
        raise ValueError(f"{PRISTINE}: it is no whole archive") from None
    return tree
