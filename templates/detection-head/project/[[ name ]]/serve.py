"""Try the trained model on a page in your browser: drop an image there, and see what is found in it.

Only this machine reaches the page. What it says is what `predict` says.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from tlkit.data import read_letterboxed
from tlkit.distribution import leave_to_chief
from tlkit.errors import exit_on_user_error
from tlkit.serving import box_answer, listen, serve
from tlkit.settings import load_config

from .config import Config
from .evaluate import detections, find_run, keep_sure
from .model import load_class_names, load_detector

LEAST_SCORE = 0.05  # what is less sure is not sent; the page has a slider from there on


def load_predictor(run: Path) -> Callable:
    """A function from an image's file to what the run's model finds in it."""
    model, class_names = load_detector(run), load_class_names(run)
    config = load_config(Config, run / "config.json")

    def predict(image: Path) -> dict:
        pixels, size = read_letterboxed(image, model.input_shape[1])
        (found,) = detections(model, pixels[None].astype("float32") / 255, [size])
        sure = keep_sure(found, config, min(LEAST_SCORE, config.shown_score))
        names = [class_names[label] for label in sure["labels"]]
        return box_answer(sure["boxes"], sure["scores"], names, size=size, shown_from=config.shown_score)

    return predict


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}.serve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", help="a folder in runs/; without it, the newest")
    parser.add_argument("--port", type=int, help="of this machine; without it, 8000 or the next free one")
    parser.add_argument("--open_browser", action="store_true", help="open the page, too")
    flags = parser.parse_args()
    leave_to_chief("Serving a model")
    run = find_run(flags.run)
    door = listen(flags.port)  # before the model is loaded: what is missing or taken is told at once
    serve(load_predictor(run), takes="image", run=run, at=door, open_browser=flags.open_browser)


if __name__ == "__main__":
    with exit_on_user_error():
        main()
