"""Make the embedded backbone `tlkit:mini-image`: a MobileNetV2 cut down and taught by its whole self.

    python tools/make_mini_image.py TEACHER PHOTOS WORK_FOLDER [--threads 2]

TEACHER is the handle of a MobileNetV2 1.0 (the shipped file was made with one of 224 pixels as a local SavedModel),
PHOTOS a folder of freely licensed photos, with a list of where they come from in `SOURCES.md`. WORK_FOLDER receives the
views, the teacher's answers, the state of the training, a log, and `saved_model` with its model card; a killed run goes
on where it stopped, and ends as if it had not been killed.

The student is the teacher with fewer hidden channels and without its last two blocks (`mini_image_model.py`). It learns
the teacher's last feature map, position by position, on the same views (Beyer et al. 2022, "Knowledge distillation: a
good teacher is patient and consistent", https://arxiv.org/abs/2106.05237). `benchmarks/embedded_backbone.py --card`
measures what came out, and writes it into the card.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import pathlib

import keras
import numpy as np
import tensorflow as tf

import tlkit
from mini_image_model import cut, teacher_network, write_saved_model
from mini_image_views import load_photos, make_views
from tlkit.callbacks import ExactResume
from tlkit.data import epochs


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything the result depends on, beside the teacher and the photos."""

    view_size: int = 128  # pixels; the student's own input size
    num_views: int = 48_000  # what one core draws in five minutes
    teacher_size: int = 192  # pixels; the views are enlarged, since the teacher is weaker on small inputs
    target_channels: int = 320  # principal components of the teacher's 1280 channels
    # Half of the teacher's hidden channels in blocks 2 to 14, 0.3 of them in block 15: what 3 MB hold.
    hidden: tuple[int, ...] = (48, 72, 72, 96, 96, 96, 192, 192, 192, 192, 288, 288, 288, 288)
    top: int = 320  # channels of the student's last map
    batch_size: int = 64
    passes: int = 3  # over all views: an hour and a half of one core
    rounds: int = 8  # of saving, a pass: a killed run repeats at most two minutes
    learning_rate: float = 1.5e-3  # AdamW, half a pass of warm-up, then cosine to zero
    weight_decay: float = 0.02
    pooled_weight: float = 2.0  # of the mean's error, whose variance is smaller than the map's
    seed: int = 7

    @property
    def steps(self) -> int:
        """Steps a round."""
        return self.num_views // self.rounds // self.batch_size


def kept(path: pathlib.Path, make) -> np.ndarray:
    """The array at `path`, made and written there the first time."""
    if not path.exists():
        part = path.with_suffix(".part.npy")
        np.save(part, make())
        part.rename(path)
    return np.load(path)


def teacher_targets(spatial, views: np.ndarray, settings: Settings, folder: pathlib.Path) -> np.ndarray:
    """The teacher's last map for each view as principal components of unit mean variance,
    `(num_views, size / 32, size / 32, target_channels)` float16; the share that they keep is noted in `folder`."""
    grid = settings.view_size // 32

    @tf.function
    def answer(batch):
        pixels = tf.cast(batch, tf.float32) / 255.0
        maps = spatial(tf.image.resize(pixels, (settings.teacher_size,) * 2))
        return tf.image.resize(maps, (grid, grid), antialias=True)

    def answers(first, last, step=64):
        return np.concatenate([answer(views[i : min(i + step, last)]).numpy() for i in range(first, last, step)])

    sample = answers(0, min(3200, len(views)))
    sample = sample.reshape(-1, sample.shape[-1])
    mean = sample.mean(0)
    values, vectors = np.linalg.eigh(np.cov(sample - mean, rowvar=False))
    values, basis = values[::-1][: settings.target_channels], vectors[:, ::-1][:, : settings.target_channels]
    (folder / "variance_kept").write_text(str(values.sum() / (sample - mean).var(0).sum()))
    # Square root of whitening: small components count, but less than large ones.
    basis = basis / values**0.25
    basis = basis / np.sqrt(((sample - mean) @ basis).var(0).mean())
    targets = np.empty((len(views), grid, grid, settings.target_channels), np.float16)
    for first in range(0, len(views), 3200):
        last = min(first + 3200, len(views))
        targets[first:last] = (answers(first, last) - mean) @ basis
        print(f"the teacher answered {last} of {len(views)} views", flush=True)
    return targets


