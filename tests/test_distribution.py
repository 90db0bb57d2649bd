"""Choosing a strategy."""

import pytest
import tensorflow as tf

import tlkit
from tlkit.distribution import choose_strategy


@pytest.mark.parametrize(("name", "replicas"), [("auto", 1), ("one-device", 1), ("mirrored", 2)])
def test_replicas_on_two_logical_cpus(name, replicas):
    assert choose_strategy(name).num_replicas_in_sync == replicas


def test_one_mirrored_strategy_a_process():
    """Two of them number their collective operations alike, and the second to train fails on other shapes."""
    assert choose_strategy("mirrored") is choose_strategy("mirrored")


def test_the_scope_can_be_entered():
    with choose_strategy("one-device").scope():
        assert tf.Variable(1.0).numpy() == 1.0


def test_unknown():
    with pytest.raises(tlkit.UserError, match="no strategy 'tpus'. Expected one of 'auto', 'one-device', 'mirrored'"):
        choose_strategy("tpus")
