"""Every template generates a project that is complete, clean and works: first by looking at it, then by using it."""

import ast
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from projects import generate, make_messages, make_photos, make_scenes, run, run_commands

from tlkit import UserError, scaffold

ROOT = Path(__file__).resolve().parents[1]
CLASSIFIER = {
    ".gitignore", "README.md", "pyproject.toml", "flowers.ipynb", "tests/test_flowers.py",
    *(f"flowers/{module}.py" for module in
      ("__init__", "config", "data", "model", "train", "evaluate", "predict", "serve", "export", "tune", "compare")),
}  # fmt: skip
DETECTOR = CLASSIFIER - {"flowers/compare.py"}
FILES = {"image-classifier": CLASSIFIER, "text-classifier": CLASSIFIER, "detection-head": DETECTOR}


@pytest.fixture(scope="module", params=sorted(FILES))
def template(request):
    return request.param


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return make_photos(tmp_path_factory.mktemp("photos") / "p", 10, parts=("train", "test"))


@pytest.fixture(scope="module")
def data(template, request, tmp_path_factory):
    if template == "image-classifier":
        return request.getfixturevalue("photos")
    if template == "detection-head":
        return make_scenes(tmp_path_factory.mktemp("scenes"))
    return make_messages(tmp_path_factory.mktemp("messages") / "messages.csv")


@pytest.fixture(scope="module")
def project(template, data, tmp_path_factory):
    return generate(template, tmp_path_factory.mktemp(template), data=data)


# What the project looks like ------------------------------------------------------------------------------------------


def test_every_template_is_tested():
    assert set(scaffold.list_templates()) == set(FILES)


def test_the_files_are_these(template, project):
    found = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}
    report = {"data_report.json", "data_report.txt"}  # on the data that were given
    assert {file for file in found if not file.startswith(".tlkit/")} == FILES[template] | report


def test_nothing_is_left_to_fill_in(project):
    for path in project.rglob("*"):
        if path.is_file() and path.parent.name != ".tlkit":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"\[\[|\[%|\[#|TODO|my_project|tlkit-requirement", text), path


def test_it_compiles_and_is_clean(project):
    for path in project.rglob("*.py"):
        compile(path.read_text(encoding="utf-8"), str(path), "exec")
    run(["-m", "ruff", "check", "--no-cache", "."], project)
    run(["-m", "ruff", "format", "--no-cache", "--check", "."], project)


def test_clean_whatever_its_name(template, data, tmp_path):
    # Sorting of imports and lengths of lines depend on the name.
    for name in ("a", "zz_a_name_that_is_longer_than_most"):
        folder = scaffold.generate(scaffold.list_templates()[template], tmp_path / name, data=data).folder
        run(["-m", "ruff", "check", "--no-cache", "."], folder)
        run(["-m", "ruff", "format", "--no-cache", "--check", "."], folder)


def test_python_files_have_no_conditions(template):
    for path in scaffold.list_templates()[template].folder.rglob("*.py*"):
        assert "[%" not in path.read_text(encoding="utf-8"), path


def test_answers_arrive_as_they_are(tmp_path):
    odd = make_photos(tmp_path / 'it\'s "päth" 100 %', 10)
    folder = generate("image-classifier", tmp_path, data=odd, given={"image_size": 96, "horizontal_flip": False})
    tree = ast.parse((folder / "flowers/config.py").read_text(encoding="utf-8"))
    config = next(node for node in tree.body if isinstance(node, ast.ClassDef))
    values = {node.target.id: ast.literal_eval(node.value) for node in config.body if isinstance(node, ast.AnnAssign)}
    assert values["data"] == '../it\'s "päth" 100 %'
    assert values["image_size"] == 96
    assert values["horizontal_flip"] is False
    assert values["backbone"] == "tlkit:mini-image"


