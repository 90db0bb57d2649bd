# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Fine-tuning in pictures: stages, rates, resume
#
# A pretrained network knows a great deal before it sees your first photo. **Fine-tuning** lets it change a little, so
# that it fits your photos, without losing what it knew. Three things decide whether that works: *which parts* may
# change, *how fast* each of them, and whether a training that was interrupted goes on as if nothing had happened.
#
# You know Keras; nothing else is needed. Everything runs in a minute or two on two CPU cores, without a network, once
# tlkit is installed with its sample photos: `tlkit[samples]`. The first cell installs it where it is missing, as in
# Colab.

# %%
import importlib.util
import subprocess
import sys

TLKIT = "tlkit[detection,samples]==0.1.*"
if importlib.util.find_spec("tlkit") is None:  # a wheel of it that lies beside this notebook is found, too
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--find-links", ".", TLKIT], check=True)

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm

import tlkit
from tlkit.callbacks import ExactResume, LearningRateLogger, ProgressiveUnfreezing
from tlkit.data import epochs, load_image_folder, write_sample_images
from tlkit.evaluation import plot_examples, plot_learning_curves, plot_learning_rates
from tlkit.finetune import (
    LayerwiseLearningRates,
    SlantedTriangular,
    add_starting_point_penalty,
    find_learning_rate,
    prepare_unfreezing,
)

plt.rcParams.update({"axes.titlelocation": "left", "axes.titleweight": "bold", "axes.titlesize": 11, "figure.dpi": 90})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})
os.chdir(tempfile.mkdtemp())  # photos and saved states go there; it may be thrown away

# %% [markdown]
# The photos: pieces of ten pictures, ten classes, only 15 to train on in each. The 300 others come from the other half
# of the pictures. Nothing is chosen by them here, so they may serve for validation.

# %%
write_sample_images("photos")
Path("photos/test").rename("photos/val")
data = load_image_folder("photos", image_size=96, batch_size=30, seed=0)
STEPS = len(data.train)  # batches an epoch
images, labels = next(data.train.as_numpy_iterator())
plot_examples(images[:6], [data.class_names[label] for label in labels[:6]])

# %% [markdown]
# ## 1. A backbone has stages
#
# A network for images works in **stages**. Each halves the map that it got: `stride_8` sees the photo at an eighth of
# its size. This backbone is small and comes with tlkit; `tlkit backbones` lists others, and the rest of this notebook
# works with them, too.

# %%
backbone = tlkit.load_backbone("tlkit:mini-image", outputs="pyramid")
backbone.summary()

# %% [markdown]
# What comes out of three of them (of each, the channel that varies most). The first stages see edges and grain, which
# are the same in all photos of the world. The last ones see *what is there*, in a few coarse cells. So the last ones
# are worth changing for your photos, and the first ones hardly ever.

# %%
shown = images[[3, 7]]
maps = backbone(shown)
panels = {"photo": shown, "stride_8": maps["P3"], "stride_16": maps["P4"], "stride_32": maps["P5"]}
figure, grid = plt.subplots(len(shown), len(panels), figsize=(7, 3.8), layout="constrained")
for (name, stack), column in zip(panels.items(), grid.T, strict=True):
    for picture, axes in zip(np.array(stack), column, strict=True):
        axes.imshow(picture[..., picture.std(axis=(0, 1)).argmax()], cmap="gray" if name == "photo" else "viridis")
        axes.set(xticks=[], yticks=[])
    column[0].set_title(f"{name}: {stack.shape[1]} x {stack.shape[2]}")
plt.show()

# %% [markdown]
# The model of this notebook: the backbone, and a new **head** for the ten classes. A backbone is born **frozen**: none
# of its weights change in training. Freezing comes first because a new head knows nothing: what it sends back into the
# network in its first steps is noise.


# %%
def build_model():
    keras.utils.set_random_seed(0)
    photo = keras.Input((96, 96, 3))
    features = tlkit.load_backbone("tlkit:mini-image", name="backbone")(photo)
    classes = keras.layers.Dense(10, activation="softmax", name="head")(keras.layers.Dropout(0.2)(features))
    return keras.Model(photo, classes)


