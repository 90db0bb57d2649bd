"""Folders and tables as users bring them: each gives its one clear sentence, and nothing is lost or silently dropped.

A row of the table makes a good folder (two classes of twelve pictures), spoils it, and says what is to be told: either
the refusal that loading and inspection share, or all findings of the inspection and no others ("…" is any text).
"""

import hashlib
import json
import os
import re
import shutil
import struct
import unicodedata
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from tlkit import UserError
from tlkit.data import decode_image, inspect_images, load_image_folder, split_image_folder
from tlkit.errors import exit_on_user_error

SEED = 1
ROWS = []


class Row(NamedTuple):
    """One bad folder: `spoil(folder)` makes it, and may return another path to be opened."""

    spoil: object
    expected: tuple[str, ...]
    is_refused: bool = False
    num_turned: int = 0


def findings(*expected, **options):
    """The findings of the inspection, "severity: sentence | file or detail | ..."; none where all is well."""
    return lambda spoil: ROWS.append(Row(spoil, expected, **options)) or spoil


def refused(sentence):
    """The sentence of the UserError."""
    return lambda spoil: ROWS.append(Row(spoil, (sentence,), is_refused=True)) or spoil


def undecodable(what):
    return findings(
        "error: 1 image does not decode: training stops there, or leaves such files out with on_corrupt='skip'. "
        f"Replace or remove them. | {what}"
    )


# What the folders are made of ---------------------------------------------------------------------


def picture(number, size=(48, 48), mode="RGB"):
    """Coarse noise, another one for each number."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)


def encoded(path, image=None, **options):
    """The bytes of a picture in the format of an extension."""
    (image or picture(99, (256, 256))).save(path, **options)
    content = path.read_bytes()
    path.unlink()
    return content


def cut(folder, name, share=0.6, image=None, **options):
    path = folder / "ant" / name
    content = encoded(path, image, **options)
    path.write_bytes(content[: int(share * len(content))])


def good_folder(folder, names=("ant", "bee"), number=12, first=0):
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in range(number):
            picture(first + label * number + index).save(folder / name / f"{index:02d}.png")
    return folder


def in_parts(folder, *parts):
    """The folder made anew as parts, each with other pictures."""
    shutil.rmtree(folder)
    for number, part in enumerate(parts):
        good_folder(folder / part, first=1000 * number)


def write(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# Files that do not decode -------------------------------------------------------------------------


@undecodable("ant/bad.jpg: the file is empty")
def zero_bytes(folder):
    write(folder / "ant" / "bad.jpg")


@undecodable("ant/bad.jpg: not an image of a known format")
def text_named_jpg(folder):
    write(folder / "ant" / "bad.jpg", b"a picture of an ant\n")


@undecodable("ant/bad.jpg: not an image but a web page, probably of a failed download")
def html_named_jpg(folder):
    write(folder / "ant" / "bad.jpg", b"\n<!DOCTYPE html><title>404 Not Found</title>")


@undecodable("ant/bad.jpg: a HEIC photo, which is not read: convert it to JPEG")
def heic_named_jpg(folder):
    write(folder / "ant" / "bad.jpg", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(99))


@undecodable("ant/bad.png: not an image but an SVG drawing: convert it to PNG")
def svg_named_png(folder):
    write(folder / "ant" / "bad.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>')


@undecodable("ant/bad.png: not an image but a PDF document: convert its pages to PNG")
def pdf_named_png(folder):
    write(folder / "ant" / "bad.png", b"%PDF-1.7\n")


@undecodable("ant/bad.jpg: not an image but a ZIP archive: unpack it")
def zip_named_jpg(folder):
    with zipfile.ZipFile(folder / "ant" / "bad.jpg", "w") as archive:
        archive.writestr("1.jpg", b"")


@undecodable("ant/bad.jpg: not an image but a pointer of Git LFS: run `git lfs pull`")
def git_lfs_pointer(folder):
    write(folder / "ant" / "bad.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


@undecodable("ant/bad.jpg: its first bytes are all zero, as after a download or copy that was cut off")
def nothing_but_zeros(folder):
    write(folder / "ant" / "bad.jpg", bytes(5000))


@undecodable("ant/bad.jpg: truncated: the file ends before its picture does")
def truncated_jpeg(folder):
    cut(folder, "bad.jpg")


@undecodable("ant/bad.jpg: truncated: the file ends before its picture does")
def truncated_progressive_jpeg(folder):
    cut(folder, "bad.jpg", progressive=True)


@undecodable("ant/bad.jpg: truncated: the file ends before its picture does")
def large_jpeg_that_lacks_its_last_rows(folder):
    """Decoded at an eighth of its size."""
    cut(folder, "bad.jpg", share=0.98, image=picture(99, (4000, 3600)))


@undecodable("ant/bad.png: truncated: the file ends before its picture does")
def truncated_png(folder):
    cut(folder, "bad.png")


@undecodable("ant/bad.webp: …")
def truncated_webp(folder):
    cut(folder, "bad.webp")


@undecodable("ant/bad.gif: truncated: the file ends before its picture does")
def truncated_gif(folder):
    cut(folder, "bad.gif")


@undecodable("ant/bad.tif: …")
def truncated_tiff(folder):
    cut(folder, "bad.tif")


@undecodable("ant/bad.jpg: truncated: the file ends before its picture does")
def header_only(folder):
    cut(folder, "bad.jpg", share=0.2)


@undecodable("ant/bad.png: damaged: it begins like an image, and its header makes no sense")
def png_with_a_wrong_checksum(folder):
    path = folder / "ant" / "bad.png"
    content = bytearray(encoded(path))
    content[29] ^= 1  # the checksum of the header: bytes 29 to 32
    write(path, bytes(content))


def bomb(width, height):
    """A PNG of a few bytes that says it is this large."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@undecodable("ant/bad.png: more than 178,956,970 pixels, Pillow's limit against decompression bombs")
