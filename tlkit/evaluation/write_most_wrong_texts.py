"""A page of texts with what a classifier says about them, and why."""

from __future__ import annotations

import html
import os
import string
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tlkit.errors import UserError
from tlkit.evaluation._marked_text import mark, mark_words
from tlkit.evaluation.word_importance import WordImportance, word_importance

# No script, nothing from elsewhere: the policy holds even if a text should get past the escaping.
_PAGE = string.Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Most wrong texts</title>
<style>
:root { --ink: #1f2933; --muted: #5b6773; --rule: #d9dee4; --paper: #ffffff; --wrong: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --muted: #9aa5b1; --rule: #3a434d; --paper: #15191e; --wrong: #ff8a80; }
}
body { margin: 0 auto; padding: 1rem; max-width: 46rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.3rem; margin: 0 0 .5rem; }
.key span { color: var(--ink); }
.key, .true { color: var(--muted); font-size: .9rem; }
article { border-top: 1px solid var(--rule); padding: .8rem 0; }
article p { margin: 0; }
.said { font-weight: 600; }
.wrong { color: var(--wrong); }
.text { margin-top: .4rem; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 24em; overflow: auto;
  text-align: start; }
</style>
</head>
<body>
<h1>$title</h1>
<p class="key"><span>$for_class</span> are words that speak for the class that was said: without them its odds would be
smaller. <span>$against</span> are words that speak against it. The fuller the colour, the more they count.</p>
$articles
</body>
</html>
""")


def write_most_wrong_texts(
    file: str | os.PathLike[str],
    texts: Sequence[str],
    labels: Sequence[int] | np.ndarray,
    class_names: Sequence[str],
    *,
    predict: Callable[[list[str]], np.ndarray],
    places: Sequence[str] | None = None,
) -> list[WordImportance]:
    """Write a page of HTML with each text's true class, the class said, and its words coloured by their importance.

    One file that needs nothing else, no script and no network; readable on a phone, in light and dark. What stands in
    a text is shown as it is, HTML too, from right to left where its language runs so.

    Args:
        file: Where to write; an old file is replaced.
        texts: Those to show, in that order: `most_wrong` finds them.
        labels: `(len(texts),)`, their true class numbers.
        class_names: Class names by number.
        predict: As in `word_importance`, which asks it about each text up to 65 times.
        places: Where each text comes from, such as "messages.csv, line 12", as `TextRows.places` says it. Defaults to
            `None`: that is not shown.

    Returns:
        The importances for each text, which notebooks show.

    Raises:
        UserError: When there are not as many labels or places as texts, or `predict` returns no probabilities of these
            classes.

    Example:
        >>> def predict(texts):
        ...     spam = np.array([0.8 if "free" in text else 0.2 for text in texts])
        ...     return np.stack([1 - spam, spam], axis=1)
        >>> found = write_most_wrong_texts("wrong.html", ["free at <last>"], [0], ["ham", "spam"], predict=predict)
        >>> print(found[0])
        class 1, 80.0%: free +2.77, at +0.00, <last> +0.00
    """
    labels = np.asarray(labels)
    if labels.shape != (len(texts),):
        raise UserError(
            f"write_most_wrong_texts: expected one label for each of the {len(texts)} texts. Received: `labels` of "
            f"shape {labels.shape}."
        )
    places = [""] * len(texts) if places is None else list(places)
    if len(places) != len(texts):
        raise UserError(
            f"write_most_wrong_texts: expected one place for each of the {len(texts)} texts. Received: {len(places)} "
            "`places`."
        )
    importances = [word_importance(predict, text) for text in texts]
    for found in importances[:1]:
        if len(found.probabilities) != len(class_names):
            raise UserError(
                f"write_most_wrong_texts: `predict` knows {len(found.probabilities)} classes. Expected one for each of "
                f"the {len(class_names)} `class_names`."
            )
    articles = [
        _article(found, int(label), class_names, place)
        for found, label, place in zip(importances, labels, places, strict=True)
    ]
    num_wrong = sum(found.class_number != label for found, label in zip(importances, labels, strict=True))
    page = _PAGE.substitute(
        title=f"{num_wrong} of these {len(texts)} texts are misjudged" if len(texts) else "No texts",
        for_class=mark("Blue", 1, "above 0"),
        against=mark("Orange and dotted", -1, "below 0"),
        articles="\n".join(articles),
    )
    # Half a pair of surrogates, as damaged files give them, has no form in UTF-8: a question mark instead.
    Path(file).write_bytes(page.encode("utf-8", errors="replace"))
    return importances


def _article(found: WordImportance, label: int, class_names: Sequence[str], place: str) -> str:
    said, truth = (
        f"<bdi>{html.escape(class_names[number])}</bdi> {found.probabilities[number]:.1%}"
        for number in (found.class_number, label)
    )
    if found.class_number == label:
        lines = f'<p class="said">rightly {said}</p>'
    else:
        lines = f'<p class="said wrong">said {said}</p>\n<p class="true">true: {truth}</p>'
    if place:
        lines += f'\n<p class="true"><bdi>{html.escape(place)}</bdi></p>'
    text = mark_words(found.text, found.spans, found.importances)
    if not found.text.strip():
        text = '<span class="true">(no words)</span>'
    # tabindex: so that the keyboard can scroll a long text.
    return f'<article>\n{lines}\n<p class="text" dir="auto" tabindex="0">{text}</p>\n</article>'
