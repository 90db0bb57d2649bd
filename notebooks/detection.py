# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Detection in pictures: a head without anchors
#
# A classifier says *what* a picture shows. A **detector** says what is *where*: boxes, each with a class and a score.
# It is a backbone that was pretrained on whole pictures, with another head on it. This notebook looks into that head:
# what it is asked, what it answers at each place, how boxes come of that, and what goes wrong.
#
# You know Keras; nothing else is needed. Everything runs in two or three minutes on two CPU cores, without a network,
# once tlkit is installed with what judges boxes: `tlkit[detection]`. The first cell installs it where it is missing, as
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
import os
import tempfile

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from matplotlib.patches import Rectangle

import tlkit
from tlkit.data import load_boxes, write_sample_scenes
from tlkit.detection import (
    CenternessLoss,
    CocoMetrics,
    DetectionBoxLoss,
    DetectionClassLoss,
    DetectionDecoder,
    build_detector,
    count_mistakes,
    detection_targets,
    evaluate_boxes,
    keep_surest,
    locations,
    with_decoder,
)
from tlkit.evaluation import plot_boxes, plot_precision_recall

plt.rcParams.update({"axes.titlelocation": "left", "axes.titleweight": "bold", "axes.titlesize": 11, "figure.dpi": 90})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})
tf.get_logger().setLevel("ERROR")  # it would speak of each new model that predicts
os.chdir(tempfile.mkdtemp())  # scenes go there; they may be thrown away

# %% [markdown]
# ## 1. Scenes with boxes
#
# Handwritten digits, 0 to 4, on pieces of two photographs: up to five in a scene, 200 scenes to train on, 50 to
# validate and 50 to test. A box is (x_min, y_min, x_max, y_max) in pixels of the scene as the model gets it. Look
# first, always: what was forgotten when labelling teaches the detector to look away.

# %%
SIZE = 128
write_sample_scenes("scenes")
data = load_boxes("scenes", image_size=SIZE, batch_size=50, seed=0)


def as_arrays(batches):
    """All scenes of a part, and their boxes and labels; rows with the label -1 only pad."""
    scenes, truth = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(scenes), {name: np.concatenate([rows[name] for rows in truth]) for name in truth[0]}


def by_scene(rows):
    return [{name: np.array(rows[name][number]) for name in rows} for number in range(len(rows["labels"]))]


train, train_truth = as_arrays(data.train)
validation, validation_truth = as_arrays(data.validation)
test, test_truth = as_arrays(data.test)
plot_boxes(train[:4], by_scene(train_truth)[:4], data.class_names)

# %% [markdown]
# ## 2. Maps of three sizes
#
# The backbone comes with tlkit. It was pretrained to name whole pictures, and has never seen a box. Asked for a
# **pyramid**, it gives three maps of a scene, at strides of 8, 16 and 32 pixels: a place of P3 sees little, but knows
# well where it is; a place of P5 sees much. So small things are found in P3, large ones in P5. On them `build_detector`
# puts two parts that are new: a pyramid, by which each map learns what the others see, and the **head**.


# %%
def build(weights):
    """The detector; and its two halves, from scenes to maps, and from maps to what the head says."""
    keras.utils.set_random_seed(0)
    backbone = tlkit.load_backbone(
        "tlkit:mini-image", outputs="pyramid", image_size=SIZE, weights=weights, name="backbone"
    )
    detector = build_detector(backbone, len(data.class_names), image_size=SIZE, width=64)
    look = keras.Model(detector.input, backbone(detector.input))
    maps = {name: keras.Input(each.shape[1:], name=name) for name, each in look.output.items()}
    answer = keras.Model(maps, detector.get_layer("head")(detector.get_layer("feature_pyramid")(maps)))
    return detector, look, answer


detector, look, answer = build("pretrained")
crowded = int((validation_truth["labels"] >= 0).sum(axis=1).argmax())  # the scene that we shall watch
scene = validation[crowded]
maps = look.predict(scene[None], verbose=0)
figure, grid = plt.subplots(1, 4, figsize=(9, 2.5), layout="constrained")
grid[0].imshow(scene)
grid[0].set_title("scene")
for (name, stack), stride, axes in zip(maps.items(), (8, 16, 32), grid[1:], strict=True):
    axes.imshow(stack[0, ..., stack[0].std(axis=(0, 1)).argmax()])
    axes.set_title(f"{name}: every {stride} pixels")
for axes in grid:
    axes.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# (Of each map the channel that varies most. The backbone knows nothing of digits: what stands out in the coarse maps is
