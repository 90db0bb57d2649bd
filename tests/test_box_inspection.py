"""Every mistake in boxes and their images is found, counted and named; and clean data are said to be clean."""

import io
import json
import re
import shutil

import box_files
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tlkit.data import inspect_boxes
from tlkit.errors import UserError

GOOD = [("cat", 4, 4, 24, 24), ("dog", 30, 10, 60, 40)]


def clean(count=24):
    """Enough of each class in each part."""
    parts = ["train"] * (count - 12) + ["val"] * 6 + ["test"] * 6
    return {f"{number:02d}": ((64, 48), part, GOOD) for number, part in enumerate(parts)}


def said(report):
    return {(finding.severity, finding.sentence.partition(":")[0].rstrip(".")) for finding in report.findings}


def finding_with(report, words):
    found = [finding for finding in report.findings if words in finding.sentence]
    assert len(found) == 1, [finding.sentence for finding in report.findings]
    return found[0]


def printed(report, **options):
    console = Console(width=110, record=True, file=io.StringIO())
    report.print(console, **options)
    return re.sub(r"\s+", " ", console.export_text())


def test_clean_data_are_said_to_be_clean(tmp_path):
    report = inspect_boxes(box_files.write_voc(tmp_path, clean()), image_size=32)
    assert report.findings == ()
    assert (report.format, report.num_images, report.num_boxes) == ("voc", 24, 48)
    assert report.images == {"train": 12, "validation": 6, "test": 6}
    assert report.classes == {name: {"train": 12, "validation": 6, "test": 6} for name in ("cat", "dog")}
    assert report.image_sizes == dict.fromkeys(("smallest", "median", "largest"), (64, 48))
    assert report.box_sizes == {"smallest": (20, 20), "median": (20, 20), "largest": (30, 30)}
    assert report.boxes_per_image == {"median": 2, "most": 2}
    # At half the size, the shorter sides are 10 and 15 pixels.
    assert report.by_stride == {"below 8": 0, "8 to 16": 48, "16 to 32": 0, "32 or more": 0}
    text = printed(report)
    assert "48 boxes of 2 classes" in text and "Nothing to mend was found." in text
    assert "shorter sides of boxes: below 8: 0, 8 to 16: 48" in text
    assert "cat 12 6 6 24" in text and "boxes 24 12 12 48" in text


BAD = [
    ("cat", 5, 5, 5, 9),  # no area
    ("cat", 5, 5, 6, 5),
    ("dog", 70, 5, 90, 20),  # outside
    ("dog", "left", 5, 90, 20),
    ("cow", 5, 5, 20, 20),
    ("cat", 40, 40, 20, 20),  # swapped
    ("dog", -2, 10, 20, 49),  # over two edges
    ("cat", 4, 4, 24, 24),  # as in GOOD
    ("dog", 4, 4, 24, 24),  # as another class
]


def test_bad_boxes_are_counted_and_named(tmp_path):
    pictures = clean() | {"03": ((64, 48), "train", GOOD + BAD), "04": ((64, 48), "train", BAD[:1])}
    report = inspect_boxes(box_files.write_voc(tmp_path, pictures), class_names=["cat", "dog"])
    counts = {
        "have no area": 3, "is outside of the image": 1, "corners that are no numbers": 1, "no known class": 1,
        "in another order": 1, "a little over the edge": 1, "equal corners and class": 1, "with several classes": 1,
    }  # fmt: skip
    for words, number in counts.items():
        finding = finding_with(report, words)
        assert finding.sentence.startswith(f"{number} "), finding.sentence
        assert len(finding.details) == number
    none = finding_with(report, "have no area")
    assert none.severity == "error" and none.files == ("JPEGImages/03.png", "JPEGImages/04.png")
    assert none.details[0] == "Annotations/03.xml, box 3: the box (cat) from (5, 5) to (5, 9) has no area"
    assert "on_bad='skip'" in none.sentence
    assert finding_with(report, "in another order").severity == "warning"
    assert finding_with(report, "with several classes").details == ("JPEGImages/03.png: cat and dog",)
    assert "none of the 1 boxes" in finding_with(report, "cannot be used").details[0]
    # 2 good boxes, and of the bad ones the swapped, the clipped and that of two classes.
    assert report.num_images == 23 and report.num_boxes == 22 * 2 + 5


