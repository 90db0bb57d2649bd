"""`tlkit doctor PROJECT`: each check on made facts; real projects that are clean, then broken in each of the ways."""

import dataclasses
import json
import shutil
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image
from projects import generate, make_photos, make_scenes
from typer.testing import CliRunner

import tlkit
from tlkit import UserError, cli, scaffold
from tlkit.checkup import judge_project, look_at_project
from tlkit.checkup.attempts import Attempts, judge_attempts
from tlkit.checkup.classes import ClassFacts, KeptClasses, judge_classes
from tlkit.checkup.kept_features import KeptFacts, judge_kept_features, look_at_kept_features
from tlkit.checkup.leakage import LeakageFacts, judge_leakage, look_at_pictures
from tlkit.checkup.pixels import PixelFacts, judge_pixels
from tlkit.checkup.replicas import ReplicaFacts, judge_replicas, share_out
from tlkit.checkup.run_data import RunDataFacts, judge_run_data
from tlkit.checkup.texts import TextFacts, judge_texts
from tlkit.checkup.training import TrainingFacts, judge_training
from tlkit.checkup.versions import VersionFacts, judge_versions, look_at_versions
from tlkit.data import fingerprint_images, split_image_folder
from tlkit.features import FeatureStore, StoredFeatures


def by_name(findings):
    return {finding.name: finding for finding in findings}


def not_ok(findings):
    """What is to be mended; each says what, why, and what to type or to edit."""
    found = [finding for finding in findings if finding.verdict != "ok"]
    assert all(finding.found and finding.meaning.endswith(".") and finding.commands for finding in found), found
    return {finding.name: finding for finding in found}


# Made facts -----------------------------------------------------------------------------------------------------------

TRAINING = TrainingFacts(
    num_parameters=100, stages=("stem", "middle", "top"), schedule={0: 0, 5: 1, 8: 2}, epochs=20, opened={1: 10, 2: 30}
)


def training(**changes):
    return not_ok(judge_training(dataclasses.replace(TRAINING, **changes), "flowers"))


def test_a_training_in_which_everything_trains_is_fine():
    assert training() == {}
    assert training(schedule={0: 0}, opened={}) == {}  # the head only, on purpose
    assert by_name(judge_training(TRAINING, "flowers"))["schedule"].found == "2 of 3 stages open by epoch 9 of 20"


def test_nothing_that_trains_is_found():
    found = training(num_parameters=0)["weights"]
    assert (found.verdict, found.found) == ("problem", "nothing trains in the first epoch")
    assert training(num_parameters=0, schedule={0: 1}, opened={1: 10}) == {}


def test_an_opening_that_does_nothing_is_found():
    assert training(opened={1: 0, 2: 0})["stages"].found.startswith("opening 1 (as far as 'top') lets nothing train")
    assert training(opened={1: 10, 2: 10})["stages"].found.startswith("opening 2 (as far as 'middle')")


@pytest.mark.parametrize(
    ("schedule", "epochs", "found", "command"),
    [
        ({0: 0, 5: 4}, 20, "it opens 4 stages, and the backbone has 3", "stages_to_open = 3"),
        (
            {0: 0, 5: 1, 8: 2},
            8,
            "a stage opens in epoch 9, and training ends after 8",
            "epochs = 9 or more, or stages_to_open = 1",
        ),
        ({0: 0, 5: 1, 8: 2}, 9, "2 of 3 stages open by epoch 9 of 9", "epochs = 11 or more"),
    ],
)
def test_a_schedule_that_does_not_fit_is_found(schedule, epochs, found, command):
    finding = training(schedule=schedule, epochs=epochs)["schedule"]
    assert finding.found == found
    assert finding.commands == (f"edit flowers/config.py: {command}",)


def test_an_optimizer_that_does_not_know_what_will_open_is_found():
    assert "middle, top" in training(unknown_stages=("middle", "top"))["optimizer"].found
    assert training(is_optimizer_built=False) == {}  # the callback builds it, on one device
    assert training(is_optimizer_built=False, num_replicas=2)["optimizer"].verdict == "problem"


