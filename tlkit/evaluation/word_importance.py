"""Which words of a text speak for a class."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from tlkit.errors import UserError
from tlkit.evaluation._marked_text import mark_words
from tlkit.evaluation._words import split_words

_SMALLEST = float(np.finfo(np.float32).tiny)  # a probability of 0 counts as this: log-odds stay within +-87
_STRONGEST = 5  # words that `print` shows


@dataclasses.dataclass(frozen=True)
class WordImportance:
    """How much each word of a text speaks for a class; notebooks show it as the text with coloured words.

    Words for the class have a blue background, words against it an orange one, dotted below; the stronger, the fuller.

    Attributes:
        text: The text.
        class_number: The class that words speak for or against.
        probabilities: Of every class, given the whole text.
        spans: Start and end of each word in the text, in characters; in long texts, of several words together.
        importances: For each span, by how much the log-odds of the class fall without it.
    """

    text: str
    class_number: int
    probabilities: tuple[float, ...]
    spans: tuple[tuple[int, int], ...]
    importances: tuple[float, ...]

    @property
    def words(self) -> list[tuple[str, float]]:
        """What is in each span, and its importance."""
        pairs = zip(self.spans, self.importances, strict=True)
        return [(self.text[start:end], importance) for (start, end), importance in pairs]

    def __str__(self) -> str:
        strongest = sorted(self.words, key=lambda pair: -abs(pair[1]))[:_STRONGEST]
        shown = ", ".join(f"{word} {importance:+.2f}" for word, importance in strongest)
        return f"class {self.class_number}, {self.probabilities[self.class_number]:.1%}: {shown or 'no words'}"

    def _repr_html_(self) -> str:
        # `pre-wrap` as the text may have lines; dir="auto" as it may run from right to left.
        style = "white-space:pre-wrap;overflow-wrap:anywhere;max-height:30em;overflow:auto;text-align:start"
        return f'<div dir="auto" style="{style}">{mark_words(self.text, self.spans, self.importances)}</div>'


def word_importance(
    predict: Callable[[list[str]], np.ndarray],
    text: str,
    class_number: int | None = None,
    *,
    replacement: str = "",
    max_variants: int = 64,
    batch_size: int = 32,
    multi_label: bool = False,
) -> WordImportance:
    """Leave out one word after the other and see what becomes of a class's probability: occlusion.

        importance(w) = log_odds(text) - log_odds(text without w)
        log_odds(x)   = ln p(class | x) - ln p(any other class | x)

    Above 0 the word speaks for the class: without it, the odds are exp(importance) times smaller. In a model that adds
    up what its words count, importances are just those numbers. Occlusion asks for one word at a time: of two words
    that say the same, either alone seems to matter little.

    Words are runs without spaces; of scripts that have none, groups of two characters. A text of more words than
    `max_variants` is asked without several neighbouring words at a time.

    Args:
        predict: Function from a list of n strings to probabilities `(n, num_classes)`, such as
            `lambda texts: model.predict(tf.constant(texts), verbose=0)`.
        text: String. Spaces around a word that is left out become one.
        class_number: Int. Defaults to the likeliest class of the text.
        replacement: String. What takes the place of a word, such as the tokenizer's "[UNK]" or "[MASK]", where a
            gap would be odd to the model. Defaults to nothing.
        max_variants: Int. At most that many texts are asked about besides the text itself. 64 cover a
            sentence word by word, and keep the cost that of two batches.
        batch_size: Int. Texts a call of `predict`.
        multi_label: Whether each class has a probability of its own.

    Returns:
        A `WordImportance`.

    Raises:
        UserError: When `predict` returns no probabilities of that shape, or there is no such class.

    Example:
        >>> def predict(texts):  # 80 % spam wherever "free" is, else 20 %
        ...     spam = np.array([0.8 if "free" in text else 0.2 for text in texts])
        ...     return np.stack([1 - spam, spam], axis=1)
        >>> found = word_importance(predict, "free rings")
        >>> print(found)  # ln 4 - ln 1/4
        class 1, 80.0%: free +2.77, rings +0.00

    Reference: J. Li, W. Monroe, D. Jurafsky, 2016, "Understanding Neural Networks through Representation Erasure",
    https://arxiv.org/abs/1612.08220, with words erased. Differs from it in the score: log-odds, where the paper has the
    log-likelihood relative to that of the whole text.
    """
    if max_variants < 1 or batch_size < 1:
        raise UserError(
            f"word_importance: expected `max_variants` and `batch_size` of at least 1. Received: "
            f"max_variants={max_variants!r}, batch_size={batch_size!r}."
        )
    spans = _merge(split_words(text), max_variants)
    texts = [text, *(_without(text, span, replacement) for span in spans)]
    batches = [texts[i : i + batch_size] for i in range(0, len(texts), batch_size)]
    probabilities = np.concatenate([_checked(predict(batch), len(batch)) for batch in batches])
    if class_number is None:
        class_number = int(probabilities[0].argmax())
    if not 0 <= class_number < probabilities.shape[1]:
        raise UserError(
            f"word_importance: there is no class {class_number}. Expected a number from 0 to "
            f"{probabilities.shape[1] - 1}."
        )
    log_odds = _log_odds(probabilities, class_number, multi_label)
    return WordImportance(
        text=text,
        class_number=class_number,
        probabilities=tuple(probabilities[0].tolist()),
        spans=tuple(spans),
        importances=tuple((log_odds[0] - log_odds[1:]).tolist()),
    )


def _merge(spans: Sequence[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """Neighbouring spans together, so many that no more than `most` are left."""
    together = -(-len(spans) // most) or 1
    groups = [spans[i : i + together] for i in range(0, len(spans), together)]
    return [(group[0][0], group[-1][1]) for group in groups]


def _without(text: str, span: tuple[int, int], replacement: str) -> str:
    before, after = text[: span[0]], text[span[1] :]
    if replacement:
        return before + replacement + after
    # Else a gap of two spaces would stay, which some tokenizers see.
    return before + (after.lstrip() if not before or before[-1].isspace() else after)


def _checked(probabilities: np.ndarray, num_texts: int) -> np.ndarray:
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or len(probabilities) != num_texts or probabilities.shape[1] < 2:
        raise UserError(
            f"word_importance: `predict` returned an array of shape {probabilities.shape} for {num_texts} texts. "
            f"Expected probabilities, ({num_texts}, num_classes), of at least two classes."
        )
    if not np.isfinite(probabilities).all() or probabilities.min() < 0 or probabilities.max() > 1.05:
        raise UserError(
            "word_importance: `predict` returned values that are no probabilities. Expected numbers from 0 to 1. For "
            "logits, apply softmax first."
        )
    return probabilities


def _log_odds(probabilities: np.ndarray, class_number: int, multi_label: bool) -> np.ndarray:
    of_class = probabilities[:, class_number]
    # Summed, not 1 - p: where p is 1 to the last bit, the others still tell by how little it is not.
    others = 1 - of_class if multi_label else np.delete(probabilities, class_number, axis=1).sum(axis=1)
    return np.log(np.maximum(of_class, _SMALLEST)) - np.log(np.maximum(others, _SMALLEST))
