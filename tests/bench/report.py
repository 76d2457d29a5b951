"""One figure of a benchmark and all of them, as a Markdown table, bench.json, bench.md and a chart, bench.png."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from fsar_cli.render.figures import MUTED, drawing, save_png

COLUMNS = ("section", "what", "ours", "reference", "ratio", "share of ceiling")
BETTER, WORSE = "#2f6f8f", "#c08552"


@dataclass(frozen=True)
class Measurement:
    """What fsar reached and what the plain form reached, in this run, in turn where both are short."""

    section: str
    what: str
    """What was done, in few words."""
    sizes: str
    """On what: everything that a reader needs to compare the figure with another."""
    unit: str
    """Of `ours` and `plain`; a rate (`frames/s`) is better when larger, a time (`s`, `ms`) when smaller."""
    ours: float
    plain: float
    against: str
    """What `plain` is."""
    spread: float = 0.0
    """(largest - smallest) / median of our repeats; 0 where there was one."""
    ceiling_share: float | None = None
    """Our FLOP/s over those of the fastest matrix product of the same type."""
    details: dict[str, object] = field(default_factory=dict)
    """Further figures, plain values."""

    @property
    def ratio(self) -> float:
        """How many times better ours is; below 1 it is worse."""
        better, worse = (self.ours, self.plain) if self.unit.endswith("/s") else (self.plain, self.ours)
        return better / worse if worse else float("inf")

    @property
    def figures(self) -> list[str]:
        """`0.29 s`, `0.98 s`, `3.3x`, `41 %`."""
        share = "" if self.ceiling_share is None else f"{100 * self.ceiling_share:.0f} %"
        return [f"{figure(self.ours)} {self.unit}", f"{figure(self.plain)} {self.unit}", ratio(self.ratio), share]


@dataclass
class BenchReport:
    """A benchmark as far as it came."""

    machine: dict[str, object]
    """CPU or GPU, cores, versions."""
    command: str
    quick: bool
    date: str = field(default_factory=lambda: datetime.now().astimezone().isoformat(timespec="seconds"))
    ceilings: dict[str, float] = field(default_factory=dict)
    """What the machine reaches: FLOP/s of matrix products by type, bytes/s of copies."""
    measurements: list[Measurement] = field(default_factory=list)
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def title(self) -> str:
        """What kind of run it was."""
        quick = ", quick: small sizes, not comparable with a full run" if self.quick else ""
        return f"fsar benchmark{quick}{' (interrupted)' if self.interrupted else ''}"

    @property
    def place(self) -> list[str]:
        """What was measured on, when and how, and what the machine reaches."""
        m = self.machine
        device = ", ".join([*([m["gpu"]] if "gpu" in m else []), m["name"], f"{m['cores']} cores"])
        lines = [f"{device}; torch {m['torch']}, fsar {m['fsar']}; {self.date[:16].replace('T', ' ')}; {self.command}"]
        if self.ceilings:
            rates = [f"{n} {figure(rate / 1e9)} GFLOP/s" for n, rate in self.ceilings.items() if n != "copy"]
            copied = figure(self.ceilings["copy"] / 1e9)
            lines.append(f"ceiling, measured: matrix products in {', '.join(rates)}; copy {copied} GB/s")
        return lines


def figure(value: float) -> str:
    """Three digits that matter, all of them before the point, with thousands apart: 0.0123, 12.0, 1,234."""
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".") if value else "0"


def ratio(value: float) -> str:
    """`0.98x`, `2.8x`, `214x`, `86,400x`."""
    rounded = float(f"{value:.{2 if value < 100 else 3}g}")
    return f"{rounded:,.0f}x" if rounded >= 10 else f"{rounded:#.2g}x"


def markdown(report: BenchReport) -> str:
    """A table for pasting, with machine, sizes and references."""
    rows = [[m.section, m.what.replace("|", "/"), *m.figures] for m in report.measurements]
    # The sizes and the reference of each measurement, once where several share them.
    notes = dict.fromkeys(f"- {m.section}: {m.sizes}. Reference: {m.against}." for m in report.measurements)
    table = [COLUMNS, ["---", "---", *["---:"] * 4], *rows]
    lines = [f"**{report.title}**: {'. '.join(report.place)}.", "", *[f"| {' | '.join(row)} |" for row in table]]
    return "\n".join([*lines, "", *notes]) + "\n"


def write_report(report: BenchReport, folder: Path) -> None:
    """Write bench.json, bench.md and, where anything was measured, bench.png; earlier ones are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"schema": 1, **asdict(report)}
    for plain, measurement in zip(document["measurements"], report.measurements, strict=True):
        plain["ratio"] = measurement.ratio
    (folder / "bench.json").write_text(json.dumps(document, indent=2) + "\n")
    (folder / "bench.md").write_text(markdown(report))
    if report.measurements:
        save_png(chart(report.measurements, report.title, report.place), folder / "bench.png")


def chart(measurements: Sequence[Measurement], title: str, lines: Sequence[str]) -> np.ndarray:
    """A horizontal bar a measurement on a logarithmic axis; those below 1 point to the left: uint8 RGB [H,W,3]."""
    sections = list(dict.fromkeys(m.section for m in measurements))
    places = [row + 0.5 * sections.index(m.section) for row, m in enumerate(measurements)]  # half a row between them
    ratios = [m.ratio for m in measurements]

    def draw(drawn: Figure) -> None:
        drawn.suptitle(title, x=0.01, ha="left", size=12, weight="bold")
        small = "\n".join(part for line in lines for part in textwrap.wrap(line, 150))
        drawn.supxlabel(small, x=0.01, ha="left", size=8, color=MUTED)
        axes = drawn.add_subplot(xscale="log", xlim=(min(0.7, 0.85 * min(ratios)), max(10.0, 1.3 * max(ratios))))
        axes.barh(places, [r - 1 for r in ratios], 0.65, 1.0, color=[BETTER if r >= 1 else WORSE for r in ratios])
        axes.set(ylim=(places[-1] + 0.6, -0.6), xlabel="times better than the reference measured beside it")
        axes.set_yticks(places, [f"{m.section}:  {m.what}" for m in measurements])
        beside = axes.secondary_yaxis("right")
        words = [f"{m.figures[2]}   {m.figures[0]} against {figure(m.plain)}" for m in measurements]
        beside.set_yticks(places, words)
        for part in (axes, beside):
            part.tick_params(length=0)
            part.spines[:].set_visible(False)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}x")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(axis="x", color="#dee2e6")
        axes.set_axisbelow(True)
        axes.axvline(1, color=MUTED, linewidth=1)

    return drawing(draw, (12, 1.7 + 0.27 * (places[-1] + 1)))
