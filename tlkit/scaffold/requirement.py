"""Where tlkit itself came from."""

from __future__ import annotations

import importlib.metadata
import json
import urllib.parse
from pathlib import Path

import tlkit


def install_requirement() -> str:
    """Return the requirement (PEP 508) that installs the running tlkit again, from where it was installed.

    That is a folder, a wheel, a version control address with its commit, or, when it came from a package index, the
    version.
    """
    try:
        record = importlib.metadata.distribution("tlkit").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:  # never installed: imported from its checkout
        return f"tlkit @ {Path(tlkit.__file__).parents[1].as_uri()}"
    if record is None:
        return f"tlkit=={tlkit.__version__}"
    origin = json.loads(record)
    address = origin["url"]
    if "vcs_info" in origin:
        address = f"{origin['vcs_info']['vcs']}+{address}@{origin['vcs_info']['commit_id']}"
    if "subdirectory" in origin:
        address += f"#subdirectory={urllib.parse.quote(origin['subdirectory'])}"
    return f"tlkit @ {address}"
