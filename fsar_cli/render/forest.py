"""Forest plot: means with two intervals, a row each, in panels side by side.

Thick is the interval of the episodes, thin the one of the test set; a hollow mark is a difference that the episodes do
not show to be real. Rows of all panels are equally high and start at the top.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fsar_cli.render.figures import MUTED, drawing, shorten

COLOURS = ("#1d6fa5", "#d1495b", "#3a7d44", "#8e5ea2", "#b8741a")
"""One for each number of shots."""
INK, RULE, BAND = "#212529", "#dee2e6", "#f6f7f9"
ROW, PLOT, LETTER = 0.34, 4.2, 0.075
"""Inches: a row's height, an axis' width, a letter's width."""
LONGEST = 44
"""Letters of a name."""


@dataclass(frozen=True)
class Mark:
    """One row: a mean and the half widths of its intervals, as shares of 1."""

    name: str
    shot: int
    mean: float
    narrow: float
    """Of the episodes."""
    wide: float | None
    """Of the test set; None: not known."""
    solid: bool = True


@dataclass(frozen=True)
class Panel:
    """Marks under a title; rows of one number of shots stand together."""

    title: str
    marks: Sequence[Mark]
    line: float
    """Share at which an upright line stands."""
    line_name: str

    def rows(self) -> list[Mark | int]:
        """From top to bottom: each number of shots and below it its marks."""
        shots = dict.fromkeys(mark.shot for mark in self.marks)
        return [row for shot in shots for row in (shot, *[mark for mark in self.marks if mark.shot == shot])]


def forest(left: Panel, right: Panel, title: str, other: str, left_out: int = 0) -> np.ndarray:
    """Draw both panels.

    Args:
        other: what the wide interval is about, e.g. `other videos`.
        left_out: differences there was no room for; it is said below.

    Returns:
        uint8 RGB [H, W, 3].
    """
    panels = (left, right)
    height = max(len(panel.rows()) for panel in panels)
    names = [LETTER * max(len(shorten(mark.name, LONGEST)) for mark in panel.marks) for panel in panels]
    shots = list(dict.fromkeys(mark.shot for panel in panels for mark in panel.marks))
    colours = {shot: COLOURS[i % len(COLOURS)] for i, shot in enumerate(shots)}

    def draw(figure: Figure) -> None:
        figure.suptitle(title, x=0.01, ha="left", size=12, weight="bold", color=INK)
        parts = figure.subfigures(1, 2, width_ratios=[PLOT + 1.5 + name for name in names])
        for part, panel in zip(parts, panels, strict=True):
            _panel(part.subplots(), panel, height, colours)
        kinds = {
            "95 % interval: other episodes": {"linewidth": 6, "alpha": 0.5},
            f"95 % interval: {other}": {"linewidth": 1.3, "marker": "|"},
            "real at these episodes (Holm)": {"linestyle": "", "marker": "o"},
            "cannot tell": {"linestyle": "", "marker": "o", "markerfacecolor": "white"},
        }
        if left_out > 0:
            kinds[f"and {left_out} more in compare.md"] = {"linestyle": ""}
        keys = [Line2D([], [], color=MUTED, markersize=5, **style) for style in kinds.values()]
        figure.legend(
            keys, kinds.keys(), loc="outside lower left", ncols=len(kinds), frameon=False, labelcolor=MUTED
        )  # fmt: skip

    return drawing(draw, (2 * (PLOT + 1.5) + sum(names), 1.5 + ROW * height))


def _panel(axes: Axes, panel: Panel, height: int, colours: dict[int, str]) -> None:
    """Names at the left, values at the right, a row each; `height` rows, of which some at the bottom may be empty."""
    rows = panel.rows()
    dashed = f" (dashed: {panel.line_name})" if panel.line_name else ""
    axes.set(ylim=(height - 0.5, -0.5), xlabel=panel.title + dashed)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.xaxis.label.set_color(MUTED)
    axes.axvline(100 * panel.line, color=MUTED, linewidth=1, linestyle="--", zorder=1)
    values, inks = [], []
    for y, row in enumerate(rows):
        if isinstance(row, Mark):
            shade = colours[row.shot] if row.solid else MUTED
            _mark(axes, row, y, shade)
            values.append(_value(row, signed=panel.line == 0))
            inks.append(INK if row.solid else MUTED)
        else:
            values.append("")
            inks.append(colours[row])
    names = [shorten(row.name, LONGEST) if isinstance(row, Mark) else f"{row}-shot" for row in rows]
    axes.set_yticks(range(len(rows)), names)
    beside = axes.secondary_yaxis("right")
    beside.set_yticks(range(len(rows)), values)
    for name, value, row, ink in zip(axes.get_yticklabels(), beside.get_yticklabels(), rows, inks, strict=True):
        name.set(color=INK if isinstance(row, Mark) else ink, weight="normal" if isinstance(row, Mark) else "bold")
        value.set_color(ink)
    for part in (axes, beside):
        part.tick_params(length=0, axis="y")
        part.spines[:].set_visible(False)
    axes.tick_params(axis="x", length=0, colors=MUTED)
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    for y in range(1, len(rows), 2):
        axes.axhspan(y - 0.5, y + 0.5, color=BAND, zorder=0, linewidth=0)
    axes.axhspan(len(rows) - 0.5, height, color="white", zorder=2, linewidth=0)  # no lines where there is no row


def _mark(axes: Axes, mark: Mark, y: float, shade: str) -> None:
    mean, style = 100 * mark.mean, {"color": shade, "linestyle": ""}
    if mark.wide is not None:
        axes.errorbar(mean, y, xerr=100 * mark.wide, elinewidth=1.3, capsize=3, zorder=2, **style)
    axes.errorbar(mean, y, xerr=100 * mark.narrow, elinewidth=6, alpha=0.5, zorder=3, **style)
    face = shade if mark.solid else "white"
    axes.plot(mean, y, "o", color=shade, markerfacecolor=face, markersize=4.5, markeredgewidth=1.3, zorder=4)


def _value(mark: Mark, signed: bool) -> str:
    text = f"{100 * mark.mean:{'+' if signed else ''}.1f}".replace("-", "−")
    return f"{text} ± {100 * mark.narrow:.1f}"
