"""The installed packages, held against what tlkit itself requires, so that there is no second list to keep."""

from __future__ import annotations

import importlib.metadata
import shlex
import sys
import sysconfig
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from tlkit.environment.finding import Finding

# What breaks when a package is not as required, where its name does not tell.
_WHY = {
    # https://github.com/tensorflow/hub/issues/934, https://github.com/pypa/setuptools/issues/5174
    "setuptools": "tensorflow-hub imports pkg_resources, which is part of setuptools up to 81: without it, no TF-Hub "
    "handle loads.",
    # https://github.com/tensorflow/tensorflow/issues/98980
    "protobuf": "TensorFlow's generated files refuse to load with a protobuf outside of its range.",
    "keras": "tlkit uses a few inner names of Keras, which change with every minor version.",
    "tensorflow": "tlkit uses a few inner names of TensorFlow, which change with every minor version.",
    "tf-keras": "tensorflow-hub imports it, and it must have TensorFlow's minor version.",
    "tensorboard": "keras-tuner imports it.",
}
_HEADLINES = ("tensorflow", "keras", "tensorflow-hub", "numpy")  # named in the table though nothing is wrong


@dataclass(frozen=True)
class Package:
    """An installed package and what it requires."""

    version: str
    requires: tuple[str, ...] = ()


@dataclass(frozen=True)
class Packages:
    """Facts about the installed packages.

    Attributes:
        own: The requirements of tlkit, with the markers of its extras; None where tlkit is not installed.
        installed: The packages by canonical name.
        extras: The extras of tlkit.
        twice: Names that one folder holds in several versions, as an interrupted upgrade leaves them.
        leftovers: What pip renamed to "~…" and could not remove.
        shadows: Files of the working folder that Python imports in the place of a package.
    """

    own: tuple[str, ...] | None
    installed: Mapping[str, Package]
    extras: tuple[str, ...] = ()
    twice: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    shadows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unmet:
    """A requirement that nothing installed meets; `version` is None where the package is missing."""

    name: str
    version: str | None
    wanted: str
    wanted_by: str


@dataclass
class _Walk:
    unmet: list[Unmet] = field(default_factory=list)
    wanted: dict[str, SpecifierSet] = field(default_factory=dict)  # all that is asked of a package together


def _shown(specifiers: SpecifierSet) -> str:
    """Several wishes as one, from … to: of the lower bounds the highest counts, of the upper ones the lowest."""
    lower = [s for s in specifiers if s.operator == ">="]
    upper = [s for s in specifiers if s.operator == "<"]
    rest = sorted(str(s) for s in specifiers if s.operator not in (">=", "<"))
    kept = [max(lower, key=lambda s: Version(s.version))] if lower else []
    kept += [min(upper, key=lambda s: Version(s.version))] if upper else []
    return ",".join([*map(str, kept), *rest])


def look_at_packages(working_folder: Path | None = None) -> Packages:
    """Gather what is installed on this interpreter's path."""
    installed: dict[str, Package] = {}
    twice: set[str] = set()
    leftovers: list[str] = []
    for folder in map(Path, dict.fromkeys(sys.path)):
        here: dict[str, Package] = {}
        for path in sorted((*folder.glob("*.dist-info"), *folder.glob("*.egg-info"))):
            if path.name.startswith("~"):
                leftovers.append(str(path))
                continue
            distribution = importlib.metadata.Distribution.at(path)
            name, version = distribution.metadata["Name"], distribution.metadata["Version"]
            if name is None or version is None:
                continue  # a broken folder, of which Python takes no notice either
            package = Package(version, tuple(distribution.requires or ()))
            if here.setdefault(canonicalize_name(name), package).version != version:
                twice.add(canonicalize_name(name))
        installed = here | installed  # what comes first on the path counts
    tlkit = installed.get("tlkit")
    extras = importlib.metadata.metadata("tlkit").get_all("Provides-Extra") if tlkit else None
    return Packages(
        own=tlkit.requires if tlkit else None,
        installed=installed,
        extras=tuple(extras or ()),
        twice=tuple(sorted(twice)),
        leftovers=tuple(leftovers),
        shadows=_shadows(working_folder or Path(), tlkit.requires if tlkit else ()),
    )