def test_random_weights_as_the_default_are_said():
    assert training(weights="random")["pretraining"].verdict == "warning"


@pytest.mark.parametrize(
    ("low", "high", "edit"),
    [
        (0.0, 1.0, None),
        (-0.1, 1.2, None),  # an augmentation that overshoots
        (0.0, 255.0, "divide by 255"),
        (0.0, 2.0, "bring the pixels to [0, 1]"),
        (-1.0, 1.0, "leave out the normalisation"),
        (-2.1, 2.6, "leave out the normalisation"),  # ImageNet's mean and deviation
        (0.0, 1 / 255, "divide only once"),
        (float("nan"), float("nan"), "take out what makes NaN"),
    ],
)
def test_pixels_of_another_range_are_found(low, high, edit):
    facts = PixelFacts("tlkit:mini-image", {"training": (low, high), "validation": (0.0, 1.0)}, 128, 128)
    found = not_ok(judge_pixels(facts, "flowers"))
    assert bool(found) == bool(edit)
    if edit:
        assert found["pixels"].verdict == "problem"
        assert found["pixels"].found.startswith("training pixels run from")  # the part that is wrong, and no other
        assert found["pixels"].commands[0].startswith(f"edit flowers/data.py: {edit}")


def test_bright_pictures_that_were_normalised_are_found_where_nothing_is_augmented():
    facts = PixelFacts("tlkit:mini-image", {"training": (-0.3, 1.0), "validation": (-0.3, 1.0)}, 128, 128)
    assert not_ok(judge_pixels(facts, "f"))["pixels"].found.startswith("validation pixels run from -0.3 to 1")


def test_parts_that_are_wrong_in_the_same_way_are_one_finding():
    facts = PixelFacts("tlkit:mini-image", {"training": (-1.0, 1.0), "test": (-0.9, 1.0)}, 128, 128)
    assert not_ok(judge_pixels(facts, "f"))["pixels"].found == (
        "training and test pixels run from -1 to 1, and 'tlkit:mini-image' takes [0, 1]"
    )


@pytest.mark.parametrize(
    ("size", "has_boxes", "opens_at_once", "is_said"),
    [
        (128, False, False, False),
        (160, False, False, False),
        (64, False, False, True),
        (64, False, True, False),  # all of it learns, this size too
        (320, False, False, True),
        (320, True, False, False),  # a larger image shows small things
    ],
)
def test_images_of_another_size_than_the_network_knows_are_said(size, has_boxes, opens_at_once, is_said):
    facts = PixelFacts("tlkit:mini-image", {"training": (0.0, 1.0)}, size, 128, has_boxes, opens_at_once)
    assert ("image size" in not_ok(judge_pixels(facts, "flowers"))) == is_said


def test_a_size_that_is_not_known_is_no_matter():
    facts = PixelFacts("model/", {"training": (0.0, 1.0)}, 64)
    assert not_ok(judge_pixels(facts, "flowers")) == {}


def test_a_range_that_is_only_assumed_is_said():
    facts = PixelFacts("model/", {"training": (0.0, 1.0)}, 128, 128, is_range_known=False)
    assert set(not_ok(judge_pixels(facts, "flowers"))) == {"pixels of the model"}


def texts(**facts):
    return not_ok(judge_texts(TextFacts("kerashub:bert", 1000, **facts), "flowers"))


def test_texts_that_are_cut_are_said():
    assert texts(sequence_length=128, share_cut=0.05, longest=200) == {}
    assert texts() == {} and texts(sequence_length=128) == {}
    found = texts(sequence_length=128, share_cut=0.4, longest=200)["text length"]
    assert found.found == "40.0% of 1,000 training texts are cut after 128 tokens"
    assert found.commands[0].startswith("edit flowers/config.py: sequence_length = 224")


