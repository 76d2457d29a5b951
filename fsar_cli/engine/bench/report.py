"""A benchmark for people and programs: lines, a Markdown table, bench.json, bench.md and bench.png."""

import json
from pathlib import Path

from fsar_cli.engine.bench.measurement import Measurement, Report
from fsar_cli.files import write_whole
from fsar_cli.render.ratios import Bar, draw_ratios

COLUMNS = ("section", "what", "ours", "reference", "ratio", "share of ceiling")


def figure(value: float) -> str:
    """Three digits that matter, all of them before the point, with thousands apart: 0.0123, 12.0, 1,234."""
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".") if value else "0"


def ratio(measurement: Measurement) -> str:
    """`0.98x`, `2.8x`, `214x`, `86,400x`."""
    digits = 2 if measurement.ratio < 100 else 3
    rounded = float(f"{measurement.ratio:.{digits}g}")
    return f"{rounded:,.0f}x" if rounded >= 10 else f"{rounded:#.2g}x"


def row(measurement: Measurement) -> list[str]:
    """Cells for COLUMNS."""
    m = measurement
    share = "" if m.ceiling_share is None else f"{100 * m.ceiling_share:.0f} %"
    return [m.section, m.what, f"{figure(m.ours)} {m.unit}", f"{figure(m.plain)} {m.unit}", ratio(m), share]


def one_line(measurement: Measurement) -> str:
    """A measurement in a sentence."""
    m = measurement
    return f"{m.what}: {figure(m.ours)} {m.unit}; {m.against}: {figure(m.plain)} {m.unit}; {ratio(m)}"


def machine_line(report: Report) -> str:
    """What was measured on, when and how."""
    m = report.machine
    cores = f"{m['cores']} core{'s' * (m['cores'] != 1)}"
    device = f"{m['gpu']}, {m['name']}, {cores}" if "gpu" in m else f"{m['name']}, {cores}"
    return f"{device}; torch {m['torch']}, fsar {m['fsar']}; {report.date[:16].replace('T', ' ')}; {report.command}"


def ceiling_line(report: Report) -> str:
    """What the machine reaches; empty where no section asked."""
    rates = [f"{name} {figure(rate / 1e9)} GFLOP/s" for name, rate in report.ceilings.items() if name != "copy"]
    copied = [f"copy {figure(report.ceilings['copy'] / 1e9)} GB/s"] if "copy" in report.ceilings else []
    return f"ceiling, measured: matrix products in {', '.join(rates)}; {copied[0]}" if rates else ""


def title(report: Report) -> str:
    """What kind of run it was."""
    state = " (interrupted)" if report.interrupted else ""
    return f"fsar bench{' --quick: small sizes, not comparable with a full run' if report.quick else ''}{state}"


def notes(report: Report) -> list[str]:
    """The sizes and the reference of each measurement, once where several share them."""
    found: dict[tuple[str, str, str], None] = {}
    for m in report.measurements:
        found.setdefault((m.section, m.sizes, m.against))
    return [f"{section}: {sizes}. Reference: {against}." for section, sizes, against in found]


def markdown(report: Report) -> str:
    """A table for pasting, with machine and sizes."""
    lines = [f"**{title(report)}**: {machine_line(report)}", ""]
    if report.ceilings:
        lines += [f"{ceiling_line(report)}.", ""]
    lines += [f"| {' | '.join(COLUMNS)} |", "|---|---|---:|---:|---:|---:|"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row(m))} |" for m in report.measurements]
    return "\n".join([*lines, "", *[f"- {note}" for note in notes(report)]]) + "\n"


def bars(report: Report) -> list[Bar]:
    """The measurements that compare two forms, for the chart."""
    return [
        Bar(m.section, m.what, m.ratio, ratio(m), f"{figure(m.ours)} {m.unit} against {figure(m.plain)}")
        for m in report.measurements
    ]


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write bench.json, bench.md and, where anything was measured, bench.png; earlier ones are replaced.

    Raises:
        DataError, OSError: the folder takes no files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "bench.json", folder / "bench.md"]
    write_whole(files[0], json.dumps({"schema": 1, **report.document()}, indent=2) + "\n")
    write_whole(files[1], markdown(report))
    if report.measurements:
        files.append(folder / "bench.png")
        draw_ratios(bars(report), files[-1], title(report), [machine_line(report), ceiling_line(report)])
    return files
