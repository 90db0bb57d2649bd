# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Domain adaptation in pictures: labels here, photos there
#
# You have labelled pictures, and a model that is good on them. Then come the pictures that it is needed for, and they
# look different: another camera, another light. Nobody has labelled those. **Domain adaptation** learns from both: the
# labelled pictures, the **source**, say what the classes are, and the unlabelled ones, the **target**, say how things
# look where the model will work.
#
# It can help a lot. It can also do harm, and without labels of the target nothing looks wrong then. So this notebook
# shows both, and what can be seen of either.
#
# You know Keras; nothing else is needed. Once tlkit is installed, everything runs without a network, in a minute or two
# on two CPU cores. The first cell installs it where it is missing, as in Colab.

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

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from keras import layers
from rich.console import Console
from scipy.stats import spearmanr
from sklearn.datasets import load_digits

import tlkit
from tlkit.callbacks import AdaptationRamp, DiscriminatorWatch
from tlkit.domain import (
    AdaptationScores,
    DomainDiscriminator,
    DomainLoss,
    MinimumClassConfusion,
    build_dann,
    build_mcc,
    check_paired,
    compare_adaptation,
    label_classifier,
    one_domain,
    pair_domains,
    proxy_a_distance,
)
from tlkit.evaluation import plot_domains, plot_examples, plot_learning_curves
from tlkit.finetune import InversePowerDecay

plt.rcParams.update({"axes.titlelocation": "left", "axes.titleweight": "bold", "axes.titlesize": 10, "figure.dpi": 90})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})
tf.get_logger().setLevel("ERROR")  # it would speak of each new model that predicts
os.chdir(tempfile.mkdtemp())  # what is saved goes there; it may be thrown away

# %% [markdown]
# ## 1. Two domains
#
# The handwritten digits that come with scikit-learn. The first half of them are **scans**: black on white, with their
# classes. The others were **photographed**, or so we pretend: paler ink, a lamp at one side, the grain of a small
# camera. No digit is in both.


# %%
def photograph(ink, random):
    """What a camera makes of digits on paper: `ink` is 0 for paper, 1 for a stroke."""
    across = np.linspace(-1, 1, 16)
    angle = random.normal(0, 0.3, (len(ink), 1, 1, 1))  # of the lamp: about from below
    place = np.cos(angle) * across[:, None, None] + np.sin(angle) * across[:, None]
    light = 0.65 + 0.35 * np.clip(place, -1, 1)
    return np.clip(light * (1 - 0.5 * ink) + random.normal(0, 0.05, ink.shape), 0, 1).astype("float32")


digits = load_digits()
labels = digits.target.astype("int32")
ink = np.array(keras.ops.image.resize(digits.images[..., None] / 16, (16, 16), "bicubic")).clip(0, 1)
scans, photos = (1 - ink).astype("float32"), photograph(ink, np.random.default_rng(0))
plot_examples([*scans[:6], *photos[900:906]], [f"scan of a {y}" for y in labels[:6]] + ["photo: ?"] * 6)

# %% [markdown]
# The parts. Training gets 750 scans with labels and 450 photos without. Other scans and other photos, 150 each, will
# help to choose an epoch, these photos without labels, too. The last 297 photos have labels: they are our *truth*, to
# see whether all this works. No training and no choice sees them. In your own project such a part is worth an afternoon
# of labelling.

# %%
source_train = (scans[:750], labels[:750])
source_held = (scans[750:900], labels[750:900])
target_train = photos[900:1350]
target_held = photos[1350:1500]
target_test = (photos[1500:], labels[1500:])

# %% [markdown]
# ## 2. The source alone, and the gap
#
# A small network, an **encoder** from pictures to 64 features, and a classifier on these. First as always: it learns
# the scans.