def decompression_bomb(folder):
    write(folder / "ant" / "bad.png", bomb(60_000, 60_000))


@undecodable("ant/bad.png: truncated: the file ends before its picture does")
def large_claim_below_the_limit(folder):
    write(folder / "ant" / "bad.png", bomb(9_000, 9_000))


@undecodable("ant/bad.jpg: a link to a file that is not there")
def broken_link(folder):
    (folder / "ant" / "bad.jpg").symlink_to(folder.parent / "gone.jpg")


@undecodable("ant/bad.jpg: …symbolic links…")
def link_to_itself(folder):
    (folder / "ant" / "bad.jpg").symlink_to(folder / "ant" / "bad.jpg")


@undecodable("ant/bad.jpg: not a file but a folder, a pipe or a device")
def named_pipe(folder):
    os.mkfifo(folder / "ant" / "bad.jpg")


@undecodable("ant/bad.jpg: Permission denied")
def no_right_to_read_a_file(folder):
    needs_rights()
    write(folder / "ant" / "bad.jpg", encoded(folder / "a.jpg")).chmod(0)


@undecodable("ant/two\\nlines 100 % 'it\"s' \U0001f41c.jpg: the file is empty")
def name_with_a_line_break_and_more(folder):
    write(folder / "ant" / "two\nlines 100 % 'it\"s' \U0001f41c.jpg")


@undecodable("ant/\\udcff.jpg: the file is empty")
def name_that_is_no_text(folder):
    with open(os.fsencode(folder / "ant") + b"/\xff.jpg", "wb"):
        pass


@findings(
    "error: 5 images do not decode: … | ant/0.jpg: the file is empty | ant/1.jpg: the file is empty | … | ant/4.jpg: …"
)
def several_bad_files(folder):
    for number in range(5):
        write(folder / "ant" / f"{number}.jpg")


# Files that decode, with something to know --------------------------------------------------------


@findings("note: 1 file is of another format than the extension says. … | ant/odd.jpg: holds PNG")
def png_named_jpg(folder):
    write(folder / "ant" / "odd.jpg", encoded(folder / "a.png"))


