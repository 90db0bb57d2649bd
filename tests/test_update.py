"""Updates of real projects that were tweaked: what is on the disk afterwards, whatever happens on the way."""

import ast
import compileall
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
import tomllib
import zipfile

import pytest
from newer_templates import (
    change,
    code_cell,
    copy_templates,
    edit_notebook,
    make_newer,
    make_project,
    merged_by_git,
    put_before_imports,
    tree_of,
)

import tlkit
from tlkit import UserError, scaffold
from tlkit.scaffold import backup

LABEL = f"image-classifier 2 of tlkit {tlkit.__version__}"
BINARY = b"\x89PNG\r\n\x1a\n\0\0"


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """One project of each template, made once."""
    made = {}

    def original(template):
        if template not in made:
            made[template] = make_project(template, tmp_path_factory.mktemp(template))
        return made[template]

    return original


@pytest.fixture
def templates(tmp_path, monkeypatch):
    """The folder of templates, which may be changed."""
    folder = copy_templates(tmp_path)
    monkeypatch.setattr(scaffold.templates, "templates_folder", lambda: folder)
    return folder


@pytest.fixture
def project(originals, tmp_path):
    return shutil.copytree(originals("image-classifier"), tmp_path / "flowers")


def plan(project, **given):
    return scaffold.plan_update(scaffold.open_project(project), given)


def update(project, **given):
    """Update, and say what happened to which file."""
    planned = plan(project, **given)
    before = tree_of(project, without=())
    assert tree_of(project, without=()) == before  # planning writes nothing
    planned.apply()
    return {change.path: change.what for change in planned.changes}


def package(templates, template="image-classifier"):
    return templates / template / "project" / "[[ name ]]"


def as_generated_now(template, tmp_path):
    """The tree of a new project of that name; its data lie as far away as the first one's."""
    folder = make_project(template, tmp_path / "anew")
    return {path: it for path, it in tree_of(folder).items()}


# Every kind of tweak at once, beside `git merge` ------------------------------------------------------------------


def tweak(project):
    """What people do to a project, without touching the lines that the newer template touches."""
    change(project / "flowers" / "config.py", "    seed: int = 0\n", "    seed: int = 3\n")
    with (project / "flowers" / "model.py").open("a") as model:
        model.write("\n\ndef count_weights(model):\n    return model.count_params()\n")
    change(project / "README.md", "# flowers\n", "# Flowers of my garden\n")
    (project / "flowers" / "evaluate.py").write_text(
        ast.unparse(ast.parse((project / "flowers/evaluate.py").read_text()))
    )
    (project / "flowers" / "tune.py").unlink()
    (project / "flowers" / "mine.py").write_text("MINE = 1\n")
    change(project / "pyproject.toml", "dependencies = [\n", 'dependencies = [\n    "seaborn",\n')
    (project / "flowers" / "predict.py").chmod(0o755)
    (project / "runs" / "1").mkdir(parents=True)
    (project / "runs" / "1" / "model.keras").write_bytes(BINARY)


@pytest.mark.parametrize("template", sorted(scaffold.list_templates()))
def test_tweaked_projects_become_what_git_makes_of_them(template, originals, templates, tmp_path):
    project = shutil.copytree(originals(template), tmp_path / "flowers")
    base = tree_of(project)
    tweak(project)
    yours = tree_of(project)
    make_newer(templates / template)
    new = as_generated_now(template, tmp_path)
    expected, status = merged_by_git(tmp_path / "repository", base, yours, new)
    assert status == 0

    said = update(project)

    assert said == {
        **dict.fromkeys(("flowers/train.py", "flowers/data.py", "flowers.ipynb"), "updated"),
        **dict.fromkeys(("README.md", "pyproject.toml"), "merged"),
        **dict.fromkeys(("flowers/config.py", "flowers/model.py"), "merged"),
        **dict.fromkeys(("flowers/watch.py", "tests/test_watch.py"), "added"),
        "flowers/predict.py": "updated",
        "flowers/export.py": "deleted",
    }
    assert tree_of(project) == expected
    assert compileall.compile_dir(project / "flowers", quiet=1)
    ast.parse((project / "tests" / "test_flowers.py").read_text())
    pyproject = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    assert "seaborn" in pyproject["dependencies"] and "mypy" in pyproject["optional-dependencies"]["dev"]
    record = json.loads((project / ".tlkit" / "answers.json").read_text())
    assert (record["template_version"], record["answers"]["template_version"]) == ("2", "2")
    assert plan(project).is_up_to_date and plan(project).changes == ()


