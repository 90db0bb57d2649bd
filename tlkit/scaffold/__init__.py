"""A template and some answers in, a project folder out: all of it or nothing.

A template is a folder `templates/NAME/` that holds

    template.toml    description, version, the kind of data it wants, and the questions it asks
    project/         the tree of the new project

File names may hold `[[ name ]]`. Files that end in `.jinja` are rendered (`[[ value ]]`, `[% statement %]`,
`[# comment #]`, so that Python, JSON and notebooks pass untouched) and lose that ending; all others are copied byte
for byte. The tree is rendered in memory, written into a temporary folder beside the destination and moved into place
in one step.
"""

from tlkit.scaffold.data_kinds import DATA_KINDS, DataKind, check_data
from tlkit.scaffold.destination import check_destination
from tlkit.scaffold.project import Project, generate
from tlkit.scaffold.rendering import File, Tree, answer_questions, render
from tlkit.scaffold.requirement import install_requirement
from tlkit.scaffold.templates import Answer, Question, Template, list_templates, templates_folder

__all__ = [
    "DATA_KINDS",
    "Answer",
    "DataKind",
    "File",
    "Project",
    "Question",
    "Template",
    "Tree",
    "answer_questions",
    "check_data",
    "check_destination",
    "generate",
    "install_requirement",
    "list_templates",
    "render",
    "templates_folder",
]
