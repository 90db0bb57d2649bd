"""The wheel: built from the source distribution, complete, and at work in another environment."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import tlkit

pytestmark = pytest.mark.slow
ROOT = Path(tlkit.__file__).parents[1]
LEFTOVERS = {"__pycache__", ".ruff_cache", ".mypy_cache", ".pytest_cache"}


def run(*command: object, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return result.stdout


def files_under(folder: str) -> set[str]:
    """What the repository holds there, without what tools leave behind."""
    paths = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if not LEFTOVERS.intersection(path.parts)}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made from the source distribution, so that both are known to be complete."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a new environment with the wheel, and with the dependencies of this one."""
    folder = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, folder=folder)
    packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip()
    # A path in a .pth file comes after the environment's own packages, and its own .pth files are not read: the
    # editable tlkit of this environment stays out of sight.
    (Path(packages) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_the_wheel_holds_the_package_and_the_templates(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = {Path(n).name: archive.read(n).decode() for n in archive.namelist() if ".dist-info/" in n}

    assert names == files_under("tlkit") | {f"tlkit/{name}" for name in files_under("templates")}
    assert any(name.startswith("tlkit/templates/image-classifier/project/") for name in names)
    assert any(name.startswith("tlkit/backbones/embedded/") for name in names)
    assert "Name: tlkit\n" in metadata["METADATA"]
    assert f"Version: {tlkit.__version__}\n" in metadata["METADATA"]
    assert "License-Expression: Apache-2.0\n" in metadata["METADATA"]
    assert metadata["entry_points.txt"] == "[console_scripts]\ntlkit = tlkit.cli:main\n"
    assert metadata["LICENSE"] == (ROOT / "LICENSE").read_text()


def test_the_wheel_generates_a_project_that_runs(wheel: Path, elsewhere: Path, tmp_path: Path):
    location = run(elsewhere / "python", "-c", "import tlkit; print(tlkit.__file__)", folder=tmp_path)
    assert Path(location).is_relative_to(elsewhere.parent)
    assert "image-classifier" in run(elsewhere / "tlkit", "list", folder=tmp_path)

    shown = run(elsewhere / "tlkit", "new", "image-classifier", "flowers", "--defaults", folder=tmp_path)

    project = tmp_path / "flowers"
    answers = json.loads((project / ".tlkit" / "answers.json").read_text())["answers"]
    assert answers["tlkit_requirement"].startswith(f"tlkit @ {wheel.as_uri()}")
    assert wheel.as_uri() in shown
    run(elsewhere / "python", "-m", "pytest", "-q", folder=project)
