"""The generator: trees in memory, every refusal word for word, and all or nothing on the disk."""

import importlib.metadata
import json
import os
import stat
import zipfile
from pathlib import Path

import pytest
from PIL import Image

import tlkit
from tlkit import scaffold
from tlkit.errors import UserError
from tlkit.scaffold import DataKind, File, Question, Template
from tlkit.scaffold.backbone_handle import locate_backbone

TEMPLATE_TOML = """
description = "A tiny template."
version = "1.2"

[[questions]]
key = "title"
prompt = "Title"
default = "The [[ name ]] project"

[[questions]]
key = "epochs"
prompt = "Epochs"
default = 3
type = "int"
"""
README = '# [[ title ]]\n[% if epochs > 1 %]\nTrains [[ epochs ]] epochs.\n[% endif %]\n{{ {"a": [1]} }} {% raw %}\n'


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Template:
    """A template of three files: rendered, copied, executable."""
    folder = tmp_path / "templates" / "tiny"
    write(folder / "template.toml", TEMPLATE_TOML)
    write(folder / "project" / "README.md.jinja", README)
    write(folder / "project" / "[[ name ]]" / "data.py", "VALUE = '[[ copied ]]'\r\n")
    write(folder / "project" / "run.sh", "#!/bin/sh\n").chmod(0o755)
    monkeypatch.setattr(scaffold.templates, "templates_folder", lambda: tmp_path / "templates")
    return scaffold.list_templates()["tiny"]


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode())
    return file


def refusal(function, *arguments, **options) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments, **options)
    return str(caught.value)


# Rendering ----------------------------------------------------------------------------------------


def test_a_template_says_what_it_is(template: Template):
    assert (template.name, template.description, template.version) == ("tiny", "A tiny template.", "1.2")
    assert [question.key for question in template.questions] == ["title", "epochs"]


def test_the_tree_is_rendered_in_memory(template: Template):
    tree = scaffold.render(template, {"name": "flowers", "title": "Flowers", "epochs": 2})

    assert tree == {
        "README.md": File(b'# Flowers\nTrains 2 epochs.\n{{ {"a": [1]} }} {% raw %}\n'),
        "flowers/data.py": File(b"VALUE = '[[ copied ]]'\r\n"),
        "run.sh": File(b"#!/bin/sh\n", is_executable=True),
    }


def test_what_tools_leave_in_a_template_is_not_part_of_it(template: Template):
    write(template.folder / "project" / "__pycache__" / "x.pyc", "")
    write(template.folder / "project" / "[[ name ]]" / ".ruff_cache" / "y", "")

    assert len(scaffold.render(template, {"name": "flowers", "title": "", "epochs": 1})) == 3


def test_tojson_gives_text_that_json_and_python_read_alike(template: Template):
    value = 'Tom\'s "café" <1> & \\ C:'
    write(template.folder / "project" / "value.jinja", "[[ title | tojson ]]")

    text = scaffold.render(template, {"name": "flowers", "title": value, "epochs": 1})["value"].content.decode()

    assert json.loads(text) == value
    assert eval(text) == value
    assert "café" in text


def test_an_unknown_answer_is_refused(template: Template):
    write(template.folder / "project" / "bad.txt.jinja", "[[ nmae ]]")

    assert refusal(scaffold.render, template, {"name": "flowers", "title": "", "epochs": 1}) == (
        "The template file 'tiny/bad.txt.jinja' cannot be rendered: 'nmae' is undefined. "
        "Expected only the answers epochs, name, title between [[ and ]]."
    )


def test_a_syntax_error_is_named_with_its_line(template: Template):
    write(template.folder / "project" / "bad.txt.jinja", "one\n[% if %]")

    assert refusal(scaffold.render, template, {"name": "flowers", "title": "", "epochs": 1}).startswith(
        "The template file 'tiny/bad.txt.jinja', line 2 cannot be rendered: "
    )


