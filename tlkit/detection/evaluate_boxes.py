"""What a detector is worth: COCO's average precision, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tlkit.errors import UserError

MAX_DETECTIONS = 100  # of an image, the best first: COCO's rule
_SIZES = {"small": 1, "medium": 2, "large": 3}  # places of COCO's area ranges: below 32^2, 96^2, and above, in pixels^2


def evaluate_boxes(
    true: Sequence[Any], predicted: Sequence[Mapping[str, Any]], class_names: Sequence[str], *, by_size: bool = True
) -> dict[str, Any]:
    """Judge predicted boxes by the true ones; the result can be written as JSON.

        IoU(A, B) = area(A and B) / area(A or B)
        A prediction, the highest score first, is right when there is a true box of its image and class with IoU >= t
        that none before it has taken: finding a thing twice is one mistake.
        AP(t)  = mean over the recalls 0, 0.01, ..., 1 of the best precision that is reached there or beyond
        map    = mean of AP(t) over t = 0.5, 0.55, ..., 0.95 and over the classes that have true boxes
        map50, map75 = the same at one t
        recall = mean over the same t and classes of the share of true boxes that are found

    `map_small`, `map_medium` and `map_large` judge true boxes of less than 32^2, less than 96^2 and more square pixels:
    in whichever pixels the boxes are given. COCO's numbers are in those of the file (`to_original_pixels`).

    Args:
        true: For each image a dict (or an object, as `LabelledImage` is) with "boxes" `(n, 4)`, each
            `(x_min, y_min, x_max, y_max)`, and "labels" `(n,)`. Rows with a label below 0 are padding.
        predicted: For each image a dict with "boxes", "scores" and "labels", rows with a label below 0 being padding;
            where it has "num_detections", rows from that number on are, too.
        class_names: Class names by number.
        by_size: Whether to judge small, medium and large boxes by themselves, too, which takes three times as
            long.

    Returns:
        map, map50, map75, map_small, map_medium, map_large, recall, num_images, num_boxes, and per_class {name: {ap,
        ap50, recall, num_boxes, precision50}}, the last the precision at each of the 101 recalls, at t = 0.5. None
        stands where there is no true box to judge by, and in place of the sizes without `by_size`.

    Raises:
        UserError: When shapes do not match, there is no true box, a number is not finite, or pycocotools is not
            installed.

    Example:
        >>> true = [{"boxes": [[0, 0, 10, 10], [20, 20, 40, 40]], "labels": [0, 0]}]
        >>> predicted = [{"boxes": [[0, 0, 10, 10]], "scores": [0.9], "labels": [0]}]
        >>> found = evaluate_boxes(true, predicted, ["cell"])
        >>> found["recall"], round(found["map"], 4)  # 51 of 101 recalls are reached, with precision 1
        (0.5, 0.505)

    Reference: T.-Y. Lin et al., 2014, "Microsoft COCO: Common Objects in Context", https://arxiv.org/abs/1405.0312, and
        https://cocodataset.org/#detection-eval. Differs from it in: nothing.
    """
    if len(true) != len(predicted):
        raise UserError(f"evaluate_boxes: expected predictions for each of {len(true)} images, not {len(predicted)}.")
    truths = [_rows("true", number, _as_dict(image), len(class_names)) for number, image in enumerate(true)]
    found = [_rows("predicted", number, image, len(class_names), True) for number, image in enumerate(predicted)]
    num_boxes = np.bincount(
        np.concatenate([labels for _, labels, _ in truths] or [[]]).astype(int), None, len(class_names)
    )
    if not num_boxes.sum():
        raise UserError("evaluate_boxes: there is no true box to judge by. Expected at least one.")
    precision, recall = _run_pycocotools(truths, found, len(class_names), 1 + by_size * len(_SIZES))
    # Precision by (IoU, recall, class, size, detections), recall without the second; -1 where there is no true box.
    of_all = precision[:, :, :, 0]
    per_class = {
        name: {
            "ap": _mean(of_all[:, :, number]),
            "ap50": _mean(of_all[0, :, number]),
            "recall": _mean(recall[:, number, 0]),
            "num_boxes": int(num_boxes[number]),
            "precision50": of_all[0, :, number].tolist() if num_boxes[number] else None,
        }
        for number, name in enumerate(class_names)
    }
    return {
        "map": _mean(of_all),
        "map50": _mean(of_all[0]),
        "map75": _mean(of_all[5]),
        **{f"map_{name}": _mean(precision[:, :, :, place:][..., :1]) for name, place in _SIZES.items()},
        "recall": _mean(recall[:, :, 0]),
        "num_images": len(true),
        "num_boxes": int(num_boxes.sum()),
        "per_class": per_class,
    }


def _as_dict(image: Any) -> Mapping[str, Any]:
    return image if isinstance(image, Mapping) else {"boxes": image.boxes, "labels": image.labels}


_Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def _rows(which: str, number: int, image: Mapping[str, Any], num_classes: int, has_scores: bool = False) -> _Rows:
    """Boxes, labels and scores of one image, without padding."""
    boxes, labels = np.asarray(image["boxes"], np.float64), np.asarray(image["labels"])
    scores = np.asarray(image["scores"], np.float64) if has_scores else np.ones(labels.shape)
    boxes = boxes.reshape(-1, 4) if not boxes.size else boxes
    if boxes.shape != (len(boxes), 4) or not labels.shape == scores.shape == (len(boxes),):
        raise UserError(
            f"evaluate_boxes: {which} image {number} has boxes {boxes.shape}, labels {labels.shape} and scores "
            f"{scores.shape}. Expected (n, 4), (n,) and (n,)."
        )
    is_there = labels >= 0
    if "num_detections" in image:
        is_there &= np.arange(len(labels)) < int(image["num_detections"])
    boxes, labels, scores = boxes[is_there], labels[is_there].astype(int), scores[is_there]
    if len(labels) and labels.max() >= num_classes:
        raise UserError(
            f"evaluate_boxes: {which} image {number} has the label {labels.max()}. Expected labels below "
            f"{num_classes}, the number of `class_names`, and -1 for padding."
        )
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise UserError(
            f"evaluate_boxes: the {which} boxes or scores of image {number} are not all finite: the training diverged, "
            "perhaps. Train again with a smaller learning rate."
        )
    return boxes, labels, scores


def _run_pycocotools(
    truths: list[_Rows], found: list[_Rows], num_classes: int, num_sizes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Precision `(10, 101, classes, sizes)` and recall `(10, classes, sizes)` with 100 detections of an image."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise UserError(
            "COCO's metrics are computed by pycocotools, which is not installed: run pip install 'tlkit[detection]'."
        ) from error

    def as_coco(images: list[_Rows]) -> Any:
        index = COCO()
        index.dataset = {
            "images": [{"id": number} for number in range(len(images))],
            "categories": [{"id": number} for number in range(num_classes)],
            "annotations": _annotations(images),
        }
        index.createIndex()
        return index

    with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress there
        judge = COCOeval(as_coco(truths), as_coco(found), "bbox")
        judge.params.maxDets = [MAX_DETECTIONS]
        judge.params.areaRng = judge.params.areaRng[:num_sizes]  # all, small, medium, large
        judge.params.areaRngLbl = judge.params.areaRngLbl[:num_sizes]
        judge.evaluate()
        judge.accumulate()
    return judge.eval["precision"][..., 0], judge.eval["recall"][..., 0]


def _annotations(images: list[_Rows]) -> list[dict[str, Any]]:
    """In COCO's form; numbered from 1, for pycocotools takes 0 as "matched with none"."""
    annotations = []
    for number, (boxes, labels, scores) in enumerate(images):
        sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
        for corner, side, label, score in zip(boxes, sides, labels, scores, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(label),
                    "bbox": [*corner[:2].tolist(), *side.tolist()],
                    "area": float(side.prod()),
                    "score": float(score),
                    "iscrowd": 0,
                }
            )
    return annotations


def _mean(values: np.ndarray) -> float | None:
    known = values[values > -1]
    return float(known.mean()) if known.size else None
