"""`tlkit update` as it is typed: what it prints, its exit codes, and each mistake."""

import json
import shutil
import subprocess
import sys

import pytest
from newer_templates import change, copy_templates, make_newer, make_project, put_before_imports, tree_of
from typer.testing import CliRunner

import tlkit
from tlkit import cli, scaffold

NOW = f"tlkit {tlkit.__version__}"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return make_project("text-classifier", tmp_path_factory.mktemp("text"))


@pytest.fixture
def template(tmp_path, monkeypatch):
    """The template of the project, which may be changed."""
    folder = copy_templates(tmp_path)
    monkeypatch.setattr(scaffold.templates, "templates_folder", lambda: folder)
    return folder / "text-classifier"


@pytest.fixture
def project(original, template, tmp_path, monkeypatch):
    """A project in the current folder."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(original, tmp_path / "flowers")


def update(*arguments, width="200"):
    return CliRunner(env={"COLUMNS": width}).invoke(cli.app, ["update", *arguments], prog_name="tlkit")


def lines(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def test_nothing_to_do(project):
    done = update("flowers")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"'flowers' is up to date: text-classifier 1 of {NOW} makes what it made before.\n"


def test_an_update_is_shown_then_done(project, template, monkeypatch):
    make_newer(template)
    (project / "flowers" / "compare.py").unlink()
    put_before_imports(template / "project" / "[[ name ]]" / "compare.py", "import keyword")
    with (project / "flowers" / "model.py").open("a") as model:
        model.write("MINE = 1\n")
    before = tree_of(project, without=())

    shown = update("flowers", "--dry-run")

    assert shown.exit_code == 0 and tree_of(project, without=()) == before
    assert lines(shown.stdout) == [
        f"'flowers' would take what is new in text-classifier 2 of {NOW}, since 1 of {NOW}.",
        "added flowers/watch.py +1 new in the template",
        "added tests/test_watch.py +1 new in the template",
        "updated README.md +4 not changed by you",
        "updated flowers.ipynb +3 not changed by you",
        "updated flowers/config.py +2 -1 not changed by you",
        "updated flowers/data.py +1 not changed by you",
        "updated flowers/predict.py +1 not changed by you",
        "updated flowers/train.py +1 not changed by you",
        "updated pyproject.toml +1 -1 not changed by you",
        "merged flowers/model.py +1 your changes and the template's",
        f"deleted flowers/export.py -{len(before['flowers/export.py'][0].splitlines())} "
        "no longer in the template, and not changed by you",
        "left out flowers/compare.py the template has changed it, and you deleted it",
        "2 added, 7 updated, 1 merged, 1 deleted, 1 left out; 6 others of the template's stay as they are.",
        "",
        "Nothing was written. To do it:",
        "tlkit update flowers",
    ]

    monkeypatch.chdir(project)
    done = update()

    assert done.exit_code == 0
    table = lines(shown.stdout)[1:14]
    assert lines(done.stdout) == [
        f"'flowers' has taken what is new in text-classifier 2 of {NOW}, since 1 of {NOW}.",
        *table,
        "",
        "Next:",
        "pip install -e . # pyproject.toml has changed",
        "python -m pytest # a minute or two: whether all still fits",
        "tlkit update --undo # if it does not: all files are as before again",
    ]

    undone = update("--undo")
    assert undone.stdout == "The last update of 'flowers' is undone: 11 files are as before it.\n"
    assert tree_of(project, without=()) == before


def test_what_is_left_to_decide_ends_with_exit_code_1(project, template):
    change(project / "flowers" / "config.py", "    patience: int = 6\n", "    patience: int = 60\n")
    change(
        template / "project" / "[[ name ]]" / "config.py.jinja", "    patience: int = 6\n", "    patience: int = 9\n"
    )
    (project / "flowers" / "watch.py").touch()
    (template / "project" / "[[ name ]]" / "watch.py").write_text("X = 1\n")
    config = (project / "flowers" / "config.py").read_text()
    line = config[: config.index("    patience: int = 60\n")].count("\n") + 1

    assert update("flowers", "--dry-run").exit_code == 0
    done = update("flowers")

    assert done.exit_code == 1
    assert lines(done.stdout) == [
        f"'flowers' has taken what is new in text-classifier 1 of {NOW}.",
        "beside flowers/watch.py the template has one of that name now, and this is yours: the template's is put into "
        "'flowers/watch.py.new'",
        f"conflict flowers/config.py +4 you and the template changed the same lines, line {line}",
        "1 beside, 1 in conflict; 15 others of the template's stay as they are.",
        "",
        "For you to decide:",
        "flowers/flowers/watch.py: take what you want of 'flowers/flowers/watch.py.new' into it, and delete that",
        "flowers/flowers/config.py: between '<<<<<<< yours' and '>>>>>>>', keep what shall stay, and delete the "
        "markers",
        "",
        "Next:",
        "cd flowers",
        "python -m pytest # a minute or two: whether all still fits",
        "tlkit update --undo # if it does not: all files are as before again",
    ]
    again = update("flowers")
    assert again.exit_code == 1 and again.stdout == ""
    assert again.stderr.startswith("Error: 'flowers/config.py' in '") and again.stderr.count("\n") == 1
    (project / "flowers" / "config.py").write_text(config)
    undone = update("flowers", "--undo")
    assert lines(undone.stdout) == ["The last update of 'flowers' is undone: 1 file is as before it."]


def test_an_answer_to_a_new_question(project, template):
    with (template / "template.toml").open("a") as toml:
        toml.write('\n[[questions]]\nkey = "size"\nprompt = "Size"\ndefault = 3\ntype = "int"\n')
    change(template / "project" / "README.md.jinja", "## Run it", "## Run it at size [[ size ]]")

    assert update("flowers", "--dry-run").stdout.startswith(
        "The template asks something new: Size (size). Taken: 3; another answer: --set size=…\n"
    )
    shown = update("flowers", "--set", "size=5", "--dry-run").stdout
    assert shown.endswith("1 updated; 15 others of the template's stay as they are.\n\n"
                          "Nothing was written. To do it:\n  tlkit update flowers --set size=5\n")  # fmt: skip
    assert update("flowers", "--set", "size=5").exit_code == 0
    assert "## Run it at size 5\n" in (project / "README.md").read_text()
    assert json.loads((project / ".tlkit" / "answers.json").read_text())["answers"]["size"] == 5


def test_an_interrupted_update_is_told(project, template, monkeypatch):
    put_before_imports(template / "project" / "[[ name ]]" / "train.py", "import keyword")
    update("flowers")
    (project / scaffold.backup.FINISHED).rename(project / scaffold.backup.UNFINISHED)
    for flag, verb in (("--dry-run", "would be"), (None, "is")):
        done = update("flowers", *filter(None, [flag]))
        assert done.exit_code == 0
        assert done.stdout.startswith(f"An update was interrupted; what it had written {verb} taken back first.\n")
        assert "updated  flowers/train.py" in done.stdout
    assert update("flowers").stdout.startswith("'flowers' is up to date")


def test_no_tensorflow_is_imported(project, template):
    put_before_imports(template / "project" / "[[ name ]]" / "train.py", "import keyword")
    program = (
        "import pathlib, sys\n"
        "from tlkit import cli, scaffold\n"
        f"scaffold.templates.templates_folder = lambda: pathlib.Path({str(template.parent)!r})\n"
        "try: cli.main()\n"
        "finally: print('IMPORTED', *{name.partition('.')[0] for name in sys.modules})\n"
    )
    done = subprocess.run([sys.executable, "-c", program, "update", "flowers"], capture_output=True, text=True)
    assert done.returncode == 0 and "updated  flowers/train.py" in done.stdout
    imported = set(done.stdout.splitlines()[-1].split())
    assert "jinja2" in imported
    assert not imported & {"tensorflow", "keras", "sklearn", "scipy", "matplotlib", "numpy", "PIL", "jupytext"}


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["gone"], 1, "There is no folder 'gone'. Expected a project that `tlkit new` made."),
        (["flowers/flowers"], 1, "Did you mean '"),
        ([], 1, "'.' is no project of tlkit: it has no folder '.tlkit'"),
        (["flowers", "--undo"], 1, "has no update to undo: there is no .tlkit/before-update.zip."),
        (["flowers", "--undo", "--dry-run"], 2, "--undo goes alone. Expected no --dry-run and no --set with it."),
        (["flowers", "--set", "x"], 2, "--set is 'x'. Expected a key and a value, such as '--set backbone=HANDLE'."),
        (["flowers", "--set", "label_colum=x"], 2, "has no setting 'label_colum'. Did you mean 'label_column'?"),
        (["flowers", "--set", "adaptation=x"], 2, "'adaptation' is 'x'. Expected one of none, dann, cdan"),
        (["flowers", "--set", "adaptation=dann"], 1, "'adaptation' is 'dann', and no 'target' is given."),
        (["flowers", "--set", "backbone=tlkit:mini-image"], 1, "reads images. Expected one for texts"),
        (["flowers", "more"], 2, "Got unexpected extra argument"),
    ],
)
def test_mistakes(project, arguments, status, sentence):
    before = tree_of(project, without=())
    done = update(*arguments)
    assert done.exit_code == status
    assert done.stdout == "" and done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1
    assert sentence in done.stderr
    assert tree_of(project, without=()) == before


def test_a_project_that_must_not_be_written(project, template, monkeypatch):
    put_before_imports(template / "project" / "[[ name ]]" / "train.py", "import keyword")
    before = tree_of(project, without=())

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied", str(project / ".tlkit" / "staging-x"))

    with monkeypatch.context() as patch:
        patch.setattr("tempfile.mkdtemp", refused)
        done = update("flowers")
    assert done.exit_code == 1 and done.stdout == ""
    assert done.stderr == (
        f"Error: '{project}/.tlkit/staging-x' cannot be written: Permission denied. Nothing was changed. Expected a "
        f"disk with room, and a project that you may write to: '{project}'.\n"
    )
    assert tree_of(project, without=()) == before
