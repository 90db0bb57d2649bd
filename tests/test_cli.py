"""The command line: what it prints, each mistake word for word, and what it must not import."""

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import tlkit
from tlkit import cli, scaffold
from tlkit.errors import UserError
from tlkit.scaffold import DataKind

TEMPLATE_TOML = """
description = "Counts letters."
version = "1.2"
data = "letters"

[[questions]]
key = "backbone"
prompt = "Backbone"
default = "tlkit:mini-image"

[[questions]]
key = "size"
prompt = "Size"
help = "In pixels."
default = 96
type = "int"
choices = [96, 128]

[[questions]]
key = "augment"
prompt = "Augment"
default = true
type = "bool"
"""


def describe_letters(folder: Path, answers) -> str:
    if not folder.is_dir():
        raise UserError(f"'{folder}' is no folder.")
    return f"{len(list(folder.iterdir()))} letters"


def write_letters(folder: Path) -> None:
    folder.mkdir()
    (folder / "a").touch()


@pytest.fixture(autouse=True)
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two templates, one of them wanting data; the current folder is `tmp_path`."""
    for name, table in {"letter-counter": TEMPLATE_TOML, "empty": 'description = "Nothing."\nversion = "3"'}.items():
        project = tmp_path / "templates" / name / "project"
        project.mkdir(parents=True)
        (project.parent / "template.toml").write_text(table)
        (project / "answers.txt.jinja").write_text("[[ name ]] [[ data ]]" + (" [[ size ]]" if "size" in table else ""))
    monkeypatch.setattr(scaffold.templates, "templates_folder", lambda: tmp_path / "templates")
    monkeypatch.setitem(scaffold.DATA_KINDS, "letters", DataKind("Letters", describe_letters, write_letters))
    monkeypatch.setattr(scaffold.project, "install_requirement", lambda: "tlkit @ file:///somewhere/tlkit")
    monkeypatch.chdir(tmp_path)


def tlkit_command(*arguments: str, typed: str | None = None):
    return CliRunner().invoke(cli.app, arguments, input=typed, prog_name="tlkit")


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make standard input and output look like a terminal (typer's runner replaces both)."""
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda self: True, raising=False)


# What it prints -----------------------------------------------------------------------------------


def test_version():
    result = tlkit_command("--version")
    assert (result.exit_code, result.output) == (0, f"tlkit {tlkit.__version__}\n")


def test_help_names_the_commands():
    result = tlkit_command("--help")
    assert result.exit_code == 0
    assert "Make a new project from a template" in result.output
    assert "Show the templates" in result.output


def test_no_command_shows_the_help():
    result = tlkit_command()
    assert result.exit_code == 2
    assert "Make a new project from a template" in result.stdout
    assert "Error" not in result.output


def test_list_shows_every_template():
    result = tlkit_command("list")
    assert result.exit_code == 0
    assert [line.split() for line in result.output.splitlines()] == [
        ["template", "version", "what", "it", "makes"],
        ["empty", "3", "Nothing."],
        ["letter-counter", "1.2", "Counts", "letters."],
    ]


def test_new_says_what_it_made_and_what_to_type_next():
    result = tlkit_command("new", "letter-counter", "projects/my_letters")

    assert result.exit_code == 0
    assert result.output == (
        "Made 'projects/my_letters' from the template letter-counter 1.2\n"
        "  1 files\n"
        "  1 letters in 'projects/my_letters/data'\n"
        "  its pyproject.toml and notebook install tlkit from file:///somewhere/tlkit\n"
        "\n"
        "Next:\n"
        "  cd projects/my_letters\n"
        "  python -m my_letters.train\n"
        "  python -m my_letters.evaluate\n"
    )
    assert Path("projects/my_letters/answers.txt").read_text() == "my_letters data 96"


