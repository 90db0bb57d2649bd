"""What fine-tuning a text backbone is worth: a probe, and ULMFiT's ablation, on three data sets.

    python benchmarks/text_finetuning.py DATA --backbone NAME=HANDLE --results FILE [--sets trec sst2 sms_spam]
        [--methods ...] [--seeds 3] [--first-seed 0] [--sequence-length 64]
        [--schedule HEAD_EPOCHS STAGES EPOCHS_PER_STAGE EPOCHS] [--layer-decay 0.38] [--rate 1e-4]
        [--default-rate 3e-3] [--stages 3] [--backbone-dropout] [--bfloat16] [--table-only]

DATA is as `embedded_text.py` reads it; of `sms_spam`, which has no split, each seed has a cut of its own. "logistic
regression" is a probe of the frozen features, as there. The other methods are rows of ULMFiT's ablation (Howard and
Ruder 2018, https://arxiv.org/abs/1801.06146, table 7), each with one thing more than the one before; the last is the
default schedule of `tlkit new text-classifier`, whose batch size, dropout and rate it has. Each is judged once, after
its last step, on the test texts: no epoch is chosen. The four that are not the default have the best of RATES, found on
SEARCH_TEXTS training texts of the data set and judged on as many others of them, or that of `--rate`. Every finished
run is a line of FILE: the same command goes on after an interruption. `--bfloat16` lets TensorFlow multiply matrices in
16 bits where the processor can; `--backbone-dropout` loads the backbone with its own dropout, as a project on a
transformer does. Seconds are the processor's, of all threads, for the training alone, what the first step compiles
included; set OMP_NUM_THREADS=1 and TF_NUM_INTRAOP_THREADS=1 where others use the machine.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from embedded_text import accuracy, batched, read_set
from sklearn.model_selection import train_test_split

import tlkit
from tlkit.callbacks import ProgressiveUnfreezing
from tlkit.finetune import LayerwiseLearningRates, SlantedTriangular, prepare_unfreezing

BATCH_SIZE, DROPOUT = 32, 0.1  # the template's
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
SEARCH_TEXTS, SEARCH_SEED = 1000, 1000


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to train.

    Attributes:
        name: What the table calls it.
        opens: When the backbone trains: "never", "at once" or "gradually".
        layer_wise: Whether rates fall toward the input.
        slanted: Whether the rate rises and falls as a slanted triangle.
    """

    name: str
    opens: str
    layer_wise: bool = False
    slanted: bool = False


PROBE = "logistic regression"
METHODS = {
    method.name: method
    for method in (
        Method("last layer only", "never"),
        Method("everything at once", "at once"),
        Method("+ layer-wise rates", "at once", layer_wise=True),
        Method("+ gradually", "gradually", layer_wise=True),
        Method("+ slanted triangular", "gradually", layer_wise=True, slanted=True),
    )
}


def build_model(arguments, num_classes):
    texts = keras.Input((), dtype="string")
    options = {"sequence_length": arguments.sequence_length} if arguments.sequence_length else {}
    if arguments.backbone_dropout:
        options["training_mode"] = True
    if arguments.stages:
        options["stages"] = arguments.stages
    backbone = tlkit.load_backbone(arguments.handle, name="backbone", **options)
    head = [keras.layers.Dropout(DROPOUT), keras.layers.Dense(num_classes, activation="softmax")]
    return keras.Model(texts, keras.Sequential(head, name="head")(backbone(texts)))


