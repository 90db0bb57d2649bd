"""Augmentation, backbone and head as one Keras model, and how it learns: what is saved takes plain photos in [0, 1]."""

from pathlib import Path

import keras
from keras import layers

import tlkit
from tlkit import load_backbone
from tlkit.data import ImageFolder
from tlkit.distribution import choose_precision, choose_strategy, seed_replicas
from tlkit.domain import (
    CorrelationAlignment,
    DomainLoss,
    MaximumMeanDiscrepancy,
    MinimumClassConfusion,
    build_cdan,
    build_coral,
    build_dan,
    build_dann,
    build_mcc,
    label_classifier,
)
from tlkit.errors import UserError
from tlkit.finetune import LayerwiseLearningRates, add_starting_point_penalty, prepare_unfreezing

from .config import PROJECT, Config

# Each method of adaptation: the model, and what its second output, "domain", is trained with.
ADAPTATIONS = {
    "dann": (build_dann, DomainLoss),
    "cdan": (build_cdan, DomainLoss),
    "dan": (build_dan, MaximumMeanDiscrepancy),
    "coral": (build_coral, CorrelationAlignment),
    "mcc": (build_mcc, MinimumClassConfusion),
}
ADVERSARIAL = ("dann", "cdan")  # those with a discriminator


def compile_model(config: Config, data: ImageFolder) -> keras.Model:
    """The model with its loss and optimizer; every weight that may ever train is known to the latter."""
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(choose_precision(config.precision))
    with choose_strategy(config.strategy).scope():  # several GPUs hold copies of what is made here
        model = build_model(config, len(data.class_names), data.multi_label)
        num_stages = len(model.get_layer("backbone").stages)
        if config.stages_to_open > num_stages:
            raise UserError(
                f"The setting 'stages_to_open' is {config.stages_to_open}. Expected at most {num_stages}, "
                f"the stages of '{config.backbone}'."
            )
        if config.l2_sp:
            add_starting_point_penalty(model, alpha=config.l2_sp, beta=0)
        optimizer = keras.optimizers.Adam(config.learning_rate)
        if config.stages_to_open:
            optimizer = LayerwiseLearningRates(optimizer, model, layer_decay=config.layer_decay)
        model.compile(optimizer, **loss_and_metrics(config, data))
        prepare_unfreezing(model)  # without it, what is opened later would silently stay as it is
        seed_replicas(model)  # without it, all devices would draw the same augmentation and dropout
    return model


def loss_and_metrics(config: Config, data: ImageFolder) -> dict:
    """What `compile` needs beside the optimizer: one class of several, or yes and no for every class."""
    if data.multi_label:
        areas = keras.metrics.AUC(curve="PR", multi_label=True, num_labels=len(data.class_names), name="pr_auc")
        return {"loss": "binary_crossentropy", "metrics": [keras.metrics.BinaryAccuracy(name="accuracy"), areas]}
    if config.monitor == "val_pr_auc":
        raise UserError(
            "The setting 'monitor' is 'val_pr_auc', which is for multi-label data. Expected val_loss or val_accuracy."
        )
    if config.adapts:
        _, domain_loss = ADAPTATIONS[config.adaptation]
        losses = {"label": "sparse_categorical_crossentropy", "domain": domain_loss()}
        # Weighted metrics leave the target's photos out, whose labels are not known.
        return {"loss": losses, "weighted_metrics": {"label": ["accuracy"]}}
    return {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}


def build_model(config: Config, num_classes: int, multi_label: bool = False) -> keras.Model:
    """Images `(batch, size, size, 3)` in [0, 1] to class probabilities `(batch, num_classes)`.

    They sum to 1, or, for multi-label data, each class has a probability of its own. With adaptation, that is the
    output "label", and there is another one, "domain".
    """
    images = keras.Input((config.image_size, config.image_size, 3), name="image")
    x = build_augmentation(config)(images)
    backbone = build_backbone(config)
    activation = "sigmoid" if multi_label else "softmax"
    head = keras.Sequential(
        # float32 also in mixed precision: a softmax over 16-bit numbers loses the small probabilities.
        [layers.Dropout(config.dropout), layers.Dense(num_classes, activation=activation, dtype="float32")],
        name="head",
    )
    features = backbone(x)
    if config.adapts:
        build, _ = ADAPTATIONS[config.adaptation]
        return build(keras.Model(images, features), num_classes, head=head)
    return keras.Model(images, head(features), name="image_classifier")


def build_backbone(config: Config) -> tlkit.Backbone:
    """The pretrained network, or the same with random weights; closed."""
    return load_backbone(
        find_backbone(config.backbone), image_size=config.image_size, weights=config.weights, name="backbone"
    )


def build_encoder(config: Config) -> keras.Model:
    """Images in [0, 1] to the features that the closed backbone makes of them: no augmentation, no head."""
    images = keras.Input((config.image_size, config.image_size, 3), name="image")
    return keras.Model(images, build_backbone(config)(images))


def load_classifier(file: Path) -> keras.Model:
    """The plain classifier from images to class probabilities, also of a run with adaptation."""
    model = tlkit.load_model(file, compile=False)
    return label_classifier(model) if isinstance(model.output, dict) else model


def is_multi_label(model: keras.Model) -> bool:
    """Whether each class has a probability of its own."""
    return model.get_layer("head").layers[-1].activation is keras.activations.sigmoid


def build_augmentation(config: Config) -> keras.Sequential:
    """Random changes that leave the class as it is; they happen only while training."""
    sizes = (config.rotation, config.zoom, config.shift, config.contrast)
    rotation, zoom, shift, contrast = (min(config.augmentation * size, 1.0) for size in sizes)  # 1: the layers' largest
    steps = [
        layers.RandomFlip("horizontal", dtype="float32") if config.horizontal_flip else None,
        layers.RandomRotation(rotation, dtype="float32") if rotation else None,
        layers.RandomZoom(zoom, dtype="float32") if zoom else None,
        layers.RandomTranslation(shift, shift, dtype="float32") if shift else None,
        layers.RandomContrast(contrast, value_range=(0, 1), dtype="float32") if contrast else None,
    ]
    return keras.Sequential([step for step in steps if step is not None], name="augmentation")


def find_backbone(handle: str) -> str:
    """A folder given relative to the project is found from anywhere; other handles stay as they are."""
    source, colon, path = handle.rpartition("kerashub:")
    folder = PROJECT / path
    return source + colon + str(folder) if path and ":" not in path and folder.is_dir() else handle