def test_a_second_update_starts_from_the_first(project, templates):
    put_before_imports(package(templates) / "train.py", "import abc")
    update(project)
    change(project / "flowers" / "train.py", "import abc\n", "import abc as letters\n")
    put_before_imports(package(templates) / "model.py", "import abc")

    assert update(project) == {"flowers/model.py": "updated"}
    assert "import abc as letters\n" in (project / "flowers" / "train.py").read_text()


def test_a_project_without_changes_is_what_would_be_generated_now(project, templates, tmp_path):
    make_newer(templates / "image-classifier")
    update(project)
    assert tree_of(project) == as_generated_now("image-classifier", tmp_path)


def test_content_counts_not_the_version(project, templates):
    assert scaffold.find_template_changes(project) == ()
    untouched = tree_of(project, without=())
    assert update(project) == {} and tree_of(project, without=()) == untouched

    change(templates / "image-classifier" / "template.toml", 'version = "1"', 'version = "1.1"')
    assert plan(project).is_up_to_date
    change(templates / "image-classifier" / "template.toml", 'version = "1.1"', 'version = "1"')
    put_before_imports(package(templates) / "train.py", "import abc")
    assert not plan(project).is_up_to_date
    assert scaffold.find_template_changes(project) == ("flowers/train.py",)


def test_tlkit_is_required_as_it_is_installed_now(project, monkeypatch):
    monkeypatch.setattr(scaffold.update, "install_requirement", lambda: "tlkit==7.0")
    assert update(project) == {"pyproject.toml": "updated", "flowers.ipynb": "updated"}
    assert "tlkit==7.0" in tomllib.loads((project / "pyproject.toml").read_text())["project"]["dependencies"]
    assert scaffold.find_template_changes(project) == ()


# One tweak after the other ----------------------------------------------------------------------------------------


def test_a_line_that_both_changed_is_marked(project, templates):
    mine, theirs = project / "flowers" / "config.py", package(templates) / "config.py.jinja"
    generated = mine.read_text()
    change(mine, "patience: int = 6", "patience: int = 60")
    change(theirs, "patience: int = 6", "patience: int = 9")
    change(templates / "image-classifier" / "template.toml", 'version = "1"', 'version = "2"')

    planned = plan(project)
    planned.apply()

    lines = ("    patience: int = 60", "    patience: int = 9")
    marked = "\n".join(["<<<<<<< yours", lines[0], "=======", lines[1], f">>>>>>> {LABEL}", ""])
    assert mine.read_text() == generated.replace("    patience: int = 6\n", marked)
    line = generated[: generated.index("    patience: int = 6\n")].count("\n") + 1
    (told,) = [it for it in planned.changes if it.path == "flowers/config.py"]
    assert (told.what, told.conflicts, told.is_yours_to_decide) == ("conflict", (line,), True)
    with pytest.raises(
        UserError, match=r"^'flowers/config\.py' in '.*' still holds a conflict that is marked and not "
    ):
        plan(project)
    change(mine, marked, "    patience: int = 60\n")
    assert plan(project).is_up_to_date


