"""How the site's reference reads our docstrings: griffe calls this (`extensions` in mkdocs.yml)."""

import re

import griffe


class OurSections(griffe.Extension):
    """Two that griffe does not know as Keras and we write them.

    "Example:" is its "Examples:", shown as a session in Python. "Reference: AUTHORS, …" is a paragraph, and no box with
    the first line as its title.
    """

    def on_object(self, *, obj, **kwargs):
        if obj.docstring:
            text = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
            obj.docstring.value = re.sub(r"^(References?): (?=\S)", r"**\1.** ", text, flags=re.MULTILINE)