def test_texts_whose_capitals_are_gone_are_said():
    assert texts(lower_case=True, share_capitals=0.0) == {}
    assert texts(lower_case=False, share_capitals=0.04) == {}
    assert texts(lower_case=False, share_capitals=0.0)["capitals"].verdict == "warning"
    assert texts(lower_case=False, share_capitals=0.99)["capitals"].verdict == "warning"
    assert texts(share_empty=0.01)["empty texts"].verdict == "warning"


@pytest.mark.parametrize(
    ("now", "kept", "verdict", "words"),
    [
        (("a", "b"), ("b", "a"), "problem", "number 0 is 'a' in the data and 'b' in the newest run in runs/1"),
        (("a", "c"), ("a", "b"), "problem", "number 1 is 'c' in the data and 'b' in"),
        (("a", "b", "c"), ("a", "b"), "warning", "lacks c, which the data have"),
        (("a",), ("a", "b"), "warning", "has b, which the data lack"),
    ],
)
def test_classes_that_moved_since_the_newest_run_are_found(now, kept, verdict, words):
    found = not_ok(judge_classes(ClassFacts(now, (KeptClasses("runs/1", kept),)), "flowers"))["classes"]
    assert found.verdict == verdict and words in found.found
    assert found.commands == ("python -m flowers.train --fresh",)


def test_exports_of_other_classes_are_one_finding():
    kept = (KeptClasses("runs/1", ("a", "b")), *(KeptClasses(f"runs/1/{n}", ("b", "a"), True) for n in ("x", "y")))
    found = not_ok(judge_classes(ClassFacts(("a", "b"), kept), "flowers"))["exported classes"]
    assert "the exported model in runs/1/x and 1 more" in found.found
    assert found.commands[-1] == "python -m flowers.export"


def test_the_same_in_two_parts_is_found():
    parts = {"train": 100, "validation": 50, "test": 50}
    assert not_ok(judge_leakage(LeakageFacts("pictures", parts), "f")) == {}
    group = ("a.png (train) = b.png (test)",)
    found = not_ok(judge_leakage(LeakageFacts("pictures", parts, 1, group, 1), "f"))["parts"]
    assert found.verdict == "problem"
    assert found.found == "1 picture is in more than one part, such as a.png (train) = b.png (test)"
    few = LeakageFacts("texts", {"train": 100, "test": 5000}, 2, group, 2)
    assert not_ok(judge_leakage(few, "f"))["parts"].verdict == "warning"  # no result is wrong by that
    target = dataclasses.replace(few, is_target=True)
    assert "parts of the target" in not_ok(judge_leakage(target, "f"))


