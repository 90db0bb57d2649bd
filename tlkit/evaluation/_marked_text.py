"""A text as HTML, with coloured words."""

from __future__ import annotations

import html
from collections.abc import Sequence

FOR, AGAINST = "36,103,179", "217,115,13"  # the blue and orange of the plots, which colour-blind readers tell apart
_FULLEST = 0.55  # opacity: dark letters on white and light ones on black keep a contrast above 4.5, WCAG's level AA
_FAINTEST = 0.03  # less is not seen
_FULL_COLOUR = 1.0  # log-odds that get the full colour, or else the strongest word of the text, if that is more


def mark_words(text: str, spans: Sequence[tuple[int, int]], importances: Sequence[float]) -> str:
    """The text, escaped, each word on a background as full as it is important."""
    strongest = max([_FULL_COLOUR, *map(abs, importances)])
    parts, place = [], 0
    for (start, end), importance in zip(spans, importances, strict=True):
        parts.append(html.escape(text[place:start]))
        parts.append(mark(html.escape(text[start:end]), importance / strongest, f"{importance:+.2f}"))
        place = end
    return "".join([*parts, html.escape(text[place:])])


def mark(escaped: str, strength: float, title: str) -> str:
    """HTML on a background: blue for strengths up to 1, orange and dotted below for those down to -1."""
    opacity = _FULLEST * abs(strength)
    if opacity < _FAINTEST:
        return escaped
    style = f"background:rgba({FOR if strength > 0 else AGAINST},{opacity:.2f});border-radius:3px"
    if strength < 0:
        style += f";text-decoration:underline 2px dotted rgba({AGAINST},{min(1, 2 * opacity):.2f})"
    return f'<span style="{style}" title="{title}">{escaped}</span>'
