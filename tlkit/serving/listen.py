"""The door of the page: a port of this machine that only this machine reaches."""

from __future__ import annotations

import errno
import importlib
import os
import socket

from tlkit.errors import UserError

HOST = "127.0.0.1"  # never another one: whoever reaches the port may use the model, and send it anything
FIRST_PORT = 8000
_TRIED = 20  # ports from the first one on, where none was asked for


def listen(port: int | None = None) -> socket.socket:
    """Open a port of this machine for the page, and see that what serves it is installed.

    To be called before the model is loaded, so that nobody waits for that in vain.

    Args:
        port: From 0 to 65535; 0 is any free one. Defaults to `None`: 8000, or the next free one.

    Returns:
        The open socket, for `serve`.

    Raises:
        UserError: When the extra `serve` is not installed, or the port is taken or not to be had.
    """
    for module in ("fastapi", "uvicorn"):
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise UserError(
                f"The page needs the package '{error.name}', which is not installed. Run `pip install 'tlkit[serve]'`, "
                "or, in a project of tlkit, `pip install -e '.[serve]'`."
            ) from error
    if port is not None and not 0 <= port <= 65535:
        raise UserError(f"The port is {port}. Expected a number from 0 to 65535, such as --port {FIRST_PORT}.")
    ports = range(FIRST_PORT, FIRST_PORT + _TRIED) if port is None else (port,)
    for number in ports:
        door = _bind(number)
        if door is not None:
            if number != ports[0]:
                print(
                    f"Port {ports[0]} is taken, perhaps by an earlier page; this one is at port {number}.", flush=True
                )
            return door
    taken = f"Port {port} is" if port is not None else f"The ports {ports[0]} to {ports[-1]} are all"
    raise UserError(f"{taken} taken by another program. Choose a port with --port, or 0 for any free one.")


def _bind(port: int) -> socket.socket | None:
    """A socket that listens there, or None where another one does."""
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":  # to take the port again at once after a restart; on Windows it would share a port in use
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((HOST, port))
        door.listen(128)  # whoever comes before the model is loaded waits instead of being turned away
    except OSError as error:
        door.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise UserError(
            f"Port {port} cannot be opened: {error.strerror or error}. Choose another one with --port, above 1023."
        ) from error
    return door
