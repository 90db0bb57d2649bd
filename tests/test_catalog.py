"""The catalogue: complete, well-formed, and right about every network that can be built here without a network.

What the public pages say cannot be asked here; every entry names the page it was read on.
"""

import dataclasses
import inspect
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.applications import imagenet_utils
from keras.src.utils import file_utils

import tlkit
from tlkit.backbones.catalog import CatalogEntry, find, load_catalog, most_similar

ENTRIES = list(load_catalog().values())
LICENCES = {"Apache-2.0", "MIT", "BSD", "BSD-3-Clause", "CC-BY-4.0", None}
KERAS = {entry.handle.removeprefix("keras:"): entry for entry in ENTRIES if entry.handle.startswith("keras:")}
# Built by `make test` too; the others take minutes together.
QUICK = ["MobileNetV2", "ResNet50", "VGG16"]


def handle_of(entry: CatalogEntry) -> str:
    return entry.handle


# The file -----------------------------------------------------------------------------------------


def test_every_entry_is_well_formed():
    for entry in ENTRIES:
        assert entry.kind in {"image", "text"}, entry
        assert entry.licence in LICENCES, entry
        assert "{" not in "".join(value for value in dataclasses.astuple(entry) if isinstance(value, str)), entry
        assert all(n is None or n > 0 for n in (entry.size, entry.features, entry.weights, entry.stages)), entry
        assert entry.top1 is None or 40 < entry.top1 < 100, entry
        if entry.kind == "image":
            assert entry.languages is entry.preprocessor is entry.needs is None, entry
            assert entry.input_range in {(0, 1), (-1, 1), (0, 255), None}, entry
        else:
            assert entry.size is entry.any_size is entry.input_range is entry.top1 is None, entry
            assert entry.languages, entry
            assert entry.preprocessor is None or entry.needs == "tensorflow-text", entry


def test_every_fact_has_a_page():
    fields = {field.name for field in dataclasses.fields(CatalogEntry)}
    for entry in ENTRIES:
        assert entry.sources.keys() <= fields, entry
        assert all(page.startswith("https://") for page in entry.sources.values()), entry
        assert entry.source.startswith("https://") or entry.handle.startswith("tlkit:"), entry


def test_the_page_of_a_hub_model_is_that_of_the_same_model_and_version():
    kaggle = r"https://www\.kaggle\.com/models/[\w-]+/[\w-]+/frameworks/tensorFlow2/variations/[\w-]+/versions/\d+"
    for entry in ENTRIES:
        if entry.handle.startswith("https:"):
            page = entry.source.removeprefix("https://github.com/tensorflow/tfhub.dev/blob/master/assets/docs/")
            path = page.removesuffix(".md").replace("/models/", "/", 1)
            assert f"https://tfhub.dev/{path}" == entry.handle
            # Google's pages name no licence: TF-Hub's default holds, and where that is said must be named.
            assert "licence" in entry.sources or path.startswith("sayakpaul/"), entry
            assert entry.kaggle is None or re.fullmatch(kaggle, entry.kaggle), entry


def test_no_handle_stands_twice():
    addresses = [entry.handle for entry in ENTRIES] + [entry.kaggle for entry in ENTRIES if entry.kaggle]
    assert len(load_catalog()) == len(ENTRIES) == len({entry.handle for entry in ENTRIES})
    assert len(addresses) == len(set(map(str.lower, addresses)))


def test_an_entry_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ENTRIES[0].features = 1


def test_two_stages_are_recommended_where_their_number_is_known():
    entry = CatalogEntry(handle="x", kind="image", source="https://x")
    assert entry.stages_to_open is None
    assert dataclasses.replace(entry, stages=5).stages_to_open == 2
    assert dataclasses.replace(entry, stages=1).stages_to_open == 1


# Looking up ---------------------------------------------------------------------------------------

MOBILENET = "https://tfhub.dev/google/imagenet/mobilenet_v2_100_224/feature_vector/5"


@pytest.mark.parametrize(
    "handle",
    [
        MOBILENET,
        f"{MOBILENET}/",
        f"{MOBILENET}?tf-hub-format=compressed",
        "https://www.kaggle.com/models/google/mobilenet-v2/frameworks/tensorFlow2/variations/100-224-feature-vector/versions/2",
        "https://www.kaggle.com/models/google/mobilenet-v2/tensorFlow2/100-224-feature-vector/2?tfhub-redirect=true",
        "https://kaggle.com/models/google/mobilenet-v2/TensorFlow2/100-224-feature-vector/2",
    ],
)
def test_a_model_is_found_by_all_its_addresses(handle: str):
    assert find(handle).handle == MOBILENET


