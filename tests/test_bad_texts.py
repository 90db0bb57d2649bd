"""Tables and folders of texts as users bring them: each gives its one clear sentence, and nothing is lost in silence.

A row of the table spoils a good file (24 messages of two intents) and says what is to be told: a refusal, or a row that
is refused and, with on_bad='skip', left out with the same words.
"""

import json
import re
import warnings
from typing import NamedTuple

import pytest

from tlkit import UserError
from tlkit.data import inspect_texts, iterate_texts, load_texts, load_unlabelled_texts, split_texts
from tlkit.data.texts import tables, text_files
from tlkit.errors import exit_on_user_error

ROWS = [row for n in range(12) for row in (f"where is number {n}", f"money back for {n}")]
GOOD = "text,label\n" + "".join(f"{text},{'refund' if number % 2 else 'order'}\n" for number, text in enumerate(ROWS))
AS_JSON = "".join(json.dumps({"text": text, "label": "ab"[number % 2]}) + "\n" for number, text in enumerate(ROWS))
CASES = []


@pytest.fixture(autouse=True)
def fresh_keras():
    """Nothing of Keras is used here."""


class Case(NamedTuple):
    """Content of a file, its name, and what is said of it, the file's folder being FOLDER."""

    content: str | bytes | dict[str, str] | None
    name: str
    sentence: str
    num_left: int | None = None  # texts that are left with on_bad="skip"; None where there is no skipping


def refused(content, sentence, name="m.csv"):
    CASES.append(Case(content, name, sentence))


def skipped(rows, sentence, name="m.csv", start=GOOD, num_left=24):
    """Rows behind the good ones, of which the first is in line 26 (CSV) or 25."""
    CASES.append(Case(start.encode() + (rows if isinstance(rows, bytes) else rows.encode()), name, sentence, num_left))


# No text ------------------------------------------------------------------------------------------

refused(
    None,
    "There is no file or folder FOLDER/m.csv: give a table (.csv, .tsv, .jsonl, .ndjson) with the columns text and "
    "label, or a folder that holds one folder of .txt files for each class.",
)
refused(b"", "FOLDER/m.csv is empty. Expected a first line such as 'text,label' and rows below it.")
refused("\n \n", "FOLDER/m.csv is empty. Expected a first line such as 'text,label' and rows below it.")
refused(
    b"PK\x03\x04" + bytes(50),
    "FOLDER/m.csv is no text but an Excel workbook or another ZIP archive: open it and save it as 'CSV UTF-8'.",
)
refused(
    b"\xd0\xcf\x11\xe0" + bytes(50),
    "FOLDER/m.xls is no text but an old Excel workbook: open it and save it as 'CSV UTF-8'.",
    "m.xls",
)
refused(
    b"PAR1" + bytes(50),
    "FOLDER/m.csv is no text but a Parquet file: write it as CSV, in pandas with read_parquet and to_csv(index=False).",
)
refused(b"\x1f\x8b" + bytes(50), "FOLDER/m.csv.gz is no text but a gzip archive: unpack it.", "m.csv.gz")
refused(
    bytes(range(256)),
    "FOLDER/m.csv is no text that can be read but a binary file (it has bytes that are zero): expected text in UTF-8.",
)
refused(
    GOOD.encode("utf-16-le"),
    "FOLDER/m.csv is no text that can be read but probably UTF-16 without its byte order mark: save it as UTF-8.",
)
refused(
    GOOD,
    "FOLDER/m.txt is none of the tables that are read (.csv, .tsv, .jsonl, .ndjson): name it .csv or .tsv if it is a "
    "table with a first line; a file that is one text belongs into a folder named by its class.",
    "m.txt",
)
refused(
    '[{"text": "a", "label": "x"}]',
    "FOLDER/m.json is none of the tables that are read (.csv, .tsv, .jsonl, .ndjson): write one JSON object in each "
    "line and name it .jsonl (pandas: to_json(orient='records', lines=True)).",
    "m.json",
)
skipped(
    "café crème,order\n".encode("cp1252"),
    "FOLDER/m.csv, line 26: the byte 0xE9 is not UTF-8. As Windows-1252 (Latin-1) it would read 'café crème'. Save the "
    "file as 'CSV UTF-8' (Excel), or convert it with iconv -f CP1252 -t UTF-8 if that reads right.",
)
skipped(
    "a cup,déca\n".encode("cp1252"),
    "FOLDER/m.csv, line 26: the byte 0xE9 is not UTF-8. As Windows-1252 (Latin-1) it would read 'déca'. Save the file "
    "as 'CSV UTF-8' (Excel), or convert it with iconv -f CP1252 -t UTF-8 if that reads right.",
)
skipped(
    b"\x81\x81,order\n",
    "FOLDER/m.csv, line 26: the byte 0x81 is not UTF-8. Save the file as 'CSV UTF-8' (Excel) or with the character set "
    "UTF-8.",
)
skipped(
    "a\0b,order\n",
    "FOLDER/m.csv, line 26: the text holds a NUL byte, which no text has. Remove the byte or the row.",
)

