"""A template and some answers in, a project folder out: all of it or nothing.

A template is a folder `templates/NAME/` that holds

    template.toml    description, version, the kind of data it wants, and the questions it asks
    project/         the tree of the new project

File names may hold `[[ name ]]`. Files that end in `.jinja` are rendered (`[[ value ]]`, `[% statement %]`,
`[# comment #]`, so that Python, JSON and notebooks pass untouched) and lose that ending; all others are copied byte
for byte. The tree is rendered in memory, written into a temporary folder beside the destination and moved into place
in one step.

`plan_update` merges a later version of the template into a project that was made and tweaked.
"""

from tlkit.scaffold.backup import undo_update
from tlkit.scaffold.data_kinds import DATA_KINDS, DataKind, check_data
from tlkit.scaffold.destination import check_destination
from tlkit.scaffold.file_change import FileChange
from tlkit.scaffold.made_project import MadeProject, open_project
from tlkit.scaffold.project import Project, generate
from tlkit.scaffold.rendering import File, Tree, answer_questions, render
from tlkit.scaffold.requirement import install_requirement
from tlkit.scaffold.templates import Answer, Question, Template, list_templates, templates_folder
from tlkit.scaffold.update import Update, find_template_changes, plan_update

__all__ = [
    "DATA_KINDS",
    "Answer",
    "DataKind",
    "File",
    "FileChange",
    "MadeProject",
    "Project",
    "Question",
    "Template",
    "Tree",
    "Update",
    "answer_questions",
    "check_data",
    "check_destination",
    "find_template_changes",
    "generate",
    "install_requirement",
    "list_templates",
    "open_project",
    "plan_update",
    "render",
    "templates_folder",
    "undo_update",
]
