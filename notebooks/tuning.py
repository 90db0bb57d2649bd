# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Tuning in pictures: better settings, or better luck?
#
# Which learning rate? How much dropout? May a stage of the backbone train, too? Nobody knows beforehand. A **search**
# tries many such settings, each in a training of its own, a **trial**. Three questions decide whether it is worth a
# night: what a trial *costs*, which settings come *next*, and whether the best of many trials is *better or just
# lucky*.
#
# You know Keras; nothing else is needed. Everything runs in two or three minutes on two CPU cores, without a network,
# once tlkit is installed with its sample photos: `tlkit[samples]`. The first cell installs it where it is missing, as
# in Colab.

# %%
import importlib.util
import subprocess
import sys

TLKIT = "tlkit[detection,samples]==0.1.*"
if importlib.util.find_spec("tlkit") is None:  # a wheel of it that lies beside this notebook is found, too
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--find-links", ".", TLKIT], check=True)

# %%
# %matplotlib inline
import collections
import contextlib
import io
import os
import signal
import tempfile
import time
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from matplotlib.colors import LogNorm
from scipy import stats

import tlkit
from tlkit.callbacks import ExactResume
from tlkit.data import fingerprint_images, load_image_folder, write_sample_images
from tlkit.evaluation import plot_parallel_coordinates
from tlkit.features import fit_on_features
from tlkit.runs import STATE
from tlkit.tuning import conclude, confirm_best, tune

plt.rcParams.update({"axes.titlelocation": "left", "axes.titleweight": "bold", "axes.titlesize": 11, "figure.dpi": 90})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})
tf.get_logger().setLevel("ERROR")  # it would speak of each new model
os.chdir(tempfile.mkdtemp())  # photos, features and searches go there; it may be thrown away

# %% [markdown]
# The photos: pieces of ten pictures, ten classes, 15 to train on in each. Settings are chosen by 150 others, the
# **validation** photos. The last 150, for the **test**, choose nothing, and wait for the end.

# %%
write_sample_images("photos")
for photo in sorted(Path("photos/test").glob("*/*.png"))[::2]:
    (Path("photos/val") / photo.parent.name).mkdir(parents=True, exist_ok=True)
    photo.rename(Path("photos/val") / photo.parent.name / photo.name)
data = load_image_folder("photos", image_size=96, batch_size=30, seed=0)
photos = fingerprint_images(data.files, times=True)
print({name: len(getattr(data.files, name)) for name in ("train", "validation", "test")})

# %% [markdown]
# ## 1. One trial
#
# Two functions are all that a search needs. The first one says what may vary: the learning rate, from 0.001 to 0.2;
# dropout before the head; and whether the last stage of the backbone trains (1) or all of it stays closed (0). The
# **defaults** are what one would type without thinking; 0.01 is Keras' own rate for `SGD`. The first trial takes them.

# %%
EPOCHS = 9


def search_space(hp):
    return {
        "learning_rate": hp.Float("learning_rate", 1e-3, 0.2, sampling="log", default=0.01),
        "dropout": hp.Float("dropout", 0.0, 0.6, default=0.2),
        "open_stages": hp.Int("open_stages", 0, 1, default=0),
    }


# %% [markdown]
# The second function trains with such settings, in a folder of its own, and returns numbers. Two lines in it matter:
#
# - `fit_on_features` trains as `fit` does. What the closed stages make of a photo it keeps on the disk, **for all
#   trials**.
# - `ExactResume` writes down after each epoch how to go on. (`epochs` is for Hyperband, in section 4: train up to there
#   and pause.)

# %%
trained = []  # every epoch that any trial trains, in the order of time