# Columns and cells --------------------------------------------------------------------------------

refused(
    GOOD.replace("text,label", "message,intent"),
    "FOLDER/m.csv has no column 'text' and no column 'label'. Its columns are 'message', 'intent': did you mean "
    "'message' and 'intent'? Then say text_column='message' and label_column='intent' (on a command line: "
    "--text_column message --label_column intent).",
)
refused(
    GOOD.replace("text,label", "text,lable"),
    "FOLDER/m.csv has no column 'label'. Its columns are 'text', 'lable': did you mean 'lable'? Then say "
    "label_column='lable' (on a command line: --label_column lable).",
)
refused(
    "where is it,order\n" + GOOD,
    "FOLDER/m.csv has no column 'text' and no column 'label'. Its columns are 'where is it', 'order': name those that "
    "hold the texts and the labels with text_column='NAME' and label_column='NAME' (on a command line: --text_column "
    "NAME --label_column NAME), or put a first line with the names of the columns above the rows.",
)
refused(
    GOOD.replace("text,label", "my message,kind"),
    "FOLDER/m.csv has no column 'text' and no column 'label'. Its columns are 'my message', 'kind': name those that "
    "hold the texts and the labels with text_column='NAME' and label_column='NAME' (on a command line: --text_column "
    "NAME --label_column NAME), or put a first line with the names of the columns above the rows.",
)
refused(
    "id,message,kind\n1,a,x\n",
    "FOLDER/m.csv has no column 'text' and no column 'label'. Its columns are 'id', 'message', 'kind': did you mean "
    "'message'? Then say text_column='message' and label_column='NAME' (on a command line: --text_column message "
    "--label_column NAME).",
)
refused(
    "text,what it is\na,x\n",
    "FOLDER/m.csv has no column 'label'. Its columns are 'text', 'what it is': did you mean 'what it is'? Then say "
    "label_column='what it is' (on a command line: --label_column 'what it is').",
)
refused("text,label,Text\na,b,c\n".replace("Text", "text"), "FOLDER/m.csv has two columns 'text': keep one of them.")
refused(
    GOOD.replace(",", "|"),
    "FOLDER/m.csv is separated by vertical bars (|). Expected commas, tabs or semicolons: write it with one of these, "
    "in pandas with read_csv(..., sep='|') and to_csv(index=False).",
)
refused(
    GOOD.replace("\n", "\r"),
    "FOLDER/m.csv ends its lines with a carriage return alone, as old Macs did. Save it with line ends of Unix or "
    "Windows.",
)
skipped(
    "late row;order\n",
    "FOLDER/m.csv, line 26: 1 cell where the first line has 2. Separate them by commas, as in the first line, not by "
    "semicolons.",
)
skipped(
    "a,b,order\n" * 5,
    "FOLDER/m.csv, lines 26, 27, 28 and 2 more: 3 cells where the first line has 2. Complete the row, or put a cell "
    "that holds the separator in double quotes.",
)
skipped(
    '"never closed,order\nnext,order\n',
    "FOLDER/m.csv, lines 26 and 27: not readable as CSV (unexpected end of data). Look for a double quote without its "
    "pair.",
)
skipped(
    '"Gimme" he said\torder\n',
    "FOLDER/m.tsv, line 26: not readable as CSV ('\t' expected after '\"'). Look for a double quote without its pair; "
    "where quotes are just letters, write the table anew as CSV (pandas: quoting=3 in read_csv, and to_csv).",
    "m.tsv",
    GOOD.replace(",", "\t"),
)
skipped(',order\n"  \n",refund\n', "FOLDER/m.csv, lines 26 and 27: the text is empty. Fill it in or remove it.")
skipped("hello,\n", "FOLDER/m.csv, line 26: the label is empty. Fill it in or remove the row.")

