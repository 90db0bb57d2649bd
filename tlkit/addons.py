"""tensorflow-addons beside Keras 3: the functions on tensors work, and Keras 3 stays as it is.

tensorflow-addons asks for Keras 2 under the names `keras` and `tensorflow.keras`. Both are Keras 3 now, so that
importing it fails (https://github.com/tensorflow/addons/issues/2865). Here its modules, and nobody else, get tf_keras
for these names: each is executed with an `__import__` of its own, which Python takes from the module's `__builtins__`
(https://docs.python.org/3/library/functions.html#exec). No entry of `sys.modules` is exchanged, not even for a moment,
so that no other module and no other thread ever sees another Keras.

What works, what does not and what to use instead: `docs/tensorflow_addons.md`. `tests/test_addons.py` fails when
tensorflow-addons asks for another inner name of Keras 2, or when tf_keras no longer has one.

Example:
    >>> from tlkit.addons import tfa
    >>> row = tf.reshape([1.0, 2.0, 3.0, 4.0], (1, 4, 1))  # an image of height 1 and width 4
    >>> tfa.image.rotate(row, np.pi)[0, :, 0].numpy().tolist()
    [4.0, 3.0, 2.0, 1.0]

Reference:
    TensorFlow Addons' end of life: https://github.com/tensorflow/addons/issues/2807
"""

from __future__ import annotations

import builtins
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import pathlib
import platform
import sys
import threading
import types
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from typing import Any, NoReturn

import tensorflow as tf
from packaging.requirements import Requirement

from tlkit.errors import UserError

# What the bridge was tried with; the limits in pyproject.toml are the same.
TRIED = {"tensorflow": "2.21", "tf-keras": "2.21", "tensorflow-addons": "0.23", "typeguard": "2.13"}

_PACKAGE = "tensorflow_addons"
# These two only warn: that tensorflow-addons has ended, and that it does not know this TensorFlow.
_WARN_ONLY = (f"{_PACKAGE}.utils.tfa_eol_msg", f"{_PACKAGE}.utils.ensure_tf_install")
# This one warns that compiled code may crash; it is never loaded, see `_refuse_compiled`.
_LOADS_COMPILED = f"{_PACKAGE}.utils.resource_loader"
_PAGE = "docs/tensorflow_addons.md"
_LOCK = threading.Lock()  # one thread imports, the others wait


def __getattr__(name: str) -> Any:
    if name != "tfa":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _LOCK:
        if "tfa" not in globals():
            globals()["tfa"] = _load()
    return globals()["tfa"]


# Before the import: what is installed -------------------------------------------------------------


def is_offered(environment: Mapping[str, str] | None = None) -> bool:
    """Whether tensorflow-addons was published for this Python and machine, by tlkit's own requirements.

    Args:
        environment: Markers to judge instead of this machine's, such as `{"python_version": "3.12"}`.

    Example:
        >>> is_offered({"python_version": "3.12"})
        False
    """
    requirements = map(Requirement, importlib.metadata.requires("tlkit") or ())
    markers = [item.marker for item in requirements if item.name == "tensorflow-addons" and item.marker]
    return any(marker.evaluate({**(environment or {}), "extra": "addons"}) for marker in markers)


def _check_installed() -> None:
    found = {}
    for name in TRIED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            raise UserError(_missing(name, is_offered())) from None
    strangers = [f"{name} {found[name]}" for name in TRIED if not f"{found[name]}.".startswith(f"{TRIED[name]}.")]
    if strangers:
        tried = " and ".join(f"{name} {version}" for name, version in TRIED.items())
        wishes = " ".join(f"'{name}=={version}.*'" for name, version in TRIED.items())
        raise UserError(
            f"tlkit.addons: tensorflow-addons was not tried with {' and '.join(strangers)}. Expected {tried}. "
            f"Run `pip install {wishes}`."
        )


def _missing(name: str, offered: bool) -> str:
    if offered:
        return (
            f"tlkit.addons: the package '{name}' is missing. Expected the extra 'addons' of tlkit. "
            f"Run `pip install 'tlkit[addons]'`."
        )
    here = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    return (
        f"tlkit.addons: tensorflow-addons ended before there was a release for {here}. Expected Python 3.11 on macOS "
        f"or on Linux x86_64. Take what Keras 3 has instead, by the table in {_PAGE}, or make an environment with "
        f"`python3.11 -m venv .venv`."
    )


# The import ---------------------------------------------------------------------------------------


def _load() -> types.ModuleType:
    if _PACKAGE not in sys.modules:
        _check_installed()
        if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _Finder())  # for good: a submodule may be imported later
        _forget_strangers()
    package = importlib.import_module(_PACKAGE)
    package.options.disable_custom_kernel()  # Python instead of compiled code, where it has both
    _mend_losses(package.losses)
    _refuse_metrics(package.metrics)
    return package


def _forget_strangers() -> None:
    """Drop what an `import tensorflow_addons` left behind that failed: modules with Keras 3 in them."""
    for name, module in list(sys.modules.items()):
        loader = getattr(module, "__loader__", None)
        if name.partition(".")[0] == _PACKAGE and not isinstance(loader, _Loader):
            del sys.modules[name]