@pytest.mark.parametrize("part", ["..", "../../etc/x", "/etc", "", "a\\b", "./a"])
def test_a_path_that_leaves_the_project_is_refused(template: Template, part: str):
    write(template.folder / "project" / "[[ title ]]" / "x.txt", "")

    assert refusal(scaffold.render, template, {"name": "flowers", "title": part, "epochs": 1}) == (
        f"The template file 'tiny/[[ title ]]/x.txt' would be written to '{part}/x.txt', outside the project. "
        "Expected a path inside it: change the file's name or the answers in it."
    )


def test_two_files_for_one_path_are_refused(template: Template):
    write(template.folder / "project" / "README.md", "")

    assert refusal(scaffold.render, template, {"name": "flowers", "title": "", "epochs": 1}) == (
        "The template file 'tiny/README.md.jinja' would overwrite 'README.md', which another file makes."
    )


@pytest.mark.parametrize("target", ["file", "folder"])
def test_a_symbolic_link_in_a_template_is_refused(template: Template, tmp_path: Path, target: str):
    write(tmp_path / "folder" / "x", "")
    write(tmp_path / "file", "")
    (template.folder / "project" / "link").symlink_to(tmp_path / target)

    assert refusal(scaffold.render, template, {"name": "flowers", "title": "", "epochs": 1}) == (
        "The template file 'tiny/link' is a symbolic link. Expected a file: put a copy there."
    )


# Answers ------------------------------------------------------------------------------------------


def test_answers_come_from_what_was_given_or_the_default(template: Template):
    assert scaffold.answer_questions(template, {}, {"name": "flowers"}) == {"title": "The flowers project", "epochs": 3}
    assert scaffold.answer_questions(template, {"title": "T", "epochs": 5}, {}) == {"title": "T", "epochs": 5}


def test_only_what_was_not_given_is_asked(template: Template):
    asked = []

    def ask(question, default):
        asked.append((question.key, default))
        return "asked"

    assert scaffold.answer_questions(template, {"epochs": 5}, {"name": "x"}, ask) == {"title": "asked", "epochs": 5}
    assert asked == [("title", "The x project")]


@pytest.mark.parametrize(
    ("kind", "text", "answer"),
    [("str", "a b", "a b"), ("int", "7", 7), ("float", "1e-3", 0.001), ("bool", "Yes", True), ("bool", "0", False)],
)
def test_an_answer_is_read_as_its_type(kind, text, answer):
    parsed = Question("key", "Prompt", "", type=kind).parse(text)
    assert parsed == answer and type(parsed) is type(answer)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [("int", "1.5", "a whole number"), ("float", "many", "a number"), ("bool", "perhaps", "yes or no")],
)
def test_an_answer_of_another_type_is_refused(kind, text, expected):
    question = Question("key", "Prompt", "", type=kind)
    assert refusal(question.parse, text) == f"'key' is '{text}'. Expected {expected}."


def test_an_answer_outside_the_choices_is_refused():
    question = Question("size", "Size", 128, type="int", choices=(96, 128))
    assert refusal(question.parse, "100") == "'size' is '100'. Expected one of 96, 128."


# Writing ------------------------------------------------------------------------------------------


def test_a_project_is_generated_with_what_an_update_needs(template: Template, tmp_path: Path):
    project = scaffold.generate(template, tmp_path / "new" / "flowers", given={"epochs": 1})
    folder = tmp_path / "new" / "flowers"

    assert project.folder == folder
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == {
        "README.md",
        "flowers/data.py",
        "run.sh",
        ".tlkit/answers.json",
        ".tlkit/pristine.zip",
    }
    assert (folder / "README.md").read_text() == '# The flowers project\n{{ {"a": [1]} }} {% raw %}\n'
    assert json.loads((folder / ".tlkit" / "answers.json").read_text()) == {
        "template": "tiny",
        "template_version": "1.2",
        "tlkit_version": tlkit.__version__,
        "answers": {
            "name": "flowers",
            "data": "data",
            "tlkit_requirement": scaffold.install_requirement(),
            "tlkit_version": tlkit.__version__,
            "template_version": "1.2",
            "title": "The flowers project",
            "epochs": 1,
        },
    }
    with zipfile.ZipFile(folder / ".tlkit" / "pristine.zip") as pristine:
        assert {entry: pristine.read(entry) for entry in pristine.namelist()} == {
            file: (folder / file).read_bytes() for file in project.files
        }


