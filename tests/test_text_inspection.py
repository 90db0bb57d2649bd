"""The report on texts: what is counted, found, printed and saved."""

import json
import os

import pytest
from rich.console import Console

from tlkit.data import inspect_texts, split_texts

ROWS = [
    (f"{word} number {number}", name)
    for number in range(20)
    for word, name in (("parcel", "order"), ("money", "refund"))
]


@pytest.fixture(autouse=True)
def fresh_keras():
    """Nothing of Keras is used here."""


@pytest.fixture
def write(tmp_path):
    """Writes a table of these rows, of the good ones by default, and others behind them."""

    def write(*more, rows=ROWS, header="text,label", name="m.csv"):
        lines = [header, *(",".join(row) for row in rows), *more]
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
        return tmp_path / name

    return write


def found(report):
    """The findings as lines: "severity: sentence | detail | ..."."""
    return [
        " | ".join([f"{finding.severity}: {finding.sentence}", *finding.files, *finding.details])
        for finding in report.findings
    ]


def printed(report, width=110, **options):
    console = Console(width=width, record=True, file=open(os.devnull, "w"))
    with console.file:
        report.print(console, **options)
        return console.export_text()


def test_the_counts(write):
    source = write("x" * 100_000 + ",order", "שלום עולם 😀,refund")
    report = inspect_texts(source, seed=3, split=(0.6, 0.2, 0.2), sequence_length=2)
    splits = split_texts(source, seed=3, split=(0.6, 0.2, 0.2))
    assert report.parts == dict(zip(("train", "validation", "test"), map(len, splits[:3]), strict=True))
    assert report.num_texts == 42 and report.num_unusable == 0
    for label, name in enumerate(("order", "refund")):
        assert [*report.classes[name].values()] == [int((part.labels == label).sum()) for part in splits[:3]]
    # Sorted: 11; money 14 (10 x) and 15 (10 x), parcels 15 (10 x) and 16 (10 x); 100,000. The 21st and the 40th of 42.
    assert report.lengths["characters"] == {"median": 15, "95 %": 16, "longest": 100_000}
    assert report.lengths["words"] == {"median": 3, "95 %": 3, "longest": 3}
    assert report.num_cut == 41 and report.sequence_length == 2  # all but the long one have three
    assert (report.source, report.seed, report.split) == (str(source), 3, (0.6, 0.2, 0.2))
    assert found(report) == [
        "warning: 41 texts have more than 2 words: the network does not see their ends (about so many, as it counts "
        "pieces of words). Raise sequence_length where they matter; it takes more time and memory."
    ]
    assert inspect_texts(source).findings == () and inspect_texts(source).num_cut == 0


def test_a_few_that_are_cut_are_a_note(write):
    report = inspect_texts(write("one word more than that,order"), sequence_length=4)
    assert found(report)[0].startswith("note: 1 text has more than 4 words: ")


def test_copies(write):
    report = inspect_texts(
        write("PARCEL  number 3,refund", "money number 5,refund", "Money number 5,refund", "new,order")
    )
    assert found(report) == [
        "warning: 1 text is there with different labels: the model is taught both. Keep the right one. | "
        "'parcel number 3': m.csv, line 8 (order) = m.csv, line 42 (refund)",
        "note: 1 text is there more than once, and so with more weight than others. Remove the copies. | "
        "'money number 5': m.csv, line 13 = m.csv, line 43 = m.csv, line 44",
    ]


