"""How fast is a table of texts read, and does the memory it takes follow its size?

Run `python benchmarks/text_table.py --megabytes 200 2000`: it writes a CSV of each size to a temporary folder (rows of
500 bytes or so: 80 words, commas and line ends inside quotes, six labels), and in a fresh process for each

- load: finds and splits the rows (`load_texts`), and reads one shuffled epoch of the training texts in batches of 32;
- inspect: `inspect_texts`.

The memory is the largest resident size of that process, beside what it was before the file was opened, which is mostly
TensorFlow's. `--batches` ends the epoch early, `--words` makes rows longer or shorter.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LABELS = ("order", "refund", "cancel", "address", "product", "complaint")
BATCH_SIZE = 32


def write_table(path, megabytes, words):
    """Texts of random words; each has its number in it, so that no two are the same."""
    generator = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    vocabulary = ["".join(generator.choice(letters, generator.integers(2, 10))) for _ in range(5000)]
    bodies = []
    for _ in range(1000):
        chosen = generator.choice(vocabulary, generator.poisson(words) + 1)
        bodies.append(" ".join(chosen[: len(chosen) // 2]) + ',\n""' + " ".join(chosen[len(chosen) // 2 :]) + '""')
    number = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("label,text\n")
        while file.tell() < megabytes * 10**6:
            rows = (f'{LABELS[(number + index) % 6]},"{number + index} {body}"\n' for index, body in enumerate(bodies))
            file.write("".join(rows))
            number += len(bodies)
    return number


def peak():
    """The largest resident size so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 / 1000 if sys.platform == "darwin" else 1000)


def load(path, batches):
    """Seconds to find the rows, seconds and number of texts of an epoch, memory before, after finding, in the end."""
    import tensorflow as tf

    from tlkit.data import load_texts

    for _ in tf.data.Dataset.range(4).shuffle(4).batch(2):  # starts the threads
        pass
    before, start = peak(), time.perf_counter()
    data = load_texts(path, batch_size=BATCH_SIZE, seed=0)
    found, scanned = peak(), time.perf_counter()
    number = sum(len(texts) for texts, _ in data.train.take(batches))
    seconds = time.perf_counter() - scanned
    return {"find": scanned - start, "epoch": seconds, "texts": number, "memory": [before, found, peak()]}


def inspect(path, batches):
    """Seconds, and memory before and after."""
    from tlkit.data import inspect_texts

    before, start = peak(), time.perf_counter()
    report = inspect_texts(path, sequence_length=64)
    return {"find": time.perf_counter() - start, "texts": report.num_texts, "memory": [before, peak()]}


def in_a_process(way, path, batches):
    command = [sys.executable, __file__, "--way", way, "--path", str(path), "--batches", str(batches)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Print rows per second and memory for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, nargs="+", default=[200.0, 2000.0])
    parser.add_argument("--words", type=int, default=80, help="in a text, on average")
    parser.add_argument("--batches", type=int, default=-1, help="of an epoch that are read; all by default")
    parser.add_argument("--way", choices=["load", "inspect"], help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps({"load": load, "inspect": inspect}[arguments.way](arguments.path, arguments.batches)))
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        for megabytes in arguments.megabytes:
            path = Path(folder) / "messages.csv"
            rows = write_table(path, megabytes, arguments.words)
            size = path.stat().st_size / 1e6
            loaded = in_a_process("load", path, arguments.batches)
            seen = in_a_process("inspect", path, arguments.batches)
            before, found, end = loaded["memory"]
            print(f"{size:,.0f} MB, {rows:,} rows")
            print(
                f"  load:    {rows / loaded['find']:,.0f} rows/s, memory {before:,.0f} MB before, {found:,.0f} MB after"
            )
            rate = loaded["texts"] / loaded["epoch"]
            print(f"  epoch:   {rate:,.0f} rows/s of {loaded['texts']:,}, {end:,.0f} MB at most")
            before, end = seen["memory"]
            print(
                f"  inspect: {rows / seen['find']:,.0f} rows/s, memory {before:,.0f} MB before, {end:,.0f} MB at most"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