def test_modes_are_the_users_own_and_programs_stay_executable(template: Template, tmp_path: Path):
    for file in template.folder.rglob("*.py"):
        file.chmod(0o444)  # a read-only installation must not give a project that cannot be edited
    previous = os.umask(0o027)
    try:
        scaffold.generate(template, tmp_path / "flowers")
    finally:
        os.umask(previous)

    def mode(path: str) -> int:
        return stat.S_IMODE((tmp_path / "flowers" / path).stat().st_mode)

    assert [mode("."), mode("run.sh"), mode("flowers/data.py")] == [0o750, 0o750, 0o640]


def test_an_existing_empty_folder_is_filled(template: Template, tmp_path: Path):
    (tmp_path / "flowers").mkdir()
    scaffold.generate(template, tmp_path / "flowers")
    assert (tmp_path / "flowers" / "README.md").exists()


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("destination", ["deep/er/flowers", "flowers", "empty"])
def test_nothing_is_left_behind_by_a_failure(template, tmp_path, monkeypatch, failure, destination):
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    written = []

    def write_bytes(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) == 3:
            raise failure
        with open(path, "wb") as file:
            return file.write(content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write_bytes)
        expected = UserError if isinstance(failure, OSError) else KeyboardInterrupt
        with pytest.raises(expected) as caught:
            scaffold.generate(template, tmp_path / destination)

    assert len(written) == 3 and not any(path.exists() for path in written)
    assert sorted(tmp_path.rglob("*")) == before
    if expected is UserError:
        assert str(caught.value) == (
            f"'{tmp_path / destination}' cannot be written: No space left on device. Nothing was left behind. "
            "Expected a destination on a disk with room, in a folder that you may write to."
        )


# Refused destinations -----------------------------------------------------------------------------


def test_a_folder_that_is_not_empty_is_refused(template: Template, tmp_path: Path):
    for name in "dbace":
        write(tmp_path / "flowers" / name, "mine")

    assert refusal(scaffold.generate, template, tmp_path / "flowers") == (
        f"The destination '{tmp_path / 'flowers'}' is not empty (it holds a, b, c and 2 more). "
        "Expected a new folder or an empty one, so that nothing of yours is overwritten."
    )
    assert sorted(os.listdir(tmp_path / "flowers")) == list("abcde")


def test_a_file_is_refused(tmp_path: Path):
    file = write(tmp_path / "flowers", "mine")
    assert refusal(scaffold.check_destination, file) == (
        f"The destination '{file}' is a file. Expected a new folder or an empty one."
    )


def test_the_folder_one_is_in_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "flowers").mkdir()
    monkeypatch.chdir(tmp_path / "flowers")
    assert refusal(scaffold.check_destination, ".") == (
        "The destination '.' is the folder you are in, which would be replaced under your feet. "
        "Go one folder up and give its name."
    )


LETTERS = "it must begin with a letter, end with a letter or digit, and hold only letters, digits and underscores"
INSTALLED = "a package of that name is installed here, and the project would hide it"
FOLDER = "the project has a folder '{}' of its own"


@pytest.mark.parametrize(
    ("name", "reason", "hint"),
    [
        ("my-flowers", LETTERS, " Did you mean 'my_flowers'?"),
        ("Flowers 102", LETTERS, " Did you mean 'flowers_102'?"),
        ("102flowers", LETTERS, " Did you mean 'flowers'?"),
        ("_flowers", LETTERS, " Did you mean 'flowers'?"),
        ("flöwers", LETTERS, " Did you mean 'flowers'?"),
        ("123", LETTERS, ""),
        ("tf-keras", LETTERS, ""),  # tf_keras is installed: no suggestion
        ("class", "it is a word of the Python language", ""),
        ("json", "it is a module of Python's standard library", ""),
        ("tests", FOLDER.format("tests"), ""),
        ("data", FOLDER.format("data"), ""),
        ("runs", FOLDER.format("runs"), ""),
        ("tuning", FOLDER.format("tuning"), ""),
        ("keras", INSTALLED, ""),
        ("tlkit", INSTALLED, ""),
        ("google", INSTALLED, ""),  # a namespace package: TensorFlow's protobuf lies in it
    ],
)
def test_a_name_that_cannot_be_a_package_is_refused(tmp_path: Path, name: str, reason: str, hint: str):
    assert refusal(scaffold.check_destination, tmp_path / name) == (
        f"'{name}' cannot be the name of a project: {reason}. Expected a name for a Python package, "
        f"such as 'flowers'.{hint}"
    )