def test_windows_line_endings_stay(project, templates):
    for name in ("train.py", "model.py", "data.py"):
        file = project / "flowers" / name
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    with (project / "flowers" / "model.py").open("ab") as model:
        model.write(b"MINE = 1\r\n")
    for name in ("train.py", "model.py"):
        put_before_imports(package(templates) / name, "import abc")
    expected = (package(templates) / "train.py").read_bytes().replace(b"\n", b"\r\n")

    assert update(project) == {"flowers/train.py": "updated", "flowers/model.py": "merged"}

    assert (project / "flowers" / "train.py").read_bytes() == expected
    model = (package(templates) / "model.py").read_bytes().replace(b"\n", b"\r\n") + b"MINE = 1\r\n"
    assert (project / "flowers" / "model.py").read_bytes() == model


def test_a_conflict_in_windows_line_endings_is_marked_in_them(project, templates):
    file = project / "flowers" / "config.py"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n").replace(b"patience: int = 6", b"patience: int = 60"))
    change(package(templates) / "config.py.jinja", "patience: int = 6", "patience: int = 9")

    assert update(project) == {"flowers/config.py": "conflict"}
    content = file.read_bytes()
    assert content.count(b"\n") == content.count(b"\r\n") and b"<<<<<<< yours\r\n" in content


def test_text_of_another_encoding_and_without_a_last_line_ending(project, templates):
    readme = project / "README.md"
    changed = readme.read_bytes().replace(b"# flowers\n", b"# Bl\xfcmchen\n").removesuffix(b"\n")
    readme.write_bytes(changed)
    change(templates / "image-classifier" / "project" / "README.md.jinja", "## Run it", "## Run it now")

    assert update(project) == {"README.md": "merged"}
    assert readme.read_bytes() == changed.replace(b"## Run it", b"## Run it now")


def test_what_is_no_text_stays_yours_with_the_other_beside_it(project, templates):
    picture = templates / "image-classifier" / "project" / "logo.png"
    picture.write_bytes(BINARY + b"1")
    assert update(project) == {"logo.png": "added"}
    (project / "logo.png").write_bytes(BINARY + b"mine")
    picture.write_bytes(BINARY + b"2")

    assert update(project) == {"logo.png": "beside"}
    assert (project / "logo.png").read_bytes() == BINARY + b"mine"
    assert (project / "logo.png.new").read_bytes() == BINARY + b"2"


def test_a_file_of_yours_where_the_template_has_a_new_one(project, templates):
    (project / "flowers" / "watch.py").write_text("MINE = 1\n")
    (project / "flowers" / "watch.py.new").write_text("mine, too\n")
    (project / "flowers" / "same.py").write_text("SAME = 1\n")
    (package(templates) / "watch.py").write_text("THEIRS = 1\n")
    (package(templates) / "same.py").write_text("SAME = 1\n")

    assert update(project) == {"flowers/watch.py": "beside"}
    assert (project / "flowers" / "watch.py").read_text() == "MINE = 1\n"
    assert (project / "flowers" / "watch.py.new").read_text() == "mine, too\n"
    assert (project / "flowers" / "watch.py.new-2").read_text() == "THEIRS = 1\n"


def test_files_that_either_side_deleted(project, templates):
    for name in ("compare", "tune", "predict"):
        (project / "flowers" / f"{name}.py").unlink()
    change(project / "flowers" / "export.py", '"""', '"""Mine: ')
    put_before_imports(package(templates) / "compare.py", "import abc")
    for name in ("export", "predict", "evaluate"):
        (package(templates) / f"{name}.py").unlink()
    mine = (project / "flowers" / "export.py").read_bytes()

    assert update(project) == {
        "flowers/compare.py": "left out",
        "flowers/export.py": "kept",
        "flowers/evaluate.py": "deleted",
    }
    assert (project / "flowers" / "export.py").read_bytes() == mine
    left = {path.name for path in (project / "flowers").iterdir()}
    assert left == {"__init__.py", "config.py", "data.py", "model.py", "train.py", "export.py", "serve.py"}
    assert plan(project).is_up_to_date


