"""A check as plain values for JSON, as a table, and as a picture of the flagged clips."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fsar_cli.data.sampling import even_indices
from fsar_cli.files import write_rows, write_whole
from fsar_cli.recognise.checking.check import CheckedClip, SupportReport, sentences
from fsar_cli.recognise.checking.flags import UNREADABLE
from fsar_cli.recognise.checking.pool import Pool
from fsar_cli.render.figures import drawing, save_png, shorten

SHEET = 24
"""Flagged clips on the contact sheet."""
PICTURES, OTHERS = 4, 2
"""Frames of a flagged clip, and of the clip beside it."""
COLUMNS = ("class", "video", "margin", "nearest", "flags", "detail")


def document(report: SupportReport) -> dict[str, object]:
    """The check as plain values for JSON."""
    return {
        "clips": len(report.clips),
        "classes": list(report.classes),
        "shots": report.shot,
        "draws": report.draws,
        "recognised": report.recognised,
        "chance": 1 / len(report.classes),
        "tells_classes_apart": report.tells_classes_apart,
        "flagged": sum(bool(clip.flags) for clip in report.clips),
        "videos": [
            {"class": clip.cls, "video": clip.video, "margin": clip.margin, "nearest": clip.nearest,
             "flags": [{"kind": flag.kind, "detail": flag.detail} for flag in clip.flags]}
            for clip in report.clips
        ],
        "summary": list(sentences(report)),
    }  # fmt: skip


def write_report(report: SupportReport, pool: Pool, folder: Path, plain: dict[str, object]) -> list[str]:
    """Write support.csv, support.json and, where clips are flagged, support.png; the names of what was written.

    Args:
        plain: the check for JSON, with what it was made from.
    """
    margins = ["" if clip.margin is None else f"{clip.margin:.6f}" for clip in report.clips]
    lines = [
        [clip.cls, clip.video, margin, clip.nearest or "", clip.kinds, clip.details]
        for clip, margin in zip(report.clips, margins, strict=True)
    ]
    write_rows(folder / "support.csv", COLUMNS, lines)
    write_whole(folder / "support.json", json.dumps({"schema": 1, **plain}, indent=2) + "\n")
    names = ["support.csv", "support.json"]
    picture = folder / "support.png"
    suspects = [clip for clip in report.clips if clip.flags and clip.flags[0].kind != UNREADABLE]
    if not suspects:
        picture.unlink(missing_ok=True)  # of an earlier check
        return names
    more = f", and {len(suspects) - SHEET} more" if len(suspects) > SHEET else ""
    rows = [row for clip in suspects[:SHEET] for row in _sides(clip, report, pool)]
    save_png(sheet(rows, f"worth a look: {pool.name}{more}"), picture)
    return [*names, "support.png"]


Side = tuple[str, str, Sequence[np.ndarray]]
"""What a clip is, what is said of it, and pictures uint8 RGB [h,w,3] of it."""


def _sides(clip: CheckedClip, report: SupportReport, pool: Pool) -> Iterator[Side]:
    """A flagged clip, and what it was taken for: the clip that it equals, or the best example of the nearest class."""
    margin = "" if clip.margin is None else f", margin {clip.margin:+.1f}".replace("-", "−")
    yield f"called {clip.cls}: {clip.kinds}{margin}", f"{clip.video}: {clip.details}", _frames(pool, clip, PICTURES)
    copies = [flag.other for flag in clip.flags if flag.other]
    like = [c for c in report.clips if (c.video in copies if copies else c.cls == clip.nearest and c.nearest)]
    other = max(like, key=lambda c: -np.inf if c.margin is None else c.margin)
    yield f"an example of {other.cls}", other.video, _frames(pool, other, OTHERS)


def _frames(pool: Pool, clip: CheckedClip, count: int) -> list[np.ndarray]:
    """Frames from the whole length of a clip, without its very ends."""
    reader = pool.pictures
    indices = even_indices(reader.store.count(clip.video), count + 2)[1:-1]
    return list(reader.store.read(clip.video, indices, reader.clip.short_side))


def sheet(sides: Sequence[Side], title: str) -> np.ndarray:
    """Clips below one another, each beside the one it is compared with: uint8 RGB [H,W,3]."""

    def draw(figure: Figure) -> None:
        figure.suptitle(shorten(title, 90), x=0.01, ha="left", size=14, weight="bold")
        parts = figure.subfigures(len(sides) // 2, 2, width_ratios=(PICTURES, OTHERS), squeeze=False)
        for part, (heading, detail, frames) in zip(parts.flat, sides, strict=True):
            room = 22 * len(frames)
            text = f"{shorten(heading, room)}\n{shorten(detail, room)}"
            part.suptitle(text, x=0.02, ha="left", size=9, linespacing=1.5)
            for axes, frame in zip(part.subplots(1, len(frames), squeeze=False).flat, frames, strict=True):
                axes.imshow(frame)
                axes.axis("off")
                axes.set_anchor("N")

    return drawing(draw, (12, 0.6 + 2.1 * len(sides) / 2))
