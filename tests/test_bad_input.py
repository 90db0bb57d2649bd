"""docs/bad_input.md is a table of mistakes and of the sentences that answer them; every row of it is tried here."""

import contextlib
import io
import json
import os
import pathlib
import re
import runpy
import shlex
import sys

import numpy as np
import pytest
from PIL import Image

from tlkit.cli import app

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "bad_input.md"
ROW = re.compile(r"^\| `(?P<command>[^`]+)` \| (?P<wrong>[^|]+) \| (?P<answer>.+) \|$", re.MULTILINE)
TABLE = [row.groupdict() for row in ROW.finditer(PAGE.read_text(encoding="utf-8"))]

pytestmark = pytest.mark.slow


def test_every_command_is_in_the_table():
    commands = " ".join(row["command"] for row in TABLE)
    assert len(TABLE) >= 40
    names = [f"tlkit {command.name or command.callback.__name__}" for command in app.registered_commands]
    names += [f"flowers.{name}" for name in ("train", "evaluate", "predict", "export", "serve", "tune", "compare")]
    assert [name for name in names if name not in commands] == []


def picture(random):
    return Image.fromarray(random.integers(0, 256, (48, 48, 3), dtype=np.uint8))


def write_table(path, header, *rows):
    pathlib.Path(path).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def write_world():
    """What the page says is in the folder."""
    random = np.random.default_rng(0)
    for folder, names in {"photos": ("ant", "bee"), "one_class": ("ant",), "damaged": ("ant", "bee")}.items():
        for name in names:
            (place := pathlib.Path(folder, name)).mkdir(parents=True)
            for number in range(8):
                picture(random).save(place / f"{number}.png")
    torn = pathlib.Path("damaged/bee/3.png")
    torn.write_bytes(torn.read_bytes()[:2000])
    pathlib.Path("empty").mkdir()
    picture(random).save("photo.jpg")
    pathlib.Path("letter.jpg").write_text("Dear Sir or Madam,\n", encoding="utf-8")
    rows = [f"{words},{number}" for number in range(10) for words in ("parcel,order", "money,refund")]
    rows = [f"{word} {number},{label}" for word, label, number in (row.split(",") for row in rows)]
    write_table("words.csv", "message,intent", *rows)
    write_table("one_label.csv", "text,label", *(f"parcel {number},order" for number in range(10)))
    pathlib.Path("binary.csv").write_bytes(bytes(range(256)) * 8)
    pathlib.Path("latin1.csv").write_bytes("text,label\nöffnen,a\nüber,b\n".encode("latin1"))
    pathlib.Path("misspelt.json").write_text(json.dumps({"epochs": 30, "epoch": 3}), encoding="utf-8")
    pathlib.Path("torn.json").write_text('{"epochs": ', encoding="utf-8")
    write_table("boxes.csv", "image,xmin,ymin,xmax,ymax,class", "photo.jpg,1,1,9,9,cell", "gone.jpg,1,1,9,9,cell")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    with contextlib.chdir(folder):
        write_world()
        columns = "--set text_column=message --set label_column=intent"
        for command in (
            "tlkit new image-classifier flowers --data photos --set image_size=48 --defaults",
            f"tlkit new text-classifier words --data words.csv {columns} --defaults",
            "python -m flowers.train --epochs 1 --head_epochs 1 --stages_to_open 0",
        ):
            status, said = run(command)
            assert status == 0, said
        [trained] = pathlib.Path("flowers/runs").iterdir()
        trained.rename(trained.with_name("first"))
    return folder


def run(command):
    """The exit status and what was said on standard error, as somebody types the command who is in the folder."""
    _, *arguments = shlex.split(command)
    said, aside = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(aside), contextlib.redirect_stderr(said):
        try:
            if command.startswith("tlkit "):
                app(arguments, prog_name="tlkit")
            else:
                run_module(arguments[1], arguments[2:], patch)
        except SystemExit as end:
            return end.code or 0, said.getvalue()
    return 0, said.getvalue()


def run_module(module, arguments, patch):
    """`python -m flowers.train`, typed in the folder of the project `flowers`."""
    project = module.split(".")[0]
    patch.setattr(sys, "argv", [module, *arguments])
    patch.chdir(project)
    patch.syspath_prepend(os.getcwd())
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == project]:
            del sys.modules[name]


@pytest.mark.parametrize("row", TABLE, ids=[row["command"] for row in TABLE])
def test_the_answer_is_that_of_the_table(row, world):
    before = sorted(path for path in world.rglob("*") if "__pycache__" not in path.parts)
    with contextlib.chdir(world):
        status, said = run(row["command"].replace("FOLDER", str(world)))
    *before_it, sentence = [line for line in said.strip().splitlines() if line]
    assert status in (1, 2)
    assert all(re.match(r"usage: | +\[|Warning: |\d{4}-", line) for line in before_it), said
    sentence = sentence.replace(str(world), "FOLDER").removeprefix("Error: ")
    assert sentence == row["answer"].replace(r"\|", "|")
    assert sorted(path for path in world.rglob("*") if "__pycache__" not in path.parts) == before, "it left something"
