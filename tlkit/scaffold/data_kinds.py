"""The kinds of data that templates want: what they are called, checked, sampled and inspected with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tlkit.errors import UserError
from tlkit.scaffold.templates import Answer, Template

if TYPE_CHECKING:
    from tlkit.data import BoxReport, ImageReport, TextReport


class DataKind(NamedTuple):
    """A kind of data that a template may want, handled without TensorFlow.

    `describe` counts in words what a folder or file holds, and raises `UserError` when it is not what was expected;
    `write_sample` fills a folder with data to try the template on; `inspect` looks at everything, with or without a
    progress bar, and reports; `write_sample_domains` fills two, with labelled data and with unlabelled of another look.
    The answers to the template's questions tell how to read the data: those of texts, their columns.
    """

    prompt: str
    describe: Callable[[Path, Mapping[str, Answer]], str]
    write_sample: Callable[[Path], None]
    inspect: Callable[[Path, Mapping[str, Answer], bool], BoxReport | ImageReport | TextReport] | None = None
    write_sample_domains: Callable[[Path, Path], None] | None = None
    target_may_be_a_file: bool = False


def _describe_images(folder: Path, answers: Mapping[str, Answer]) -> str:
    from tlkit.data import split_image_folder

    splits = split_image_folder(folder, seed=0)
    count = len(splits.train) + len(splits.validation) + len(splits.test)
    return f"{count:,} images of {len(splits.class_names)} classes"


def _write_sample_images(folder: Path) -> None:
    from tlkit.data import write_sample_images

    write_sample_images(folder)


def _write_sample_domains(source: Path, target: Path) -> None:
    from tlkit.data import write_sample_domains

    write_sample_domains(source, target)


def _columns(answers: Mapping[str, Answer]) -> tuple[str, str]:
    """Names of the columns of texts and labels."""
    return str(answers.get("text_column", "text")), str(answers.get("label_column", "label"))


def _describe_texts(source: Path, answers: Mapping[str, Answer]) -> str:
    from tlkit.data import split_texts

    text_column, label_column = _columns(answers)
    # Bad rows are the report's to tell, and training's to refuse.
    splits = split_texts(source, text_column=text_column, label_column=label_column, seed=0, on_bad="skip")
    count = len(splits.train) + len(splits.validation) + len(splits.test)
    return f"{count:,} texts of {len(splits.class_names)} classes"


def _write_sample_texts(folder: Path) -> None:
    from tlkit.data import write_sample_texts

    write_sample_texts(folder)


def _write_sample_text_domains(source: Path, target: Path) -> None:
    from tlkit.data import write_sample_text_domains

    write_sample_text_domains(source, target)


def _inspect_texts(source: Path, answers: Mapping[str, Answer], progress: bool) -> TextReport:
    from tlkit.data import inspect_texts

    text_column, label_column = _columns(answers)
    return inspect_texts(source, text_column=text_column, label_column=label_column, progress=progress)


def _inspect_images(folder: Path, answers: Mapping[str, Answer], progress: bool) -> ImageReport:
    from tlkit.data import inspect_images

    return inspect_images(folder, progress=progress)


def _describe_boxes(source: Path, _answers: Mapping[str, Answer]) -> str:
    from tlkit.data import split_boxes

    # Bad boxes are the report's to tell, and training's to refuse.
    splits = split_boxes(source, seed=0, on_bad="skip")
    images = [image for part in splits[:3] for image in part]
    boxes = sum(len(image.boxes) for image in images)
    return f"{len(images):,} images with {boxes:,} boxes of {len(splits.class_names)} classes"


def _write_sample_scenes(folder: Path) -> None:
    from tlkit.data import write_sample_scenes

    write_sample_scenes(folder)


def _inspect_boxes(source: Path, answers: Mapping[str, Answer], progress: bool) -> BoxReport:
    from tlkit.data import inspect_boxes

    return inspect_boxes(source, image_size=int(answers["image_size"]), progress=progress)


DATA_KINDS = {
    "images": DataKind(
        "Folder with one subfolder of images for each class, or a CSV file with the columns file and label",
        _describe_images,
        _write_sample_images,
        _inspect_images,
        _write_sample_domains,
    ),
    "texts": DataKind(
        "Table (.csv, .tsv, .jsonl) with the columns text and label (of others you are asked which), or a folder "
        "with one subfolder of .txt files for each class",
        _describe_texts,
        _write_sample_texts,
        _inspect_texts,
        _write_sample_text_domains,
        target_may_be_a_file=True,
    ),
    "boxes": DataKind(
        "Folder in the form of Pascal VOC, COCO or YOLO, a COCO file, or a CSV table with the columns image, xmin, "
        "ymin, xmax, ymax and class",
        _describe_boxes,
        _write_sample_scenes,
        _inspect_boxes,
    ),
}


def check_data(
    template: Template, data: str | Path, destination: str | Path, answers: Mapping[str, Answer] | None = None
) -> str:
    """Count in words what a folder or file of data holds, read as the answers say that are known by now.

    Raises:
        UserError: When it is not the data that the template wants, or the project would lie inside it.
    """
    if template.data is None:
        raise UserError(f"The template '{template.name}' works without data. Leave out '{data}'.")
    if Path(destination).resolve().is_relative_to(Path(data).resolve()):
        raise UserError(
            f"The destination '{destination}' lies inside the data folder '{data}', where it would be taken for data. "
            "Expected a destination elsewhere."
        )
    return DATA_KINDS[template.data].describe(Path(data), answers or {})
