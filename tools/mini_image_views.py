"""Training views for `make_mini_image.py`: crops of a few photos, and pictures drawn by the program.

Nine photos are little, but crops at every scale, pasted into each other and recoloured, cover enough of
what a teacher can be asked about (Asano and Saeed 2023, "Extrapolating from a single image to a thousand
classes using distillation", https://arxiv.org/abs/2112.00725). The photos are those of scikit-image,
scikit-learn and matplotlib that the sample data (`tlkit.data.make_sample_images`) does not use.
"""

from __future__ import annotations

import functools
import pathlib
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps


@functools.cache
def load_photos() -> list[Image.Image]:
    """The nine photos, as RGB."""
    import matplotlib
    import skimage.data
    import sklearn.datasets

    skimage_folder = pathlib.Path(skimage.data.__file__).parent
    sklearn_folder = pathlib.Path(sklearn.datasets.__file__).parent / "images"
    paths = [
        *(skimage_folder / f"{name}.png" for name in ("astronaut", "chelsea", "coffee", "motorcycle_left")),
        *(skimage_folder / name for name in ("motorcycle_right.png", "rocket.jpg")),
        *(sklearn_folder / name for name in ("china.jpg", "flower.jpg")),
        pathlib.Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg",
    ]
    return [Image.open(path).convert("RGB") for path in paths]


def random_color(rng: np.random.Generator) -> tuple[int, int, int]:
    return tuple(int(v) for v in rng.integers(0, 256, 3))


def crop(rng: np.random.Generator, size: int) -> Image.Image:
    """A rotated, stretched crop of one photo, from 40 pixels wide to the whole."""
    photos = load_photos()
    photo = photos[rng.integers(len(photos))]
    longest = min(photo.size)
    side = float(np.exp(rng.uniform(np.log(40), np.log(longest))))
    stretch = float(np.exp(rng.uniform(-0.3, 0.3)))
    width, height = min(side * stretch, photo.width), min(side / stretch, photo.height)
    left, top = rng.uniform(0, photo.width - width), rng.uniform(0, photo.height - height)
    angle = rng.normal(0, 0.5) if rng.random() < 0.5 else 0.0
    shear = rng.uniform(-0.2, 0.2) if rng.random() < 0.3 else 0.0
    c, s = np.cos(angle) * width / size, np.sin(angle) * height / size
    # Image.transform maps a point of the output to one of the photo: rotate about the middle of the crop.
    half = size / 2
    mid_x, mid_y = left + width / 2, top + height / 2
    rotated = (c, -s + shear * c, mid_x - half * (c - s + shear * c), s, np.cos(angle) * height / size)
    rotated = (*rotated, mid_y - half * (rotated[3] + rotated[4]))
    big = ImageOps.expand(photo, border=0)
    fill = random_color(rng)
    return big.transform((size, size), Image.Transform.AFFINE, rotated, Image.Resampling.BICUBIC, fillcolor=fill)


def noise_texture(rng: np.random.Generator, size: int) -> Image.Image:
    """Coloured noise with a random spectrum, or a grating."""
    if rng.random() < 0.3:
        y, x = np.mgrid[:size, :size] / size
        angle, cycles = rng.uniform(0, np.pi), np.exp(rng.uniform(0.5, 3.5))
        wave = np.sin(2 * np.pi * cycles * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 6.3))
        field = np.stack([wave * rng.uniform(-1, 1) for _ in range(3)], -1)
    else:
        fy, fx = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij")
        falloff = np.maximum(np.hypot(fx, fy), 1 / size) ** -rng.uniform(0.5, 2.2)
        mix = rng.normal(size=(3, 3))
        spectrum = np.fft.rfft2(rng.normal(size=(3, size, size))) * falloff
        field = np.moveaxis(np.tensordot(mix, np.fft.irfft2(spectrum, (size, size)), 1), 0, -1)
    field = field / (field.std() + 1e-6) * rng.uniform(20, 70) + rng.uniform(60, 200, 3)
    return Image.fromarray(np.clip(field, 0, 255).astype(np.uint8))