def test_the_same_picture_is_found_under_another_name_and_format(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for name in ("a.png", "b.bmp", "c.png"):
        Image.fromarray(pixels + (name == "c.png")).save(tmp_path / name)
    parts = {"train": [tmp_path / "a.png", tmp_path / "c.png"], "validation": [], "test": [tmp_path / "b.bmp"]}
    facts = look_at_pictures(parts, tmp_path.resolve())
    assert (facts.num_leaked, facts.num_groups) == (1, 1)
    assert facts.groups == ("a.png (train) = b.bmp (test)",)


def replicas(*facts, **more):
    return not_ok(judge_replicas(ReplicaFacts(*facts, **more), "flowers"))


def test_a_batch_that_cannot_be_shared_out_is_found():
    assert replicas(1, 33) == {} and replicas(2, 32) == {}
    assert replicas(2, 33)["devices"].verdict == "warning"
    assert replicas(2, 33)["devices"].commands == ("edit flowers/config.py: batch_size = 34",)
    assert replicas(4, 3)["devices"].verdict == "problem"


def test_a_device_that_sees_one_domain_is_found():
    assert replicas(2, 32, True, ((16, 16), (16, 16))) == {}
    assert (
        replicas(2, 32, True, ((32, 0), (0, 32)))["domains"].found == "device 1 of 2 gets 32 source and 0 target rows"
    )
    assert replicas(2, 32, True, ((20, 12), (12, 20)))["domains"].verdict == "warning"
    assert replicas(1, 32, True, ((32, 32),), counted_targets=3)["target labels"].verdict == "problem"
    assert share_out([0, 0, 0, 1, 1], 2) == ((3, 0), (0, 2))


def test_a_strategy_of_several_machines_is_not_tried():
    found = by_name(judge_replicas(ReplicaFacts(1, 32, several_machines="multi-worker"), "f"))["strategy"]
    assert "'multi-worker' was not tried" in found.found


def test_features_of_other_files_are_found(tmp_path):
    now = {"train": "5 images (aa)", "folder": "/photos"}

    def stored(fingerprint, backbone="tlkit:mini-image", version=tlkit.__version__):
        data = {"part": "train", "fingerprint": fingerprint}
        made_of = {"data": data, "backbone": [backbone], "versions": [version, "2.21"]}
        return StoredFeatures(tmp_path, {"made_of": made_of}, 1000, 0.0)

    stores = [
        stored(now),
        stored(now | {"train": "4 images (bb)"}),
        stored(now, backbone="keras:MobileNetV2"),
        stored(now, version="0.0.1"),
        stored({"train": "5 images (aa)", "folder": "/others"}),  # another project's
        StoredFeatures(tmp_path, {"made_of": {"data": "noise"}}, 1000, 0.0),
    ]
    facts = look_at_kept_features(now, "tlkit:mini-image", stores)
    assert [why for why, _ in facts.stores] == ["", "data", "backbone", "version"]
    verdicts = [(finding.verdict, finding.found.partition(" from ")[2]) for finding in judge_kept_features(facts)]
    assert verdicts == [
        ("ok", ""),
        ("warning", "other files than those of now, or from other parts of them"),
        ("warning", f"another version of tlkit than {tlkit.__version__}"),
        ("ok", "other backbones than 'tlkit:mini-image'"),
    ]
    assert [finding.found for finding in judge_kept_features(KeptFacts("x"))] == ["none"]


@pytest.mark.parametrize(
    ("then", "words"),
    [
        ({}, None),
        ({"train": "7 images (aa)", "test": "3 images (bb)"}, None),
        ({"train": "7 images (cc)", "test": "3 images (bb)"}, "train was 7 images (cc) and is 7 images (aa)"),
        ({"train": "7 images (aa)", "test": "2 images (dd)"}, "test was 2 images (dd) and is 3 images (bb)"),
    ],
)
def test_data_that_changed_since_the_newest_run_are_found(then, words):
    now = {"train": "7 images (aa)", "test": "3 images (bb)"}
    found = not_ok(judge_run_data(RunDataFacts("runs/1", then, now), "flowers"))
    assert [finding.found for finding in found.values()] == ([f"runs/1: {words}"] if words else [])


def versions(**facts):
    installed = {"tlkit": "0.3.0", "keras": "3.15.1"}
    return not_ok(judge_versions(VersionFacts(installed, **{"made_with": "0.3.1", **facts})))


def test_versions_that_drifted_are_found():
    assert versions() == {} and versions(made_with="") == {}
    assert versions(made_with="0.1.0")["made with"].found == "tlkit 0.1.0, and 0.3.0 is installed"
    assert versions(run="runs/1", of_run={"keras": "3.15.0"}) == {}
    assert versions(run="runs/1", of_run={"keras": "3.14.0", "tlkit": "0.3.0"})["newest run"].found == (
        "runs/1: keras 3.14.0 then and 3.15.1 now"
    )
    assert versions(unmet={"tlkit==0.2.0": "0.3.0"})["pyproject.toml"].verdict == "problem"
    assert versions(lost_origin="/gone")["pyproject.toml"].verdict == "warning"


def test_versions_are_read_where_they_are_kept(tmp_path):
    run = tmp_path / "runs" / "1"
    run.mkdir(parents=True)
    with zipfile.ZipFile(run / "model.keras", "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.9.0"}))
    (run / "run.json").write_text(json.dumps({"versions": {"tlkit": "0.0.1", "python": "3.11"}}))
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["tlkit==0.0.1", "numpy", "no-such-package-here>=2"]'
    )
    facts = look_at_versions(tmp_path, {"tlkit_version": "0.0.1"}, run)
    assert facts.of_run == {"keras": "3.9.0", "tlkit": "0.0.1"}
    assert facts.unmet == {"tlkit==0.0.1": tlkit.__version__, "no-such-package-here>=2": ""}
    assert set(not_ok(judge_versions(facts))) == {"made with", "pyproject.toml", "newest run"} - (
        {"made with"} if tlkit.__version__.startswith("0.0.") else set()
    )


