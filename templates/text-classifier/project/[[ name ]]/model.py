"""Backbone and head as one Keras model, and how it learns: what is saved takes plain strings."""

from pathlib import Path

import keras
from keras import layers

import tlkit
from tlkit import load_backbone
from tlkit.data import TextTable
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
from tlkit.finetune import LayerwiseLearningRates, SlantedTriangular, add_starting_point_penalty, prepare_unfreezing

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


def compile_model(config: Config, data: TextTable) -> keras.Model:
    """The model with its loss and optimizer; every weight that may ever train is known to the latter."""
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
        if config.l2_sp:
            add_starting_point_penalty(model, alpha=config.l2_sp, beta=0)
        rate = SlantedTriangular(
            config.learning_rate, total_steps=max(config.epochs * len(data.train), 2), cut_fraction=config.rate_rises
        )
        optimizer = keras.optimizers.Adam(rate)
        if config.stages_to_open:
            optimizer = LayerwiseLearningRates(optimizer, model, layer_decay=config.layer_decay)
        model.compile(optimizer, **loss_and_metrics(config))
        prepare_unfreezing(model)  # without it, what is opened later would silently stay as it is
        seed_replicas(model)  # without it, all devices would draw the same dropout
    return model


def loss_and_metrics(config: Config) -> dict:
    """What `compile` needs beside the optimizer."""
    if config.adapts:
        _, domain_loss = ADAPTATIONS[config.adaptation]
        losses = {"label": "sparse_categorical_crossentropy", "domain": domain_loss()}
        # Weighted metrics leave the target's texts out, whose labels are not known.
        return {"loss": losses, "weighted_metrics": {"label": ["accuracy"]}}
    return {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}


def build_model(config: Config, num_classes: int) -> keras.Model:
    """Strings `(batch,)` to class probabilities `(batch, num_classes)`, which sum to 1.

    With adaptation, that is the output "label", and there is another one, "domain".
    """
    texts = keras.Input((), dtype="string", name="text")
    backbone = build_backbone(config)
    head = keras.Sequential(
        # float32 also in mixed precision: a softmax over 16-bit numbers loses the small probabilities.
        [layers.Dropout(config.dropout), layers.Dense(num_classes, activation="softmax", dtype="float32")],
        name="head",
    )
    features = backbone(texts)
    if config.adapts:
        build, _ = ADAPTATIONS[config.adaptation]
        return build(keras.Model(texts, features), num_classes, head=head)
    return keras.Model(texts, head(features), name="text_classifier")


def build_backbone(config: Config) -> tlkit.Backbone:
    """The pretrained network, or the same with random weights; closed."""
    return load_backbone(
        find_backbone(config.backbone),
        preprocessor=find_backbone(config.preprocessor) or None,
        sequence_length=config.sequence_length or None,
        weights=config.weights,
        stages=config.stages or None,
        training_mode=config.backbone_dropout,
        name="backbone",
    )


def build_encoder(config: Config) -> keras.Model:
    """Strings to the features that the closed backbone makes of them: no head."""
    texts = keras.Input((), dtype="string", name="text")
    return keras.Model(texts, build_backbone(config)(texts))


def load_classifier(file: Path) -> keras.Model:
    """The plain classifier from strings to class probabilities, also of a run with adaptation."""
    model = tlkit.load_model(file, compile=False)
    return label_classifier(model) if isinstance(model.output, dict) else model


def find_backbone(handle: str) -> str:
    """A folder given relative to the project is found from anywhere; other handles stay as they are."""
    source, colon, path = handle.rpartition("kerashub:")
    folder = PROJECT / path
    return source + colon + str(folder) if path and ":" not in path and folder.is_dir() else handle