def compile_model(model, optimizer):
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])


def sgd(learning_rate):
    return keras.optimizers.SGD(learning_rate, momentum=0.9)


# %% [markdown]
# One picture will come again and again: **how far the weights of each stage are from where they began**, in percent of
# their own size. 0 is "as pretrained". This callback measures it after each epoch:


# %%
def kernels(model):
    """The kernels of each stage, and of the head, as one long vector each."""
    groups = {stage.name: stage.weights for stage in model.get_layer("backbone").stages}
    groups["head"] = model.get_layer("head").weights
    return {name: np.concatenate([w.numpy().ravel() for w in group if w.ndim > 1]) for name, group in groups.items()}


class Distance(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.start, self.after = kernels(self.model), {}

    def on_epoch_end(self, epoch, logs=None):
        self.after[epoch + 1] = {
            name: 100 * np.linalg.norm(now - self.start[name]) / np.linalg.norm(self.start[name])
            for name, now in kernels(self.model).items()
        }


# %%
def plot_distances(columns, title, xlabel="after epoch"):
    names = [*next(iter(columns.values()))][::-1]  # the head above; the photo comes in below
    table = np.array([[distances[name] for distances in columns.values()] for name in names])
    figure, axes = plt.subplots(figsize=(1.5 + 0.7 * max(len(columns), 5), 2.8), layout="constrained")
    axes.imshow(np.ma.masked_equal(table, 0), cmap="Blues", norm=LogNorm(0.005, 100), aspect="auto")
    for (row, column), value in np.ndenumerate(table):
        text = np.format_float_positional(value, precision=2, fractional=False, trim="-")
        axes.text(column, row, text, ha="center", va="center", color="white" if value > 3 else "black")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.set(xlabel=xlabel, title=title)
    plt.show()


# %% [markdown]
# ## 2. The trap
#
# First the head alone, then the backbone with it: that seems easy. A callback opens the backbone before the fourth
# epoch. (`unfreeze` sets `trainable` of each weight; with any Keras layer, `layer.trainable = True` does the same, and
# ends the same.)


# %%
class OpenTheBackbone(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 3:
            before = len(self.model.trainable_variables)
            self.model.get_layer("backbone").unfreeze()
            print(f"Epoch 4: {len(self.model.trainable_variables)} trainable variables instead of {before}.")


model, distance = build_model(), Distance()
compile_model(model, sgd(0.02))
model.fit(data.train, epochs=6, shuffle=False, verbose=0, callbacks=[OpenTheBackbone(), distance])
plot_distances(distance.after, "Distance from the start in %, opened in a plain callback")

# %% [markdown]
# Keras says that all those variables are trainable. **Not one of the backbone's moved**, and nothing warned. Keras had
# put together its training step before the first epoch, for the two variables of the head, and goes on using it; the
# optimizer, too, was made for these two. Whoever looks at the loss alone sees it fall (the head still learns) and
# believes that the network was fine-tuned.
#
# ## 3. Unfreezing that happens
#
# `ProgressiveUnfreezing` opens stages from the top as training goes on: here none, then one before epoch 4, three
# before epoch 7, each time at a fifth of the rate. `prepare_unfreezing` lets the optimizer know beforehand every weight
# that may ever train.

# %%
model, distance = build_model(), Distance()
compile_model(model, sgd(0.02))
prepare_unfreezing(model)
unfreezing = ProgressiveUnfreezing(schedule={0: 0, 3: 1, 6: 3}, learning_rate_multiplier=0.2)
history = model.fit(
    data.train,
    validation_data=data.validation,
    epochs=9,
    shuffle=False,  # by Keras; the photos come in a new order each epoch
    verbose=0,
    callbacks=[unfreezing, distance],
)
plot_distances(distance.after, "Distance from the start in %, opened by ProgressiveUnfreezing")

# %% [markdown]
# A staircase: what is open moves, what is closed stays *exactly* as pretrained. The lines above the picture are the
# callback's own proof, phase by phase; a stage that was opened and did not move would have been an error. The curves,
# with the openings marked:

# %%
plot_learning_curves(history.history, unfreezing.openings)

# %% [markdown]
# ## 4. Which learning rate?
#
# Try them all: `find_learning_rate` raises the rate a little with each batch, from far too small to far too large, and
# watches the loss. Afterwards everything is put back as it was. We do it as we begin, with only the head in training.

# %%
model = build_model()
compile_model(model, sgd(0.02))
curve = find_learning_rate(model, data.train, start_rate=1e-5, num_steps=60)
plot_learning_rates(curve)

# %% [markdown]
# On the left nothing happens, on the right the steps are too long. A good rate lies where the line falls, well before
# its lowest point. Where the loss does not fall at all, there is no suggestion (`None`): look at the curve, and at the
# data.

# %%
rate = curve.suggestion if curve.suggestion is not None else 0.02
print(f"Training with {rate:.2g}")

# %% [markdown]
# ## 5. A rate for each stage
#
# This rate suits the head, which begins with nothing. For weights that already know something it is a storm. With
# `LayerwiseLearningRates` the head has all of it, and each stage below 1 / 2.6 of the one above it. Over time, the rate
# follows a `SlantedTriangular`: a quick rise, a long fall. (Both are from ULMFiT, where fine-tuning in this manner
# began.) All stages are open from the start, so that there is something to compare:

# %%
EPOCHS = 8
schedule = SlantedTriangular(rate, total_steps=EPOCHS * STEPS)


def fine_tune(*, layerwise, penalty=0.0):
    """Train everything; returns the model, its history and its distances."""
    model, distance = build_model(), Distance()
    model.get_layer("backbone").unfreeze()
    if penalty:
        add_starting_point_penalty(model, alpha=penalty, beta=0)  # of section 6
    optimizer = LayerwiseLearningRates(sgd(schedule), model) if layerwise else sgd(schedule)
    compile_model(model, optimizer)
    history = model.fit(
        data.train,
        validation_data=data.validation,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=[LearningRateLogger(), distance],
    )
    return model, history.history, distance.after


one_rate, one_rate_history, one_rate_distances = fine_tune(layerwise=False)
layerwise, layerwise_history, layerwise_distances = fine_tune(layerwise=True)

# %% [markdown]
# The lines are what was asked for, the dots what `LearningRateLogger` wrote down while training. (Rise and fall are
# straight; a logarithmic axis bends them, but shows all stages.)

# %%
steps = np.arange(EPOCHS * STEPS + 1)
ends = STEPS * np.arange(1, EPOCHS + 1)  # of the epochs
figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
multipliers = layerwise.optimizer.multipliers
for (name, multiplier), shade in zip(multipliers.items(), np.linspace(0.9, 0.2, len(multipliers)), strict=True):
    colour = plt.cm.viridis(shade)
    axes.semilogy(steps, np.array(schedule(steps)) * multiplier, color=colour)
    axes.semilogy(ends, layerwise_history[f"learning_rate/{name}"], "o", color=colour, markersize=4)
    axes.annotate(name, (steps[-1] + 1, schedule(steps[-1]) * multiplier), color=colour, va="center")
axes.set(xlabel="step (one batch)", ylabel="learning rate", xlim=(0, 1.12 * steps[-1]))
axes.set_title("A quick rise and a long fall, lower from stage to stage")
plt.show()

# %% [markdown]
# Where the two trainings ended:

# %%
ended = {"one rate": one_rate_distances[EPOCHS], "layer-wise": layerwise_distances[EPOCHS]}
plot_distances(ended, f"Distance from the start in % after {EPOCHS} epochs", xlabel="")

# %% [markdown]
# With one rate, stages near the input went as far as the last one: exactly those that were right for all photos. With
# layer-wise rates each stage went further than the one below it. The photos that the networks had not seen agree. (One
# run of each; with other photos the numbers are others.)

# %%
figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
for name, recorded in {"one rate": one_rate_history, "layer-wise": layerwise_history}.items():
    axes.plot(range(1, EPOCHS + 1), recorded["val_accuracy"], "o-", markersize=4, label=name)
axes.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1))
axes.legend(loc="lower right")
plt.show()

