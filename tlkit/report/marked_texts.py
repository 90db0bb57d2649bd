"""The texts of most_wrong.html, taken apart so that a page can show them without trusting that file."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

# As `tlkit.evaluation._marked_text` writes it: blue speaks for the class that was said, orange against it.
_STYLE = re.compile(r"background:rgba\((\d+),(\d+),(\d+),([01](?:\.\d+)?)\)")
_BLUE = ("36", "103", "179")


class Piece(NamedTuple):
    """Some of a text; its strength is above 0 where it speaks for the class that was said, below 0 against it."""

    text: str
    strength: float = 0.0


class MarkedText(NamedTuple):
    """One text, and what was said about it."""

    said: str
    is_wrong: bool
    notes: list[str]  # the true class, where the text comes from
    pieces: list[Piece]


def read_marked_texts(file: Path) -> list[MarkedText]:
    """The texts that `write_most_wrong_texts` wrote; none where there is no such file, or it is another one."""
    try:
        page = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    parser = _Parser()
    parser.feed(page)
    return parser.found


class _Parser(HTMLParser):
    """Keeps words and strengths; everything else of the file is left behind."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[MarkedText] = []
        self._place, self._strength = "", 0.0  # the class of the paragraph that is read

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "article":
            self.found.append(MarkedText("", False, [], []))
        elif tag == "p" and self.found:
            self._place = given.get("class", "").split(" ")[0]
            text = self.found[-1]
            if self._place == "said":
                self.found[-1] = text._replace(is_wrong="wrong" in given["class"])
            elif self._place == "true":
                text.notes.append("")
        elif tag == "span" and self._place == "text":
            match = _STYLE.search(given.get("style", ""))
            self._strength = 0.0 if match is None else float(match[4]) * (1 if match.groups()[:3] == _BLUE else -1)

    def handle_endtag(self, tag: str) -> None:
        if tag == "span":
            self._strength = 0.0
        elif tag in ("p", "article"):
            self._place = ""

    def handle_data(self, data: str) -> None:
        if not self.found or not self._place:
            return
        text = self.found[-1]
        if self._place == "text":
            text.pieces.append(Piece(data, self._strength))
        elif self._place == "said":
            self.found[-1] = text._replace(said=text.said + data)
        elif self._place == "true" and text.notes:
            text.notes[-1] += data
