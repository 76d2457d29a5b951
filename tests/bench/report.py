"""One figure of a benchmark and all of them, as a Markdown table: bench.json and bench.md."""

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

COLUMNS = ("section", "what", "ours", "reference", "ratio")


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
    details: dict[str, object] = field(default_factory=dict)
    """Further figures, plain values."""

    @property
    def ratio(self) -> float:
        """How many times better ours is; below 1 it is worse."""
        better, worse = (self.ours, self.plain) if self.unit.endswith("/s") else (self.plain, self.ours)
        return better / worse if worse else float("inf")

    @property
    def figures(self) -> list[str]:
        """`0.29 s`, `0.98 s`, `3.3x`."""
        return [f"{figure(self.ours)} {self.unit}", f"{figure(self.plain)} {self.unit}", ratio(self.ratio)]


@dataclass
class BenchReport:
    """A benchmark as far as it came."""

    machine: dict[str, object]
    """CPU or GPU, cores, versions."""
    command: str
    quick: bool
    date: str = field(default_factory=lambda: datetime.now().astimezone().isoformat(timespec="seconds"))
    measurements: list[Measurement] = field(default_factory=list)
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def title(self) -> str:
        """What kind of run it was, on what, when and how."""
        quick = ", quick: small sizes, not comparable with a full run" if self.quick else ""
        m, when = self.machine, self.date[:16].replace("T", " ")
        device = ", ".join([*([m["gpu"]] if "gpu" in m else []), m["name"], f"{m['cores']} cores"])
        return (
            f"**fsar benchmark{quick}{' (interrupted)' if self.interrupted else ''}**: {device}; torch {m['torch']}, "
            f"fsar {m['fsar']}; {when}; {self.command}."
        )


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
    table = [COLUMNS, ["---", "---", *["---:"] * 3], *rows]
    lines = [report.title, "", *[f"| {' | '.join(row)} |" for row in table]]
    return "\n".join([*lines, "", *notes]) + "\n"


def write_report(report: BenchReport, folder: Path) -> None:
    """Write bench.json and bench.md; earlier ones are replaced."""
    document = {"schema": 1, **asdict(report)}
    for plain, measurement in zip(document["measurements"], report.measurements, strict=True):
        plain["ratio"] = measurement.ratio
    (folder / "bench.json").write_text(json.dumps(document, indent=2) + "\n")
    (folder / "bench.md").write_text(markdown(report))