def test_config_refuses_what_cannot_be(template, project):
    script = """
        from flowers.config import Config
        from tlkit import UserError

        assert Config().schedule == SCHEDULE and Config().last_opening == LAST
        assert Config(head_epochs=0, stages_to_open=1).schedule == {0: 1}
        assert Config(stages_to_open=0).schedule == {0: 0}
        for settings in ({"layer_decay": 0.0}, {"batch_size": 0}, {"epochs": LAST}, {"learning_rate": -1.0}):
            try:
                Config(**settings)
            except UserError as error:
                assert f"The setting '{[*settings][0]}' is" in str(error)
            else:
                raise AssertionError(settings)
    """
    schedule = {
        "image-classifier": {0: 0, 10: 1, 15: 2},
        "text-classifier": {0: 0, 10: 1, 12: 2},
        "detection-head": {0: 0, 4: 1, 8: 2, 12: 3},
    }[template]
    script = textwrap.dedent(script).replace("SCHEDULE", str(schedule)).replace("LAST", str(max(schedule)))
    run(["-c", script], project)


# A target domain ------------------------------------------------------------------------------------------------------


def make_negatives(photos, folder):
    """The same photos as negatives; only those of test/ in folders of their classes."""
    for photo in photos.rglob("*.png"):
        part, label = photo.parts[-3:-1]
        place = folder / part / (label if part == "test" else "") / f"{label}-{photo.name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(photo) as image:
            ImageOps.invert(image).save(place)
    return folder


def test_the_target_is_stored_relative_to_the_project(photos, tmp_path, monkeypatch):
    make_negatives(photos, tmp_path / "phone photos")
    monkeypatch.chdir(tmp_path)  # what is typed counts from there
    folder = generate("image-classifier", tmp_path, data=photos, given={"adaptation": "dann", "target": "phone photos"})
    config = (folder / "flowers/config.py").read_text(encoding="utf-8")
    assert 'target: str = "../phone photos"' in config and '= "dann"' in config and "image_size: int = 128" in config
    assert "head_epochs: int = 10" in config and "stages_to_open: int = 2" in config


def test_sample_data_of_two_domains(tmp_path):
    folder = generate("image-classifier", tmp_path, given={"adaptation": "mcc"})
    config = (folder / "flowers/config.py").read_text(encoding="utf-8")
    assert 'target: str = "target"' in config
    assert "image_size: int = 32" in config and "horizontal_flip: bool = False" in config
    assert sorted(path.name for path in (folder / "data").iterdir()) == [*"0123456789"]
    assert len(list((folder / "target/train").glob("*.png"))) == 1500
    # The network has seen nothing like digits: all of it learns from the start, at one rate.
    assert "head_epochs: int = 0" in config and "stages_to_open: int = 4" in config
    assert "layer_decay: float = 1.0" in config and "opening_learning_rate_multiplier: float = 1.0" in config


@pytest.mark.parametrize(
    ("answers", "has_data", "sentence"),
    [
        ({"adaptation": "mcc"}, True, "'adaptation' is 'mcc', and no 'target' is given."),
        ({"adaptation": "mcc", "target": "elsewhere"}, False, "there are no labelled data to go with it"),
        ({"adaptation": "mcc", "target": "nowhere"}, True, "'target' is 'nowhere'. Expected a folder of unlabelled"),
        ({"target": "data"}, True, "'target' is the folder of the labelled data, 'data'."),
        ({"target": "."}, True, "The project would lie inside the target folder '.'"),
    ],
)
def test_targets_that_will_not_do(photos, tmp_path, monkeypatch, answers, has_data, sentence):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").symlink_to(photos, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    given = {"adaptation": "none", **answers}
    with pytest.raises(UserError) as error:
        generate("image-classifier", tmp_path, data="data" if has_data else None, given=given)
    assert sentence in str(error.value)
    assert not (tmp_path / "flowers").exists()


# The notebook ---------------------------------------------------------------------------------------------------------


