"""Serve the page until Ctrl-C."""

from __future__ import annotations

import io
import socket
import tempfile
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from tlkit.serving.listen import HOST


def serve(
    predict: Callable[[Any], dict[str, Any]],
    *,
    takes: Literal["image", "text"],
    run: Path,
    at: socket.socket,
    open_browser: bool = False,
) -> None:
    """Show a page to try a model in, on this machine only, until Ctrl-C.

    The model is asked once before, because the first answer takes seconds.

    Args:
        predict: As for `build_app`.
        takes: "image" or "text".
        run: The folder of the model's run, for what the page says about it.
        at: Where, from `listen`.
        open_browser: Whether to open the page in this machine's browser.
    """
    import uvicorn

    from tlkit.serving.app import build_app

    app = build_app(predict, takes=takes, run=run)
    _warm_up(predict, takes)
    address = f"http://{HOST}:{at.getsockname()[1]}/"
    print(f"Try the model of {run.name} at {address} (Ctrl-C stops it)", flush=True)
    if open_browser:  # some browsers keep the caller waiting
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    settings = uvicorn.Config(
        app,
        log_level="error",  # what a program meets with is in its answer; tracebacks are printed
        access_log=False,
        server_header=False,
        proxy_headers=False,  # there is no proxy whose word would count
        ws="none",
        lifespan="off",
        timeout_graceful_shutdown=2,
    )
    try:
        uvicorn.Server(settings).run(sockets=[at])
    except KeyboardInterrupt:
        pass
    finally:
        at.close()
    print("Stopped.")


def _warm_up(predict: Callable[[Any], dict[str, Any]], takes: str) -> None:
    if takes == "text":
        predict("warm up")
        return
    picture = io.BytesIO()
    Image.new("RGB", (64, 64)).save(picture, "png")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "picture"
        file.write_bytes(picture.getvalue())
        predict(file)
