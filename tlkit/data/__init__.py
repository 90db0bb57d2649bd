"""Image folders: split, load, weigh; no TensorFlow until a data set is made."""

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

__all__ = [
    "IMAGE_EXTENSIONS",
    "Finding",
    "ImageFile",
    "ImageFolder",
    "ImageReport",
    "ImageSplits",
    "UnlabelledImages",
    "class_weights",
    "decode_image",
    "epochs",
    "fingerprint_images",
    "inspect_images",
    "load_image_folder",
    "load_unlabelled_images",
    "split_image_folder",
    "write_sample_domains",
    "write_sample_images",
]