def train(method, rate, data, arguments, seed):
    """One run: what it cost, and how good it is after its last step."""
    (texts, labels), test = data
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = build_model(arguments, int(labels.max()) + 1)
    backbone = model.get_layer("backbone")
    head_epochs, num_stages, epochs_per_stage, num_epochs = arguments.schedule
    steps = -(-len(texts) // BATCH_SIZE)
    if method.opens == "at once":
        backbone.unfreeze()
    optimizer = keras.optimizers.Adam(SlantedTriangular(rate, steps * num_epochs) if method.slanted else rate)
    if method.layer_wise:
        optimizer = LayerwiseLearningRates(optimizer, model, layer_decay=arguments.layer_decay)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    callbacks = []
    if method.opens == "gradually":
        prepare_unfreezing(model)
        openings = {head_epochs + n * epochs_per_stage: n + 1 for n in range(num_stages)}
        callbacks = [ProgressiveUnfreezing(schedule={0: 0} | openings, verbose=0)]
    batches = tf.data.Dataset.from_tensor_slices((texts, labels)).shuffle(len(texts), seed=seed).batch(BATCH_SIZE)
    begun = time.process_time()
    model.fit(batches.prefetch(2), epochs=num_epochs, callbacks=callbacks, shuffle=False, verbose=0)
    seconds = time.process_time() - begun
    loss, found = model.evaluate(tf.data.Dataset.from_tensor_slices(test).batch(128), verbose=0)
    return {"accuracy": found, "loss": loss, "cpu_seconds": round(seconds, 1)}


def probe(data, arguments):
    """Logistic regression on the frozen features."""
    (texts, labels), (test_texts, test_labels) = data
    length = {"sequence_length": arguments.sequence_length} if arguments.sequence_length else {}
    encode = batched(tf.function(tlkit.load_backbone(arguments.handle, **length)))
    encode(texts[:8])
    begun = time.process_time()
    features = encode([*texts, *test_texts])
    rows = np.split(np.arange(len(features)), [len(texts)])
    found = accuracy(features, np.concatenate([labels, test_labels]), *rows)
    return {"accuracy": found, "cpu_seconds": round(time.process_time() - begun, 1)}


def read_data(folder, name, seed):
    """`(texts, class numbers)` to train on and to be judged on."""
    texts, labels, cuts = read_set(folder, name)
    _, numbers = np.unique(labels, return_inverse=True)
    texts = texts.astype(str)
    if seed == SEARCH_SEED:
        split = {"train_size": SEARCH_TEXTS, "test_size": SEARCH_TEXTS, "random_state": seed}
        train_rows, test_rows = train_test_split(cuts[0][0], stratify=numbers[cuts[0][0]], **split)
    else:
        train_rows, test_rows = cuts[seed % len(cuts)]
    return (texts[train_rows], numbers[train_rows]), (texts[test_rows], numbers[test_rows])


class Runs:
    """The finished runs, in a file to which each is added; what is in it is not run again."""

    def __init__(self, arguments):
        self.arguments = arguments
        file = arguments.results
        self.finished = [json.loads(x) for x in file.read_text("utf-8").splitlines()] if file.exists() else []

    def run(self, method, rate, data, seed):
        """The run of these settings, from the file or now."""
        of = self.arguments
        wanted = {"backbone": of.name, "data": data, "method": method, "rate": rate, "seed": seed}
        wanted |= {"length": of.sequence_length}
        if method != PROBE:
            wanted |= {"schedule": of.schedule, "layer_decay": of.layer_decay, "dropout": of.backbone_dropout}
            wanted |= {"stages": of.stages}
        found = [run for run in self.finished if all(run.get(name) == value for name, value in wanted.items())]
        if found:
            return found[0]
        texts = read_data(of.data, data, seed)
        if method == PROBE:
            result = probe(texts, of)
        else:
            result = train(METHODS[method], rate, texts, of, seed)
        self.finished.append(wanted | result)
        with self.arguments.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.finished[-1]) + "\n")
        print(json.dumps(self.finished[-1]), flush=True)
        return self.finished[-1]

    def best_rate(self, method, data):
        """What was given, or the most accurate of RATES, begun in the middle and followed uphill."""
        if method == PROBE:
            return None
        given = self.arguments.default_rate if METHODS[method].slanted else self.arguments.rate
        if given:
            return given

        def judged(place):
            return self.run(method, RATES[place], data, SEARCH_SEED)["accuracy"]

        best = max((1, 2, 3), key=judged)
        while True:
            near = [place for place in (best, best - 1, best + 1) if 0 <= place < len(RATES)]
            best, previous = max(near, key=judged), best
            if best == previous:
                return RATES[best]


def print_table(runs):
    """Markdown: mean and standard deviation over the seeds that are finished."""
    print("| data | backbone | method | epochs | rate | accuracy, % | processor time, s | seeds |")
    print("|---|---|---|---|---|---|---|---|")
    groups = {}
    for run in runs:
        if run["seed"] != SEARCH_SEED:
            epochs = run["schedule"][-1] if "schedule" in run else ""
            key = (run["data"], run["backbone"], run["method"], epochs, f"{run['rate']:.0e}" if run["rate"] else "")
            groups.setdefault(key, []).append(run)
    for key, own in groups.items():
        percent = [100 * run["accuracy"] for run in own]
        deviation = f" ± {statistics.stdev(percent):.1f}" if len(own) > 1 else ""
        seconds = statistics.mean(run["cpu_seconds"] for run in own)
        cells = [*key, f"{statistics.mean(percent):.1f}{deviation}", f"{seconds:.0f}", len(own)]
        print(f"| {' | '.join(map(str, cells))} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--results", type=pathlib.Path, required=True, help="a line of JSON for each finished run")
    parser.add_argument("--backbone", default="mini-text=tlkit:mini-text", help="NAME=HANDLE")
    parser.add_argument("--sets", nargs="*", default=["trec", "sst2", "sms_spam"])
    parser.add_argument("--methods", nargs="*", default=[PROBE, *METHODS])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0, help="to have two processes share the seeds")
    parser.add_argument("--sequence-length", type=int, help="tokens after which texts are cut")
    parser.add_argument("--schedule", type=int, nargs=4, default=[10, 2, 2, 20])
    parser.add_argument("--rate", type=float, help="of the methods that would look for one")
    parser.add_argument("--default-rate", type=float, default=3e-3, help="of the default schedule")
    parser.add_argument("--stages", type=int, help="of the backbone; its own where this is not given")
    parser.add_argument("--layer-decay", type=float, default=0.38)
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--backbone-dropout", action="store_true")
    parser.add_argument("--table-only", action="store_true", help="print what is finished and train nothing")
    arguments = parser.parse_args()
    arguments.name, _, arguments.handle = arguments.backbone.partition("=")
    if arguments.bfloat16:
        tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})
    runs = Runs(arguments)
    if not arguments.table_only:
        for seed in range(
            arguments.first_seed, arguments.seeds
        ):  # outermost: what is finished at any time is a fair comparison
            for data in arguments.sets:
                for method in arguments.methods:
                    runs.run(method, runs.best_rate(method, data), data, seed)
    print_table(runs.finished)


if __name__ == "__main__":
    main()
