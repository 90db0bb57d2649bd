"""Backbones ranked on sample data: what is counted, what is kept, and what the command says."""

import csv
import math
import re

import keras
import numpy as np
import pytest
import saved_models
import tensorflow as tf
from sklearn.neighbors import NearestCentroid
from typer.testing import CliRunner

import tlkit
from tlkit import cli
from tlkit.cli import rank as rank_command
from tlkit.data import write_sample_images, write_sample_texts
from tlkit.evaluation import plot_backbones
from tlkit.evaluation.classification_metrics import wilson_interval
from tlkit.features import list_features
from tlkit.ranking import ImageExamples, RankedBackbone, TextExamples, rank_backbones, without_training


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "photos"
    write_sample_images(folder)
    return folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts") / "texts"
    write_sample_texts(folder)
    return folder


def load(handle):
    """ "random" stands for a backbone that has learned nothing."""
    if handle == "random":
        return tlkit.load_backbone("tlkit:mini-image", weights="random")
    return tlkit.load_backbone(handle)


@pytest.mark.filterwarnings("ignore:self.within_class_std_dev_")
def test_what_was_learned_comes_first(photos, tmp_path):
    examples = ImageExamples(photos, seed=1)
    said = []
    handles = ["random", "tlkit:mini-text", "nothing/here", "tlkit:mini-image", "random"]
    ranked = rank_backbones(handles, examples, folder=tmp_path, load=load, say=said.append)
    assert [one.handle for one in said] == ["random", "tlkit:mini-text", "nothing/here", "tlkit:mini-image"]
    assert [one.handle for one in ranked] == ["tlkit:mini-image", "random", "tlkit:mini-text", "nothing/here"]
    best, other, wrong_kind, missing = ranked
    assert best.accuracy > other.accuracy + 0.2 and best.log_me > other.log_me
    assert wrong_kind.failure == "'tlkit:mini-text' takes texts, the examples are images."
    assert "'nothing/here' is not a SavedModel" in missing.failure and math.isnan(missing.accuracy)

    train, validation = examples.parts(128)
    backbone = tlkit.load_backbone("tlkit:mini-image")
    features = [np.concatenate([backbone(x) for x, _ in part.batches]) for part in (train, validation)]
    right = NearestCentroid().fit(features[0], train.labels).predict(features[1]) == validation.labels
    assert best.in_ten_seconds == pytest.approx(right.mean())
    num_right = round(best.accuracy * len(validation.labels))
    assert best.interval == wilson_interval(num_right, len(validation.labels))
    assert (best.num_weights, best.num_features, best.image_size) == (backbone.count_params(), 320, 128)


def test_features_are_kept(photos, tmp_path, monkeypatch):
    """The second time nothing runs but the timing; other examples are other features."""
    examples = ImageExamples(photos, seed=1)
    (first,) = rank_backbones(["tlkit:mini-image"], examples, folder=tmp_path)
    kept = {store.folder for store in list_features(tmp_path)}
    assert len(kept) == 2  # training and validation
    (again,) = rank_backbones(["tlkit:mini-image"], examples, folder=tmp_path)
    same = {"milliseconds": 0, "leep": 0}  # the latter is NaN, which equals nothing
    assert again._replace(**same) == first._replace(**same)
    assert {store.folder for store in list_features(tmp_path)} == kept
    fewer = ImageExamples(photos, seed=1, most=20)
    assert fewer.num_examples == (20, 20) and [len(part.labels) for part in fewer.parts(64)] == [20, 20]
    rank_backbones(["tlkit:mini-image"], fewer, folder=tmp_path)
    assert len(list_features(tmp_path)) == 4


def test_texts(texts, tmp_path):
    examples = TextExamples(texts, most=100)
    (found,) = rank_backbones(["tlkit:mini-text"], examples, folder=tmp_path)
    assert found.accuracy > 0.3  # of six classes
    assert found.image_size is None and found.num_features == 768
    train, validation = examples.parts()
    assert len(train.labels) == 100 and 0 < len(validation.labels) <= 100
    with pytest.raises(tlkit.UserError, match="no handle was given"):
        rank_backbones([], examples)


def test_leep_of_a_classifier(photos, tmp_path):
    """The probabilities of its own classes against ours, by a loop over the definition."""
    folder = tmp_path / "a-classification" / "1"
    saved_models.save_image_model(folder)
    examples = ImageExamples(photos, most=60)
    (found,) = rank_backbones([str(folder)], examples, folder=tmp_path / "cache")
    train, _ = examples.parts(found.image_size)
    backbone = tlkit.load_backbone(folder)
    logits = np.concatenate([backbone(x) for x, _ in train.batches]).astype(float)
    said = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    number = len(train.labels)
    likelihoods = []
    for row, label in zip(said, train.labels, strict=True):
        total = 0.0
        for z in range(said.shape[1]):
            joint = sum(said[i, z] for i in range(number) if train.labels[i] == label) / number
            total += joint / (said[:, z].sum() / number) * row[z]
        likelihoods.append(total)
    assert found.leep == pytest.approx(np.mean(np.log(likelihoods)), rel=1e-5)
    (plain,) = rank_backbones(["tlkit:mini-image"], examples, folder=tmp_path / "cache")
    assert math.isnan(plain.leep)


