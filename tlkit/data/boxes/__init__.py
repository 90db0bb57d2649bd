"""Images with boxes: read from four formats, inspect, split, load, augment."""

from tlkit.data.boxes.augment import BoxAugmentation
from tlkit.data.boxes.box_report import BoxReport
from tlkit.data.boxes.fingerprint_boxes import fingerprint_boxes
from tlkit.data.boxes.inspect_boxes import inspect_boxes
from tlkit.data.boxes.letterbox import read_letterboxed, resized_size, to_original_pixels, to_resized_pixels
from tlkit.data.boxes.load_boxes import BoxData, load_boxes
from tlkit.data.boxes.read_boxes import read_boxes
from tlkit.data.boxes.records import BoxTable, LabelledImage
from tlkit.data.boxes.sample_scenes import write_sample_scenes
from tlkit.data.boxes.split_boxes import BoxSplits, split_boxes

__all__ = [
    "BoxAugmentation",
    "BoxData",
    "BoxReport",
    "BoxSplits",
    "BoxTable",
    "LabelledImage",
    "fingerprint_boxes",
    "inspect_boxes",
    "load_boxes",
    "read_boxes",
    "read_letterboxed",
    "resized_size",
    "split_boxes",
    "to_original_pixels",
    "to_resized_pixels",
    "write_sample_scenes",
]
