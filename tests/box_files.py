"""The same six pictures with boxes in each format that is read."""

import csv
import json

import numpy as np
from PIL import Image

# Name -> size, part, boxes as (class, x_min, y_min, x_max, y_max). "5" has none.
PICTURES = {
    "0": ((64, 48), "train", [("cat", 4, 6, 20, 30), ("dog", 30, 10, 60, 40)]),
    "1": ((48, 64), "train", [("dog", 0, 0, 48, 64)]),
    "2": ((40, 40), "train", [("cat", 8, 8, 24, 16)]),
    "3": ((64, 64), "val", [("cat", 10, 20, 30, 60), ("dog", 32, 32, 64, 64)]),
    "4": ((64, 48), "test", [("dog", 16, 12, 48, 36), ("cat", 0, 0, 8, 9)]),
    "5": ((32, 32), "train", []),
}


def save_picture(path, size, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def save_pictures(folder, pictures, place="{name}.png"):
    for number, (name, (size, part, _)) in enumerate(pictures.items()):
        save_picture(folder / place.format(name=name, part=part), size, number)


def voc_xml(name, size, boxes):
    objects = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        "</bndbox></object>"
        for label, x0, y0, x1, y1 in boxes
    )
    width, height = size
    return (
        f"<annotation><filename>{name}.png</filename><size><width>{width}</width><height>{height}</height></size>"
        f"{objects}</annotation>"
    )


def write_voc(folder, pictures=PICTURES):
    save_pictures(folder / "JPEGImages", pictures)
    lists = folder / "ImageSets" / "Main"
    for place in (folder / "Annotations", lists):
        place.mkdir(parents=True)
    for name, (size, _, boxes) in pictures.items():
        (folder / "Annotations" / f"{name}.xml").write_text(voc_xml(name, size, boxes))
    for part in ("train", "val", "test"):
        names = [name for name, (_, its, _) in pictures.items() if its == part]
        (lists / f"{part}.txt").write_text("".join(f"{name}\n" for name in names))
    return folder


def coco_content(pictures, part=None):
    chosen = [(n, name, *rest) for n, (name, rest) in enumerate(pictures.items()) if part in (None, rest[1])]
    categories = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    ids = {"cat": 3, "dog": 7}
    return {
        "images": [
            {"id": n, "file_name": f"{name}.png", "width": size[0], "height": size[1]} for n, name, size, _, _ in chosen
        ],
        "annotations": [
            {"id": 10 * n + k, "image_id": n, "category_id": ids.get(label, 99), "bbox": [x0, y0, x1 - x0, y1 - y0]}
            for n, _, _, _, boxes in chosen
            for k, (label, x0, y0, x1, y1) in enumerate(boxes)
        ],
        "categories": categories,
    }


def write_coco(folder, pictures=PICTURES):
    save_pictures(folder, pictures, "{part}2017/{name}.png")
    (folder / "annotations").mkdir(parents=True)
    for part in ("train", "val", "test"):
        content = json.dumps(coco_content(pictures, part))
        (folder / "annotations" / f"instances_{part}2017.json").write_text(content)
    return folder


def write_csv(folder, pictures=PICTURES, with_split=True):
    save_pictures(folder, pictures, "images/{name}.png")
    with (folder / "boxes.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "xmin", "ymin", "xmax", "ymax", "class", *["split"] * with_split])
        for name, (_, part, boxes) in pictures.items():
            for label, *corners in boxes or [["", "", "", "", ""]]:
                table.writerow([f"images/{name}.png", *corners, label, *[part] * with_split])
    return folder


def yolo_lines(size, boxes):
    width, height = size
    numbers = {"cat": 0, "dog": 1}
    return "".join(
        f"{numbers.get(label, 9)} {(x0 + x1) / 2 / width:.6f} {(y0 + y1) / 2 / height:.6f} {(x1 - x0) / width:.6f} "
        f"{(y1 - y0) / height:.6f}\n"
        for label, x0, y0, x1, y1 in boxes
    )


def write_yolo(folder, pictures=PICTURES, place="{kind}/{part}/{name}"):
    save_pictures(folder, pictures, place.replace("{kind}", "images") + ".png")
    for name, (size, part, boxes) in pictures.items():
        path = folder / (place.format(kind="labels", part=part, name=name) + ".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        if boxes:  # an image without boxes may have no file
            path.write_text(yolo_lines(size, boxes))
    (folder / "data.yaml").write_text("nc: 2\nnames: [cat, dog]\ntrain: images/train\n")
    return folder


WRITERS = {"voc": write_voc, "coco": write_coco, "csv": write_csv, "yolo": write_yolo}