@findings(
    "note: 4 files hold several frames or pages, of which only the first is taken. … | ant/odd.gif | ant/odd.png | …"
)
def animations_and_pages(folder):
    for number, extension in enumerate(("gif", "webp", "png", "tif")):
        more = [picture(200 + number), picture(300 + number)]
        picture(100 + number).save(folder / "ant" / f"odd.{extension}", save_all=True, append_images=more)


@findings()
def sixteen_bits(folder):
    for number, extension in enumerate(("png", "tif")):
        grey = np.asarray(picture(100 + number, mode="L")).astype(np.uint16) * 257
        Image.fromarray(grey).save(folder / "ant" / f"odd.{extension}")


@findings(
    "warning: 1 image of 16 bits has no value above 4,095 of 65,535, and will be all but black. … | ant/odd.png: …"
)
def twelve_bits_in_sixteen(folder):
    grey = np.asarray(picture(100, mode="L")).astype(np.uint16) * 16
    Image.fromarray(grey).save(folder / "ant" / "odd.png")


@findings()
def floats(folder):
    Image.fromarray(np.asarray(picture(100, mode="L")) / np.float32(255)).save(folder / "ant" / "odd.tif")


@findings(
    "warning: 2 images of floating-point numbers have values outside 0 (black) to 1 (white), which are cut off. Scale "
    "the values to that range. | ant/a.tif: values from … | ant/b.tif: values from -1 to 1"
)
def floats_out_of_range(folder):
    values = np.asarray(picture(100, mode="L")).astype(np.float32)
    Image.fromarray(values).save(folder / "ant" / "a.tif")
    values = np.linspace(-1, 1, 48 * 48, dtype=np.float32).reshape(48, 48)
    values[0, 1] = np.nan
    Image.fromarray(values).save(folder / "ant" / "b.tif")


@findings()
def every_other_mode(folder):
    picture(100).convert("CMYK").save(folder / "ant" / "cmyk.jpg")
    picture(101).quantize(8).save(folder / "ant" / "palette.png", transparency=1)
    picture(102).convert("LA").save(folder / "ant" / "grey_alpha.png")
    picture(103).convert("1").save(folder / "ant" / "bilevel.png")
    picture(104).convert("RGBA").save(folder / "ant" / "alpha.webp")
    picture(105).convert("L").save(folder / "ant" / "grey.bmp")


@findings(num_turned=7)
def every_rotation(folder):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture(100 + orientation).save(folder / "ant" / f"turn{orientation}.jpg", exif=exif)


@findings()
def damaged_exif(folder):
    for extension in ("jpg", "png", "webp"):
        path = folder / "ant" / f"odd.{extension}"
        picture(len(extension) + ord(extension[0])).save(path, exif=b"Exif\x00\x00nonsense")


@findings("warning: 1 image is less than 32 pixels wide or high: … | ant/odd.png: 1 x 1")
def one_pixel(folder):
    picture(100, (1, 1)).save(folder / "ant" / "odd.png")


@findings(
    "note: 1 image is more than 3 times as long as wide, … | ant/odd.png: 1 x 5,000",
    "warning: 1 image is less than 32 pixels wide or high: … | ant/odd.png: 1 x 5,000",
)
def a_line(folder):
    picture(100, (1, 5000)).save(folder / "ant" / "odd.png")


@findings("note: 1 image is larger than 34 million pixels or 50 MB: slow … | ant/odd.png: 6,000 x 6,000, …")
def a_large_picture(folder):
    Image.new("1", (6000, 6000)).save(folder / "ant" / "odd.png")


# The same picture twice ---------------------------------------------------------------------------


@findings("note: 1 picture is stored more than once, … | train/ant/00.png = train/ant/copy.png")
def copy_in_a_class(folder):
    in_parts(folder, "train", "val")
    shutil.copy(folder / "train/ant/00.png", folder / "train/ant/copy.png")


