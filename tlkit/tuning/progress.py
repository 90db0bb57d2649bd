"""How a search is doing, read from its folder: one table that moves on a terminal, lines in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from tlkit.tuning.files import BEGUN, FAILURE, METRICS, SETTINGS, read_json
from tlkit.tuning.trial import short


class Progress:
    """What is known of the trials of a search.

    Args:
        folder: The search's.
        num_trials: How many there shall be.
        objective: Name of the number that decides.
        direction: "min" or "max".
        workers: How many run at once.
    """

    def __init__(self, folder: Path, num_trials: int, objective: str, direction: str, workers: int):
        self.folder, self.num_trials = folder, num_trials
        self.objective, self.direction, self.workers = objective, direction, workers
        self._ended: dict[str, dict[str, Any]] = {}  # by the trial's folder; these change no more
        self._said: set[str] = set()

    @contextlib.contextmanager
    def shown(self, console: Console | None = None) -> Iterator[None]:
        """Show the table while the block runs, if there is a terminal to show it on."""
        console = console or Console()
        if not console.is_terminal:
            yield
            return
        # What the trainings print goes on above it.
        with Live(get_renderable=self.table, console=console, refresh_per_second=2):
            yield

    def print_news(self) -> None:
        """Print a line for each trial that has begun or ended since the last call."""
        running = self.read()
        for name, trial in (*running.items(), *self._ended.items()):
            number = f"Trial {int(name.removeprefix('trial_')) + 1} of {self.num_trials}"
            beginning = f"{name} by {trial.get('worker', '')}"  # said again when another worker takes it over
            if beginning not in self._said:
                self._said.add(beginning)
                said = ", ".join(f"{key}={short(value)}" for key, value in trial["settings"].items())
                print(f"{number}, {trial.get('worker', '')}: {said}", flush=True)
            if "took" not in trial or f"end of {name}" in self._said:
                continue
            self._said.add(f"end of {name}")
            if trial["score"] is None:
                print(f"{number} failed. {trial['failure']}", flush=True)
            else:
                print(f"{number}: {self.objective} {short(trial['score'])} after {trial['took']:.0f} s", flush=True)

    def skip_known(self) -> None:
        """Count what lies in the folder now as no news."""
        self.read()
        for name, trial in self._ended.items():
            self._said |= {f"{name} by {trial.get('worker', '')}", f"end of {name}"}

    def read(self) -> dict[str, dict[str, Any]]:
        """The trials that run, by the names of their folders; those that have ended are kept."""
        running = {}
        for file in sorted(self.folder.glob(f"trial_*/{BEGUN}"), key=lambda file: int(file.parent.name[6:])):
            name, begun, settings = file.parent.name, read_json(file), read_json(file.with_name(SETTINGS))
            if name in self._ended or begun is None or settings is None:
                continue
            trial = {**begun, "settings": settings}
            metrics, failure = read_json(file.with_name(METRICS)), file.with_name(FAILURE)
            if "seconds" in begun and (metrics is not None or failure.exists()):
                trial["score"] = None if failure.exists() else metrics.get(self.objective)
                trial["failure"] = failure.read_text(encoding="utf-8") if failure.exists() else None
                self._ended[name] = {**trial, "took": begun["seconds"]}
            else:
                running[name] = trial
        return running

    def table(self) -> Table:
        """The trials that run, and below them what is done, the best so far and the time left."""
        running = self.read()
        table = Table("trial", "since", "settings", title=f"Search in {self.folder}", caption=self.summary())
        for name, trial in running.items():
            settings = ", ".join(f"{key}={short(value)}" for key, value in trial["settings"].items())
            since = _words(time.time() - trial["since"])
            table.add_row(str(int(name.removeprefix("trial_")) + 1), since, settings)
        return table

    def summary(self) -> str:
        """A line, such as "12 of 30 done, 1 failed; best val_loss 0.21 (trial 7); about 2 h 10 min left"."""
        ended = self._ended.values()
        scores = {name: trial["score"] for name, trial in self._ended.items() if trial["score"] is not None}
        failed = len(ended) - len(scores)
        parts = [f"{len(ended)} of {self.num_trials} done" + (f", {failed} failed" if failed else "")]
        if scores:
            best = (min if self.direction == "min" else max)(scores, key=scores.get)
            number = int(best.removeprefix("trial_")) + 1
            parts.append(f"best {self.objective} {short(scores[best])} (trial {number})")
        left = self.num_trials - len(ended)
        if ended and left > 0:
            mean = sum(trial["took"] for trial in ended) / len(ended)
            parts.append(f"about {_words(mean * left / self.workers)} left")
        return "; ".join(parts)


def _words(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