# JSON ---------------------------------------------------------------------------------------------

refused(
    '[{"text": "a"}]',
    "FOLDER/m.jsonl is a JSON array. Expected one object in each line, such as "
    '{"text": "Where is my parcel?", "label": "order"}'
    ": in pandas, read_json(...) and to_json(..., orient='records', lines=True).",
    "m.jsonl",
)
refused(
    GOOD,
    "FOLDER/m.jsonl does not begin with a JSON object in one line. Expected one such as "
    '{"text": "Where is my parcel?", "label": "order"}.',
    "m.jsonl",
)
refused(
    AS_JSON.replace("text", "body"),
    "FOLDER/m.jsonl has no column 'text'. Its columns are 'body', 'label': did you mean 'body'? Then say "
    "text_column='body' (on a command line: --text_column body).",
    "m.jsonl",
)
for line, what in {
    "{oops": "no JSON object (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)). Expected "
    "one object in each line.",
    "[1]": 'JSON, but no object. Expected one such as {"text": "Where is my parcel?", "label": "order"}.',
    '{"text": 3, "label": "a"}': "the text is a number. Expected a string in double quotes.",
    '{"label": "a"}': "the text is empty. Fill it in or remove it.",
    '{"text": "h"}': "the label is empty. Fill it in or remove the row.",
    '{"text": "h", "label": ["a", "b"]}': "the label is a list. Expected one name, a string.",
    r'{"text": "\ud83d", "label": "a"}': "half a character (a lone surrogate), which is no text. Write the text anew "
    "as UTF-8.",
}.items():
    skipped(f"{line}\n", f"FOLDER/m.jsonl, line 25: {what}", "m.jsonl", AS_JSON)

# Classes and parts --------------------------------------------------------------------------------

refused("text,label\n", "FOLDER/m.csv has no row that can be used in it. Expected texts of at least two classes.")
refused(
    GOOD.replace("refund", "order"),
    "FOLDER/m.csv has only the one class 'order' in it. Expected texts of at least two classes.",
)
refused(
    "text,label\nOne ,a\none,a\ntwo,b\n",
    "FOLDER/m.csv is too little to split: no class has a second text that differs from its first, so that nothing is "
    "left for validation. Expected at least two texts of a class.",
)
refused(
    "text,label,group\n" + "".join(f"t{number},{'xy'[number % 2]},all\n" for number in range(40)),
    "FOLDER/m.csv is too little to split: all of its rows are in one group, and rows of one group (the column 'group') "
    "stay in one part, so that nothing is left for validation. Expected at least two groups of a class; a column of "
    "something else needs another name.",
)
refused(
    "text,label,group\n" + "".join(f"t{number},{'xy'[number % 2]},{number % 2}\n" for number in range(40)),
    "FOLDER/m.csv is too little to split: no class has a second group, and rows of one group (the column 'group') "
    "stay in one part, so that nothing is left for validation. Expected at least two groups of a class; a column of "
    "something else needs another name.",
)
refused(
    "text,label\n" + "".join(f"t{number},id{number:02d}\n" for number in range(40)),
    "FOLDER/m.csv is too little to split: each of its 40 rows has a label of its own, such as 'id00', so that no class "
    "has a second text. Expected names of classes that several texts share; if another column holds them, name it with "
    "label_column.",
)
refused(
    "label,text\n" + "".join(f"t{number:02d},{'xy'[number % 2]}\n" for number in range(40)),
    "FOLDER/m.csv is too little to split: its 40 rows have 40 labels, such as 't00', and only 2 different texts. The "
    "columns seem to be swapped: 'text' was read as the texts, and 'label' as the labels. Exchange text_column and "
    "label_column.",
)
refused(
    "text,label\n" + "".join(f"t{number},l{number}\n" for number in range(10_001)),
    "FOLDER/m.csv has more than 10,000 different labels, such as 'l10000'. Expected the names of classes: name the "
    "column that holds them with label_column.",
)
refused("text,label,split\na,x,trian\n", "FOLDER/m.csv, line 2: the split 'trian' is none. Did you mean 'train'?")
refused(
    "text,label,split\na,x,train\nb,y,\n",
    "FOLDER/m.csv: the split is empty in 1 row (the first is m.csv, line 3), and not in others. Fill it in everywhere, "
    "or remove the column.",
)
refused(
    "text,label,split\na,x,test\nb,y,test\n",
    "FOLDER/m.csv has the split 'test' but no 'train'. Expected training texts, too.",
)
refused(
    "text,label,split\na,x,train\nb,y,train\nc,z,val\n",
    "FOLDER/m.csv: no text in train has 1 class name ('z'), which cannot be learned. Move some there, or remove the "
    "rows.",
)

