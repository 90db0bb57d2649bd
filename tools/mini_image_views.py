"""Training views for `make_mini_image.py`: crops of freely licensed photos, pasted into each other and recoloured.

A few hundred photos are little, but crops at every scale, pasted and recoloured, cover much of what a teacher can be
asked about (Asano and Saeed 2023, "Extrapolating from a single image to a thousand classes using distillation",
https://arxiv.org/abs/2112.00725). Pictures with a transparent ground (stickers, stamps) are pasted as things; the
others are grounds, and things, too.
"""

from __future__ import annotations

import functools
import pathlib
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
LONGEST_SIDE = 640  # pixels a photo is read at: five views of 128 px side by side
SMALLEST_SIDE = 64  # pixels; icons below it hold nothing that a view of 128 px could show
ALIKE = 0.995  # correlation of 16 x 16 grey thumbnails: the same wallpaper in another size


@functools.cache
def load_photos(folder: pathlib.Path) -> tuple[list[Image.Image], list[Image.Image]]:
    """The photos under `folder` as RGB, and its pictures with a transparent ground as RGBA; each once.

    A file that cannot be read, or holds less than `SMALLEST_SIDE` pixels, is left out.
    """
    opaque, cut_out, thumbnails = [], [], []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        try:
            with Image.open(path) as opened:
                opened.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
                photo = ImageOps.exif_transpose(opened).convert("RGBA")
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
        photo.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        thumbnail = np.asarray(photo.resize((16, 16)), np.float64)[..., :3].mean(-1).ravel()
        thumbnail = (thumbnail - thumbnail.mean()) / (np.linalg.norm(thumbnail - thumbnail.mean()) + 1e-9)
        if min(photo.size) < SMALLEST_SIDE or any(thumbnail @ other > ALIKE for other in thumbnails):
            continue
        thumbnails.append(thumbnail)
        transparent = photo.getextrema()[3][0] < 128
        (cut_out if transparent else opaque).append(photo if transparent else photo.convert("RGB"))
    if not opaque:
        raise ValueError(
            f"make_mini_image: no photo was found under {folder}. Expected {', '.join(sorted(SUFFIXES))} of at least "
            f"{SMALLEST_SIDE} pixels. Give a folder of freely licensed photos."
        )
    return opaque, cut_out


def random_color(rng: np.random.Generator) -> tuple[int, int, int]:
    return tuple(int(v) for v in rng.integers(0, 256, 3))


def crop(rng: np.random.Generator, photo: Image.Image, size: int) -> Image.Image:
    """A rotated, stretched crop of one photo, from 48 pixels wide to the whole."""
    side = float(np.exp(rng.uniform(np.log(48), np.log(min(photo.size)))))
    stretch = float(np.exp(rng.uniform(-0.3, 0.3)))
    width, height = min(side * stretch, photo.width), min(side / stretch, photo.height)
    left, top = rng.uniform(0, photo.width - width), rng.uniform(0, photo.height - height)
    angle = rng.normal(0, 0.3) if rng.random() < 0.4 else 0.0
    shear = rng.uniform(-0.2, 0.2) if rng.random() < 0.3 else 0.0
    c, s = np.cos(angle), np.sin(angle)
    # Image.transform maps a point of the output to one of the photo: turn and shear about the middle of the crop.
    a, b, d, e = c * width / size, (shear * c - s) * width / size, s * height / size, c * height / size
    half = size / 2
    matrix = (a, b, left + width / 2 - half * (a + b), d, e, top + height / 2 - half * (d + e))
    fill = random_color(rng) if photo.mode == "RGB" else (0, 0, 0, 0)
    return photo.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=fill)


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
        if rng.random() < 0.6:
            image = enhance(image).enhance(float(rng.uniform(0.6, 1.5)))
    if rng.random() < 0.2:
        hue, saturation, value = image.convert("HSV").split()
        shift = int(rng.integers(256))
        image = Image.merge("HSV", (hue.point(lambda v: (v + shift) % 256), saturation, value)).convert("RGB")
    if rng.random() < 0.15:
        image = ImageOps.grayscale(image).convert("RGB")
    if rng.random() < 0.02:
        image = ImageOps.invert(image)
    if rng.random() < 0.15:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 2.0))))
    if rng.random() < 0.15:
        pixels = np.asarray(image, np.float32) + rng.normal(0, rng.uniform(2, 20), (*image.size[::-1], 1))
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return image


def paste_photo(rng: np.random.Generator, image: Image.Image, photo: Image.Image) -> Image.Image:
    """Lay a piece of another photo over the image, hard-edged or faded."""
    size = image.width
    other = recolor(rng, crop(rng, photo, size))
    mask = Image.new("L", (size, size))
    box = np.sort(rng.uniform(-0.2, 1.2, (2, 2)) * size, axis=0).ravel()
    shape = ImageDraw.Draw(mask).ellipse if rng.random() < 0.5 else ImageDraw.Draw(mask).rectangle
    shape(tuple(box), fill=int(rng.integers(100, 256)))
    if rng.random() < 0.5:
        mask = mask.filter(ImageFilter.GaussianBlur(float(rng.uniform(1, 8))))
    return Image.composite(other, image, mask)


def paste_thing(rng: np.random.Generator, image: Image.Image, thing: Image.Image) -> Image.Image:
    """Lay a picture with a transparent ground over the image, whole or nearly, turned a little."""
    scale = image.width * float(rng.uniform(0.35, 1.2)) / max(thing.size)
    thing = thing.resize([max(1, round(side * scale)) for side in thing.size], Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        thing = ImageOps.mirror(thing)
    if rng.random() < 0.5:
        thing = thing.rotate(float(rng.normal(0, 20)), Image.Resampling.BICUBIC, expand=True)
    alpha = thing.getchannel("A")
    thing = recolor(rng, thing.convert("RGB"))
    left, top = (round(rng.uniform(-0.2, 0.2) * image.width + (image.width - side) / 2) for side in thing.size)
    image = image.copy()
    image.paste(thing, (left, top), alpha)
    return image


def make_view(rng: np.random.Generator, size: int, folder: pathlib.Path) -> np.ndarray:
    """One training picture, `(size, size, 3)` uint8."""
    photos, things = load_photos(folder)
    draw = drawing if rng.random() < 0.5 else noise_texture
    image = crop(rng, photos[rng.integers(len(photos))], size) if rng.random() < 0.92 else draw(rng, size)
    if rng.random() < 0.25:
        for _ in range(rng.integers(1, 3)):
            image = paste_photo(rng, image, photos[rng.integers(len(photos))])
    if things and rng.random() < 0.6:
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            image = paste_thing(rng, image, things[rng.integers(len(things))])
    return np.asarray(recolor(rng, image), np.uint8)


def _make_block(seed: int, count: int, size: int, folder: pathlib.Path) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([make_view(rng, size, folder) for _ in range(count)])


def make_views(count: int, size: int, seed: int, folder: pathlib.Path, processes: int = 2) -> np.ndarray:
    """`count` views, `(count, size, size, 3)` uint8; the same for the same seed and photos."""
    block = 500
    starts = range(0, count, block)
    with ProcessPoolExecutor(processes) as pool:
        seeds = [seed * 1_000_003 + start for start in starts]
        sizes = [min(block, count - start) for start in starts]
        blocks = pool.map(_make_block, seeds, sizes, [size] * len(sizes), [folder] * len(sizes))
        return np.concatenate(list(blocks))