def test_a_folder_that_loses_its_last_file_is_gone(project, templates):
    for file in (templates / "image-classifier" / "project" / "tests").iterdir():
        file.unlink()
    (project / "tests" / "data").mkdir()
    (project / "tests" / "data" / "mine.txt").touch()
    assert update(project) == {"tests/test_flowers.py": "deleted"}
    assert [path.name for path in (project / "tests").rglob("*")] == ["data", "mine.txt"]
    shutil.rmtree(project / "tests")
    scaffold.undo_update(project)
    shutil.rmtree(project / "tests")
    (project / "tests").mkdir()
    shutil.copy(project / "README.md", project / "tests" / "test_flowers.py")
    (project / "tests" / "test_flowers.py").unlink()
    assert update(project) == {}


def test_the_executable_bit(project, templates):
    run, source = project / "run.sh", templates / "image-classifier" / "project" / "run.sh"
    source.write_text("#!/bin/sh\n")
    source.chmod(0o755)
    update(project)
    assert run.stat().st_mode & 0o111
    run.chmod(0o600)  # yours: private, and not to be run
    source.write_text("#!/bin/sh\necho new\n")
    assert update(project) == {"run.sh": "updated"}
    assert (run.read_text(), run.stat().st_mode & 0o777) == ("#!/bin/sh\necho new\n", 0o600)
    source.chmod(0o644)
    run.chmod(0o700)  # as generated, but private
    assert update(project) == {"run.sh": "updated"}
    assert run.stat().st_mode & 0o777 == 0o600