def drawing(rng: np.random.Generator, size: int) -> Image.Image:
    """Shapes and glyphs over a texture."""
    image = noise_texture(rng, size) if rng.random() < 0.6 else Image.new("RGB", (size, size), random_color(rng))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(1, 14)):
        x, y = rng.uniform(-0.1, 1.1, 2) * size
        radius = np.exp(rng.uniform(np.log(3), np.log(size / 2)))
        color = random_color(rng)
        kind = rng.integers(4)
        if kind == 0:
            draw.ellipse((x - radius, y - radius * 0.7, x + radius, y + radius * 0.7), fill=color)
        elif kind == 1:
            corners = np.sort(rng.uniform(0, 6.3, rng.integers(3, 8)))
            draw.polygon([(x + radius * np.cos(a), y + radius * np.sin(a)) for a in corners], fill=color)
        elif kind == 2:
            end = tuple(rng.uniform(0, size, 2))
            draw.line([(x, y), end], fill=color, width=int(rng.integers(1, 8)))
        else:
            text = "".join(chr(rng.integers(33, 126)) for _ in range(rng.integers(1, 7)))
            draw.text((x, y), text, fill=color, font=ImageFont.load_default(float(max(radius, 8))))
    return image


def recolor(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        if rng.random() < 0.7:
            image = enhance(image).enhance(float(rng.uniform(0.5, 1.6)))
    if rng.random() < 0.4:
        hue, saturation, value = image.convert("HSV").split()
        shift = int(rng.integers(256))
        image = Image.merge("HSV", (hue.point(lambda v: (v + shift) % 256), saturation, value)).convert("RGB")
    if rng.random() < 0.25:
        image = ImageOps.grayscale(image).convert("RGB")
    if rng.random() < 0.04:
        image = ImageOps.invert(image)
    if rng.random() < 0.15:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 2.0))))
    if rng.random() < 0.15:
        pixels = np.asarray(image, np.float32) + rng.normal(0, rng.uniform(2, 20), (*image.size[::-1], 1))
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return image


def make_view(rng: np.random.Generator, size: int) -> np.ndarray:
    """One training picture, `(size, size, 3)` uint8."""
    draw = drawing if rng.random() < 0.5 else noise_texture
    image = crop(rng, size) if rng.random() < 0.85 else draw(rng, size)
    if rng.random() < 0.4:  # paste pieces of other pictures, hard-edged or faded
        for _ in range(rng.integers(1, 4)):
            other = recolor(rng, crop(rng, size))
            mask = Image.new("L", (size, size))
            box = np.sort(rng.uniform(-0.2, 1.2, (2, 2)) * size, axis=0).ravel()
            shape = ImageDraw.Draw(mask).ellipse if rng.random() < 0.5 else ImageDraw.Draw(mask).rectangle
            shape(tuple(box), fill=int(rng.integers(100, 256)))
            if rng.random() < 0.5:
                mask = mask.filter(ImageFilter.GaussianBlur(float(rng.uniform(1, 8))))
            image = Image.composite(other, image, mask)
    return np.asarray(recolor(rng, image), np.uint8)


def _make_block(seed: int, count: int, size: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([make_view(rng, size) for _ in range(count)])


def make_views(count: int, size: int, seed: int, processes: int = 2) -> np.ndarray:
    """`count` views, `(count, size, size, 3)` uint8; the same for the same seed."""
    block = 500
    starts = range(0, count, block)
    with ProcessPoolExecutor(processes) as pool:
        seeds = [seed * 1_000_003 + start for start in starts]
        sizes = [min(block, count - start) for start in starts]
        return np.concatenate(list(pool.map(_make_block, seeds, sizes, [size] * len(sizes))))
