"""What a model says, in the form in which the page and other programs get it: plain numbers and names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def class_answer(class_names: Sequence[str], probabilities: ArrayLike, said: Sequence[str]) -> dict[str, Any]:
    """The answer of a classifier about one picture or text.

    Args:
        class_names: In the order of the probabilities.
        probabilities: One for each class.
        said: The classes that the classifier says: the likeliest, or, in multi-label data, any number of them.

    Returns:
        What is sent as JSON: "said", and "classes", the likeliest first.

    Example:
        >>> class_answer(["ant", "bee"], [0.25, 0.75], ["bee"])
        {'said': ['bee'], 'classes': [{'class': 'bee', 'probability': 0.75}, {'class': 'ant', 'probability': 0.25}]}
    """
    values = np.asarray(probabilities, np.float64)
    order = np.argsort(-values, kind="stable")
    classes = [{"class": class_names[number], "probability": float(values[number])} for number in order]
    return {"said": list(said), "classes": classes}


def box_answer(
    boxes: ArrayLike,
    scores: ArrayLike,
    class_names: Sequence[str],
    *,
    size: tuple[int, int],
    shown_from: float,
) -> dict[str, Any]:
    """The answer of a detector about one picture.

    Args:
        boxes: `(n, 4)`, each x_min, y_min, x_max, y_max in pixels of the picture.
        scores: `(n,)`, from 0 to 1.
        class_names: The class of each box.
        size: Width and height of the picture, after a rotation in its EXIF data.
        shown_from: The least score that is shown at first; the page has a slider for it.

    Returns:
        What is sent as JSON: "boxes", the surest first, "size" and "shown_from".

    Example:
        >>> box_answer([[2, 4, 20, 30]], [0.5], ["cell"], size=(64, 48), shown_from=0.25)["boxes"]
        [{'class': 'cell', 'score': 0.5, 'box': [2.0, 4.0, 20.0, 30.0]}]
    """
    sides = np.asarray(boxes, np.float64).reshape(-1, 4).round(2)  # hundredths of a pixel
    sure = np.asarray(scores, np.float64)
    rows = np.argsort(-sure, kind="stable")
    found = [{"class": class_names[row], "score": float(sure[row]), "box": sides[row].tolist()} for row in rows]
    return {"boxes": found, "size": [int(side) for side in size], "shown_from": float(shown_from)}
