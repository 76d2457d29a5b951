"""A scan's windows and events -> a folder with a page that shows them on their videos."""

import base64
import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment

from fsar_cli.data.video import Playable, make_playable, printable
from fsar_cli.errors import DataError
from fsar_cli.files import write_whole
from fsar_cli.recognise.events import Box, Event, ScoredWindow
from fsar_cli.reporting import SILENT, Reporter

PAGE, MEDIA = "report.html", "media"
SOURCES = Path(__file__).parent
SCRIPTS = ("review.js", "player.js", "chart.js", "timeline.js", "lists.js", "verdict.js", "page.js")
POLICY = (
    "default-src 'none'; script-src {scripts}; style-src {style}; img-src data:; media-src 'self' file:; "
    "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


@dataclass(frozen=True)
class Example:
    """An enrolled clip."""

    name: str
    """As `kick/clip3`."""
    cls: str
    jpeg: bytes
    """A small picture of it."""
    group: str = ""


@dataclass(frozen=True)
class ReportVideo:
    """A source that was scanned."""

    name: str
    """As shown."""
    path: Path | None
    """Its file; None: a stream, of which there is none, so nothing is played."""
    windows: Sequence[ScoredWindow]
    """In order, scores [C] as the report's classes."""
    events: Sequence[Event]
    crop: Box = (0.0, 0.0, 1.0, 1.0)
    """What the network sees of the picture."""
    gaps: Sequence[tuple[float, float, str]] = ()
    """(start, end, why) of what is missing, seconds."""


@dataclass(frozen=True)
class ReportData:
    """All that a report shows."""

    title: str
    classes: Sequence[str]
    threshold: float | None
    """Score from which a window speaks for its class; None: no line is drawn."""
    examples: Sequence[Example]
    """`Event.nearest` is a position in here."""
    videos: Sequence[ReportVideo]
    facts: Sequence[tuple[str, str]]
    """(what, plain words): run, encoder, calibration, ..."""
    truth: Sequence[tuple[str, str]] = ()
    """(what, figure) against annotated events; empty: there were none."""


def write_report(data: ReportData, folder: Path, reporter: Reporter = SILENT) -> Path:
    """Write the report and the videos it plays; returns its page, `folder`/report.html.

    A video that cannot be read any more, or not to its end, or not be made playable, is told to the reporter and on the
    page.

    Raises:
        OSError: the folder or the page cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    videos = [_video(video, *_media(video, v, folder, reporter)) for v, video in enumerate(data.videos)]
    content = {
        "classes": list(data.classes),
        "threshold": _number(data.threshold),
        "examples": [_example(example) for example in data.examples],
        "videos": videos,
    }
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    write_whole(folder / PAGE, page(data, content | {"id": digest[:16]}))
    return folder / PAGE


def page(data: ReportData, content: dict[str, Any]) -> str:
    """The HTML document around an island of data; everything in it is escaped."""
    style, *scripts = ((SOURCES / name).read_text(encoding="utf-8") for name in ("page.css", *SCRIPTS))
    policy = POLICY.format(scripts=" ".join(map(_hash, scripts)), style=_hash(style))
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (SOURCES / "page.html").read_text(encoding="utf-8")
    )
    return template.render(data=data, policy=policy, style=style, scripts=scripts, island=island(content))


def island(content: dict[str, Any]) -> str:
    """JSON that may stand in a `<script>`: no sign of it means anything to HTML."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _media(video: ReportVideo, position: int, folder: Path, reporter: Reporter) -> tuple[Playable | None, str]:
    """(what is played, why it is not all of the video)."""
    if video.path is None:
        return None, "This was a stream: no file of it was kept, so there is nothing to play."
    (folder / MEDIA).mkdir(exist_ok=True)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", video.path.stem).strip("-.")[:60]
    target = folder / MEDIA / f"{position + 1:03d}-{stem or 'video'}.mp4"
    try:
        playable = make_playable(video.path, target, reporter=reporter)
    except DataError as error:
        reporter.warn(f"the report cannot play {error.message}")
        return None, f"Nothing can be played: {error.message}."
    if playable.fault:
        reporter.warn(f"the report plays no more than the readable part: {playable.fault}")
    return playable, f"Only its readable part is played: {playable.fault}." if playable.fault else ""


def _video(video: ReportVideo, playable: Playable | None, note: str) -> dict[str, Any]:
    windows = sorted(video.windows, key=lambda window: window.middle)
    scores = zip(*(window.scores.tolist() for window in windows), strict=True)
    return {
        "name": video.name,
        "key": video.name if video.path is None else printable(os.path.abspath(video.path)),
        "src": None if playable is None else f"{MEDIA}/{playable.path.name}",
        "shown": None if playable is None else playable.shown,
        "note": note,
        "crop": _numbers(video.crop),
        "gaps": [[_number(start), _number(end), why] for start, end, why in video.gaps],
        "end": _number(max((window.end for window in windows), default=0.0)),
        "times": _numbers(window.middle for window in windows),
        "breaks": [w for w, window in enumerate(windows) if window.breaks],
        "scores": [_numbers(column) for column in scores],
        "events": [_event(event) for event in sorted(video.events, key=lambda event: (event.start, event.end))],
    }


def _event(event: Event) -> dict[str, Any]:
    track = dict(sorted(event.track))
    return {
        "start": round(event.start, 3),
        "end": max(round(event.end, 3), round(event.start + 0.001, 3)),
        "cls": event.cls,
        "score": _number(event.score),
        "nearest": event.nearest,
        "track": [[_number(seconds), *_numbers(box)] for seconds, box in track.items()],
        "wall": event.wall,
        "open": event.is_open,
        "cut": event.cut,
    }


def _example(example: Example) -> dict[str, str]:
    source = f"data:image/jpeg;base64,{base64.b64encode(example.jpeg).decode()}"
    return {"name": example.name, "cls": example.cls, "group": example.group, "src": source}


def _number(value: float | None) -> float | None:
    """To five digits behind the point; None: nothing that could be drawn."""
    return None if value is None or not math.isfinite(value) else round(float(value), 5)


def _numbers(values: Iterable[float]) -> list[float | None]:
    return [_number(value) for value in values]
