"""The detection project in use: every command, a killed training, a class more, an export that needs no tlkit."""

import json
import subprocess
import sys

import numpy as np
import pytest
from projects import generate, make_scenes, run, run_commands

pytest.importorskip("pycocotools")

SHORT = "--image_size 96 --epochs 2 --head_epochs 1 --stages_to_open 1 --epochs_per_stage 1 --batch_size 4 --width 16"

COMMANDS = f"""
    short = "{SHORT}".split()
    command("evaluate", code=1)
    command("train", "--data", "nowhere.csv", code=1)
    command("train", "--image_size", "100", code=1)
    command("train", *short, "--stages_to_open", "9", "--epochs", "80", code=1)
    command("train", *short, "--data", "../scenes/bad.csv", code=1)
    command("train", *short, "--start_from", "nowhere", code=1)
    command("train", *short, "--precision", "mixed_bfloat16", "--strategy", "mirrored")
    command("train", *short, "--weights", "random", "--data", "../scenes/bad.csv", "--on_bad", "skip")
    command("evaluate", *RUNS())
    command("predict", "PHOTOS", "broken.jpg", "missing.jpg", "--score", "0.01", "--to", "found")
    command("export", "--to", "exported")
    command("tune", "--trials", "1", "--folder", "search", *short)
    command("train", "--config", "search/best.json", "--data", "../scenes/more.csv", "--start_from", RUNS()[0])
    import numpy as np
    from flowers.predict import predict_files
    run, image = pathlib.Path("runs") / RUNS()[0], pathlib.Path("PHOTOS/test0.png")
    found, (predicted,) = served(image.read_bytes(), "image/png", run), predict_files(run, [image], 0.05)
    assert [each["class"] for each in found["boxes"]] == predicted.class_names and found["boxes"]
    assert np.allclose([each["box"] for each in found["boxes"]], predicted.boxes, atol=0.01)
    assert np.allclose([each["score"] for each in found["boxes"]], predicted.scores, atol=1e-5)
    assert found["size"] == [96, 96] and found["shown_from"] == 0.4
"""


@pytest.mark.slow
def test_every_command_works(tmp_path):
    (tmp_path / "scenes").mkdir()
    table = make_scenes(tmp_path / "scenes")
    project = generate("detection-head", tmp_path, data=table, given={"image_size": 96})
    lines = table.read_text(encoding="utf-8").splitlines()
    for name, text in {
        "bad.csv": [*lines, "train0.png,10,10,10,40,dark,train"],  # no width
        "more.csv": [lines[0], *(line.replace("dark", "amber") for line in lines[1:4]), *lines[4:]],
    }.items():
        (table.parent / name).write_text("\n".join(text), encoding="utf-8")
    (project / "broken.jpg").write_bytes(b"no image at all")
    said, errors = run_commands(project, COMMANDS, table.parent)
    assert "There is no trained model in" in errors[0]
    assert "nowhere.csv" in errors[1]
    assert "The setting 'image_size' is 100. Expected a multiple of 32 pixels" in errors[2]
    assert "The setting 'stages_to_open' is 9. Expected at most 5, the stages of 'tlkit:mini-image'." in errors[3]
    assert "bad.csv, line 42: the box (dark) from (10, 10) to (10, 40) has no area." in errors[4]
    assert "The setting 'start_from' is 'nowhere', where there is no trained detector." in errors[5]
    assert len(errors) == 6
    runs = sorted(path for path in (project / "runs").iterdir() if path.is_dir())
    assert len(runs) == 3  # a mistake leaves none behind
    for folder in runs:
        assert {file.name for file in folder.iterdir()} >= {
            "model.keras", "config.json", "class_names.json", "history.csv", "metrics.json", "tensorboard",
            "run.json", "report.html",
            "learning_curves.png", "precision_recall.png", "examples.png", "worst.png",
            "data_report.json", "data_report.txt",
        }  # fmt: skip
    both = next(part for command, part in said.items() if command.startswith("evaluate 2"))
    assert "Pretrained over random weights, by the same schedule: " in both
    predictions = next(part for command, part in said.items() if command.startswith("predict"))
    assert all(f"{name} " in predictions or name in predictions for name in ("broken.jpg", "missing.jpg"))
    assert len(list((project / "found").glob("*.png"))) == 20
    assert (project / "found" / "boxes.csv").read_text().startswith("image,xmin,ymin,xmax,ymax,class,score\n")
    assert "new classes: amber." in next(part for command, part in said.items() if "more.csv" in command)
    assert json.loads((runs[2] / "class_names.json").read_text()) == ["amber", "bright", "dark"]
    export = json.loads((project / "exported" / "export.json").read_text())
    assert export["class_names"] == ["bright", "dark"] and export["agreement"]["largest_difference"] < 1e-2
    script = """
        import sys, pathlib, tensorflow as tf
        detect = tf.saved_model.load("exported").signatures["serving_default"]
        files = sorted(pathlib.Path("../scenes").glob("test*.png"))
        found = detect(image_bytes=tf.constant([file.read_bytes() for file in files]))
        assert found["boxes"].shape == (4, 100, 4) and found["class_names"][0].numpy().tolist() == [b"bright", b"dark"]
        assert float(tf.reduce_max(found["boxes"])) <= 96
        assert "tlkit" not in sys.modules
    """
    run(["-c", "\n".join(line.strip() for line in script.strip().splitlines())], project)


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_in_the_same_weights(tmp_path):
    import tlkit

    (tmp_path / "scenes").mkdir()
    table = make_scenes(tmp_path / "scenes", (("train", 8), ("val", 2)))
    project = generate("detection-head", tmp_path, data=table, given={"image_size": 96})
    command = [sys.executable, "-m", "flowers.train", *SHORT.split(), "--epochs", "3"]
    with subprocess.Popen(
        command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("Epoch 3/"):  # the stage has been opened
                process.kill()
    said = run(command[1:], project)
    assert "2 epochs are done" in said and "Epoch 2/" not in said
    run([*command[1:], "--fresh"], project)
    first, second = sorted((project / "runs").iterdir())
    assert (first / "history.csv").read_text() == (second / "history.csv").read_text()
    models = [tlkit.load_model(folder / "model.keras", compile=False) for folder in (first, second)]
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)
