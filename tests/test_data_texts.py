"""Texts: the right ones come from every kind of source, in parts that are stable, and in orders that repeat."""

import csv
import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
import unicodedata

import numpy as np
import pytest

from tlkit.data import (
    epochs,
    fingerprint_texts,
    load_texts,
    load_unlabelled_texts,
    split_texts,
    write_sample_text_domains,
    write_sample_texts,
)
from tlkit.data.texts.cut_rows import find_copies
from tlkit.distribution import choose_strategy

# What is hard to read by its place in a file: line ends and separators in quotes, wide letters, a very long text.
ODD = [
    'She said "no"\nand left, twice',
    "Käse 😀 👩‍👩‍👧, bitte",
    "שלום עולם",
    "x" * 100_000,
    "a;b\tc|d",
    " spaces around ",
    "\u2028 is no end of a row, nor is \x0b",
    "\r\nWindows",
]
ROWS = [(text, "odd") for text in ODD] + [(f"plain text number {number}", "plain") for number in range(32)]


def write_csv(path, rows=ROWS, header=("text", "label"), encoding="utf-8", delimiter=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])
    return path


def content(splits):
    """All (text, class name), sorted."""
    return sorted(
        (text, splits.class_names[label])
        for part in splits[:3]
        for text, label in zip(part.read(), part.labels.tolist(), strict=True)
    )


# Sources ------------------------------------------------------------------------------------------


def as_comma(folder):
    return write_csv(folder / "m.csv")


def as_semicolon(folder):
    return write_csv(folder / "m.csv", delimiter=";")


def as_tabs_with_mark(folder):
    return write_csv(folder / "m.tsv", delimiter="\t", encoding="utf-8-sig")


def as_utf16(folder):
    return write_csv(folder / "m.csv", encoding="utf-16")


def as_other_columns(folder):
    rows = [(number, label, text, "") for number, (text, label) in enumerate(ROWS)]
    return write_csv(folder / "m.csv", rows, ("id", "LABEL", "text", ""))


def as_json_lines(folder):
    lines = [json.dumps({"label": label, "text": text}, ensure_ascii=bool(len(text) % 2)) for text, label in ROWS]
    (folder / "m.jsonl").write_text("\n\n".join(lines), encoding="utf-8")
    return folder / "m.jsonl"


def as_only_table_of_a_folder(folder):
    (folder / "readme.md").write_text("about")
    return write_csv(folder / "m.csv").parent


def as_text_files(folder):
    for number, (text, label) in enumerate(ROWS):
        path = folder / label / "deeper" / f"{number:02d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return folder


