"""The scripts that make `tlkit:mini-text`: what they read, and that the network is what its card says."""

import pathlib
import sys

import numpy as np
import pytest
import tensorflow as tf

sys.path.append(str(pathlib.Path(__file__).parents[1] / "tools"))
from mini_text_corpus import OPINIONS, THINGS, compose, read_books
from mini_text_model import MiniText

CHAPTER = """<?xml version="1.0" encoding="utf-8"?>
<html><head><title>II: A Title</title></head><body><section><hgroup><p>II</p></hgroup>
<p>Not a word of <abbr epub:type="z3998:name-title">Mr.</abbr> Foote’s is <i>dull</i>, I think. “Is it
\tso?” he asked me. No. It &amp; they are.</p>
<p>Far too short.</p></section></body></html>"""


def test_a_book_is_its_sentences_of_4_to_40_words(tmp_path):
    folder = tmp_path / "a-book"
    folder.mkdir()
    (folder / "chapter-1.xhtml").write_text(CHAPTER, encoding="utf-8")
    (folder / "chapter-2.xhtml").write_text(f"<p>{'word ' * 40}long.</p><p>{'word ' * 39}fits.</p>", encoding="utf-8")
    (folder / "colophon.xhtml").write_text("<p>This page is about the edition.</p>", encoding="utf-8")
    assert read_books(tmp_path) == [
        "Not a word of Mr Foote’s is dull, I think.",
        "Is it so?” he asked me.",
        "It & they are.",
        f"{'word ' * 39}fits.",
    ]


def test_what_is_composed_has_no_open_slot():
    lemmas = {"noun": ["ending"], "verb": ["love"], "adj": ["odd"], "adv": ["very"], "names": ["Ann"]}
    texts = compose(OPINIONS, lemmas, ["ending", "love", "odd", "very"], 200, np.random.default_rng(0))
    assert len(texts) == 200
    assert not any("{" in text for text in texts)
    assert sum(any(thing in text for thing in THINGS) for text in texts) > 100
    assert any("an odd" in text for text in texts)
    assert "not odd, just odd" in texts


@pytest.mark.parametrize("radius", [0, 1, 2])
def test_the_layer_sees_the_neighbours_in_its_own_text(radius):
    """By a loop over the definition: mean and maximum of the units, and the mean of the words."""
    words = ["one", "two", "three", "four"]
    network = MiniText(words, num_buckets=1, dim=3, hidden=5, radius=radius, seed=0)
    network.bias.assign([0.1, -0.1, 0.2, 0.0, 0.3])
    table, kernel, bias = network.embedding.numpy(), network.kernel.numpy(), network.bias.numpy()
    texts = ["one two three four", "", "two", "four one", ""]
    expected = []
    for text in texts:
        vectors = [table[words.index(word)] for word in text.split()]
        padded = [np.zeros(3)] * radius + vectors + [np.zeros(3)] * radius
        windows = [np.concatenate(padded[i : i + 2 * radius + 1]) for i in range(len(vectors))]
        units = np.array([np.maximum(window @ kernel + bias, 0) for window in windows])
        empty = not vectors
        expected.append(np.zeros(13) if empty else np.concatenate([units.mean(0), units.max(0), np.mean(vectors, 0)]))
    np.testing.assert_allclose(network.features(tf.constant(texts)), expected, rtol=1e-5, atol=1e-6)