def test_committed_notebooks_are_built_from_their_scripts():
    done = subprocess.run(
        [sys.executable, ROOT / "tools/build_notebooks.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, f"Run 'python tools/build_notebooks.py': out of date are {done.stdout}"


def test_notebooks_are_valid_and_without_outputs(project):
    nbformat = pytest.importorskip("nbformat")
    notebook = json.loads((project / "flowers.ipynb").read_text(encoding="utf-8"))
    nbformat.validate(notebook)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert 'pip_install("tlkit @ ' in "".join(code[0]["source"])


@pytest.mark.slow
def test_the_notebook_runs(template, tmp_path):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    project = generate(template, tmp_path)  # on the sample data
    notebook = nbformat.read(project / "flowers.ipynb", as_version=4)
    for cell in notebook.cells:  # of the longest training three epochs are enough to see that all of it runs
        cell.source = cell.source.replace(
            "head_epochs=3, stages_to_open=2, epochs_per_stage=2, epochs=10",
            "head_epochs=1, stages_to_open=1, epochs_per_stage=1, epochs=3",
        )
    (project / "tuning").mkdir()  # what a search leaves, in small
    (project / "tuning" / "report.md").write_text("# Search by val_loss\n\n![curves](curves.png)\n", encoding="utf-8")
    Image.new("RGB", (8, 8)).save(project / "tuning" / "curves.png")
    nbclient.NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(project)}}
    ).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    # Photos, augmentation, learning curves, confusion matrix, most wrong; or curves, matrix, calibration, by length;
    # or a batch, curves, precision and recall, first and worst images, one image; and that of the search.
    assert len(pictures) == {"image-classifier": 6, "text-classifier": 5, "detection-head": 7}[template]
    assert "# Search by val_loss" in [output.get("data", {}).get("text/markdown", "").strip() for output in outputs]
    if os.environ.get("KEEP_NOTEBOOK"):
        nbformat.write(notebook, os.environ["KEEP_NOTEBOOK"])


# Using it -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_its_own_tests_pass(project):
    run(["-m", "pytest", "-q", "-p", "no:cacheprovider"], project, timeout=600)


COMMANDS = """
    command("evaluate", code=1)
    command("train", "--lerning_rate", "1", code=2)
    command("train", "--data", "nowhere", code=1)
    command("train", "--stages_to_open", "9", "--epochs", "80", code=1)
    command("train", "--monitor", "val_pr_auc", code=1)
    command("train", "--find_learning_rate")
    short = "--epochs 2 --head_epochs 1 --stages_to_open 1 --batch_size 8".split()
    command("train", *short, "--image_size", "96", "--precision", "mixed_bfloat16", "--strategy", "one-device")
    command("train", *short, "--weights", "random", "--rotation", "0", "--horizontal_flip", "false")
    command("evaluate")
    command("evaluate", *RUNS(), "stopped")
    command("predict", "PHOTOS", "broken.jpg", "missing.jpg")
    command("export", "--to", "exported")
    command("export", "--format", "litert", "--quantize", "int8", "--to", "lite")
    command("export", "--format", "onnx", "--to", "onnx", "--run", RUNS()[0])
    command("export", "--format", "onnx", "--quantize", "int8", code=1)
    command("train", "--config", "best", code=1)
    search = "--trials 2 --confirm 1 --epochs 4 --head_epochs 1 --epochs_per_stage 1 --batch_size 8".split()
    command("tune", *search)
    command("tune", *search)
    command("tune", "--trials", "2", code=1)
    command("train", "--config", "best", "--epochs", "2", "--head_epochs", "1", "--epochs_per_stage", "1",
            "--stages_to_open", "0")
    import socket
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command("serve", "--port", str(taken.getsockname()[1]), code=1)
    from flowers.predict import predict_files
    run, photo = pathlib.Path("runs") / RUNS()[0], min(pathlib.Path("PHOTOS").rglob("*.png"))
    found, ((_, said, _),) = served(photo.read_bytes(), "image/png", run), predict_files(run, [photo])
    assert {each["class"]: each["probability"] for each in found["classes"]}.items() >= said.items()
    assert found["said"] == list(said) and len(found["classes"]) == 2
    assert "truncated" in served(photo.read_bytes()[:-200], "image/png", run)["error"]
"""


@pytest.mark.slow
def test_stopping_before_the_first_epoch_is_over_is_one_sentence(project):
    code = textwrap.dedent("""
        import sys
        sys.argv = ["train", "--inspect", "False"]
        import flowers.train as module
        def stopped(*_):
            raise KeyboardInterrupt
        module.train = stopped
        with module.exit_on_user_error():
            module.main()
    """)
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: Stopped by hand before the first epoch was over")