def test_a_failure_in_the_users_code_is_one_line(tmp_path):
    file = tmp_path / "data.py"
    file.write_text("def load_datasets():\n    return 1 / 0\n")
    names = {}
    exec(compile(file.read_text(), str(file), "exec"), names)
    attempts = Attempts(tmp_path)
    assert attempts.run("load_datasets", names["load_datasets"], lost=("class order",)) is None

    def refuse():
        raise UserError("The setting 'x' is 3. Expected 2.")

    attempts.run("compile_model", refuse)
    attempts.run("devices", lambda: object().missing, is_look=True)
    divided, refused, other = judge_attempts(tuple(attempts.failures), (), "flowers")
    assert divided.found == "ZeroDivisionError: division by zero (data.py, line 2)"
    assert divided.commands == ("edit data.py, line 2",)
    assert divided.meaning == "Training will stop there; not looked at, because of it: class order."
    assert refused.found == "The setting 'x' is 3. Expected 2."
    assert (divided.verdict, refused.verdict, other.verdict) == ("problem", "problem", "warning")


# Folders that are no project, or whose config does not work -----------------------------------------------------------


def doctor(*arguments):
    return CliRunner().invoke(cli.app, ["doctor", *map(str, arguments)], prog_name="tlkit")


def refusal(folder):
    with pytest.raises(UserError) as caught:
        look_at_project(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_that_is_no_project(tmp_path):
    assert refusal(tmp_path / "gone") == (
        f"There is no folder '{tmp_path / 'gone'}'. Expected a project that `tlkit new` made."
    )
    assert refusal(tmp_path) == (
        f"'{tmp_path}' is no project of tlkit: no folder in it holds config.py, data.py and model.py. Expected a "
        "folder that `tlkit new` made. Make one with 'tlkit new', or name its folder."
    )


def test_the_package_instead_of_its_project(tmp_path):
    project = generate("text-classifier", tmp_path)
    assert f"Did you mean '{project}'?" in refusal(project / "flowers")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("epochs: int = 20", "epochs: int = 3", "is refused: The setting 'epochs' is 3. Expected more than"),
        ("import dataclasses", "import dataclasses\nimport nowhere", "cannot be imported: ModuleNotFoundError: No mod"),
        ("class Config:", "class Config", "cannot be imported: SyntaxError: expected ':' (flowers/config.py, line"),
        ("class Config:", "class Settings:", "cannot be imported: AttributeError: module 'flowers.config' has no"),
    ],
)
def test_a_config_that_does_not_work_is_one_sentence(tmp_path, old, new, words):
    project = generate("text-classifier", tmp_path)
    edit(project / "flowers" / "config.py", old, new)
    assert words in refusal(project)


def edit(file, old, new):
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_the_network_is_not_a_projects(tmp_path):
    done = doctor(tmp_path, "--network")
    assert done.exit_code == 1
    assert done.stderr == (
        "Error: '--network' is about this machine. Expected it without a project: 'tlkit doctor --network'.\n"
    )


# Real projects --------------------------------------------------------------------------------------------------------


def look(project, **kwargs):
    groups = judge_project(look_at_project(project, **kwargs))
    return [finding for findings in groups.values() for finding in findings]


def looked_at(project, **kwargs):
    return not_ok(look(project, **kwargs))


def add(file, code):
    with file.open("a", encoding="utf-8") as opened:
        opened.write(code)


def add_run(project, class_names, export=False):
    run = project / "runs" / "2026-01-02_03-04-05"
    run.mkdir(parents=True)
    (run / "class_names.json").write_text(json.dumps(class_names))
    (run / "config.json").write_text('{"weights": "pretrained"}')
    with zipfile.ZipFile(run / "model.keras", "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.1.0"}))
    if export:
        (run / "export").mkdir()
        (run / "export" / "export.json").write_text(json.dumps({"class_names": class_names}))
    return run