@findings(
    "warning: 1 picture is stored with different labels: the model is taught both. … | "
    "train/ant/00.png = train/bee/copy.bmp"
)
def copy_in_another_class_and_format(folder):
    in_parts(folder, "train", "val")
    with Image.open(folder / "train/ant/00.png") as image:
        image.save(folder / "train/bee/copy.bmp")


@findings(
    "warning: 2 pictures are in more than one of the parts train, validation and test: … | "
    "test/bee/copy.png (test) = train/bee/00.png (train) | train/ant/00.png (train) = val/ant/copy.png (validation)"
)
def copies_in_other_parts(folder):
    in_parts(folder, "train", "val", "test")
    shutil.copy(folder / "train/ant/00.png", folder / "val/ant/copy.png")
    shutil.copy(folder / "train/bee/00.png", folder / "test/bee/copy.png")


@findings()
def same_name_other_extension(folder):
    picture(100).save(folder / "ant" / "00.jpg")


@findings()
def alike_in_most_of_their_rows(folder):
    """The rows that are compared first are equal; the pictures are not."""
    one, other = picture(100, (48, 140)), picture(100, (48, 140))
    other.paste((0, 0, 0), (0, 0, 48, 25))
    one.save(folder / "ant" / "one.png")
    other.save(folder / "bee" / "other.png")


# Layout -------------------------------------------------------------------------------------------


@refused(
    "The class folder {folder}/cat has no image in it (it is empty): add images (.jpg, .png, … ...) or remove the "
    "folder."
)
def empty_class(folder):
    (folder / "cat").mkdir()


@refused("The class folder {folder}/cat has no image in it (2 x .heic): add images …")
def class_of_files_that_are_not_read(folder):
    write(folder / "cat" / "1.heic")
    write(folder / "cat" / "2.HEIC")


@refused(
    "{folder} has only the one class folder 'ant' in it: expected a folder of images for each of at least two classes."
)
def one_class(folder):
    shutil.rmtree(folder / "bee")


@refused("{folder} has no folder in it: expected a folder of images for each of at least two classes.")
def nothing_in_it(folder):
    shutil.rmtree(folder)
    folder.mkdir()


@refused(
    "4 images (0.jpg, 1.jpg, 2.jpg and 1 more) directly in {folder}: expected one folder for each class with the "
    "images inside; move each image into its class folder."
)
def loose_images(folder):
    for number in range(4):
        picture(100 + number).save(folder / f"{number}.jpg")


@findings("warning: 1 image is outside the class folders, and left out. Move those … | stray.jpg")
def images_beside_the_parts(folder):
    in_parts(folder, "train", "val")
    picture(5000).save(folder / "stray.jpg")


@findings("warning: 2 images are outside the class folders, and left out. … | unlabelled/0.jpg | unlabelled/1.jpg")
def folder_beside_the_parts(folder):
    in_parts(folder, "train", "test")
    for number in range(2):
        write(folder / "unlabelled" / f"{number}.jpg", encoded(folder / "a.jpg", picture(5000 + number)))


@findings()
def train_without_validation(folder):
    in_parts(folder, "train", "test")


@refused("{folder} has val/ but no train/ in it: expected the training images in train/.")
def validation_without_train(folder):
    in_parts(folder, "val")


@refused(
    "{folder}/train has a class 'bee' and {folder}/val has none of that name: expected the same class folders in both."
)
def other_classes_in_validation(folder):
    in_parts(folder, "train", "val")
    (folder / "val" / "bee").rename(folder / "val" / "wasp")


@refused("{folder} has two folders for the same part (train, val, validation): keep one of them.")
def two_validation_folders(folder):
    in_parts(folder, "train", "val", "validation")


@findings("note: 2 images lie in folders inside class folders, and belong to the class above. … | ant/red/: 2 images")
def nested_folders(folder):
    for number in range(2):
        write(folder / "ant" / "red" / f"{number}.png", encoded(folder / "a.png", picture(100 + number)))


@findings("note: 1 image lies in folders inside class folders, and belongs to the class above. … | ant/x.jpg/: 1 image")
def folder_named_like_an_image(folder):
    write(folder / "ant" / "x.jpg" / "0.png", encoded(folder / "a.png", picture(100)))