# Folders ------------------------------------------------------------------------------------------

NO_TEXTS = "Expected a table (.csv, .tsv, .jsonl, .ndjson), or one folder of .txt files for each class."
refused({"a.pdf": ""}, f"FOLDER/m has no texts in it (1 x .pdf). {NO_TEXTS}", "m")
refused({"x/": ""}, f"FOLDER/m has no texts in it. {NO_TEXTS}", "m")
refused(
    {"1.txt": "a", "2.txt": "b"},
    "2 texts (1.txt, 2.txt) directly in FOLDER/m: expected one folder for each class with the texts inside; move each "
    "into its class folder.",
    "m",
)
refused(
    {"a.csv": GOOD, "b.csv": GOOD},
    "FOLDER/m holds 2 tables (a.csv, b.csv). Expected one, or train, val and test (train.csv ...); give the file that "
    "is meant instead of the folder.",
    "m",
)
refused(
    {"train.csv": GOOD, "more.csv": GOOD},
    "FOLDER/m holds 2 tables (more.csv, train.csv). Expected train and another part, val or test; give the file that "
    "is meant instead of the folder.",
    "m",
)
refused(
    {"train.csv": GOOD, "val.csv": GOOD, "valid.tsv": GOOD},
    "FOLDER/m has two tables for the same part (train.csv, val.csv, valid.tsv): keep one of them.",
    "m",
)
refused(
    {"test/x/1.txt": "a"},
    "FOLDER/m has test/ but no train/ in it: expected the training texts in train/.",
    "m",
)
refused(
    {"train/x/1.txt": "a", "train/y/1.txt": "b", "test/x/1.txt": "c"},
    "FOLDER/m/train has a class 'y' and FOLDER/m/test has none of that name: expected the same class folders in both.",
    "m",
)
refused(
    {"x/1.txt": "a", "x/2.txt": "b", "y/": ""},
    "The class folder FOLDER/m/y has no text in it: add .txt files or remove the folder.",
    "m",
)


def write(path, content):
    if isinstance(content, dict):
        for name, text in content.items():
            if name.endswith("/"):
                (path / name).mkdir(parents=True)
            else:
                write(path / name, text)
    elif content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence[:60])
def test_a_bad_source_is_refused_with_one_sentence(case, tmp_path):
    source = write(tmp_path / case.name, case.content)
    expected = case.sentence.replace("FOLDER", str(tmp_path))
    if case.num_left is not None:
        expected += " To leave such rows out, set on_bad='skip' (on a command line: --on_bad skip)."
    with pytest.raises(UserError) as refusal:
        split_texts(source, seed=1)
    assert str(refusal.value) == expected
    if case.num_left is None:
        with pytest.raises(UserError) as refusal, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            inspect_texts(source)
        # What is left of a source of bad rows is inspected; a source that is none is refused in the same words.
        assert str(refusal.value) == expected


@pytest.mark.parametrize("case", [case for case in CASES if case.num_left], ids=lambda case: case.sentence[:60])
def test_bad_rows_are_left_out_with_the_same_words_where_that_is_wanted(case, tmp_path):
    source = write(tmp_path / case.name, case.content)
    sentence = case.sentence.replace("FOLDER", str(tmp_path))
    with pytest.warns(UserWarning, match=re.escape(f"Left out: {sentence}")):
        splits = split_texts(source, seed=1, on_bad="skip")
    texts = [text for part in splits[:3] for text in part.read()]
    assert sorted(texts) == sorted(ROWS) and len(texts) == case.num_left
    report = inspect_texts(source)
    assert report.num_texts == case.num_left and report.findings[0].severity == "error"
    assert report.findings[0].details == (sentence.rstrip("."),)