def image_project(parent, **kwargs):
    photos = make_photos(parent / "photos", 10, parts=("train", "test"))
    return generate("image-classifier", parent, data=photos, **kwargs), photos


SCALED = """

def scaled(batches):
    return batches and batches.map(lambda images, labels: (images * 2 - 1, labels))


load_unscaled = load_datasets


def load_datasets(config):
    data = load_unscaled(config)
    parts = {name: scaled(getattr(data, name)) for name in ("train", "validation", "test", "train_in_order")}
    return data._replace(train_epoch=lambda pair: scaled(data.train_epoch(pair)), **parts)
"""


@pytest.mark.slow
@pytest.mark.parametrize("template", sorted(scaffold.list_templates()))
def test_a_new_project_is_clean(template, tmp_path):
    project = generate(template, tmp_path)
    before = sorted(project.rglob("*"))
    assert looked_at(project) == {}
    assert sorted(project.rglob("*")) == before  # a look leaves nothing behind
    kinds = {finding.name for finding in look(project, inspect=False)}
    assert {"weights", "schedule", "stages", "optimizer", "classes", "devices", "made with"} <= kinds
    assert "parts" not in kinds
    assert ({"pixels", "image size"} if template != "text-classifier" else {"text length", "capitals"}) <= kinds


def test_images_broken_in_data(tmp_path):
    project, photos = image_project(tmp_path)
    add(project / "flowers" / "data.py", SCALED)
    record = {"versions": {"tlkit": tlkit.__version__}, "data": fingerprint_images(split_image_folder(photos, seed=0))}
    (add_run(project, ["blue sky", "red brick"], export=True) / "run.json").write_text(json.dumps(record))
    for part in ("train", "test"):
        (photos / part / "blue sky").rename(photos / part / "yellow sky")
    trained_on = next(file.path for file in split_image_folder(photos, seed=0).train if "red" in file.path.parent.name)
    with Image.open(trained_on) as image:
        image.save(photos / "test" / "red brick" / "again.bmp")
    record = json.loads((project / ".tlkit" / "answers.json").read_text())
    (project / ".tlkit" / "answers.json").write_text(json.dumps(record | {"tlkit_version": "0.0.1"}))

    found = looked_at(project)

    assert set(found) == {"pixels", "classes", "exported classes", "parts", "made with", "newest run"} | {
        "data of the newest run"
    }
    assert found["pixels"].found == (
        "training, training in order, validation and test pixels run from -1 to 0.875, and 'tlkit:mini-image' takes "
        "[0, 1]"
    )
    assert "number 0 is 'red brick' in the data and 'blue sky' in" in found["classes"].found
    assert found["parts"].found == (
        f"1 picture is in more than one part, such as ../photos/train/red brick/{trained_on.name} (train) = "
        "../photos/test/red brick/again.bmp (test)"
    )
    assert found["newest run"].found.startswith("runs/2026-01-02_03-04-05: keras 2.1.0 then and 3.")


def test_pixels_that_the_model_itself_scales_are_right(tmp_path):
    project, _ = image_project(tmp_path)
    add(project / "flowers" / "data.py", SCALED)
    edit(
        project / "flowers" / "model.py",
        "x = build_augmentation(config)(images)",
        "x = build_augmentation(config)(layers.Rescaling(0.5, offset=0.5)(images))",
    )
    assert looked_at(project, inspect=False) == {}