def test_a_plain_folder_of_the_same_name_is_no_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "flowers" / "roses").mkdir(parents=True)  # data, say, in the folder one is in
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert scaffold.check_destination("out/flowers") == "flowers"


# Data and backbone --------------------------------------------------------------------------------


@pytest.fixture
def template_with_data(template: Template, monkeypatch: pytest.MonkeyPatch) -> Template:
    """The tiny template, wanting data of a kind that counts files and refuses empty folders."""

    def describe(folder: Path, answers) -> str:
        files = list(folder.glob("*"))
        if not files:
            raise UserError(f"'{folder}' holds no letters.")
        return f"{len(files)} letters"

    def write_sample(folder: Path) -> None:
        write(folder / "a", "")
        write(folder / "b", "")

    monkeypatch.setitem(scaffold.DATA_KINDS, "letters", DataKind("Letters", describe, write_sample))
    with open(template.folder / "template.toml", "r+") as file:
        text = file.read()
        file.seek(0)
        file.write(
            'data = "letters"\n' + text + '[[questions]]\nkey = "backbone"\nprompt = ""\ndefault = "tlkit:mini-image"\n'
        )
    return scaffold.list_templates()["tiny"]


def test_without_data_the_sample_is_written_into_the_project(template_with_data: Template, tmp_path: Path):
    project = scaffold.generate(template_with_data, tmp_path / "flowers")

    assert project.answers["data"] == "data"
    assert project.data_summary == "2 letters"
    assert sorted(os.listdir(tmp_path / "flowers" / "data")) == ["a", "b"]
    assert not any(file.startswith("data/") for file in project.files)  # nor in the pristine render


def test_a_sample_that_cannot_be_written_leaves_nothing_behind(template_with_data, tmp_path, monkeypatch):
    def write_sample(folder: Path) -> None:
        write(folder / "a", "")
        raise UserError("The sample needs an extra.")

    kind = scaffold.DATA_KINDS["letters"]._replace(write_sample=write_sample)
    monkeypatch.setitem(scaffold.DATA_KINDS, "letters", kind)

    assert refusal(scaffold.generate, template_with_data, tmp_path / "x" / "flowers") == "The sample needs an extra."
    assert sorted(os.listdir(tmp_path)) == ["templates"]


def test_data_are_stored_relative_to_the_project(template_with_data: Template, tmp_path: Path, monkeypatch):
    write(tmp_path / "letters" / "a", "")
    monkeypatch.chdir(tmp_path)

    project = scaffold.generate(template_with_data, "projects/flowers", data="letters")

    assert project.answers["data"] == "../../letters"
    assert project.data_summary == "1 letters"
    assert not (project.folder / "data").exists()


class Report:
    """What a kind of data may answer when inspected."""

    def __init__(self, *seen):
        self.seen = seen

    def save(self, folder: Path) -> None:
        write(folder / "data_report.txt", "letters")


@pytest.fixture
def template_with_inspection(template_with_data: Template, monkeypatch: pytest.MonkeyPatch) -> Template:
    kind = scaffold.DATA_KINDS["letters"]._replace(inspect=Report)
    monkeypatch.setitem(scaffold.DATA_KINDS, "letters", kind)
    return template_with_data


def test_the_users_data_are_inspected_and_the_report_is_kept(template_with_inspection: Template, tmp_path: Path):
    write(tmp_path / "letters" / "a", "")
    project = scaffold.generate(template_with_inspection, tmp_path / "flowers", data=tmp_path / "letters")
    assert project.data_report.seen == (tmp_path / "letters", project.answers, False)
    assert (project.folder / "data_report.txt").read_text() == "letters"
    assert "data_report.txt" not in project.files  # nor in the pristine render: an update leaves it alone


