"""How fast does `inspect_images` look at a folder, beside what decoding alone costs, and would processes be faster?

Run `python benchmarks/image_inspection.py [--number 10000]`: it writes that many JPEGs of 500x375 in two class folders
to a temporary folder. Each repeat reads all of them once in each of four ways, in turn:

- inspection: `inspect_images`, which decodes in threads and also compares, counts and lists the folder;
- decoding: Pillow's open and load in one thread, the decoder's own limit;
- threads, processes: the same in a pool of as many of them as there are cores.

On a machine that does other work at the same time, processor time (children included) is the steadier measure.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from tlkit.data import inspect_images

SIZE = (500, 375)


def write_photographs(folder, number):
    """JPEGs with the detail of a photograph (noise at several scales): a hundred, rolled to give as many as wanted."""
    generator = np.random.default_rng(0)
    canvases = []
    for _ in range(min(100, number)):
        canvas = np.zeros((*SIZE[::-1], 3), np.float32)
        for divisor in (2, 8, 32, 128):
            noise = generator.integers(0, 256, (SIZE[1] // divisor, SIZE[0] // divisor, 3), dtype=np.uint8)
            canvas += np.asarray(Image.fromarray(noise).resize(SIZE, Image.Resampling.BILINEAR)) / 4
        canvases.append(canvas.astype(np.uint8))
    for name in ("ant", "bee"):
        (Path(folder) / name).mkdir()
    for index in range(number):
        rolled = np.roll(canvases[index % len(canvases)], index // len(canvases), axis=1)
        Image.fromarray(rolled).save(Path(folder) / ("ant", "bee")[index % 2] / f"{index:06d}.jpg", quality=90)


def decode(paths):
    """What every look at a picture costs at least."""
    for path in paths:
        with Image.open(path) as image:
            image.load()


def inspection(folder, paths):
    assert inspect_images(folder).num_images == len(paths)


def decoding(folder, paths):
    decode(paths)


def threads(folder, paths, pool=ThreadPoolExecutor):
    chunks = [paths[start : start + 16] for start in range(0, len(paths), 16)]
    with pool(os.cpu_count()) as workers:
        list(workers.map(decode, chunks))


def processes(folder, paths):
    threads(folder, paths, ProcessPoolExecutor)


def measure(way, folder, paths):
    """Files a second, and milliseconds of processor time a file."""
    start, before = time.perf_counter(), os.times()
    way(folder, paths)
    seconds, after = time.perf_counter() - start, os.times()
    return len(paths) / seconds, 1000 * (sum(after[:4]) - sum(before[:4])) / len(paths)


def main():
    """Print the rates of all ways over the repeats, and their ratios to plain decoding."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=10_000, help="of files")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    ways = (inspection, decoding, threads, processes)
    with tempfile.TemporaryDirectory() as folder:
        write_photographs(folder, arguments.number)
        paths = sorted(map(str, Path(folder).glob("*/*.jpg")))
        size = sum(map(os.path.getsize, paths)) / len(paths)
        decode(paths)  # fills the file cache
        measured = {way: [] for way in ways}
        for _ in range(arguments.repeats):
            for way in ways:
                measured[way].append(measure(way, folder, paths))
    print(
        f"{len(paths):,} JPEGs of {SIZE[0]}x{SIZE[1]}, {size / 1000:.0f} kB each, {os.cpu_count()} cores, "
        f"{arguments.repeats} repeats; load {os.getloadavg()[0]:.1f}"
    )
    for unit, column in {"files/s": 0, "ms of processor a file": 1}.items():
        for way, values in measured.items():
            column_values = [value[column] for value in values]
            ratios = [value[column] / plain[column] for value, plain in zip(values, measured[decoding], strict=True)]
            spreads = [
                f"{statistics.median(v):{form}} ({min(v):{form}} to {max(v):{form}})"
                for v, form in ((column_values, ",.0f" if column == 0 else ".2f"), (ratios, ".2f"))
            ]
            print(f"{way.__name__:10} {unit}: {spreads[0]}, {spreads[1]} of plain decoding")


if __name__ == "__main__":
    main()
