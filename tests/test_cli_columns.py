"""`tlkit new text-classifier` on tables whose columns are not called text and label: asked or told."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tlkit import cli, scaffold


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scaffold.project, "install_requirement", lambda: "tlkit @ file:///somewhere/tlkit")
    rows = [f"a{number},where is it {number},order\nb{number},my money {number},refund\n" for number in range(20)]
    Path("m.csv").write_text("".join(["id,message,kind of\n", *rows]), encoding="utf-8")


@pytest.fixture
def on_a_terminal(monkeypatch):
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda self: True, raising=False)


def new(*arguments, typed=None):
    command = ["new", "text-classifier", "mail", *arguments]
    return CliRunner().invoke(cli.app, command, input=typed, prog_name="tlkit")


def columns_of_the_project():
    config = Path("mail/mail/config.py").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in config if line.startswith(("    text_column", "    label_column"))]


CHOSEN = ['text_column: str = "message"', 'label_column: str = "kind of"']


def test_a_terminal_is_asked_for_the_columns_of_the_table_it_named(on_a_terminal):
    # The table, the texts (suggested), the classes (once wrong), and then backbone, adaptation and target.
    result = new(typed="m.csv\n\nkind\nkind of\n\n\n\n")
    assert result.exit_code == 0, result.output
    for sentence in (
        "The columns of m.csv are 'id', 'message', 'kind of'.",
        "Which one holds the texts? [message]: ",
        "Which one holds the classes?: ",
        "'kind' is none of id, kind of. Did you mean 'kind of'?",
        "Found 40 texts of 2 classes.",
    ):
        assert sentence in result.output
    assert "Column of a table" not in result.output  # nothing is asked twice
    assert columns_of_the_project() == CHOSEN


def test_a_terminal_is_asked_for_the_columns_of_data_on_the_command_line(on_a_terminal):
    result = new("--data", "m.csv", typed="message\nkind of\n\n\n\n")
    assert result.exit_code == 0, result.output
    assert result.output.count("Which one holds") == 2 and "Column of a table" not in result.output
    assert columns_of_the_project() == CHOSEN


def test_a_wrong_choice_is_asked_again(on_a_terminal):
    # The number for the classes is refused, and the same table named again is asked about anew.
    result = new(typed="m.csv\nmessage\nid\nm.csv\nmessage\nkind of\n\n\n\n")
    assert result.exit_code == 0, result.output
    assert "m.csv is too little to split: each of its 40 rows has a label of its own, such as 'a0'" in result.output
    assert columns_of_the_project() == CHOSEN


def test_elsewhere_both_are_named_with_what_to_type():
    result = new("--data", "m.csv")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: m.csv has no column 'text' and no column 'label'. Its columns are 'id', 'message', 'kind of': did you "
        "mean 'message'? Then say --set text_column=message --set label_column=NAME.\n"
    )
    table = Path("m.csv")
    table.write_text(table.read_text(encoding="utf-8").replace("kind of", "category"))
    assert new("--data", "m.csv").stderr.endswith("--set text_column=message --set label_column=category.\n")
    assert new("--data", "m.csv", "--defaults").exit_code == 1
    typed = ["--set", "text_column=message", "--set", "label_column=category"]
    assert new("--data", "m.csv", *typed).exit_code == 0


def test_the_ranking_takes_the_flag_that_its_error_names():
    def rank(*columns):
        command = ["backbones", "--rank", "--data", "m.csv", *columns]
        return CliRunner().invoke(cli.app, command, prog_name="tlkit").stderr

    assert "(on a command line: --text_column message --label_column NAME)" in rank()
    for flag in ("--text_column", "--text-column"):
        assert "Error: m.csv has no column 'label'. Its columns are 'id', 'message', 'kind of': " in rank(
            flag, "message"
        )
