"""Packages and files that are known not to live together."""

from __future__ import annotations

from collections.abc import Callable

from packaging.version import Version

from tlkit.environment.finding import Finding
from tlkit.environment.packages import (
    Packages,
    install_command,
    own_wish,
    reverse_conflicts,
    unmet_of_extra,
    wishes_of_extra,
)

# Other builds of TensorFlow and Keras: each unpacks into the same folder, and removing one takes the other's files.
# https://github.com/tensorflow/tensorflow/issues/18043
_OTHER_BUILDS = {
    "tensorflow": (
        "intel-tensorflow",
        "tensorflow-aarch64",
        "tensorflow-cpu",
        "tensorflow-cpu-aws",
        "tensorflow-gpu",
        "tensorflow-intel",
        "tensorflow-macos",
        "tensorflow-rocm",
        "tf-nightly",
        "tf-nightly-cpu",
    ),
    "keras": ("keras-nightly",),
    "tf-keras": ("tf-keras-nightly",),
}


def judge_clashes(packages: Packages) -> list[Finding]:
    """Every clash that is known and found."""
    checks: tuple[Callable[[Packages], list[Finding]], ...] = (
        _other_builds,
        _metal,
        _addons,
        _text,
        _others_wishes,
        _broken_upgrades,
        _shadows,
    )
    return [finding for check in checks for finding in check(packages)]


def _other_builds(packages: Packages) -> list[Finding]:
    findings = []
    for name, builds in _OTHER_BUILDS.items():
        package = packages.installed.get(name)
        # Some platforms' `tensorflow` is an empty package that requires the real one.
        wanted = " ".join(package.requires) if package else ""
        others = [build for build in builds if build in packages.installed and build not in wanted]
        if others:
            findings.append(
                Finding(
                    f"{name}, twice" if package else f"another {name}",
                    ", ".join(f"{build} {packages.installed[build].version}" for build in others),
                    "problem",
                    f"It writes into the same folder as {name}: whichever came last overwrote the other's files. "
                    f"Remove both, then install {name} again.",
                    (f"pip uninstall -y {' '.join([name, *others])}", install_command([own_wish(packages, name)])),
                )
            )
    return findings


def _metal(packages: Packages) -> list[Finding]:
    if "tensorflow-metal" not in packages.installed:
        return []
    # https://github.com/tensorflow/tensorflow/issues/84167
    meaning = "Apple's plugin stops TensorFlow 2.18 and newer from being imported. Training runs on the CPU without it."
    found = f"{packages.installed['tensorflow-metal'].version}"
    return [Finding("tensorflow-metal", found, "problem", meaning, ("pip uninstall -y tensorflow-metal",))]


def _addons(packages: Packages) -> list[Finding]:
    if "tensorflow-addons" not in packages.installed:
        return []
    found = packages.installed["tensorflow-addons"].version
    remove = "pip uninstall -y tensorflow-addons"
    # https://github.com/tensorflow/addons/issues/2865
    meaning = "It is no longer developed and cannot be imported beside Keras 3"
    if not wishes_of_extra(packages, "addons"):
        return [Finding("tensorflow-addons", found, "warning", f"{meaning}. tlkit does not need it.", (remove,))]
    meaning += ", but `from tlkit.addons import tfa` works, for its functions on tensors."
    unmet = {item.name: item for item in unmet_of_extra(packages, "addons")}
    if not unmet:
        return [Finding("tensorflow-addons", found, "ok", meaning)]
    wishes = " and ".join(f"{item.wanted} (found {item.version or 'none'})" for item in unmet.values())
    meaning += f" That needs {wishes}; who does not use it can remove it."
    install = install_command(item.wanted for item in unmet.values())
    return [Finding("tensorflow-addons", found, "warning", meaning, (install, remove))]


def _text(packages: Packages) -> list[Finding]:
    tensorflow, text = packages.installed.get("tensorflow"), packages.installed.get("tensorflow-text")
    if (
        tensorflow is None
        or text is None
        or Version(text.version).release[:2] == Version(tensorflow.version).release[:2]
    ):
        return []
    # https://github.com/tensorflow/text/issues/192
    minor = "{}.{}".format(*Version(tensorflow.version).release)
    return [
        Finding(
            "tensorflow-text",
            f"{text.version} beside tensorflow {tensorflow.version}",
            "warning",
            "It is compiled for one minor version of TensorFlow and does not load with another.",
            (install_command([f"tensorflow-text=={minor}.*"]),),
        )
    ]


def _others_wishes(packages: Packages) -> list[Finding]:
    """What packages beside tlkit's want of those it needs; pip says it once, while installing."""
    worded = {"tensorflow-addons", "tensorflow-text"}  # above
    findings = []
    for name, wishes in sorted(reverse_conflicts(packages).items()):
        if name.split()[0] not in worded:
            meaning = "tlkit is not affected, but that package may be. Better an environment of its own for it."
            findings.append(Finding("other packages", f"{name} needs {', '.join(wishes)}", "warning", meaning))
    return findings


def _broken_upgrades(packages: Packages) -> list[Finding]:
    findings = []
    if packages.twice:
        names = " ".join(packages.twice)
        meaning = "An installation was interrupted: two versions lie in one folder. Install again."
        command = install_command([own_wish(packages, name) for name in packages.twice], "--force-reinstall")
        findings.append(Finding("interrupted installation", f"{names}: two versions", "problem", meaning, (command,)))
    if packages.leftovers:
        meaning = "pip left this behind when it could not remove a package. It does no harm; delete it when convenient."
        findings.append(Finding("leftovers of pip", ", ".join(packages.leftovers), "ok", meaning))
    return findings


def _shadows(packages: Packages) -> list[Finding]:
    if not packages.shadows:
        return []
    meaning = "`python -m` looks in the working folder first, so that Python imports this in the place of the package."
    command = tuple(f"mv {path} my_{path}" for path in packages.shadows if path.endswith(".py") and "/" not in path)
    return [Finding("files in the way", ", ".join(packages.shadows), "problem", f"{meaning} Rename it.", command)]