@pytest.mark.slow
def test_every_command_works(photos, tmp_path):
    project = generate("image-classifier", tmp_path, data=photos)
    (project / "broken.jpg").write_bytes(b"no photo at all")
    said, errors = run_commands(project, COMMANDS, photos / "test")
    assert "There is no trained model in" in errors[0]
    assert errors[1].startswith("Error: there is no flag '--lerning_rate'. Did you mean '--learning_rate'?")
    assert "nowhere" in errors[2]
    assert "The setting 'stages_to_open' is 9. Expected at most 5, the stages of 'tlkit:mini-image'." in errors[3]
    assert "The setting 'monitor' is 'val_pr_auc', which is for multi-label data. Expected val_loss" in errors[4]
    assert "'onnx' has no quantize='int8'. Expected it for 'litert' only." in errors[5]
    assert "There are no best settings yet" in errors[6]
    assert "holds a search with other settings" in errors[7]
    assert re.search(r"Port [0-9]+ is taken by another program\.", errors[8])
    assert len(errors) == 9
    rates = next(part for command, part in said.items() if command == "train --find_learning_rate")
    assert re.search(r"--learning_rate [1-9]\.[0-9]e-0[1-6]", rates)
    assert (project / "learning_rates.png").stat().st_size > 10_000
    runs = sorted(path for path in (project / "runs").iterdir() if path.is_dir())
    assert len(runs) == 3  # a mistake leaves none behind
    for folder in runs:
        assert {file.name for file in folder.iterdir()} >= {
            "model.keras", "config.json", "class_names.json", "history.csv", "metrics.json", "tensorboard",
            "run.json", "report.html",
            "learning_curves.png", "confusion_matrix.png", "calibration.png", "most_wrong.png",
            "data_report.json", "data_report.txt",
        }  # fmt: skip
        weights = json.loads((folder / "config.json").read_text())["weights"]
        assert (folder / "without_training.json").is_file() == (weights == "pretrained")
        assert json.loads((folder / "metrics.json").read_text())["test"]["num_examples"] == 20
        assert json.loads((folder / "class_names.json").read_text()) == ["blue sky", "red brick"]
    both = next(part for command, part in said.items() if command.startswith(f"evaluate {runs[0].name}"))
    assert "Pretrained over random weights, by the same schedule: " in both
    assert "Skipped: There is no trained model in 'stopped'" in both
    predictions = next(part for command, part in said.items() if command.startswith("predict"))
    assert predictions.count(".png") == 20
    for name in ("broken.jpg", "missing.jpg"):
        assert re.search(rf"Skipped: [^>]*{name}", predictions)
    exported = next(part for command, part in said.items() if command.startswith("export"))
    assert "Largest difference of a probability" in exported
    assert (project / "exported" / "saved_model.pb").is_file()
    lite, onnx = (json.loads((project / name / "export.json").read_text()) for name in ("lite", "onnx"))
    assert lite["quantize"] == "int8" and 0 < lite["calibration_images"] < 20
    assert lite["class_names"] == onnx["class_names"] == ["blue sky", "red brick"]
    assert (project / "lite" / "model.tflite").stat().st_size < (project / "onnx" / "model.onnx").stat().st_size / 2
    best = json.loads((project / "tuning" / "best.json").read_text())
    report = (project / "tuning" / "report.md").read_text()
    assert "2 trials; val_loss shall be small." in report and "| 1, the defaults | " in report
    for picture in ("trials.png", "curves.png"):
        assert (project / "tuning" / picture).stat().st_size > 10_000
    assert 0 <= best["dropout"] <= 0.6
    assert json.loads((runs[2] / "config.json").read_text())["dropout"] == best["dropout"]
    models = [file.parents[1].name for file in (project / "tuning").rglob("model.keras")]
    assert sorted(models) == ["trial_0", "trial_1"]  # of the best three, none of the confirmation
    assert not list((project / "tuning").rglob("state"))


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_in_the_same_weights(photos, tmp_path):
    import tlkit

    project = generate("image-classifier", tmp_path, data=photos)
    command = [sys.executable, "-m", "flowers.train", "--epochs", "4", "--head_epochs", "1", "--epochs_per_stage", "1"]
    with subprocess.Popen(
        command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("Epoch 4/"):  # the last stage has been opened
                process.kill()
    (killed,) = (project / "runs").iterdir()
    assert (killed / "state").is_dir()

    said = run(command[1:], project)
    assert f"Going on with the interrupted training in {killed}; --fresh begins anew." in said
    assert "3 epochs are done" in said and "Epoch 3/" not in said
    said = run([*command[1:], "--fresh"], project)
    assert "Epoch 1/" in said
    first, second = sorted((project / "runs").iterdir())
    assert first == killed and not (first / "state").exists()
    assert (first / "history.csv").read_text() == (second / "history.csv").read_text()
    models = [tlkit.load_model(folder / "model.keras", compile=False) for folder in (first, second)]
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)


