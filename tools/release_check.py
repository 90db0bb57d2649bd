"""Build the wheel and try it where nothing of this checkout is: `make release-check`.

Its files and its size are looked at; then it is installed into an empty environment in a temporary folder, with its
dependencies, as a user would, and has to make a project of each template, and to find nothing wrong with one.
"""

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Megabytes: 9.8 in November 2026, nine tenths of them the two embedded backbones.
LARGEST = 12
TEMPLATES = ("image-classifier", "text-classifier", "detection-head")
IMPORT_CHECK = """
import sys, tlkit
assert tlkit.__file__.startswith(sys.prefix), f"tlkit comes from {tlkit.__file__}"
backbone = tlkit.load_backbone("tlkit:mini-image")
print("tlkit", tlkit.__version__, "from the wheel;", len(backbone.stages), "stages in tlkit:mini-image")
"""


def run(*command: object, folder: Path) -> str:
    """What a command printed; it must end well, and sees nothing of this checkout."""
    print("$", *(str(word).strip().partition("\n")[0] for word in command), flush=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"It ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def build(folder: Path) -> Path:
    """The wheel, made from the source distribution, so that both are known to be complete."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    return next(folder.glob("*.whl"))


def check_files(wheel: Path) -> None:
    """All that the repository holds of package and templates is in the wheel, and nothing else."""
    tracked = run("git", "ls-files", "tlkit", "templates", folder=ROOT).splitlines()
    expected = {f"tlkit/{name}" if name.startswith("templates/") else name for name in tracked}
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    if found != expected:
        sys.exit(f"Not in the wheel: {sorted(expected - found)}. In it, but not committed: {sorted(found - expected)}.")
    for must in (
        "tlkit/backbones/embedded/mini_image/saved_model.pb",
        "tlkit/backbones/embedded/mini_text/saved_model.pb",
    ):
        if must not in found:
            sys.exit(f"The wheel lacks {must}.")
    size = wheel.stat().st_size / 1e6
    if size > LARGEST:
        sys.exit(f"{wheel.name} has {size:.1f} MB. Expected at most {LARGEST}.")
    print(f"{wheel.name}: {len(found)} files, {size:.1f} MB of at most {LARGEST}")


def try_it(wheel: Path, folder: Path) -> None:
    """Install it into an empty environment, and use it."""
    venv.create(folder / "venv", with_pip=True)
    binaries = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python, tlkit = binaries / "python", binaries / "tlkit"
    # With the photographs that sample images are cut from: without them `tlkit new image-classifier` wants --data.
    run(python, "-m", "pip", "install", "--quiet", f"tlkit[samples] @ {wheel.as_uri()}", folder=folder)
    run(python, "-m", "pip", "check", folder=folder)
    run(tlkit, "--help", folder=folder)
    print(run(python, "-c", IMPORT_CHECK, folder=folder), end="")
    for template in TEMPLATES:
        name = template.replace("-", "_")
        run(tlkit, "new", template, name, "--defaults", folder=folder)
        run(python, "-c", f"import {name}.config, {name}.data, {name}.model, {name}.train", folder=folder / name)
    # It runs the project's modules up to the first batch and the compiled model.
    print(run(tlkit, "doctor", TEMPLATES[0].replace("-", "_"), folder=folder).splitlines()[-1])


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        wheel = build(folder)
        check_files(wheel)
        try_it(wheel, folder)
    print("The wheel is fit to be released.")


if __name__ == "__main__":
    main()
