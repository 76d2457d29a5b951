"""Dot plot: a band for each name from top to bottom, in it a line for each shape, on it dots in colours; panels beside
one another share the bands.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fsar_cli.render.figures import MUTED, drawing, shorten
from fsar_cli.render.forest import BAND, COLOURS, INK, LETTER, LONGEST, RULE

SHAPES = "osD^vPX"
LINE, PLOT = 0.14, 3.6
"""Inches: a line's height, an axis' width."""


@dataclass(frozen=True)
class Dot:
    """A mean and the half width of its interval, as shares of 1; band, shape and colour by their position."""

    band: int
    shape: int
    colour: int
    mean: float
    half: float


def dot_plot(
    title: str,
    bands: Sequence[str],
    shapes: Sequence[str],
    colours: Sequence[str],
    panels: Mapping[str, tuple[float, Sequence[Dot]]],
) -> np.ndarray:
    """Draw it.

    Args:
        bands, shapes, colours: their names.
        panels: title -> share at which a dashed line stands, dots.

    Returns:
        uint8 RGB [H,W,3].
    """
    names = [shorten(band, LONGEST) for band in bands]

    def draw(figure: Figure) -> None:
        figure.suptitle(title, x=0.01, ha="left", size=12, weight="bold", color=INK)
        for axes, (name, (line, dots)) in zip(
            figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items(), strict=True
        ):
            _panel(axes, name, line, dots, len(shapes), len(bands))
        axes.set_yticks(range(len(names)), names)
        keys = [key for pair in zip_longest(_keys(colours, _square), _keys(shapes, _marker)) for key in pair]
        keys = [key or Line2D([], [], linestyle="", label=" ") for key in keys]  # colours above shapes
        figure.legend(handles=keys, loc="outside lower left", ncols=len(keys) // 2, frameon=False, labelcolor=MUTED)

    letters = max(map(len, names))
    return drawing(draw, (LETTER * letters + PLOT * len(panels), 1.6 + LINE * (len(shapes) + 1) * len(bands)))


def _square(i: int) -> dict[str, object]:
    return {"color": COLOURS[i], "marker": "s", "markersize": 7}


def _marker(i: int) -> dict[str, object]:
    return {"color": INK, "marker": SHAPES[i], "markersize": 5}


def _keys(names: Sequence[str], style: Callable[[int], dict[str, object]]) -> list[Line2D]:
    return [Line2D([], [], linestyle="", label=name, **style(i)) for i, name in enumerate(names)]


def _panel(axes: Axes, name: str, line: float, dots: Sequence[Dot], lines: int, bands: int) -> None:
    axes.set(ylim=(bands - 0.5, -0.5), xlabel=name)
    axes.xaxis.label.set_color(MUTED)
    axes.axvline(100 * line, color=MUTED, linewidth=1, linestyle="--", zorder=1)
    for dot in dots:
        y, shade = dot.band + (dot.shape + 1) / (lines + 1) - 0.5, COLOURS[dot.colour]
        axes.errorbar(100 * dot.mean, y, xerr=100 * dot.half, color=shade, elinewidth=1.3, alpha=0.5, zorder=2)
        axes.plot(100 * dot.mean, y, SHAPES[dot.shape], color=shade, markersize=4.5, zorder=3)
    axes.tick_params(length=0)
    axes.tick_params(axis="x", colors=MUTED)
    axes.spines[:].set_visible(False)
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    for band in range(0, bands, 2):
        axes.axhspan(band - 0.5, band + 0.5, color=BAND, zorder=0, linewidth=0)