@pytest.mark.parametrize("handle", ["", "mobilenet", MOBILENET.replace("/5", "/4"), "keras:", "/tmp", "tlkit:maxi"])
def test_what_is_not_in_the_catalogue_is_not_found(handle: str):
    assert find(handle) is None


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("keras:EffcientNetV2B0", "keras:EfficientNetV2B0"),
        ("resnet50", "keras:ResNet50"),
        ("tlkit:mini_image", "tlkit:mini-image"),
        ("mini-image", "tlkit:mini-image"),
        ("tfhub.dev/google/nnlm-en-dim50/1", "https://tfhub.dev/google/nnlm-en-dim50/2"),
        ("photos", None),
    ],
)
def test_the_handle_that_was_meant(typed: str, meant: str | None):
    assert most_similar(typed) == meant


# keras.applications -------------------------------------------------------------------------------


def networks() -> dict:
    """Name -> function, of all there are in this version of Keras."""
    functions = inspect.getmembers(keras.applications, inspect.isfunction)
    return {name: build for name, build in functions if "include_top" in inspect.signature(build).parameters}


def test_every_network_of_keras_has_an_entry():
    assert KERAS.keys() == networks().keys()


def test_the_size_a_network_was_made_for(monkeypatch):
    class Asked(Exception):
        pass

    def obtain_input_shape(input_shape, default_size, **options):
        raise Asked(default_size)

    monkeypatch.setattr(imagenet_utils, "obtain_input_shape", obtain_input_shape)
    for name, entry in KERAS.items():
        if not name.startswith("MobileNetV3"):  # takes any size by default; its page names 224
            with pytest.raises(Asked) as asked:
                networks()[name](weights=None)
            assert asked.value.args == (entry.size,), name


# Mode -> what black and white become.
PIXELS = {
    "inside": ([0, 0, 0], [255, 255, 255]),
    "tf": ([-1, -1, -1], [1, 1, 1]),
    # ImageNet's mean and deviation, red first, of pixels in [0, 1]
    "torch": ([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225]),
    # ImageNet's mean color, blue first, of pixels in [0, 255]
    "caffe": ([-103.939, -116.779, -123.68], [151.061, 138.221, 131.32]),
}


def test_the_pixels_a_network_expects():
    modules = (module for _, module in inspect.getmembers(keras.applications, inspect.ismodule))
    preprocess = {m.preprocess_input.__module__: m.preprocess_input for m in modules}
    pixels = np.stack([np.zeros((1, 1, 3)), np.full((1, 1, 3), 255.0)]).astype("float32")
    for name, entry in KERAS.items():
        black, white = preprocess[networks()[name].__module__](pixels.copy())[:, 0, 0]
        np.testing.assert_allclose([black, white], PIXELS[entry.preprocessing], rtol=1e-5, err_msg=name)
        assert entry.input_range == {"inside": (0, 255), "tf": (-1, 1)}.get(entry.preprocessing), name


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in KERAS]
)
def test_a_network_is_as_the_catalogue_says(name: str, monkeypatch):
    fetched = []
    monkeypatch.setattr(file_utils, "get_file", lambda file, *args, **options: fetched.append(file) or "nowhere")
    monkeypatch.setattr(keras.Model, "load_weights", lambda self, path: None)
    monkeypatch.setattr("warnings.warn", lambda *args, **options: None)  # MobileNet: one file for all sizes

    shape = (KERAS[name].size, KERAS[name].size, 3)
    network = networks()[name](weights="imagenet", include_top=False, pooling="avg", input_shape=shape)

    assert network.output_shape == (None, KERAS[name].features)
    assert network.count_params() == KERAS[name].weights
    assert fetched == [KERAS[name].weights_file]


# What `load_backbone` finds -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(entry, marks=[] if entry.handle.startswith("tlkit:") else [pytest.mark.slow])
        for entry in ENTRIES
        if entry.stages
    ],
    ids=handle_of,
)
def test_stages_and_features_are_those_of_the_backbone(entry: CatalogEntry):
    weights = "random" if entry.handle.startswith("keras:") else "pretrained"
    backbone = tlkit.load_backbone(entry.handle, weights=weights)
    assert len(backbone.stages) == entry.stages
    # EfficientNet counts what its normalization saw among its weights: mean (3), variance (3) and number of images (1).
    constants = 7 if entry.handle.startswith("keras:EfficientNetB") else 0
    assert backbone.count_params() == entry.weights - constants
    example = np.zeros((1, entry.size, entry.size, 3), "float32") if entry.kind == "image" else tf.constant(["a text"])
    assert backbone(example).shape == (1, entry.features)
