# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # my_project: your texts, a pretrained model, and what it learned
#
# The same steps as `python -m my_project.train`, one by one and with pictures. Everything is imported from the package
# beside this notebook: what you change there, you see here after restarting the kernel.
#
# The first cell installs what is missing, in Colab too. There, upload the project's folder and open the notebook inside
# it; alone, it makes a new project with sample texts.

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
    print("There is no my_project beside this notebook: making a new one, with sample texts.")
    new = ["new", "text-classifier", "my_project", "--defaults"]
    subprocess.run([sys.executable, "-m", "tlkit.cli", *new], check=True)
    sys.path.insert(0, str(Path("my_project").resolve()))

# %%
# %matplotlib inline
import dataclasses
import re

from IPython.display import Image, Markdown, display

from tlkit.evaluation import word_importance

from my_project.config import BEST, PROJECT, Config
from my_project.data import inspect_data, load_datasets
from my_project.evaluate import evaluate_run, plot_before_and_after, predict_texts, print_table
from my_project.model import build_model, load_classifier
from my_project.predict import predict
from my_project.train import new_run, train

# %% [markdown]
# ## 1. The settings
#
# `config.py` holds every number. For a first look the training is short; take `config = Config()` for the real thing.

# %%
config = dataclasses.replace(Config(), head_epochs=5, stages_to_open=1, epochs_per_stage=1, epochs=8)
config

# %% [markdown]
# ## 2. The texts
#
# Check here that texts and names belong together: no setting repairs a wrong label. The report names texts that are
# empty, that occur twice, or that have two labels.

# %%
inspect_data(config).print()
data = load_datasets(config)
texts, labels = next(data.train.as_numpy_iterator())
for text, label in zip(texts[:10], labels, strict=False):
    print(f"{data.class_names[label]:>16}  {text.decode()[:100]}")

# %% [markdown]
# ## 3. The model
#
# Backbone and head in one Keras model, which takes plain strings: splitting into words or pieces is inside. The
# backbone is a stack of **stages**: the first ones know what words mean, the last ones what a text says.

# %%
model = build_model(config, len(data.class_names))
model.summary()
model.get_layer("backbone").summary()

# %% [markdown]
# ## 4. Training
#
# First the head alone, on a closed backbone; then stage after stage opens from the top. The learning rate rises for a
# tenth of the steps and then falls to the end, and each stage learns more slowly than the one after it.

# %%
print("Epoch (from 0) and number of open stages:", config.schedule)
run = new_run()
history = train(config, run)

# %% [markdown]
# ## 5. What it learned
#
# The judgement is on texts that it never saw.

# %%
evaluation = evaluate_run(run)
print_table([evaluation])
evaluation.figures["learning_curves"]

# %% [markdown]
# The lines mark the openings. If validation stands still while training goes on improving, the model learns texts by
# heart: more dropout, fewer stages. If both still improve at the end, train longer.

# %%
evaluation.figures["confusion_matrix"]

# %% [markdown]
# Does it know when it does not know? Of the texts of which it is 80 % sure, 80 % should be right: points below the line
# are too sure of themselves.

# %%
evaluation.figures["calibration"]

# %% [markdown]
# Are long texts harder?

# %%
evaluation.figures["accuracy_by_length"]

# %% [markdown]
# ## 6. Which words did it
#
# The most wrong text, read again without each of its words: what takes the most away from the class that the model
# chose is coloured most. `most_wrong.html` in the run's folder shows a dozen of them; often the label is wrong, or one
# word leads astray.

# %%
classifier = load_classifier(run / "model.keras")
text = evaluation.texts[0]
said = int(predict_texts(classifier, [text])[0].argmax())
print(f"The model says: {data.class_names[said]}")
word_importance(lambda texts: predict_texts(classifier, texts), text, said)

# %% [markdown]
# ## 7. Texts of another style
#
# Where `config.py` names a `target` and an `adaptation`, the training above has learned from unlabelled texts, too.
# Here is the same training without them (left), and the one above (right): features of texts on which neither was
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
# ## 8. Try a text of your own

# %%
for prediction in predict(classifier, data.class_names, ["Hello, can you help me?", "I want my money back!"]):
    print(f"{prediction.class_name} {prediction.probability:.1%}: {prediction.text}")

# %% [markdown]
# ## 9. Better settings over night
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
# ## 10. What next
#
# - **What is transfer worth?** `train(dataclasses.replace(config, weights="random"), new_run())` trains the same
#   model without its pretraining; `print_table` both evaluations.
# - **The real training:** `python -m my_project.train`, then `python -m my_project.evaluate`.
# - **Another backbone:** `--backbone kerashub:PRESET`, or an address of TF-Hub or Kaggle, or the folder of a
#   SavedModel; `tlkit backbones --text` lists well-known ones.
# - **Into a server:** `python -m my_project.export`.

# %%
print(f"This run, with its model and pictures: {run.relative_to(PROJECT)}")
