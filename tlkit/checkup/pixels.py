"""Whether pictures come to the backbone as it takes them: their range and their size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tlkit.environment import Finding

# As in `tlkit.backbones.input_check`: augmentation may overshoot [0, 1] a little; pixels in [-1, 1] are farther off.
_SLACK = {"training": 0.5}
_OTHER_SLACK = (
    0.1  # of parts without augmentation: resizing may overshoot, and bright pictures in [-1, 1] begin at -0.3
)
_BRIGHT = 10.0  # no scaling to about unit size comes here; pixels in [0, 255] all but do
_BLACK = 5 / 255  # a whole batch that is no brighter than this is no photo: most often it was divided by 255 twice
_OTHER_SIZE = 1.5  # from this factor on, things are as large as the network seldom saw them


@dataclass(frozen=True)
class PixelFacts:
    """Facts about one batch of each part, where it enters the backbone.

    Attributes:
        handle: Of the backbone.
        ranges: Part -> smallest and largest value.
        image_size: The setting, in pixels.
        native_size: Side in pixels that the backbone was made for; None where that is not known.
        has_boxes: Whether boxes are looked for: a larger image then shows small things.
        opens_at_once: Whether the backbone learns from the first epoch on, and so this size, too.
        is_range_known: Whether it is known what the model inside the backbone takes, and not assumed.
    """

    handle: str
    ranges: Mapping[str, tuple[float, float]]
    image_size: int
    native_size: int | None = None
    has_boxes: bool = False
    opens_at_once: bool = False
    is_range_known: bool = True


def look_at_pixels(config: Any, data: Any, model: Any) -> PixelFacts:
    """Gather the facts: reads the first batch of every part that training or its judging reads."""
    import keras
    import tensorflow as tf

    from tlkit.backbones.catalog import find

    backbone = model.get_layer("backbone")
    entry = keras.Model(model.inputs, backbone.input)  # what the model itself does to its input before is done
    first_epoch = tf.constant([0, 0], tf.int64)
    parts: dict[str, Any] = {
        "training": data.train_epoch(first_epoch),
        "training in order": getattr(data, "train_in_order", None),
        "validation": data.validation,
        "test": data.test,
    }
    ranges = {}
    for part, batches in parts.items():
        if batches is not None:
            images = next(iter(batches.take(1)))[0]
            ranges[part] = _range(keras.ops.convert_to_numpy(entry(images, training=False)))
    known = find(config.backbone)
    return PixelFacts(
        handle=config.backbone,
        ranges=ranges,
        image_size=config.image_size,
        native_size=known.size if known else None,  # the layer itself tells what it was loaded for
        has_boxes=hasattr(data, "max_boxes"),
        opens_at_once=config.schedule.get(0, 0) > 0,
        # Those of Keras bring their own preprocessing along.
        is_range_known=backbone.input_range is not None or config.backbone.startswith(("keras:", "kerashub:")),
    )


def _range(pixels: Any) -> tuple[float, float]:
    return float(pixels.min()), float(pixels.max())


def judge_pixels(facts: PixelFacts, name: str) -> list[Finding]:
    """Judge them; `name` is that of the package."""
    return [*_ranges(facts, name), *_assumed(facts, name), *_size(facts, name)]


def _ranges(facts: PixelFacts, name: str) -> list[Finding]:
    wrong: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}
    for part, (low, high) in facts.ranges.items():
        if said := _what_is_wrong(part, low, high):
            wrong.setdefault(said, {})[part] = low, high
    findings = [
        Finding(
            "pixels",
            f"{_listed(its)} pixels run {_span(its.values())}, and '{facts.handle}' takes [0, 1]",
            "problem",
            meaning,
            (f"edit {name}/data.py: {edit}",),
        )
        for (meaning, edit), its in wrong.items()
    ]
    right = {part: span for part, span in facts.ranges.items() if not _what_is_wrong(part, *span)}
    if findings or not right:
        return findings
    return [Finding("pixels", f"{_listed(right)} pixels run {_span(right.values())}, as '{facts.handle}' takes them")]


def _assumed(facts: PixelFacts, name: str) -> list[Finding]:
    if facts.is_range_known:
        return []
    found = f"what the model inside '{facts.handle}' takes is not known; [0, 1] is assumed, as TF-Hub's models take it"
    meaning = "Made for pixels from 0 to 255, it would see all but black pictures, and no error would say so."
    command = f"edit {name}/model.py: `load_backbone(..., input_range=(0, 255))`, or (0, 1) where its page says so"
    return [Finding("pixels of the model", found, "warning", meaning, (command,))]


def _what_is_wrong(part: str, low: float, high: float) -> tuple[str, str] | None:
    """What follows, and what to change; None where the range is right."""
    blind = "It sees what it never saw in pretraining, so that most of what it knows is lost, and no error says so."
    if math.isnan(low + high):
        return "One such number turns the loss into NaN, and with it every weight.", "take out what makes NaN"
    slack = _SLACK.get(part, _OTHER_SLACK)
    if low < -slack:
        return blind, "leave out the normalisation (such as `/ 127.5 - 1`), the backbone does its own"
    if high > _BRIGHT:
        return blind, "divide by 255: `images / 255`"
    if high > 1 + slack:
        return blind, "bring the pixels to [0, 1], the backbone does the rest"
    if high <= _BLACK:
        return "For the backbone every picture is black; most often it was divided by 255 twice.", "divide only once"
    return None


def _listed(parts: Iterable[str]) -> str:
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last


def _span(spans: Iterable[tuple[float, float]]) -> str:
    lows, highs = zip(*spans, strict=True)
    return f"from {min(lows):.3g} to {max(highs):.3g}"


def _size(facts: PixelFacts, name: str) -> list[Finding]:
    if not facts.native_size:
        return [Finding("image size", f"{facts.image_size} pixels; what '{facts.handle}' was made for is not known")]
    found = f"{facts.image_size} pixels, and '{facts.handle}' was made for {facts.native_size}"
    factor = facts.image_size / facts.native_size
    small, large = factor < 1 / _OTHER_SIZE, factor > _OTHER_SIZE and not facts.has_boxes
    if facts.opens_at_once or not (small or large):
        return [Finding("image size", found)]
    meaning = (
        f"Things are {'smaller' if small else 'larger'} than the closed network knows them, and its features tell less."
    )
    return [
        Finding("image size", found, "warning", meaning, (f"edit {name}/config.py: image_size = {facts.native_size}",))
    ]
