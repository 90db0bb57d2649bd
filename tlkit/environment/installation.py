"""Whether tlkit itself is there in full: the embedded backbones, the templates, the files of the wheel."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.environment.finding import Finding

_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Installation:
    """Facts: names of what is there, and files that the installation lists but the disk does not have."""

    version: str
    folder: str
    backbones: tuple[str, ...]
    templates: tuple[str, ...]
    missing: tuple[str, ...] = ()
    origin: str = ""  # the address that pip installed it from; empty for a package index and where nothing is known
    is_editable: bool = False


def look_at_installation(version: str, package: Path = _PACKAGE) -> Installation:
    """Gather the facts."""
    embedded = package / "backbones" / "embedded"
    templates = next((path for path in (package / "templates", package.parent / "templates") if path.is_dir()), package)
    return Installation(
        version=version,
        folder=str(package),
        backbones=tuple(sorted(path.parent.name.replace("_", "-") for path in embedded.glob("*/saved_model.pb"))),
        templates=tuple(sorted(path.parent.name for path in templates.glob("*/template.toml"))),
        missing=_missing(package),
        **_origin(),
    )


def _origin() -> dict[str, Any]:
    """Where pip had tlkit from: https://packaging.python.org/en/latest/specifications/direct-url/."""
    try:
        text = importlib.metadata.distribution("tlkit").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return {}
    written = json.loads(text) if text else {}
    return {"origin": written.get("url", ""), "is_editable": written.get("dir_info", {}).get("editable", False)}


def _missing(package: Path) -> tuple[str, ...]:
    """Files of an installed wheel that are gone; nothing to compare with in an editable installation."""
    try:
        files = importlib.metadata.files("tlkit") or []
    except importlib.metadata.PackageNotFoundError:
        return ()
    own = [file for file in files if file.parts[:1] == ("tlkit",) and file.suffix != ".pyc"]
    if not any(Path(str(file.locate())).resolve() == package / "__init__.py" for file in own):
        return ()  # another installation's list
    return tuple(str(file) for file in own if not Path(str(file.locate())).exists())


def judge_installation(installation: Installation) -> list[Finding]:
    """Judge whether it is complete."""
    gaps = [*installation.missing[:3]]
    gaps += ["the embedded backbones"] * (not installation.backbones) + ["the templates"] * (not installation.templates)
    found = f"{installation.version} in {installation.folder}"
    if gaps:
        meaning = f"Missing: {', '.join(gaps)}. Install tlkit again, from where you had it."
        return [Finding("tlkit", found, "problem", meaning, _again(installation))]
    names = ", ".join(f"tlkit:{name}" for name in installation.backbones)
    count = len(installation.templates)
    found = f"{found}; {names}; {count} template{'s' * (count != 1)}"
    return [Finding("tlkit", found)]


def _again(installation: Installation) -> tuple[str, ...]:
    if not installation.origin:
        return ()
    if installation.is_editable:
        return (f"pip install --no-deps -e {shlex.quote(installation.origin.removeprefix('file://'))}",)
    return (f"pip install --force-reinstall --no-deps {shlex.quote(f'tlkit @ {installation.origin}')}",)