WAYS = [
    as_comma,
    as_semicolon,
    as_tabs_with_mark,
    as_utf16,
    as_other_columns,
    as_json_lines,
    as_only_table_of_a_folder,
    as_text_files,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_source_gives_the_same_texts_in_the_same_parts(way, tmp_path):
    splits = split_texts(way(tmp_path), seed=3)
    assert splits.class_names == ["odd", "plain"] and content(splits) == sorted(ROWS)
    (tmp_path / "plain csv").mkdir()
    expected = split_texts(as_comma(tmp_path / "plain csv"), seed=3)
    assert [sorted(part.read()) for part in splits[:3]] == [sorted(part.read()) for part in expected[:3]]
    assert (splits.train.labels == expected.train.labels).all()
    # By number, in any order and more than once.
    assert splits.train.read([3, 0, 3]) == [splits.train.read()[number] for number in (3, 0, 3)]


def test_places_are_those_an_editor_shows(tmp_path):
    splits = split_texts(as_comma(tmp_path), seed=3)
    lines = (tmp_path / "m.csv").read_bytes().decode().split("\n")
    for part in splits[:3]:
        for text, place in zip(part.read(), part.places(range(len(part))), strict=True):
            name, line = place.split(", line ")
            first = text.split("\n")[0].replace('"', '""').strip("\r")
            assert name == "m.csv" and first in lines[int(line) - 1]
    documents = split_texts(as_text_files(tmp_path / "files"), seed=3)
    assert documents.train.places([0]) == ["deeper/00.txt"] or documents.train.places([0])[0].endswith(".txt")


@pytest.mark.parametrize("first", ["sep=;\n", '"sep=;"\r\n', "\nSEP=;\n"])
def test_the_line_with_which_excel_names_the_separator_is_passed_over(first, tmp_path):
    table = tmp_path / "m.csv"
    # By its commas the line of the names has more columns than by its semicolons.
    rows = [f"{number};{'xy'[number % 2]};a, b, c, d\n" for number in range(20)]
    table.write_text(first + "text;label;of, that, is, left\n" + "".join(rows), encoding="utf-8", newline="")
    splits = split_texts(table, seed=1)
    assert sorted(text for part in splits[:3] for text in part.read()) == sorted(map(str, range(20)))
    place = splits.train.places([0])[0]
    number = int(splits.train.read([0])[0])
    assert place == f"m.csv, line {number + 2 + len(first.splitlines())}"


def test_parts_that_are_given_are_kept(tmp_path):
    rows = [
        (f"text {number}", "ab"[number % 2], ("train", "Train", "valid", "test")[number % 4]) for number in range(40)
    ]
    expected = {
        part: {f"text {n}" for n in range(40) if n % 4 in which} for part, which in enumerate([(0, 1), (2,), (3,)])
    }
    # Every part needs both classes: shift the labels.
    rows = [(text, "ab"[int(text.split()[1]) // 4 % 2], part) for text, _, part in rows]
    by_column = split_texts(write_csv(tmp_path / "m.csv", rows, ("text", "label", "split")), seed=1)
    for name, keep in {"train": ("train", "Train"), "val": ("valid",), "test": ("test",)}.items():
        write_csv(tmp_path / "parts" / f"{name}.csv", [row[:2] for row in rows if row[2] in keep])
        for number, (text, label, part) in enumerate(rows):
            if part in keep:
                path = tmp_path / "files" / name / label / f"{number}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
    for splits in (by_column, split_texts(tmp_path / "parts", seed=1), split_texts(tmp_path / "files", seed=1)):
        assert {part: set(splits[part].read()) for part in range(3)} == expected


def test_validation_is_cut_from_train_where_there_is_a_test(tmp_path):
    rows = [(f"text {number}", "ab"[number % 2], "test" if number > 99 else "train") for number in range(120)]
    splits = split_texts(write_csv(tmp_path / "m.csv", rows, ("text", "label", "split")), seed=1)
    assert set(splits.test.read()) == {f"text {number}" for number in range(100, 120)}
    assert len(splits.train) + len(splits.validation) == 100
    assert 5 <= len(splits.validation) <= 33  # 15 / 85 of 100 is 17.6; four standard deviations of 3.8 about it


# The split ----------------------------------------------------------------------------------------


def splitmix64(number):
    """The output function of https://prng.di.unimi.it/splitmix64.c, on Python's integers."""
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB % 2**64
    return number ^ (number >> 31)


def expected_part(text, seed, shares=(0.7, 0.15)):
    digest = hashlib.sha256(" ".join(unicodedata.normalize("NFC", text).casefold().split()).encode()).digest()
    key = hashlib.sha256(str(seed).encode()).digest()
    place = splitmix64(int.from_bytes(digest[:8], "big") ^ int.from_bytes(key[:8], "big")) / 2**64
    return 0 if place < shares[0] else 1 if place < sum(shares) else 2


@pytest.mark.parametrize("seed", [0, 7])
def test_the_part_of_a_text_is_the_documented_function(seed, tmp_path):
    rows = [(f"Text Number {number}", "ab"[number % 2]) for number in range(600)]
    splits = split_texts(write_csv(tmp_path / "m.csv", rows), seed=seed)
    for number, part in enumerate(splits[:3]):
        assert part.read() == [text for text, _ in rows if expected_part(text, seed) == number]
    later = write_csv(tmp_path / "n.csv", rows[::-1] + [(f"later {number}", "b") for number in range(300)])
    for before, after in zip(splits[:3], split_texts(later, seed=seed)[:3], strict=True):
        assert set(before.read()) <= set(after.read())


def test_the_same_text_is_never_in_two_parts(tmp_path):
    spellings = ["Where IS\u00a0 it, caf\u00e9 {}?", "where is it, cafe\u0301 {}?", " WHERE is\nit, CAF\u00c9 {}? "]
    rows = [(spelled.format(number), "ab"[number % 2]) for number in range(60) for spelled in spellings]
    splits = split_texts(write_csv(tmp_path / "m.csv", rows), seed=2)
    parts = [{hash_ for hash_ in part.hashes.tolist()} for part in splits[:3]]
    assert [len(part) for part in splits[:3]] == [3 * len(found) for found in parts] and all(parts)
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert content(splits) == sorted(rows)


def test_groups_stay_together_also_through_equal_texts(tmp_path):
    # Authors 2k and 2k + 1 share a text, so that all of theirs go together; rows without an author are on their own.
    rows = [
        (f"by {author}, {number}", "ab"[number % 2], f"author {author}") for author in range(40) for number in range(4)
    ]
    rows += [(f"shared {author // 2}", "a", f"author {author}") for author in range(40)]
    rows += [(f"alone {number}", "b", "") for number in range(40)]
    splits = split_texts(write_csv(tmp_path / "m.csv", rows, ("text", "label", "group")), seed=1)
    pair_of = {text: int(group.split()[1]) // 2 for text, _, group in rows if group}
    pairs = [{pair_of[text] for text in part.read() if text in pair_of} for part in splits[:3]]
    assert sorted([*pairs[0], *pairs[1], *pairs[2]]) == list(range(20)) and pairs[0] and pairs[1] | pairs[2]
    alone = [sum(text.startswith("alone") for text in part.read()) for part in splits[:3]]
    assert sum(alone) == 40 and 16 <= alone[0] <= 39  # 28 expected, four standard deviations of 2.9 about it


def test_every_part_has_the_rare_classes(tmp_path):
    rows = [(f"text {number}", "common") for number in range(300)] + [(f"rare {number}", "rare") for number in range(3)]
    for seed in range(8):
        splits = split_texts(write_csv(tmp_path / "m.csv", [*rows, ("rare 0", "rare"), ("one", "once")]), seed=seed)
        counts = [np.bincount(part.labels, minlength=3).tolist() for part in splits[:3]]
        assert sorted(count[2] for count in counts) == [1, 1, 2]  # "rare 0" is there twice, and both are in one part
        assert [count[1] for count in counts] == [1, 0, 0]
        common = [text for text, _ in rows[:300]]
        assert [text for text in splits.train.read() if text in common] == [
            text for text in common if expected_part(text, seed) == 0
        ]


def test_copies_are_found():
    copies = find_copies(np.array([5, 3, 5, 9, 3, 5], np.uint64))
    assert copies.rows.tolist() == [1, 4, 0, 2, 5] and copies.starts.tolist() == [0, 2]
    assert copies.differ(np.array([0, 1, 0, 0, 2, 0])).tolist() == [True, False]
    assert copies.groups(np.array([True, True]), 2) == [[0, 2], [1, 4]]
    assert copies.groups(np.array([True, False]), 9) == [[1, 4]]
    for none in ([], [1, 2, 3]):
        copies = find_copies(np.array(none, np.uint64))
        assert not len(copies.rows) and not copies.differ(np.zeros(3)).any()


# Data sets ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_csv(tmp_path_factory.mktemp("table") / "m.csv")


def load(source, **options):
    return load_texts(source, **{"batch_size": 4, "seed": 3, **options})


def texts_of(dataset):
    return [text.decode() for texts, _ in dataset for text in texts.numpy().tolist()]


def test_batches(table):
    data, splits = load(table), split_texts(table, seed=3)
    assert data.class_names == ["odd", "plain"]
    for dataset, rows in zip((data.validation, data.test), (splits.validation, splits.test), strict=True):
        assert texts_of(dataset) == rows.read()
        assert [label for _, labels in dataset for label in labels.numpy().tolist()] == rows.labels.tolist()
    assert len(data.train) == -(-len(splits.train) // 4)
    assert sorted(texts_of(data.train)) == sorted(splits.train.read())
    texts, labels = next(iter(data.train))
    assert texts.shape == (4,) and texts.dtype == "string" and labels.dtype == "int32"
    label_of = dict(ROWS)
    assert [label_of[text.decode()] for text in texts.numpy()] == [data.class_names[label] for label in labels]
    assert load(table, split=(0.8, 0.2, 0)).test is None


def test_every_epoch_has_its_own_order_and_a_new_load_has_the_same_ones(table):
    train = load(table).train
    first, second = texts_of(train), texts_of(train)
    assert first != second and sorted(first) == sorted(second)
    again = load(table).train
    assert [texts_of(again), texts_of(again)] == [first, second]


def test_the_order_of_an_epoch_is_a_function_of_seed_and_epoch(table):
    data = load(table)
    steps = len(data.train)

    def orders(seed, first, number):
        batches = iter(epochs(data.train_epoch, seed=seed, first_epoch=first))
        return [texts_of([next(batches) for _ in range(steps)]) for _ in range(number)]

    whole = orders(7, 0, 4)
    assert len({tuple(order) for order in whole}) == 4
    assert all(sorted(order) == sorted(data.rows.train.read()) for order in whole)
    assert orders(7, 2, 2) == whole[2:]
    assert texts_of(data.train_in_order) == list(data.rows.train.read())


def test_small_tables_fit_on_two_devices(table):
    """Fewer texts than a batch, and not an even number of them.

    They are numbers before the model: Keras 3.15 averages the first batch over the devices, which fails for strings.
    """
    import keras
    import tensorflow as tf

    def numbered(texts, labels):
        return tf.strings.to_hash_bucket_fast(texts, 8), labels

    data = load(table, batch_size=64, split=(0.8, 0.2, 0))
    with choose_strategy("mirrored").scope():
        model = keras.Sequential([keras.Input((), dtype="int32"), keras.layers.Embedding(8, 2)])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    train, validation = data.train.map(numbered), data.validation.map(numbered)
    history = model.fit(train, validation_data=validation, epochs=2, shuffle=False, verbose=0)
    assert np.isfinite(history.history["val_loss"]).all()


def test_memory_does_not_follow_the_length_of_the_texts(tmp_path):
    """8 MB in 400 rows: they take 25 bytes each, and the longest line a few times its length."""
    write_csv(tmp_path / "m.csv", ((f"{number} " + "word" * 5000, "ab"[number % 2]) for number in range(400)))
    split_texts(as_comma(tmp_path / "first"), seed=1)  # imports and caches
    tracemalloc.start()
    splits = split_texts(tmp_path / "m.csv", seed=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(map(len, splits[:3])) == 400 and peak < 10**6


def test_nothing_needs_tensorflow_until_there_is_a_data_set(table):
    program = (
        "import sys; from tlkit.data import split_texts, inspect_texts, fingerprint_texts; "
        f"fingerprint_texts(split_texts({str(table)!r}, seed=1)); inspect_texts({str(table)!r}); "
        "assert 'tensorflow' not in sys.modules and 'scipy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_another_text_another_fingerprint(tmp_path):
    first = fingerprint_texts(split_texts(write_csv(tmp_path / "a.csv"), seed=1))
    assert first == fingerprint_texts(split_texts(write_csv(tmp_path / "b.csv"), seed=1))
    assert first["classes"] == "odd, plain" and first["train"].split()[1] == "texts"
    for changed in (ROWS[:-1], [*ROWS[:-1], (ROWS[-1][0], "odd")], [*ROWS[:-1], ("another", "plain")]):
        assert first != fingerprint_texts(split_texts(write_csv(tmp_path / "c.csv", changed), seed=1))


def test_of_very_files_place_and_time_count(tmp_path):
    def very_files(name):
        return fingerprint_texts(split_texts(tmp_path / name, seed=1), times=True)

    write_csv(tmp_path / "a.csv"), write_csv(tmp_path / "b.csv")
    first = very_files("a.csv")
    assert very_files("a.csv") == first != very_files("b.csv")
    os.utime(tmp_path / "a.csv", (0, 0))
    assert very_files("a.csv") != first


# Without labels -----------------------------------------------------------------------------------


def unlabelled(source, **options):
    return load_unlabelled_texts(source, **{"batch_size": 4, "seed": 1, **options})


def test_texts_without_labels(tmp_path):
    source = write_csv(tmp_path / "m.csv", [(text,) for text, _ in ROWS], ("text",))
    target = unlabelled(source, class_names=["odd", "plain"])
    train = [text.decode() for texts in target.train for text in texts.numpy()]
    held_out = [text.decode() for texts in target.held_out for text in texts.numpy()]
    assert sorted(train + held_out) == sorted(text for text, _ in ROWS) and held_out == target.rows.test.read()
    assert 5 <= len(held_out) <= 19  # 12 expected; four standard deviations, sqrt(40 * .3 * .7) = 2.9, below
    assert target.labelled is None and next(iter(target.train)).shape == (4,)
    chained = epochs(target.train_epoch, seed=1).take(len(target.train))
    assert sorted(text.decode() for texts in chained for text in texts.numpy()) == sorted(train)
    # Labels have no say in the parts.
    assert unlabelled(write_csv(tmp_path / "l.csv")).rows.test.read() == held_out


def test_labels_are_there_to_judge_by(tmp_path):
    write_csv(tmp_path / "t" / "train.csv", [(text,) for text, _ in ROWS[:30]], ("text",))
    write_csv(tmp_path / "t" / "test.csv", ROWS[30:])
    target = unlabelled(tmp_path / "t", class_names=["odd", "plain", "other"])
    assert [label for _, labels in target.labelled for label in labels.numpy()] == [1] * 10
    assert set(target.rows.train.labels.tolist()) == {-1} and target.rows.class_names == ["odd", "plain", "other"]
    assert target.train.element_spec.shape.rank == 1  # no labels beside them
    write_csv(tmp_path / "t" / "test.csv", [*ROWS[30:], ("who knows", "")])
    assert unlabelled(tmp_path / "t", class_names=["odd", "plain"]).labelled is None
    files = as_text_files(tmp_path / "files")
    (files / "loose.txt").write_text("at the top")
    known = unlabelled(files, class_names=["odd", "plain"]).rows
    labels = {
        text: label for rows in (known.train, known.test) for text, label in zip(rows.read(), rows.labels, strict=True)
    }
    assert labels == {text: ["odd", "plain"].index(name) for text, name in ROWS} | {"at the top": -1}


# Sample data --------------------------------------------------------------------------------------


def test_sample_messages(tmp_path):
    write_sample_texts(tmp_path / "a")
    write_sample_texts(tmp_path / "b")
    write_sample_texts(tmp_path / "c", seed=1)
    content_of = [(tmp_path / name / "messages.csv").read_bytes() for name in "abc"]
    assert content_of[0] == content_of[1] != content_of[2]
    splits = split_texts(tmp_path / "a", seed=0)
    assert len(splits.class_names) == 6
    assert np.bincount(splits.test.labels).tolist() == [24] * 6
    assert (np.bincount(splits.train.labels) + np.bincount(splits.validation.labels)).tolist() == [36] * 6
    assert len({*splits.train.hashes.tolist(), *splits.validation.hashes.tolist(), *splits.test.hashes.tolist()}) == 360
    classes_of = {}
    for text, name in content(splits):
        for word in set(text.lower().split()):
            classes_of.setdefault(word, []).append(name)
    # No word that only one intent has is in more than a quarter of its messages: there is no keyword to learn.
    assert max(len(names) for names in classes_of.values() if len(set(names)) == 1) <= 15


def test_sample_domains(tmp_path):
    write_sample_text_domains(tmp_path / "source", tmp_path / "target")
    names = split_texts(tmp_path / "source", seed=0).class_names
    target = unlabelled(tmp_path / "target", class_names=names)
    assert (len(target.rows.train), len(target.rows.test)) == (144, 96)
    assert np.bincount(target.rows.test.labels).tolist() == [16] * 6
    assert (tmp_path / "target" / "train.csv").read_text(encoding="utf-8").startswith("text\n")
    assert not set(target.rows.train.hashes.tolist()) & set(target.rows.test.hashes.tolist())