@pytest.mark.parametrize(
    ("old", "new", "name", "words"),
    [
        (
            "prepare_unfreezing(model)  # without",
            "optimizer.build(model.trainable_variables)  # without",
            "optimizer",
            "it does not know the weights of ",
        ),
        (
            "        optimizer = keras.optimizers.Adam(config.learning_rate)\n        if config.stages_to_open:",
            "        model.trainable = False\n        optimizer = keras.optimizers.Adam(config.learning_rate)\n"
            "        if False:",
            "weights",
            "nothing trains in the first epoch",
        ),
        ("def compile_model(", "def make_model(", "compile_model", "has no attribute 'compile_model'"),
        ("model = build_model(", "model = missing(", "compile_model", "NameError: name 'missing' is not defined (flow"),
    ],
)
def test_a_model_that_does_not_learn_as_it_should(tmp_path, old, new, name, words):
    project, _ = image_project(tmp_path)
    edit(project / "flowers" / "model.py", old, new)
    found = looked_at(project, inspect=False)
    assert words in found[name].found
    assert found[name].verdict == "problem"


def test_a_schedule_past_the_end(tmp_path):
    project, _ = image_project(tmp_path)
    config = project / "flowers" / "config.py"
    edit(config, "epochs: int = 30", "epochs: int = 12")
    assert "is refused: The setting 'epochs' is 12. Expected more than 15" in refusal(project)
    edit(config, '"epochs": self.epochs > self.last_opening', '"epochs": True')
    found = looked_at(project, inspect=False)["schedule"]
    assert found.found == "a stage opens in epoch 16, and training ends after 12"
    assert found.meaning == "Of 2 stages that shall learn, 1 never do, and no error says so."


def test_kept_features_of_photos_that_changed(tmp_path):
    project, photos = image_project(tmp_path)
    fingerprint = {"folder": str(photos.resolve()), "train": "3 images (0)"}
    made_of = {"data": {"part": "train", "fingerprint": fingerprint}, "backbone": ["tlkit:mini-image"]}
    from tlkit.features import cache_folder

    store = FeatureStore(cache_folder() / "old", num_rows=1, row_shape=(2,), precision="float32", made_of=made_of)
    store.write(0, np.zeros((1, 2)))
    try:
        assert looked_at(project, inspect=False)["kept features"].verdict == "warning"
    finally:
        shutil.rmtree(cache_folder() / "old")


STACKED = """

def both_domains(config, data, target, class_weight):
    half = tf.zeros(config.batch_size)

    def epoch(pair):
        y = {"label": tf.concat([half, half], 0), "domain": tf.concat([half, half + 1], 0)[:, None]}
        weights = {"label": tf.concat([half + 2, half], 0), "domain": tf.concat([half, half], 0) + 1}
        images = tf.zeros((2 * config.batch_size, config.image_size, config.image_size, 3))
        return tf.data.Dataset.from_tensors((images, y, weights)).repeat(3)

    return epoch
"""


@pytest.mark.slow
def test_devices_that_see_one_domain(tmp_path):
    target = make_photos(tmp_path / "target", 12)
    given = {"adaptation": "dann", "target": str(target)}
    project, _ = image_project(tmp_path, given=given)
    edit(project / "flowers" / "config.py", '] = "auto"', '] = "mirrored"')
    shutil.rmtree(target)
    make_photos(target, 12, parts=("train", "test"), size=48)
    found = look(project)
    assert by_name(found)["domains"].found == "each device gets 16 source and 16 target rows a step"
    assert not_ok(found) == {}

    add(project / "flowers" / "data.py", STACKED)
    stacked = looked_at(project, inspect=False)
    assert stacked["domains"].found == "device 1 of 2 gets 32 source and 0 target rows"

    edit(project / "flowers" / "config.py", "batch_size: int = 32", "batch_size: int = 33")
    assert looked_at(project, inspect=False)["devices"].found == "2; a batch of 33 is 16.5 for each"


def test_texts_in_two_parts_and_a_class_that_was_renamed(tmp_path):
    table = tmp_path / "messages.csv"
    rows = [f"{word} number {n},{label},{part}" for n, part in enumerate(["train"] * 12 + ["val"] * 4 + ["test"] * 4)
            for word, label in (("oak", "plant"), ("bee", "animal"))]  # fmt: skip
    table.write_text("\n".join(["text,label,split", *rows, "OAK  number 0,plant,test"]))
    project = generate("text-classifier", tmp_path, data=table)
    add_run(project, ["animal", "flower"])
    found = looked_at(project)
    assert found["parts"].found == (
        "1 text is in more than one part, such as messages.csv, line 2 (train) = messages.csv, line 42 (test)"
    )
    assert "number 1 is 'plant' in the data and 'flower' in the newest run" in found["classes"].found
    assert set(found) == {"parts", "classes", "newest run"}


