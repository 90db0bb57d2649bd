"""Whether texts come to the backbone as it takes them: their length and their capitals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tlkit.environment import Finding

_LOOKED_AT = 1000  # texts, evenly over the training data: a share is known to three points
_MANY_CUT = 0.1  # share of texts that are cut, from which on it is a warning; as in the inspection of texts
_NO_CAPITALS = 0.001  # share of capitals among letters; English prose has three to five in a hundred
_ALL_CAPITALS = 0.7


@dataclass(frozen=True)
class TextFacts:
    """Facts about some of the training texts, and what the backbone does with them.

    Attributes:
        handle: Of the backbone.
        num_texts: How many were looked at.
        sequence_length: Tokens that the backbone reads; None where it reads all.
        share_cut: Of the texts; None where that is not known.
        longest: Tokens of the longest text.
        lower_case: Whether the backbone makes capitals small; None where that is not known.
        share_capitals: Of the letters.
        share_empty: Texts without a letter or digit.
    """

    handle: str
    num_texts: int
    sequence_length: int | None = None
    share_cut: float | None = None
    longest: int = 0
    lower_case: bool | None = None
    share_capitals: float = 0.0
    share_empty: float = 0.0


def look_at_texts(config: Any, data: Any, model: Any) -> TextFacts:
    """Gather the facts."""
    from tlkit.errors import UserError

    backbone, rows = model.get_layer("backbone"), data.rows.train
    texts = rows.read(range(0, len(rows), max(1, len(rows) // _LOOKED_AT)))
    length, share_cut, longest = backbone.text.sequence_length, None, 0
    if length is not None:
        try:
            counts = backbone.count_tokens(texts)
            share_cut, longest = float((counts > length).mean()), int(counts.max())
        except UserError:  # some models cut texts unseen
            pass
    letters = sum(c.isalpha() for text in texts for c in text)
    capitals = sum(c.isupper() for text in texts for c in text)
    return TextFacts(
        handle=config.backbone,
        num_texts=len(texts),
        sequence_length=length,
        share_cut=share_cut,
        longest=longest,
        lower_case=backbone.text.lower_case,
        share_capitals=capitals / max(letters, 1),
        share_empty=sum(not any(c.isalnum() for c in text) for text in texts) / max(len(texts), 1),
    )


def judge_texts(facts: TextFacts, name: str) -> list[Finding]:
    """Judge them; `name` is that of the package."""
    return [*_length(facts, name), *_capitals(facts), *_empty(facts, name)]


def _length(facts: TextFacts, name: str) -> list[Finding]:
    if facts.sequence_length is None:
        return [Finding("text length", f"'{facts.handle}' reads all of a text")]
    if facts.share_cut is None:
        found = f"cut after {facts.sequence_length} tokens; '{facts.handle}' does not tell how many texts that are"
        return [Finding("text length", found)]
    found = f"{facts.share_cut:.1%} of {facts.num_texts:,} training texts are cut after {facts.sequence_length} tokens"
    if facts.share_cut <= _MANY_CUT:
        return [Finding("text length", found)]
    return [
        Finding(
            "text length",
            found,
            "warning",
            f"What stands behind that is never seen; the longest text has {facts.longest:,} tokens.",
            (f"edit {name}/config.py: sequence_length = {_rounded(facts.longest)}, or what the backbone allows",),
        )
    ]


def _rounded(length: int) -> int:
    return 32 * -(-length // 32)


def _capitals(facts: TextFacts) -> list[Finding]:
    case = {True: "lower-cases texts", False: "keeps capitals", None: ""}[facts.lower_case]
    if not case:
        return []
    found = f"'{facts.handle}' {case}; {facts.share_capitals:.1%} of the letters are capitals"
    if facts.lower_case or _NO_CAPITALS <= facts.share_capitals <= _ALL_CAPITALS:
        return [Finding("capitals", found)]
    meaning = "It was trained on texts with the usual capitals: names and beginnings of sentences look unknown to it."
    command = "tlkit backbones --text  # and take one that lower-cases, or give the texts as they were written"
    return [Finding("capitals", found, "warning", meaning, (command,))]


def _empty(facts: TextFacts, name: str) -> list[Finding]:
    if not facts.share_empty:
        return []
    return [
        Finding(
            "empty texts",
            f"{facts.share_empty:.1%} of {facts.num_texts:,} training texts have no letter and no digit",
            "warning",
            "They teach a class by nothing at all.",
            (f"edit the data that {name}/config.py names: take these rows out",),
        )
    ]