def test_excel_is_not_spoken_of_where_a_file_is_one_text(tmp_path):
    source = write(tmp_path / "m", {f"{name}/{number}.txt": f"{name}{number}" for name in "xy" for number in range(9)})
    (source / "x" / "9.txt").write_bytes("café".encode("cp1252"))
    how = (
        "the byte 0xE9 is not UTF-8. As Windows-1252 (Latin-1) it would read 'café'. Save the file with the character "
        "set UTF-8, or convert it with iconv -f CP1252 -t UTF-8 if that reads right."
    )
    for read in (lambda: split_texts(source, seed=1), lambda: list(iterate_texts(source / "x" / "9.txt"))):
        with pytest.raises(UserError, match=re.escape(how)):
            read()


@pytest.mark.filterwarnings("ignore:Left out")
@pytest.mark.parametrize(("content", "sentence"), [
    (
        "text,label\n" + "café,order\ncrème,refund\n" * 2,
        "FOLDER/m.csv has no row that can be used in it. Expected texts of at least two classes. 4 lines were left "
        "out; FOLDER/m.csv, lines 2, 3, 4 and 1 more: the byte 0xE9 is not UTF-8. As Windows-1252 (Latin-1) it would "
        "read 'café'. Save the file as 'CSV UTF-8' (Excel), or convert it with iconv -f CP1252 -t UTF-8 if that reads "
        "right.",
    ),
    (
        'text,label\na,order\nb,order\n"c,refund\nd,refund\n',
        "FOLDER/m.csv has only the one class 'order' in it. Expected texts of at least two classes. 2 lines were left "
        "out; FOLDER/m.csv, lines 4 and 5: not readable as CSV (unexpected end of data). Look for a double quote "
        "without its pair.",
    ),
    (
        'text,label\na,order\nb,refund\nc\n',
        "FOLDER/m.csv is too little to split: each of its 2 rows has a label of its own, such as 'order', so that no "
        "class has a second text. Expected names of classes that several texts share; if another column holds them, "
        "name it with label_column. 1 line was left out; FOLDER/m.csv, line 4: 1 cell where the first line has 2. "
        "Complete the row, or put a cell that holds the separator in double quotes.",
    ),
])  # fmt: skip
def test_what_is_left_is_said_with_what_was_left_out(content, sentence, tmp_path):
    source = write(tmp_path / "m.csv", content.encode("cp1252"))
    with pytest.raises(UserError) as refusal:
        split_texts(source, seed=1, on_bad="skip")
    assert str(refusal.value) == sentence.replace("FOLDER", str(tmp_path))


def test_one_column_cannot_be_both(tmp_path):
    with pytest.raises(UserError) as refusal:
        split_texts(write(tmp_path / "m.csv", GOOD), seed=1, text_column="label")
    assert str(refusal.value) == (
        f"{tmp_path}/m.csv: the column 'label' is given both as text_column and as label_column. Expected the texts "
        "and their classes in two columns. Its columns are 'text', 'label'."
    )


def test_empty_text_files_are_named(tmp_path):
    texts = {f"{name}/{number}.txt": f"{name}{number}" for name in "xy" for number in range(9)}
    source = write(tmp_path / "m", {**texts, "x/9.txt": "", "y/8.txt": " \n"})
    sentence = f"2 files ({source}/x/9.txt, {source}/y/8.txt): the text is empty. Fill it in or remove it."
    with pytest.raises(UserError, match=f"{re.escape(sentence)} To leave such files out, set on_bad='skip' "):
        split_texts(source, seed=1)
    with pytest.warns(UserWarning, match=re.escape(f"Left out: {sentence}")):
        assert sum(map(len, split_texts(source, seed=1, on_bad="skip")[:3])) == 17
    report = inspect_texts(source)
    assert report.num_unusable == 2 and report.findings[0].sentence.startswith("2 files cannot be used: ")


# Warnings -----------------------------------------------------------------------------------------