def test_new_takes_data_and_settings(tmp_path: Path):
    write_letters(tmp_path / "mine")
    result = tlkit_command("new", "letter-counter", "abc_letters", "--data", "mine", "--set", "size=128", "--defaults")

    assert result.exit_code == 0
    assert "  1 letters in 'mine'\n" in result.output
    assert Path("abc_letters/answers.txt").read_text() == "abc_letters ../mine 128"


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten small photos a class, one of them empty; the template wants images."""
    for label, name in enumerate(("ant", "bee")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(10):
            path = tmp_path / "photos" / name / f"{index}.png"
            Image.linear_gradient("L").rotate(17 * index + label, expand=True).save(path)
    (tmp_path / "photos" / "ant" / "bad.jpg").touch()
    (tmp_path / "photos" / "ant" / "phone.heic").touch()
    toml = tmp_path / "templates" / "letter-counter" / "template.toml"
    toml.write_text(toml.read_text().replace('"letters"', '"images"'))
    return tmp_path / "photos"


def test_new_looks_at_the_data_and_keeps_the_report(photos: Path):
    result = tlkit_command("new", "letter-counter", "abc_letters", "--data", "photos", "--defaults")

    assert result.exit_code == 0 and result.stderr == ""
    assert "  21 images of 2 classes in 'photos'\n" in result.output
    for text in (
        "\nIn 'photos':\npixels   smallest 256 x 256, ",
        "error    1 image does not decode: training stops there, or leaves such",
        "ant/bad.jpg: the file is empty",
        "warning  1 file is left out because of the extension (1 x .heic).",
        "The whole report, with every file: 'abc_letters/data_report.txt' and .json\n\nNext:",
    ):
        assert text in result.output
    saved = json.loads(Path("abc_letters/data_report.json").read_text())
    assert saved["findings"][0]["files"] == ["ant/bad.jpg"]
    assert "21 images of 2 classes" in Path("abc_letters/data_report.txt").read_text()


def test_new_without_inspection_passes_on_the_warnings_in_one_line(photos: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = tlkit_command("new", "letter-counter", "abc_letters", "--data", "photos", "--no-inspection")
    assert result.exit_code == 0 and "In 'photos'" not in result.output
    assert re.fullmatch(r"Warning: 1 of the 22 files in photos are left out, .*\n", result.stderr)
    assert not Path("abc_letters/data_report.txt").exists()


def test_the_backbone_has_an_option_of_its_own():
    tlkit_command("new", "letter-counter", "abc_letters", "--backbone", "https://tfhub.dev/google/x/1")
    assert '"backbone": "https://tfhub.dev/google/x/1"' in Path("abc_letters/.tlkit/answers.json").read_text()


def test_an_embedded_backbone_that_there_is_none_of():
    result = tlkit_command("new", "letter-counter", "abc_letters", "--backbone", "tlkit:maxi")
    assert result.exit_code == 1 and not Path("abc_letters").exists()
    assert "Error: There is no backbone 'tlkit:maxi'. Run 'tlkit backbones' to see all." in result.output


def test_nothing_is_asked_where_there_is_no_terminal():
    result = tlkit_command("new", "letter-counter", "abc_letters", typed="128\n")
    assert result.exit_code == 0
    assert Path("abc_letters/answers.txt").read_text() == "abc_letters data 96"


# Questions ----------------------------------------------------------------------------------------


def test_a_terminal_is_asked_everything(on_a_terminal, tmp_path: Path):
    write_letters(tmp_path / "mine")
    typed = ["leter-counter", "letter-counter", "my-letters", "my_letters", "nowhere", "mine", "", "100", "128", "no"]
    result = tlkit_command("new", typed="\n".join(typed) + "\n")

    assert result.exit_code == 0, result.output
    assert Path("my_letters/answers.txt").read_text() == "my_letters ../mine 128"
    assert '"augment": false' in Path("my_letters/.tlkit/answers.json").read_text()
    for sentence in (
        "'leter-counter' is none of empty, letter-counter. Did you mean 'letter-counter'?",
        "Did you mean 'my_letters'?",
        "'nowhere' is no folder.",
        "Found 1 letters.",
        "In pixels.\n",
        "'size' is '100'. Expected one of 96, 128.",
    ):
        assert sentence in result.output


def test_a_terminal_is_asked_only_what_it_did_not_say(on_a_terminal):
    result = tlkit_command(
        "new", "letter-counter", "abc_letters", "--backbone", "tlkit:mini-image", "--set", "size=128", typed="\n\n"
    )
    assert result.exit_code == 0, result.output
    assert [line.split(" [")[0] for line in result.output.splitlines() if "]: " in line] == ["Letters", "Augment"]
    assert "Letters [sample data]: " in result.output and "Augment [yes]: " in result.output


def test_defaults_ask_nothing_on_a_terminal(on_a_terminal):
    assert tlkit_command("new", "letter-counter", "abc_letters", "--defaults").exit_code == 0


def test_end_of_input_makes_nothing(on_a_terminal):
    result = tlkit_command("new", "letter-counter", "abc_letters", typed="")
    assert result.exit_code == 1
    assert result.stderr.endswith("Aborted.\n")
    assert not Path("abc_letters").exists()


# Mistakes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["new", "leter-counter", "abc_letters"],
            "No template named 'leter-counter'. Did you mean 'letter-counter'? Run 'tlkit list' to see all.",
        ),
        (["new", "xyz", "abc_letters"], "No template named 'xyz'. Run 'tlkit list' to see all."),
        (["new"], "Missing argument 'TEMPLATE'. Run 'tlkit list' to see all."),
        (["new", "empty"], "Missing argument 'DEST'. Expected the folder to make, such as 'flowers'."),
        (
            ["new", "letter-counter", "abc_letters", "--set", "siz=1"],
            "The template 'letter-counter' has no setting 'siz'. Did you mean 'size'?",
        ),
        (
            ["new", "letter-counter", "abc_letters", "--set", "xyz=1"],
            "The template 'letter-counter' has no setting 'xyz'. Expected one of backbone, size, augment.",
        ),
        (
            ["new", "empty", "abc_letters", "--backbone", "tlkit:mini-image"],
            "The template 'empty' has no setting 'backbone'.",
        ),
        (
            ["new", "letter-counter", "abc_letters", "--set", "size"],
            "--set is 'size'. Expected a key and a value, such as '--set backbone=HANDLE'.",
        ),
        (["new", "letter-counter", "abc_letters", "--set", "size=big"], "'size' is 'big'. Expected a whole number."),
        (["lst"], "No such command 'lst'. Did you mean 'list'? Run 'tlkit --help' to see what it takes."),
        (
            ["new", "empty", "abc_letters", "--bakbone", "x"],
            "No such option: --bakbone. Did you mean '--backbone'? Run 'tlkit new --help' to see what it takes.",
        ),
        (
            ["new", "empty", "abc_letters", "more"],
            "Got unexpected extra argument(s) (more). Run 'tlkit new --help' to see what it takes.",
        ),
    ],
)
def test_a_usage_mistake_ends_with_2_and_one_sentence(arguments: list[str], sentence: str):
    result = tlkit_command(*arguments)
    assert result.stderr == f"Error: {sentence}\n"
    assert (result.exit_code, result.stdout) == (2, "")
    assert not Path("abc_letters").exists()


def test_a_refusal_ends_with_1_and_one_sentence(tmp_path: Path):
    write_letters(tmp_path / "full")
    for arguments, sentence in {
        ("new", "empty", "full"): (
            "The destination 'full' is not empty (it holds a). "
            "Expected a new folder or an empty one, so that nothing of yours is overwritten."
        ),
        ("new", "letter-counter", "abc_letters", "--data", "nowhere"): "'nowhere' is no folder.",
    }.items():
        result = tlkit_command(*arguments)
        assert result.stderr == f"Error: {sentence}\n"
        assert (result.exit_code, result.stdout) == (1, "")


# What it imports ----------------------------------------------------------------------------------

HEAVY = {
    "tensorflow",
    "keras",
    "tf_keras",
    "tensorflow_hub",
    "keras_tuner",
    "sklearn",
    "scipy",
    "matplotlib",
    "skimage",
}
UNNEEDED = {
    "--help": {"jinja2", "numpy", "PIL"},
    "list": {"jinja2", "numpy", "PIL"},
    "new letter-counter abc_letters": set(),
}


@pytest.mark.parametrize("command", UNNEEDED)
def test_nothing_heavy_is_imported(command: str, tmp_path: Path):
    program = (
        "import pathlib, sys\n"
        "from tlkit import cli, scaffold\n"
        f"scaffold.templates.templates_folder = lambda: pathlib.Path({str(tmp_path / 'templates')!r})\n"
        "try: cli.main()\n"
        "finally: print('IMPORTED', *{name.partition('.')[0] for name in sys.modules})\n"
    )
    toml = tmp_path / "templates" / "letter-counter" / "template.toml"
    toml.write_text(toml.read_text().replace('"letters"', '"images"'))

    result = subprocess.run(
        [sys.executable, "-c", program, *command.split()], capture_output=True, text=True, cwd=tmp_path
    )

    assert result.returncode == 0, result.stderr
    imported = set(result.stdout.splitlines()[-1].split()[1:])
    assert "tlkit" in imported
    assert not imported & (HEAVY | UNNEEDED[command])
