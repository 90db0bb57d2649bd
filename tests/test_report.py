"""The page about a run: whole, safe, and plain about what it does not know."""

import base64
import contextlib
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import keras
import numpy as np
import pytest
from PIL import Image
from run_folders import (
    IMAGES,
    RECORD,
    judged,
    make_detection_run,
    make_image_run,
    make_project,
    make_run,
    make_text_run,
    write_history,
)
from typer.testing import CliRunner

from tlkit import UserError
from tlkit.callbacks import ProgressiveUnfreezing, RunRecord
from tlkit.cli.app import app
from tlkit.report import write_report, write_side_by_side
from tlkit.report.numbers import calibration_sentence
from tlkit.report.run_folder import read_run
from tlkit.report.story import duration

VOID = {"meta", "link", "img", "source", "br"}
MAY_STAY_OPEN = {"li", "dt", "dd"}


class Page(HTMLParser):
    """A page taken apart: tags in balance, what it loads, its words."""

    def __init__(self, file):
        super().__init__()
        self.open, self.tags, self.words, self.loads = [], [], [], []
        self.feed(file.read_bytes().decode("utf-8"))
        self.close()
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.loads += [v for k, v in attrs if k in ("src", "srcset", "href", "action", "data", "poster")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.words.append(data)


def read_page(file):
    """The page, after what holds of every page: it parses, loads nothing and runs nothing."""
    page = Page(file)
    assert all(load.startswith(("data:", "#")) for load in page.loads)
    assert not {tag for tag, _ in page.tags} & {"script", "iframe", "object", "embed", "form", "base"}
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "script" not in policy and "http" not in policy
    style = re.search(r"<style>(.*?)</style>", file.read_text(encoding="utf-8"), re.DOTALL)[1]
    assert "prefers-color-scheme: dark" in style and "url(" not in style and "@import" not in style
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    for attrs in images:
        assert attrs["alt"] and re.match(r"data:image/(png|jpeg);base64,", attrs["src"])
        with Image.open(io.BytesIO(base64.b64decode(attrs["src"].partition(",")[2]))) as image:
            image.load()
    return page


def test_a_run_of_images_from_top_to_bottom(tmp_path):
    run = make_image_run(make_project(tmp_path))
    write_history(run / "history.csv")
    file = write_report(run)
    assert file == run / "report.html"
    page = read_page(file)
    assert "Run report: image classifier" in page.text and "2026-11-21_13-35-17" in page.text
    assert (
        "tlkit:mini-image with pretrained weights; 3 classes; 127 images to learn from; 6 epochs in 43 s" in page.text
    )
    assert "80.4% accuracy on 102 test images, 95 % interval 71.6 to 86.9%" in page.text  # Wilson's, 82 of 102
    assert "Transfer gain over random weights was not measured" in page.text
    assert "python -m flowers.train --config runs/2026-11-21_13-35-17/config.json --weights random" in page.text
    assert "the head alone for 2 epochs, then stages open, from the top: 1 from epoch 3, 2 from epoch 5" in page.text
    assert "0.001 for the head, times 0.5 for each stage below it" in page.text
    assert "the model of epoch 6 of 6, the one with the lowest val_loss" in page.text
    assert re.search(r"ant +is taken for +cat +\(20 of 100\)", page.text)
    assert "python -m flowers.train --config runs/2026-11-21_13-35-17/config.json --fresh" in page.text
    assert "python -m flowers.train --epochs 6" in page.text
    assert "tlkit 0.1.0, tensorflow 2.21.0" in page.text and "127 images (10f036ccc7f4)" in page.text
    assert "stride_16 0.05 % stride_32 0.4 % 0.2 % other layers 25 % 3 % 1 %" in page.text
    assert "epochs 1 to 2" in page.text and "epochs 5 to 6" in page.text
    assert sum(tag == "img" for tag, _ in page.tags) == 4  # the curves, too
    assert "Adaptation" not in page.text and "Search for settings" not in page.text


def test_what_transfer_gained_is_known_to_both(tmp_path):
    runs = make_project(tmp_path)
    pretrained = make_image_run(runs)
    write_report(pretrained)
    random = make_image_run(runs, "2026-11-21_13-40-00", right=10, wrong=90, weights="random", inspect=False)
    make_image_run(runs, "2026-11-21_13-50-00", right=50, wrong=50, weights="random", seed=1)  # another training
    (runs / "2026-11-21_13-45-00").mkdir()  # damaged ones do not matter
    (runs / "2026-11-21_13-45-00" / "config.json").write_text("{", encoding="utf-8")
    write_report(random)
    sentence = (
        "Pretrained over random weights, by the same schedule: +68.6 points of test accuracy (80.4% against 11.8%). "
        "Their 95 % intervals do not overlap."
    )
    assert sentence in read_page(random / "report.html").text
    assert sentence in read_page(pretrained / "report.html").text  # written anew


def test_a_gain_within_the_intervals_may_be_chance_and_other_data_are_not_compared(tmp_path):
    runs = make_project(tmp_path)
    run = make_image_run(runs)
    other = make_image_run(runs, "2026-11-21_13-40-00", right=78, wrong=22, weights="random")
    assert "overlap: it may be chance" in read_page(write_report(run)).text
    (other / "run.json").write_text(json.dumps(RECORD | {"data": {"train": "9 images (0)"}}), encoding="utf-8")
    assert "was not measured" in read_page(write_report(run)).text
    assert "it is the baseline" in read_page(write_report(other)).text


@pytest.mark.parametrize(
    ("right", "sentence"),
    [
        (90, "reaches 80.0%. The 95 % intervals overlap: what the training added may be chance."),
        (75, "reaches 80.0%: the training was not better, though the 95 % intervals overlap."),
        (100, "reaches 80.0%: the training is better than that beyond chance."),
        (20, "reaches 80.0%: the training is worse than that beyond chance."),
    ],
)
def test_what_there_is_without_training(right, sentence, tmp_path):
    run = make_image_run(tmp_path, right=right, wrong=100 - right)
    words = "Without training, a regression on the closed backbone's features"
    assert words not in read_page(write_report(run)).text
    found = {"head": "ridge", "accuracy": 0.8, "accuracy_interval": [0.711, 0.867]}  # 80 of 100
    (run / "without_training.json").write_text(json.dumps(found), encoding="utf-8")
    assert f"{words} {sentence}" in read_page(write_report(run)).text
    other = make_image_run(tmp_path, "b", weights="random")
    page = read_page(write_side_by_side([run, other], tmp_path / "side.html"))
    assert "without training 80.0% – accuracy" in page.text


def test_a_run_of_texts_shows_the_most_wrong_ones(tmp_path):
    run = make_text_run(make_project(tmp_path), texts=["free at <last>", "שלום free"])
    page = read_page(write_report(run))
    assert "Run report: text classifier" in page.text
    assert "said spam 80.0%" in page.text and "true: ham 20.0%" in page.text and "messages.csv, line 2" in page.text
    marked = [attrs for tag, attrs in page.tags if attrs.get("class") == "for" and tag == "span"]
    assert len(marked) == 3  # "free" twice, and the key
    assert "free at <last>" in page.text and "שלום" in page.text


def test_a_run_of_boxes(tmp_path):
    runs = make_project(tmp_path)
    run = make_detection_run(runs)
    make_detection_run(runs, "2026-11-21_15-10-00", map50=0.375, weights="random")
    page = read_page(write_report(run))
    assert "Run report: detector" in page.text and "0.500 mAP50 on 60 boxes in 50 test images" in page.text
    assert "+0.125 of test mAP50 (0.500 against 0.375)." in page.text
    assert "The images with the most mistakes" in page.text
    assert "It is not known: the run has no run.json" in page.text  # how far stages moved


def test_several_labels_an_image_have_another_headline(tmp_path):
    metrics = {"test": {"num_examples": 20, "mean_average_precision": 0.75, "macro_f1": 0.5, "exact_match": 0.25,
                        "per_class": {"ant": {"average_precision": None, "f1": 0.5, "num_positives": 0}}}}  # fmt: skip
    page = read_page(write_report(make_run(tmp_path, metrics=metrics)))
    assert "75.0% mean average precision on 20 test images" in page.text and "macro F1 50.0%" in page.text


def test_an_adapted_run_has_a_verdict(tmp_path):
    runs = make_project(tmp_path)
    metrics = {"test": judged(80, 20), "target": judged(60, 40)}
    config = IMAGES | {"adaptation": "dann", "target": "phone"}
    run = make_run(runs, config=config, metrics=metrics, pictures=["domains"])
    page = read_page(write_report(run))
    assert "Whether adaptation helps was not measured" in page.text
    assert "python -m flowers.compare --methods dann" in page.text
    assert "60.8% accuracy on 102 labelled target examples (95 % interval" in page.text
    make_run(runs, "2026-11-21_12-00-00", config=config | {"adaptation": "none"},
             metrics=metrics | {"target": judged(50, 50)})  # fmt: skip
    comparison = tmp_path / "comparison"
    verdict = ["dann: adaptation helped, +18.9 points of target accuracy (3 seeds).", "It closes 80 % of the gap."]
    make_run(comparison, "dann-0", config=config | {"epochs": 9})
    (comparison / "adaptation.json").write_text(json.dumps({"verdicts": {"dann": verdict}}), encoding="utf-8")
    page = read_page(write_report(run))
    assert all(sentence in page.text for sentence in verdict)
    assert "By the comparison in comparison/, which trained with other settings: epochs." in page.text
    assert "Adapted with dann over not adapted: +9.8 points of target accuracy, of one training each." in page.text
    assert "not measured. A comparison" not in page.text


def test_a_run_with_settings_from_a_search(tmp_path):
    runs = make_project(tmp_path)
    run = make_image_run(runs, learning_rate=0.004)
    search = tmp_path / "tuning"
    search.mkdir()
    (search / "search.json").write_text("{}", encoding="utf-8")
    (search / "best.json").write_text((run / "config.json").read_text(), encoding="utf-8")
    Image.new("RGB", (40, 30)).save(search / "trials.png")
    assert "Search for settings" not in read_page(write_report(run)).text  # it was begun without `--config`
    (run / "run.json").unlink()
    assert "What the search found is in tuning/report.md." in read_page(write_report(run)).text  # of an older version
    summary = {"objective": "val_loss", "direction": "min", "num_trials": 30, "num_failed": 2,
               "verdict": "It may be luck.", "default": {"learning_rate": 0.001},
               "best": {"learning_rate": 0.004}}  # fmt: skip
    (search / "report.json").write_text(json.dumps(summary), encoding="utf-8")
    page = read_page(write_report(run))
    assert "The settings came from the search in tuning/ . 30 trials, of which 2 failed" in page.text
    assert "It may be luck." in page.text and "learning_rate 0.001 0.004" in page.text
    (run / "run.json").write_text(json.dumps(RECORD | {"command": "python -m flowers.train --config best --seed 3"}))
    (run / "config.json").write_text(json.dumps(IMAGES | {"seed": 3}), encoding="utf-8")
    assert "The settings came from the search" in read_page(write_report(run)).text
    trial = make_image_run(search / "trial_0", "run")
    assert "This run is a part of the search" in read_page(write_report(trial)).text
    assert "Search for settings" not in read_page(write_report(make_image_run(runs, "other"))).text


def test_a_run_of_an_older_version_says_what_is_missing(tmp_path):
    run = tmp_path / "copied"
    run.mkdir()
    (run / "config.json").write_text('{"weights": "pretrained"}', encoding="utf-8")
    page = read_page(write_report(run))
    for sentence in (
        "This run was not judged",
        "There are none: the run has no history.csv",
        "What goes wrong is not known",
        "It is not known: the run has no run.json",
        "Versions, device and the data's fingerprint are not known",
    ):
        assert sentence in page.text
    (run / "metrics.json").write_text('{"test": {}}', encoding="utf-8")
    (run / "config.json").unlink()
    page = read_page(write_report(run))
    assert "what weights it began with is not known" in page.text and "config.json is missing" in page.text


def test_a_training_that_was_stopped_says_so(tmp_path):
    run = make_image_run(tmp_path)
    (run / "state" / "epoch_00004").mkdir(parents=True)
    assert "Stopped after epoch 4 of 6, or still training" in read_page(write_report(run)).text


def test_names_and_texts_are_shown_not_obeyed(tmp_path):
    evil = '<script>alert(1)</script>"><img src="http://evil.example/x" onerror=alert(1)>'
    runs = make_project(tmp_path)
    text = make_text_run(runs, texts=[f"free {evil}", "free \udcff half"], classes=(evil, "{{ 7 * 7 }}"))
    config = {**IMAGES, "data": evil, "backbone": f"x\n\x1b[31m{evil}", evil: evil}
    record = {**RECORD, "command": evil, "data": {evil: evil}, "versions": {evil: evil}, "device": evil, "began": evil,
              "movements": [[0, {evil: 0.5}]]}  # fmt: skip
    image = make_run(runs, "b", config=config, record=record, metrics={"test": judged(8, 2, [evil, "b\x00"])},
                     classes=[evil, "b\x00"])  # fmt: skip
    (image / "data_report.json").write_text(json.dumps({"findings": [{"severity": evil, "sentence": evil}]}))
    for file in (write_report(text), write_report(image), write_side_by_side([text, image], tmp_path / "both.html")):
        page = read_page(file)
        assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in read_page(text / "report.html").text  # no template of ours


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("metrics.json", '{"test": {"accuracy"', "judge the run again"),
        ("metrics.json", "[]", "it holds no object"),
        ("metrics.json", '{"test": 3}', "'test' is no table of numbers"),
        ("config.json", "\x00", "copy it from another run"),
        ("class_names.json", "{}", "it holds no list"),
        ("run.json", '{"movements": [[1, {"a": "far"}]]}', "a movement is no number"),
        ("run.json", '{"movements": 7}', "delete it"),
        ("history.csv", "epoch,loss\n0,none", "delete it: only the curves"),
    ],
)
def test_a_damaged_file_is_named_in_one_sentence(file, content, said, tmp_path):
    run = make_image_run(tmp_path)
    (run / file).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(said)) as error:
        write_report(run)
    assert file in str(error.value) and "\n" not in str(error.value)
    assert not (run / "report.html").exists()


