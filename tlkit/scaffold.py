"""A template and some answers in, a project folder out: all of it or nothing.

A template is a folder `templates/NAME/` that holds

    template.toml    description, version, the kind of data it wants, and the questions it asks
    project/         the tree of the new project

File names may hold `[[ name ]]`. Files that end in `.jinja` are rendered (`[[ value ]]`, `[% statement %]`,
`[# comment #]`, so that Python, JSON and notebooks pass untouched) and lose that ending; all others are copied byte
for byte. The tree is rendered in memory, written into a temporary folder beside the destination and moved into place
in one step.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
import json
import keyword
import os
import re
import sys
import tempfile
import tomllib
import unicodedata
import urllib.parse
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import tlkit
from tlkit.errors import UserError

if TYPE_CHECKING:
    import jinja2

Answer = str | int | float | bool

# Folders of every generated project that a package of the same name would collide with.
_PROJECT_FOLDERS = {"data", "runs", "tests", "tuning"}
# What tools leave behind in a template's folder.
_LEFTOVERS = {"__pycache__", ".ruff_cache", ".mypy_cache", ".pytest_cache", ".ipynb_checkpoints", ".DS_Store"}
_BOOLEANS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
# For each type of answer: how it is read from text, and what was expected when that fails.
_TYPES: dict[str, tuple[Callable[[str], Answer], str]] = {
    "str": (str, "text"),
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "bool": (lambda text: _BOOLEANS[text.lower()], "yes or no"),
}


# Templates and their questions --------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """What a template wants to know, from one `[[questions]]` table of its `template.toml`.

    Args:
        key: The name under which the template finds the answer.
        prompt: What is asked on a terminal.
        default: The answer when nobody is asked; text may use earlier answers, as in `"[[ name ]]-model"`.
        help: One more sentence, shown with the prompt.
        type: "str", "int", "float" or "bool".
        choices: The only answers allowed; empty for any.
    """

    key: str
    prompt: str
    default: Answer
    help: str = ""
    type: str = "str"
    choices: Sequence[Answer] = ()

    def parse(self, text: str) -> Answer:
        """Turn what was typed into an answer of the right type.

        Raises:
            UserError: When it is of another type, or is none of the choices.
        """
        read, expected = _TYPES[self.type]
        try:
            answer = read(text)
        except (KeyError, ValueError):
            raise UserError(f"'{self.key}' is {text!r}. Expected {expected}.") from None
        if self.choices and answer not in self.choices:
            raise UserError(f"'{self.key}' is {text!r}. Expected one of {', '.join(map(str, self.choices))}.")
        return answer


@dataclass(frozen=True)
class Template:
    """One folder of `templates/`. `data` is the kind of data it wants: a key of `DATA_KINDS`, or None."""

    name: str
    folder: Path
    description: str
    version: str
    data: str | None = None
    questions: tuple[Question, ...] = field(default=())


def list_templates() -> dict[str, Template]:
    """Return every template that ships with tlkit, by name."""
    templates = {}
    for file in sorted(templates_folder().glob("*/template.toml")):
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        questions = tuple(Question(**question) for question in table.pop("questions", []))
        templates[file.parent.name] = Template(file.parent.name, file.parent, questions=questions, **table)
    return templates


def templates_folder() -> Path:
    """Where the templates lie: inside the installed package, or beside it in a checkout."""
    package = Path(tlkit.__file__).parent
    packaged = package / "templates"
    return packaged if packaged.is_dir() else package.parent / "templates"


def answer_questions(
    template: Template,
    given: Mapping[str, Answer],
    known: Mapping[str, Answer],
    ask: Callable[[Question, Answer], Answer] | None = None,
) -> dict[str, Answer]:
    """Find an answer to every question of a template, in order: what was given, what is asked, or the default.

    Args:
        template: Its questions are answered.
        given: Answers that somebody gave already.
        known: What the defaults may use besides earlier answers.
        ask: Called with the question and its default; None to take the default.
    """
    answers: dict[str, Answer] = {}
    for question in template.questions:
        if question.key in given:
            answers[question.key] = given[question.key]
            continue
        default = question.default
        if isinstance(default, str):
            where = f"{template.name}/template.toml ({question.key})"
            default = question.parse(_render_text(default, {**known, **answers}, where))
        answers[question.key] = ask(question, default) if ask else default
    return answers


# The user's data ----------------------------------------------------------------------------------


class DataKind(NamedTuple):
    """A kind of data that a template may want, handled without TensorFlow.

    `describe` counts what a folder holds in words, and raises `UserError` when it is not what was expected;
    `write_sample` fills a folder with data to try the template on.
    """

    prompt: str
    describe: Callable[[Path], str]
    write_sample: Callable[[Path], None]


def _describe_images(folder: Path) -> str:
    from tlkit.data import split_image_folder

    splits = split_image_folder(folder, seed=0)
    count = len(splits.train) + len(splits.validation) + len(splits.test)
    return f"{count:,} images of {len(splits.class_names)} classes"


def _write_sample_images(folder: Path) -> None:
    from tlkit.data import write_sample_images

    write_sample_images(folder)


DATA_KINDS = {
    "images": DataKind("Folder with one subfolder of images for each class", _describe_images, _write_sample_images)
}


# A new project ------------------------------------------------------------------------------------


class Project(NamedTuple):
    """What `generate` made: the folder, its files (sample data apart), and the answers they were made with."""

    folder: Path
    files: tuple[str, ...]
    answers: dict[str, Answer]
    data_summary: str


class File(NamedTuple):
    """A file of a tree in memory. Of its mode only the executable bit counts: the rest is the user's umask."""

    content: bytes
    is_executable: bool = False


