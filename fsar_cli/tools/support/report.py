"""A check as plain values for JSON, as tables, and as a picture of the flagged clips."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from fsar_cli.data.sampling import even_indices
from fsar_cli.files import write_rows
from fsar_cli.render.figures import save_png
from fsar_cli.render.suspects import Suspect, suspect_sheet
from fsar_cli.tools.support.check import Report
from fsar_cli.tools.support.pool import Pool
from fsar_cli.tools.support.rows import Row, known, rows
from fsar_cli.tools.support.words import sentences, tells_apart

SHEET = 24
"""Flagged clips on the contact sheet."""
PICTURES = 4
COLUMNS = ("class", "video", "margin", "recognised", "nearest", "influence", "influence_error", "flags", "detail")


def document(report: Report) -> dict[str, object]:
    """The check as plain values for JSON."""
    pool, scored = report.pool, report.scored
    found = rows(report)
    return {
        "pool": pool.name,
        "clips": len(found),
        "classes": list(pool.classes),
        "shots": scored.shot,
        "draws": report.settings.draws,
        "seed": report.settings.seed,
        "recognised": known(report.recognised),
        "chance": 1 / len(pool.classes),
        "tells_classes_apart": tells_apart(report),
        "flagged": sum(bool(row.flags) for row in found),
        "left_out_by_filter": [pool.videos[i] for i in np.flatnonzero(scored.left_out)],
        "videos": [_plain(row) for row in found],
        "confusion": np.round(report.confusion, 6).tolist(),
        "filter": [{**asdict(effect), "real": effect.real} for effect in report.effects],
        "summary": list(sentences(report)),
    }


def _plain(row: Row) -> dict[str, object]:
    return {
        "class": row.cls,
        "video": row.video,
        "margin": row.margin,
        "recognised": row.recognised,
        "nearest": row.nearest,
        "influence": row.influence,
        "influence_error": row.influence_error,
        "flags": [{"kind": flag.kind, "detail": flag.detail} for flag in row.flags],
    }


def write_report(report: Report, folder: Path, title: str) -> list[str]:
    """Write support.csv, confusion.csv and, where clips are flagged, support.png; the names of what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    found = rows(report)
    write_rows(folder / "support.csv", COLUMNS, [_cells(row) for row in found])
    shares = [
        [name, *np.round(row, 4).tolist()] for name, row in zip(report.pool.classes, report.confusion, strict=True)
    ]
    write_rows(folder / "confusion.csv", ("true \\ recognised", *report.pool.classes), shares)
    picture = folder / "support.png"
    suspects = [row for row in found if row.flags and row.position is not None]
    if not suspects:
        picture.unlink(missing_ok=True)  # of an earlier check
        return ["support.csv", "confusion.csv"]
    left_out = len(suspects) - SHEET
    shown = [_suspect(report, row) for row in suspects[:SHEET]]
    save_png(suspect_sheet(shown, title, f"and {left_out} more" if left_out > 0 else ""), picture)
    return ["support.csv", "confusion.csv", "support.png"]


def _cells(row: Row) -> list[object]:
    numbers = (row.margin, row.recognised, row.nearest, row.influence, row.influence_error)
    shown = ["" if n is None else f"{n:.6f}" if isinstance(n, float) else n for n in numbers]
    return [row.cls, row.video, *shown, row.kinds, row.details]


def _suspect(report: Report, row: Row) -> Suspect:
    """A flagged clip beside what it was taken for: the best example of that class, or the clip that it equals."""
    pool, scored = report.pool, report.scored
    other = next((flag.other for flag in row.flags if flag.other is not None), None)
    if other is None:
        rival = np.flatnonzero(pool.labels == scored.rivals[row.position])
        margins = scored.margins[rival]
        other = int(rival[0 if np.isnan(margins).all() else np.nanargmax(margins)])
    margin = "" if row.margin is None else f", margin {row.margin:+.1f}"
    return Suspect(
        f"called {row.cls}", row.video, _pictures(pool, row.video, PICTURES), row.kinds + margin, row.details,
        f"an example of {pool.classes[pool.labels[other]]}", pool.videos[other], _pictures(pool, pool.videos[other], 2),
    )  # fmt: skip


def _pictures(pool: Pool, video: str, count: int) -> list[np.ndarray]:
    """Frames from the whole length of a clip, without its very ends."""
    indices = even_indices(pool.reader.store.count(video), count + 2)[1:-1]
    return list(pool.reader.store.read(video, indices, pool.reader.clip.short_side))