def test_odd_numbers_and_pictures_do_not_stop_it(tmp_path):
    metrics = {"test": {"accuracy": float("nan"), "per_class": [1], "confusion_matrix": [[1]], "calibration": 3},
               "validation": {"accuracy": 0.5, "accuracy_interval": ["a", None]}}  # fmt: skip
    run = make_run(tmp_path, metrics=metrics, record={"data": 3, "versions": [], "seconds": "long", "movements": None})
    (run / "confusion_matrix.png").write_bytes(b"no picture")
    (run / "history.csv").write_text("epoch,loss,val_loss\n0,nan,nan\n", encoding="utf-8")
    page = read_page(write_report(run))
    assert "This run was not judged" in page.text and "confusion_matrix.png cannot be read as a picture" in page.text


@pytest.mark.parametrize("odd", [None, [], {}, "x", -1, 1e300, [[]], {"a": []}], ids=str)
def test_a_value_of_another_kind_is_left_out_or_told(odd, tmp_path):
    others = [make_image_run(tmp_path)]
    for file, content in {"config": IMAGES, "run": RECORD, "metrics": judged(8, 2)}.items():
        for key in content:
            changed = content | {key: odd}
            run = make_image_run(tmp_path, f"{file} {key}")
            (run / f"{file}.json").write_text(json.dumps({"test": changed} if file == "metrics" else changed))
            with contextlib.suppress(UserError):
                read_page(write_report(run))
                others.append(run)
    read_page(write_side_by_side(others, tmp_path / "side.html"))