@findings()
def class_named_like_an_image(folder):
    (folder / "ant").rename(folder / "ant.jpg")


@refused("{folder} has only the one class folder 'photos' in it: …")
def one_level_too_deep(folder):
    shutil.move(folder, folder.parent / "photos")
    folder.mkdir()
    shutil.move(folder.parent / "photos", folder / "photos")


@findings()
def link_that_leads_back(folder):
    (folder / "ant" / "again").symlink_to(folder, target_is_directory=True)
    (folder / "ant" / "here").symlink_to(folder / "ant", target_is_directory=True)


@findings()
def class_that_is_a_link_to_elsewhere(folder):
    (folder / "bee").rename(folder.parent / "elsewhere")
    (folder / "bee").symlink_to(folder.parent / "elsewhere", target_is_directory=True)


@findings("warning: 1 link leads nowhere: bring back what was there, or remove it. | cat")
def class_that_is_a_link_to_nothing(folder):
    (folder / "cat").symlink_to(folder.parent / "gone", target_is_directory=True)


@refused("The folder {folder}/ant cannot be read (Permission denied): give yourself the right to, or move it away.")
def no_right_to_read_a_folder(folder):
    needs_rights()
    (folder / "ant").chmod(0)


@findings(
    "note: 8 hidden files or folders are passed over. | .DS_Store | .git | __MACOSX | ant/._00.png | "
    "ant/.ipynb_checkpoints | ant/@eaDir | ant/Thumbs.db | ant/desktop.ini"
)
def what_systems_leave_behind(folder):
    for name in (
        ".DS_Store",
        "__MACOSX/._00.png",
        ".git/HEAD",
        "ant/._00.png",
        "ant/Thumbs.db",
        "ant/desktop.ini",
        "ant/.ipynb_checkpoints/00-checkpoint.png",
        "ant/@eaDir/00.png/SYNOPHOTO_THUMB_M.jpg",
    ):
        write(folder / name)


@findings("note: 4 files are passed over as no image (2 x .txt, 1 x .zip, 1 x .csv). | README.txt | all.zip | …")
def companions(folder):
    for name in ("README.txt", "all.zip", "ant/labels.csv", "ant/notes.txt"):
        write(folder / name)


@findings(
    "warning: 3 files are left out because of the extension (1 x .heic, 1 x no extension, 1 x .tfrecord). Convert "
    "images among them to JPEG or PNG, or name them by what they hold. | ant/IMG_1.heic | ant/photo | data.tfrecord"
)
def extensions_that_are_not_read(folder):
    for name in ("ant/IMG_1.heic", "ant/photo", "data.tfrecord"):
        write(folder / name)


@findings()
def extensions_in_capitals(folder):
    for number, extension in enumerate(("JPG", "Jpeg", "PNG", "TIFF")):
        write(folder / "ant" / f"odd.{extension}", encoded(folder / f"a.{extension.lower()}", picture(100 + number)))


@findings("note: 1 folder is empty. | ant/red")
def empty_folder_in_a_class(folder):
    (folder / "ant" / "red").mkdir()


# Classes ------------------------------------------------------------------------------------------


@findings(
    "warning: 1 class seems to be there under several names, which the model has to tell apart. … | 'Ant' and 'ant' "
    "and 'ants'"
)
def classes_that_are_called_alike(folder):
    good_folder(folder, ("Ant", "ants"), first=100)


@findings("warning: 1 class seems to be there under several names, … | 'cafe\u0301' and 'caf\xe9'")
def class_names_as_macos_spells_them(folder):
    good_folder(folder, [unicodedata.normalize(form, "café") for form in ("NFD", "NFC")], first=100)


@findings("warning: 1 class has fewer than 10 images that decode: too few to learn from, or to judge by. … | cat: 3")
def class_of_three(folder):
    good_folder(folder, ["cat"], number=3, first=100)


