"""Texts in tables and folders: split, load, inspect; streamed, so that they may be larger than memory."""

from tlkit.data.texts.fingerprint_texts import fingerprint_texts
from tlkit.data.texts.inspect_texts import inspect_texts
from tlkit.data.texts.iterate_rows import TextRow, iterate_rows, list_columns
from tlkit.data.texts.iterate_texts import iterate_texts
from tlkit.data.texts.load_texts import TextTable, load_texts
from tlkit.data.texts.load_unlabelled_texts import UnlabelledTexts, load_unlabelled_texts
from tlkit.data.texts.sample_texts import write_sample_text_domains, write_sample_texts
from tlkit.data.texts.split_texts import TextSplits, split_texts
from tlkit.data.texts.text_report import TextReport
from tlkit.data.texts.text_rows import TextRows
from tlkit.data.texts.write_rows import write_rows

__all__ = [
    "TextReport",
    "TextRow",
    "TextRows",
    "TextSplits",
    "TextTable",
    "UnlabelledTexts",
    "fingerprint_texts",
    "inspect_texts",
    "iterate_rows",
    "iterate_texts",
    "list_columns",
    "load_texts",
    "load_unlabelled_texts",
    "split_texts",
    "write_rows",
    "write_sample_text_domains",
    "write_sample_texts",
]
