"""Two domains of the same classes from what is already on the disk, for trying domain adaptation with no network."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tlkit.errors import UserError

# Those of matplotlib's fonts that have digits of full height and are not mere copies of each other.
FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmss10", "cmtt10"),
)
# Times the font's own width. With each digit in each font, they make 1,000, about as many as the handwritten ones.
WIDTHS = (0.8, 0.9, 1.0, 1.1, 1.2)
UNLABELLED = 1500  # of scikit-learn's 1,797 handwritten digits, in its order; the others are to judge by
IMAGE_SIZE = 32  # pixels, the fewest that a project's networks take
SCAN_SIZE = 8  # pixels, of the handwritten digits: the printed ones are no sharper
PRINT_SIZE = 64  # pixels in which a digit is printed before it is made as coarse as that


def write_sample_domains(source: str | Path, target: str | Path) -> None:
    """Write printed digits with labels as `source`, and handwritten ones without labels as `target`.

    `source/CLASS/*.png` has 1,000 digits in 20 fonts of matplotlib, each in five widths. `target/train/*.png` has 1,500
    handwritten digits of scikit-learn's `load_digits`, their classes nowhere told; `target/test/CLASS/*.png` the last
    297, for judging: whole sheets of writing are in one part. Both are white on black, fill the height, and have 8
    pixels a side, enlarged to 32: what differs is how a person writes.

    Nothing in it is left to chance: the same versions of matplotlib, Pillow and scikit-learn write the same bytes.

    Args:
        source: Where to write the labelled images; made when missing, and refused when something is in it.
        target: The same for the unlabelled ones.

    Raises:
        UserError: When a folder is not empty.

    Example:
        >>> from tlkit.data import split_image_folder, write_sample_domains
        >>> write_sample_domains("printed", "handwritten")
        >>> len(split_image_folder("printed", seed=0).class_names)
        10

    Notes:
        This pair, and DANN for the demo, were chosen with target labels in view, by trainings with other seeds than the
        demo's: on the same digits on photos, which came first, DANN had gained 6 points (three seeds).

    Reference: the digits are the test part of E. Alpaydin and C. Kaynak, 1998, https://doi.org/10.24432/C50P49. From
        print to other digits goes Ganin et al., 2016, JMLR 17(59), https://arxiv.org/abs/1505.07818, section 5.2.4,
        too (synthetic numbers to SVHN). Differs from it in: handwriting instead of photographed house numbers.
    """
    import matplotlib
    from sklearn.datasets import load_digits

    source, target = Path(source), Path(target)
    for folder in (source, target):
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            raise UserError(
                f"The sample images are not written to {folder} because something is there: name a new one."
            )
    for name in FONTS:
        file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
        font = ImageFont.truetype(str(file), PRINT_SIZE, layout_engine=ImageFont.Layout.BASIC)
        for digit in range(10):
            for width in WIDTHS:
                _save(_print_digit(digit, font, width), source / str(digit) / f"{name}-{width}.png")
    digits = load_digits()
    for number, (levels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        folder = target / "train" if number < UNLABELLED else target / "test" / str(label)
        _save(Image.fromarray((levels * 255 / 16).astype("uint8")), folder / f"{number:04d}.png")  # 17 levels


def _print_digit(digit: int, font: ImageFont.FreeTypeFont, width: float) -> Image.Image:
    """The digit, as high as the image and in its middle, as coarse as a scanned one."""
    glyph = Image.new("L", (2 * PRINT_SIZE, 2 * PRINT_SIZE))
    ImageDraw.Draw(glyph).text((PRINT_SIZE, PRINT_SIZE), str(digit), fill=255, font=font, anchor="mm")
    glyph = glyph.crop(glyph.getbbox())
    own_width = min(PRINT_SIZE / max(WIDTHS), PRINT_SIZE * glyph.width / glyph.height)  # the widest must fit
    glyph = glyph.resize((round(width * own_width), PRINT_SIZE))
    image = Image.new("L", (PRINT_SIZE, PRINT_SIZE))
    image.paste(glyph, ((PRINT_SIZE - glyph.width) // 2, 0))
    return image.resize((SCAN_SIZE, SCAN_SIZE), Image.Resampling.BOX)


def _save(image: Image.Image, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC).save(file)
