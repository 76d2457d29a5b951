"""The scored windows of a file on disk, a line of JSON each, as they come: what a scan that was stopped goes on from.

The first line says what they are windows of: the video (place, size, time), the support file's content, the grid. A
last line that a killed process left unfinished is cut off.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fsar_cli.files import naming
from fsar_cli.recognise.events import ScoredWindow

TOLERANCE = 1e-6  # seconds
LINES = {"schema"}, {"start", "end", "scores", "nearest", "breaks", "track"}, {"ended"}
"""What the kinds of lines hold at least."""


class WindowLog:
    """Appends windows to a file.

    Args:
        made_of: plain values; windows of others are not gone on from.
        full: seconds of a window.
        resume: keep the windows that are there; where they are not all of them, up to the last full one of a group.
        together: windows that were scored in one call. Groups are kept whole, as rounding depends on what is in a call.

    Raises:
        OSError: it cannot be written, then or later.
    """

    def __init__(self, path: Path, made_of: dict[str, Any], full: float, resume: bool, together: int = 1) -> None:
        self.path, self._made_of, self._resume = path, json.loads(json.dumps(made_of)), resume
        self._full, self._together = full, together
        self._file: BinaryIO
        self.ended = False
        """Whether all windows of the video are there."""

    def __enter__(self) -> "WindowLog":
        with naming(self.path):
            length = self._whole() if self._resume else 0
            self._file = self.path.open("r+b" if length else "wb", buffering=0)
            self._file.seek(length)
            self._file.truncate()
            if not length:
                self._write({"schema": 1, **self._made_of})
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._file.close()

    def add(self, window: ScoredWindow) -> None:
        """Append a window, at once."""
        self._write({
            "start": window.start, "end": window.end, "scores": [float(score) for score in window.scores],
            "nearest": window.nearest, "breaks": window.breaks,
            "track": [[at, list(box)] for at, box in window.track],
        })  # fmt: skip

    def end(self) -> None:
        """Note that the video has no more."""
        self._write({"ended": True})
        self.ended = True

    def _write(self, plain: dict[str, Any]) -> None:
        with naming(self.path):
            line = json.dumps(plain, allow_nan=False).encode() + b"\n"
            while line:
                line = line[self._file.write(line) :]

    def _whole(self) -> int:
        """Bytes of the lines to go on from, where they are of the same video; else 0."""
        length = kept = 0
        for number, (plain, size) in enumerate(_lines(self.path)):
            if number == 0 and plain != {"schema": 1, **self._made_of}:
                return 0
            self.ended = plain.get("ended", False)
            length += size
            ready = number == 0 or plain.get("end", 0.0) - plain.get("start", 0.0) > self._full - TOLERANCE
            if self.ended or (ready and number % self._together == 0):
                kept = length
        return kept


def read_windows(path: Path) -> Iterator[ScoredWindow]:
    """The windows of a log, in order; none where there is no file."""
    for plain, _ in _lines(path):
        if "scores" in plain:
            track = tuple((at, tuple(box)) for at, box in plain["track"])
            scores = np.array(plain["scores"], np.float32)
            yield ScoredWindow(plain["start"], plain["end"], scores, plain["nearest"], track, None, plain["breaks"])


def _lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """(object, bytes) of each line up to the first that is not whole."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            try:
                plain = json.loads(line) if line.endswith(b"\n") else None
            except (ValueError, RecursionError):
                plain = None
            if not isinstance(plain, dict) or not any(part <= set(plain) for part in LINES):
                return
            yield plain, len(line)
