"""Make the embedded backbone `tlkit:mini-image` by distilling an ImageNet teacher.

    python tools/make_mini_image.py TEACHER WORK_FOLDER

TEACHER is a backbone handle (the shipped file was made with a MobileNetV2 1.0 of 224 pixels as a local
SavedModel). WORK_FOLDER receives the views, the teacher's answers, checkpoints and a log; a killed run goes on
where it stopped. The student learns the teacher's last feature map, position by position, on the same views
(Beyer et al. 2022, "Knowledge distillation: a good teacher is patient and consistent",
https://arxiv.org/abs/2106.05237). `benchmarks/embedded_backbone.py` measures what came out.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib

import keras
import numpy as np
import tensorflow as tf

import tlkit
from mini_image_views import make_views


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything the result depends on."""

    view_size: int = 128  # pixels; the student's own input size
    num_views: int = 48_000  # what two cores draw and teach in ten minutes
    teacher_size: int = 192  # pixels; the views are enlarged, since the teacher is weaker on small inputs
    target_channels: int = 320  # principal components of the teacher's 1280 channels
    batch_size: int = 96
    epochs: int = 11
    learning_rate: float = 2.5e-3  # AdamW, one-epoch warm-up, then cosine to zero
    weight_decay: float = 0.02
    seed: int = 7


def conv_bn(x, filters, kernel, stride=1, activation="relu6", depthwise=False, name=""):
    # HeNormal suits relu; BatchNorm follows, so no bias.
    if depthwise:
        layer = keras.layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{name}_conv")
    else:
        layer = keras.layers.Conv2D(
            filters, kernel, stride, "same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
        )
    x = keras.layers.BatchNormalization(momentum=0.98, name=f"{name}_bn")(layer(x))
    return keras.layers.Activation(activation, name=f"{name}_{activation}")(x) if activation else x


def block(x, filters, expansion, stride, fused, name):
    """Inverted residual; fused (one full 3x3) where maps are large, since depthwise is slow there
    (Tan and Le 2021, EfficientNetV2, https://arxiv.org/abs/2104.00298, section 3.2)."""
    inputs, hidden = x, x.shape[-1] * expansion
    if fused:
        x = conv_bn(x, hidden, 3, stride, name=f"{name}_expand")
    else:
        x = conv_bn(x, hidden, 1, name=f"{name}_expand")
        x = conv_bn(x, None, 3, stride, depthwise=True, name=f"{name}_depthwise")
    x = conv_bn(x, filters, 1, activation=None, name=f"{name}_project")
    if stride == 1 and inputs.shape[-1] == filters:
        x = keras.layers.Add(name=f"{name}_add")([inputs, x])
    return x


def build_student() -> keras.Model:
    """Pixels in [0, 1] of any size to the last map (stride 32, 320 channels); 0.6 M weights."""
    inputs = keras.Input((None, None, 3), name="image")
    x = keras.layers.Rescaling(2.0, offset=-1.0, name="rescale")(inputs)
    x = conv_bn(x, 16, 3, 2, name="stem")
    #       filters, expansion, stride, fused
    plan = [
        (24, 2, 2, True),
        (24, 2, 1, True),
        (40, 3, 2, True),
        (40, 2, 1, True),
        (64, 4, 2, False),
        (64, 4, 1, False),
        (64, 4, 1, False),
        (96, 4, 2, False),
        (96, 4, 1, False),
        (96, 4, 1, False),
        (96, 4, 1, False),
    ]
    for index, (filters, expansion, stride, fused) in enumerate(plan, 1):
        x = block(x, filters, expansion, stride, fused, name=f"block{index}")
    return keras.Model(inputs, conv_bn(x, 320, 1, name="top"), name="mini_image")


def write_saved_model(student: keras.Model, view_size: int, folder: pathlib.Path) -> None:
    """Write the student in TF-Hub's Reusable SavedModel form: `obj(images, training=False) -> (N, 320)`."""

    @tf.function
    def call(images, training=False):
        return tf.reduce_mean(student(images, training=training), (1, 2))

    any_size = tf.TensorSpec((None, None, None, 3), tf.float32, "images")
    # The first tells a loader the model's own size.
    call.get_concrete_function(tf.TensorSpec((None, view_size, view_size, 3), tf.float32, "images"), training=False)
    call.get_concrete_function(any_size, training=True)
    module = tf.train.Checkpoint(
        variables=[v.value for v in student.variables],
        trainable_variables=[v.value for v in student.trainable_variables],
        regularization_losses=[],
    )
    module.__call__ = call
    call.get_concrete_function(any_size, training=False)
    tf.saved_model.save(module, str(folder))


