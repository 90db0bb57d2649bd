"""Images, texts and boxes: split, load, inspect, weigh; no TensorFlow until a data set is made."""

from tlkit.data.boxes import (
    BoxAugmentation,
    BoxData,
    BoxReport,
    BoxSplits,
    BoxTable,
    LabelledImage,
    fingerprint_boxes,
    inspect_boxes,
    load_boxes,
    read_boxes,
    read_letterboxed,
    resized_size,
    split_boxes,
    to_original_pixels,
    to_resized_pixels,
    write_sample_scenes,
)
from tlkit.data.class_weights import class_weights
from tlkit.data.decoding import IMAGE_EXTENSIONS, decode_image
from tlkit.data.epochs import epochs
from tlkit.data.fingerprint import fingerprint_images
from tlkit.data.inspection import Finding, ImageReport, inspect_images
from tlkit.data.load_image_folder import ImageFolder, load_image_folder
from tlkit.data.load_unlabelled_images import UnlabelledImages, load_unlabelled_images
from tlkit.data.sample_domains import write_sample_domains
from tlkit.data.sample_images import write_sample_images
from tlkit.data.split_image_folder import ImageFile, ImageSplits, split_image_folder
from tlkit.data.texts import (
    TextReport,
    TextRows,
    TextSplits,
    TextTable,
    UnlabelledTexts,
    fingerprint_texts,
    inspect_texts,
    iterate_texts,
    load_texts,
    load_unlabelled_texts,
    split_texts,
    write_sample_text_domains,
    write_sample_texts,
)

__all__ = [
    "BoxAugmentation",
    "BoxData",
    "BoxReport",
    "BoxSplits",
    "BoxTable",
    "Finding",
    "IMAGE_EXTENSIONS",
    "ImageFile",
    "ImageFolder",
    "ImageReport",
    "ImageSplits",
    "LabelledImage",
    "TextReport",
    "TextRows",
    "TextSplits",
    "TextTable",
    "UnlabelledImages",
    "UnlabelledTexts",
    "class_weights",
    "decode_image",
    "epochs",
    "fingerprint_boxes",
    "fingerprint_images",
    "fingerprint_texts",
    "inspect_boxes",
    "inspect_images",
    "inspect_texts",
    "iterate_texts",
    "load_boxes",
    "load_image_folder",
    "load_texts",
    "load_unlabelled_images",
    "load_unlabelled_texts",
    "read_boxes",
    "read_letterboxed",
    "resized_size",
    "split_boxes",
    "split_image_folder",
    "split_texts",
    "to_original_pixels",
    "to_resized_pixels",
    "write_sample_domains",
    "write_sample_images",
    "write_sample_scenes",
    "write_sample_text_domains",
    "write_sample_texts",
]