def test_a_large_picture_of_photos_is_made_smaller(tmp_path):
    run = make_image_run(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (1500, 2400, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(run / "most_wrong.png")
    write_report(run)
    read_page(run / "report.html")
    assert (run / "report.html").stat().st_size < 0.4 * (run / "most_wrong.png").stat().st_size


def test_runs_side_by_side(tmp_path):
    runs = make_project(tmp_path)
    found = [make_image_run(runs), make_image_run(runs, "b", right=10, wrong=90, weights="random"),
             make_image_run(runs, "c", right=90, wrong=10, seed=3)]  # fmt: skip
    write_history(found[0] / "history.csv")
    page = read_page(write_side_by_side(found, tmp_path / "new" / "side.html"))
    assert "3 runs side by side" in page.text and "+68.6 points of test accuracy" in page.text
    assert "accuracy 80.4% 11.8% 90.2% 95 % interval" in page.text
    assert "weights pretrained random pretrained" in page.text and "seed 0 0 3" in page.text
    assert "layer_decay" not in page.text  # the same in all
    best = [attrs for tag, attrs in page.tags if attrs.get("class") == "best"]
    assert len(best) == 1
    assert sum(tag == "img" for tag, _ in page.tags) == 3 * 3 + 1
    other = make_image_run(runs, "d", right=5, wrong=95, weights="random", epochs=7)
    page = read_page(write_side_by_side([found[0], other, make_text_run(runs)], tmp_path / "side.html"))
    assert "Pretrained over random weights, which also differ in epochs: +" in page.text
    assert "not there" in page.text  # a picture that texts have none of


def test_the_command(tmp_path, monkeypatch):
    runs = make_project(tmp_path)
    make_image_run(runs), make_image_run(runs, "b", weights="random")
    monkeypatch.chdir(tmp_path)
    call = CliRunner().invoke
    done = call(app, ["report", "2026-11-21_13-35-17"])
    assert done.exit_code == 0 and done.output.split(": ")[1].strip() == "runs/2026-11-21_13-35-17/report.html"
    done = call(app, ["report", "runs/2026-11-21_13-35-17", "b"])
    assert done.output.strip().endswith(": side_by_side.html") and (tmp_path / "side_by_side.html").is_file()
    assert call(app, ["report", "b", "--to", "there/b.html"]).exit_code == 0 and (tmp_path / "there/b.html").is_file()
    for arguments, said in {
        ("nowhere",): "There is no folder 'nowhere', nor 'runs/nowhere'.",
        ("flowers",): "There is no run in 'flowers'. Expected the folder of a training",
        ("b", "--to", "runs/b/config.json"): "Expected a name that ends with .html.",
        ("b", "--to", "pyproject.toml/b.html"): "cannot be written: ",
    }.items():
        done = call(app, ["report", *arguments])
        assert done.exit_code == 1 and said in done.stderr and "Traceback" not in done.output
    assert call(app, ["report"]).exit_code == 2


def test_it_needs_no_tensorflow(tmp_path):
    run = make_image_run(tmp_path)
    script = f"import sys; from tlkit.report import write_report; write_report({str(run)!r}); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tensorflow", "keras"} & set(loaded) and (run / "report.html").is_file()


def test_calibration_in_a_sentence(tmp_path):
    found = {"confidence": 0.9, "accuracy": 0.75, "expected_calibration_error": 0.15, "error_by_chance": 0.02}
    sentences = {}
    for name, other in {"sure": {}, "unsure": {"confidence": 0.6}, "chance": {"error_by_chance": 0.12}}.items():
        run = make_run(tmp_path, name, metrics={"test": {"calibration": found | other}})
        sentences[name] = calibration_sentence(read_run(run))
    assert sentences["sure"].endswith("calibration error 15.0%, against 2.0% by chance alone: it is too sure.")
    assert sentences["unsure"].endswith("it is too unsure.") and sentences["chance"].endswith("no finding.")


@pytest.mark.parametrize(("seconds", "words"), [(26.4, "26 s"), (99, "99 s"), (240, "4 min"), (7500, "2 h 5 min")])
def test_durations(seconds, words):
    assert duration(seconds) == words


# run.json -----------------------------------------------------------------------------------------


def small_model():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(1, name="head")(keras.layers.Dense(4, name="body")(inputs)))
    model.compile("adam", "mse")
    return model