ADAPTATION_COMMANDS = """
    short = "--epochs 2 --head_epochs 0 --stages_to_open 1 --epochs_per_stage 1 --batch_size 8".split()
    command("train", "--target", "", code=1)
    command("train", "--target", "TARGET/nowhere", code=1)
    command("train", "--target", "PHOTOS", code=1)
    for method in ("cdan", "coral"):  # others are compared below
        command("train", *short, "--adaptation", method)
    command("train", *short, "--adaptation", "none")
    command("evaluate", *RUNS())
    command("predict", "TARGET/train", "--run", RUNS()[0])
    command("export", "--run", RUNS()[1], "--to", "exported")
    command("tune", "--trials", "1", *short, "--stages_to_open", "0", "--confirm", "0")
    command("compare", *short, "--methods", "mcc,cdann", code=1)
    command("compare", *short, "--seeds", "1", "--methods", "mcc,dann", "--strategy", "one-device")
    command("compare", *short, "--seeds", "1", "--methods", "mcc,dann", "--strategy", "one-device", "--patience", "6")
"""


@pytest.mark.slow
def test_a_project_with_adaptation_works(photos, tmp_path):
    target = make_negatives(photos, tmp_path / "negatives")
    given = {"adaptation": "cdan", "target": str(target), "image_size": 64}
    project = generate("image-classifier", tmp_path, data=photos, given=given)
    said, errors = run_commands(project, ADAPTATION_COMMANDS.replace("TARGET", str(target)), photos)
    assert "The setting 'target' is ''. Expected a folder of unlabelled photos for the adaptation 'cdan'" in errors[0]
    assert "There is no folder" in errors[1]
    assert "source and target are the same" in errors[2] or "is in the source, too" in errors[2]
    assert "The methods are 'mcc,cdann'. Expected some of dann, cdan, dan, coral, mcc" in errors[3]
    assert len(errors) == 4
    *adapted, plain = sorted((project / "runs").iterdir())
    for folder in adapted:
        history = (folder / "history.csv").read_text().splitlines()
        assert "target_information" in history[0] and "reversal_scale" in history[0]
    for folder in (*adapted, plain):
        assert json.loads((folder / "metrics.json").read_text())["target"]["num_examples"] == 20
        assert (folder / "domains.png").stat().st_size > 10_000
    both = next(part for command, part in said.items() if command.startswith("evaluate"))
    assert both.count("points of target accuracy, of one training each") == 2
    assert (project / "exported" / "saved_model.pb").is_file()
    assert json.loads((project / "tuning" / "best.json").read_text())["adaptation"] == "cdan"
    comparison = json.loads((project / "comparison" / "adaptation.json").read_text())
    assert comparison["measure"] == "target_accuracy" and len(comparison["runs"]) == 3
    assert (project / "comparison" / "adaptation.png").is_file()


@pytest.mark.slow
def test_a_killed_adaptation_goes_on_and_ends_in_the_same_weights(photos, tmp_path):
    import tlkit

    given = {"adaptation": "dann", "target": str(make_negatives(photos, tmp_path / "negatives")), "image_size": 64}
    project = generate("image-classifier", tmp_path, data=photos, given=given)
    command = ["-m", "flowers.train", "--epochs", "4", "--head_epochs", "1", "--epochs_per_stage", "1"]
    with subprocess.Popen(
        [sys.executable, *command], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("Epoch 4/"):
                process.kill()
    run(command, project)
    run([*command, "--fresh"], project)
    first, second = sorted((project / "runs").iterdir())
    assert (first / "history.csv").read_text() == (second / "history.csv").read_text()
    models = [tlkit.load_model(folder / "model.keras", compile=False) for folder in (first, second)]
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)


