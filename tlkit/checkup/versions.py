"""Whether the packages and the template of now are those that the project and its newest run were made with."""

from __future__ import annotations

import importlib.metadata
import json
import tomllib
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

import tlkit
from tlkit.environment import Finding
from tlkit.scaffold import find_template_changes

_PACKAGES = ("tlkit", "tensorflow", "keras", "numpy")  # what decides whether a model computes what it did

_SHOW_UPDATE = "tlkit update --dry-run  # shows what an update would do to which file; nothing is written"


@dataclass(frozen=True)
class VersionFacts:
    """Facts about versions.

    Attributes:
        installed: Package -> version, of those that matter to a model.
        template: That the project was made from; empty where that is not known.
        template_changes: Files that the template makes otherwise now.
        made_with: The version of tlkit that `tlkit new` wrote down; empty where that is gone.
        unmet: Requirements in pyproject.toml that nothing installed meets -> what is installed, or "".
        lost_origin: The folder or wheel that pyproject.toml installs tlkit from, where that is no longer there.
        run: The newest run, relative to the project; empty where there is none.
        of_run: Package -> version that the run was trained with, as far as it says so.
    """

    installed: Mapping[str, str]
    template: str = ""
    template_changes: tuple[str, ...] = ()
    made_with: str = ""
    unmet: Mapping[str, str] | None = None
    lost_origin: str = ""
    run: str = ""
    of_run: Mapping[str, str] | None = None


def look_at_versions(project: Path, made: Mapping[str, str], run: Path | None) -> VersionFacts:
    """Gather the facts; nothing is imported for it.

    Args:
        project: Its folder.
        made: What `tlkit new` wrote about itself and the template.
        run: The newest.
    """
    installed = {"tlkit": tlkit.__version__} | {name: found for name in _PACKAGES[1:] if (found := _installed(name))}
    requirements = _requirements(project / "pyproject.toml")
    return VersionFacts(
        installed=installed,
        template=made.get("template", ""),
        template_changes=find_template_changes(project),
        made_with=made.get("tlkit_version", ""),
        unmet=_unmet(requirements, installed),
        lost_origin=next(filter(None, map(_lost_origin, requirements)), ""),
        run=run.relative_to(project).as_posix() if run else "",
        of_run=read_versions(run) if run else {},
    )


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _requirements(file: Path) -> list[Requirement]:
    try:
        wanted = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {}).get("dependencies", [])
        return [Requirement(text) for text in wanted]
    except (OSError, ValueError, AttributeError, InvalidRequirement):  # the user's own; pip says what is wrong
        return []


def _unmet(requirements: list[Requirement], installed: Mapping[str, str]) -> dict[str, str]:
    unmet = {}
    for wanted in requirements:
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        version = installed.get(wanted.name) or _installed(wanted.name)
        if not version or not wanted.specifier.contains(version, prereleases=True):
            unmet[str(wanted)] = version
    return unmet


def _lost_origin(wanted: Requirement) -> str:
    address = urllib.parse.urlsplit(wanted.url or "")
    if wanted.name != "tlkit" or address.scheme != "file":
        return ""
    path = urllib.request.url2pathname(address.path)
    return "" if Path(path).exists() else path


def read_versions(run: Path) -> dict[str, str]:
    """The versions that a run keeps: in run.json under "versions", and Keras's own in its model."""
    found: dict[str, str] = {}
    try:
        with zipfile.ZipFile(run / "model.keras") as archive:
            found["keras"] = str(json.loads(archive.read("metadata.json"))["keras_version"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):  # none yet, or being written
        pass
    try:
        kept = json.loads((run / "run.json").read_text(encoding="utf-8")).get("versions")
        found |= {name: str(version) for name, version in kept.items() if name in _PACKAGES}
    except (OSError, ValueError, AttributeError):  # older runs have none
        pass
    return found


def judge_versions(facts: VersionFacts) -> list[Finding]:
    """Judge them."""
    return [*_project(facts), *_template(facts), *_unmet_findings(facts), *_run(facts)]


def _project(facts: VersionFacts) -> list[Finding]:
    now, then = facts.installed["tlkit"], facts.made_with
    if not then:
        found, meaning = f"tlkit {now}", "What the project was made with is not known: .tlkit/answers.json is gone."
        return [Finding("made with", found, meaning=meaning)]
    if _minor(now) == _minor(then):
        return [Finding("made with", f"tlkit {then}" + ("" if now == then else f", and {now} is installed"))]
    return [
        Finding(
            "made with",
            f"tlkit {then}, and {now} is installed",
            "warning",
            "The project calls tlkit as it was then; names and defaults may have changed since.",
            (_SHOW_UPDATE,),
        )
    ]


def _template(facts: VersionFacts) -> list[Finding]:
    changed = facts.template_changes
    if not changed:
        return []
    files = f"{len(changed)} file{'s' * (len(changed) != 1)}"
    found = f"{facts.template} makes {files} otherwise now: {', '.join(changed[:3])}{', …' * (len(changed) > 3)}"
    meaning = "What was mended or added there since is not in the project yet; an update keeps what you changed."
    return [Finding("template", found, "warning", meaning, (_SHOW_UPDATE,))]


def _unmet_findings(facts: VersionFacts) -> list[Finding]:
    findings = []
    for wanted, version in (facts.unmet or {}).items():
        found = f"{wanted.partition(' @ ')[0]} is wanted, and {version or 'nothing'} is installed"
        meaning = "What was tried with the one may fail with the other, or compute something else."
        findings.append(Finding("pyproject.toml", found, "problem", meaning, ("pip install -e .",)))
    if facts.lost_origin:
        findings.append(
            Finding(
                "pyproject.toml",
                f"it installs tlkit from {facts.lost_origin}, where there is nothing now",
                "warning",
                "Whoever installs the project, and every new environment, stops there.",
                ("edit pyproject.toml: name where tlkit is to be had",),
            )
        )
    return findings


def _run(facts: VersionFacts) -> list[Finding]:
    if not facts.run:
        return [Finding("newest run", "none with a model yet")]
    of_run = facts.of_run or {}
    drifted = {
        name: version
        for name, version in of_run.items()
        if name in facts.installed and _minor(version) != _minor(facts.installed[name])
    }
    if not of_run:
        return [Finding("newest run", f"{facts.run} says no versions")]
    if not drifted:
        return [Finding("newest run", f"{facts.run}, of {', '.join(f'{n} {v}' for n, v in of_run.items())}")]
    found = ", ".join(f"{name} {version} then and {facts.installed[name]} now" for name, version in drifted.items())
    wishes = " ".join(f"'{name}=={version}'" for name, version in drifted.items())
    return [
        Finding(
            "newest run",
            f"{facts.run}: {found}",
            "warning",
            "Its model may answer a little otherwise than it was judged, and a new run is no fair comparison with it.",
            (f"pip install {wishes}  # or train again: both are then of one make",),
        )
    ]


def _minor(version: str) -> object:
    """What drift is told by: the first two numbers, or all of a version that is none."""
    try:
        return Version(version).release[:2]
    except InvalidVersion:
        return version
