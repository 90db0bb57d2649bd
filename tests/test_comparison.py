"""Numbers of a comparison by hand, its words, and real trainings that are resumed."""

import dataclasses
import io
import json
import math
import re

import keras
import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from tlkit import UserError
from tlkit.domain.adaptation_comparison import AdaptationComparison
from tlkit.domain.adaptation_summary import chosen_epoch, gap_closed, paired_difference
from tlkit.domain.comparison import compare_adaptation

VALIDATOR = "target_information"


def run(method, seed, truth, information=None, source=(0.9,), distance=1.5, **scores):
    """A training whose target accuracies are given; without `information` the last epoch is chosen."""
    columns = {VALIDATOR: information or range(len(truth)), "source_score": information or range(len(truth)), **scores}
    columns |= {"target_accuracy": truth, "source_accuracy": list(source) * (len(truth) // len(source))}
    epochs = [{name: float(values[i]) for name, values in columns.items()} for i in range(len(truth))]
    return {"method": method, "seed": seed, "epochs": epochs, "a_distance": distance, "seconds": 1.0}


def comparison(*runs):
    return AdaptationComparison(runs, VALIDATOR)


def without_labels(found):
    hidden = [
        dict(r, epochs=[{k: v for k, v in e.items() if k != "target_accuracy"} for e in r["epochs"]])
        for r in found.runs
    ]
    return comparison(*hidden)


def printed(found, width=100):
    text = io.StringIO()
    found.print(Console(file=text, width=width))
    return text.getvalue()


def three(method, values, **options):
    return [run(method, seed, [0.3, value], **options) for seed, value in enumerate(values)]


HELPED = comparison(
    *three("source only", (0.5, 0.6, 0.7)), *three("cdan", (0.7, 0.8, 0.91)), *three("oracle", (0.9,) * 3)
)


def test_gap_closed_is_the_share_of_the_way_to_the_oracle():
    # Means .6, .8 and .9: (.8 - .6) / (.9 - .6) = 2/3.
    assert gap_closed({0: 0.7, 1: 0.9}, {0: 0.5, 1: 0.7}, {0: 0.9, 1: 0.9}) == pytest.approx(2 / 3)
    assert gap_closed({0: 0.5}, {0: 0.6}, {0: 0.8}) == pytest.approx(-0.5)
    assert gap_closed({0: 0.7}, {0: 0.5}, {}) is None
    assert gap_closed({0: 0.7}, {0: 0.5}, {0: 0.502}) is None  # nothing to close


def test_paired_difference_by_hand_and_as_scipy_computes_it():
    values, base = {0: 0.6, 1: 0.7, 2: 0.9}, {0: 0.5, 1: 0.6, 2: 0.7}
    found = paired_difference(values, base)
    # .1, .1, .2: mean .4 / 3; squares from it .0333^2 * 2 + .0667^2 = .00667, half of it .00333; t(.975, 2) = 4.3027.
    assert found.mean == pytest.approx(0.4 / 3)
    assert found.deviation == pytest.approx(math.sqrt(0.02 / 6))
    assert found.high - found.mean == pytest.approx(4.30265273 * math.sqrt(0.02 / 6) / math.sqrt(3))
    interval = stats.ttest_rel(list(values.values()), list(base.values())).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_paired_difference_takes_the_seeds_that_both_have():
    assert paired_difference({1: 0.7, 2: 0.9}, {0: 0.1, 1: 0.6}).values == pytest.approx((0.1,))
    assert paired_difference({1: 0.7}, {1: 0.6}).low is None
    same = paired_difference({0: 0.5, 1: 0.75}, {0: 0.25, 1: 0.5})
    assert same.low == same.high == 0.25


def test_the_epoch_is_chosen_by_the_validator_and_never_by_target_accuracy():
    adapted = run("cdan", 0, [0.9, 0.5, 0.6, 0.7], information=[1, 3, 3, math.nan])
    assert chosen_epoch(adapted, VALIDATOR) == 1  # the first of equals; what is not a number is passed over
    assert chosen_epoch(adapted, "target_snd") == 3  # a score that there is not: the last
    source = run("source only", 0, [0.9, 0.5], information=[1, 2], target_snd=[2, 1])
    assert chosen_epoch(source, "target_snd") == 1  # by `source_score`
    assert chosen_epoch(run("oracle", 0, [0.9, 0.5], information=[2, 1]), VALIDATOR) == 1
    diverged = run("cdan", 0, [0.1, 0.1], information=[math.nan, math.nan])
    assert chosen_epoch(diverged, VALIDATOR) == 1


def test_a_summary_tells_chosen_last_and_what_labels_would_have_taken():
    found = comparison(
        run("source only", 0, [0.4, 0.6]),
        run("source only", 1, [0.5, 0.6]),
        run("cdan", 0, [0.5, 0.7, 0.6], information=[1, 3, 2]),
        run("cdan", 1, [0.9, 0.8, 0.7], information=[1, 3, 2], distance=0.5),
    ).summaries["cdan"]
    assert (found.seeds, found.chosen_epochs) == ((0, 1), (1, 1))
    assert (found.chosen, found.last, found.best) == ((0.7, 0.8), (0.6, 0.7), (0.7, 0.9))
    assert found.best_epochs == (1, 0)
    assert found.a_distance == 1.0 and found.difference.mean == pytest.approx(0.15) and found.gap_closed is None


def test_choices_of_every_score():
    found = comparison(
        run("source only", 0, [0.5, 0.5]), run("cdan", 0, [0.8, 0.6], information=[1, 2], target_snd=[2, 1])
    )
    assert found.choices["cdan"] == {VALIDATOR: 0.6, "source_score": 0.6, "target_snd": 0.8, "source_accuracy": 0.8}
    assert without_labels(found).choices == {}


def verdict(found, method="cdan"):
    return " ".join(found.verdicts[method])


def test_help_is_said_with_its_interval_and_the_gap():
    assert "cdan: adaptation helped, +20.3 points of target accuracy against source only" in verdict(HELPED)
    assert "It closes 68 % of the gap" in verdict(HELPED) and "What to try" not in verdict(HELPED)  # .2033 / .3


def test_harm_is_said_aloud():
    found = comparison(*three("source only", (0.7, 0.7, 0.7)), *three("cdan", (0.5, 0.51, 0.52)))
    assert "Adaptation hurt (negative transfer), -19.0 points" in verdict(found)
    assert "Take the model that was trained on the source only." in verdict(found) and "What to try" in verdict(found)


def test_what_may_be_chance_is_said():
    found = comparison(*three("source only", (0.5, 0.6, 0.7)), *three("cdan", (0.7, 0.5, 0.7)))
    assert "higher with 1 of 3 seeds. It may be chance, for the interval holds 0" in verdict(found)
    one = comparison(run("source only", 0, [0.5]), run("cdan", 0, [0.9]))
    assert "in one run. It may be chance: train with three seeds or more." in verdict(one)


@pytest.mark.parametrize(
    ("adapted", "advice"),
    [
        (three("cdan", (0.5,) * 3, source=(0.6,)), "source accuracy fell from 90.0 % to 60.0 %: a smaller weight"),
        ([run("cdan", s, [0.6, 0.2]) for s in range(3)], "falls towards the end: fewer epochs"),
        (
            three("cdan", (0.5,) * 3, distance=0.4),
            "from 1.50 to 0.40, so the domains were brought together.*CDAN or MCC",
        ),
        ([run("cdan", s, [0.5, 0.5]) for s in range(3)], "the last epochs are the best: more epochs"),
        ([run("cdan", s, [0.51, 0.5], distance=1.45) for s in range(3)], "hardly brought together: more epochs"),
        ([run("cdan", s, [0.51, 0.5], distance=None) for s in range(3)], "a warm start, a smaller weight, a class-bal"),
    ],
)
def test_what_to_try_follows_from_what_was_seen(adapted, advice):
    found = comparison(*three("source only", (0.7, 0.7, 0.7)), *adapted)
    assert re.search(advice, verdict(found))


def test_what_a_bad_choice_costs_is_said():
    found = comparison(
        *three("source only", (0.5,) * 3), *[run("cdan", s, [0.9, 0.6 + s / 100], information=[1, 2]) for s in range(3)]
    )
    assert "Choosing the epoch by target_information costs 29.0 points" in verdict(found)


def test_without_target_labels_nothing_is_claimed():
    scores = {"target_clusters": [0.1, 0.9], "target_reverse": [0.1, 0.9]}
    worse = {"target_clusters": [0.1, 0.5], "target_reverse": [0.1, 0.5]}
    found = without_labels(comparison(*three("source only", (0.5,) * 3, **worse), *three("cdan", (0.9,) * 3, **scores)))
    assert found.measure == VALIDATOR and found.summaries["cdan"].best == ()
    sentences = verdict(found)
    assert "nobody can tell whether accuracy rose. Of 3 label-free scores 2 rate it above source only" in sentences
    assert "(target_clusters, target_reverse), 0 below." in sentences and "not a proof" in sentences
    assert "hurt" not in sentences and "helped" not in sentences
    assert "target_information, without target labels" in printed(found) and "labels*" not in printed(found)


def test_the_table_is_readable_at_eighty_columns():
    text = printed(HELPED, 80)
    assert "60.0 ± 10.0" in text and "not to be had in practice" in " ".join(text.split())
    assert all(len(line) <= 80 for line in text.splitlines())


def test_what_there_is_without_training_stands_first():
    found = AdaptationComparison(HELPED.runs, VALIDATOR, without_training=0.456)
    rows = [line.split("  ")[0].strip() for line in printed(found).splitlines()]
    assert rows.index("without training") < rows.index("source only") and "45.6" in printed(found)
    hidden = AdaptationComparison(without_labels(HELPED).runs, VALIDATOR, without_training=0.456)
    assert "without training" not in printed(hidden)  # accuracy does not stand beside another measure


def test_it_saves_what_it_prints(tmp_path):
    HELPED.save(tmp_path / "new")
    saved = json.loads((tmp_path / "new" / "adaptation.json").read_text())
    assert saved["summaries"]["cdan"]["gap_closed"] == pytest.approx(0.61 / 0.9)
    assert saved["runs"][0]["epochs"][1]["target_accuracy"] == 0.5
    assert "adaptation helped" in (tmp_path / "new" / "adaptation.txt").read_text()
    assert (tmp_path / "new" / "adaptation.png").read_bytes()[1:4] == b"PNG"
    diverged = comparison(run("source only", 0, [0.1], information=[math.nan]), run("cdan", 0, [0.1]))
    diverged.save(tmp_path)
    assert json.loads((tmp_path / "adaptation.json").read_text())["runs"][0]["epochs"][0][VALIDATOR] is None


# Real trainings -----------------------------------------------------------------------------------

random = np.random.default_rng(0)
Y = np.arange(120) % 2
X = (random.normal(size=(120, 2)) + 4 * Y[:, None]).astype("float32")
SHIFTED = X + 3
DATA = {"source_validation": (X[:40], Y[:40]), "target": SHIFTED[:40], "target_test": (SHIFTED[40:80], Y[40:80])}


class Trainer:
    """Source only sees the source, the oracle the target, and "moved" the source where the target lies."""

    def __init__(self):
        self.calls = []

    def __call__(self, method, seed, callbacks):
        self.calls.append((method, seed))
        inputs = keras.Input((2,))
        model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax", name="head")(inputs))
        model.compile(keras.optimizers.Adam(0.3), "sparse_categorical_crossentropy")
        rows = X[40:] + (0 if method == "source only" else 3)
        model.fit(rows, Y[40:], epochs=3, batch_size=8, verbose=0, callbacks=callbacks)
        return model


def compare(train, **options):
    return compare_adaptation(train, **{"methods": ["moved"], "seeds": [0, 1], "verbose": 0, **DATA, **options})


def test_a_comparison_from_training_to_words(tmp_path, capsys):
    train = Trainer()
    found = compare(train, oracle=True, verbose=1, seeds=[1])
    assert train.calls == [("source only", 1), ("moved", 1), ("oracle", 1)]
    assert found.measure == "target_accuracy" and set(found.summaries) == {"source only", "moved", "oracle"}
    assert np.mean(found.summaries["moved"].best) > np.mean(found.summaries["source only"].best) + 0.1
    assert 0 < found.summaries["moved"].a_distance <= 2
    assert len(found.runs[0]["epochs"]) == 3
    assert "moved, seed 1: target accuracy" in capsys.readouterr().out
    found.save(tmp_path)


def test_what_there_is_without_training_is_handed_on():
    assert compare(Trainer(), seeds=[0], without_training=0.25).without_training == 0.25


def test_finished_trainings_are_not_run_again(tmp_path):
    first = compare(Trainer(), folder=tmp_path, fingerprint={"rate": 0.3}, seeds=[0])
    (tmp_path / "runs" / "moved-seed0.json").unlink()  # as if killed before it
    train = Trainer()
    again = compare(train, folder=tmp_path, fingerprint={"rate": 0.3}, seeds=[0])
    assert train.calls == [("moved", 0)]
    assert [dataclasses.asdict(a) for a in again.summaries.values()] == [
        dataclasses.asdict(a) for a in first.summaries.values()
    ]
    more = Trainer()
    compare(more, folder=tmp_path, fingerprint={"rate": 0.3}, seeds=[0, 2])
    assert more.calls == [("source only", 2), ("moved", 2)]


def test_results_of_another_comparison_are_refused_and_damaged_ones_made_again(tmp_path):
    compare(Trainer(), folder=tmp_path, seeds=[0], fingerprint="a")
    with pytest.raises(UserError, match="of another comparison.*fingerprint='b', kept was 'a'. Give another `folder`"):
        compare(Trainer(), folder=tmp_path, seeds=[0], fingerprint="b")
    with pytest.raises(UserError, match="`target_test` in both or in neither"):
        compare(Trainer(), folder=tmp_path, seeds=[0], fingerprint="a", target_test=None)
    (tmp_path / "runs" / "moved-seed0.json").write_text('{"method": "mov')
    train = Trainer()
    with pytest.warns(UserWarning, match="is damaged, so 'moved' with seed 0 is trained again"):
        compare(train, folder=tmp_path, seeds=[0], fingerprint="a")
    assert train.calls == [("moved", 0)]


def test_a_comparison_without_target_labels():
    found = compare(Trainer(), target_test=None, seeds=[0])
    assert found.measure == VALIDATOR and "nobody can tell" in " ".join(found.verdicts["moved"])


def test_the_seed_is_set_before_each_training():
    drawn = []

    def train(method, seed, callbacks):
        drawn.append(np.random.random())
        return Trainer()(method, seed, callbacks)

    compare(train, seeds=[7])
    assert drawn == [np.random.RandomState(7).random_sample()] * 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"methods": "cdan"}, "`methods` is not usable. Expected a list.*Received: methods='cdan'"),
        ({"methods": ["source only"]}, "which is always trained"),
        ({"methods": ["oracle"]}, "for which there is `oracle=True`"),
        ({"methods": ["cdan+e", "cdan e"]}, "differ in their letters and digits"),
        ({"seeds": [1, 1]}, "Expected different whole numbers from 0. Received: seeds=.1, 1.. Three are `range"),
        ({"seeds": []}, "`seeds` is not usable"),
        ({"validator": "target_accuracy"}, "`validator` needs target labels, so it is no way to choose"),
        ({"validator": "snd"}, "there is no score of that name. Expected one of: source_accuracy"),
        ({"oracle": True, "target_test": None}, "the oracle cannot be judged"),
        ({"source_validation": X}, "`source` has no labels"),
    ],
)
def test_bad_arguments_before_any_training(options, sentence):
    train = Trainer()
    with pytest.raises(UserError, match=sentence):
        compare(train, **options)
    assert train.calls == []


def test_a_train_that_forgets_something():
    with pytest.raises(
        UserError, match="`train` gave no model for 'source only'.*NoneType. End it with `return model`"
    ):
        compare(lambda method, seed, callbacks: None)
    with pytest.raises(UserError, match=r"nothing was seen.*Write `model.fit\(..., callbacks=\[\*callbacks\]\)`"):
        compare(lambda method, seed, callbacks: Trainer()(method, seed, []))
