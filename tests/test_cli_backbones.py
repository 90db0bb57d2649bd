"""`tlkit backbones`: the list, one description, the words of its errors."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tlkit import cli
from tlkit.backbones.cache import hub_folder
from tlkit.backbones.catalog import load_catalog

NNLM = "https://tfhub.dev/google/nnlm-en-dim50/2"
LABSE = "https://tfhub.dev/google/LaBSE/2"


@pytest.fixture(autouse=True)
def nothing_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


def backbones(*arguments: str):
    return CliRunner().invoke(cli.app, ["backbones", *arguments], prog_name="tlkit")


def handles(output: str) -> list[str]:
    return re.findall(r"^(?:tlkit|keras|https):\S+$", output, flags=re.MULTILINE)


# The list -----------------------------------------------------------------------------------------


def test_every_backbone_is_listed_with_its_whole_handle():
    result = backbones()
    assert result.exit_code == 0
    assert handles(result.output) == list(load_catalog())


def test_lines_fit_80_columns_but_for_handles_longer_than_that():
    lines = backbones().output.splitlines()
    assert all(len(line) <= 80 for line in lines if line not in load_catalog())


def test_a_row_says_what_is_known():
    lines = backbones("--search", "mini-image").output.splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["handle"],
        ["kind", "size", "range", "features", "weights", "licence", "open", "offline"],
        ["tlkit:mini-image"],
        ["image", "128", "px+", "0..1", "320", "0.5", "M", "Apache-2.0", "2", "of", "5", "yes"],
    ]


def test_what_no_page_says_is_a_dash():
    lines = backbones("--search", "bit/m-r50x1").output.splitlines()
    assert lines[3].split() == ["image", "-", "-", "2,048", "-", "Apache-2.0", "-", "no"]


def test_images_and_texts_apart():
    images, texts = handles(backbones("--image").output), handles(backbones("--text").output)
    assert images and texts
    assert sorted(images + texts) == sorted(load_catalog()) == sorted(handles(backbones("--image", "--text").output))
    assert NNLM in texts and "keras:ResNet50" in images


def test_a_word_is_searched_in_handles_and_notes_whatever_its_case():
    assert handles(backbones("--search", "labse").output) == ["https://tfhub.dev/google/LaBSE/2"]
    assert len(handles(backbones("--image", "--search", "IMAGENET-21K").output)) == 5


def test_a_model_in_the_cache_works_offline_and_its_folder_is_named():
    assert backbones("--search", NNLM).output.splitlines()[3].endswith(" no")

    hub_folder(NNLM).mkdir(parents=True)
    (hub_folder(NNLM) / "saved_model.pb").touch()

    lines = backbones("--search", NNLM).output.splitlines()
    assert lines[3].endswith(" yes")
    assert lines[4] == f"  in {hub_folder(NNLM)}"


def test_a_network_of_keras_works_offline_with_random_weights(tmp_path: Path):
    assert backbones("--search", "keras:ResNet50V2").output.splitlines()[3].endswith(" random")

    file = tmp_path / "keras" / "models" / load_catalog()["keras:ResNet50V2"].weights_file
    file.parent.mkdir(parents=True)
    file.touch()

    assert backbones("--search", "keras:ResNet50V2").output.splitlines()[3].endswith(" yes")


# One of them --------------------------------------------------------------------------------------


def test_the_facts_of_one_come_with_their_pages():
    result = backbones("https://tfhub.dev/google/imagenet/mobilenet_v2_100_224/feature_vector/5/")
    assert result.exit_code == 0
    facts = dict(line.strip().split("  ", 1) for line in result.output.splitlines()[1:12])
    slim = "https://github.com/tensorflow/models/blob/master/research/slim/nets/mobilenet/README.md"
    assert {name: fact.strip() for name, fact in facts.items()} == {
        "kind": "image",
        "image size": "224 x 224 pixels, no other",
        "input range": "0 (black) to 1 (white)",
        "features": "1,280",
        "weights": f"about 3.47 million with the classifier  ({slim})",
        "ImageNet": f"71.8 % of images right, as published  ({slim})",
        "licence": "Apache-2.0  (https://www.tensorflow.org/hub/writing_documentation)",
        "fine-tuning": "yes",
        "on Kaggle": "https://www.kaggle.com/models/google/mobilenet-v2/frameworks/tensorFlow2/variations/"
        "100-224-feature-vector/versions/2",
        "cached": "no",
        "source": "https://github.com/tensorflow/tfhub.dev/blob/master/assets/docs/google/models/imagenet/"
        "mobilenet_v2_100_224/feature_vector/5.md",
    }


def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, bool]]:
    """Put a note in the place of loading; returns what would have been loaded: handle, weights, trust."""
    asked = []

    def note(handle: str, *, weights: str, preprocessor: str | None, trust: bool) -> dict[str, str]:
        asked.append((handle, weights, *filter(None, [preprocessor]), trust))
        return {"features": "7", "stages": "2"}

    monkeypatch.setattr("tlkit.backbones.describe.describe_backbone", note)
    return asked


def test_a_model_that_is_not_here_is_not_fetched_unasked(monkeypatch: pytest.MonkeyPatch):
    asked = told(monkeypatch)
    assert "Not on this machine: --fetch downloads it" in backbones(NNLM).output
    assert asked == []
    assert "\nloaded\n  features  7\n  stages    2\n" in backbones(NNLM, "--fetch", "--trust").output
    assert asked == [(NNLM, "pretrained", True)]


def test_both_of_a_pair_must_be_here(monkeypatch: pytest.MonkeyPatch):
    asked = told(monkeypatch)
    encoder, preprocessor = LABSE, load_catalog()[LABSE].preprocessor
    for handle in (encoder, preprocessor):
        assert "Not on this machine: --fetch downloads it" in backbones(LABSE).output
        hub_folder(handle).mkdir(parents=True)
        (hub_folder(handle) / "saved_model.pb").touch()
    backbones(LABSE)
    backbones(LABSE, "--preprocessor", ".")
    backbones("kerashub:.", "--trust")
    assert "Not on this machine" in backbones("kerashub:bert_tiny_en_uncased").output
    assert asked == [
        (LABSE, "pretrained", False),
        (LABSE, "pretrained", ".", False),
        ("kerashub:.", "pretrained", True),
    ]


def test_a_network_of_keras_is_shown_without_fetching_its_weights(monkeypatch: pytest.MonkeyPatch):
    asked = told(monkeypatch)
    assert "\nloaded, with random weights\n" in backbones("keras:ResNet50").output
    backbones("keras:ResNet50", "--fetch")
    assert asked == [("keras:ResNet50", "random", False), ("keras:ResNet50", "pretrained", False)]


def test_what_loading_tells_follows_the_facts():
    output = backbones("tlkit:mini-image").output
    facts, _, loaded = output.partition("\nloaded\n")
    assert "licence      Apache-2.0" in facts
    assert re.search(r"^  scan +nothing suspicious$", loaded, flags=re.MULTILINE)
    assert re.search(r"^  stages +5 \(name and parameters, input first\): stride_2 1,984, ", loaded, flags=re.MULTILINE)


def test_a_folder_is_described_too(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    result = backbones("empty")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "Error: 'empty' is not a SavedModel. Expected a folder with the file 'saved_model.pb'."
    )


def test_a_network_of_keras_says_what_is_done_to_its_pixels(monkeypatch: pytest.MonkeyPatch):
    told(monkeypatch)
    lines = backbones("keras:ResNet50").output.splitlines()
    assert "  weights      23,587,712" in lines
    assert (
        "  input range  pixels from 0 to 255 are put in the order blue, green, red, less the mean color, first" in lines
    )


def test_a_model_of_texts_names_what_it_needs():
    result = backbones("https://tfhub.dev/tensorflow/bert_en_uncased_L-12_H-768_A-12/4")
    assert "  preprocessor  https://tfhub.dev/tensorflow/bert_en_uncased_preprocess/3\n" in result.output
    assert "  needs         the package tensorflow-text" in result.output
    assert "image" not in result.output.partition("source")[0]


def test_what_no_page_says_is_not_stated():
    lines = backbones("https://tfhub.dev/google/bit/m-r50x1/1").output.splitlines()
    assert [line.split("  ")[1] for line in lines if line.endswith("not stated")] == [
        "image size",
        "input range",
        "weights",
        "ImageNet",
    ]


# Mistakes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["keras:EffcientNetV2B0"],
            "There is no backbone 'keras:EffcientNetV2B0': it is in no catalogue, no folder and no address. "
            "Did you mean 'keras:EfficientNetV2B0'? Run 'tlkit backbones' to see all.",
        ),
        (
            ["photos"],
            "There is no backbone 'photos': it is in no catalogue, no folder and no address. "
            "Run 'tlkit backbones' to see all.",
        ),
        (
            ["--text", "--search", "keras:"],
            "No backbone mentions 'keras:'. Run 'tlkit backbones' to see all.",
        ),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], sentence: str):
    result = backbones(*arguments)
    assert result.stderr == f"Error: {sentence}\n"
    assert (result.exit_code, result.stdout) == (1, "")


# What it imports ----------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], [NNLM]])
def test_nothing_heavy_is_imported(arguments: list[str]):
    program = (
        "import sys\n"
        "from tlkit import cli\n"
        "try: cli.main()\n"
        "finally: print('IMPORTED', *{name.partition('.')[0] for name in sys.modules})\n"
    )
    command = [sys.executable, "-c", program, "backbones", *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    imported = set(result.stdout.splitlines()[-1].split()[1:])
    assert not imported & {"tensorflow", "keras", "tf_keras", "tensorflow_hub", "numpy", "PIL", "jinja2"}
