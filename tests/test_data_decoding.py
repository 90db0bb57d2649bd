"""Every kind of file comes out with the colours and the side up that a viewer shows."""

import numpy as np
import pytest
from PIL import Image

from tlkit import UserError
from tlkit.data import decode_image
from tlkit.data.decoding import draft_side, load_pixels, open_image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters(size=64):
    """Red, green / blue, white: every turn and flip of it is another picture."""
    image = Image.new("RGB", (size, size))
    half = size // 2
    for colour, corner in zip((RED, GREEN, BLUE, WHITE), ((0, 0), (half, 0), (0, half), (half, half)), strict=True):
        image.paste(colour, (*corner, corner[0] + half, corner[1] + half))
    return image


def corners(pixels):
    """The colours in the middle of the four quarters, in reading order."""
    low, high = len(pixels) // 4, 3 * len(pixels) // 4
    return [tuple(int(value) for value in pixels[y, x]) for y in (low, high) for x in (low, high)]


def assert_quarters(pixels, expected=(RED, GREEN, BLUE, WHITE), tolerance=2):
    assert pixels.shape == (32, 32, 3) and pixels.dtype == np.uint8
    np.testing.assert_allclose(corners(pixels), expected, atol=tolerance)


@pytest.mark.parametrize("extension", ["png", "bmp", "tif", "webp", "jpg", "gif", "ppm", "tga", "jp2", "avif"])
def test_formats(tmp_path, extension):
    path = tmp_path / f"image.{extension}"
    quarters().save(path, **({"lossless": True} if extension == "webp" else {}))
    assert_quarters(decode_image(path, 32), tolerance=6)


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [  # where EXIF 2.3 says that row 0 and column 0 of the file are, applied to the quarters by hand
        (1, (RED, GREEN, BLUE, WHITE)),
        (2, (GREEN, RED, WHITE, BLUE)),
        (3, (WHITE, BLUE, GREEN, RED)),
        (4, (BLUE, WHITE, RED, GREEN)),
        (5, (RED, BLUE, GREEN, WHITE)),
        (6, (BLUE, RED, WHITE, GREEN)),
        (7, (WHITE, GREEN, BLUE, RED)),
        (8, (GREEN, WHITE, RED, BLUE)),
    ],
)
@pytest.mark.parametrize("extension", ["jpg", "png", "tif"])
def test_exif_rotation(tmp_path, extension, orientation, expected):
    exif = Image.Exif()
    exif[0x0112] = orientation
    quarters().save(tmp_path / f"image.{extension}", exif=exif)
    assert_quarters(decode_image(tmp_path / f"image.{extension}", 32), expected, tolerance=6)


def test_damaged_exif_does_not_lose_the_picture(tmp_path):
    quarters().save(tmp_path / "image.png", exif=b"Exif\x00\x00nonsense")
    assert_quarters(decode_image(tmp_path / "image.png", 32))


def test_transparent_parts_are_white(tmp_path):
    image = quarters().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 32, 32))
    image.paste((0, 0, 0, 128), (32, 0, 64, 32))
    image.save(tmp_path / "image.png")
    half = 255 * (1 - 128 / 255)  # white seen through black of alpha 128
    assert_quarters(decode_image(tmp_path / "image.png", 32), (WHITE, (half,) * 3, BLUE, WHITE))


def test_palettes_with_and_without_transparency(tmp_path):
    image = quarters().quantize(8)
    image.save(tmp_path / "opaque.png")
    image.save(tmp_path / "clear.png", transparency=image.getpixel((5, 5)))
    assert_quarters(decode_image(tmp_path / "opaque.png", 32))
    assert_quarters(decode_image(tmp_path / "clear.png", 32), (WHITE, GREEN, BLUE, WHITE))


def test_cmyk(tmp_path):
    quarters().convert("CMYK").save(tmp_path / "image.jpg", quality=95)
    quarters().convert("CMYK").save(tmp_path / "image.tif")
    assert_quarters(decode_image(tmp_path / "image.jpg", 32), tolerance=6)
    assert_quarters(decode_image(tmp_path / "image.tif", 32))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16"])
