"""The catalogue of well-known backbones: what their public pages say, read without TensorFlow.

The facts stand in `catalog.toml`, each beside the address of the page it was read on.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import pathlib
import re
import tomllib
from collections.abc import Mapping
from typing import Any

_FILE = pathlib.Path(__file__).with_name("catalog.toml")
# The upper two stages, one after the other: `stages_to_open` of the templates, where its reason stands.
_STAGES_TO_OPEN = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class CatalogEntry:
    """What is known of a backbone without loading it; None stands for what no public page says.

    Attributes:
        handle: What `load_backbone` takes.
        kind: "image" or "text".
        source: The page the facts were read on.
        sources: Fact -> another page, where that one fact stands on it.
        kaggle: The address of the same model on Kaggle.
        size: Width and height in pixels that it was made for.
        any_size: Whether it takes images of other sizes.
        input_range: What the model itself expects for black and white.
        preprocessing: Of a network in keras.applications: "inside" when it starts from [0, 255] itself, or the mode of
            its `preprocess_input`, "tf", "torch" or "caffe".
        features: Length of the pooled vector.
        weights: How many numbers there are to learn or keep.
        weights_with_classifier: Whether `weights` counts the classifier, too, which the backbone has not.
        top1: Percent of ImageNet's validation images that the classifier published with it gets right.
        stages: How many stages `load_backbone` finds when asked for none in particular.
        languages: Of a text model.
        preprocessor: Handle of the model that turns texts into its inputs.
        needs: A package that must be imported first.
        licence: Its short name, such as "Apache-2.0".
        fine_tunable: Whether its weights may be trained on.
        note: A sentence more.
        weights_file: Of a network in keras.applications: its file in Keras's cache.
    """

    handle: str
    kind: str
    source: str
    sources: Mapping[str, str] = dataclasses.field(default_factory=dict)
    kaggle: str | None = None
    size: int | None = None
    any_size: bool | None = None
    input_range: tuple[float, float] | None = None
    preprocessing: str | None = None
    features: int | None = None
    weights: int | None = None
    weights_with_classifier: bool = False
    top1: float | None = None
    stages: int | None = None
    languages: str | None = None
    preprocessor: str | None = None
    needs: str | None = None
    licence: str | None = None
    fine_tunable: bool | None = None
    note: str | None = None
    weights_file: str | None = None

    @property
    def stages_to_open(self) -> int | None:
        """How many stages to open first, from the top: two, as the templates do, where there are more than two."""
        return None if self.stages is None else min(_STAGES_TO_OPEN, self.stages)


@functools.cache
def load_catalog() -> Mapping[str, CatalogEntry]:
    """Read the catalogue.

    Returns:
        Handle -> entry, in the order of the file.

    Example:
        >>> from tlkit.backbones.catalog import load_catalog
        >>> load_catalog()["tlkit:mini-image"].features
        320
    """
    entries = {}
    for family in tomllib.loads(_FILE.read_text(encoding="utf-8"))["family"]:
        shared = {key: value for key, value in family.items() if key != "models"}
        for model in family["models"]:
            entry = _entry({**shared, **model})
            entries[entry.handle] = entry
    return entries


def _entry(facts: dict[str, Any]) -> CatalogEntry:
    """An entry from the line of a model and what its family shares; a word in braces is a value of that line."""
    known = {field.name for field in dataclasses.fields(CatalogEntry)}
    words = {key: value for key, value in facts.items() if key not in known}
    filled: dict[str, Any] = {
        key: value.format_map(words) if isinstance(value, str) else value
        for key, value in facts.items()
        if key in known
    }
    if "input_range" in filled:
        filled["input_range"] = tuple(map(float, filled["input_range"]))
    return CatalogEntry(**filled)


def find(handle: str) -> CatalogEntry | None:
    """The entry of a handle, however its address is written, or None.

    Args:
        handle: As in the catalogue; an address of TF-Hub or Kaggle may end in a slash or a query, one of Kaggle may be
            in its long or its short form.

    Example:
        >>> from tlkit.backbones.catalog import find
        >>> find("https://www.kaggle.com/models/google/nnlm/TensorFlow2/en-dim50/1").handle
        'https://tfhub.dev/google/nnlm-en-dim50/2'
    """
    return _by_address().get(_canonical(handle))


@functools.cache
def _by_address() -> dict[str, CatalogEntry]:
    entries = load_catalog().values()
    on_kaggle = {_canonical(entry.kaggle): entry for entry in entries if entry.kaggle}
    return on_kaggle | {_canonical(entry.handle): entry for entry in entries}


def _canonical(handle: str) -> str:
    """One spelling of a handle: no query, no slash at the end, Kaggle's long form made short, in lower case."""
    address = handle.strip()
    if address.startswith(("http://", "https://")):
        address = address.partition("?")[0].rstrip("/")
        address = re.sub(r"/frameworks/([^/]+)/variations/([^/]+)/versions/", r"/\1/\2/", address, flags=re.IGNORECASE)
        address = re.sub(r"^https?://(www\.)?", "", address, flags=re.IGNORECASE)
    return address.lower()


def most_similar(handle: str) -> str | None:
    """The handle of the catalogue that a mistyped one was probably meant to be.

    Example:
        >>> from tlkit.backbones.catalog import most_similar
        >>> most_similar("keras:EfficentNetV2B0")
        'keras:EfficientNetV2B0'
    """
    spellings: dict[str, str] = {}
    for entry in load_catalog().values():
        spellings.setdefault(_canonical(entry.handle), entry.handle)
        if entry.handle.startswith(("keras:", "tlkit:")):  # also without the word before the colon
            spellings.setdefault(_canonical(entry.handle.partition(":")[2]), entry.handle)
    close = difflib.get_close_matches(_canonical(handle), spellings, n=1, cutoff=0.75)
    return spellings[close[0]] if close else None