def teaching_data(views: np.ndarray, targets: np.ndarray, settings: Settings, first_round: int) -> tf.data.Dataset:
    """Batches of pixels and targets, mirrored at random; a round's order follows from its number alone."""
    shapes = (views.shape[1:], targets.shape[1:])

    def read(rows):
        rows = np.sort(rows)
        return views[rows], targets[rows]

    def batch(rows, seed):
        x, y = tf.numpy_function(read, [rows], (tf.uint8, tf.float16))
        x, y = tf.cast(x, tf.float32) / 255.0, tf.cast(y, tf.float32)
        x.set_shape((settings.batch_size, *shapes[0]))
        y.set_shape((settings.batch_size, *shapes[1]))
        mirrored = tf.random.stateless_uniform((settings.batch_size, 1, 1, 1), seed) < 0.5
        return tf.where(mirrored, x[:, :, ::-1], x), tf.where(mirrored, y[:, :, ::-1], y)

    def one_round(seed_and_round):
        number = seed_and_round[1]
        rows = tf.random.experimental.stateless_shuffle(
            tf.range(len(views)), tf.stack([seed_and_round[0], number // settings.rounds])
        )
        size = settings.steps * settings.batch_size
        first = tf.cast(number % settings.rounds, tf.int32) * size
        rows = tf.data.Dataset.from_tensor_slices(rows[first : first + size]).batch(settings.batch_size)
        seeds = tf.data.Dataset.range(settings.steps).map(lambda step: tf.stack([number, step]))
        return tf.data.Dataset.zip(rows, seeds).map(batch)

    return epochs(one_round, seed=settings.seed, first_epoch=first_round)


def distil(student: keras.Model, views, targets, settings: Settings, folder: pathlib.Path) -> None:
    """Train the student to predict the targets from its last map through one linear layer."""
    predicted = keras.layers.Conv2D(settings.target_channels, 1, name="to_teacher")(student.output)
    model = keras.Model(student.input, predicted)

    def map_and_pooled_error(y, p):
        # The map asks for "what is where", its mean for what a classifier will read.
        pooled = tf.reduce_mean(tf.square(tf.reduce_mean(y - p, (1, 2))), -1)
        return tf.reduce_mean(tf.square(y - p), (1, 2, 3)) + settings.pooled_weight * pooled

    num_rounds = settings.passes * settings.rounds
    warmup = settings.steps * settings.rounds // 2
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, settings.steps * num_rounds - warmup, warmup_target=settings.learning_rate, warmup_steps=warmup
    )
    model.compile(keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay), map_and_pooled_error)
    resume = ExactResume(folder / "state", fingerprint=dataclasses.asdict(settings))
    model.fit(
        teaching_data(views, targets, settings, resume.initial_epoch),
        steps_per_epoch=settings.steps,
        epochs=num_rounds,
        initial_epoch=resume.initial_epoch,
        shuffle=False,
        verbose=2,
        callbacks=[keras.callbacks.CSVLogger(folder / "history.csv", append=True), resume],
    )


def write_card(
    student: keras.Model, shares: list[float], settings: Settings, photos: pathlib.Path, folder: pathlib.Path
) -> None:
    """Fill in what is known of the run; the probes are added by the benchmark."""
    with (folder / "history.csv").open(newline="", encoding="utf-8") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    saved, (opaque, cut_out) = folder / "saved_model", load_photos(photos)
    template = (pathlib.Path(__file__).parent / "mini_image_card.md").read_text(encoding="utf-8")
    card = template.format(
        **dataclasses.asdict(settings),
        num_weights=student.count_params(),
        num_variables=len(student.variables),
        megabytes=sum(file.stat().st_size for file in saved.rglob("*") if file.is_file()) / 1e6,
        num_blocks=len(settings.hidden) + 1,
        least_kept=min(shares),
        most_kept=max(shares),
        variance_kept=float((folder / "variance_kept").read_text()),
        first_loss=losses[0],
        last_loss=losses[-1],
        num_photos=len(opaque),
        num_things=len(cut_out),
        sources=(photos / "SOURCES.md").read_text(encoding="utf-8").strip(),
    )
    (saved / "MODEL_CARD.md").write_text(card, encoding="utf-8")


def main() -> None:
    """Draw the views, ask the teacher, cut and train the student, write the SavedModel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher")
    parser.add_argument("photos", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    settings, folder = Settings(), arguments.folder
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    keras.utils.set_random_seed(settings.seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text(json.dumps(dataclasses.asdict(settings), indent=2))
    views = kept(
        folder / "views.npy",
        lambda: make_views(
            settings.num_views, settings.view_size, settings.seed, arguments.photos, processes=arguments.threads
        ),
    )
    spatial = tlkit.load_backbone(arguments.teacher, outputs="spatial")
    teacher = teacher_network({weight.name: weight.numpy() for weight in spatial.weights})
    targets = kept(folder / "targets.npy", lambda: teacher_targets(spatial, views, settings, folder))
    student, shares = cut(teacher, list(settings.hidden), settings.top, views[:256] / np.float32(255), settings.seed)
    distil(student, views, targets, settings, folder)
    write_saved_model(student, settings.view_size, folder / "saved_model")
    write_card(student, shares, settings, arguments.photos, folder)


if __name__ == "__main__":
    main()
