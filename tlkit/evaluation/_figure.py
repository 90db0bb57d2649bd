"""The look that all plots share, without pyplot: no global state, no window, no backend to choose."""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#1f2933"  # text
MUTED = "#6b7785"  # secondary text, ticks
RULE = "#d9dee4"  # grid and frames
BLUE = "#2467b3"
ORANGE = "#d9730d"
RED = "#b3261e"
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # behind a text, so that no line strikes it through
# One for each class, from the first again when there are more. Okabe and Ito's, which people with colour blindness tell
# apart, without black: https://jfly.uni-koeln.de/color
CLASS_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")


class NotebookFigure(Figure):
    """A figure that notebooks show by themselves, as they do with pyplot's."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of that many inches."""
    return NotebookFigure(figsize=(width, height), facecolor="white", layout="constrained")


def tidy(axes: Axes) -> None:
    """Light frame and grid, muted ticks."""
    axes.set_facecolor("white")
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.tick_params(which="both", colors=MUTED, labelsize=9, length=0)  # logarithmic axes label minor ticks, too
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(RULE)


def set_title(axes: Axes, text: str, pad: float = 10) -> None:
    """A title at the left, above the axes."""
    axes.set_title(text, loc="left", color=INK, fontsize=11, fontweight="bold", pad=pad)


def shorten(text: str, length: int) -> str:
    """At most that many characters, cut in the middle, where file and class names differ least."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[-tail:]}"