def teacher_targets(teacher: str, views: np.ndarray, settings: Settings, folder: pathlib.Path) -> np.ndarray:
    """The teacher's last map for each view as principal components of unit mean variance,
    `(num_views, 4, 4, target_channels)` float16, kept in `folder`."""
    path = folder / "targets.npy"
    if path.exists():
        return np.load(path, mmap_mode="r")
    spatial = tlkit.load_backbone(teacher, outputs="spatial")
    grid = settings.view_size // 32

    @tf.function
    def answer(batch):
        pixels = tf.cast(batch, tf.float32) / 255.0
        maps = spatial(tf.image.resize(pixels, (settings.teacher_size,) * 2))
        return tf.image.resize(maps, (grid, grid), antialias=True)

    def answers(first, last, step=64):
        return np.concatenate([answer(views[i : i + step]).numpy() for i in range(first, last, step)])

    sample = answers(0, 3200).reshape(-1, 1280)
    mean = sample.mean(0)
    values, vectors = np.linalg.eigh(np.cov(sample - mean, rowvar=False))
    basis = vectors[:, ::-1][:, : settings.target_channels]
    print("variance kept:", values[::-1][: settings.target_channels].sum() / values.sum())
    # Square root of whitening: small components count, but less than large ones.
    basis = basis / values[::-1][: settings.target_channels] ** 0.25
    basis = basis / np.sqrt(((sample - mean) @ basis).var(0).mean())
    progress = keras.utils.Progbar(len(views))
    targets = np.lib.format.open_memmap(
        folder / "targets.part", "w+", np.float16, (len(views), grid, grid, settings.target_channels)
    )
    for first in range(0, len(views), 3200):
        last = min(first + 3200, len(views))
        targets[first:last] = (answers(first, last) - mean) @ basis
        progress.update(last)
    targets.flush()
    (folder / "targets.part").rename(path)
    return targets


def distil(views, targets, settings: Settings, folder: pathlib.Path) -> keras.Model:
    """Train the student to predict the targets from its last map through one linear layer."""
    student = build_student()
    predicted = keras.layers.Conv2D(settings.target_channels, 1, name="to_teacher")(student.output)
    model = keras.Model(student.input, predicted)
    student.summary()
    steps = len(views) // settings.batch_size

    def batches():
        for epoch in range(10**6):
            order = np.random.default_rng((settings.seed, epoch)).permutation(len(views))
            for step in range(steps):
                rows = np.sort(order[step * settings.batch_size : (step + 1) * settings.batch_size])
                yield views[rows], targets[rows]

    def mirror(x, y):
        flip = tf.random.uniform((tf.shape(x)[0], 1, 1, 1)) < 0.5
        x, y = tf.cast(x, tf.float32) / 255.0, tf.cast(y, tf.float32)
        return tf.where(flip, x[:, :, ::-1], x), tf.where(flip, y[:, :, ::-1], y)

    signature = (
        tf.TensorSpec((None, *views.shape[1:]), tf.uint8),
        tf.TensorSpec((None, *targets.shape[1:]), tf.float16),
    )
    data = tf.data.Dataset.from_generator(batches, output_signature=signature).map(mirror).prefetch(4)
    rate = keras.optimizers.schedules.CosineDecay(
        1e-4, steps * (settings.epochs - 1), warmup_target=settings.learning_rate, warmup_steps=steps
    )

    def map_and_pooled_error(y, p):
        # The map asks for "what is where", its mean for what a classifier will read; the mean's variance is smaller.
        pooled = tf.reduce_mean(tf.square(tf.reduce_mean(y - p, (1, 2))), -1)
        return tf.reduce_mean(tf.square(y - p), (1, 2, 3)) + 2.0 * pooled

    model.compile(keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay), map_and_pooled_error)
    callbacks = [
        keras.callbacks.BackupAndRestore(folder / "backup", delete_checkpoint=False),
        keras.callbacks.CSVLogger(folder / "history.csv", append=True),
    ]
    model.fit(data, steps_per_epoch=steps, epochs=settings.epochs, callbacks=callbacks, verbose=2)
    return student


def main() -> None:
    """Draw the views, ask the teacher, train the student, write the SavedModel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher")
    parser.add_argument("folder", type=pathlib.Path)
    arguments = parser.parse_args()
    settings, folder = Settings(), arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(settings.seed)
    views_path = folder / "views.npy"
    if not views_path.exists():
        np.save(folder / "part.npy", make_views(settings.num_views, settings.view_size, settings.seed))
        (folder / "part.npy").rename(views_path)
    views = np.load(views_path)
    targets = np.asarray(teacher_targets(arguments.teacher, views, settings, folder))
    student = distil(views, targets, settings, folder)
    write_saved_model(student, settings.view_size, folder / "saved_model")


if __name__ == "__main__":
    main()
