"""What `tlkit doctor PROJECT` makes of facts: each check on facts made for it."""

import dataclasses
import json
import zipfile

import numpy as np
import pytest
from findings import by_name, not_ok
from PIL import Image

import tlkit
from tlkit import UserError
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
from tlkit.features import StoredFeatures

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


def test_a_template_that_has_changed_is_said():
    one = versions(template="text-classifier", template_changes=("README.md",))["template"]
    assert (one.verdict, one.found) == ("warning", "text-classifier makes 1 file otherwise now: README.md")
    assert one.commands[0].startswith("tlkit update --dry-run ")
    four = versions(template="detection-head", template_changes=tuple("abcd"))["template"]
    assert four.found == "detection-head makes 4 files otherwise now: a, b, c, …"


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
