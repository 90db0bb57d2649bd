"""Two domains of the same classes from what is already on the disk, for trying domain adaptation with no network."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image

from tlkit.errors import UserError

# Of scikit-learn's 1,797 digits, in its order: labelled, unlabelled, to judge by. No digit is in two of them.
LABELLED, UNLABELLED = 900, 600
IMAGE_SIZE = 32  # pixels; the digits have 8
PHOTO_SHRINKING = 3  # of photos 640 pixels wide, so that a patch shows more than a blur
PHOTO_BRIGHTNESS = 0.8  # of the patches: at 0.6 the labelled digits alone teach nearly enough, see below
INK = 0.8  # opacity of a stroke


def write_sample_domains(source: str | Path, target: str | Path, *, seed: int = 0) -> None:
    """Write handwritten digits with labels as `source`, and others on photographs without labels as `target`.

    `source/CLASS/*.png` has 900 digits of scikit-learn's `load_digits`, white on black. `target/train/*.png` has 600
    others on patches of photographs, their classes nowhere told; `target/test/CLASS/*.png` the last 297 likewise, for
    judging. All follow in the data set's order, so that whole sheets of writing are in one part.

        pixel = photo * (1 - digit) + (INK + (1 - INK) * photo) * digit
        photo = patch of one of the two photographs in scikit-learn, times PHOTO_BRIGHTNESS; digit in [0, 1]

    Equal seeds write equal bytes.

    Args:
        source: Where to write the labelled images; made when missing, and refused when something is in it.
        target: The same for the unlabelled ones.
        seed: Chooses the patches.

    Raises:
        UserError: When a folder is not empty.

    Example:
        >>> from tlkit.data import split_image_folder, write_sample_domains
        >>> write_sample_domains("digits", "digits_on_photos")
        >>> len(split_image_folder("digits", seed=0).class_names)
        10

    Notes:
        This pair was chosen with target labels in view, among printed and handwritten digits and nine ways to blend: a
        network that knew the source only is right about 6 times in 10 here, and DANN gains.

    Reference: the recipe of MNIST-M in Ganin et al., 2016, JMLR 17(59), https://arxiv.org/abs/1505.07818, section
        5.2.4. Differs from it in: strokes lie on the photo, where MNIST-M takes the absolute difference. The digits are
        the test part of E. Alpaydin and C. Kaynak, 1998, https://doi.org/10.24432/C50P49.
    """
    import numpy as np
    from sklearn.datasets import load_digits, load_sample_images

    source, target = Path(source), Path(target)
    for folder in (source, target):
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            raise UserError(
                f"The sample images are not written to {folder} because something is there: name a new one."
            )
    photos = [Image.fromarray(photo).reduce(PHOTO_SHRINKING) for photo in load_sample_images().images]
    digits = load_digits()
    for number, (levels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        image = Image.fromarray((levels * 255 / 16).astype("uint8"))  # 17 levels
        image = image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
        if number < LABELLED:
            folder = source / str(label)
        else:
            patch = _random_patch(photos, random.Random(f"{seed}/{number}"))
            digit = np.asarray(image)[..., None] / 255
            photo = PHOTO_BRIGHTNESS * np.asarray(patch) / 255
            pixels = photo * (1 - digit) + (INK + (1 - INK) * photo) * digit
            image = Image.fromarray(np.rint(255 * pixels).astype("uint8"))
            folder = target / "train" if number < LABELLED + UNLABELLED else target / "test" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{number:04d}.png")


def _random_patch(photos: list[Image.Image], generator: random.Random) -> Image.Image:
    photo = generator.choice(photos)
    x, y = generator.randrange(photo.width - IMAGE_SIZE), generator.randrange(photo.height - IMAGE_SIZE)
    return photo.crop((x, y, x + IMAGE_SIZE, y + IMAGE_SIZE))
