"""Forest plot: means with two intervals, a row each, in panels side by side.

Thick is the interval of the episodes, thin the one of the test set; a hollow mark is a difference that the episodes do
not show to be real. Rows of all panels are equally high and start at the top.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

INK, MUTED, RULE, BAND = "#212529", "#6c757d", "#dee2e6", "#f6f7f9"
COLOURS = ("#1d6fa5", "#d1495b", "#3a7d44", "#8e5ea2", "#b8741a")
"""One for each number of shots."""
DPI, ROW, HEAD, FOOT = 150, 0.34, 0.75, 1.05  # dots an inch; inches
PLOT, LETTER, VALUE, GAP, EDGE = 4.2, 0.083, 1.15, 0.5, 0.3  # inches: axis, a letter, a value's column
LONGEST = 44  # letters of a name


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

    @property
    def shots(self) -> list[int]:
        """Numbers of shots in the order of their first row."""
        return list(dict.fromkeys(mark.shot for mark in self.marks))

    @property
    def rows(self) -> int:
        """Rows with the headings."""
        return len(self.marks) + len(self.shots)


def forest(left: Panel, right: Panel, title: str, other: str, left_out: int = 0) -> np.ndarray:
    """Draw both panels.

    Args:
        other: what the wide interval is about, e.g. `other videos`.
        left_out: differences there was no room for; it is said below.

    Returns:
        uint8 RGB [H, W, 3].
    """
    panels = (left, right)
    rows, shots = max(panel.rows for panel in panels), list(dict.fromkeys([*left.shots, *right.shots]))
    names = [max(len(_short(mark.name)) for mark in panel.marks) * LETTER + 0.25 for panel in panels]
    width = 2 * EDGE + sum(names) + 2 * (PLOT + VALUE) + GAP
    height = HEAD + rows * ROW + FOOT
    with matplotlib.rc_context({"text.parse_math": False, "font.family": "DejaVu Sans", "font.size": 10}):
        figure = Figure((width, height), dpi=DPI, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        x = EDGE
        for panel, name in zip(panels, names, strict=True):
            share = panel.rows * ROW / height
            axes = figure.add_axes(
                ((x + name) / width, 1 - HEAD / height - share, PLOT / width, share), facecolor="none"
            )
            _draw(axes, panel, shots, name / PLOT, VALUE / PLOT)
            x += name + PLOT + VALUE + GAP
        figure.text(EDGE / width, 1 - 0.2 / height, title, size=12, color=INK, va="top", weight="bold")
        _legend(figure, other, EDGE / width, 0.12 / height, left_out)
        with warnings.catch_warnings():  # a name may hold letters that the font lacks
            warnings.simplefilter("ignore")
            canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _draw(axes: Axes, panel: Panel, shots: list[int], names: float, values: float) -> None:
    """One panel; `names` and `values` are the widths of its text columns in widths of the axis."""
    low, high = _range(panel)
    axes.set(xlim=(low, high), ylim=(panel.rows, 0), yticks=[])
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("left", "right", "top", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="x", length=0, colors=MUTED, labelsize=9)
    axes.set_xlabel(panel.title, color=MUTED, size=9.5)
    axes.axvline(100 * panel.line, color=INK if panel.line == 0 else MUTED, linewidth=1, dashes=(4, 3), zorder=1)
    if panel.line_name:
        at = axes.get_xaxis_transform()
        axes.text(100 * panel.line, 1.01, panel.line_name, color=MUTED, size=8, ha="center", va="bottom", transform=at)
    y = 0.0
    for shot in panel.shots:
        colour = COLOURS[shots.index(shot) % len(COLOURS)]
        _text(axes, -names, y + 0.62, f"{shot}-shot", ha="left", color=colour, weight="bold", size=10.5)
        for row, mark in enumerate(mark for mark in panel.marks if mark.shot == shot):
            y += 1
            if row % 2 == 0:
                axes.axhspan(y, y + 1, -names, 1 + values, color=BAND, zorder=0, clip_on=False, linewidth=0)
            _mark(axes, mark, y + 0.5, colour, signed=panel.line == 0)
        y += 1


def _mark(axes: Axes, mark: Mark, y: float, colour: str, signed: bool) -> None:
    mean, narrow = 100 * mark.mean, 100 * mark.narrow
    shade = colour if mark.solid else MUTED
    if mark.wide is not None:
        wide = 100 * mark.wide
        axes.plot([mean - wide, mean + wide], [y, y], color=shade, linewidth=1.3, zorder=2, solid_capstyle="butt")
        axes.plot([mean - wide, mean + wide], [y, y], color=shade, marker="|", markersize=6, linestyle="", zorder=2)
    axes.plot([mean - narrow, mean + narrow], [y, y], color=shade, linewidth=6, alpha=0.5, zorder=3,
              solid_capstyle="butt")  # fmt: skip
    face = shade if mark.solid else "white"
    axes.plot([mean], [y], "o", color=shade, markerfacecolor=face, markersize=4.5, markeredgewidth=1.3, zorder=4)
    _text(axes, -0.02, y, _short(mark.name), ha="right", color=INK)
    text = f"{mean:+.1f}".replace("-", "−") if signed else f"{mean:.1f}"
    ink = INK if mark.solid else MUTED
    _text(axes, 1.02, y, f"{text} ± {narrow:.1f}", ha="left", color=ink, size=9.5)


def _text(axes: Axes, x: float, y: float, text: str, **style) -> None:
    """A text at x in widths of the axis and y in rows."""
    axes.text(x, y, text, transform=axes.get_yaxis_transform(), va="center", clip_on=False, **style)


def _range(panel: Panel) -> tuple[float, float]:
    """Of the axis in percent: all intervals and the line, with some air."""
    ends = [100 * (mark.mean + sign * max(mark.narrow, mark.wide or 0)) for mark in panel.marks for sign in (-1, 1)]
    low, high = min([*ends, 100 * panel.line]), max([*ends, 100 * panel.line])
    air = max(0.05 * (high - low), 0.25)
    return low - air, high + air


def _short(name: str) -> str:
    """A name on one line, its middle left out where it is too long."""
    name = " ".join(name.split())
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[: half - 1]}…{name[-half:]}"


def _legend(figure: Figure, other: str, x: float, y: float, left_out: int) -> None:
    thick = Line2D([], [], color=MUTED, linewidth=6, alpha=0.5)
    thin = Line2D([], [], color=MUTED, linewidth=1.3, marker="|", markersize=6)
    solid = Line2D([], [], color=MUTED, marker="o", linestyle="", markersize=4.5)
    hollow = Line2D([], [], color=MUTED, marker="o", markerfacecolor="white", linestyle="", markersize=4.5)
    labels = [
        "95 % interval: other episodes",
        f"95 % interval: {other}",
        "real at these episodes (Holm)",
        "cannot tell",
    ]
    figure.legend(
        [thick, thin, solid, hollow], labels, loc="lower left", bbox_to_anchor=(x, y), ncols=4, frameon=False,
        fontsize=9, labelcolor=MUTED, borderaxespad=0, handletextpad=0.6, columnspacing=2.0,
    )  # fmt: skip
    if left_out > 0:
        figure.text(1 - x, y, f"and {left_out} more in compare.md", size=9, color=MUTED, ha="right", va="bottom")