def test_nothing_is_written_through_links_or_in_the_way_of_folders(project, templates, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for name in ("README.md", "test_flowers.py"):
        (tmp_path / "elsewhere" / name).write_text("not of the project\n")
    (project / "README.md").unlink()
    (project / "README.md").symlink_to(tmp_path / "elsewhere" / "README.md")
    shutil.rmtree(project / "tests")
    (project / "tests").symlink_to(tmp_path / "elsewhere")
    (project / "flowers" / "model.py").unlink()
    (project / "flowers" / "model.py").mkdir()
    (project / "flowers" / "model.py" / "mine").touch()
    (project / "flowers" / "train.py").unlink()
    os.mkfifo(project / "flowers" / "train.py")  # reading it would wait for ever
    make_newer(templates / "image-classifier")

    planned = plan(project)
    planned.apply()

    left_out = {it.path: it.note for it in planned.changes if it.what == "left out"}
    nothing = "the template has {} it, and nothing is written there: {}"
    assert left_out == {
        "README.md": nothing.format("changed", "'README.md' is a symbolic link"),
        "tests/test_watch.py": nothing.format("added", "'tests' is a symbolic link"),
        "flowers/model.py": nothing.format("changed", "'flowers/model.py' is a folder"),
        "flowers/train.py": nothing.format("changed", "'flowers/train.py' is no file"),
    }
    assert {path.name: path.read_text() for path in (tmp_path / "elsewhere").iterdir()} == {
        "README.md": "not of the project\n",
        "test_flowers.py": "not of the project\n",
    }
    assert (project / "README.md").is_symlink() and (project / "flowers" / "model.py" / "mine").exists()


def test_changes_that_do_not_fit_together_are_said(project, templates):
    change(project / "pyproject.toml", "[tool.ruff]\n", "[tool.mypy]\nstrict = true\n\n[tool.ruff]\n")
    toml = templates / "image-classifier" / "project" / "pyproject.toml.jinja"
    with toml.open("a") as file:
        file.write("\n[tool.mypy]\nstrict = false\n")

    (told,) = plan(project).changes

    assert told.what == "merged" and told.is_yours_to_decide
    assert told.note.startswith(
        "your changes and the template's, put together, do not fit: Cannot declare ('tool', 'mypy')"
    )


# The notebook -----------------------------------------------------------------------------------------------------


def cells(project):
    notebook = json.loads((project / "flowers.ipynb").read_text())
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(notebook)
    return notebook["cells"]


def run_by_hand(cells):
    """As a kernel would, and with changes of the user's."""
    for number, cell in enumerate(cell for cell in cells if cell["cell_type"] == "code"):
        cell["execution_count"] = number + 1
        cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": [f"said by {cell['id']}\n"]}]


def test_a_notebook_that_was_run_keeps_its_outputs(project, templates):
    edit_notebook(project / "flowers.ipynb", run_by_hand)
    before = cells(project)
    make_newer(templates / "image-classifier")

    assert update(project)["flowers.ipynb"] == "merged"

    after = cells(project)
    assert "".join(after[0].pop("source")) == "".join(before[0].pop("source")) + "\n\nAnd what is new."
    assert after[0] == before[0]  # the id, too
    assert after[1] == before[1] and after[3:] == before[2:]
    assert after[2] == code_cell("import flowers.watch", "0b0b0b0b")


def test_a_notebook_that_both_changed_is_merged(project, templates):
    def mine(cells):
        run_by_hand(cells)
        cells[-1]["source"] = ["# mine\n", *cells[-1]["source"]]
        del cells[4]
        cells.append(code_cell("print('mine')", "mine"))
        cells[-1]["metadata"]["tags"] = ["mine"]

    edit_notebook(project / "flowers.ipynb", mine)
    before = cells(project)
    make_newer(templates / "image-classifier")

    assert update(project)["flowers.ipynb"] == "merged"

    after = cells(project)
    assert after[0]["source"][-1] == "And what is new." and after[0]["id"] == before[0]["id"]
    assert after[2] == code_cell("import flowers.watch", "0b0b0b0b")
    assert [after[1], *after[3:]] == before[1:]


def test_a_conflict_in_a_notebook_opens(project, templates):
    def mine(cells):
        cells[0]["source"][0] = "# My flowers\n"
        cells.insert(2, code_cell("import mine", "mine"))

    def theirs(cells):
        cells[0]["source"][0] = "# Your flowers\n"
        cells.insert(2, code_cell("import theirs", "theirs"))

    edit_notebook(project / "flowers.ipynb", mine)
    edit_notebook(templates / "image-classifier" / "project" / "[[ name ]].ipynb.jinja", theirs)
    change(templates / "image-classifier" / "template.toml", 'version = "1"', 'version = "2"')
    rest = cells(project)[3:]

    planned = plan(project)
    planned.apply()

    after = cells(project)
    assert "".join(after[0]["source"]).startswith(
        f"<<<<<<< yours\n# My flowers\n=======\n# Your flowers\n>>>>>>> {LABEL}\n"
    )
    shown = [(cell["cell_type"], "".join(cell["source"])) for cell in after[2:7]]
    assert shown == [
        ("markdown", "<<<<<<< yours"),
        ("code", "import mine"),
        ("markdown", "======="),
        ("code", "import theirs"),
        ("markdown", f">>>>>>> {LABEL}"),
    ]
    assert after[7:] == rest
    (told,) = [it for it in planned.changes if it.path == "flowers.ipynb"]
    assert (told.what, told.conflicts) == ("conflict", (1, 3))
    with pytest.raises(UserError, match=r"^'flowers\.ipynb' in '.*' still holds a conflict"):
        plan(project)


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"\xff",
        b'{"cells": [], "nbformat": 3}',
        b'{"cells": [{}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
        b'{"cells": [], "nbformat": 4}',
        pytest.param(b"[" * 99999, id="deep"),
    ],
)
def test_a_notebook_that_is_none_stays_yours(project, templates, content):
    (project / "flowers.ipynb").write_bytes(content)
    make_newer(templates / "image-classifier")
    assert update(project)["flowers.ipynb"] == "beside"
    assert (project / "flowers.ipynb").read_bytes() == content
    theirs = json.loads((project / "flowers.ipynb.new").read_text())["cells"]
    assert "".join(theirs[2]["source"]) == "import flowers.watch"


# Questions --------------------------------------------------------------------------------------------------------