def fit(callbacks, **options):
    x = np.ones((8, 4), "float32")
    small_model().fit(x, x[:, :1], verbose=0, callbacks=callbacks, **options)


def test_a_training_leaves_its_record(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--data", "my photos"])
    unfreezing = ProgressiveUnfreezing(groups={"body": ["body"]}, schedule={0: 0, 1: 1}, verbose=0)
    fit([unfreezing, RunRecord(tmp_path, data={"train": "8 rows"})], epochs=2)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["epochs"] == 2 and record["seconds"] > 0 and record["ended"] >= record["began"]
    assert record["versions"].keys() == {"tlkit", "tensorflow", "keras", "numpy", "Python"}
    assert record["data"] == {"train": "8 rows"} and record["weights"] == 25 and record["device"]
    assert record["openings"] == [[0, 0], [1, 1]]
    assert [epoch for epoch, _ in record["movements"]] == [0, 1] and "body" in record["movements"][1][1]
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_a_training_that_goes_on_goes_on_with_its_record(tmp_path):
    fit([RunRecord(tmp_path)], epochs=2)
    first = json.loads((tmp_path / "run.json").read_text()) | {"began": "2020-01-01T00:00:00+00:00", "seconds": 1000.0}
    (tmp_path / "run.json").write_text(json.dumps(first))
    fit([RunRecord(tmp_path)], epochs=3, initial_epoch=2)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["began"].startswith("2020") and record["seconds"] > 1000 and record["epochs"] == 3
    fit([RunRecord(tmp_path)], epochs=1)
    assert json.loads((tmp_path / "run.json").read_text())["seconds"] < 1000  # begun anew


def test_a_record_that_would_miss_movements_is_refused(tmp_path):
    unfreezing = ProgressiveUnfreezing(groups={"body": ["body"]}, schedule={0: 0}, verbose=0)
    with pytest.raises(UserError, match="Put RunRecord behind it"):
        fit([RunRecord(tmp_path), unfreezing], epochs=1)
