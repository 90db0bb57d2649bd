"""Projects of the template text-classifier, used as a user would: every command, bad input, another style, resume."""

import csv
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from projects import generate, make_messages, run, run_commands

from tlkit import UserError

SHORT = "--epochs 2 --head_epochs 1 --stages_to_open 1 --epochs_per_stage 1 --batch_size 8"

COMMANDS = f"""
    short = "{SHORT}".split()
    command("evaluate", code=1)
    command("train", "--text_column", "review", code=1)
    command("train", "--stages_to_open", "9", "--epochs", "80", code=1)
    command("train", "--data", "one_class.csv", code=1)
    command("train", "--data", "workbook.csv", code=1)
    command("train", "--find_learning_rate")
    command("train", *short, "--precision", "mixed_bfloat16", "--strategy", "mirrored")
    command("train", *short, "--weights", "random")
    command("evaluate", *RUNS())
    command("predict", "the bee was seen", "", "caf\\udce9", "--file", "PHOTOS", "odd.txt")
    command("predict", "caf\\udce9", "--file", "PHOTOS", "odd.txt", "notes.jsonl", "--to", "said.csv")
    command("predict", "--file", "none.csv", code=1)
    command("predict", "--file", "notes.jsonl", "--text_column", "words", "--to", "notes.csv")
    command("export", "--to", "exported")
    command("tune", "--trials", "1", "--folder", "search", *short)
    command("train", "--config", "search/best.json", "--stages_to_open", "0")
    from flowers.evaluate import load_class_names
    from flowers.model import load_classifier
    from flowers.predict import predict
    run, text = pathlib.Path("runs") / RUNS()[0], "the bee, 'was' \\n seen"
    found = served(json.dumps({{"text": text}}), "application/json", run)
    ((_, name, probability),) = predict(load_classifier(run / "model.keras"), load_class_names(run), [text])
    assert found["said"] == [name] and found["classes"][0] == {{"class": name, "probability": probability}}
"""


def test_answers_name_the_columns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = make_messages(tmp_path / "reviews.csv")
    table.write_text(table.read_text().replace("text,label", "review,stars"), encoding="utf-8")
    with pytest.raises(UserError) as error:
        generate("text-classifier", tmp_path, data=table)
    assert "no column 'text' and no column 'label'. Its columns are 'review', 'stars': did you mean" in str(error.value)
    given = {"text_column": "review", "label_column": "stars"}
    project = generate("text-classifier", tmp_path, data=table, given=given)
    config = (project / "flowers/config.py").read_text(encoding="utf-8")
    assert 'text_column: str = "review"' in config and 'label_column: str = "stars"' in config
    assert (project / "data_report.txt").is_file()


@pytest.mark.parametrize(("backbone", "schedule"), [
    ("tlkit:mini-text", (10, 2, 2, 20)),
    ("kerashub:bert_tiny_en_uncased", (1, 3, 1, 6)),
    ("https://tfhub.dev/tensorflow/bert_en_uncased_L-12_H-768_A-12/4", (1, 3, 1, 6)),
    ("https://tfhub.dev/google/nnlm-en-dim50/2", (10, 2, 2, 20)),
])  # fmt: skip
def test_a_transformer_trains_for_fewer_epochs(backbone, schedule, tmp_path):
    table = make_messages(tmp_path / "messages.csv")
    project = generate("text-classifier", tmp_path, data=table, given={"backbone": backbone})
    config = (project / "flowers/config.py").read_text(encoding="utf-8")
    for name, value in zip(("head_epochs", "stages_to_open", "epochs_per_stage", "epochs"), schedule, strict=True):
        assert f"    {name}: int = {value}\n" in config
    assert f"    backbone_dropout: bool = {schedule[0] == 1}\n" in config
    assert f"    stages: int = {3 if schedule[0] == 1 else 0}\n" in config