def build_model(settings):
    keras.utils.set_random_seed(settings.get("seed", 0))
    photo = keras.Input((96, 96, 3))
    backbone = tlkit.load_backbone("tlkit:mini-image", image_size=96, name="backbone")
    backbone.unfreeze(last=settings["open_stages"])
    features = keras.layers.Dropout(settings["dropout"])(backbone(photo))
    model = keras.Model(photo, keras.layers.Dense(10, activation="softmax", name="head")(features))
    optimizer = keras.optimizers.SGD(settings["learning_rate"], momentum=0.9)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train(settings, folder, epochs=None, callbacks=()):
    model = build_model(settings)
    resume = ExactResume(folder / STATE, pause_after=epochs)
    note = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: trained.append((folder.parent, epoch)))
    history = fit_on_features(
        model,
        data.train_in_order,
        data.validation,
        labels=data.labels,
        fingerprint=photos,
        folder="features",
        seed=settings.get("seed", 0),
        initial_epoch=resume.initial_epoch,
        epochs=EPOCHS,
        callbacks=[note, *callbacks, resume],  # resume last
        verbose=0,
    )
    return model, history.history


def run(settings, folder, epochs=None, callbacks=()):
    _, history = train(settings, folder, epochs, callbacks)
    return {"val_loss": min(history["val_loss"]), "val_accuracy": max(history["val_accuracy"])}


# %% [markdown]
# ## 2. What it costs
#
# The same training, that of the defaults, three times: by Keras' own `fit`; on features that have to be made first; and
# on those that are there.

# %%
defaults = {"learning_rate": 0.01, "dropout": 0.2, "open_stages": 0}
seconds = {}


def measure(name, training):
    begun = time.process_time()
    training()
    seconds[name] = time.process_time() - begun
    keras.utils.clear_session()


measure("build the model", lambda: build_model(defaults))
measure(
    "fit: all of it in every epoch",
    lambda: build_model(defaults).fit(
        data.train, validation_data=data.validation, epochs=EPOCHS, shuffle=False, verbose=0
    ),
)
measure("on features, first trial", lambda: run(defaults, Path("first/run")))
measure("on features, each further trial", lambda: run(defaults, Path("second/run")))

# %%
names = [name for name in seconds if name != "build the model"][::-1]
figure, axes = plt.subplots(figsize=(7.5, 2), layout="constrained")
axes.barh(names, [seconds[name] for name in names], color="tab:blue", height=0.6)
for place, name in enumerate(names):
    axes.annotate(f" {seconds[name]:.1f} s", (seconds[name], place), va="center")
axes.set(xlabel="processor time of a training", title="The closed part runs once for all trials")
axes.tick_params(left=False)
plt.show()

# %% [markdown]
# What is left of a trial is mostly Keras getting ready; the network is hardly run any more. The more epochs, photos and
# closed stages, the larger the gain: `docs/speed.md` has numbers. Trials that open the last stage share features, too:
# those after the stage before it.
#
# Be careful with one thing: features are of *these* photos. Augmentation draws other photos in every epoch; `copies=`
# then keeps a few versions of each.
#
# ## 3. Stop, and go on
#
# A search is long, and something always comes between. Here somebody presses the stop button of the notebook (as a
# program, that is `SIGINT`) in the sixth epoch of the fifth trial.