def _shadows(folder: Path, own: Iterable[str]) -> tuple[str, ...]:
    """Files in the working folder that are named like a package tlkit imports: `python -m` looks there first."""
    installed = Path(sysconfig.get_path("purelib"))
    if installed.exists() and installed.samefile(folder):
        return ()  # the packages themselves
    names = {canonicalize_name(requirement.name) for requirement in _parse(own)} - {"setuptools"}
    modules = {name.replace("-", "_") for name in names} | {"sklearn", "PIL"}
    found = (folder / f"{module}.py" for module in sorted(modules))
    packages = (folder / module / "__init__.py" for module in sorted(modules))
    return tuple(str(path.relative_to(folder)) for path in (*found, *packages) if path.is_file())


def _parse(requirements: Iterable[str], extras: Iterable[str] = ()) -> list[Requirement]:
    """The requirements that hold here, with the given extras."""
    parsed = []
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # somebody else's metadata
        environments = [{"extra": extra} for extra in ("", *extras)]
        if requirement.marker is None or any(map(requirement.marker.evaluate, environments)):
            parsed.append(requirement)
    return parsed


def _is_met(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return True  # a version that cannot be compared is not called wrong


def _walk(packages: Packages, start: Iterable[str], wanted_by: str, extras: Iterable[str] = ()) -> _Walk:
    """Follow requirements through what is installed, each package once for each set of extras."""
    walk = _Walk()
    queue = deque([(wanted_by, requirement) for requirement in _parse(start, extras)])
    visited = set()
    while queue:
        parent, requirement = queue.popleft()
        name = canonicalize_name(requirement.name)
        walk.wanted[name] = walk.wanted.get(name, SpecifierSet()) & requirement.specifier
        package = packages.installed.get(name)
        if package is None or not _is_met(requirement, package.version):
            version = package.version if package else None
            walk.unmet.append(Unmet(name, version, f"{name}{_shown(requirement.specifier)}", parent))
        key = (name, frozenset(requirement.extras))
        if package is not None and key not in visited:
            visited.add(key)
            queue.extend((name, child) for child in _parse(package.requires, requirement.extras))
    return walk


def unmet_of_extra(packages: Packages, extra: str) -> list[Unmet]:
    """What an extra of tlkit wants, directly or not, beyond what tlkit does, and nothing installed meets."""
    base = {(unmet.name, unmet.wanted) for unmet in _walk(packages, packages.own or (), "tlkit").unmet}
    unmet = _walk(packages, packages.own or (), "tlkit", [extra]).unmet
    return [item for item in unmet if (item.name, item.wanted) not in base]


def missing_of_extra(packages: Packages, extra: str) -> list[str]:
    """What an extra of tlkit still wants, such as the CUDA libraries of `tlkit[gpu]`."""
    return sorted({item.name for item in unmet_of_extra(packages, extra)})


def wishes_of_extra(packages: Packages, extra: str) -> list[str]:
    """The requirements of an extra as pip takes them, such as `tensorflow[and-cuda]>=2.21,<2.22`.

    `pip install --upgrade 'tlkit[gpu]'` would look for tlkit itself among published packages; these do not.
    """
    base = {str(requirement) for requirement in _parse(packages.own or ())}
    wishes = [requirement for requirement in _parse(packages.own or (), [extra]) if str(requirement) not in base]
    return [
        f"{item.name}[{','.join(sorted(item.extras))}]".replace("[]", "") + _shown(item.specifier) for item in wishes
    ]


def missing_packages(packages: Packages, names: Iterable[str] = ()) -> list[str]:
    """What tlkit requires, directly or not, and is not installed; of `names` only, where they are given."""
    missing = {unmet.name for unmet in _walk(packages, packages.own or (), "tlkit").unmet if unmet.version is None}
    return sorted(missing & set(names) if names else missing)


def own_wish(packages: Packages, name: str) -> str:
    """Everything that is asked of a package together, as pip takes it: `tensorflow>=2.21,<2.22`."""
    wanted = _walk(packages, packages.own or (), "tlkit").wanted
    return f"{name}{_shown(wanted.get(name, SpecifierSet()))}"


def install_command(requirements: Iterable[str], options: str = "") -> str:
    """The command that installs `requirements`."""
    return " ".join(filter(None, ("pip install", options, *map(shlex.quote, requirements))))


def judge_packages(packages: Packages) -> list[Finding]:
    """Hold what is installed against tlkit's requirements and, through them, everybody's."""
    if packages.own is None:
        meaning = "tlkit runs from a folder without being installed, so that its requirements are not known."
        return [Finding("packages", "tlkit is not installed", "warning", meaning, ("pip install -e .",))]
    walk = _walk(packages, packages.own, "tlkit")
    missing = sorted({unmet.name for unmet in walk.unmet if unmet.version is None})
    findings = []
    if missing:
        findings.append(_judge_missing(missing, walk))
    for name in sorted({unmet.name for unmet in walk.unmet} - set(missing)):
        findings.append(_judge_version(name, [unmet for unmet in walk.unmet if unmet.name == name], walk))
    own = {canonicalize_name(requirement.name) for requirement in _parse(packages.own)}
    right = own - {unmet.name for unmet in walk.unmet if unmet.wanted_by == "tlkit"}
    named = [f"{name} {packages.installed[name].version}" for name in _HEADLINES if name in right]
    if right:
        rest = len(right) - len(named)
        found = ", ".join(named) + f"{' and ' if named else ''}{rest} {'others' if named else 'packages'}"
        findings.insert(0, Finding("packages", f"{found}, in the versions that tlkit needs"))
    return findings


def _judge_missing(missing: list[str], walk: _Walk) -> Finding:
    command = install_command(f"{name}{_shown(walk.wanted[name])}" for name in missing)
    whys = " ".join(_WHY[name] for name in missing if name in ("setuptools", "tf-keras", "tensorboard"))
    why = f"Without {'it' if len(missing) == 1 else 'them'}, tlkit does not work. {whys if len(missing) < 4 else ''}"
    return Finding("missing packages", ", ".join(missing), "problem", why.strip(), (command,))


def _judge_version(name: str, unmet: list[Unmet], walk: _Walk) -> Finding:
    own = any(item.wanted_by == "tlkit" for item in unmet)
    wishes = " and ".join(sorted({f"{item.wanted_by} needs {item.wanted}" for item in unmet}))
    return Finding(
        name,
        f"{unmet[0].version}, but {wishes}",
        "problem" if own else "warning",
        _WHY.get(name, "It may fail in ways that do not name the version."),
        (install_command([f"{name}{_shown(walk.wanted[name])}"]),),
    )


def reverse_conflicts(packages: Packages) -> dict[str, list[str]]:
    """Packages that tlkit does not need, and what they want of a package that it does need but do not get."""
    walk = _walk(packages, packages.own or (), "tlkit")
    conflicts: dict[str, list[str]] = {}
    for name, package in packages.installed.items():
        if name in walk.wanted or name == "tlkit":
            continue
        for requirement in _parse(package.requires):
            wanted = canonicalize_name(requirement.name)
            found = packages.installed.get(wanted)
            if wanted in walk.wanted and found and not _is_met(requirement, found.version):
                conflicts.setdefault(f"{name} {package.version}", []).append(f"{wanted}{_shown(requirement.specifier)}")
    return conflicts
