"""Small scans to report: a video whose bright square is where its time says, and events that follow it."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from fsar_cli.data.video.picture import to_jpeg
from fsar_cli.recognise.events import Box, Event, ScoredWindow
from fsar_cli.recognise.report import Example, ReportData, ReportVideo

NASTY = "<img src=x onerror=alert(1)>"
CLASSES = ("kick", "push", NASTY)
SIDE = 0.2
"""Of the square, as a share of the picture's height."""


def square(seconds: float, aspect: float) -> Box:
    """Where the square is: a way of 8 s from the top left to the bottom right."""
    share = min(max(seconds / 8, 0.0), 1.0)
    left, top = 0.05 + share * 0.6, 0.1 + share * 0.6
    return left, top, left + SIDE / aspect, top + SIDE


def square_video(path: Path, width: int = 320, height: int = 180, seconds: float = 8.0, fps: int = 25) -> Path:
    """A bright square on dark ground; with an odd size in colours that allow one, which browsers cannot play."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "12", "preset": "veryfast"})
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        for index in range(round(seconds * fps)):
            picture = np.full((height, width, 3), 24, np.uint8)
            x0, y0, x1, y1 = square(index / fps, width / height)
            picture[round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)] = (255, 240, 80)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def square_event(start: float, end: float, cls: str, aspect: float = 16 / 9, nearest: int = 0) -> Event:
    """An event whose track follows the square, five points a second."""
    times = np.arange(start, end + 0.01, 0.2)
    return Event(start, end, cls, 0.75, nearest, tuple((float(t), square(float(t), aspect)) for t in times))


def scored(seconds: float, stride: float = 0.5, classes: int = len(CLASSES), length: float = 1.0) -> list[ScoredWindow]:
    """Windows with waves of scores."""
    starts = np.arange(0, max(seconds - length, 0) + 1e-9, stride)
    return [
        ScoredWindow(float(t), float(t) + length, np.sin(t / 3 + np.arange(classes)).astype(np.float32)) for t in starts
    ]


def examples(classes: Sequence[str] = CLASSES, each: int = 2) -> list[Example]:
    """Small pictures, one colour a class."""
    found = []
    for c, cls in enumerate(classes):
        picture = np.full((48, 64, 3), (60 + 60 * c, 120, 200 - 60 * c), np.uint8)
        found += [Example(f"{cls}/clip{i}", cls, to_jpeg(picture, 80)) for i in range(each)]
    return found


def scan_of(*videos: ReportVideo, classes: Sequence[str] = CLASSES, threshold: float | None = 0.5) -> ReportData:
    """A report's data."""
    facts = [("Run", "a small one"), (NASTY, NASTY)]
    return ReportData(f"Scan {NASTY}", classes, threshold, examples(classes), videos, facts, [("Recall", "3 of 4")])