@findings(
    "warning: 1 class has fewer than 10 images that decode: … | cat: 1",
    "warning: 1 class has no test image that decodes: what is not there is not judged in the end. … | cat",
    "warning: 1 class has no validation image that decodes: what is not there is not judged while training. … | cat",
    "warning: The class '…' has 12 times as many images as 'cat' (12 and 1): …",
)
def class_of_one(folder):
    good_folder(folder, ["cat"], number=1, first=100)


@findings(
    "warning: The class 'cat' has 10 times as many images as 'ant' (120 and 12): the accuracy hardly tells how the "
    "rare classes do. Go by the balanced accuracy; class_weights, in a project the setting class_balance, makes rare "
    "classes count for more."
)
def uneven_classes(folder):
    good_folder(folder, ["cat"], number=120, first=100)


@findings("warning: 100% of the images of 'ant' are grey and 0% of those of 'bee': the model may learn that …")
def grey_in_one_class(folder):
    for path in (folder / "ant").iterdir():
        with Image.open(path) as image:
            image.convert("L").save(path)


# Tables, and what is no folder --------------------------------------------------------------------


def table(folder, *rows, header="file,label"):
    names = [f"{path.relative_to(folder).as_posix()},{path.parent.name}" for path in sorted(folder.rglob("*.png"))]
    return write(folder / "table.csv", "\n".join([header, *names, *rows]).encode())


@refused("There is no folder {folder}/nowhere: give a folder that holds one folder of images for each class.")
def missing_folder(folder):
    return folder / "nowhere"


@refused("{folder}/ant/00.png is an image, not a table. Expected a folder of images for each class, or a CSV table …")
def image_instead_of_a_folder(folder):
    return folder / "ant" / "00.png"


@refused("{folder}/table.csv …'label'…")
def table_without_labels(folder):
    return table(folder, header="file,name")


@refused("{folder}/table.csv names 1 file (ant/gone.png in line 26) that does not exist. …")
def table_with_a_file_that_is_gone(folder):
    return table(folder, "ant/gone.png,ant")


@findings("note: 1 image is in no row of the table, and left out. … | ant/other.png")
def table_that_names_not_all(folder):
    path = table(folder)
    picture(100).save(folder / "ant" / "other.png")
    return path


@findings(
    "warning: 1 picture is in more than one of the parts train, validation and test: … | "
    "ant/00.png (validation) = ant/copy.png (train)",
    "warning: 1 picture is stored with different labels: … | ant/00.png = ant/copy.png",
)
def table_with_a_picture_of_two_classes(folder):
    shutil.copy(folder / "ant" / "00.png", folder / "ant" / "copy.png")
    text = table(folder).read_text()
    write(folder / "table.csv", text.replace("ant/copy.png,ant", "ant/copy.png,bee").encode())
    return folder / "table.csv"


@undecodable("ant/bad.png: the file is empty")
def table_with_a_bad_file(folder):
    write(folder / "ant" / "bad.png")
    return table(folder)


# What holds for each ------------------------------------------------------------------------------


def needs_rights():
    if os.geteuid() == 0:
        pytest.skip("the superuser may read everything")


def digest_of_tree(folder):
    """Every path with its content, mode and link target."""
    paths = sorted(folder.rglob("*"))
    described = [
        (str(path), path.lstat().st_mode, path.lstat().st_mtime_ns, os.readlink(path) if path.is_symlink() else "")
        for path in paths
    ]
    contents = [path.read_bytes() for path in paths if path.is_file() and os.access(path, os.R_OK)]
    return hashlib.sha256(repr((described, contents)).encode()).hexdigest()


def matches(expected, text):
    return re.fullmatch(re.escape(expected).replace("…", ".*"), text) is not None


def as_text(finding):
    return " | ".join([f"{finding.severity}: {finding.sentence}", *(finding.details or finding.files)])


@pytest.fixture(params=ROWS, ids=lambda row: row.spoil.__name__)
def row(request):
    return request.param


@pytest.fixture
def folder(tmp_path):
    yield good_folder(tmp_path / "data")
    for parent, names, _ in os.walk(tmp_path):
        for name in names:
            if not os.path.islink(os.path.join(parent, name)):
                os.chmod(os.path.join(parent, name), 0o755)  # pytest wants to tidy up