# %%
EPOCHS, ROWS = 12, 32  # rows of each domain in a batch
STEPS = -(-len(source_train[0]) // ROWS)


def build_encoder():
    image = keras.Input((16, 16, 1), name="image")
    x = layers.Conv2D(16, 5, strides=2, padding="same", activation="relu")(image)
    x = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Dropout(0.2)(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(64, activation="relu", name="features")(x))


def sgd():
    """The optimizer of DANN's paper: momentum, and a rate that falls."""
    return keras.optimizers.SGD(InversePowerDecay(0.05, total_steps=EPOCHS * STEPS), momentum=0.9)


def train_classifier(rows, callbacks=()):
    """A plain Keras model on labelled rows, for as many steps as everything below."""
    encoder = build_encoder()
    model = keras.Model(encoder.input, layers.Dense(10, activation="softmax", name="head")(encoder.output))
    model.compile(sgd(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    data = tf.data.Dataset.from_tensor_slices(rows).shuffle(1000, seed=0).repeat().batch(ROWS).take(STEPS)
    model.fit(data, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=list(callbacks))
    return model


def accuracy(classifier, rows):
    return float((classifier.predict(rows[0], verbose=0).argmax(axis=1) == rows[1]).mean())


keras.utils.set_random_seed(0)
source_only = train_classifier(source_train)
gap = {"scans held out": accuracy(source_only, source_held), "photos": accuracy(source_only, target_test)}
print({name: round(value, 2) for name, value in gap.items()})

# %% [markdown]
# On scans that it has not seen, the model is right on most; on photos about half of that is lost. An ordinary
# validation, with scans, would never have told. Is the rest lost for good, because photos are hard to read? No: with
# the labels of the 450 photos, which we only pretend not to have, the same network learns them. Such a model is called
# the **oracle**. What lies between the two is the gap that adaptation may close.

# %%
keras.utils.set_random_seed(0)
oracle = train_classifier((target_train, labels[900:1350]))
print(f"Photos: source only {gap['photos']:.2f}, oracle {accuracy(oracle, target_test):.2f}")

# %% [markdown]
# ## 3. A batch of two domains
#
# The models below have two outputs: "label", the class, and "domain", where a row comes from. `pair_domains` makes the
# batches for both, scan, photo, scan, photo:

# %%
source = tf.data.Dataset.from_tensor_slices(source_train).shuffle(1000, seed=0)
target = tf.data.Dataset.from_tensor_slices(target_train).shuffle(1000, seed=1)  # pictures, no labels
pairs = pair_domains(source, target, global_batch_size=2 * ROWS)
x, y, weights = next(iter(pairs))
print("domain", y["domain"].numpy()[:6].ravel())
given = zip(y["label"].numpy()[:6], weights["label"].numpy()[:6], strict=True)
plot_examples(x[:6].numpy(), [f"label {label}, weight {weight:.0f}" for label, weight in given])

# %% [markdown]
# A photo has no label. It is given a 0, and the weight 0, so the 0 does not count. A scan has the weight
# n / n_source = 2, because Keras divides the sum over a batch by **all** its n rows, those of weight 0, too. With 2 the
# label's loss is what it should be, the mean over the scans; with a weight of 1 it would be half of that, and every
# learning rate would mean something else. Here is the proof:

# %%
loss = keras.losses.SparseCategoricalCrossentropy()
predicted, is_scan = source_only.predict_on_batch(x), y["domain"].numpy().ravel() == 0
whole = float(loss(y["label"], predicted, sample_weight=weights["label"]))
of_scans = float(loss(y["label"].numpy()[is_scan], predicted[is_scan]))
print(f"The batch with its weights {whole:.4f}, its scans alone {of_scans:.4f}")

# %% [markdown]
# That the domains alternate matters on several devices, each of which is given a piece of the batch. If you build such
# batches yourself, `check_paired` looks whether each device gets both domains, and whether a target label counts.

# %%
check_paired(pairs, num_replicas=2)  # it says nothing: all is well

# %% [markdown]
# ## 4. DANN, an ordinary model
#
# The idea of **DANN** is a game. A **discriminator** learns to tell from the 64 features whether they are of a scan or
# of a photo. The encoder learns the opposite: between the two stands a layer that turns the gradient around. Where
# the discriminator can no longer tell, what the classifier learned on scans holds for photos.
#
# `build_dann` puts this together; what comes out compiles, fits and saves like any model. Two things need care:
#
# - **Metrics are `weighted_metrics`**, or the 0 of each photo would count as its label.
# - **The game begins slowly.** At first neither player knows anything. `AdaptationRamp` lets the reversed gradient rise
#   from 0; here it waits for a fifth of the training and stops at 0.3 of the usual strength. Section 7 shows why.


# %%
def build_adapted(build, domain_loss, optimizer, **options):
    model = build(build_encoder(), 10, **options)
    model.compile(
        optimizer,
        loss={"label": "sparse_categorical_crossentropy", "domain": domain_loss},
        weighted_metrics={"label": ["accuracy"]},
    )
    return model


def build_our_dann(optimizer):
    return build_adapted(build_dann, DomainLoss(), optimizer, discriminator=DomainDiscriminator((128,)))


keras.utils.set_random_seed(0)
dann = build_our_dann(sgd())
{name: tuple(output.shape) for name, output in dann.output.items()}

# %% [markdown]
# `validation_data` is one domain, the scans held out, in the form that this model takes: `one_domain` gives them their
# second target with a weight of 0, so `val_loss` is the loss of the label alone.
#
# Three more callbacks. `DiscriminatorWatch` speaks when the game goes wrong. `AdaptationScores` judges each epoch
# without target labels, see section 6. Keras' own `ModelCheckpoint` keeps the best epoch by one of these scores.

# %%
validation = one_domain(tf.data.Dataset.from_tensor_slices(source_held).batch(150))
watch = DiscriminatorWatch(pairs)
scores = AdaptationScores(source_held, target_held, target_test=target_test)  # the last for section 6 only
best = keras.callbacks.ModelCheckpoint("dann.keras", monitor="target_information", mode="max", save_best_only=True)
history = dann.fit(
    pairs,
    validation_data=validation,
    epochs=EPOCHS,
    shuffle=False,  # by Keras; `source` and `target` are shuffled
    verbose=0,
    callbacks=[AdaptationRamp(warm_start=0.2, maximum=0.3), watch, scores, best],
).history
print("DiscriminatorWatch:", [verdict.sentence for verdict in watch.verdicts] or "nothing to say")

# %%
shown = ("label_accuracy", "val_label_accuracy", "reversal_scale", "discriminator_accuracy")
plot_learning_curves({name: history[name] for name in shown})

# %% [markdown]
# On the right the game, and it swings: when the ramp has risen, the discriminator loses a round, learns, and wins one
# back. A bad round is no harm, so `DiscriminatorWatch` speaks of what lasts only. On the left the price, and it is
# small: scans are still classified well. What came of it on photos, nobody who has no labels can see here. We have
# some:

# %%
print(f"Photos: source only {gap['photos']:.2f}, DANN {accuracy(label_classifier(dann), target_test):.2f}")

# %% [markdown]
# ## 5. Features, before and after
#
# The 64 features of scans and photos, drawn in the plane by t-SNE. Each name stands in the middle of its class, in the
# colour of its domain; for photos it is the truth.


# %%
def features(model):
    encoder = keras.Model(model.input, model.get_layer("features").output)
    return [encoder.predict(rows, verbose=0) for rows in (source_held[0], target_test[0])]


before, after = features(source_only), features(dann)
plot_domains(
    before,
    after,
    source_labels=source_held[1],
    target_labels=target_test[1],
    projection="tsne",
    titles=("Source only", "DANN"),
)

# %% [markdown]
# Before, photos lie apart, and many a digit is nearer to another digit's scans than to its own. After, more of the
# digits have their double next to them. That is what counts. The colours still do not mix, and they need not: where all
# is mixed and *different* digits lie together, adaptation has done harm.
#
# How far apart the domains are can be put into a number. The A-distance is 2 where a linear classifier tells them apart
# without error, and 0 where it cannot:

# %%
distances = {name: proxy_a_distance(*both) for name, both in {"source only": before, "DANN": after}.items()}
print({name: round(distance, 2) for name, distance in distances.items()})

# %% [markdown]
# It has hardly moved, and photos are read better all the same. The grain of the camera is still in the features, but
# the classes depend on it less. So do not judge an adaptation by such a distance alone: features that tell nothing at
# all have the smallest.
#
# ## 6. Which epoch, without labels?
#
# Adversarial training swings: one epoch is good and the next one is not. With target labels one would take the best
# epoch, and that is how many published numbers came about. Without them there are **label-free scores**. Here is each
# of them, a point for an epoch, against what is true. A useful score rises to the right, and its highest point, with
# the ring, is near the dashed line.

# %%
truth = np.array(history["target_accuracy"])
names = [name for name in scores.epochs[0] if name != "target_accuracy"]
choices = {name: truth[int(np.argmax(history[name]))] for name in names}
figure, grid = plt.subplots(2, 4, figsize=(11, 5), layout="constrained", sharey=True)
for name, axes in zip(names, grid.flat, strict=False):
    points = axes.scatter(history[name], truth, c=range(1, EPOCHS + 1), cmap="viridis", s=28)
    axes.plot(max(history[name]), choices[name], "o", markersize=13, markerfacecolor="none", markeredgecolor="tab:red")
    axes.axhline(truth.max(), color="gray", linestyle="--", linewidth=1)
    axes.set_title(name)
for axes in grid[:, 0]:
    axes.set_ylabel("target accuracy")
grid.flat[-1].set_axis_off()
figure.colorbar(points, ax=grid.flat[-1], label="epoch", location="left", fraction=0.3)
plt.show()

# %%
print(f"{'score':22}{'chosen':>8}{'correlation':>13}")
for name in names:
    print(f"{name:22}{choices[name]:8.2f}{spearmanr(history[name], truth).statistic:13.2f}")
print(f"{'by labels, a dream':22}{truth.max():8.2f}\n{'last epoch':22}{truth[-1]:8.2f}")

# %% [markdown]
# *chosen* is the target accuracy of the epoch that the score would have chosen. `target_information` asks that each
# photo be surely of one class, and all classes be used; it chooses well here, and it is what our checkpoint went by.
# `target_snd` chooses badly: it likes dense neighbourhoods, and the densest of all is an untrained network for which
# everything is the same. One training proves nothing about a score; larger studies find no score that is always right
# (`help(tlkit.domain.validators)` has their numbers). Look at several, and distrust the first epochs.
#
# ## 7. When it hurts
#
# Now as most people would type it: Adam at its usual rate, the ramp at full strength from the beginning. The same
# network, the same data, the same seed.

# %%
keras.utils.set_random_seed(0)
careless = build_our_dann(keras.optimizers.Adam(1e-3))
careless_watch = DiscriminatorWatch(pairs)
careless_history = careless.fit(
    pairs, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[AdaptationRamp(), careless_watch]
).history

# %%
careless_accuracy = accuracy(label_classifier(careless), target_test)
print(f"Photos: source only {gap['photos']:.2f}, careless DANN {careless_accuracy:.2f}")

# %% [markdown]
# All that work, and photos are read no better than without it, if not worse. That is **negative transfer**. No
# loss told; the watch did, while it happened, and without a label. Both lines above are about the same thing: the
# players do not keep pace. First the discriminator guesses though the domains are far apart, so what it tells the
# encoder is noise; then it wins outright. The discriminators of both trainings:

# %%
figure, axes = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
axes.axhspan(0.95, 1.02, color="tab:red", alpha=0.12, linewidth=0)
axes.axhline(0.5, color="gray", linestyle="--", linewidth=1)
axes.annotate("it wins", (1, 0.985), va="center", color="tab:red")
axes.annotate("it guesses", (1, 0.515), va="bottom", color="gray")
for name, recorded in {"section 4": history, "careless": careless_history}.items():
    axes.plot(range(1, EPOCHS + 1), recorded["discriminator_accuracy"], "o-", markersize=4, label=name)
axes.set(xlabel="epoch", ylabel="discriminator's accuracy", ylim=(-0.02, 1.02))
axes.legend(loc="lower right")
plt.show()

# %% [markdown]
# Two remedies. One is what the watch advised first, a warm start and a lower maximum, with a calmer optimizer. That is
# section 4.
# The other is a method without an opponent. **MCC** does not make features alike. It asks that predictions on photos do
# not waver between classes. With the very same careless settings:

# %%
keras.utils.set_random_seed(0)
mcc = build_adapted(build_mcc, MinimumClassConfusion(), keras.optimizers.Adam(1e-3))
mcc.fit(pairs, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[AdaptationRamp()])
mcc_accuracy = accuracy(label_classifier(mcc), target_test)
print(f"Photos: source only {gap['photos']:.2f}, careless DANN {careless_accuracy:.2f}, MCC {mcc_accuracy:.2f}")

# %% [markdown]
# (MCC also bears what a discriminator cannot: classes that are missing in the target, or far more frequent there.
# Making features alike then puts rows of one class on another. If your source is unbalanced and your target is not,
# `pair_domains(..., balance_classes=True)` is the first thing to try.)
#
# ## 8. Did it help, or was that luck?
#
# So far there was one training of each. `compare_adaptation` trains with several seeds, always beside the source alone,
# chooses epochs without target labels, and says what it found. You write one function that trains a method and returns
# the model.


# %%
def train(method, seed, callbacks):
    if method == "source only":
        return train_classifier(source_train, callbacks)
    if method == "dann":
        model, ramp = build_our_dann(sgd()), AdaptationRamp(warm_start=0.2, maximum=0.3)
    else:
        model, ramp = build_our_dann(keras.optimizers.Adam(1e-3)), AdaptationRamp()
    model.fit(pairs, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[*callbacks, ramp])
    return model


comparison = compare_adaptation(
    train,
    methods=["dann", "careless dann"],
    source_validation=source_held,
    target=target_held,
    target_test=target_test,
    scores=["source_accuracy", "source_score", "target_information", "target_snd"],
    seeds=[0, 1, 2, 3],
    verbose=0,
)
comparison.print(Console(width=100, force_jupyter=False, color_system=None))

# %%
comparison.plot()

# %% [markdown]
# Read the last lines first. An adaptation helped when the interval of its difference, paired by seed, lies above 0.
# Where it holds 0, the honest answer is "may be chance". See how far apart the grey points are, of trainings that
# differ in their seed only: one run of each would have told little. *chosen* is what you would have got; *labels* is
# what nobody can have. Without `target_test` the same call compares label-free scores, and says how little that proves.
#
# ## 9. To work
#
# The checkpoint of section 4 holds the epoch that `target_information` chose, both outputs and the game with it. For
# work only the classifier is needed: `label_classifier` takes it out, and it is a plain Keras model from a picture to
# ten probabilities.

# %%
classifier = label_classifier(tlkit.load_model("dann.keras"))
classifier.save("digits.keras")
reloaded = keras.models.load_model("digits.keras")
print(f"Photos: {accuracy(reloaded, target_test):.2f}, file of {os.path.getsize('digits.keras') / 1000:.0f} KB")

found = reloaded.predict(target_test[0][:6], verbose=0)
captions = [f"{row.argmax()} ({row.max():.0%}), is {y}" for row, y in zip(found, target_test[1][:6], strict=True)]
plot_examples(target_test[0][:6], captions)

# %% [markdown]
# ## 10. Other methods
#
# They differ in one line: the function that builds, and the loss of "domain".
#
# | method | function | loss of "domain" | take it when |
# |---|---|---|---|
# | DANN | `build_dann` | `DomainLoss()` | you can afford to watch a game |
# | CDAN, CDAN+E | `build_cdan`, `entropy_weighted=True` | `DomainLoss()` | classes are matched with wrong ones |
# | DAN | `build_dan` | `MaximumMeanDiscrepancy()` | the game will not settle; batches of 32 or more of each domain |
# | Deep CORAL | `build_coral` | `CorrelationAlignment()` | you want something cheap; its weight wants tuning |
# | MCC | `build_mcc` | `MinimumClassConfusion()` | the target lacks classes, or source only is mostly right |
#
# ## What next
#
# - Begin with source only and its gap on a hundred labelled target rows. Where there is no gap, there is nothing to do.
# - A pretrained backbone goes in as the encoder: `build_dann(tlkit.load_backbone("tlkit:mini-image"), 10)`. See
#   `fine_tuning.ipynb` for how to open it.
# - `tlkit new image-classifier flowers --data photos/ --set adaptation=dann --set target=phone_photos/` makes a
#   complete project that trains like this; `python -m flowers.compare` in it is section 8.