def test_copies_in_given_parts(write):
    rows = [(*row, ("train", "val", "train", "test")[number // 2 % 4]) for number, row in enumerate(ROWS)]
    report = inspect_texts(write("Parcel number 0,order,test", rows=rows, header="text,label,split"))
    assert found(report) == [
        "warning: 1 text is in more than one of the given parts train, validation and test: the model is judged on "
        "what it has learned by heart. Remove the copies. | "
        "'parcel number 0': m.csv, line 2 (train) = m.csv, line 42 (test)"
    ]


def test_groups_in_several_given_parts_are_told_too(write):
    rows = [(*row, ("train", "val")[number // 2 % 2], f"author {number // 2 % 3}") for number, row in enumerate(ROWS)]
    report = inspect_texts(write(rows=rows, header="text,label,split,group"))
    assert (
        "warning: " in found(report)[0]
        and "has texts of one group in several of its given parts (3 times)" in (found(report)[0])
    )


def test_signs_of_a_wrong_encoding_and_of_a_web_page(write):
    report = inspect_texts(
        write(
            "crÃ¨me,order",
            "itâ€™s late,order",
            "caf\ufffd,refund",
            "late<br />again &amp; again,order",
            "1 < 2 & 3,order",
        )
    )
    assert found(report) == [
        "warning: 2 texts look as if UTF-8 had been read as Windows-1252 ('Ã©' for 'é'): such letters teach nothing. "
        "Read the original again as UTF-8. | m.csv, line 42: 'crÃ¨me' | m.csv, line 43: 'itâ€™s late'",
        "warning: 1 text has the sign for a lost character (\ufffd): the encoding was wrong when they were written. "
        "Take them from the original again. | m.csv, line 44: 'caf\ufffd'",
        "note: 1 text has tags or entities of HTML ('<br />', '&amp;'), which the network takes for words. Remove them "
        "here and in what is predicted, or in neither. | m.csv, line 45: 'late<br />again &amp; again'",
    ]


def test_letters_of_real_languages_are_no_wrong_encoding(write):
    texts = ("À São Paulo, não", "ÂNGELA", "â la carte", "žluťoučký kůň", "Ärger über Öl", "C’est déjà l’été – « oui »")
    assert inspect_texts(write(*(f'"{text}",order' for text in texts))).findings == ()


def test_labels(write):
    report = inspect_texts(write("a, order", "b,Order", "c,Order"))
    assert found(report)[0].endswith(
        "1 label has spaces around the name, which are passed over (the first in m.csv, line 42)."
    )
    few = "warning: 1 class has fewer than 10 texts: too few to learn from, or to judge by."
    assert f"{few} Add texts, or leave the class out. | Order: 2" in found(report)
    assert any(
        "seems to be there under several names" in line and "'Order' and 'order'" in line for line in found(report)
    )
    assert any(
        line.startswith("warning: The class 'order' has 10 times as many texts as 'Order'") for line in found(report)
    )


def test_rows_that_cannot_be_used(write):
    report = inspect_texts(write(",order", "a,b,c", "left alone", "fine,order", "empty,"))
    assert report.num_unusable == 4 and report.num_texts == 41
    [error] = [finding for finding in report.findings if finding.severity == "error"]
    assert (
        error.sentence
        == "4 lines cannot be used: training stops there, or leaves them out with on_bad='skip' (on a command line: "
        "--on_bad skip). Mend them."
    )
    assert [detail.removeprefix(report.source).partition(".")[0] for detail in error.details] == [
        ", line 42: the text is empty",
        ", line 43: 3 cells where the first line has 2",
        ", line 44: 1 cell where the first line has 2",
        ", line 46: the label is empty",
    ]


def test_delimiters_that_the_extension_does_not_say(write):
    assert found(inspect_texts(write(name="m.tsv"))) == [
        "note: m.tsv is separated by commas, which its extension does not say. It is read so here; other programs may "
        "want to be told."
    ]


def test_print_and_save(write, tmp_path):
    report = inspect_texts(write(",order", "Parcel number 1,refund", "Money number 2,refund"), sequence_length=8)
    text = printed(report)
    assert "42 texts of 2 classes" in text and "1 line cannot be used" in text and "more than once" in text
    assert "words       median 3, 95 % 3, longest 3" in text and "0 of 42 texts (0.0%) have more than 8 words" in text
    compact = printed(report, compact=True)
    assert "more than once" not in compact and "And 1 note." in compact and "1 line cannot be used" in compact
    report.save(tmp_path / "report")
    saved = json.loads((tmp_path / "report" / "data_report.json").read_text(encoding="utf-8"))
    assert saved["num_unusable"] == 1 and saved["lengths"]["words"]["longest"] == 3
    assert [finding["severity"] for finding in saved["findings"]] == ["error", "warning", "note"]
    assert "42 texts of 2 classes" in (tmp_path / "report" / "data_report.txt").read_text(encoding="utf-8")


def test_progress_is_shown_on_standard_error_only(write, capsys):
    inspect_texts(write(), progress=True)
    assert capsys.readouterr().out == ""