def said(source, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        split_texts(source, **{"seed": 1, **options})
    return [str(warning.message).replace(str(source), "SOURCE") for warning in caught]


def test_labels_with_stray_spaces_and_other_cases_are_warned_about(tmp_path):
    spoilt = GOOD.replace("number 4,order", "number 4, order ").replace("number 5,order", "number 5,Order")
    assert said(write(tmp_path / "m.csv", spoilt)) == [
        "SOURCE: labels that differ only in upper and lower case or in spaces count as different classes: 'Order' "
        "(1 x) and 'order' (11 x). If they are the same, write them alike.",
        "SOURCE: 1 label has spaces around the name, which are passed over (the first in m.csv, line 10).",
    ]


def test_the_same_text_in_two_given_parts_is_warned_about(tmp_path):
    content = "text,label,split\na,x,train\nb,y,train\n A ,x,test\ne,x,val\nf,y,val\n"
    assert said(write(tmp_path / "m.csv", content)) == [
        "SOURCE: no text in test has 1 class name ('y'): not judged there.",
        "SOURCE has the same text in several of its given parts (once), so the model is judged on what it has learned "
        "by heart. Move such texts into one part; the report on the data (inspect_texts) lists them.",
    ]


def test_files_that_are_left_out_are_named(tmp_path):
    source = write(tmp_path / "m", {f"{label}/{n}.txt": f"{label}{n}" for label in "xy" for n in range(9)})
    write(source, {"readme.txt": "about", "x/scan.pdf": ""})
    assert said(source) == [
        "1 text (readme.txt) directly in SOURCE, in no class folder, left out.",
        "1 file in SOURCE left out, because texts are read from .txt files only (1 x .pdf).",
    ]
    tables = write(tmp_path / "t", {"train.csv": GOOD, "val.csv": GOOD.replace("number", "parcel"), "raw.csv": GOOD})
    assert said(tables)[0] == "1 table (raw.csv) in SOURCE left out beside those of the parts."


def test_columns_that_seem_to_be_meant_are_named(tmp_path):
    rows = "".join(f"{line},{number % 5},u{number}\n" for number, line in enumerate(GOOD.splitlines()[1:]))
    source = write(tmp_path / "m.csv", f"text,label,Subset,user\n{rows}")
    assert said(source) == [
        "SOURCE: the column 'Subset' is not used; if it is the split of each text, name it 'split'.",
        "SOURCE: the column 'user' is not used; if it is the group of each text, name it 'group'.",
    ]
    assert said(source, label_column="Subset") == [
        "SOURCE: the column 'user' is not used; if it is the group of each text, name it 'group'."
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_line_without_end_does_not_fill_the_memory(encoding, tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "LONGEST_LINE", 2**16)
    source = write(tmp_path / "m.jsonl", ("\n\n[" + " " * 2**18).encode(encoding))
    with pytest.raises(UserError, match="Expected one text in a line; a JSON array becomes lines with pandas'"):
        split_texts(source, seed=1)
    monkeypatch.setattr(tables, "LONGEST_LINE", 8)
    folder = write(tmp_path / "m", {f"{label}/{n}.txt": f"{label}{n}" for label in "xy" for n in range(9)})
    write(folder, {"x/long.txt": "123456789"})
    with pytest.raises(UserError, match="1 file .*long.txt.: longer than 0 MB, of which a network sees the beginning."):
        split_texts(folder, seed=1)


def test_a_wrong_argument(tmp_path):
    source = write(tmp_path / "m.csv", GOOD)
    with pytest.raises(UserError, match="expected `on_bad` to be 'error' or 'skip'. Received: 'ignore'."):
        split_texts(source, seed=1, on_bad="ignore")
    with pytest.raises(UserError, match=re.escape("The split (0.5, 0.6, 0) is not one")):
        load_texts(source, batch_size=4, split=(0.5, 0.6, 0), seed=1)
    with pytest.raises(UserError, match="`held_out` is no share"):
        load_unlabelled_texts(source, batch_size=4, held_out=1.0, seed=1)


def test_labels_that_the_labelled_domain_has_not(tmp_path):
    source = write(tmp_path / "m.csv", GOOD)
    with pytest.raises(UserError, match=re.escape("1 label (refund) for which the labelled texts have no class")):
        load_unlabelled_texts(source, batch_size=4, class_names=["order", "thanks"], seed=1)
    with pytest.raises(UserError, match=re.escape("has one text in it. Expected at least two that differ")):
        load_unlabelled_texts(write(tmp_path / "one.csv", "text\nhello\n"), batch_size=4, seed=1)


def test_a_file_that_changes_while_it_is_read(tmp_path, capsys):
    source = write(tmp_path / "m.csv", GOOD)
    data = load_texts(source, batch_size=4, seed=1)
    source.write_text(GOOD + "one more,order\n")
    with pytest.raises(SystemExit), exit_on_user_error():
        next(iter(data.train))
    assert capsys.readouterr().err == (
        f"Error: {source} was changed while it was in use. Expected the same file from the first look to the last "
        "batch: start again, and work on a copy of it.\n"
    )
