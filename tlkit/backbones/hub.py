"""Handles of TF-Hub and Kaggle to folders, by tensorflow_hub's own resolver and cache."""

from __future__ import annotations

import contextlib
import importlib
import os
import pathlib
import re
import shutil
import socket
import sys
import urllib.error
import urllib.parse
import warnings
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tlkit.backbones.cache import holds_model, hub_folder
from tlkit.errors import UserError

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_TIMEOUT = 30  # seconds without a byte; tensorflow_hub itself waits for ever
_VERSION_OF_TF1 = "The page of a model says which of its versions are 'TF2 SavedModel'."


def is_address(handle: str) -> bool:
    """Whether a handle is to be fetched: `https://tfhub.dev/…`, `https://www.kaggle.com/models/…`."""
    return "://" in handle


def resolve(handle: str) -> pathlib.Path:
    """Return the folder of a handle's SavedModel, downloaded unless it is in the cache.

    The cache is tensorflow_hub's: `$TFHUB_CACHE_DIR`, or `tfhub_modules` in the folder for temporary files.

    Args:
        handle: Address of a model. Archives are unpacked by tensorflow_hub, which refuses links and paths that
            would leave the folder.

    Raises:
        UserError: When the address is of another kind, cannot be reached, or leads to no complete archive.
    """
    _check(handle)
    folder = hub_folder(handle)
    hub = _import_hub()
    try:
        if folder.is_dir() and not holds_model(folder) and not (folder / "tfhub_module.pb").is_file():
            # Cleaners of temporary folders take the files and leave the folder, which would be found for ever
            # (https://github.com/tensorflow/hub/issues/896).
            shutil.rmtree(folder)
        with _patience():
            return pathlib.Path(hub.resolve(handle))
    except Exception as error:
        raise _unreachable(handle, folder, error) from error


def _check(handle: str) -> None:
    address = urllib.parse.urlparse(handle)
    if address.scheme == "https" or (address.scheme == "http" and address.hostname in _LOOPBACK):
        return
    if address.scheme == "http":
        raise UserError(
            f"load_backbone: '{handle}' would be fetched without encryption, so anyone on the way could change the "
            f"model. Expected 'https://…'."
        )
    raise UserError(
        f"load_backbone: '{handle}' is no address that models are fetched from. Expected 'https://tfhub.dev/…', "
        f"'https://www.kaggle.com/models/…' or a local folder. Download the model and give its folder."
    )


def _import_hub() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it still imports pkg_resources, which says that it is deprecated
            return importlib.import_module("tensorflow_hub")
    except Exception as error:
        raise UserError(
            f"load_backbone: the package tensorflow_hub does not import here ({type(error).__name__}: {error}). "
            f"Expected it with tf-keras and setuptools below 82, as tlkit asks for. `tlkit doctor` says what to mend."
        ) from error


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """A time limit on every wait for the network, and progress on a terminal."""
    before = socket.getdefaulttimeout(), os.environ.get("TFHUB_DOWNLOAD_PROGRESS")
    socket.setdefaulttimeout(_TIMEOUT)
    if sys.stdout.isatty():
        os.environ.setdefault("TFHUB_DOWNLOAD_PROGRESS", "1")
    try:
        yield
    finally:
        socket.setdefaulttimeout(before[0])
        if before[1] is None:
            os.environ.pop("TFHUB_DOWNLOAD_PROGRESS", None)


def _unreachable(handle: str, folder: pathlib.Path, error: Exception) -> UserError:
    if isinstance(error, (tf.errors.OpError, PermissionError, FileExistsError, NotADirectoryError)):
        reason = re.sub(r"\s+", " ", str(getattr(error, "message", "") or error)).strip()
        return UserError(
            f"load_backbone: '{handle}' cannot be kept in the cache '{folder.parent}': {reason}. Expected a folder "
            f"that can be written to, on a disk with room. Set the environment variable TFHUB_CACHE_DIR to another one."
        )
    address = f"{handle}{'&' if '?' in handle else '?'}tf-hub-format=compressed"
    return UserError(
        f"load_backbone: '{handle}' cannot be fetched: {_reason(error)}. Tried {address}; nothing is cached in "
        f"'{folder}'. Without a network: fetch that address elsewhere, unpack it and give the folder, or take "
        f"'tlkit:mini-image'."
    )


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # it is the answer, too
        if error.code in (401, 403):
            return f"the server refuses it ({error.code} {error.reason}); some models on Kaggle want a consent first"
        if error.code == 404:
            return f"the server knows no such model (404). Check its name and version. {_VERSION_OF_TF1}".rstrip(".")
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        if isinstance(error.reason, (TimeoutError, socket.timeout)):
            return f"no answer within {_TIMEOUT} seconds"
        return f"the server cannot be reached ({error.reason})"
    if isinstance(error, TimeoutError):
        return f"the server fell silent for {_TIMEOUT} seconds"
    if "does not appear to be a valid module" in str(error) or isinstance(error, EOFError):
        return "what the server sent is no complete archive of a model (.tar.gz)"
    return re.sub(r"\s+", " ", str(error)).strip().rstrip(".") or type(error).__name__
