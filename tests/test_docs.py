"""What the documentation says is run: examples in docstrings, commands in README."""

import doctest
import importlib
import os
import pathlib
import pkgutil
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tlkit
from tlkit import addons

ROOT = pathlib.Path(__file__).parents[1]
MODULES = [m.name for m in pkgutil.walk_packages(tlkit.__path__, "tlkit.") if not m.name.endswith("__main__")]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
SLOW = {
    "detection.md",
    "first_project.md",
    "tuning.md",
    "image_classifier.md",
    "text_classifier.md",
    "detection_head.md",
}
# Examples that need a package which is not published for every Python.
NOT_HERE = set() if addons.is_offered() else {"tlkit.addons", "tensorflow_addons.md"}


def examples(module_name):
    module = importlib.import_module(module_name)
    return [test for test in doctest.DocTestFinder().find(module) if test.examples]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the examples run: photos of two classes, scenes with boxes, a photo, a table of messages, a saved model."""
    folder, random = tmp_path_factory.mktemp("docs"), np.random.default_rng(0)
    for name in ("ant", "bee"):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(8):
            pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.png")
    Image.fromarray(pixels).save(folder / "photo.jpg")
    (folder / "scenes").mkdir()
    boxes = ["image,xmin,ymin,xmax,ymax,class"]
    for number in range(12):
        Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / "scenes" / f"{number}.png")
        boxes += [f"{number}.png,4,6,20,22,circle", f"{number}.png,20,22,60,62,square"]
    (folder / "scenes" / "boxes.csv").write_text("\n".join(boxes), encoding="utf-8")
    orders = [f"Where is my parcel with number {number}?,order" for number in range(20)]
    refunds = [f"Can I have my money back for number {number}?,refund" for number in range(20)]
    (folder / "messages.csv").write_text("\n".join(["text,label", *orders, *refunds]), encoding="utf-8")
    make_model().save(folder / "model.keras")
    return folder


def make_model():
    inputs = keras.Input((128, 128, 3))
    features = tlkit.load_backbone("tlkit:mini-image")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(features))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize("module_name", sorted(set(MODULES) - NOT_HERE))
def test_docstring_examples(module_name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in examples(module_name):
        images = np.random.default_rng(0).uniform(size=(8, 128, 128, 3)).astype("float32")
        train = tf.data.Dataset.from_tensor_slices((images, np.arange(8) % 2)).batch(4)
        test.globs.update(tlkit=tlkit, np=np, tf=tf, keras=keras, train=train)
        if any(re.search(r"\bmodel\b", example.source) for example in test.examples):  # it takes a while to make
            test.globs.update(model=make_model())
        runner.run(test)
        keras.utils.clear_session()
    assert runner.summarize(verbose=False).failed == 0


def test_there_are_examples():
    assert sum(bool(examples(name)) for name in MODULES) >= 8


@pytest.mark.parametrize("module_name", MODULES)
def test_references_have_an_address(module_name):
    source = pathlib.Path(importlib.import_module(module_name).__file__).read_text(encoding="utf-8")
    for paragraph in re.split(r"\n\s*\n", source):
        if "Reference:" in paragraph:
            assert "https://" in paragraph, paragraph


def test_readme_names_targets_and_templates_that_exist():
    readme, makefile = (ROOT / "README.md").read_text(encoding="utf-8"), (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^make ([a-z-]+)", readme, re.MULTILINE))
    assert {"demo", "test"} <= targets
    assert targets <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for template in re.findall(r"tlkit new ([a-z-]+)", readme):
        assert (ROOT / "templates" / template).is_dir()


def test_readme_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert blocks
    photos = np.random.default_rng(0).uniform(size=(8, 128, 128, 3)).astype("float32")
    inputs = keras.Input((128, 128, 3))
    names = {
        "photos": photos,
        "labels": np.arange(8),
        "encoder": keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs)),
        "labelled": tf.data.Dataset.from_tensor_slices((photos, np.arange(8))),
        "unlabelled": tf.data.Dataset.from_tensor_slices(photos[::-1]),
    }
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["classifier"].predict(photos, verbose=0).shape == (8, 10)
    opened = tlkit.load_model("model.keras").get_layer("backbone").stages
    assert [stage.is_open for stage in opened] == [False, False, False, True, True]


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page.name, marks=[pytest.mark.slow] * (page.name in SLOW)) for page in PAGES]
)
def test_code_of_a_page_runs(page, folder, tmp_path, monkeypatch):
    """Its blocks one after the other, as somebody types them who reads it from top to bottom; `bash` is not run.

    There are photos of two classes in the folder that it begins in; a block of commands begins where the last ended.
    """
    if page.name in NOT_HERE:
        pytest.skip("no tensorflow-addons for this Python or machine")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder / "photos", "photos")
    names = {}
    for language, block in re.findall(
        r"^```(python|sh)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        if language == "python":
            exec(compile(block, page.name, "exec"), names)
        else:
            run_commands(block)


def run_commands(block):
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "TLKIT_CACHE_DIR": str(pathlib.Path.cwd() / "cache"),
    }
    done = subprocess.run(["bash", "-e", "-c", f"{block}pwd"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    os.chdir(done.stdout.splitlines()[-1])


def test_the_reference_has_every_public_package():
    shown = " ".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    for package in pkgutil.iter_modules(tlkit.__path__):
        if package.ispkg and package.name != "cli":
            assert re.search(rf"^::: tlkit\.{package.name}$", shown, re.MULTILINE), package.name


def test_every_page_is_in_the_menu():
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in [*PAGES, *(ROOT / "notebooks").glob("*.ipynb")]:
        path = page.relative_to(ROOT / "docs" if page in PAGES else ROOT)
        assert f" {path.as_posix()}\n" in menu, path


def test_links_of_a_page_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"