def test_bad_images_are_counted_and_named(tmp_path):
    folder = box_files.write_voc(tmp_path, clean())
    images = folder / "JPEGImages"
    (images / "00.png").unlink()
    content = (images / "01.png").read_bytes()
    (images / "01.png").write_bytes(content[:200])  # damaged behind the header
    box_files.save_picture(images / "02.png", (32, 24))
    (images / "03.png").write_text("<html>")
    (folder / "Annotations" / "04.xml").write_text("<annotation>")
    shutil.copy(images / "05.png", images / "06.png")
    shutil.copy(images / "05.png", images / "13.png")  # of validation
    shutil.copy(images / "07.png", images / "08.png")
    report = inspect_boxes(folder)
    assert finding_with(report, "1 image is missing").files == ("JPEGImages/00.png",)
    decoding = [finding for finding in report.findings if "does not decode" in finding.sentence]
    assert sorted(finding.files[0] for finding in decoding) == ["JPEGImages/01.png", "JPEGImages/03.png"]
    assert "it says 64 x 48 pixels, but" in finding_with(report, "another size").details[0]
    assert "Annotations/04.xml" in finding_with(report, "annotation cannot be used").details[0]
    leak = finding_with(report, "more than one of the parts")
    assert leak.severity == "warning"
    assert leak.details == tuple([" = ".join(
        [f"JPEGImages/{name}.png ({part})" for name, part in (("05", "train"), ("06", "train"), ("13", "validation"))]
    )])  # fmt: skip
    assert finding_with(report, "stored more than once").details == (
        "JPEGImages/07.png (train) = JPEGImages/08.png (train)",
    )
    assert report.images["train"] == 12 - 5


def test_small_boxes_empty_images_and_turned_ones(tmp_path):
    pictures = clean() | {"05": ((64, 48), "train", []), "06": ((64, 48), "train", [*GOOD, ("cat", 1, 1, 40, 8)])}
    folder = box_files.write_csv(tmp_path, pictures)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(folder / "images" / "07.png").save(folder / "images" / "07.png", exif=exif)
    report = inspect_boxes(folder, image_size=64)
    small = finding_with(report, "less than 8 pixels wide or high at 64")
    assert small.details == ("images/06.png: 1 box, 7 pixels or more",) and small.severity == "warning"
    assert finding_with(report, "no box").files == ("images/05.png",) and report.num_without_boxes == 1
    assert finding_with(report, "turned upright").files == ("images/07.png",)
    assert "1 without boxes" in printed(report)
    assert not [f for f in inspect_boxes(folder, image_size=128).findings if "pixels wide or high" in f.sentence]
    assert inspect_boxes(folder).by_stride == {}


def test_classes_are_judged_by_their_boxes(tmp_path):
    pictures = {f"{k:02d}": ((64, 48), "train", GOOD[:1] * 1) for k in range(30)}
    pictures |= {"v": ((64, 48), "val", GOOD[:1]), "t": ((64, 48), "train", [("cats", 1, 1, 20, 20)])}
    report = inspect_boxes(box_files.write_csv(tmp_path, pictures))
    assert finding_with(report, "fewer than 10 boxes").details == ("cats: 1",)
    assert finding_with(report, "no validation box").details == ("cats",)
    assert "31 times as many boxes" in finding_with(report, "times as many").sentence
    assert "average precision of each class" in finding_with(report, "times as many").sentence
    assert finding_with(report, "several names").details == ("'cat' and 'cats'",)


def test_what_is_left_out_is_said(tmp_path):
    folder = box_files.write_voc(tmp_path, clean())
    (folder / "ImageSets" / "Main" / "test.txt").write_text("")
    report = inspect_boxes(folder)
    assert "6 annotations" in finding_with(report, "in none of the lists").sentence
    shutil.rmtree(folder / "ImageSets")
    (folder / "Annotations" / "00.xml").unlink()
    assert (
        "1 image (JPEGImages/00.png) without an annotation" in finding_with(inspect_boxes(folder), "left out").sentence
    )


def test_images_that_no_row_names(tmp_path):
    folder = box_files.write_csv(tmp_path, clean())
    box_files.save_picture(folder / "images" / "more.png", (64, 48), 99)
    (folder / "images" / "03.png").write_text("")  # named, and damaged
    note = finding_with(inspect_boxes(folder), "1 image is not named")
    assert (note.severity, note.files) == ("warning", ("images/more.png",))


def test_where_nothing_can_be_used_there_is_still_a_report(tmp_path):
    pictures = {"a": ((64, 48), "train", BAD[:1])}
    report = inspect_boxes(box_files.write_csv(tmp_path, pictures))
    assert report.num_images == 0 and report.findings[0].severity == "error"
    assert "none that can be used" in printed(report) and "has no area" in printed(report)
    with pytest.raises(UserError, match="No boxes were found"):
        inspect_boxes(tmp_path / "images")


def test_the_report_is_saved(tmp_path):
    pictures = clean() | {f"{k:02d}": ((64, 48), "train", [*GOOD, BAD[0]]) for k in range(5)}
    report = inspect_boxes(box_files.write_csv(tmp_path / "data", pictures), image_size=64)
    report.save(tmp_path / "report")
    plain = json.loads((tmp_path / "report" / "data_report.json").read_text())
    assert (
        plain["findings"][0]["sentence"].startswith("5 boxes have no area")
        and len(plain["findings"][0]["details"]) == 5
    )
    assert plain["classes"]["cat"]["train"] == 12
    text = (tmp_path / "report" / "data_report.txt").read_text()
    assert "and 2 more: see data_report.json" in text
    assert "cat 12 6 6" in printed(report) and "cat 12 6 6" not in printed(report, compact=True)


def test_the_numbers_are_plain(tmp_path):
    report = inspect_boxes(box_files.write_csv(tmp_path, clean(16)), image_size=64)
    assert not any(isinstance(value, np.generic) for value in report.by_stride.values())
