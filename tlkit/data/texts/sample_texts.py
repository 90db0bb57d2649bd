"""A few hundred short messages to a shop, written for the purpose, for trying tlkit with no network."""

from __future__ import annotations

import csv
import importlib.resources
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from tlkit.errors import UserError

# Of 60 messages and 40 chats of each intent.
TEST_MESSAGES = 24  # the most that leaves 36 to learn from: five to hold out for validation, and thirty or so to train
HELD_OUT_CHATS = 16


def write_sample_texts(folder: str | Path, *, seed: int = 0) -> None:
    """Write `messages.csv`: 360 messages to a shop in six intents, with the columns text, label and split.

    The intents are cancel_order, change_address, complaint, order_status, product_question and refund, 60 messages
    each: 36 for training, from which validation is cut, and 24 to test. They are polite, curt, angry and misspelled,
    and share their words: who wants a refund speaks of cancelling, and who complains of a parcel. Equal seeds write
    equal bytes.

    Args:
        folder: Where to write; made when missing, and refused when something is in it.
        seed: Chooses which messages are for training.

    Raises:
        UserError: When the folder is not empty.

    Example:
        >>> from tlkit.data import split_texts, write_sample_texts
        >>> write_sample_texts("shop")
        >>> splits = split_texts("shop", seed=0)
        >>> len(splits.class_names), len(splits.train) + len(splits.validation), len(splits.test)
        (6, 216, 144)
    """
    _check_empty(Path(folder))
    rows = _in_parts("messages.csv", TEST_MESSAGES, seed)
    _write(Path(folder) / "messages.csv", ("text", "label", "split"), rows)


def write_sample_text_domains(source: str | Path, target: str | Path, *, seed: int = 0) -> None:
    """Write the sample messages with labels as `source`, and chats of the same intents without labels as `target`.

    `source/messages.csv` is what `write_sample_texts` writes. `target/train.csv` has 144 chats as people thumb them
    into a phone ("wheres my stuff??"), their intents nowhere told; `target/test.csv` has 96 others with labels, for
    judging. Equal seeds write equal bytes.

    Args:
        source: Where to write the labelled messages; made when missing, and refused when something is in it.
        target: The same for the chats.
        seed: Chooses which messages and chats are for training.

    Raises:
        UserError: When a folder is not empty.

    Example:
        >>> from tlkit.data import load_unlabelled_texts, write_sample_text_domains
        >>> write_sample_text_domains("letters", "chats")
        >>> rows = load_unlabelled_texts("chats", batch_size=32, seed=0).rows
        >>> len(rows.train), len(rows.test)
        (144, 96)
    """
    _check_empty(Path(target))
    write_sample_texts(source, seed=seed)
    chats = _in_parts("chats.csv", HELD_OUT_CHATS, seed)
    unlabelled = [[text] for text, _, part in chats if part == "train"]
    labelled = [[text, label] for text, label, part in chats if part == "test"]
    _write(Path(target) / "train.csv", ("text",), unlabelled)
    _write(Path(target) / "test.csv", ("text", "label"), labelled)


def _check_empty(folder: Path) -> None:
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"The sample texts are not written to {folder} because something is there: name a new one.")


def _in_parts(name: str, num_test: int, seed: int) -> list[tuple[str, str, str]]:
    """Text, label and part of the packaged messages, in an order that tells nothing."""
    content = importlib.resources.files("tlkit.data.texts").joinpath("samples", name).read_text(encoding="utf-8")
    rows = [(row["text"], row["label"]) for row in csv.DictReader(content.splitlines())]
    random.Random(seed).shuffle(rows)
    seen: dict[str, int] = {}
    parts = []
    for _, label in rows:
        seen[label] = seen.get(label, 0) + 1
        parts.append("test" if seen[label] <= num_test else "train")
    cut = [(text, label, part) for (text, label), part in zip(rows, parts, strict=True)]
    random.Random(f"{seed}/order").shuffle(cut)  # or those to test would come first
    return cut


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)
