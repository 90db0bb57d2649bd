"""How the site's reference reads our docstrings: griffe calls this (`extensions` in mkdocs.yml)."""

import griffe


class OurSections(griffe.Extension):
    """The section "Example:", as Keras writes it, is what griffe knows as "Examples:": shown as a session in Python."""

    def on_object(self, *, obj, **kwargs):
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
