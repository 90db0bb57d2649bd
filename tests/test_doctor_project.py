"""`tlkit doctor PROJECT` on real projects: folders that are none, clean ones, and some broken in each of the ways."""

import json
import shutil
import sys
import zipfile

import numpy as np
import pytest
from findings import by_name, not_ok
from PIL import Image
from projects import generate, make_photos, make_scenes
from typer.testing import CliRunner

import tlkit
from tlkit import UserError, cli, scaffold
from tlkit.checkup import judge_project, look_at_project
from tlkit.data import fingerprint_images, split_image_folder
from tlkit.features import FeatureStore

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
