"""Who wins the game between encoder and discriminator, said while it is played."""

from __future__ import annotations

import copy
import math
import sys
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tlkit.callbacks.adaptation_ramp import AdaptationRamp
from tlkit.callbacks.domain_game import (
    COLLAPSED,
    PRIORS_DIFFER,
    SEPARABLE,
    TOO_STRONG,
    Game,
    fresh_accuracy,
    measure,
)
from tlkit.callbacks.gradient_scales import REVERSAL, gradient_scales
from tlkit.callbacks.neighbours import neighbours
from tlkit.distribution import from_chief
from tlkit.errors import UserError
from tlkit.finetune.rate_ramp import number


class Verdict(NamedTuple):
    """What `DiscriminatorWatch` said at the end of an epoch, counted from 0.

    Attributes:
        epoch: Counted from 0.
        state: "collapsed", "too strong" or "class priors differ".
        sentence: What was printed: numbers, and what to try.
    """

    epoch: int
    state: str
    sentence: str


class DiscriminatorWatch(keras.callbacks.Callback):
    """Says once, with numbers and advice, when adversarial adaptation goes wrong, without target labels.

    The losses of such a training do not show it: a discriminator's loss of 0.69 may mean that the domains are alike or
    that it is dead. At the end of each epoch the model looks at a few kept rows of both domains. Three states are told
    when they have lasted for `patience` epochs:

        "collapsed"            the discriminator guesses (right on at most 1 / 2 + 1 / sqrt(n) of n rows, two standard
                               errors), while a fresh linear classifier on the same features is right on 0.7 or more
        "too strong"           it is right on more than 0.95, though the reversal has 0.9 of its full scale
        "class priors differ"  TV(mean prediction on target rows, source labels) > 0.2 + noise, though
                               TV(mean prediction on source rows, source labels) <= 0.1 + noise, and neither the
                               discriminator nor a fresh one is right on more than (1 + TV) / 2 + 1 / sqrt(n)
        TV = total variation, half the sum of absolute differences of the classes' shares; noise = what it is expected
        to be between two samples of so few rows from the same classes; (1 + TV) / 2 = the best that anybody can do who
        sees nothing but the classes, so that what is more comes of features that differ, and of wrong predictions

    Where both the discriminator and the fresh classifier guess, the domains are aligned, and nothing is said.

    Args:
        pairs: What `pair_domains` returns, or `tlkit.data.epochs` of it: its first batches are kept.
        rows: Int, at least 20: rows to keep, half of each domain, rounded up to whole batches. Defaults to `256`, with
            which the share of right rows is known to 0.03; of 224 px images they take 154 MB.
        patience: Int, at least 1: epochs that a state must last. Defaults to `3`: the game swings.
        verbose: 0 or 1. Whether to print the verdicts. Defaults to `1`.
        hint: String. A sentence that each verdict ends with: how your program's flags are called that the advice is
            about, for instance. Defaults to `""`.

    Attributes:
        verdicts: List of `Verdict(epoch, state, sentence)`, each state at most once in a `fit`.

    Raises:
        UserError: When the rows are no pairs, or the model has no discriminator behind a `GradientReversal`.

    Example:
        >>> from tlkit.domain import DomainLoss, build_dann, pair_domains
        >>> random = np.random.default_rng(0)
        >>> rows, classes = random.normal(size=(64, 2)).astype("float32"), random.integers(0, 2, 64)
        >>> source = tf.data.Dataset.from_tensor_slices((rows, classes))
        >>> target = tf.data.Dataset.from_tensor_slices(rows + 9)
        >>> pairs = pair_domains(source, target, global_batch_size=32)
        >>> inputs = keras.Input((2,))
        >>> model = build_dann(keras.Model(inputs, keras.layers.Dense(8)(inputs)), num_classes=2)
        >>> model.compile("sgd", {"label": "sparse_categorical_crossentropy", "domain": DomainLoss()})
        >>> watch = DiscriminatorWatch(pairs, verbose=0)
        >>> history = model.fit(pairs, epochs=2, shuffle=False, verbose=0, callbacks=[watch])
        >>> len(history.history["discriminator_accuracy"]), watch.verdicts
        (2, [])

    Notes:
        The logs of each epoch hold `discriminator_accuracy` and `class_shift` (the target's TV); list this callback
        before those that write logs. The cost is one prediction of the kept rows an epoch, on one device, and the fresh
        classifier where a verdict hangs on it. The full scale is the `maximum` of the
        `AdaptationRamp` in the same `fit`, or, without one, the scale as it is.
        Rows of the training itself are kept, in the order of the data set: shuffle it. Other priors are seen best
        while the scale is below its maximum: adaptation makes the predictions alike, be they right or wrong.

    Reference: The three pieces of advice for a discriminator that wins are those of TLlib's maintainers,
        https://github.com/thuml/Transfer-Learning-Library/issues/267. Why other priors hurt: Zhao et al., 2019, "On
        Learning Invariant Representations for Domain Adaptation", ICML, https://arxiv.org/abs/1901.09453, theorem 4.3.
        Differs from it in: total variation instead of the Jensen-Shannon distance, and predictions instead of labels.
    """

    def __init__(self, pairs: tf.data.Dataset, *, rows: int = 256, patience: int = 3, verbose: int = 1, hint: str = ""):
        super().__init__()
        for name, value, least in (("rows", rows, 20), ("patience", patience, 1)):
            if not isinstance(value, int) or value < least:
                raise UserError(
                    f"DiscriminatorWatch: `{name}` is too small. Expected a whole number of at least {least}. "
                    f"Received: {name}={value!r}."
                )
        self.patience = patience
        self.verbose = verbose
        self.hint = hint
        self.verdicts: list[Verdict] = []
        self._batches = _keep(pairs, rows)
        self._lasted: dict[str, int] = {}
        self._reader: keras.Model | None = None  # while `fit` runs: a deep-copied callback must not hold layers
        self._reversal: Any = None
        self._ramp: AdaptationRamp | None = None

    # Hooks

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.verdicts, self._lasted = [], {}
        self._reversal = gradient_scales("DiscriminatorWatch", self.model, (REVERSAL,))[0]
        self._reader = _reader(self.model, self._reversal)
        others = neighbours(self, sys._getframe()) or ()
        self._ramp = next((other for other in others if isinstance(other, AdaptationRamp)), None)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        domains, outputs, game = from_chief(self._look)
        if logs is not None:
            logs["discriminator_accuracy"], logs["class_shift"] = game.accuracy, game.target_shift
        guesses = self._lasts(COLLAPSED, game.guesses)
        classes_differ = self._lasts(PRIORS_DIFFER, game.classes_differ)
        fresh = fresh_accuracy(outputs["features"], domains) if guesses or classes_differ else 0.0
        if guesses and fresh >= SEPARABLE:
            self._say(epoch, COLLAPSED, _collapsed(game, fresh, self.patience))
        if classes_differ and game.explains(fresh):
            self._say(epoch, PRIORS_DIFFER, _priors_differ(game, self.patience))
        scale = number(self._reversal.scale)
        full = self._ramp.maximum if self._ramp is not None else scale
        if self._lasts(TOO_STRONG, scale > 0 and game.wins(scale / full)):
            after_collapse = any(verdict.state == COLLAPSED for verdict in self.verdicts)
            self._say(epoch, TOO_STRONG, _too_strong(game, scale, self.patience, after_collapse))

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._reader = self._reversal = self._ramp = None

    # What `ExactResume` keeps

    def get_state(self) -> dict[str, Any]:
        """What was said, and for how many epochs each state has lasted."""
        return {"verdicts": [tuple(verdict) for verdict in self.verdicts], "lasted": self._lasted}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from `get_state`."""
        self.verdicts, self._lasted = [Verdict(*verdict) for verdict in state["verdicts"]], state["lasted"]

    def __deepcopy__(self, memo: dict[int, Any]) -> DiscriminatorWatch:
        # KerasTuner copies callbacks: the rows, which are only read, are shared.
        fresh = copy.copy(self)
        fresh.verdicts, fresh._lasted = list(self.verdicts), dict(self._lasted)
        fresh._reader = fresh._reversal = fresh._ramp = None
        return fresh

    def _look(self) -> tuple[np.ndarray, dict[str, np.ndarray], Game]:
        read = [self._reader.predict_on_batch(x) for x, _, _ in self._batches]
        outputs = {name: np.concatenate([batch[name] for batch in read]).astype(np.float64) for name in read[0]}
        labels, domains = (np.concatenate([batch[part] for batch in self._batches]) for part in (1, 2))
        return domains, outputs, measure(domains, outputs["domain"][:, 0], labels, outputs["label"])

    def _lasts(self, state: str, holds: bool) -> bool:
        """Count the epoch; returns whether the state has lasted long enough and was not told yet."""
        self._lasted[state] = self._lasted.get(state, 0) + 1 if holds else 0
        return self._lasted[state] >= self.patience and all(verdict.state != state for verdict in self.verdicts)

    def _say(self, epoch: int, state: str, sentence: str) -> None:
        sentence = f"{sentence} {self.hint}".strip()
        self.verdicts.append(Verdict(epoch, state, sentence))
        if self.verbose:
            print(f"\nEpoch {epoch + 1}: {sentence}")


def _epochs(number: int) -> str:
    return f"{number} epoch{'s' if number > 1 else ''}"


def _collapsed(game: Game, fresh: float, patience: int) -> str:
    what = "been deceived" if game.is_deceived else "guessed"
    return (
        f"the discriminator has collapsed: for {_epochs(patience)} it has {what}, now right on {game.accuracy:.2f} of "
        f"{game.num_rows} rows (loss {game.loss:.2f}, guessing has {math.log(2):.2f}), though a fresh linear "
        f"classifier is right on {fresh:.2f} with the same features. Nothing is adapted. Give the ramp a "
        f"`warm_start`, lower its `maximum`, or let the discriminator learn faster: more hidden units, a "
        f"higher learning rate."
    )


def _too_strong(game: Game, scale: float, patience: int, after_collapse: bool) -> str:
    advice = (
        "It had collapsed before: the two do not find a balance. Begin anew with a lower learning rate, a `warm_start` "
        "and a lower `maximum`."
        if after_collapse
        else "Take BatchNorm out of the discriminator or give it dropout, raise the ramp's `maximum`, and where "
        "classes are unbalanced take `build_cdan`."
    )
    return (
        f"the discriminator is too strong: for {_epochs(patience)} it has won, now right on {game.accuracy:.2f} of "
        f"{game.num_rows} rows (loss {game.loss:.3f}) at a reversal scale of {scale:.2f}. The features stay apart. "
        f"{advice}"
    )


def _priors_differ(game: Game, patience: int) -> str:
    return (
        f"the class priors differ: for {_epochs(patience)} the classes predicted on target rows have differed from the "
        f"source's by a total variation of {game.target_shift:.2f} (chance explains {game.noise:.2f}), and little else "
        f"tells the domains apart. With features made alike, as many target rows would be given a wrong class. Take "
        f"`build_cdan` with `entropy_weighted=True` or a lower `maximum`, balance the source with "
        f"`balance_classes=True` if the target is balanced, and label a few target rows to look."
    )


def _keep(pairs: tf.data.Dataset, rows: int) -> list[tuple[Any, np.ndarray, np.ndarray]]:
    """Batches of inputs, class numbers and domains, with at least so many rows."""
    spec = pairs.element_spec
    if not isinstance(spec, tuple) or len(spec) < 2 or not isinstance(spec[1], dict) or set(spec[1]) != _TARGETS:
        raise UserError(
            "DiscriminatorWatch: `pairs` holds no pairs of domains. Expected batches (x, y, sample_weight) with y a "
            "dict of 'label' and 'domain'. Make it with `pair_domains`."
        )
    kept: list[tuple[Any, np.ndarray, np.ndarray]] = []
    for x, y, *_ in pairs:
        labels, domains = y["label"].numpy(), y["domain"].numpy().reshape(-1)
        one_hot = labels.ndim == 2 and labels.shape[1] > 1
        x = keras.tree.map_structure(lambda part: part.numpy(), x)  # not on the accelerator
        kept.append((x, labels.argmax(axis=1) if one_hot else labels.reshape(-1), domains))
        if sum(len(batch[2]) for batch in kept) >= rows:
            break
    domains = np.concatenate([batch[2] for batch in kept]) if kept else np.array([])
    if len(np.unique(domains)) < 2:
        raise UserError(
            f"DiscriminatorWatch: the first {len(domains)} rows of `pairs` are not of both domains. Expected rows of "
            f"both. Make it with `pair_domains`."
        )
    return kept


_TARGETS = {"label", "domain"}


def _reader(model: keras.Model, reversal: Any) -> keras.Model:
    """A model of the same weights that gives both outputs and what the discriminator is given."""
    outputs = getattr(model, "output", None) if getattr(model, "inputs", None) else None
    if not isinstance(outputs, dict) or not _TARGETS <= set(outputs) or outputs["domain"].shape[-1] not in (1, 2):
        raise UserError(
            f"DiscriminatorWatch: the model '{model.name}' is none with a discriminator. Expected a functional model "
            f"with the outputs 'label' and 'domain', the second one logit. Build it with `build_dann` or `build_cdan`."
        )
    return keras.Model(model.input, {**{name: outputs[name] for name in _TARGETS}, "features": reversal.input})
