"""Where the words of a text are."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

# Scripts that put no spaces between words: Thai, Lao, Tibetan, Myanmar, Khmer, Japanese, Chinese. Korean does.
_UNSPACED = "\u0e00-\u109f\u1780-\u17ff\u3001-\u312f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_RUNS = re.compile(f"[{_UNSPACED}]+|[^\\s{_UNSPACED}]+")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_GROUP = 2  # characters of such scripts: no longer than most of their words, so few groups hold parts of two
_LONGEST_WORD = 40  # characters; what is longer is an address, code, or of another script without spaces
_PIECE = 20  # characters of such a run
_JOINER = "\u200d"  # makes one emoji of several


def split_words(text: str) -> list[tuple[int, int]]:
    """Start and end of each word, in characters.

    Words are runs without spaces; punctuation at a word belongs to it. Scripts without spaces are cut into groups of
    two characters, runs of more than 40 characters into pieces of 20; no letter is parted from its accents.
    """
    words: list[tuple[int, int]] = []
    for run in _RUNS.finditer(text):
        start, end = run.span()
        if _IS_UNSPACED.match(text, start):
            words += _cut(text, start, end, _GROUP)
        elif end - start > _LONGEST_WORD:
            words += _cut(text, start, end, _PIECE)
        else:
            words.append((start, end))
    return words


def _cut(text: str, start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """Pieces of `size` characters, each counted with the marks that follow it."""
    count, first = 0, start
    for place in range(start, end):
        if _continues(text, place, start):
            continue
        if count == size:
            yield first, place
            first, count = place, 0
        count += 1
    yield first, end


def _continues(text: str, place: int, start: int) -> bool:
    """Whether the character belongs to the one before it: accents, vowel signs, parts and skin tones of emoji."""
    character = text[place]
    if place == start:
        return False
    is_mark = unicodedata.category(character)[0] == "M" or "\U0001f3fb" <= character <= "\U0001f3ff"
    return is_mark or _JOINER in (character, text[place - 1])