# %% [markdown]
# ## 6. On a leash
#
# The other way to keep what was known: a penalty in the loss on the distance from the start (L2-SP). Weight decay pulls
# weights to 0, and with them what they know; this pulls them back to where they began. One line, before `compile`. The
# same storm of a rate as above, with and without it:

# %%
held, held_history, held_distances = fine_tune(layerwise=False, penalty=0.5)
ended = {"free": one_rate_distances[EPOCHS], "held": held_distances[EPOCHS]}
plot_distances(ended, "Distance from the start in %, one rate for all", xlabel="")
print(
    f"Validation accuracy: free {one_rate_history['val_accuracy'][-1]:.2f}, held {held_history['val_accuracy'][-1]:.2f}"
)

# %% [markdown]
# ## 7. As if nothing had happened
#
# A machine is restarted, a session ends, the power fails. `ExactResume` writes down after each epoch all that the rest
# of the training depends on: weights, the optimizer's memory, open stages, rates, the seeds of dropout.
# `data.epochs` makes the order of the photos depend on the epoch alone. Then the same call goes on where it was.


# %%
class PowerCut(Exception):
    pass


def train(folder, power_cut_at_step=None):
    def power(batch, logs=None):
        if int(model.optimizer.iterations) == power_cut_at_step:
            raise PowerCut

    model = build_model()
    compile_model(model, sgd(0.02))
    prepare_unfreezing(model)
    resume = ExactResume(folder)
    history = model.fit(
        epochs(data.train_epoch, seed=0, first_epoch=resume.initial_epoch),
        steps_per_epoch=STEPS,
        initial_epoch=resume.initial_epoch,
        epochs=6,
        shuffle=False,
        verbose=0,
        callbacks=[
            ProgressiveUnfreezing(schedule={0: 0, 3: 1}, verbose=0),
            keras.callbacks.LambdaCallback(on_train_batch_begin=power),
            resume,  # last
        ],
    )
    return model, history.history