def make_table(folder):
    """48 photos in bursts of three, of noise, with a red and a green square each or not, named in a table."""
    random, lines = np.random.default_rng(0), ["file,label,group"]
    folder.mkdir()
    for number in range(48):
        pixels, labels = random.integers(60, 160, (64, 64, 3)), []
        for channel, name in enumerate(("red", "green")):
            if random.random() < 0.5:
                x, y = random.integers(0, 40, 2)
                pixels[x : x + 24, y : y + 24] = 255 * np.eye(3)[channel]
                labels.append(name)
        Image.fromarray(pixels.astype("uint8")).save(folder / f"{number:02d}.png")
        lines.append(f"{number:02d}.png,{'|'.join(labels)},burst {number // 3}")
    (folder / "table.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "table.csv"


MULTI_LABEL_COMMANDS = """
    short = "--epochs 2 --head_epochs 1 --stages_to_open 1 --epochs_per_stage 1 --batch_size 8".split()
    command("train", *short, "--monitor", "val_pr_auc")
    command("train", *short, "--weights", "random", "--precision", "mixed_bfloat16", "--monitor", "val_accuracy")
    command("evaluate", *RUNS())
    command("predict", "PHOTOS")
    command("export", "--format", "litert", "--quantize", "float16", "--to", "lite")
    command("tune", "--trials", "2", *short[2:], "--epochs", "5", "--monitor", "val_pr_auc", "--confirm", "0")
    text = open("PHOTOS/table.csv").read().replace("red|green", "both").replace(",,", ",none,")
    print(text, file=open("PHOTOS/one_label.csv", "w"))
    command("train", *short, "--data", "PHOTOS/one_label.csv")
    command("train", "--data", "PHOTOS/one_label.csv", "--group_pattern", "([0-9])[0-9]", code=1)
    from flowers.predict import predict_files
    run, photo = pathlib.Path("runs") / RUNS()[0], pathlib.Path("PHOTOS/00.png")
    found, ((_, said, _),) = served(photo.read_bytes(), "image/png", run), predict_files(run, [photo])
    assert found["said"] == list(said) == [each["class"] for each in found["classes"] if each["probability"] > 0.5]
"""


@pytest.mark.slow
def test_a_multi_label_project_works(tmp_path):
    table = make_table(tmp_path / "squares")
    project = generate("image-classifier", tmp_path, data=table)
    assert 'data: str = "../squares/table.csv"' in (project / "flowers/config.py").read_text(encoding="utf-8")
    said, errors = run_commands(project, MULTI_LABEL_COMMANDS, "../squares")
    *multi_label, one_label = sorted((project / "runs").iterdir())
    for folder in multi_label:
        assert {file.name for file in folder.iterdir()} == {
            "model.keras", "config.json", "class_names.json", "history.csv", "metrics.json", "tensorboard",
            "run.json", "report.html",
            "learning_curves.png", "class_scores.png", "most_wrong.png", "data_report.json", "data_report.txt",
        }  # fmt: skip
        metrics = json.loads((folder / "metrics.json").read_text())["test"]
        assert metrics["per_class"].keys() == {"red", "green"} and 0 <= metrics["mean_average_precision"] <= 1
        assert metrics["num_examples"] % 3 == 0  # whole bursts
    assert json.loads((project / "lite" / "export.json").read_text())["multi_label"] is True
    both = next(part for command, part in said.items() if command.startswith("evaluate"))
    assert re.search(r"Pretrained over random weights.* points of test mean average precision\.", both)
    predictions = next(part for command, part in said.items() if command.startswith("predict"))
    assert predictions.count(".png") == 48
    assert json.loads((project / "tuning" / "best.json").read_text())["monitor"] == "val_pr_auc"
    assert json.loads((one_label / "class_names.json").read_text()) == ["both", "green", "none", "red"]
    assert (one_label / "confusion_matrix.png").is_file()
    assert len(errors) == 1 and "has a column 'group', and a group_pattern is given as well" in errors[0]
