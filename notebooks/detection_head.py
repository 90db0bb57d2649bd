# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # my_project: your boxes, a pretrained network, and what it finds
#
# The same steps as `python -m my_project.train`, one by one and with pictures. Everything is imported from the package
# beside this notebook: what you change there, you see here after restarting the kernel.
#
# The first cell installs what is missing, in Colab too. There, upload the project's folder and open the notebook inside
# it; alone, it makes a new project with sample scenes.

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
    print("There is no my_project beside this notebook: making a new one, with sample scenes.")
    pip_install("scikit-learn")
    new = ["new", "detection-head", "my_project", "--defaults"]
    subprocess.run([sys.executable, "-m", "tlkit.cli", *new], check=True)
    sys.path.insert(0, str(Path("my_project").resolve()))

# %%
# %matplotlib inline
import dataclasses
import re

from IPython.display import Image, Markdown, display

from tlkit.evaluation import draw_boxes, plot_boxes

from my_project.config import BEST, PROJECT, Config
from my_project.data import inspect_data, load_datasets
from my_project.evaluate import evaluate_run, print_table
from my_project.model import build_model
from my_project.predict import predict_files
from my_project.train import new_run, train

# %% [markdown]
# ## 1. The settings
#
# `config.py` holds every number. For a first look the training is short, and finds little yet; take `config = Config()`
# for the real thing.

# %%
config = dataclasses.replace(Config(), head_epochs=3, stages_to_open=2, epochs_per_stage=2, epochs=10)
config

# %% [markdown]
# ## 2. Images and boxes
#
# What is wrong with boxes is mostly found by looking. First by a program, at all of them: corners that are swapped,
# boxes without area or outside, the same box twice, things too small for the size of the images.

# %%
inspect_data(config).print()

# %% [markdown]
# Then with your own eyes. Is every thing in a box, and each box around one thing? What was forgotten when labelling
# teaches the detector to look away. These are batches as it gets them while training: scaled, cut, brighter or darker,
# and the boxes with them.

# %%
data = load_datasets(config)
print(*(f"{name}: {len(getattr(data.rows, name))} images" for name in ("train", "validation", "test")), sep="\n")
images, truth = next(data.train.as_numpy_iterator())
boxes = [{name: values[number] for name, values in truth.items()} for number in range(len(images))]
plot_boxes(images[:8], boxes[:8], data.class_names)

# %% [markdown]
# ## 3. The model
#
# The backbone gives three maps of the image, at strides of 8, 16 and 32 pixels: fine ones for small things, coarse ones
# for large things. The pyramid lets each know what the others see, and the head says at each location of each map what
# is there, how far its four sides are, and how near its centre the location lies.

# %%
model = build_model(config, len(data.class_names))
model.summary()
model.get_layer("backbone").summary()

# %% [markdown]
# ## 4. Training
#
# First pyramid and head alone, on a closed backbone; then stage after stage opens from the top, at a lower rate. The
# average precision of the validation images is measured after each epoch, and the best epoch is kept.

# %%
print("Epoch (from 0) and number of open stages:", config.schedule)
run = new_run()
history = train(config, run)

# %% [markdown]
# ## 5. What it finds
#
# The judgement is on images that it never saw. AP50: the area under the curve of precision against recall, where a box
# counts as found that overlaps the true one by half.

# %%
evaluation = evaluate_run(run)
print_table([evaluation])
display(evaluation.figures["learning_curves"])
evaluation.figures["precision_recall"]

# %% [markdown]
# True boxes on the left, found ones on the right, with their scores. The images with the most mistakes teach most:
# often a box was forgotten, or two things touch.

# %%
display(evaluation.figures["examples"])
evaluation.figures["worst"]

# %% [markdown]
# ## 6. Try an image of your own
#
# Put the path of any image here. (In Colab: the folder symbol on the left, then upload.)

# %%
image = (data.rows.test or data.rows.validation)[0].path
for found in predict_files(run, [image]):
    display(draw_boxes(found.file, found.boxes, found.class_names, found.scores))

# %% [markdown]
# ## 7. Better settings over night
#
# `python -m my_project.tune --trials 10` in a terminal tries other settings, those of `search_space` in `tune.py`, and
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
# ## 8. What next
#
# - **What is transfer worth?** `train(dataclasses.replace(config, weights="random"), new_run())` trains the same
#   network without its pretraining; `print_table` both evaluations.
# - **The real training:** `python -m my_project.train`, then `python -m my_project.evaluate`.
# - **Another backbone:** `--backbone keras:MobileNetV2`, or an address of TF-Hub or Kaggle, or the folder of a
#   SavedModel, also one that publishes only a vector. `--image_size` twice as large finds smaller things.
# - **A class more:** label it, and `python -m my_project.train --start_from runs/NAME` keeps what was learned of the
#   others.
# - **Into a server:** `python -m my_project.export`.

# %%
print(f"This run, with its model and pictures: {run.relative_to(PROJECT)}")
