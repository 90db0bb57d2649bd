"""Where the models of handles lie on this machine once they were fetched, found without TensorFlow.

tensorflow_hub and Keras keep what they fetch in folders of their own; these are their rules, and
`tests/test_cache.py` compares them with theirs.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import tempfile

from tlkit.backbones.catalog import find

_EMBEDDED = pathlib.Path(__file__).parent / "embedded"


def where_cached(handle: str) -> pathlib.Path | None:
    """Where a model lies on this machine, or None when it would have to be fetched.

    Args:
        handle: As `load_backbone` takes it. A path is looked at as it is.

    Returns:
        The folder of its SavedModel, or the file of its weights for a network of keras.applications.

    Example:
        >>> from tlkit.backbones.cache import where_cached
        >>> where_cached("tlkit:mini-image").name
        'mini_image'
    """
    if handle.startswith("tlkit:"):
        folder = _EMBEDDED / handle.removeprefix("tlkit:").replace("-", "_")
    elif handle.startswith("keras:"):
        entry = find(handle)
        file = keras_models_folder() / entry.weights_file if entry and entry.weights_file else None
        return file if file and file.is_file() else None
    elif "://" in handle:
        if os.environ.get("TFHUB_MODEL_LOAD_FORMAT") == "UNCOMPRESSED":  # read where it lies, never kept
            return None
        folder = hub_folder(handle)
    else:
        folder = pathlib.Path(handle).expanduser()
    return folder if holds_model(folder) else None


def hub_folder(handle: str) -> pathlib.Path:
    """The folder that tensorflow_hub keeps a model in: `$TFHUB_CACHE_DIR`, and in it the SHA-1 of the handle.

    Without that variable it takes `tfhub_modules` in the folder for temporary files, which many systems empty when
    they start. https://www.tensorflow.org/hub/caching
    """
    cache = os.environ.get("TFHUB_CACHE_DIR") or pathlib.Path(tempfile.gettempdir()) / "tfhub_modules"
    return pathlib.Path(cache) / hashlib.sha1(handle.encode(), usedforsecurity=False).hexdigest()


def holds_model(folder: pathlib.Path) -> bool:
    """Whether a folder holds a SavedModel; what cleaners of temporary folders leave of one does not count."""
    return any((folder / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt"))


def keras_models_folder() -> pathlib.Path:
    """The folder that Keras keeps the weights of keras.applications in: `models` in `$KERAS_HOME` or `~/.keras`.

    Where it may not write there, Keras goes to `/tmp/.keras` (`keras.utils.get_file`).
    """
    temporary = pathlib.Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()) / ".keras"
    home = pathlib.Path.home()
    default = home / ".keras" if os.access(home, os.W_OK) else temporary
    folder = pathlib.Path(os.environ.get("KERAS_HOME", default)).expanduser()
    is_writable = os.access(folder if folder.exists() else folder.parent, os.W_OK)
    return (folder if is_writable else temporary) / "models"