def test_a_target_may_be_a_table(tmp_path):
    table, target = make_messages(tmp_path / "letters.csv"), tmp_path / "chats.csv"
    target.write_text("text\nhi there\nwhere r u\nok\n", encoding="utf-8")
    given = {"adaptation": "mcc", "target": str(target)}
    project = generate("text-classifier", tmp_path, data=table, given=given)
    assert 'target: str = "../chats.csv"' in (project / "flowers/config.py").read_text(encoding="utf-8")
    with pytest.raises(UserError, match="'target' is the file of the labelled data"):
        generate("text-classifier", tmp_path / "other", data=table, given={**given, "target": str(table)})


def test_sample_texts_of_two_styles(tmp_path):
    project = generate("text-classifier", tmp_path, given={"adaptation": "dann"})
    assert 'target: str = "target"' in (project / "flowers/config.py").read_text(encoding="utf-8")
    assert [path.name for path in (project / "data").iterdir()] == ["messages.csv"]
    assert sorted(path.name for path in (project / "target").iterdir()) == ["test.csv", "train.csv"]


@pytest.mark.slow
def test_every_command_works(tmp_path):
    table = make_messages(tmp_path / "messages.csv")
    project = generate("text-classifier", tmp_path, data=table)
    (project / "one_class.csv").write_text("text,label\na,x\nb,x\nc,x\n", encoding="utf-8")
    (project / "workbook.csv").write_bytes(b"PK\x03\x04" + bytes(100))
    (project / "notes.jsonl").write_text(
        '{"text": "the oak", "words": "the bee"}\n{"text": "the bee", "words": "", "stars": 4.5}\n', encoding="utf-8"
    )
    (project / "odd.txt").write_text("bee " * 25_000 + "\U0001f41d שלום", encoding="utf-8")
    said, errors = run_commands(project, COMMANDS, table)
    assert "There is no trained model in" in errors[0]
    assert "has no column 'review'. Its columns are 'text', 'label'" in errors[1] and "--text_column" in errors[1]
    assert "The setting 'stages_to_open' is 9. Expected at most" in errors[2]
    assert "one_class.csv" in errors[3] and "class" in errors[3]
    assert "an Excel workbook" in errors[4]
    assert errors[5] == (
        "Error: There is no file or folder none.csv: give a .txt file, which is one text, a table (.csv, .tsv, .jsonl, "
        ".ndjson) with the column 'text', or a folder of these."
    )
    assert len(errors) == 6
    runs = sorted(path for path in (project / "runs").iterdir() if path.is_dir())
    assert len(runs) == 3  # a mistake leaves none behind
    for folder in runs:
        weights = json.loads((folder / "config.json").read_text())["weights"]
        first_row = {"without_training.json"} if weights == "pretrained" else set()
        assert {file.name for file in folder.iterdir()} == first_row | {
            "model.keras", "config.json", "class_names.json", "history.csv", "metrics.json", "tensorboard",
            "run.json", "report.html",
            "learning_curves.png", "confusion_matrix.png", "calibration.png", "accuracy_by_length.png",
            "most_wrong.html", "data_report.json", "data_report.txt",
        }  # fmt: skip
        assert json.loads((folder / "class_names.json").read_text()) == ["animal", "plant"]
    assert re.search(r"--learning_rate [1-9]\.[0-9]e-0[1-6]", said["train --find_learning_rate"])
    assert "Takes texts, lower-cased." in next(part for command, part in said.items() if "random" in command)
    both = next(part for command, part in said.items() if command.startswith("evaluate 2"))
    assert "Pretrained over random weights, by the same schedule: " in both
    predictions = next(part for command, part in said.items() if command.startswith("predict"))
    lines = [line.split("\t") for line in predictions.splitlines() if "\t" in line]
    assert len(lines) == 3 + 40 + 1
    assert lines[2][2] == "caf?"  # a byte that is no UTF-8, as Python hands it to a program
    assert lines[-1][2] == "bee " * 25_000 + "\U0001f41d שלום"  # not cut
    with (project / "said.csv").open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert list(rows[0]) == ["text", "label", "words", "stars", "predicted", "confidence"]
    assert len(rows) == 1 + 40 + 1 + 2 and rows[0]["text"] == "caf?"
    assert [row["stars"] for row in rows[-2:]] == ["", "4.5"] and rows[-2]["words"] == "the bee"
    assert {row["predicted"] for row in rows} <= {"animal", "plant"} and 0.5 <= float(rows[0]["confidence"]) <= 1
    with (project / "notes.csv").open(encoding="utf-8", newline="") as opened:
        assert [row["words"] for row in csv.DictReader(opened)] == ["the bee", ""]
    piped = subprocess.run(
        f"{sys.executable} -m flowers.predict --file {table} | head -n 1", shell=True, cwd=project, capture_output=True
    )
    assert piped.stdout.count(b"\n") == 1 and b"BrokenPipe" not in piped.stderr
    exported = next(part for command, part in said.items() if command.startswith("export"))
    assert "the same answer to 100.0%" in exported
    script = """
        import sys, numpy as np, tensorflow as tf
        serve = tf.saved_model.load("exported").signatures["serving_default"]
        answer = serve(texts=tf.constant(["the oak was seen here", ""]))
        assert answer["probabilities"].shape == (2, 2) and answer["label"].numpy()[0] in (b"animal", b"plant")
        assert "tlkit" not in sys.modules
    """
    lines = [line.strip() for line in script.strip().splitlines()]
    run(["-c", "\n".join(lines)], project)