def test_new_questions_are_answered_by_default_and_told(project, templates):
    toml = templates / "image-classifier" / "template.toml"
    with toml.open("a") as file:
        file.write('\n[[questions]]\nkey = "garden"\nprompt = "Which garden"\ndefault = "[[ name ]]-garden"\n')
    text = toml.read_text()
    start = text.index('[[questions]]\nkey = "horizontal_flip"')
    toml.write_text(text[:start] + text[text.index("[[questions]]", start + 1) :])
    config = package(templates) / "config.py.jinja"
    change(config, "[[ horizontal_flip ]]", "True")
    change(config, "    seed: int = 0\n", "    seed: int = 0\n    garden: str = [[ garden | tojson ]]\n")

    planned = plan(project)

    assert planned.notes == (
        "The template asks something new: Which garden (garden). Taken: 'flowers-garden'; another answer: --set "
        "garden=…",
        "The template no longer asks for 'horizontal_flip', which was True.",
    )
    assert plan(project, garden="Kew").notes == planned.notes[1:]
    assert update(project, garden="Kew") == {"flowers/config.py": "updated"}
    assert 'garden: str = "Kew"' in (project / "flowers" / "config.py").read_text()
    assert plan(project).notes == () and plan(project).is_up_to_date


def test_another_answer_to_an_old_question(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "phone" / "a").mkdir(parents=True)
    assert update(project, image_size=64, target="phone", adaptation="mcc") == {"flowers/config.py": "updated"}
    config = (project / "flowers" / "config.py").read_text()
    assert "image_size: int = 64" in config and 'target: str = "../phone"' in config
    with pytest.raises(UserError, match="no folder with a SavedModel"):
        plan(project, backbone="phone")


def test_an_answer_that_is_none_any_more(project, templates):
    toml = templates / "image-classifier" / "template.toml"
    change(toml, '"none", "dann", "cdan"', '"never", "dann", "cdan"')
    change(toml, 'default = "none"', 'default = "never"')
    notes = plan(project).notes
    assert notes[0].startswith("An answer is none any more: 'adaptation' is 'none'. Expected one of never, dann")


# Refusals ---------------------------------------------------------------------------------------------------------


def refusal(project):
    before = tree_of(project, without=()) if project.is_dir() else {}
    with pytest.raises(UserError) as caught:
        plan(project).apply()
    assert (tree_of(project, without=()) if project.is_dir() else {}) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_project_is_refused(tmp_path, project):
    assert refusal(tmp_path / "gone") == (
        f"There is no folder '{tmp_path / 'gone'}'. Expected a project that `tlkit new` made."
    )
    assert refusal(tmp_path) == (
        f"'{tmp_path}' is no project of tlkit: it has no folder '.tlkit', where `tlkit new` keeps what an update "
        "needs. Expected the folder that `tlkit new` made. Without '.tlkit', make a new project and copy yours into it."
    )
    assert f"Did you mean '{project}'?" in refusal(project / "flowers")


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("answers.json", None, ".tlkit/answers.json is missing"),
        ("answers.json", b"{", ".tlkit/answers.json: it is no JSON of that form"),
        ("answers.json", b"[]", ".tlkit/answers.json: it is no JSON of that form"),
        ("answers.json", b"{}", ".tlkit/answers.json: 'answers' is missing"),
        ("answers.json", b"\xff\xfe", ".tlkit/answers.json: it is no JSON of that form"),
        ("answers.json", b'{"template": "a", "template_version": "1", "tlkit_version": "1", "answers": {}}', "form"),
        ("pristine.zip", None, ".tlkit/pristine.zip is missing"),
        ("pristine.zip", b"PK\3\4", ".tlkit/pristine.zip: it is no whole archive"),
        ("pristine.zip", "half", ".tlkit/pristine.zip: it is no whole archive"),
        ("pristine.zip", "outside", ".tlkit/pristine.zip: it names '../x', outside the project"),
    ],
)
def test_a_damaged_record_is_refused(project, file, content, words):
    kept = project / ".tlkit" / file
    if content == "half":
        content = kept.read_bytes()[:1000]
    elif content == "outside":
        content = scaffold.record.pack({"../x": scaffold.File(b"")})
    kept.unlink() if content is None else kept.write_bytes(content)
    said = refusal(project)
    assert said.startswith(f"What '{project}' was made from is damaged: ") and words in said


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (
            "tlkit_version",
            "99.0",
            f"' was made with tlkit 99.0, and {tlkit.__version__} is installed. Expected a tlkit no ",
        ),
        ("template_version", "99", "' was made with the template image-classifier 99, and 1 is installed. Expected a "),
        ("template", "gone", f"' was made from the template 'gone', which tlkit {tlkit.__version__} does not have."),
    ],
)
def test_what_this_tlkit_cannot_update_is_refused(project, key, value, words):
    file = project / ".tlkit" / "answers.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    assert words in refusal(project)


