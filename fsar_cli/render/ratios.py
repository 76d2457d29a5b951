"""A chart of ratios: how many times better one form is than another, on a logarithmic axis, grouped."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from fsar_cli.render.figures import save_png

INK, MUTED, LINE = "#212529", "#6c757d", "#dee2e6"
BETTER, WORSE = "#2f6f8f", "#c08552"
WIDTH, ROW, GAP, DPI = 11.0, 0.29, 0.55, 160
"""Inches of the figure and of a row; rows of space between groups."""
LEFT, RIGHT = 0.40, 0.26
"""Shares of the width for groups and names, and for labels."""
TOP, BOTTOM, MARGIN = 1.0, 0.6, 0.02
LINE_LENGTH = 150
"""Letters of small print that fit."""
FONT = "DejaVu Sans"  # comes with matplotlib


@dataclass(frozen=True)
class Bar:
    """One comparison."""

    group: str
    name: str
    ratio: float
    """Above 0; 1 means equal."""
    label: str
    """Written behind the bar."""
    note: str = ""
    """Written behind the label, smaller in weight."""


def draw_ratios(bars: Sequence[Bar], path: Path, title: str, lines: Sequence[str]) -> None:
    """Write a PNG with one horizontal bar a comparison; those below 1 have another colour and point to the left.

    Args:
        bars: in the order from top to bottom; a group's bars lie together.
        lines: small print under the title; empty ones are left out.

    Raises:
        DataError: the file cannot be written.
    """
    heights, groups = _places(bars)
    rows = heights[-1] + 1
    height = rows * ROW + TOP + BOTTOM
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((LEFT, BOTTOM / height, 1 - LEFT - RIGHT, rows * ROW / height))
    _axis(axes, [bar.ratio for bar in bars], rows)
    for place, bar in zip(heights, bars, strict=True):
        _bar(axes, place, bar)
    for group, place in groups.items():
        y = 1 - (TOP + (place + 0.5) * ROW) / height
        figure.text(MARGIN, y, group, fontsize=9.5, weight="bold", color=INK, va="center", fontfamily=FONT)
    _heading(figure, height, title, [line for line in lines if line])
    canvas.draw()
    save_png(np.asarray(canvas.buffer_rgba())[..., :3].copy(), path)


def _places(bars: Sequence[Bar]) -> tuple[list[float], dict[str, float]]:
    """Rows of the bars and of the groups' names, counted from the top."""
    places, groups, row = [], {}, 0.0
    for bar in bars:
        if bar.group not in groups:
            row += GAP if groups else 0
            groups[bar.group] = row
        places.append(row)
        row += 1
    return places, groups


def _axis(axes, ratios: list[float], rows: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(min(0.7, *[0.85 * r for r in ratios]), max(10.0, *[1.3 * r for r in ratios]))
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_yticks([])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}x")
    axes.tick_params(axis="x", colors=MUTED, labelsize=8.5, length=0, pad=6, labelfontfamily=FONT)
    axes.grid(axis="x", which="major", color=LINE, linewidth=0.8)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.axvline(1, color=MUTED, linewidth=1.0)
    axes.set_xlabel("times better than the reference measured beside it", color=MUTED, fontsize=8.5, fontfamily=FONT)


def _bar(axes, place: float, bar: Bar) -> None:
    colour = BETTER if bar.ratio >= 1 else WORSE
    left, right = min(1.0, bar.ratio), max(1.0, bar.ratio)
    axes.barh(place, right - left, 0.62, left, color=colour, linewidth=0)
    style = {"va": "center", "ha": "left", "fontsize": 8.5, "fontfamily": FONT, "annotation_clip": False}
    # White behind the letters: the lines of the grid must not cross them.
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    label = axes.annotate(
        bar.label, (right, place), xytext=(6, 0), textcoords="offset points", color=INK, weight="bold", bbox=paper,
        **style,
    )  # fmt: skip
    axes.annotate(
        bar.note, (1, 0.5), xycoords=label, xytext=(7, 0), textcoords="offset points", color=MUTED, bbox=paper, **style
    )
    axes.text(
        -0.012, place, bar.name, transform=axes.get_yaxis_transform(), va="center", ha="right", fontsize=9, color=INK,
        fontfamily=FONT,
    )  # fmt: skip


def _heading(figure: Figure, height: float, title: str, lines: Sequence[str]) -> None:
    figure.text(MARGIN, 1 - 0.30 / height, title, fontsize=13, color=INK, weight="bold", va="center", fontfamily=FONT)
    for number, line in enumerate(lines):
        line = line if len(line) <= LINE_LENGTH else f"{line[: LINE_LENGTH - 1]}…"
        y = 1 - (0.58 + 0.20 * number) / height
        figure.text(MARGIN, y, line, fontsize=8, color=MUTED, va="center", fontfamily=FONT)
