"""The command `tlkit`: words in, calls out, errors worded."""

from tlkit.cli.app import app, main

__all__ = ["app", "main"]