def test_a_renamed_package_is_refused(project):
    (project / "flowers").rename(project / "roses")
    assert refusal(project).startswith(f"The package 'flowers' is not in '{project}': none of the files that")


def test_without_git_only_a_merge_is_refused(project, templates, monkeypatch):
    monkeypatch.setenv("PATH", "")
    put_before_imports(package(templates) / "train.py", "import abc")
    assert update(project) == {"flowers/train.py": "updated"}
    put_before_imports(package(templates) / "train.py", "import ast")
    with (project / "flowers" / "train.py").open("a") as file:
        file.write("MINE = 1\n")
    assert refusal(project).startswith(
        "'flowers/train.py' was changed by you and by the template, and the program git, which merges texts, is "
        "not there."
    )


# Failures in the middle -------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for the end of the process: nothing after it is run."""


def fail_at(patch, number, error, for_good):
    """The `number`th file moved or deleted fails; with `for_good` all after it, too, and no folder is tidied up."""
    done = []

    def counted(function):
        def run(*arguments, **options):
            done.append(function)
            if len(done) == number or for_good and len(done) > number:
                raise error
            return function(*arguments, **options)

        return run

    patch.setattr(os, "replace", counted(os.replace))
    patch.setattr(pathlib.Path, "unlink", counted(pathlib.Path.unlink))
    if for_good:
        patch.setattr(tempfile.TemporaryDirectory, "cleanup", lambda self: self._finalizer.detach())
    return done


@pytest.fixture
def tweaked(project, templates):
    """A project, tweaked, whose update merges, adds, deletes, puts beside, and has a conflict."""
    tweak(project)
    (project / "flowers" / "watch.py").write_text("MINE = 1\n")
    change(project / "flowers" / "config.py", "split_seed: int = 0", "split_seed: int = 5")
    make_newer(templates / "image-classifier")
    return project


def count_steps(tweaked, tmp_path, monkeypatch):
    copy = shutil.copytree(tweaked, tmp_path / "counted" / "flowers")
    with monkeypatch.context() as patch:
        done = fail_at(patch, 0, None, False)
        update(copy)
    return len(done), tree_of(copy, without=("before-update.zip",))


def test_a_kill_at_any_step_loses_nothing(tweaked, tmp_path, monkeypatch):
    steps, expected = count_steps(tweaked, tmp_path, monkeypatch)
    before = tree_of(tweaked, without=())
    assert steps > 12
    for step in range(1, steps + 1):
        copy = shutil.copytree(tweaked, tmp_path / str(step) / "flowers")
        planned = plan(copy)
        with monkeypatch.context() as patch, pytest.raises(Killed):
            fail_at(patch, step, Killed, for_good=True)
            planned.apply()
        interrupted = tree_of(copy, without=())
        again = plan(copy)
        assert again.changes == planned.changes and tree_of(copy, without=()) == interrupted
        if step % 3 == 0:  # and killed once more while that is taken back
            with monkeypatch.context() as patch, pytest.raises(Killed):
                fail_at(patch, 2, Killed, for_good=True)
                again.apply()
        again.apply()
        assert tree_of(copy, without=("before-update.zip",)) == expected
        scaffold.undo_update(copy)
        assert tree_of(copy, without=()) == before


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_at_any_step_is_taken_back(tweaked, tmp_path, monkeypatch, error):
    steps, _ = count_steps(tweaked, tmp_path, monkeypatch)
    before = tree_of(tweaked, without=())
    expected = UserError if isinstance(error, OSError) else KeyboardInterrupt
    for step in range(1, steps + 1, 1 if expected is UserError else 5):
        planned = plan(tweaked)
        with monkeypatch.context() as patch, pytest.raises(expected) as caught:
            fail_at(patch, step, error, for_good=False)
            planned.apply()
        assert tree_of(tweaked, without=()) == before
    if expected is UserError:
        assert str(caught.value) == (
            f"'{tweaked}' cannot be written: No space left on device. Nothing was changed. Expected a disk with room, "
            f"and a project that you may write to: '{tweaked}'."
        )


