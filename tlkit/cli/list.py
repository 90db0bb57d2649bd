"""`tlkit list`: the templates there are."""

from __future__ import annotations

from tlkit import scaffold


def list_all() -> None:
    """Show the templates that `tlkit new` can make a project from."""
    from rich.console import Console
    from rich.table import Table

    table = Table("template", "version", "what it makes", box=None, pad_edge=False)
    for template in scaffold.list_templates().values():
        table.add_row(template.name, template.version, template.description)
    Console(markup=False, highlight=False).print(table)