class _Finder(MetaPathFinder):
    """Finds the modules of tensorflow-addons where they are, and leaves executing them to `_Loader`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != _PACKAGE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    """Executes a module with `_import` as its `__import__`."""

    def exec_module(self, module: types.ModuleType) -> None:
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import}
        super().exec_module(module)


def _import(
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    """`__import__` as the modules of tensorflow-addons see it."""
    importer = (globals or {}).get("__name__")
    if name == "tensorflow" or (name.startswith("tensorflow.") and not fromlist):
        importlib.import_module(_in_keras_2(name))
        return _TENSORFLOW
    if name == "importlib":
        return _IMPORTLIB
    if name == "warnings" and (importer in _WARN_ONLY or importer == _LOADS_COMPILED):
        return _WARNINGS
    return builtins.__import__(_in_keras_2(name), globals, locals, fromlist or (), level)


def _in_keras_2(name: str) -> str:
    """Name in tf_keras of a module of Keras: `keras.src.engine` is `tf_keras.src.engine`."""
    for keras in ("tensorflow.keras", "keras"):
        if name == keras or name.startswith(f"{keras}."):
            return f"tf_keras{name.removeprefix(keras)}"
    return name


class _TensorFlow(types.ModuleType):
    """TensorFlow as tensorflow-addons knows it: with tf_keras as `keras`, and without its compiled code."""

    def __getattr__(self, name: str) -> Any:
        if name == "keras":
            return importlib.import_module("tf_keras")
        return _refuse_compiled if name == "load_op_library" else getattr(tf, name)


_TENSORFLOW = _TensorFlow("tensorflow")
# It asks whether `tensorflow.keras.optimizers.legacy` is there, and asking imports what is above it.
_IMPORTLIB = types.SimpleNamespace(
    util=types.SimpleNamespace(find_spec=lambda name: importlib.util.find_spec(_in_keras_2(name)))
)
_WARNINGS = types.SimpleNamespace(warn=lambda *_: None)


# After the import: what would fail without a reason, or be wrong without a word --------------------


def _refuse_compiled(file: str) -> NoReturn:
    """Refuse each library of compiled operations: all eight miss symbols that TensorFlow 2.21 no longer has."""
    raise UserError(
        f"tlkit.addons: this function of tensorflow-addons needs '{pathlib.Path(file).name}', compiled for TensorFlow "
        f"2.15, which TensorFlow {tf.__version__} cannot load. Expected a function written in Python. "
        f"Take what {_PAGE} names instead."
    )


def _called_by_keras_3() -> bool:
    """Whether the caller of the function that asks is Keras 3, to which all this is a function like any other."""
    frame = inspect.currentframe()
    for _ in range(2):
        frame = frame and frame.f_back
    return frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "keras"


def _subclasses(module: types.ModuleType, base: type) -> list[Any]:
    return [item for item in vars(module).values() if isinstance(item, type) and issubclass(item, base)]


def _mend_losses(losses: types.ModuleType) -> None:
    """Give Keras 3 the losses of the examples: of their mean it could make no weighted mean any more."""
    for cls in _subclasses(losses, _TENSORFLOW.keras.losses.Loss):

        def call(self: Any, y_true: Any, y_pred: Any, *args: Any, _reduced: Any = cls.__call__, **kwargs: Any) -> Any:
            if not _called_by_keras_3():
                return _reduced(self, y_true, y_pred, *args, **kwargs)
            if self.reduction == "sum":
                raise UserError(
                    f"tlkit.addons: `{type(self).__name__}` was given reduction='sum', but in `compile` Keras 3 takes "
                    f"the mean over the batch. Expected no `reduction`. Leave it out: the sum is the mean times the "
                    f"batch size."
                )
            return _at_least_a_vector(self.call(y_true, y_pred), y_pred)

        cls.__call__ = functools.wraps(cls.__call__)(call)


def _at_least_a_vector(loss: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """A loss that Keras 3 divides among replicas: one without axes it takes as it is, and adds up over them.

    Some losses are one number for a batch; `giou_loss` squeezes, so that its shape is known only when it runs.
    """
    if loss.shape.rank is None:
        return tf.reshape(loss, tf.shape(y_pred)[:-1])
    return tf.reshape(loss, (1,)) if loss.shape.rank == 0 else loss


def _refuse_metrics(metrics: types.ModuleType) -> None:
    """Stop `compile(metrics=…)` from averaging, over batches, what a metric has counted since training began."""
    for cls in _subclasses(metrics, _TENSORFLOW.keras.metrics.Metric):

        def call(self: Any, *args: Any, _counted: Any = cls.__call__, **kwargs: Any) -> Any:
            if _called_by_keras_3():
                raise UserError(
                    f"tlkit.addons: the metric `{type(self).__name__}` belongs to Keras 2, and Keras 3 would report "
                    f"wrong numbers. Expected a metric of Keras 3 in `compile`. Call `update_state` and `result` on "
                    f"the model's predictions, or take what {_PAGE} names instead."
                )
            return _counted(self, *args, **kwargs)

        cls.__call__ = functools.wraps(cls.__call__)(call)
