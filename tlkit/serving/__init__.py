"""A small local page to try a trained model in: pictures or texts in, classes or boxes out.

FastAPI and uvicorn (extra `serve`) are imported only when the page is served, so that what is missing is one sentence.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tlkit.serving.answers import box_answer, class_answer
from tlkit.serving.listen import listen
from tlkit.serving.serve import serve

if TYPE_CHECKING:
    from tlkit.serving.app import build_app

__all__ = ["box_answer", "build_app", "class_answer", "listen", "serve"]


def __getattr__(name: str) -> Any:
    if name == "build_app":
        return importlib.import_module("tlkit.serving.app").build_app
    raise AttributeError(f"module 'tlkit.serving' has no attribute {name!r}")
