"""What `compare_adaptation` found, as plain data that prints itself."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.domain.adaptation_summary import ORACLE, SOURCE_ONLY, TRUTH, MethodSummary, at_chosen, summarize
from tlkit.domain.adaptation_verdict import verdicts
from tlkit.evaluation import plot_adaptation

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console
    from rich.table import Table

_WIDTH = 120  # columns of adaptation.txt


@dataclasses.dataclass(frozen=True, eq=False)
class AdaptationComparison:
    """Source only, adapted and oracle over seeds: numbers, spread, and what they mean.

    Attributes:
        runs: A dict for each training: method, seed, epochs (a dict of scores for each), a_distance, seconds.
        validator: The score that chose the epoch of the adapted models.
        measure: "target_accuracy", or without target labels the validator's name: what is compared.
        summaries: Method -> `MethodSummary`: means, spread, gap closed.
        choices: Method -> label-free score -> mean target accuracy at the epoch that it would have chosen; empty
            without target labels. To choose the score by this table is to choose by labels.
        verdicts: Method -> sentences: whether it helped, hurt or may be chance, and what to try.
        without_training: Target accuracy of a head that needs no training loop; None where it was not measured.
    """

    runs: tuple[dict[str, Any], ...]
    validator: str
    without_training: float | None = None

    @property
    def measure(self) -> str:
        return TRUTH if all(TRUTH in run["epochs"][0] for run in self.runs) else self.validator

    @functools.cached_property
    def summaries(self) -> dict[str, MethodSummary]:
        return summarize(self.runs, self.validator, self.measure)

    @functools.cached_property
    def verdicts(self) -> dict[str, list[str]]:
        return verdicts(self.runs, self.summaries, self.validator, self.measure)

    @functools.cached_property
    def choices(self) -> dict[str, dict[str, float]]:
        """Method -> label-free score -> mean target accuracy at the epoch that it would have chosen; {} without it."""
        if self.measure != TRUTH:
            return {}
        methods = [name for name in self.summaries if name not in (SOURCE_ONLY, ORACLE)]
        runs = {name: [run for run in self.runs if run["method"] == name] for name in methods}
        return {
            name: {
                score: float(np.mean(list(at_chosen(own, score, TRUTH).values())))
                for score in own[0]["epochs"][0]
                if score != TRUTH
            }
            for name, own in runs.items()
        }

    def plot(self) -> Figure:
        """Draw what each method reached, every seed as a point."""
        return plot_adaptation(self)

    def print(self, console: Console | None = None) -> None:
        """Print the table, what it means, and what to try.

        Args:
            console: Where to. Defaults to standard output.
        """
        from rich.console import Console
        from rich.text import Text

        console = console or Console()
        title = "Target accuracy in percent" if self.measure == TRUTH else f"{self.measure}, without target labels"
        console.print(Text(title, style="bold"))
        console.print(self._table())
        console.print()
        console.print(self._table_of_models())
        console.print()
        for line in self._legend():
            console.print(Text(line, style="dim"))
        if self.choices:
            console.print(Text("\nThe same at the epoch that each label-free score would have chosen", style="bold"))
            console.print(self._table_of_choices())
        for sentences in self.verdicts.values():
            console.print()
            for sentence in sentences:
                console.print(Text(sentence))

    def save(self, folder: str | Path) -> None:
        """Write adaptation.json (all runs and summaries), adaptation.txt (as printed) and adaptation.png.

        Args:
            folder: Where to; made when missing.
        """
        from rich.console import Console

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        plain = {
            "validator": self.validator,
            "measure": self.measure,
            "without_training": self.without_training,
            "choices": self.choices,
            "summaries": {name: dataclasses.asdict(summary) for name, summary in self.summaries.items()},
            "verdicts": self.verdicts,
            "runs": self.runs,
        }
        (folder / "adaptation.json").write_text(to_json(plain), encoding="utf-8")
        printed = io.StringIO()
        self.print(Console(file=printed, width=_WIDTH))
        lines = (line.rstrip() for line in printed.getvalue().splitlines())  # rich fills the columns with spaces
        (folder / "adaptation.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.plot().savefig(folder / "adaptation.png", dpi=150)

    def _table(self) -> Table:
        truth = self.measure == TRUTH
        first = None
        if truth and self.without_training is not None:
            first = {"method": "without training", "chosen": _mean((self.without_training,), True)}
        return self._of_each_method(
            {
                "method": lambda own: own.method,
                "chosen": lambda own: _spread(own.chosen, truth),
                "last": lambda own: _mean(own.last, truth),
                "labels*": lambda own: _mean(own.best, truth),
                "against\nsource only": lambda own: _difference(own, truth),
                "gap\nclosed": lambda own: "" if own.gap_closed is None else f"{100 * own.gap_closed:.0f} %",
            },
            first,
        )

    def _table_of_models(self) -> Table:
        return self._of_each_method(
            {
                "method": lambda own: own.method,
                "epoch chosen": lambda own: _counted_from_1(own.chosen_epochs),
                "by labels*": lambda own: _counted_from_1(own.best_epochs),
                "source accuracy": lambda own: _mean((own.source_accuracy,), True),
                "A-distance": lambda own: "" if own.a_distance is None else f"{own.a_distance:.2f}",
            }
        )

    def _of_each_method(
        self, columns: dict[str, Callable[[MethodSummary], str]], first: dict[str, str] | None = None
    ) -> Table:
        """A table of the columns that are not empty, with a first row of its own."""
        above = {column: [] if first is None else [first.get(column, "")] for column in columns}
        cells = {
            column: above[column] + [cell(own) for own in self.summaries.values()] for column, cell in columns.items()
        }
        return _table({column: of_methods for column, of_methods in cells.items() if any(of_methods)})

    def _table_of_choices(self) -> Table:
        names = list(next(iter(self.choices.values())))
        columns = {"score": [*names, "labels*"]}
        for method, found in self.choices.items():
            columns[method] = [_mean((found[name],), True) for name in names] + [
                _mean(self.summaries[method].best, True)
            ]
        return _table(columns)

    def _legend(self) -> list[str]:
        counts = sorted({len(summary.seeds) for summary in self.summaries.values()})
        seeds = f"{' or '.join(map(str, counts))} seed{'s' if counts != [1] else ''}"
        lines = [
            f"Mean and standard deviation over {seeds}. chosen: at the epoch of "
            f"the highest {self.validator} (source only: source_score; oracle: the last), no target label used. "
            f"against source only: paired by seed, with the 95 % interval."
        ]
        if self.measure == TRUTH:
            lines.append("labels*: at the best epoch by target labels, not to be had in practice.")
        return lines


def _table(columns: dict[str, list[str]]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table


def to_json(value: Any) -> str:
    """As text; what is not a number becomes null, which every reader of JSON takes."""
    return json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _mean(values: tuple[float, ...], percent: bool) -> str:
    scale, digits = (100, 1) if percent else (1, 3)
    return f"{scale * np.mean(values):.{digits}f}" if values else ""


def _spread(values: tuple[float, ...], percent: bool) -> str:
    scale, digits = (100, 1) if percent else (1, 3)
    mean = _mean(values, percent)
    return mean if len(values) < 2 else f"{mean} ± {scale * np.std(values, ddof=1):.{digits}f}"


def _counted_from_1(epochs: tuple[int, ...]) -> str:
    return ", ".join(str(epoch + 1) for epoch in epochs[:5])


def _difference(summary: MethodSummary, percent: bool) -> str:
    difference = summary.difference
    if difference is None:
        return ""
    scale, digits = (100, 1) if percent else (1, 3)
    text = f"{scale * difference.mean:+.{digits}f}"
    if difference.low is None:
        return text
    return f"{text} [{scale * difference.low:+.{digits}f}, {scale * difference.high:+.{digits}f}]"