Tree = dict[str, File]  # by path: relative, parts joined by "/"


def generate(
    template: Template,
    destination: str | Path,
    *,
    data: str | Path | None = None,
    given: Mapping[str, Answer] | None = None,
    ask: Callable[[Question, Answer], Answer] | None = None,
) -> Project:
    """Make a new project from a template.

    Besides the answers to its own questions a template knows `name` (the package: the last part of the destination),
    `data` (a folder, relative to the project), `tlkit_requirement`, `tlkit_version` and `template_version`.

    Args:
        template: What to render.
        destination: A folder that does not exist yet, or is empty.
        data: The user's data. Defaults to sample data written into the project's folder `data/`.
        given: Answers to the template's questions, by key.
        ask: See `answer_questions`.

    Raises:
        UserError: When the destination, its name, the data or the template will not do. Nothing is left behind then.
    """
    name = check_destination(destination)
    folder = Path(destination).resolve()
    kind = DATA_KINDS[template.data] if template.data else None
    data_summary = "" if data is None else check_data(template, data, destination)
    known: dict[str, Answer] = {
        "name": name,
        "data": "data" if data is None else Path(os.path.relpath(Path(data).resolve(), folder)).as_posix(),
        "tlkit_requirement": install_requirement(),
        "tlkit_version": tlkit.__version__,
        "template_version": template.version,
    }
    answers = known | answer_questions(template, given or {}, known, ask)
    if "backbone" in answers:
        answers["backbone"] = _locate_backbone(str(answers["backbone"]), folder)

    tree = render(template, answers)
    write_sample = kind.write_sample if kind and data is None else None
    _write_at_once(tree | _bookkeeping(template, answers, tree), folder, write_sample)
    if kind and data is None:
        data_summary = kind.describe(folder / "data")
    return Project(folder, tuple(tree), answers, data_summary)


