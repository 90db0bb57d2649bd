"""Rows with all of their columns, read one after the other, and tables that are written whole or not at all."""

import re

import pytest

from tlkit import UserError
from tlkit.data import TextRow, iterate_rows, iterate_texts, list_columns, write_rows


def test_every_cell_comes_by_its_column(tmp_path):
    table = tmp_path / "m.csv"
    table.write_text('id;Text;note;note\n1;"one; two";a;b\n\n2;three;;"c\nd"\n', encoding="utf-8")
    assert list_columns(table) == ["id", "Text", "note", "note.1"]
    assert list(iterate_rows(table)) == [
        TextRow("one; two", {"id": "1", "Text": "one; two", "note": "a", "note.1": "b"}),
        TextRow("three", {"id": "2", "Text": "three", "note": "", "note.1": "c\nd"}),
    ]
    assert list(iterate_texts(table)) == ["one; two", "three"]


def test_json_lines_have_every_key_of_any_line(tmp_path):
    table = tmp_path / "m.jsonl"
    table.write_text('{"text": "a", "n": 4.5}\n{"text": null, "tags": ["x", "y"]}\n', encoding="utf-8")
    assert list_columns(table) == ["text", "n", "tags"]
    assert list(iterate_rows(table)) == [
        TextRow("a", {"text": "a", "n": "4.5"}),
        TextRow("", {"text": "", "tags": '["x", "y"]'}),
    ]


def test_a_text_file_has_one_column(tmp_path):
    (tmp_path / "letter.txt").write_text("two\nlines", encoding="utf-8")
    assert list_columns(tmp_path / "letter.txt", text_column="body") == ["body"]
    assert list(iterate_rows(tmp_path / "letter.txt", text_column="body")) == [
        TextRow("two\nlines", {"body": "two\nlines"})
    ]


def test_nothing_is_said_of_labels_where_there_is_no_file(tmp_path):
    with pytest.raises(UserError) as refusal:
        next(iterate_texts(tmp_path / "none.txt", text_column="body"))
    assert str(refusal.value) == (
        f"There is no file or folder {tmp_path}/none.txt: give a .txt file, which is one text, a table (.csv, .tsv, "
        ".jsonl, .ndjson) with the column 'body', or a folder of these."
    )


def test_a_table_is_written(tmp_path):
    rows = [{"text": 'a, "b"\nc', "predicted": "x"}, {"predicted": "y"}]
    assert write_rows(tmp_path / "said.csv", ["text", "predicted"], rows) == 2
    assert (tmp_path / "said.csv").read_bytes() == b'text,predicted\n"a, ""b""\nc",x\n,y\n'


def test_a_table_is_written_whole_or_not_at_all(tmp_path):
    def rows():
        yield {"text": "new"}
        yield {"text": "caf\udce9"}

    (tmp_path / "said.csv").write_text("old", encoding="utf-8")
    with pytest.raises(UserError, match=re.escape("Row 2, in the column 'text': the byte 0xE9 is not UTF-8.")):
        write_rows(tmp_path / "said.csv", ["text"], rows())
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("said.csv", "old")]


@pytest.mark.parametrize(("name", "columns", "sentence"), [
    ("said.xlsx", ["text"], "is no name for a CSV table. Expected one that ends in .csv."),
    ("none/said.csv", ["text"], "to write said.csv into: make it."),
    ("said.csv", ["text", "predicted", "predicted"], "would have two columns 'predicted'. Expected names that differ"),
    ("folder.csv", ["text"], "cannot be written: Is a directory. Expected a name on a disk with room, "),
])  # fmt: skip
def test_a_table_that_cannot_be_written(name, columns, sentence, tmp_path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UserError, match=re.escape(sentence)):
        write_rows(tmp_path / name, columns, [{"text": "a"}])