def test_a_picture_names_what_tells_backbones_apart():
    hub = "https://tfhub.dev/google/imagenet/mobilenet_v2_100_224"
    handles = [f"{hub}/feature_vector/5", "models/mine/saved_model/", "tlkit:mini-image"]
    ranked = [RankedBackbone(handle, accuracy=0.8, interval=(0.7, 0.9), milliseconds=2.0) for handle in handles]
    versioned, *others = [text.get_text() for text in plot_backbones(ranked).axes[0].texts]
    assert others == ["mine", "tlkit:mini-image"]
    assert re.fullmatch(r"mobilenet_v2.*…?.*eature_vector/5", versioned)


def command(*arguments):
    return CliRunner().invoke(cli.app, ["backbones", *map(str, arguments)], prog_name="tlkit")


def test_the_command(texts, tmp_path, monkeypatch):
    monkeypatch.setenv("TLKIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(rank_command, "where_cached", lambda handle: handle if handle.startswith("tlkit:") else None)
    result = command("--rank", "--data", texts, "--also", "tlkit:mini-image", "--to", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert re.search(r"2 backbones on \d+ training and \d+ validation texts of 6 classes", result.output)
    assert "LEEP" not in result.output  # no classifier is among them
    assert "tlkit:mini-image: left out. 'tlkit:mini-image' takes images, the examples are texts." in result.output
    assert re.search(r"^tlkit:mini-text: \d\d\.\d%$", result.output, re.M)
    assert f"tlkit new text-classifier NAME --data {texts} --backbone tlkit:mini-text" in result.output
    with (tmp_path / "out" / "ranking.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["handle"] for row in rows] == ["tlkit:mini-text", "tlkit:mini-image"]
    assert 0 < float(rows[0]["low"]) < float(rows[0]["accuracy"]) < float(rows[0]["high"]) <= 1
    assert rows[1]["accuracy"] == "" and rows[1]["failure"]
    assert (tmp_path / "out" / "ranking.png").stat().st_size > 10_000


def test_what_the_command_refuses(tmp_path):
    for arguments, message in (
        (["--rank"], "`--rank` and `--data PATH` go together"),
        (["--data", tmp_path], "`--rank` and `--data PATH` go together"),
        (["--rank", "--data", tmp_path / "no"], "There is no file or folder"),
        (["--rank", "--data", tmp_path], "holds neither images nor texts that are known. Say which"),
    ):
        result = command(*arguments)
        assert result.exit_code == 1 and message in result.stderr


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.jpg", b"", "image"),
        ("spam/1.txt", b"", "text"),
        ("ant/a.JPG", b"", "image"),
        ("t.csv", b"File;label\n", "image"),
        ("t.csv", b"text,label\n", "text"),
        ("t.tsv", b"\xef\xbb\xbffile\tlabel\n", "image"),
        ("t.jsonl", b"{}", "text"),
    ],
)
def test_the_kind_follows_from_the_files(tmp_path, name, content, kind):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    if kind == "image":
        (tmp_path / "NOTES.txt").touch()
    (tmp_path / name).write_bytes(content)
    assert rank_command._kind_of(tmp_path) == kind


def two_clouds(count, seed):
    labels = np.arange(count) % 2
    return np.random.default_rng(seed).normal(size=(count, 2)).astype("float32") + 8 * labels[:, None], labels


def test_without_training_reads_no_more_examples_than_it_needs():
    inputs = keras.Input((2,))
    encoder = keras.Model(inputs, keras.layers.Identity()(inputs))
    read = []

    def batches():
        for seed in range(100):
            read.append(seed)
            yield two_clouds(10, seed)

    signature = (tf.TensorSpec((None, 2)), tf.TensorSpec((None,), tf.int64))
    train = tf.data.Dataset.from_generator(batches, output_signature=signature)
    test = tf.data.Dataset.from_tensors(two_clouds(40, 1000))
    found = without_training(encoder, train, test, most=25)
    assert (found.num_train, found.num_examples, found.head) == (25, 40, "ridge")
    # Clouds eight deviations apart: none of 40 on the wrong side. Wilson's lower end for 40 of 40: n / (n + z^2).
    assert found.accuracy == found.balanced_accuracy == 1.0
    assert found.accuracy_interval == pytest.approx((40 / (40 + 1.959964**2), 1.0), abs=1e-6)
    assert len(read) < 10  # three batches and what the generator read ahead


def test_without_training_says_what_is_wrong():
    inputs = keras.Input((2,))
    encoder = keras.Model(inputs, keras.layers.Identity()(inputs))
    data = tf.data.Dataset.from_tensors(two_clouds(10, 0))
    with pytest.raises(tlkit.UserError, match=r"`most` is too small. Expected at least 2. Received: most=1"):
        without_training(encoder, data, data, most=1)
    with pytest.raises(tlkit.UserError, match="a data set is empty"):
        without_training(encoder, data, data.take(0))
