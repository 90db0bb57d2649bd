"""Projects that somebody tweaked, and a later version of their template, for the tests of updates."""

import json
import re
import shutil
import subprocess

from projects import make_messages, make_photos, make_scenes

from tlkit import scaffold

REQUIREMENT = scaffold.install_requirement()


def make_project(template, parent, **given):
    """A project on a little data of the user's."""
    parent.mkdir(parents=True, exist_ok=True)
    if template == "image-classifier":
        data = make_photos(parent / "photos", 5)
    elif template == "text-classifier":
        data = make_messages(parent / "messages.csv")
    else:
        (parent / "scenes").mkdir()
        data = make_scenes(parent / "scenes")
    found = scaffold.list_templates()[template]
    return scaffold.generate(found, parent / "flowers", data=data, given=given, inspect=False).folder


def copy_templates(parent):
    """The templates that ship, to be changed."""
    return shutil.copytree(
        scaffold.templates_folder(), parent / "templates", ignore=shutil.ignore_patterns("__pycache__")
    )


def change(file, old, new, count=1):
    text = file.read_bytes().decode()
    assert old in text, (file, old)
    file.write_bytes(text.replace(old, new, count).encode())


def put_before_imports(file, line):
    text = file.read_bytes().decode()
    changed = re.sub(r"^(?=(import|from) )", f"{line}\n", text, count=1, flags=re.MULTILINE)
    assert changed != text
    file.write_bytes(changed.encode())


def make_newer(template):
    """Change a template as it changes with the years: its code, its words, its files and its notebook."""
    project, package = template / "project", template / "project" / "[[ name ]]"
    change(template / "template.toml", 'version = "1"', 'version = "2"')
    change(package / "config.py.jinja", "    split_seed: int = 0\n", "    split_seed: int = 7\n    fresh: int = 1\n")
    for module in ("model", "train", "predict", "data"):
        put_before_imports(package / f"{module}.py", "import keyword")
    (package / "watch.py").write_text('"""Answers over the network."""\n')
    (project / "tests" / "test_watch.py.jinja").write_text("import [[ name ]].watch\n")
    (package / "export.py").unlink()
    with (project / "README.md.jinja").open("a") as readme:
        readme.write("\n## What is new\n\n`python -m [[ name ]].watch` answers.\n")
    change(project / "pyproject.toml.jinja", 'dev = ["pytest", "ruff"]', 'dev = ["mypy", "pytest", "ruff"]')
    edit_notebook(project / "[[ name ]].ipynb.jinja", template_changes_cells)


def template_changes_cells(cells):
    cells[0]["source"] = "".join([*cells[0]["source"], "\n\nAnd what is new."]).splitlines(keepends=True)
    cells[0]["id"] = "0a0a0a0a"  # a hash of the content
    cells.insert(2, code_cell("import [[ name ]].watch", "0b0b0b0b"))


def code_cell(source, name, outputs=()):
    return {"cell_type": "code", "execution_count": None, "id": name, "metadata": {}, "outputs": [*outputs],
            "source": source.splitlines(keepends=True)}  # fmt: skip


def edit_notebook(file, edit):
    notebook = json.loads(file.read_text(encoding="utf-8"))
    edit(notebook["cells"])
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    file.write_text(text, encoding="utf-8")


def tree_of(folder, without=(".tlkit",)):
    """Every file of a folder: content and permissions."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mode & 0o777)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part in without for part in path.relative_to(folder).parts)
    }


def merged_by_git(folder, base, yours, new):
    """What `git merge` makes of three trees in a repository of its own: (the tree, its exit status)."""

    def git(*arguments):
        identity = ("-c", "user.name=x", "-c", "user.email=x@x", "-c", "core.autocrlf=false", "-c", "core.hooksPath=")
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True).returncode

    def commit(tree):
        for path in [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]:
            path.unlink()
        for path, (content, mode) in tree.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
            (folder / path).chmod(mode)
        assert git("add", "--all", "--force") == 0 and git("commit", "--quiet", "-m", "x") == 0

    folder.mkdir()
    assert git("init", "--quiet", "-b", "yours") == 0
    commit(base)
    assert git("branch", "new") == 0
    commit(yours)
    assert git("checkout", "--quiet", "new") == 0
    commit(new)
    assert git("checkout", "--quiet", "yours") == 0
    status = git("merge", "--quiet", "-m", "x", "new")
    return tree_of(folder, without=(".git",)), status
