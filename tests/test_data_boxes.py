"""Boxes: every format gives the same ones; what is wrong is told with its file and place; nothing is lost unsaid."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import box_files
import numpy as np
import pytest
from box_files import PICTURES, WRITERS
from PIL import Image

from tlkit.data import fingerprint_boxes, read_boxes, split_boxes
from tlkit.data.boxes.records import path_inside
from tlkit.errors import UserError

PARTS = {"train": "train", "val": "validation", "test": "test"}


def content(table):
    return {
        image.path.stem: (
            (image.width, image.height),
            image.split,
            [
                (table.class_names[label], *box)
                for label, box in zip(image.labels, image.boxes.round(3).tolist(), strict=True)
            ],
        )
        for image in table.images
    }


def expected(with_parts=True):
    return {
        name: (size, PARTS[part] if with_parts else None, [(label, *map(float, box)) for label, *box in boxes])
        for name, (size, part, boxes) in PICTURES.items()
    }


def one_box(*corners, label="cat", size=(40, 30)):
    """A table of two pictures, the first with this box."""
    return {"a": (size, "train", [(label, *corners)]), "b": (size, "val", [("dog", 1, 2, 30, 20)])}


def refusal(source, **options):
    with pytest.raises(UserError) as caught:
        read_boxes(source, **options)
    return str(caught.value)


def skipped(source, **options):
    """The table, and what was said of what is left out."""
    with pytest.warns(UserWarning) as caught:
        table = read_boxes(source, on_bad="skip", **options)
    return table, " | ".join(str(warning.message) for warning in caught)


# Formats ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", WRITERS)
def test_every_format_gives_the_same_boxes(format, tmp_path):
    table = read_boxes(WRITERS[format](tmp_path))
    assert table.format == format
    assert table.class_names == ["cat", "dog"]
    assert content(table) == expected()
    assert table.images[0].boxes.dtype == np.float64 and table.images[0].labels.dtype == np.int32


def beside_their_images(folder):
    for name, (size, part, boxes) in PICTURES.items():
        place = folder / {"val": "valid"}.get(part, part)
        box_files.save_picture(place / f"{name}.png", size)
        (place / f"{name}.xml").write_text(box_files.voc_xml(name, size, boxes))


def yolo_in_parts(folder):
    box_files.write_yolo(folder, place="{part}/{kind}/{name}")


def coco_in_parts(folder):
    for part in PARTS:
        box_files.save_pictures(folder, {n: p for n, p in PICTURES.items() if p[1] == part}, "{part}/{name}.png")
        (folder / part / "_annotations.coco.json").write_text(json.dumps(box_files.coco_content(PICTURES, part)))


@pytest.mark.parametrize("write", [beside_their_images, yolo_in_parts, coco_in_parts])
def test_parts_as_folders(write, tmp_path):
    write(tmp_path)
    assert content(read_boxes(tmp_path)) == expected()


def yolo_flat(folder):
    box_files.write_yolo(folder, place="{kind}/{name}")
    (folder / "data.yaml").write_text("names:\n  0: cat\n  1: dog\n")


def yolo_darknet(folder):
    box_files.write_yolo(folder, place="obj_train_data/{name}")
    (folder / "data.yaml").unlink()
    (folder / "obj.names").write_text("cat\ndog\n\n")


def coco_in_one_file(folder):
    box_files.save_pictures(folder / "images", PICTURES)
    (folder / "boxes.json").write_text(json.dumps(box_files.coco_content(PICTURES)))


def voc_without_lists(folder):
    shutil.rmtree(box_files.write_voc(folder) / "ImageSets")


@pytest.mark.parametrize("write", [yolo_flat, yolo_darknet, coco_in_one_file, voc_without_lists])
def test_without_parts(write, tmp_path):
    write(tmp_path)
    assert content(read_boxes(tmp_path)) == expected(with_parts=False)


def test_a_file_is_read_as_well_as_its_folder(tmp_path):
    for name in ("csv", "yolo", "coco"):
        WRITERS[name](tmp_path / name)
    assert content(read_boxes(tmp_path / "csv" / "boxes.csv")) == expected()
    assert content(read_boxes(tmp_path / "yolo" / "data.yaml")) == expected()
    only_val = read_boxes(tmp_path / "coco" / "annotations" / "instances_val2017.json")
    assert content(only_val) == {"3": ((64, 64), None, expected()["3"][2])}


def test_of_trainval_and_train_the_smaller_counts_and_alone_it_is_train(tmp_path):
    main = box_files.write_voc(tmp_path) / "ImageSets" / "Main"
    (main / "trainval.txt").write_text("0\n1\n2\n3\n5\n")
    (main / "cat_train.txt").write_text("0  1\n1 -1\n")
    assert content(read_boxes(tmp_path)) == expected()
    (main / "train.txt").unlink()
    assert {name for name, (_, part, _) in content(read_boxes(tmp_path)).items() if part == "train"} == set("01235")


def test_an_image_is_measured_as_a_viewer_shows_it(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    for name in ("a.jpg", "a.tif"):
        Image.new("RGB", (40, 20)).save(tmp_path / name, exif=exif)
    (tmp_path / "boxes.csv").write_text("image,xmin,ymin,xmax,ymax,class\na.jpg,1,2,19,39,x\na.tif,1,2,19,39,x\n")
    assert [(image.width, image.height) for image in read_boxes(tmp_path).images] == [(20, 40)] * 2


# Which format -------------------------------------------------------------------------------------


def test_what_was_looked_for_is_said(tmp_path):
    (tmp_path / "notes.csv").write_text("a,b\n")
    (tmp_path / "settings.json").write_text("{}")
    said = refusal(tmp_path)
    assert all(word in said for word in ("Annotations/*.xml", "*.json", "*.csv", "labels/"))
    assert "There is no" in refusal(tmp_path / "nowhere")
    assert "no file of boxes" in refusal(box_files.write_voc(tmp_path / "v") / "Annotations" / "0.xml")
    assert "one of voc, coco, csv, yolo" in refusal(tmp_path, format="kitti")
    assert "format 'yolo'" in refusal(tmp_path / "v", format="yolo")


def test_two_formats_are_to_be_chosen_from(tmp_path):
    box_files.write_voc(tmp_path)
    box_files.write_csv(tmp_path)
    assert "several formats: voc, csv" in refusal(tmp_path)
    assert read_boxes(tmp_path, format="csv").format == "csv"
    (tmp_path / "more.csv").write_text((tmp_path / "boxes.csv").read_text())
    assert "boxes.csv, more.csv" in refusal(tmp_path, format="csv")


def test_yolo_needs_names(tmp_path):
    (box_files.write_yolo(tmp_path) / "data.yaml").unlink()
    assert "classes.txt or obj.names" in refusal(tmp_path)
    (tmp_path / "classes.txt").write_text("cat\ncat\n")
    assert "empty or twice" in refusal(tmp_path)
    (tmp_path / "classes.txt").unlink()
    for text, said in {
        "names: {0: cat, 2: dog}": "a name for each number",
        "names: [[cat]]": "list of names",
        "names: [cat": "no YAML",
        "names: !!python/object/apply:os.getcwd []": "no YAML",
    }.items():
        (tmp_path / "data.yaml").write_text(text)
        assert said in refusal(tmp_path)


def test_coco_files_must_be_told_apart(tmp_path):
    coco_in_one_file(tmp_path)
    shutil.copy(tmp_path / "boxes.json", tmp_path / "again.json")
    assert "none is called train" in refusal(tmp_path)
    shutil.copy(tmp_path / "boxes.json", tmp_path / "train.json")
    table, said = skipped(tmp_path)
    assert "2 JSON files (again.json, boxes.json) left out" in said
    shutil.copy(tmp_path / "boxes.json", tmp_path / "train_2.json")
    assert "both of the part 'train'" in refusal(tmp_path)


# Boxes that are mended ----------------------------------------------------------------------------


@pytest.mark.parametrize("format", WRITERS)
def test_swapped_corners_are_put_in_order(format, tmp_path):
    WRITERS[format](tmp_path, one_box(30, 5, 10, 25))
    with pytest.warns(UserWarning, match=r"mended: 1 x box with swapped corners \(put in order\)"):
        table = read_boxes(tmp_path)
    np.testing.assert_allclose(table.images[0].boxes, [[10, 5, 30, 25]], atol=1e-4)


@pytest.mark.parametrize("format", WRITERS)
def test_edges_a_little_outside_are_clipped(format, tmp_path):
    # 5 % of 40 x 30 are 2 and 1.5 pixels.
    WRITERS[format](tmp_path, one_box(-2, 5, 41, 31.5))
    with pytest.warns(UserWarning, match=r"1 x box over the edge of its image \(clipped\)"):
        table = read_boxes(tmp_path)
    np.testing.assert_allclose(table.images[0].boxes, [[0, 5, 40, 30]], atol=1e-4)


def test_rounding_is_clipped_without_a_word(tmp_path):
    box_files.write_csv(tmp_path, one_box(-0.009, 5, 40.009, 20))
    assert read_boxes(tmp_path).images[0].boxes.tolist() == [[0, 5, 40, 20]]


def test_of_equal_boxes_one_is_kept(tmp_path):
    boxes = [("cat", 1, 2, 9, 9), ("dog", 1, 2, 9, 9), ("cat", 1, 2, 9, 9)]
    box_files.write_csv(tmp_path / "c", {**one_box(1, 1, 9, 9), "a": ((40, 30), "train", boxes)})
    with pytest.warns(UserWarning, match=r"1 x box that is there twice \(one dropped\) \(as boxes.csv, line 4"):
        table = read_boxes(tmp_path / "c")
    assert table.images[0].labels.tolist() == [0, 1]


def test_regions_of_a_crowd_are_left_out(tmp_path):
    coco_in_one_file(tmp_path)
    content_ = json.loads((tmp_path / "boxes.json").read_text())
    content_["annotations"][0]["iscrowd"] = 1
    (tmp_path / "boxes.json").write_text(json.dumps(content_))
    with pytest.warns(UserWarning, match="1 x region of a crowd"):
        table = read_boxes(tmp_path)
    assert table.class_names == ["cat", "dog"] and table.images[0].labels.tolist() == [1]


# Boxes that cannot be used ------------------------------------------------------------------------

BAD_BOXES = {
    "no area": (5, 5, 5, 20),
    "outside": (10, 10, 43, 20),  # 2 pixels more would be clipped
    "four numbers": ("nan", 1, 2, 3),
}


@pytest.mark.parametrize("what", BAD_BOXES)
@pytest.mark.parametrize("format", ["voc", "csv"])
def test_a_bad_box_is_refused_with_its_place(format, what, tmp_path):
    WRITERS[format](tmp_path, one_box(*BAD_BOXES[what]))
    said = refusal(tmp_path)
    assert {"voc": "Annotations/a.xml, box 1", "csv": "boxes.csv, line 2"}[format] in said
    assert what in said and "on_bad='skip'" in said


@pytest.mark.parametrize("format", WRITERS)
def test_a_box_of_an_unknown_class_is_refused(format, tmp_path):
    WRITERS[format](tmp_path, one_box(1, 2, 9, 9, label="cow"))
    assert "there is no class" in refusal(tmp_path, class_names=["cat", "dog"])
    assert "there is no class" in refusal(tmp_path, class_names=["dog", "cat"])
    assert "different names" in refusal(tmp_path, class_names=["cat", "cat"])


def test_an_order_of_classes_can_be_given(tmp_path):
    table = read_boxes(box_files.write_voc(tmp_path), class_names=["dog", "bird", "cat"])
    assert table.class_names == ["dog", "bird", "cat"] and content(table) == expected()


def test_a_close_name_is_suggested(tmp_path):
    box_files.write_csv(tmp_path, one_box(1, 2, 9, 9, label="cats"))
    assert "there is no class 'cats': did you mean 'cat'?" in refusal(tmp_path, class_names=["cat", "dog"])


def test_skipping_leaves_the_box_out_and_says_so(tmp_path):
    boxes = [("cat", 1, 2, 9, 9), ("cat", 3, 3, 3, 3), ("dog", 100, 100, 120, 120), ("", 1, 2, 9, 9)]
    box_files.write_csv(tmp_path, {"a": ((40, 30), "train", boxes), **{"b": ((40, 30), "val", boxes[:1])}})
    table, said = skipped(tmp_path)
    assert [image.boxes.tolist() for image in table.images] == [[[1, 2, 9, 9]]] * 2
    assert "left out: 1 x box without an area (as boxes.csv, line 3" in said
    assert "1 x box outside of its image (as boxes.csv, line 4" in said
    assert "1 x box of an unknown class (as boxes.csv, line 5: the box has no class" in said


def test_an_image_none_of_whose_boxes_is_good_is_left_out(tmp_path):
    box_files.write_csv(tmp_path, one_box(3, 3, 3, 3))
    table, said = skipped(tmp_path)
    assert [image.path.stem for image in table.images] == ["b"]
    assert "none of the 1 boxes in images/a.png can be used" in said


def test_how_many_others_there_are_is_said(tmp_path):
    box_files.write_csv(tmp_path, {"a": ((40, 30), "train", [("cat", 1, 1, 1, 1), ("cat", 2, 2, 2, 2)])})
    assert "So are 2 others (inspect_boxes lists them all)" in refusal(tmp_path)  # the image is the third
    with pytest.raises(UserError, match="no image with boxes that can be used"):
        read_boxes(tmp_path, on_bad="skip")
    assert "'error' or 'skip'" in refusal(tmp_path, on_bad="drop")


# Images that cannot be used -----------------------------------------------------------------------


@pytest.mark.parametrize("format", WRITERS)
def test_a_missing_image(format, tmp_path):
    WRITERS[format](tmp_path)
    next(tmp_path.rglob("0.png")).unlink()
    assert "there is no image" in refusal(tmp_path)
    table, said = skipped(tmp_path)
    assert "1 x missing image" in said and len(table.images) == 5


@pytest.mark.parametrize("format", WRITERS)
def test_an_image_that_is_none(format, tmp_path):
    WRITERS[format](tmp_path)
    next(tmp_path.rglob("0.png")).write_bytes(b"")
    assert "cannot be read (the file is empty)" in refusal(tmp_path)
    assert "1 x unreadable image" in skipped(tmp_path)[1]


@pytest.mark.parametrize("format", ["voc", "coco"])
def test_an_image_of_another_size_than_annotated(format, tmp_path):
    WRITERS[format](tmp_path)
    box_files.save_picture(next(tmp_path.rglob("0.png")), (128, 96))
    assert "says 64 x 48 pixels, but the image" in refusal(tmp_path)
    assert "1 x image of another size" in skipped(tmp_path)[1]


def test_an_image_that_is_named_twice(tmp_path):
    coco_in_one_file(tmp_path)
    content_ = json.loads((tmp_path / "boxes.json").read_text())
    content_["images"][1]["file_name"] = "0.png"
    (tmp_path / "boxes.json").write_text(json.dumps(content_))
    assert "the image images/0.png is there a second time" in refusal(tmp_path)


def test_an_id_that_is_there_twice(tmp_path):
    coco_in_one_file(tmp_path)
    content_ = json.loads((tmp_path / "boxes.json").read_text())
    content_["images"][1]["id"] = 0
    (tmp_path / "boxes.json").write_text(json.dumps(content_))
    assert "boxes.json: the id 0 is of another image, too" in refusal(tmp_path)


def test_images_without_any_box_are_no_data_of_boxes(tmp_path):
    box_files.write_csv(tmp_path, {"a": ((40, 30), "train", []), "b": ((40, 30), "val", [])})
    assert "no image with boxes that can be used" in refusal(tmp_path)


def test_an_annotation_that_names_the_image_of_another(tmp_path):
    annotation = box_files.write_voc(tmp_path) / "Annotations" / "0.xml"
    annotation.write_text(annotation.read_text().replace("0.png", "1.png"))
    assert "names the image 1.png, and there is one of its own name, 0.png, as well" in refusal(tmp_path)


def test_an_image_in_two_parts(tmp_path):
    box_files.write_voc(tmp_path)
    (tmp_path / "ImageSets" / "Main" / "test.txt").write_text("4\n0\n")
    assert "in the lists of train and of test" in refusal(tmp_path)
    assert "0" not in content(skipped(tmp_path)[0])
    box_files.write_csv(tmp_path / "c")
    table = tmp_path / "c" / "boxes.csv"
    table.write_text(table.read_text() + "images/0.png,1,2,3,4,cat,test\n")
    assert re.search("line 11: the image images/0.png is in another split than in line 2", refusal(tmp_path / "c"))


def test_lists_and_annotations_that_do_not_match(tmp_path):
    box_files.write_voc(tmp_path)
    (tmp_path / "ImageSets" / "Main" / "test.txt").write_text("7\n")
    assert "names '7', which has no file in Annotations" in refusal(tmp_path)
    table, said = skipped(tmp_path)
    assert "1 annotation (Annotations/4.xml) in none of the lists" in said
    assert set(content(table)) == set("01235")


def test_lists_without_train_are_not_used(tmp_path):
    (box_files.write_voc(tmp_path) / "ImageSets" / "Main" / "train.txt").unlink()
    with pytest.warns(UserWarning, match="Main has no train.txt: its lists are not used"):
        assert content(read_boxes(tmp_path)) == expected(with_parts=False)


def test_labels_and_images_that_do_not_match(tmp_path):
    box_files.write_yolo(tmp_path)
    (tmp_path / "labels" / "train" / "9.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    assert "there is no image images/train/9.* for these labels" in refusal(tmp_path)
    (tmp_path / "labels" / "train" / "9.txt").write_text("")
    (tmp_path / "labels" / "train" / "0.txt").write_text("0 0.1 0.1 0.2 0.1 0.2 0.2\n")
    table, said = skipped(tmp_path)
    assert "labels/train/0.txt: line 1 has 7 values" in said


# Hostile and broken files -------------------------------------------------------------------------

LAUGHS = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><annotation>&b;</annotation>'
STEALING = '<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/passwd">]><annotation><filename>&f;</filename></annotation>'


@pytest.mark.parametrize("text", [LAUGHS, STEALING, "<!DOCTYPE a SYSTEM 'http://localhost/a.dtd'><annotation/>"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp037"])
def test_xml_that_declares_something_is_refused(text, encoding, tmp_path):
    box_files.write_voc(tmp_path)
    declared = f'<?xml version="1.0" encoding="{encoding}"?>' + text
    (tmp_path / "Annotations" / "0.xml").write_bytes(declared.encode(encoding))
    table, said = skipped(tmp_path)
    # EBCDIC (cp037) is one that the parser does not begin to read.
    assert "0.xml: it has a DOCTYPE" in said or (encoding == "cp037" and "0.xml: no XML" in said)
    assert set(content(table)) == set("12345")


@pytest.mark.parametrize(
    "text", ["", "<annotation>", "no XML", '<?xml version="1.0" encoding="nonsense"?><annotation/>', "\x00\xff"]
)
def test_xml_that_cannot_be_read(text, tmp_path):
    box_files.write_voc(tmp_path)
    (tmp_path / "Annotations" / "0.xml").write_bytes(text.encode("latin-1"))
    assert "Annotations/0.xml: no XML that can be read" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../secret.png", "..\0/a.png"])
def test_paths_that_leave_the_folder_are_refused(name, tmp_path):
    box_files.save_picture(tmp_path / "secret.png", (40, 30))
    if "\0" not in name:
        folder = box_files.write_csv(tmp_path / "c")
        (folder / "boxes.csv").write_text(f"image,xmin,ymin,xmax,ymax,class\n{name},1,2,3,4,cat\n")
        assert "leads out of" in refusal(folder)
        folder = box_files.write_voc(tmp_path / "v")
        annotation = (folder / "Annotations" / "0.xml").read_text()
        (folder / "Annotations" / "0.xml").write_text(
            annotation.replace("0.png", f"../{name}" if name[0] != "/" else name)
        )
        assert "leads out of" in refusal(folder)
    (tmp_path / "j").mkdir()
    coco_in_one_file(tmp_path / "j")
    content_ = json.loads((tmp_path / "j" / "boxes.json").read_text())
    content_["images"][0]["file_name"] = name
    (tmp_path / "j" / "boxes.json").write_text(json.dumps(content_))
    assert "leads out of" in refusal(tmp_path / "j")


def test_a_path_inside_is_one_from_wherever_it_is_seen(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    for root in (".", "..", "../in", str(tmp_path / "in"), "/"):
        assert path_inside(Path(root), "a/../b.png") == Path(root) / "b.png"
        assert path_inside(Path(root), "..x/b.png") == Path(root) / "..x/b.png"
    for root in (".", "..", "../in", str(tmp_path / "in")):
        assert path_inside(Path(root), "../b.png") is None
    assert path_inside(tmp_path / "in", "../inner/b.png") is None


def test_names_of_any_length(tmp_path):
    folder = box_files.write_voc(tmp_path)
    text = (folder / "Annotations" / "0.xml").read_text()
    (folder / "Annotations" / "0.xml").write_text(text.replace("0.png", "x" * 5000 + ".png"))
    (folder / "ImageSets" / "Main" / "cat_train.txt").write_text("")
    assert content(read_boxes(folder)) == expected()  # the image of the annotation's own name
    (folder / "ImageSets" / "Main" / "val.txt").write_text("3\n" + "y" * 5000 + "\n")
    assert "1 x annotation that cannot be used" in skipped(folder)[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ('{"images": ' + "[" * 100_000, "no JSON"),
        ('{"images": [], "annotations": []}', "not laid out as COCO"),
        ('{"images": {}, "annotations": [], "categories": []}', "not laid out as COCO"),
        ('{"images": [], "annotations": [], "categories": [{"id": "1", "name": "cat"}]}', "an id and a name"),
        ('{"images": [], "annotations": [], "categories": []}', "no image with boxes"),
        ('{"images": [7], "annotations": [], "categories": []}', "image 1 has no id"),
        ('{"images": [], "annotations": [{"image_id": 5}], "categories": []}', "not in the list of images"),
        ('{"images": [], "annotations": [null], "categories": []}', "annotation 1 has no image_id"),
    ],
)
def test_json_that_is_not_right(text, said, tmp_path):
    (tmp_path / "boxes.json").write_text(text)
    assert said in refusal(tmp_path / "boxes.json")


@pytest.mark.parametrize(
    "bbox", ["null", "[1, 2, 3]", '["1", 2, 3, 4]', "[NaN, 1, 2, 3]", "[1e999, 1, 2, 3]", "[true, 1, 2, 3]"]
)
def test_json_boxes_that_are_no_numbers(bbox, tmp_path):
    coco_in_one_file(tmp_path)
    text = (tmp_path / "boxes.json").read_text()
    (tmp_path / "boxes.json").write_text(text.replace("[4, 6, 16, 24]", bbox, 1))
    assert "boxes.json, annotation 0: expected the corners to be four numbers" in refusal(tmp_path)


def test_tables_that_are_not_right(tmp_path):
    box_files.write_csv(tmp_path)
    table = tmp_path / "boxes.csv"
    table.write_text("filename,xmin,ymin,xmax,ymax,class\na.png,1,2,3,4,cat\n")
    assert "did you mean 'filename'?" in refusal(tmp_path)
    table.write_text("image,xmin,ymin,xmax,ymax,class,split\nimages/0.png,1,2,3,4,cat,tran\n")
    assert "line 2: the split 'tran' is none. Did you mean 'train'?" in refusal(tmp_path)
    table.write_text("image,xmin,ymin,xmax,ymax,class\n,1,2,3,4,cat\n")
    assert "line 2: no image is named" in refusal(tmp_path)
    table.write_text("image,xmin,ymin,xmax,ymax,class\nimages/0.png,1,2,,4,cat\n")
    assert "line 2: expected the corners to be four numbers, not 1, 2, , 4" in refusal(tmp_path)


# Parts --------------------------------------------------------------------------------------------


def names(part):
    return [image.path.stem for image in part]


def test_given_parts_are_kept(tmp_path):
    parts = split_boxes(box_files.write_voc(tmp_path), seed=0)
    assert (names(parts.train), names(parts.validation), names(parts.test)) == (["0", "1", "2", "5"], ["3"], ["4"])


def many(count, part="train"):
    boxes = [("cat", 1, 2, 9, 9)], [("dog", 5, 5, 20, 20)]
    return {f"{number:03d}": ((32, 32), part, boxes[number % 8 == 0]) for number in range(count)}


def test_a_split_is_stable_and_every_part_has_every_class(tmp_path):
    before = split_boxes(box_files.write_csv(tmp_path / "a", many(40), with_split=False), seed=3)
    after = split_boxes(box_files.write_csv(tmp_path / "b", many(60), with_split=False), seed=3)
    for old, new in zip(before[:3], after[:3], strict=True):
        assert frozenset().union(*(image.classes for image in old)) == {0, 1}
        assert set(names(old)) <= set(names(new))
    assert sum(map(len, after[:3])) == 60
    other = split_boxes(tmp_path / "a", seed=4)
    assert names(other.train) != names(before.train)


def test_validation_is_cut_from_train_where_only_test_is_given(tmp_path):
    pictures = {**many(40), **{f"t{name}": value for name, value in many(8, "test").items()}}
    parts = split_boxes(box_files.write_csv(tmp_path, pictures), seed=1, split=(0.6, 0.4, 0.0))
    assert len(parts.test) == 8 and all(name.startswith("t") for name in names(parts.test))
    assert 8 <= len(parts.validation) <= 24 and len(parts.train) + len(parts.validation) == 40


def test_what_cannot_be_split_is_refused(tmp_path):
    with pytest.raises(UserError, match="too little to split: of 1 images"):
        split_boxes(box_files.write_csv(tmp_path / "a", many(1), with_split=False), seed=0)
    with pytest.raises(UserError, match="gives the parts validation, but no train|no 'train'"):
        split_boxes(box_files.write_csv(tmp_path / "b", many(2, "val")), seed=0)
    with pytest.raises(UserError, match="three shares"):
        split_boxes(tmp_path / "a", seed=0, split=(0.5, 0.6, 0.0))


def test_a_class_that_train_lacks_is_warned_of(tmp_path):
    pictures = {**one_box(1, 2, 9, 9), "c": ((40, 30), "train", [("cat", 1, 1, 9, 9)])}
    with pytest.warns(UserWarning) as caught:
        split_boxes(box_files.write_csv(tmp_path, pictures), seed=0)
    said = " ".join(str(warning.message) for warning in caught)
    assert "no box in train is of 1 class name (dog): they cannot be learned" in said
    assert "no box in validation is of 1 class name (cat): not judged there" in said


def test_the_fingerprint_changes_with_a_box_and_not_with_the_place(tmp_path):
    first = fingerprint_boxes(split_boxes(box_files.write_csv(tmp_path / "a"), seed=0))
    moved = fingerprint_boxes(split_boxes(box_files.write_csv(tmp_path / "b"), seed=0))
    table = tmp_path / "b" / "boxes.csv"
    table.write_text(table.read_text().replace("4,6,20,30", "4,6,20,31"))
    changed = fingerprint_boxes(split_boxes(tmp_path / "b", seed=0))
    assert first == moved
    assert changed["train"] != first["train"] and changed["test"] == first["test"]
    assert first["train"].startswith("4 images, 4 boxes (") and first["classes"] == "cat, dog"


def test_nothing_of_tensorflow_is_loaded(tmp_path):
    box_files.write_voc(tmp_path)
    code = (
        "import sys; from tlkit.data import inspect_boxes, split_boxes; "
        f"split_boxes({str(tmp_path)!r}, seed=0); inspect_boxes({str(tmp_path)!r}); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("write", [box_files.write_csv, box_files.write_voc])
def test_shares_of_the_image_are_no_pixels(write, tmp_path):
    pictures = {"0": ((64, 48), "train", [("cat", 0.1, 0.2, 0.5, 1.0)])}
    write(tmp_path / "data", pictures)
    with pytest.raises(UserError, match="All coordinates in .*data are 1 or less, as shares .* Expected pixels"):
        read_boxes(tmp_path / "data")