DIVIDED_TWICE = """

load_right = load_datasets


def load_datasets(config):
    data = load_right(config)
    return data._replace(train_epoch=lambda pair: data.train_epoch(pair).map(lambda x, truth: (x / 255, truth)))
"""


def test_scenes_divided_twice_and_in_two_parts(tmp_path):
    table = make_scenes(tmp_path)
    shutil.copy(tmp_path / "train0.png", tmp_path / "test0.png")
    table.write_text(table.read_text().replace("bright", "white"))
    project = generate("detection-head", tmp_path, data=table)
    add(project / "flowers" / "data.py", DIVIDED_TWICE)
    add_run(project, ["bright", "dark"])
    found = looked_at(project)
    assert set(found) == {"pixels", "parts", "classes", "newest run"}
    assert found["pixels"].found.startswith("training pixels run from 0 to 0.00")
    assert "../train0.png (train) = ../test0.png (test)" in found["parts"].found
    assert "number 0 is 'dark' in the data and 'bright' in the newest run" in found["classes"].found


def test_what_needs_other_machines_is_tried_on_one_device(tmp_path):
    project = generate("text-classifier", tmp_path)
    edit(project / "flowers" / "config.py", '] = "auto"', '] = "multi-worker"')
    found = look(project, inspect=False)
    assert by_name(found)["strategy"].found.startswith("the strategy 'multi-worker' was not tried")
    assert not_ok(found) == {}


def test_what_training_would_warn_of_is_a_finding_once(tmp_path):
    project = generate("text-classifier", tmp_path)
    add(
        project / "flowers" / "data.py",
        "\n\nimport warnings\n\nwarnings.warn('received pixels')\nwarnings.warn('Mind the gap.')\n"
        "warnings.warn('Mind the gap.')\nwarnings.warn('for developers', DeprecationWarning)\n",
    )
    assert [finding.found for finding in not_ok(look(project, inspect=False)).values()] == ["Mind the gap."]


def test_a_keras_that_cannot_be_imported(tmp_path, monkeypatch):
    project = generate("text-classifier", tmp_path)
    monkeypatch.setitem(sys.modules, "keras", None)
    assert refusal(project).startswith("Keras cannot be imported: ModuleNotFoundError: import of keras halted")


def test_data_that_cannot_be_loaded_are_a_finding(tmp_path):
    project, photos = image_project(tmp_path)
    shutil.rmtree(photos)
    found = looked_at(project)
    assert set(found) == {"load_datasets"}
    assert "photos" in found["load_datasets"].found and "Traceback" not in found["load_datasets"].found
    edit(project / "flowers" / "data.py", "import collections", "import collections\nimport nowhere")
    assert looked_at(project)["data.py"].found == (
        "ModuleNotFoundError: No module named 'nowhere' (flowers/data.py, line 4)"
    )


def test_as_it_is_typed(tmp_path):
    project, _ = image_project(tmp_path)
    add(project / "flowers" / "data.py", "\n\nprint('data.py speaks')\n")
    done = doctor(project, "--json", "--no-inspection")
    whole = json.loads(done.stdout)  # nothing else is printed
    assert done.exit_code == 0
    assert whole["facts"]["name"] == "flowers"
    assert {"Project", "Training", "Input", "Data"} <= {finding["group"] for finding in whole["findings"]}

    add(project / "flowers" / "data.py", SCALED)
    done = doctor(project, "--no-inspection")
    assert done.exit_code == 1
    assert f"What to type or to edit, in {project.resolve()}" in done.stdout.replace("\n", "")
    assert "  edit flowers/data.py: leave out the normalisation" in done.stdout
    assert done.stdout.rstrip().endswith("1 problem, 0 warnings.")