def test_grey(tmp_path, mode):
    values = np.full((64, 64), 255, np.uint8)
    values[:, :32] = 0
    image = Image.fromarray(values.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(values).convert(mode)
    image.save(tmp_path / "image.png")
    assert_quarters(decode_image(tmp_path / "image.png", 32), ((0, 0, 0), WHITE) * 2)


def test_sixteen_bits_and_floats_are_scaled(tmp_path):
    Image.fromarray(np.full((8, 8), 25700, np.uint16)).save(tmp_path / "deep.tif")
    Image.fromarray(np.full((8, 8), 25700, np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.full((8, 8), 0.4, np.float32)).save(tmp_path / "float.tif")
    for name, value in {"deep.tif": 100, "deep.png": 100, "float.tif": 102}.items():  # 25700 / 257, 0.4 * 255
        assert np.all(decode_image(tmp_path / name, 4) == value), name


@pytest.mark.parametrize("extension", ["gif", "webp", "png", "tif"])
def test_the_first_frame_of_an_animation(tmp_path, extension):
    black = Image.new("RGB", (64, 64))
    options = {"lossless": True} if extension == "webp" else {}
    quarters().save(tmp_path / f"image.{extension}", save_all=True, append_images=[black], **options)
    assert_quarters(decode_image(tmp_path / f"image.{extension}", 32))


def test_resizing_averages_what_it_shrinks(tmp_path):
    """A checkerboard of single pixels becomes its mean, 127.5; without antialiasing it stays black or white."""
    board = (np.indices((256, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "image.png")
    pixels = decode_image(tmp_path / "image.png", 32)
    assert pixels.shape == (32, 32, 3)
    np.testing.assert_allclose(pixels, 127.5, atol=3)


@pytest.mark.parametrize(
    ("size", "expected"),
    [  # 480x360 at 1/1, 1/2, 1/4, 1/8; at least 1.5 * size has to be left of the shorter side
        (121, (480, 360)),  # of 180 pixels, 181.5 would be needed
        (120, (240, 180)),
        (61, (240, 180)),
        (60, (120, 90)),
        (30, (60, 45)),
        (8, (60, 45)),
    ],
)
def test_a_jpeg_is_decoded_at_the_scale_that_leaves_half_as_much_again(tmp_path, size, expected):
    Image.new("RGB", (480, 360)).save(tmp_path / "image.jpg")
    with open_image(tmp_path / "image.jpg") as image:
        load_pixels(image, draft_side(size))
        assert image.size == expected


@pytest.mark.parametrize("size", [60, 45])  # at 1/4 that leaves 1.5 times the size, the least, and 2 times
def test_scaled_decoding_is_close_to_an_exact_resize(tmp_path, size):
    """Noise at scales of 2 to 32 pixels: much finer detail than photographs have."""
    generator, canvas = np.random.default_rng(0), np.zeros((360, 480, 3))
    for divisor in (2, 8, 32):
        noise = generator.integers(0, 256, (360 // divisor, 480 // divisor, 3), dtype=np.uint8)
        canvas += np.asarray(Image.fromarray(noise).resize((480, 360), Image.Resampling.BILINEAR)) / 3
    Image.fromarray(canvas.astype(np.uint8)).save(tmp_path / "image.jpg", quality=95)
    whole = Image.open(tmp_path / "image.jpg").resize((size, size), Image.Resampling.BILINEAR)
    difference = np.abs(decode_image(tmp_path / "image.jpg", size).astype(float) - np.asarray(whole))
    assert 0 < difference.mean() < 1.5  # of 255; at 1/8, which leaves 1 time the size of 45, it would be 1.9


def test_files_that_do_not_decode_are_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    bad = {"empty.jpg": b"", "text.png": b"<html>404</html>", "cut.jpg": content[: len(content) // 2]}
    reasons = {"empty.jpg": "the file is empty", "text.png": "not an image", "cut.jpg": "truncated"}
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=rf"{name} cannot be read \(.*{reasons[name]}.*\). Replace or") as caught:
            decode_image(tmp_path / name, 32)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="gone.jpg cannot be read .the file is gone"):
        decode_image(tmp_path / "gone.jpg", 32)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    quarters().save(tmp_path / "image.png")  # 4,096 pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UserError, match="more than 2,000 pixels"):
        decode_image(tmp_path / "image.png", 32)