ADAPTATION_COMMANDS = f"""
    short = "{SHORT}".split()
    command("train", "--target", "PHOTOS", code=1)
    command("train", *short, "--adaptation", "dann")
    command("compare", *short, "--seeds", "1", "--methods", "mcc")
"""


@pytest.mark.slow
def test_a_project_with_adaptation_works(tmp_path):
    table = make_messages(tmp_path / "messages.csv")
    lines = [line.replace("the ", "teh ").upper() for line in table.read_text().splitlines()[1:]]
    (tmp_path / "chats").mkdir()
    train = [line.rpartition(",")[0] for line in lines[:24]]
    (tmp_path / "chats" / "train.csv").write_text("\n".join(["text", *train]), encoding="utf-8")
    labelled = [line.rpartition(",")[0] + "," + line.rpartition(",")[2].lower() for line in lines[24:]]
    (tmp_path / "chats" / "test.csv").write_text("\n".join(["text,label", *labelled]), encoding="utf-8")
    given = {"adaptation": "cdan", "target": str(tmp_path / "chats")}
    project = generate("text-classifier", tmp_path, data=table, given=given)
    _, errors = run_commands(project, ADAPTATION_COMMANDS, table)
    assert len(errors) == 1 and "every one of the 40 texts of the target is in the source, too" in errors[0]
    (adapted,) = (project / "runs").iterdir()
    assert json.loads((adapted / "metrics.json").read_text())["target"]["num_examples"] == 16
    assert (adapted / "domains.png").stat().st_size > 10_000
    comparison = json.loads((project / "comparison" / "adaptation.json").read_text())
    assert comparison["measure"] == "target_accuracy" and len(comparison["runs"]) == 2


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_in_the_same_weights(tmp_path):
    import tlkit

    project = generate("text-classifier", tmp_path, data=make_messages(tmp_path / "messages.csv"))
    command = ["-m", "flowers.train", "--epochs", "4", "--head_epochs", "1", "--epochs_per_stage", "1"]
    with subprocess.Popen(
        [sys.executable, *command], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("Epoch 4/"):
                process.kill()
    assert "Going on with the interrupted training" in run(command, project)
    run([*command, "--fresh"], project)
    first, second = sorted((project / "runs").iterdir())
    assert (first / "history.csv").read_text() == (second / "history.csv").read_text()
    models = [tlkit.load_model(folder / "model.keras", compile=False) for folder in (first, second)]
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)
