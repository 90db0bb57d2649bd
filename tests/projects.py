"""Projects made from the templates, for their tests: data to make them on, and their commands as a user types them."""

import os
import subprocess
import sys
import textwrap

import numpy as np
from PIL import Image

from tlkit import scaffold


def make_photos(folder, count, parts=("",), size=64):
    """Photos of two classes that colour alone tells apart."""
    random = np.random.default_rng(len(parts))
    for part in parts:
        for class_name, channel in {"blue sky": 2, "red brick": 0}.items():
            (folder / part / class_name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 120, (size, size, 3))
                pixels[..., channel] += 120
                Image.fromarray(pixels.astype("uint8")).save(folder / part / class_name / f"{number}.png")
    return folder


def make_messages(file, count=40):
    """Texts of two classes that one word tells apart."""
    random, lines = np.random.default_rng(0), ["text,label"]
    for number in range(count):
        words = [*random.choice(["the", "a", "was", "seen", "here", "today"], 5), ("bee", "oak")[number % 2], number]
        lines.append(f"{' '.join(map(str, words))},{('animal', 'plant')[number % 2]}")
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def make_scenes(folder, counts=(("train", 12), ("val", 4), ("test", 4)), size=96):
    """A table of boxes around bright and dark squares on grey noise, two in each image; returns its file."""
    random, lines = np.random.default_rng(0), ["image,xmin,ymin,xmax,ymax,class,split"]
    for part, count in counts:
        for number in range(count):
            pixels, file = random.integers(100, 150, (size, size, 3)), f"{part}{number}.png"
            for class_name, grey, left in (("bright", 250, 0), ("dark", 5, size // 2)):
                x, y = random.integers(0, size // 4, 2) + (left, 0)
                pixels[y : y + size // 4, x : x + size // 4] = grey
                lines.append(f"{file},{x},{y},{x + size // 4},{y + size // 4},{class_name},{part}")
            Image.fromarray(pixels.astype("uint8")).save(folder / file)
    (folder / "boxes.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "boxes.csv"


def generate(template, parent, **kwargs):
    return scaffold.generate(scaffold.list_templates()[template], parent / "flowers", **kwargs).folder


def run(command, folder, **kwargs):
    """Run a command in the project; a failure shows what it said."""
    environment = os.environ | {"PYTHONWARNINGS": "default", "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, **kwargs
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


COMMAND = """
    import contextlib, io, json, pathlib, runpy, sys

    def command(module, *flags, code=None):
        print(">", module, *flags, flush=True)
        sys.argv = [module, *flags]
        try:
            runpy.run_module(f"flowers.{module}", run_name="__main__", alter_sys=True)
        except SystemExit as stop:
            print("exit", stop.code)
            assert stop.code == code
        else:
            assert code is None

    def served(sent, kind, run):
        # What the page of a run answers, without opening a port.
        from fastapi.testclient import TestClient
        from flowers.serve import load_predictor
        from tlkit.serving import build_app

        takes = "text" if kind == "application/json" else "image"
        client = TestClient(build_app(load_predictor(run), takes=takes, run=run), base_url="http://localhost")
        answer = client.post("/predict", content=sent, headers={"Content-Type": kind})
        print("served", answer.status_code, answer.text, flush=True)
        return answer.json()
"""


def run_commands(project, commands, photos):
    """Run commands one after the other in one process: (what each said, the errors)."""
    script = textwrap.dedent(COMMAND) + textwrap.dedent(commands).replace("PHOTOS", str(photos))
    script = script.replace(
        "RUNS()", "sorted(p.parent.name for p in __import__('pathlib').Path('runs').glob('*/config.json'))"
    )
    (project.parent / "commands.py").write_text(script, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(project), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, project.parent / "commands.py"], cwd=project, env=environment, capture_output=True, text=True,
        errors="replace",  # what is typed may hold bytes that are no UTF-8, and is echoed
        timeout=1000,  # two cores may have other work, too
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    said = {part.split("\n")[0]: part for part in done.stdout.split("> ")[1:]}
    return said, [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