def test_an_interrupted_update_that_cannot_be_taken_back_is_said(tweaked, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        fail_at(patch, 5, Killed, for_good=True)
        plan(tweaked).apply()
    interrupted = tree_of(tweaked)
    with monkeypatch.context() as patch, pytest.raises(UserError) as caught:
        fail_at(patch, 1, PermissionError(13, "Permission denied"), for_good=True)
        plan(tweaked).apply()
    assert "cannot be written: Permission denied. An interrupted update is to be taken back first." in str(caught.value)
    assert tree_of(tweaked) == interrupted


def test_what_was_changed_after_a_kill_counts(tweaked, monkeypatch):
    planned = plan(tweaked)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        fail_at(patch, 14, Killed, for_good=True)
        planned.apply()
    train = tweaked / "flowers" / "train.py"
    with train.open("a") as file:
        file.write("MINE = 1\n")
    new = train.read_bytes()
    assert b"import keyword" in new  # it was written already

    plan(tweaked).apply()
    assert train.read_bytes() == new


# Undoing ----------------------------------------------------------------------------------------------------------


def test_an_update_is_undone_with_what_was_changed_since_kept(tweaked):
    before = tree_of(tweaked, without=())
    update(tweaked)
    with (tweaked / "flowers" / "train.py").open("a") as file:
        file.write("MINE = 1\n")
    edited = (tweaked / "flowers" / "train.py").read_bytes()
    (tweaked / "flowers" / "data.py").unlink()
    (tweaked / "flowers" / "data.py").mkdir()
    with pytest.raises(UserError, match="cannot be undone: 'flowers/data.py' is a folder, where the update changed a "):
        scaffold.undo_update(tweaked)
    (tweaked / "flowers" / "data.py").rmdir()

    done = scaffold.undo_update(tweaked)

    assert {path: place for path, place in done.items() if place} == {"flowers/train.py": "flowers/train.py.edited"}
    after = tree_of(tweaked, without=())
    assert after.pop("flowers/train.py.edited")[0] == edited
    assert after == before
    with pytest.raises(UserError, match="has no update to undo: there is no .tlkit/before-update.zip"):
        scaffold.undo_update(tweaked)
    (tweaked / backup.FINISHED).write_bytes(b"PK")
    with pytest.raises(UserError, match="before-update.zip' cannot be read: "):
        scaffold.undo_update(tweaked)


@pytest.mark.parametrize("name", ["before-update.zip", "update-in-progress.zip"])
@pytest.mark.parametrize("path", ["../outside.txt", "/outside.txt", "flowers/../../outside.txt"])
def test_a_backup_that_leads_outside_writes_nothing_there(name, path, tmp_path):
    project = tmp_path / "flowers"
    (project / ".tlkit").mkdir(parents=True)
    (tmp_path / "outside.txt").write_text("mine")
    digest = hashlib.sha256(b"mine").hexdigest()
    with zipfile.ZipFile(project / ".tlkit" / name, "w") as archive:
        archive.writestr("journal.json", json.dumps({"modes": {path: 0o644}, "after": {path: digest}}))
        archive.writestr(f"before/{path}", "theirs")
    with pytest.raises(UserError, match="is no path inside the project"):
        scaffold.undo_update(project)
    backup.take_back(project)
    assert (tmp_path / "outside.txt").read_text() == "mine"
