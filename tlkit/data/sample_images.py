"""A small image data set from photographs that are already on the disk, for trying tlkit with no network."""

from __future__ import annotations

import importlib.util
import math
import random
from pathlib import Path

from PIL import Image, ImageStat

from tlkit.errors import UserError

# Class name -> photograph in scikit-image's wheel.
PHOTOS = {
    "brick": "brick.png",
    "coins": "coins.png",
    "galaxies": "hubble_deep_field.jpg",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "handwriting": "text.png",
    "moon": "moon.png",
    "print": "page.png",
    "retina": "retina.jpg",
    "tissue": "ihc.png",
}
IMAGES_PER_CLASS = {"train": 15, "test": 30}
IMAGE_SIZE = 96  # pixels
LONGEST_SIDE = 640  # pixels to which a large photograph is reduced first, so that one crop shows more than a blur
CROP_SIDES = (30.0, 80.0)  # pixels of the photograph that one crop shows
CONTRASTS = (0.45, 1.3)  # factors around the crop's mean
BRIGHTNESSES = (80.0, 176.0)  # mean grey level of a crop, so that brightness alone tells no class
SMALLEST_DEVIATION = 3.0  # grey levels; a crop with less shows empty background, and is drawn again


def write_sample_images(folder: str | Path, *, seed: int = 0) -> None:
    """Write `train/CLASS/*.png` and `test/CLASS/*.png`: ten classes, 15 training and 30 test images each.

    Every class is one photograph. Training images are crops of its left half and test images crops of its right half,
    so no pixel is in both. A crop is turned, scaled, made grey, and given a random brightness and contrast: few images
    of varied look, on which a pretrained backbone helps much. The photographs are read from scikit-image's installed
    files (the extra `tlkit[samples]`); scikit-image itself is not imported. Equal seeds write equal bytes.

    Args:
        folder: Where to write; made when missing, and refused when something is in it.
        seed: Chooses the crops.

    Raises:
        UserError: When scikit-image's photographs are not installed, or `folder` is not empty.
    """
    folder = Path(folder)
    photos = _photo_folder()
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"The sample images are not written to {folder} because something is there: name a new folder.")
    for class_name, file_name in PHOTOS.items():
        with Image.open(photos / file_name) as file:
            photo = file.convert("L")
        photo.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        middle = photo.width // 2
        halves = {"train": (0, 0, middle, photo.height), "test": (middle, 0, photo.width, photo.height)}
        for part, box in halves.items():
            target = folder / part / class_name
            target.mkdir(parents=True)
            half = photo.crop(box)
            for number in range(IMAGES_PER_CLASS[part]):
                generator = random.Random(f"{seed}/{part}/{class_name}/{number}")
                _random_crop(half, generator).save(target / f"{class_name}_{number:02d}.png")


def _photo_folder() -> Path:
    """The folder of scikit-image's photographs, found without importing scikit-image."""
    package = importlib.util.find_spec("skimage")
    if package is not None and package.origin is not None:
        photos = Path(package.origin).parent / "data"
        if all((photos / name).is_file() for name in PHOTOS.values()):
            return photos
    raise UserError(
        "The sample images are cut from photographs in scikit-image, which is not installed with them: run "
        "pip install 'tlkit[samples]', or give a folder of your own images."
    )


def _random_crop(photo: Image.Image, generator: random.Random) -> Image.Image:
    """A turned and scaled square of the photograph, IMAGE_SIZE wide, with a brightness and contrast of its own."""
    crop = _random_square(photo, generator)
    while ImageStat.Stat(crop).stddev[0] < SMALLEST_DEVIATION:
        crop = _random_square(photo, generator)
    mean = ImageStat.Stat(crop).mean[0]
    contrast, brightness = generator.uniform(*CONTRASTS), generator.uniform(*BRIGHTNESSES)
    return crop.point([round(min(max((level - mean) * contrast + brightness, 0), 255)) for level in range(256)])


def _random_square(photo: Image.Image, generator: random.Random) -> Image.Image:
    angle = generator.uniform(0, 2 * math.pi)
    across = abs(math.cos(angle)) + abs(math.sin(angle))  # width of the upright box around a turned unit square
    side = min(generator.uniform(*CROP_SIDES), (min(photo.size) - 2) / across)
    margin = side * across / 2 + 1
    x = generator.uniform(margin, photo.width - margin)
    y = generator.uniform(margin, photo.height - margin)
    # Pillow asks where in the photograph each pixel of the crop comes from: turn and scale about the crop's centre.
    cosine, sine = math.cos(angle) * side / IMAGE_SIZE, math.sin(angle) * side / IMAGE_SIZE
    half = IMAGE_SIZE / 2
    matrix = (cosine, -sine, x - half * cosine + half * sine, sine, cosine, y - half * sine - half * cosine)
    return photo.transform((IMAGE_SIZE, IMAGE_SIZE), Image.Transform.AFFINE, matrix, resample=Image.Resampling.BICUBIC)