def render(template: Template, answers: Mapping[str, Answer]) -> Tree:
    """Render a template's tree in memory.

    Raises:
        UserError: When the template uses an unknown answer, holds a symbolic link, or names a file outside the project.
    """
    tree: Tree = {}
    root = template.folder / "project"
    for source in sorted(root.rglob("*")):
        relative = source.relative_to(root)
        where = f"{template.name}/{relative.as_posix()}"
        if _LEFTOVERS.intersection(relative.parts):
            continue
        if source.is_symlink():
            raise UserError(f"The template file '{where}' is a symbolic link. Expected a file: put a copy there.")
        if source.is_dir():
            continue
        path = _render_text(relative.as_posix(), answers, where).removesuffix(".jinja")
        if any(part in {"", ".", ".."} or "\\" in part for part in path.split("/")):
            raise UserError(
                f"The template file '{where}' would be written to '{path}', outside the project. "
                "Expected a path inside it: change the file's name or the answers in it."
            )
        if path in tree:
            raise UserError(f"The template file '{where}' would overwrite '{path}', which another file makes.")
        content = source.read_bytes()
        if source.suffix == ".jinja":
            content = _render_text(content.decode(), answers, where).encode()
        tree[path] = File(content, is_executable=os.access(source, os.X_OK))
    return tree


def _render_text(text: str, answers: Mapping[str, Answer], where: str) -> str:
    import jinja2

    try:
        return _environment().from_string(text).render(answers)
    except jinja2.TemplateError as error:
        line = f", line {error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else ""
        raise UserError(
            f"The template file '{where}'{line} cannot be rendered: {error}. "
            f"Expected only the answers {', '.join(sorted(answers))} between [[ and ]]."
        ) from error


def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[#",
        comment_end_string="#]",
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # jinja's own `tojson` escapes for HTML; this one gives text that TOML, JSON and Python all read as the same string.
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment


def _bookkeeping(template: Template, answers: Mapping[str, Answer], tree: Tree) -> Tree:
    """What a later update needs: the answers, the template's version, and every file as it was generated.

    The files are in one archive, so that no tool that walks the project takes them for the user's own.
    """
    record = {"template": template.name, "template_version": template.version, "tlkit_version": tlkit.__version__}
    record_text = json.dumps(record | {"answers": answers}, indent=2, ensure_ascii=False) + "\n"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as pristine:
        for path, file in tree.items():
            entry = zipfile.ZipInfo(path)  # dated 1980: equal projects give equal archives
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if file.is_executable else 0o644) << 16
            pristine.writestr(entry, file.content)
    return {".tlkit/answers.json": File(record_text.encode()), ".tlkit/pristine.zip": File(archive.getvalue())}


def _write_at_once(tree: Tree, folder: Path, write_sample: Callable[[Path], None] | None) -> None:
    """Write a tree, and sample data into its `data/`, so that `folder` is either complete or as it was before."""
    new_parents = [parent for parent in folder.parents if not parent.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            staging = Path(temporary) / folder.name  # one level down: the temporary folder itself is private
            staging.mkdir()
            for path, file in tree.items():
                target = staging / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.content)
                if file.is_executable:
                    readable = target.stat().st_mode & 0o444
                    target.chmod(target.stat().st_mode | readable >> 2)  # who may read it may run it
            if write_sample:
                write_sample(staging / "data")
            os.replace(staging, folder)
    except BaseException as error:
        for parent in new_parents:
            with contextlib.suppress(OSError):
                parent.rmdir()
        if isinstance(error, OSError):
            raise UserError(
                f"'{folder}' cannot be written: {error.strerror or error}. Nothing was left behind. "
                "Expected a destination on a disk with room, in a folder that you may write to."
            ) from error
        raise


# What is refused ----------------------------------------------------------------------------------


def check_destination(destination: str | Path) -> str:
    """Return the name of the project that would be made there.

    Raises:
        UserError: When something is there already, or the last part of the path cannot be the name of a package.
    """
    folder = Path(destination).resolve()
    if folder == Path.cwd():
        raise UserError(
            f"The destination '{destination}' is the folder you are in, which would be replaced under your feet. "
            "Go one folder up and give its name."
        )
    if folder.exists() and not folder.is_dir():
        raise UserError(f"The destination '{destination}' is a file. Expected a new folder or an empty one.")
    if folder.exists() and any(folder.iterdir()):
        found = sorted(entry.name for entry in folder.iterdir())
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise UserError(
            f"The destination '{destination}' is not empty (it holds {', '.join(found[:3])}{more}). "
            "Expected a new folder or an empty one, so that nothing of yours is overwritten."
        )
    reason = _unfit_name(folder)
    if reason:
        ascii_name = unicodedata.normalize("NFKD", folder.name).encode("ascii", "ignore").decode()
        fitting = re.sub(r"[^a-z0-9]+", "_", ascii_name.lower()).lstrip("_0123456789").rstrip("_")
        hint = f" Did you mean '{fitting}'?" if fitting and not _unfit_name(folder.with_name(fitting)) else ""
        raise UserError(
            f"'{folder.name}' cannot be the name of a project: {reason}. Expected a name for a Python package, "
            f"such as 'flowers'.{hint}"
        )
    return folder.name


