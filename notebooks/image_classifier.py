# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # my_project: your photos, a pretrained network, and what it learned
#
# The same steps as `python -m my_project.train`, one by one and with pictures. Everything is imported from the package
# beside this notebook: what you change there, you see here after restarting the kernel.
#
# The first cell installs what is missing, in Colab too. There, upload the project's folder and open the notebook inside
# it; alone, it makes a new project with sample photos.

# %%
import importlib.util
import subprocess
import sys
from pathlib import Path


def pip_install(requirement):
    print(f"Installing {requirement}")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", requirement], check=True)


if importlib.util.find_spec("tlkit") is None:
    pip_install("tlkit-requirement")
if importlib.util.find_spec("my_project") is None:
    print("There is no my_project beside this notebook: making a new one, with sample photos.")
    pip_install("scikit-image")
    new = ["new", "image-classifier", "my_project", "--defaults"]
    subprocess.run([sys.executable, "-m", "tlkit.cli", *new], check=True)
    sys.path.insert(0, str(Path("my_project").resolve()))

# %%
# %matplotlib inline
import dataclasses
import re

import numpy as np
from IPython.display import Image, Markdown, display

from tlkit.evaluation import plot_examples

from my_project.config import BEST, PROJECT, Config
from my_project.data import load_datasets
from my_project.evaluate import evaluate_run, plot_before_and_after, print_table
from my_project.model import build_augmentation, build_model
from my_project.predict import predict_files
from my_project.train import new_run, train

# %% [markdown]
# ## 1. The settings
#
# `config.py` holds every number. For a first look the training is short; take `config = Config()` for the real thing.

# %%
config = dataclasses.replace(Config(), head_epochs=6, stages_to_open=1, epochs=12)
config

# %% [markdown]
# ## 2. The photos
#
# One folder per class, or a CSV table. Check here that photos and names belong together: no setting repairs a wrong
# label.

# %%
data = load_datasets(config)
files = data.files
print(f"{len(files.train)} photos to train on, {len(files.validation)} to validate, {len(files.test)} to test")
images, labels = next(data.train.as_numpy_iterator())


def names(label):
    """The class, or in multi-label data the classes, where the label is a row of 0 and 1."""
    numbers = label.nonzero()[0] if data.multi_label else [label]
    return ", ".join(data.class_names[number] for number in numbers) or "none"


plot_examples(images[:12], [names(label) for label in labels[:12]])

# %% [markdown]
# **Augmentation** shows every photo a little differently each time. All of these must still be what they were: if one
# could be taken for another class, weaken that step in `config.py`. Here, one photo, changed eight times.

# %%
augmented = build_augmentation(config)(np.repeat(images[:1], 8, axis=0), training=True)
plot_examples(np.array(augmented), [names(labels[0])] * 8)

# %% [markdown]
# ## 3. The model
#
# Augmentation, backbone and head in one Keras model. The backbone is a stack of **stages**: the first ones see edges
# and colours, which are the same everywhere; the last ones see whole things, worth adapting to your photos.

# %%
model = build_model(config, len(data.class_names), data.multi_label)
model.summary()
model.get_layer("backbone").summary()

# %% [markdown]
# ## 4. Training
#
# First the head alone, on a closed backbone; then stage after stage opens from the top, at a lower learning rate.

# %%
print("Epoch (from 0) and number of open stages:", config.schedule)
run = new_run()
history = train(config, run)

# %% [markdown]
# ## 5. What it learned
#
# The judgement is on photos that it never saw.

# %%
evaluation = evaluate_run(run)
print_table([evaluation])
evaluation.figures["learning_curves"]

# %% [markdown]
# The lines mark the openings. If validation stands still while training goes on improving, the network learns photos by
# heart: more augmentation, fewer stages. If both still improve at the end, train longer.

# %%
evaluation.figures["class_scores" if data.multi_label else "confusion_matrix"]

# %% [markdown]
# The most wrong photos teach most: often the label is wrong, or the photo shows both, or something is missing in the
# training photos.

# %%
evaluation.figures["most_wrong"]

# %% [markdown]
# ## 6. Photos of another look
#
# Where `config.py` names a `target` and an `adaptation`, the training above has learned from unlabelled photos, too.
# Here is the same training without them (left), and the one above (right): features of photos on which neither was
# trained. Adaptation has worked where the colours mix, and well where the names of a class in both colours coincide.
# Whether it helps by more than chance, `python -m my_project.compare` tells.

# %%
if config.adapts:
    without = new_run()
    train(dataclasses.replace(config, adaptation="none"), without)
    print_table([evaluate_run(without), evaluation])
    display(plot_before_and_after(without, run))
else:
    print("This project adapts to no target: nothing to see here.")

# %% [markdown]
# ## 7. Try a photo of your own
#
# Put the path of any photo here. (In Colab: the folder symbol on the left, then upload.)

# %%
photo = (files.test or files.validation)[0].path
for prediction in predict_files(run, [photo]):
    said = [f"{name} {probability:.1%}" for name, probability in prediction.classes.items()]
    print(f"{prediction.file}: {', '.join(said) or 'none of the classes'}")

# %% [markdown]
# ## 8. Better settings over night
#
# `python -m my_project.tune --trials 30` in a terminal tries other settings, those of `search_space` in `tune.py`, and
# leaves a report. Once there is one, it is shown here. How to read it:
#
# - **On new seeds** comes first. The best of many trials is lucky, too, so the best three and the defaults were trained
#   again. Where their spreads overlap, nothing was found: keep the defaults.
# - **What the score depends on:** with few trials this means little. What hardly matters may leave the search; each
#   setting less makes it find the others sooner.
# - **Each trial a line:** where the good ones meet on an axis, a setting has a good value. If that is at the end of the
#   axis, let it go on there.
# - **The score by epoch:** if the best still rise at the end, train longer before you search further.

# %%
report = BEST.parent / "report.md"
if report.exists():
    display(Markdown(re.sub(r"!\[.*\]\(.*\)", "", report.read_text(encoding="utf-8"))))
    display(*(Image(filename=str(picture)) for picture in sorted(report.parent.glob("*.png"))))
else:
    print(f"No search has ended yet: there is no {report.relative_to(PROJECT)}.")

# %% [markdown]
# ## 9. What next
#
# - **What is transfer worth?** `train(dataclasses.replace(config, weights="random"), new_run())` trains the same
#   network without its pretraining; `print_table` both evaluations.
# - **The real training:** `python -m my_project.train`, then `python -m my_project.evaluate`.
# - **Another backbone:** `--backbone keras:EfficientNetV2B0`, or an address of TF-Hub or Kaggle, or the folder of a
#   SavedModel; `tlkit backbones --image` lists well-known ones. `--image_size` is the size that it was trained on.
# - **Into a server:** `python -m my_project.export`.

# %%
print(f"This run, with its model and pictures: {run.relative_to(PROJECT)}")
