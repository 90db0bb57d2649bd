"""The page and what answers it, as a FastAPI application."""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import anyio
import jinja2
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

import tlkit
from tlkit.errors import UserError
from tlkit.serving.about import describe
from tlkit.serving.bodies import LARGEST_PICTURE, LONGEST_TEXT, read_picture, read_text
from tlkit.serving.pictures import check_picture, unreadable
from tlkit.serving.refusal import Refusal
from tlkit.serving.safe_headers import SafeHeaders

_Predict = Callable[[Any], dict[str, Any]]  # from the path of a picture, or a text
_HOSTS = ["127.0.0.1", "localhost"]  # any other name would be another site's that leads here (DNS rebinding)
_MOST_WAITING = 8  # questions beside the one that is answered; each keeps its picture in memory
_PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "pages"),
    autoescape=True,  # names of runs and classes may hold HTML
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def build_app(predict: _Predict, *, takes: Literal["image", "text"], run: Path) -> FastAPI:
    """Make the application: the page at `/`, and answers to `POST /predict`.

    Pictures come as they are, with a content type such as `image/jpeg`; texts as JSON, `{"text": "..."}`. The answer is
    what `predict` returns and `milliseconds`, of the model and of the whole request; or, with a status from 400 on,
    `{"error": "..."}`, one sentence. One question is answered at a time, in a thread of its own, so that the page stays
    awake. A picture's file is deleted when it is answered.

    Args:
        predict: A function from the path of a picture's file, or from a text, to an answer as `class_answer` or
            `box_answer` make it. What it raises as `UserError` is told to whoever asked.
        takes: "image" or "text".
        run: The folder of the model's run, for what the page says about it.

    Returns:
        An ASGI application that answers to the names 127.0.0.1 and localhost only, and to no other site's pages.
    """
    about, page = describe(run), _PAGES.get_template("try.html.jinja")
    # The pages of FastAPI about an application load their scripts from elsewhere.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS, www_redirect=False)
    app.add_middleware(SafeHeaders)

    @app.get("/", response_class=HTMLResponse)
    async def show_page(request: Request) -> HTMLResponse:
        nonce = secrets.token_urlsafe(16)
        limits = {"bytes": LARGEST_PICTURE, "characters": LONGEST_TEXT}
        html = page.render(about=about, takes=takes, limits=limits, nonce=nonce, version=tlkit.__version__)
        return HTMLResponse(html, headers={"Content-Security-Policy": SafeHeaders.policy(nonce)})

    app.post("/predict")(_answerer(predict, takes))
    _tell_errors(app)
    return app


def _answerer(predict: _Predict, takes: str) -> Callable[[Request], Awaitable[JSONResponse]]:
    turn, inside = anyio.CapacityLimiter(1), 0
    work: Callable[..., tuple[dict[str, Any], float]] = _ask_about_text if takes == "text" else _ask_about_picture

    async def answer(request: Request) -> JSONResponse:
        nonlocal inside
        began = time.perf_counter()
        if inside > _MOST_WAITING:
            raise Refusal(503, "Too many questions are waiting. Try again in a moment.")
        inside += 1
        try:
            given = await (read_text(request) if takes == "text" else read_picture(request))
            found, seconds = await anyio.to_thread.run_sync(work, predict, given, limiter=turn)
            whole = time.perf_counter() - began
            milliseconds = {"model": round(1000 * seconds, 1), "request": round(1000 * whole, 1)}
            return JSONResponse({**found, "milliseconds": milliseconds})
        except Refusal:
            raise
        except Exception as error:
            traceback.print_exc(file=sys.stderr)  # for whoever serves it, not for who asks
            raise Refusal(500, "The model failed on this. The terminal that it is served from says why.") from error
        finally:
            inside -= 1

    return answer


def _ask_about_text(predict: _Predict, text: str) -> tuple[dict[str, Any], float]:
    try:
        return _timed(predict, text)
    except UserError as error:
        raise Refusal(422, str(error)) from error


def _ask_about_picture(predict: _Predict, content: bytes) -> tuple[dict[str, Any], float]:
    with tempfile.TemporaryDirectory(prefix="tlkit-serve-") as folder:
        file = Path(folder) / "picture"
        file.write_bytes(content)
        check_picture(file)
        try:
            return _timed(predict, file)
        except UserError as error:
            raise unreadable(file, error) from error


def _timed(predict: _Predict, given: Any) -> tuple[dict[str, Any], float]:
    began = time.perf_counter()
    found = predict(given)
    return found, time.perf_counter() - began


def _tell_errors(app: FastAPI) -> None:
    """Every answer that is none is one sentence in JSON."""

    @app.exception_handler(Refusal)
    async def refuse(request: Request, error: Refusal) -> JSONResponse:
        return JSONResponse({"error": error.sentence}, error.status)

    @app.exception_handler(HTTPException)
    async def no_such_place(request: Request, error: HTTPException) -> JSONResponse:
        sentence = f"{request.method} {request.url.path[:80]}: there is nothing here. Expected GET / or POST /predict."
        return JSONResponse({"error": sentence}, error.status_code, headers=error.headers)
