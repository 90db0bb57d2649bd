"""Backbone, feature pyramid and head as one Keras model, and how it learns; and the model that answers with boxes."""

import json
from pathlib import Path

import keras

import tlkit
from tlkit import load_backbone
from tlkit.data import BoxData
from tlkit.detection import (
    CenternessLoss,
    DetectionBoxLoss,
    DetectionClassLoss,
    build_detector,
    warm_start_detector,
    with_decoder,
)
from tlkit.distribution import choose_precision, choose_strategy, seed_replicas
from tlkit.errors import UserError
from tlkit.finetune import LayerwiseLearningRates, SlantedTriangular, add_starting_point_penalty, prepare_unfreezing
from tlkit.settings import load_config

from .config import PROJECT, RUNS, Config


def compile_model(config: Config, data: BoxData) -> keras.Model:
    """The detector with its losses and optimizer; every weight that may ever train is known to the latter."""
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(choose_precision(config.precision))
    with choose_strategy(config.strategy).scope():  # several GPUs hold copies of what is made here
        model = build_model(config, len(data.class_names))
        num_stages = len(model.get_layer("backbone").stages)
        if config.stages_to_open > num_stages:
            raise UserError(
                f"The setting 'stages_to_open' is {config.stages_to_open}. Expected at most {num_stages}, "
                f"the stages of '{config.backbone}'."
            )
        if config.start_from:
            start_from(config, model, data.class_names)
        if config.l2_sp:
            add_starting_point_penalty(model, alpha=config.l2_sp, beta=0)
        rate = SlantedTriangular(
            config.learning_rate, total_steps=max(config.epochs * len(data.train), 2), cut_fraction=config.rate_rises
        )
        optimizer = keras.optimizers.Adam(rate, global_clipnorm=config.gradient_norm)
        if config.stages_to_open:
            optimizer = LayerwiseLearningRates(optimizer, model, layer_decay=config.layer_decay)
        losses = {"class": DetectionClassLoss(), "box": DetectionBoxLoss(), "centerness": CenternessLoss()}
        model.compile(optimizer, losses)
        prepare_unfreezing(model)  # without it, what is opened later would silently stay as it is
        seed_replicas(model)  # without it, all devices would draw alike, where layers of yours draw
    return model


def build_model(config: Config, num_classes: int) -> keras.Model:
    """Images `(batch, size, size, 3)` in [0, 1] to class, box and centerness at each location of three maps."""
    backbone = load_backbone(
        find_backbone(config.backbone),
        outputs="pyramid",
        image_size=config.image_size,
        weights=config.weights,
        name="backbone",
    )
    return build_detector(
        backbone,
        num_classes,
        image_size=config.image_size,
        width=config.width,
        num_convolutions=config.head_convolutions,
    )


def start_from(config: Config, model: keras.Model, class_names: list[str]) -> None:
    """Begin with what another detector has learned; classes that it does not know begin anew."""
    run = next((f for f in (PROJECT / config.start_from, RUNS / config.start_from) if f.is_dir()), None)
    if run is None or not (run / "model.keras").is_file():
        raise UserError(
            f"The setting 'start_from' is '{config.start_from}', where there is no trained detector. Expected the "
            f"folder of a run, with model.keras in it."
        )
    known = load_class_names(run)
    fresh = warm_start_detector(model, class_names, tlkit.load_model(run / "model.keras", compile=False), known)
    print(f"Going on from {run.name}; new classes: {', '.join(fresh) or 'none'}.")
    if left_out := [name for name in known if name not in class_names]:
        print(f"Its classes {', '.join(left_out)} are not in these data and are left out.")


def predicting_model(config: Config, detector: keras.Model) -> keras.Model:
    """The same detector as a model from images to boxes, scores and class numbers."""
    return with_decoder(detector, max_detections=config.max_detections, iou_threshold=config.suppression_overlap)


def load_detector(run: Path) -> keras.Model:
    """A run's best epoch as a model from images to boxes, scores and class numbers."""
    config = load_config(Config, run / "config.json")
    return predicting_model(config, tlkit.load_model(run / "model.keras", compile=False))


def load_class_names(run: Path) -> list[str]:
    """The classes in the order of the model's numbers."""
    return json.loads((run / "class_names.json").read_text(encoding="utf-8"))


def find_backbone(handle: str) -> str:
    """A folder given relative to the project is found from anywhere; other handles stay as they are."""
    source, colon, path = handle.rpartition("kerashub:")
    folder = PROJECT / path
    return source + colon + str(folder) if path and ":" not in path and folder.is_dir() else handle
