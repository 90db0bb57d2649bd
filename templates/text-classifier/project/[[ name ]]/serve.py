"""Try the trained model on a page in your browser: type a text there, and see its class.

Only this machine reaches the page. What it says is what `predict` says.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from tlkit.distribution import leave_to_chief
from tlkit.errors import exit_on_user_error
from tlkit.serving import class_answer, listen, serve

from .evaluate import find_run, load_class_names, predict_texts
from .model import load_classifier


def load_predictor(run: Path) -> Callable:
    """A function from a text to what the run's model says about it."""
    model, class_names = load_classifier(run / "model.keras"), load_class_names(run)

    def predict(text: str) -> dict:
        (probabilities,) = predict_texts(model, [text])
        return class_answer(class_names, probabilities, [class_names[int(probabilities.argmax())]])

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
    serve(load_predictor(run), takes="text", run=run, at=door, open_browser=flags.open_browser)


if __name__ == "__main__":
    with exit_on_user_error():
        main()