# the flower.)
#
# ## 3. What is asked at each place
#
# Older detectors compare with thousands of **anchor** boxes. This head (FCOS) has none. At each place of each map it is
# asked three things: *which class is here, if any; how far is it to the four sides of its box; and how near is this to
# the middle of the box* (**centerness**: 1 in the middle, 0 at a side). `detection_targets` makes the right answers of
# the boxes. Here they are for one scene: a dot is a place, and the large ones have a digit to find, the larger, the
# nearer to its middle.

# %%
boxes = {name: rows[[crowded]] for name, rows in validation_truth.items()}
_, targets, _ = detection_targets(scene[None], boxes)
places = locations(SIZE)
ends = np.cumsum([(SIZE // stride) ** 2 for stride in (8, 16, 32)])
levels = dict(zip((8, 16, 32), np.split(np.arange(len(places)), ends[:-1]), strict=True))  # stride -> places of its map


def show_scene(axes, pixels):
    axes.imshow(pixels, extent=(0, SIZE, SIZE, 0))
    axes.set(xticks=[], yticks=[])


figure, grid = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for (stride, rows), axes in zip(levels.items(), grid, strict=True):
    show_scene(axes, scene)
    has_digit = rows[targets["class"].numpy()[0, rows] >= 0]
    axes.scatter(*places[rows].T, s=2, color="white")
    near = targets["centerness"].numpy()[0, has_digit, 0]
    axes.scatter(*places[has_digit].T, s=20 + 80 * near, color="tab:orange", edgecolor="black", linewidth=0.5)
    axes.set_title(f"stride {stride}: {len(has_digit)} of {len(rows)}")
plt.show()

# %% [markdown]
# A digit belongs to one map, by its size: where no side is farther than 64 pixels, to the first; up to 128 pixels, to
# the second; and so on. All digits here are small. So the two coarse maps have nothing to find, and only lend the first
# one, by the pyramid, what they see of the surroundings.
#
# Nearly all places have nothing to find. An ordinary loss would drown in them; that is why the class is learned with a
# **focal** loss, which hardly counts what is already sure.
#
# ## 4. A short training
#
# The backbone stays closed here, so its maps of a scene never change: it looks at each scene once, and pyramid and head
# train on the maps. After each epoch `CocoMetrics` judges what is found in the validation scenes: **mAP50** is the area
# under the curve of section 6, where a box counts as found that overlaps the true one by half.

# %%
EPOCHS = 16


def fit(look, answer):
    """Train pyramid and head on the maps of the closed backbone; returns the history."""
    rows = tf.data.Dataset.from_tensor_slices((train, look.predict(train, verbose=0), train_truth))
    batches = rows.shuffle(len(train), seed=0).batch(10)
    judged = tf.data.Dataset.from_tensor_slices((look.predict(validation, verbose=0), validation_truth)).batch(50)
    metrics = CocoMetrics(
        judged,
        data.class_names,
        predict_model=lambda answer: keras.Model(answer.input, DetectionDecoder(SIZE)(answer.output)),
    )
    losses = {"class": DetectionClassLoss(), "box": DetectionBoxLoss(), "centerness": CenternessLoss()}
    answer.compile(keras.optimizers.Adam(3e-3, global_clipnorm=10.0), losses)
    return answer.fit(
        batches.map(lambda scenes, maps, truth: (maps, *detection_targets(scenes, truth)[1:])),
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=[metrics],
    ).history


before = answer.predict(maps, verbose=0)
history = fit(look, answer)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for name in ("class_loss", "box_loss", "centerness_loss"):
    left.plot(range(1, EPOCHS + 1), history[name], "o-", markersize=4, label=name)
right.plot(range(1, EPOCHS + 1), history["val_map50"], "o-", markersize=4, label="val_map50")
right.plot(range(1, EPOCHS + 1), history["val_map"], "o-", markersize=4, label="val_map (COCO's)")
left.set(xlabel="epoch", title="Three losses", ylim=0)
right.set(xlabel="epoch", title="What is found", ylim=(0, 1))
left.legend()
right.legend(loc="upper left")
for axes in (left, right):
    axes.set_xticks(range(0, EPOCHS + 1, 4))
plt.show()

# %% [markdown]
# The losses do not tell how much is found. That of centerness hardly falls, because what it should say lies between 0
# and 1 and even a perfect answer has a loss. So choose an epoch by mAP. (COCO's own mean asks for tighter boxes, too.)
#
# ## 5. What the head says
#
# Its answers over the scene, map by map. Before the training it said the same everywhere: hardly anything.

# %%
said = answer.predict(maps, verbose=0)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


sure = sigmoid(before["class"]).max()
print(f"Before the training, no class at any place had more than {sure:.3f}; now {sigmoid(said['class']).max():.2f}.")
digit, middle = sigmoid(said["class"][0]).max(axis=-1), sigmoid(said["centerness"][0, :, 0])
panels = {"a digit is here": digit, "its middle is here": middle, "both: the score": np.sqrt(digit * middle)}
figure, grid = plt.subplots(3, 3, figsize=(8, 7.6), layout="constrained")
for (title, values), column in zip(panels.items(), grid.T, strict=True):
    for (stride, rows), axes in zip(levels.items(), column, strict=True):
        show_scene(axes, scene.mean(axis=-1, keepdims=True).repeat(3, axis=-1))
        heat = values[rows].reshape(SIZE // stride, -1)
        drawn = axes.imshow(heat, extent=(0, SIZE, SIZE, 0), cmap="inferno", alpha=0.7, vmin=0, vmax=1)
    column[0].set_title(title)
for stride, axes in zip(levels, grid[:, 0], strict=True):
    axes.set_ylabel(f"stride {stride}")
figure.colorbar(drawn, ax=grid, shrink=0.5)
plt.show()

# %% [markdown]
# The class is seen all over a digit, and the box that is guessed from its rim is a poor one. Centerness is to take the
# rim away: the score is the root of the product of both. (Where there is no digit, nobody taught what centerness is, so
# what it says there means nothing.) The coarse maps say what they were taught here: nothing.
#
# ## 6. From places to boxes
#
# One digit is still found at several places. **Suppression** keeps the surest box and drops others of its class that
# overlap it by more than `iou_threshold`. On the left all that the head is sure of, then what is left.


# %%
def detect(answer, look, scenes, **options):
    return DetectionDecoder(SIZE, **options)(answer.predict(look.predict(scenes, verbose=0), verbose=0))


def draw(axes, found, title):
    show_scene(axes, scene)
    rows = [row for row in zip(found["boxes"], found["labels"], found["scores"], strict=True) if row[2] >= 0.3]
    for (x, y, right, bottom), label, _ in rows:
        axes.add_patch(Rectangle((x, y), right - x, bottom - y, fill=False, color=f"C{label}", linewidth=1.5))
    axes.set_title(f"{title}: {len(rows)} boxes")


(everything,) = by_scene(detect(answer, look, scene[None], iou_threshold=1.0))
(suppressed,) = by_scene(detect(answer, look, scene[None]))
figure, grid = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
draw(grid[0], everything, "no suppression")
draw(grid[1], suppressed, "within a class")
draw(grid[2], keep_surest(suppressed, score_threshold=0.3), "over all classes")
plt.show()

# %% [markdown]
# Suppression within a class may leave a digit that is perhaps a 1 and perhaps a 4 two boxes. The metrics want it so:
# the second may be the right one. To somebody who looks it is one thing, and `keep_surest` leaves one. Which threshold?

# %%
thresholds = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
answers = answer.predict(look.predict(validation, verbose=0), verbose=0)
scores = [
    evaluate_boxes(
        by_scene(validation_truth),
        by_scene(DetectionDecoder(SIZE, iou_threshold=threshold)(answers)),
        data.class_names,
        by_size=False,
    )["map50"]
    for threshold in thresholds
]
figure, axes = plt.subplots(figsize=(6, 2.8), layout="constrained")
axes.plot(thresholds, scores, "o-", markersize=4)
axes.set(xlabel="iou_threshold", ylabel="val_map50", ylim=0, title="How much may two boxes of a class overlap?")
plt.show()

# %% [markdown]
# Too high, and a digit is found several times, of which all but one are mistakes. Low does no harm *here*, because the
# digits of these scenes hardly overlap. Where things stand close together, a low threshold drops neighbours.
#
# ## 7. What it is worth
#
# On the test scenes, which it never saw. Going through the boxes from the surest down, more and more digits are found
# (**recall**), and more and more of the boxes are wrong (**precision** falls).

# %%
found = by_scene(detect(answer, look, test))
metrics = evaluate_boxes(by_scene(test_truth), found, data.class_names)
plot_precision_recall(metrics)

# %% [markdown]
# A curve that stops short: the rest is not found at any score. One that falls early: even sure boxes are wrong. With
# about thirty digits in a class, a curve that lies a little higher than another says nothing.
#
# ## 8. Typical mistakes
#
# Boxes with a score of 0.4 or more, each beside the true ones. What is it, and what was missed? (A digit that is taken
# for another one is missed, too.)


# %%
def overlaps(box, boxes):
    """Intersection over union with each of the boxes."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    both = sides.clip(0).prod(axis=1)
    return both / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - both)


def name_mistakes(true, found, least=0.4):
    is_there = true["labels"] >= 0
    boxes, labels, missed = true["boxes"][is_there], true["labels"][is_there], set(range(is_there.sum()))
    for box, label in zip(found["boxes"], found["labels"], strict=True):  # the surest first
        if len(boxes) == 0:
            yield "nothing is there"
            continue
        shares = overlaps(box, boxes)
        nearest, same = shares.argmax(), (shares * (labels == label)).argmax()
        if shares[same] >= 0.5 and labels[same] == label:
            yield "right" if same in missed else "found twice"
            missed.discard(same)
        elif shares[nearest] >= 0.5:
            yield "another digit"
        else:
            yield "badly placed" if shares[nearest] >= 0.1 else "nothing is there"
    yield from ["missed"] * len(missed)


sure = [keep_surest(boxes, score_threshold=0.4) for boxes in found]
kinds = collections.Counter(
    kind for true, boxes in zip(by_scene(test_truth), sure, strict=True) for kind in name_mistakes(true, boxes)
)
names = ["right", "missed", "another digit", "badly placed", "nothing is there", "found twice"][::-1]
figure, axes = plt.subplots(figsize=(6.5, 2.6), layout="constrained")
axes.barh(names, [kinds[name] for name in names], color=["tab:orange"] * 5 + ["tab:blue"], height=0.6)
for place, name in enumerate(names):
    axes.annotate(f" {kinds[name]}", (kinds[name], place), va="center")
axes.set(title=f"{(test_truth['labels'] >= 0).sum()} digits in {len(test)} scenes", xticks=[])
axes.tick_params(left=False)
axes.spines["bottom"].set_visible(False)
plt.show()

# %% [markdown]
# The two scenes with the most mistakes, true boxes on the left, found ones on the right. Looking at these teaches more
# than any number: is a digit too small, half hidden, hardly to be told from its ground? Or was a box forgotten?

# %%
mistakes = [count_mistakes(*pair, score_threshold=0.4) for pair in zip(by_scene(test_truth), sure, strict=True)]
worst = np.argsort([-(one.missed + one.false) for one in mistakes], kind="stable")[:2]
plot_boxes(test[worst], [by_scene(test_truth)[i] for i in worst], data.class_names, [sure[i] for i in worst])

# %% [markdown]
# ## 9. What the pretrained weights are worth
#
# The same network with **random** weights in the backbone, the same training, once each. A closed backbone makes it as
# hard as can be, for nothing in it may learn; `docs/detection.md` has both with stages opened, .93 against .09.

# %%
_, random_look, random_answer = build("random")
random_history = fit(random_look, random_answer)
random_found = by_scene(detect(random_answer, random_look, test))
random_metrics = evaluate_boxes(by_scene(test_truth), random_found, data.class_names)

figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
for name, recorded in {"pretrained": history, "random": random_history}.items():
    axes.plot(range(1, EPOCHS + 1), recorded["val_map50"], "o-", markersize=4, label=name)
axes.set(xlabel="epoch", ylabel="val_map50", ylim=(0, 1), title="The same head on two backbones")
axes.legend(loc="upper left")
plt.show()
print(f"mAP50 on the test scenes: pretrained {metrics['map50']:.2f}, random {random_metrics['map50']:.2f}")

# %% [markdown]
# ## 10. To work
#
# The two halves share their layers with the detector, so that is trained, too. `with_decoder` makes the model of it
# that takes scenes and answers with boxes; as a `.keras` file it is complete.

# %%
with_decoder(detector).save("detector.keras")
reloaded = tlkit.load_model("detector.keras")
answered = by_scene(reloaded.predict(test[:2], verbose=0))
plot_boxes(test[:2], by_scene(test_truth)[:2], data.class_names, answered, score_threshold=0.4)

# %% [markdown]
# ## What next
#
# - `tlkit new detection-head cells --data bccd/` makes a complete project for your boxes. It augments, and opens the
#   backbone stage by stage; `fine_tuning.ipynb` shows what that does.
# - Small things are found with a larger `image_size`, before anything else.
# - `docs/detection.md` has measured numbers, what detection costs, and warm starts: a class more, or a classifier of
#   yours as the backbone.