def test_sample_data_and_data_too_large_are_not_inspected(template_with_inspection: Template, tmp_path: Path):
    write(tmp_path / "letters" / "a", "")
    for number, options in enumerate(({}, {"data": tmp_path / "letters", "inspect": False})):
        project = scaffold.generate(template_with_inspection, tmp_path / f"flowers{number}", **options)
        assert project.data_report is None and not (project.folder / "data_report.txt").exists()


def test_a_file_of_data_is_stored_relative_to_the_project(tmp_path: Path, monkeypatch):
    (tmp_path / "photos").mkdir()
    for number in range(8):
        Image.new("L", (40, 40), 30 * number).save(tmp_path / "photos" / f"{number}.png")
    rows = [f"{number}.png,{'ant' if number % 2 else 'bee'}" for number in range(8)]
    write(tmp_path / "photos" / "table.csv", "\n".join(["file,label", *rows]))
    monkeypatch.chdir(tmp_path)
    template = scaffold.list_templates()["image-classifier"]

    project = scaffold.generate(template, "photos/flowers", data="photos/table.csv")  # beside it is not inside it

    assert project.answers["data"] == "../table.csv"
    assert project.data_summary == "8 images of 2 classes"
    assert project.data_report.num_images == 8


def test_unfit_data_are_refused(template_with_data: Template, tmp_path: Path):
    (tmp_path / "letters").mkdir()
    assert refusal(scaffold.generate, template_with_data, tmp_path / "flowers", data=tmp_path / "letters") == (
        f"'{tmp_path / 'letters'}' holds no letters."
    )
    assert not (tmp_path / "flowers").exists()


def test_a_project_inside_its_data_is_refused(template_with_data: Template, tmp_path: Path):
    letters = tmp_path / "letters"
    write(letters / "a", "")
    assert refusal(scaffold.generate, template_with_data, letters / "flowers", data=letters) == (
        f"The destination '{letters / 'flowers'}' lies inside the data folder '{letters}', where it would be taken "
        "for data. Expected a destination elsewhere."
    )


def test_data_for_a_template_without_any_are_refused(template: Template, tmp_path: Path):
    assert refusal(scaffold.generate, template, tmp_path / "flowers", data="letters") == (
        "The template 'tiny' works without data. Leave out 'letters'."
    )


@pytest.mark.parametrize("handle", ["tlkit:mini-image", "keras:ResNet50", "https://tfhub.dev/google/x/1"])
def test_a_handle_is_kept_as_it_is(template_with_data: Template, tmp_path: Path, handle: str):
    project = scaffold.generate(template_with_data, tmp_path / "flowers", given={"backbone": handle})
    assert project.answers["backbone"] == handle


def test_a_backbone_folder_is_stored_relative_to_the_project(template_with_data, tmp_path, monkeypatch):
    write(tmp_path / "networks" / "small" / "saved_model.pb", "")
    monkeypatch.chdir(tmp_path)
    project = scaffold.generate(template_with_data, "flowers", given={"backbone": "networks/small"})
    assert project.answers["backbone"] == "../networks/small"


def test_presets_of_kerashub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "minilm").mkdir()
    assert locate_backbone("kerashub:minilm", "texts", tmp_path / "a" / "b") == "kerashub:../../minilm"
    assert locate_backbone("kerashub:bert_tiny_en_uncased", "texts", tmp_path) == "kerashub:bert_tiny_en_uncased"
    with pytest.raises(UserError, match="There is no folder './nowhere'. Expected one with a model of KerasHub or in"):
        locate_backbone("kerashub:./nowhere", "texts", tmp_path)
    write(tmp_path / "minilm" / "config.json", '{"model_type": "bert"}')
    write(tmp_path / "resnet" / "config.json", '{"config": {"image_shape": [null, null, 3]}}')
    assert locate_backbone("kerashub:resnet", "images", tmp_path / "a") == "kerashub:../resnet"
    with pytest.raises(UserError, match="'kerashub:minilm' reads texts. Expected one for images"):
        locate_backbone("kerashub:minilm", "images", tmp_path)
    with pytest.raises(UserError, match="'kerashub:resnet' reads images. Expected one for texts"):
        locate_backbone("kerashub:resnet", "texts", tmp_path)