@pytest.fixture(autouse=True)
def fresh_keras():
    """Nothing of Keras is used here, and to tidy it up after every row takes longer than the row."""


def test_the_table_is_as_long_as_promised():
    assert len(ROWS) >= 40


def test_a_bad_folder(row, folder, tmp_path, capsys):
    source = row.spoil(folder) or folder
    expected = [sentence.replace("{folder}", str(folder)) for sentence in row.expected]
    before = digest_of_tree(tmp_path)

    if row.is_refused:
        check_refusal(expected[0], source)
    else:
        report = inspect_images(source, seed=SEED)
        texts = sorted(as_text(finding) for finding in report.findings)
        assert len(texts) == len(expected), texts
        for sentence, text in zip(sorted(expected), texts, strict=True):
            assert matches(sentence, text), (sentence, text)
        assert report.num_turned == row.num_turned
        bad = check_training_meets_the_same(report, source, folder, capsys)
        check_nothing_is_dropped(report, source, folder, bad)
        check_report_is_readable(report, tmp_path / "report")
    shutil.rmtree(tmp_path / "report", ignore_errors=True)
    assert digest_of_tree(tmp_path) == before


def check_refusal(expected, source):
    for function, options in (
        (split_image_folder, {}),
        (inspect_images, {}),
        (load_image_folder, {"image_size": 32, "batch_size": 4}),
    ):
        with pytest.raises(UserError) as caught:
            function(source, seed=SEED, **options)
        assert matches(expected, str(caught.value)), str(caught.value)


def check_training_meets_the_same(report, source, folder, capsys):
    """The files that do not decode are those that training stops at, and that "skip" leaves out; returns them."""
    root = folder if source.is_dir() else source.parent
    bad = {root / name for finding in report.findings if finding.severity == "error" for name in finding.files}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        splits = split_image_folder(source, seed=SEED)
    paths = {file.path for part in splits[:3] for file in part}
    refused = set()
    for path in paths:
        try:
            decode_image(path, 32)
        except UserError as error:
            assert "\n" not in str(error)
            refused.add(path)
    assert refused == bad

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = load_image_folder(source, image_size=32, batch_size=4, seed=SEED, on_corrupt="skip")
    kept = {file.path for part in data.files[:3] for file in part}
    assert kept == paths - bad
    assert len([warning for warning in caught if "do not decode" in str(warning.message)]) == bool(bad)

    if bad:
        with pytest.raises(SystemExit), exit_on_user_error(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = load_image_folder(source, image_size=32, batch_size=4, seed=SEED)
            for part in (data.train, data.validation, data.test):
                for _ in part:
                    pass
        said = capsys.readouterr().err
        assert re.fullmatch(r"Error: .*cannot be read.*on_corrupt='skip'.*\n", said), said
        assert any(path.name.isprintable() and path.name in said or "\\" in said for path in bad)
    return bad


def check_nothing_is_dropped(report, source, folder, bad):
    """Every file is loaded, or it is named (or a hidden folder above it is) in a finding."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        splits = split_image_folder(source, seed=SEED)
    loaded = {os.path.realpath(file.path) for part in splits[:3] for file in part if file.path not in bad}
    named = {folder / name for finding in report.findings for name in finding.files}
    assert all(os.path.lexists(path) for path in named)
    for parent, _, files in os.walk(folder, followlinks=False):
        for path in (Path(parent, name) for name in files):
            if path == source:
                continue
            assert os.path.realpath(path) in loaded or named & {path, *path.parents}, path


def check_report_is_readable(report, place):
    report.save(place)
    found = json.loads((place / "data_report.json").read_text(encoding="utf-8"))
    assert [tuple(finding["files"]) for finding in found["findings"]] == [f.files for f in report.findings]
    text = (place / "data_report.txt").read_text(encoding="utf-8")
    assert all(finding.sentence.split()[0] in text for finding in report.findings)