# %% [markdown]
# Once without interruption; and once with a power cut in the middle of the fifth epoch, after a stage was opened.

# %%
uninterrupted, uninterrupted_history = train("uninterrupted")

try:
    train("interrupted", power_cut_at_step=4 * STEPS + 2)
except PowerCut:
    print("Power cut in epoch 5. The model is gone.")

# %% [markdown]
# Now the same again, and this time the power stays on. In a script it would be the same command.

# %%
resumed, resumed_history = train("interrupted")

# %%
figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
axes.plot(range(1, 7), uninterrupted_history["loss"], color="tab:blue", linewidth=6, alpha=0.35, label="uninterrupted")
axes.plot(range(1, 5), resumed_history["loss"][:4], "o-", color="tab:orange", label="interrupted, before")
axes.plot(range(5, 7), resumed_history["loss"][4:], "s-", color="tab:green", label="interrupted, resumed")
axes.axvline(4.4, color="gray", linestyle="--", label="the power cut")
axes.set(xlabel="epoch", ylabel="training loss")
axes.legend()
plt.show()

pairs = zip(uninterrupted.get_weights(), resumed.get_weights(), strict=True)
print("Largest difference of any weight:", max(float(np.abs(a - b).max()) for a, b in pairs))

# %% [markdown]
# Not *nearly* the same: the same, to the last bit (on a CPU; graphics cards add numbers in an order of their own).
#
# ## What next
#
# - `tlkit new image-classifier flowers --data photos/` makes a complete project for your photos that trains like this.
# - `tlkit.finetune` has more schedules and penalties; `help(ProgressiveUnfreezing)` says how to open a stage when a
#   metric no longer improves, or layers of any Keras model.