# %%
@contextlib.contextmanager
def short_paths():
    """What is printed within, with paths that begin here."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            yield
    finally:
        print(said.getvalue().replace(f"{Path.cwd()}{os.sep}", ""), end="")


def press_stop(epoch, logs):
    if trained[-1][0].name == "trial_4" and epoch == 5:
        signal.raise_signal(signal.SIGINT)


def run_with_somebody_beside(settings, folder):
    return run(settings, folder, callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=press_stop)])


GOAL = {"objective": "val_loss", "direction": "min"}
trained.clear()
try:
    with short_paths():
        tune(run_with_somebody_beside, search_space, num_trials=8, folder="random", **GOAL, seed=0)
except KeyboardInterrupt:
    before = len(trained)
    print(f"Stopped. Epochs begun so far: {before}")

# %% [markdown]
# Whether it was a finger, a power cut or an administrator makes no difference: what the search needs is on the disk.
# Now the same call once more. (The kernel may have been restarted in between, and the data loaded again.)

# %%
with short_paths():
    trials = tune(run, search_space, num_trials=8, folder="random", **GOAL, seed=0)

# %%
numbers = [int(folder.name.removeprefix("trial_")) + 1 for folder, _ in trained]
figure, axes = plt.subplots(figsize=(7.5, 3), layout="constrained")
for name, part, colour in (
    ("first call", slice(before), "tab:orange"),
    ("second call", slice(before, None), "tab:green"),
):
    order = np.arange(1, len(trained) + 1)[part]
    axes.scatter(order, numbers[part], marker="s", s=22, color=colour, label=name)
axes.axvline(before + 0.5, color="gray", linestyle="--", linewidth=1)
axes.annotate("stop ", (before + 0.5, 1), ha="right", color="gray")
axes.set(xlabel="epochs trained, in order of time", ylabel="trial", title="Only the epoch of the stop is done twice")
axes.invert_yaxis()
axes.legend(loc="upper right")
plt.show()

# %% [markdown]
# Four trials were finished and were not run again. The fifth went on in its sixth epoch, and the settings that were
# drawn afterwards are those that would have been drawn anyway. With a larger `num_trials` the same call goes on
# searching, tomorrow, too.
#
# ## 4. What the trials say
#
# Each trial is a line; the darker, the better. The worst one is left out, or the others could not be told apart.

# %%
*shown, worst = trials
print(f"Left out, val_loss {worst.score:.1f}: {worst.settings}")
plot_parallel_coordinates(
    [trial.settings for trial in shown],
    [trial.score for trial in shown],
    objective="val_loss",
    lower_is_better=True,
)

# %% [markdown]
# The worst trial had the highest rate of all, and an open stage, which such a rate tears to pieces; a closed backbone
# bears it. So which rate is right depends on what is open, and it is a mistake to search one setting after the other.
# Eight points in three dimensions are few, and yet one of them is far better than the defaults already.
#
# ## 5. What to try next?
#
# The trials above were drawn blindly, at **random**. Two others look at what they have got.
#
# - **Bayesian**: after some random trials (KerasTuner takes three a setting, here nine) a model of the scores guesses
#   where it is worth looking.
# - **Hyperband**: nine trials of one epoch; the best three of them go on to three epochs, the best of these to nine.
#
# Eleven trials for the first two. With one seed they begin with the same draws, and what was trained once need not be
# trained again:

# %%
known = {str(trial.settings): trial.metrics for trial in trials}


def run_or_remember(settings, folder):
    if str(settings) not in known:
        known[str(settings)] = run(settings, folder)
    return known[str(settings)]


with contextlib.redirect_stdout(io.StringIO()):
    searches = {
        "random": tune(run_or_remember, search_space, num_trials=11, folder="random", **GOAL, seed=0),
        "bayesian": tune(
            run_or_remember, search_space, num_trials=11, folder="bayesian", **GOAL, seed=0, algorithm="bayesian"
        ),
        "hyperband": tune(
            run,
            search_space,
            num_trials=13,
            folder="hyperband",
            **GOAL,
            seed=0,
            algorithm="hyperband",
            max_epochs=EPOCHS,
        ),
    }

# %% [markdown]
# Where each has looked: a circle with a closed backbone, a square with the last stage open; the larger, the more
# epochs; the darker, the better. The rings are the guesses of the Bayesian search.


# %%
def number(trial):
    return int(trial.folder.parent.name.removeprefix("trial_")) + 1


searches = {name: sorted(found, key=number) for name, found in searches.items()}  # as they were begun
figure, grid = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained", sharey=True)
for (name, found), axes in zip(searches.items(), grid, strict=True):
    for trial in found:
        guessed = name == "bayesian" and number(trial) > 9
        points = axes.scatter(
            trial.settings["learning_rate"],
            trial.settings["dropout"],
            c=[trial.score],
            cmap="viridis",
            norm=LogNorm(0.2, 2),
            s=20 * (trial.epochs or EPOCHS),
            marker="s" if trial.settings["open_stages"] else "o",
            edgecolor="tab:red" if guessed else "white",
            linewidth=2 if guessed else 0.5,
        )
    axes.set(xscale="log", xlabel="learning rate", title=name, xlim=(6e-4, 0.35), ylim=(-0.06, 0.66))
grid[0].set_ylabel("dropout")
bar = figure.colorbar(points, ax=grid, label="val_loss", ticks=[0.2, 0.5, 1, 2], format="%g", extend="max")
bar.minorticks_off()
plt.show()

# %%
figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
for name, found in searches.items():
    rounds = collections.Counter(folder for folder, _ in trained)
    spent = np.cumsum([rounds[trial.folder.parent] if trial.epochs else EPOCHS for trial in found])
    so_far = np.minimum.accumulate([trial.score for trial in found])
    wide = {"linewidth": 6, "alpha": 0.35} if name == "random" else {}  # it lies beneath another
    axes.step(spent, so_far, "o-", where="post", label=name, **wide)
axes.set(xlabel="epochs trained in all", ylabel="best val_loss so far", ylim=0)
axes.set_title("What each search has found, and for how much")
axes.legend()
plt.show()

# %% [markdown]
# Hyperband spent a fifth of the epochs, and what it found is far better than the defaults. It paid for that: the best
# settings of the random search were among its nine draws as well, and it dropped them, because they were slow in their
# first epochs. So it is for long trainings, whose beginning tells the end. Two Bayesian guesses prove nothing, here or
# elsewhere. With few trials, random search is as good as any, and the sturdiest. (Here most of a round is Keras getting
# ready, so that 13 short ones are not cheap. In trainings of an hour, epochs are what counts.)
#
# ## 6. Better, or lucky?
#
# The best of many trials has good settings *or* a lucky seed; probably a little of both. So the best and the defaults
# are trained again, on seeds that chose nothing, in pairs: a seed is often kind, or not, to both. (Given all trials,
# `confirm_best` takes the best three and the defaults.)

# %%
winner, best = min(
    ((name, trial) for name, found in searches.items() for trial in found), key=lambda pair: pair[1].score
)
print(winner, best.settings)
default = searches[winner][0]
with contextlib.redirect_stdout(io.StringIO()):
    confirmed = confirm_best(run, [best, default], seeds=[1, 2, 3], folder=winner, **GOAL)
scores = {"defaults" if one.number == 1 else "best": np.array(one.scores) for one in confirmed}
scores = {name: scores[name] for name in ("defaults", "best")}
difference = scores["best"] - scores["defaults"]
half = stats.t.ppf(0.975, len(difference) - 1) * stats.sem(difference)
low, high = difference.mean() - half, difference.mean() + half

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained", width_ratios=(3, 2))
left.plot([*scores], [*scores.values()], "o-", color="tab:blue", alpha=0.7)
left.set(ylabel="val_loss", ylim=0, xlim=(-0.3, 1.3), title="A line for each new seed")
right.axhline(0, color="gray", linestyle="--", linewidth=1)
right.plot(np.zeros_like(difference), difference, "o", color="tab:blue", alpha=0.7)
right.errorbar(0.4, difference.mean(), half, fmt="s", color="black", capsize=5)
right.annotate(
    "no difference", (1, 0), ha="right", va="bottom", color="gray", xytext=(-2, 3), textcoords="offset points"
)
right.set(xlim=(-0.3, 1), xticks=[0, 0.4], title="best - defaults")
right.set_xticklabels(["seeds", "95 %"])
plt.show()

# %% [markdown]
# `conclude` does all of that, and says what came of it; it writes a report with pictures, too. What was trained above
# it finds on the disk.

# %%
with short_paths():
    chosen = conclude(run, [best, default], seeds=[1, 2, 3], folder=winner, **GOAL)

# %% [markdown]
# ## 7. On photos that chose nothing
#
# The settings were chosen by the validation photos, so these, too, were kind to them. The last word is with the test
# photos, once, with one more seed. It is one training of each, on 150 photos: a few points are chance.

# %%
test = {}
for name, settings in {"defaults": default.settings, "best": chosen}.items():
    model, _ = train(settings | {"seed": 4}, Path(f"final {name}/run"))
    test[name] = model.evaluate(data.test, verbose=0)[1]
print({name: round(accuracy, 3) for name, accuracy in test.items()})

# %% [markdown]
# ## What next
#
# - In a project that `tlkit new` has made, `python -m flowers.tune --trials 30 --workers 4` is all of this over night,
#   on four cores or graphics cards; `train --config best` takes what it found.
# - Its `tuning/report.md` holds the picture of section 4, curves of all trials, and what the score depends on.
# - `tlkit cache` lists the features that are kept, and deletes them. (This notebook kept its own in a folder.)