def _unfit_name(folder: Path) -> str:
    """Why the last part of a path is no good name for a package, or nothing."""
    name = folder.name
    if not re.fullmatch(r"[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?", name):
        return "it must begin with a letter, end with a letter or digit, and hold only letters, digits and underscores"
    if keyword.iskeyword(name):
        return "it is a word of the Python language"
    if name in sys.stdlib_module_names:
        return "it is a module of Python's standard library"
    if name in _PROJECT_FOLDERS:
        return f"the project has a folder '{name}' of its own"
    if _is_installed(name, ignoring={folder, Path.cwd() / name}):
        return "a package of that name is installed here, and the project would hide it"
    return ""


def _is_installed(name: str, ignoring: set[Path]) -> bool:
    """Whether `import name` finds something.

    Python takes any folder for a package: those in `ignoring` do not count unless they hold an `__init__.py`.
    """
    spec = importlib.util.find_spec(name)
    if spec is None:
        return False
    return spec.has_location or any(Path(place) not in ignoring for place in spec.submodule_search_locations or [])


def check_data(template: Template, data: str | Path, destination: str | Path) -> str:
    """Count in words what a data folder holds.

    Raises:
        UserError: When it is not the data that the template wants, or the project would lie inside it.
    """
    if template.data is None:
        raise UserError(f"The template '{template.name}' works without data. Leave out '{data}'.")
    if Path(destination).resolve().is_relative_to(Path(data).resolve()):
        raise UserError(
            f"The destination '{destination}' lies inside the data folder '{data}', where it would be taken for data. "
            "Expected a destination elsewhere."
        )
    return DATA_KINDS[template.data].describe(Path(data))


def _locate_backbone(handle: str, project: Path) -> str:
    """A folder becomes relative to the project, as the data is; any other handle ("tlkit:…", "https://…") stays."""
    if handle.startswith("tlkit:"):
        embedded = Path(tlkit.__file__).parent / "backbones" / "embedded"
        known = sorted(f"tlkit:{f.parent.name.replace('_', '-')}" for f in embedded.glob("*/saved_model.pb"))
        if handle not in known:
            raise UserError(f"There is no embedded backbone '{handle}'. Expected one of: {', '.join(known)}.")
    if ":" in handle:
        return handle
    if not (Path(handle) / "saved_model.pb").is_file():
        raise UserError(
            f"The backbone '{handle}' is no folder with a SavedModel (no saved_model.pb in it). "
            "Expected such a folder, or a handle such as 'tlkit:mini-image'."
        )
    return Path(os.path.relpath(Path(handle).resolve(), project)).as_posix()


# Where tlkit itself came from ---------------------------------------------------------------------


def install_requirement() -> str:
    """Return the requirement (PEP 508) that installs the running tlkit again, from where it was installed.

    That is a folder, a wheel, a version control address with its commit, or, when it came from a package index, the
    version.
    """
    try:
        record = importlib.metadata.distribution("tlkit").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:  # never installed: imported from its checkout
        return f"tlkit @ {Path(tlkit.__file__).parents[1].as_uri()}"
    if record is None:
        return f"tlkit=={tlkit.__version__}"
    origin = json.loads(record)
    address = origin["url"]
    if "vcs_info" in origin:
        address = f"{origin['vcs_info']['vcs']}+{address}@{origin['vcs_info']['commit_id']}"
    if "subdirectory" in origin:
        address += f"#subdirectory={urllib.parse.quote(origin['subdirectory'])}"
    return f"tlkit @ {address}"