def test_a_backbone_that_is_no_folder_is_refused(template_with_data: Template, tmp_path: Path):
    assert refusal(scaffold.generate, template_with_data, tmp_path / "flowers", given={"backbone": "mobilenet"}) == (
        "The backbone 'mobilenet' is no folder with a SavedModel (no saved_model.pb in it). "
        "Expected such a folder, or a handle such as 'tlkit:mini-image'. Did you mean 'keras:MobileNet'? "
        "Run 'tlkit backbones' to see well-known ones."
    )
    (tmp_path / "net" / "1").mkdir(parents=True)
    (tmp_path / "net" / "1" / "saved_model.pb").touch()
    with pytest.raises(UserError, match=f"Did you mean '{(tmp_path / 'net' / '1').as_posix()}'"):
        locate_backbone(str(tmp_path / "net"), "images", tmp_path)


@pytest.mark.parametrize(
    ("handle", "sentence"),
    [
        (
            "keras:EfficentNetB0",
            "There is no backbone 'keras:EfficentNetB0'. Did you mean 'keras:EfficientNetB0'? Run 'tlkit backbones' to "
            "see all.",
        ),
        (
            "https://tfhub.dev/google/nnlm-en-dim50/2",
            "The backbone 'https://tfhub.dev/google/nnlm-en-dim50/2' reads texts. Expected one for images: "
            "'tlkit backbones --image' lists them.",
        ),
    ],
)
def test_a_backbone_that_will_not_do_is_refused(tmp_path: Path, handle: str, sentence: str):
    classifier = scaffold.list_templates()["image-classifier"]
    assert refusal(scaffold.generate, classifier, tmp_path / "flowers", given={"backbone": handle}) == sentence


@pytest.mark.parametrize(
    ("handle", "size"),
    [
        ("tlkit:mini-image", 128),
        ("keras:EfficientNetB3", 300),  # Tan and Le 2019, https://keras.io/api/applications/efficientnet/
        ("https://tfhub.dev/google/imagenet/mobilenet_v2_035_96/feature_vector/5", 96),
        ("https://example.com/unknown/1", 224),
    ],
)
def test_the_size_that_a_backbone_was_trained_on_is_proposed(tmp_path: Path, handle: str, size: int):
    classifier = scaffold.list_templates()["image-classifier"]
    project = scaffold.generate(classifier, tmp_path / "flowers", given={"backbone": handle})
    assert project.answers["image_size"] == size


# Where tlkit came from ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "requirement"),
    [
        (None, f"tlkit=={tlkit.__version__}"),
        (
            {"url": "file:///home/a%20b/tlkit", "dir_info": {"editable": True}},
            "tlkit @ file:///home/a%20b/tlkit",
        ),
        ({"url": "file:///home/tlkit", "dir_info": {}}, "tlkit @ file:///home/tlkit"),
        (
            {"url": "file:///tmp/tlkit-0.1.0-py3-none-any.whl", "archive_info": {}},
            "tlkit @ file:///tmp/tlkit-0.1.0-py3-none-any.whl",
        ),
        (
            {"url": "https://example.org/tlkit.git", "vcs_info": {"vcs": "git", "commit_id": "0a1b"}},
            "tlkit @ git+https://example.org/tlkit.git@0a1b",
        ),
        (
            {
                "url": "https://example.org/all.git",
                "vcs_info": {"vcs": "git", "requested_revision": "main", "commit_id": "0a1b"},
                "subdirectory": "python/tlkit",
            },
            "tlkit @ git+https://example.org/all.git@0a1b#subdirectory=python/tlkit",
        ),
    ],
)
def test_the_requirement_names_where_tlkit_came_from(monkeypatch, record, requirement):
    class Distribution:
        def read_text(self, name):
            assert name == "direct_url.json"
            return None if record is None else json.dumps(record)

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Distribution())
    assert scaffold.install_requirement() == requirement


def test_a_checkout_that_was_never_installed_is_required_as_a_folder(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    assert scaffold.install_requirement() == f"tlkit @ {Path(__file__).parents[1].as_uri()}"
