"""Events -> files: a table, lines of JSON as they happen, ActivityNet's JSON, subtitles. Clips are `eventclip`'s.

    events.csv     video,start,end,class,score,rank,because; times with three decimals
    events.jsonl   an object a line, written as it happens: {"schema": 1, "video", "state", "id", "start", ...}
    events.json    ActivityNet's form of results: {"version", "results": {video: [{"label", "segment", "score"}]}, ...}
    NAME.vtt       WebVTT of one video, a cue an event

All but the lines are written whole or not at all. The table and the JSON are read again by `data.annotations.labelled`,
as truth or as examples. Names of videos and classes stand in them as they are, whatever they hold: bytes that are no
text, line breaks, what a spreadsheet takes for a formula.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from fsar_cli.errors import DataError
from fsar_cli.files import naming, write_rows, write_whole
from fsar_cli.recognise.events import Event

SCHEMA = 1
COLUMNS = ("video", "start", "end", "class", "score", "rank", "because")
ACTIVITYNET = "VERSION 1.3"
_FIRST = f'{{"schema": {SCHEMA}, '.encode()
_BLOCK = 65_536
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class NamedEvent:
    """An event, where it was and why it was said."""

    video: str
    """Path or name of the source; bytes that are no text as surrogates (`os.fsdecode`)."""
    event: Event
    rank: float | None
    """Of its score among event-free windows, as calibrated; None: nothing was."""
    because: str
    """In words."""


def write_csv(path: Path, events: Iterable[NamedEvent]) -> None:
    """Write events.csv, a row an event, in the order given."""
    write_rows(path, COLUMNS, map(_row, events))


def _row(named: NamedEvent) -> tuple[str, ...]:
    event = named.event
    times = f"{event.start:.3f}", f"{event.end:.3f}"
    return named.video, *times, event.cls, _number(event.score), _number(named.rank), named.because


def write_activitynet(path: Path, events: Iterable[NamedEvent], videos: Iterable[str] = (), details: str = "") -> None:
    """Write events.json, as ActivityNet's evaluation reads what was found.

    Args:
        videos: those that are in it even without an event.
        details: what the method was trained on, in words.
    """
    results: dict[str, list[dict[str, object]]] = {video: [] for video in videos}
    for named in events:
        event = named.event
        segment = [round(event.start, 3), round(event.end, 3)]
        entry: dict[str, object] = {"label": event.cls, "segment": segment, "score": _rounded(event.score)}
        results.setdefault(named.video, []).append(entry)
    external = {"used": True, "details": details}
    document = {"version": ACTIVITYNET, "results": results, "external_data": external}
    write_whole(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def write_vtt(path: Path, events: Iterable[Event]) -> None:
    """Write subtitles for one video, a cue an event: its class and score."""
    cues = []
    for event in sorted(events, key=lambda event: (event.start, event.end, event.cls)):
        start = max(0, round(event.start * 1000))
        end = max(start + 1, round(event.end * 1000))  # a cue that takes no time is none
        cues.append(f"{_clock(start)} --> {_clock(end)}\n{_cue_text(event.cls)} {event.score:.2f}\n")
    write_whole(path, "\n".join(["WEBVTT\n", *cues]))


def one_line(text: str) -> str:
    """A name as text for people: in one line, bytes that are no text as U+FFFD."""
    return " ".join(_NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", text).split())


def file_word(name: str) -> str:
    """A name of a class as a part of a file's name."""
    return "".join(sign if sign.isalnum() or sign in "-_ " else "_" for sign in one_line(name))[:60]


def _cue_text(text: str) -> str:
    """Text inside a cue: WebVTT gives a meaning to <, & and -->, and an empty line ends the cue."""
    return one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(milliseconds: int) -> str:
    """HH:MM:SS.mmm, the hours as many digits as they need."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"


def _rounded(value: float | None, digits: int = 6) -> float | None:
    return round(float(value), digits) if value is not None and math.isfinite(value) else None


def _number(value: float | None) -> str:
    return "" if _rounded(value) is None else f"{_rounded(value):.6g}"


class EventLog:
    """events.jsonl: an object a line for each event that opens or closes, there for who follows the file.

    It is appended to. A last line that a killed process left unfinished is cut off as the file is opened. Used in a
    `with` block.

    Raises:
        DataError: the file is there and is no log of events; nothing in it is changed.
        OSError: it cannot be written, then or later.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO

    def __enter__(self) -> "EventLog":
        with naming(self.path):
            if self.path.is_file():
                _mend(self.path)
            self._file = self.path.open("ab", buffering=0)
        return self

    def say(self, named: NamedEvent) -> None:
        """Append an event, at once and in one piece."""
        with naming(self.path):
            line = json.dumps(event_document(named), allow_nan=False).encode() + b"\n"
            while line:
                line = line[self._file.write(line) :]

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._file.close()


def event_document(named: NamedEvent) -> dict[str, object]:
    """An event as plain JSON values, a line of events.jsonl; its `id` is the same as it opens and as it closes."""
    event = named.event
    track = [[_rounded(at, 4), [_rounded(side, 4) for side in box]] for at, box in event.track]
    return {
        "schema": SCHEMA,
        "video": named.video,
        "state": "open" if event.is_open else "closed",
        "id": event_id(named),
        "start": round(event.start, 3),
        "end": round(event.end, 3),
        "class": event.cls,
        "score": _rounded(event.score),
        "rank": _rounded(named.rank),
        "because": named.because,
        "cut": event.cut,
        "wall": None if event.wall is None else _utc(event.wall),
        "track": track,
    }


def event_id(named: NamedEvent) -> str:
    """12 hexadecimal digits by video, class, start and clock; of an event of a file, the same in every scan."""
    event = named.event
    wall = None if event.wall is None else round(event.wall, 3)
    parts = json.dumps([named.video, event.cls, round(event.start, 3), wall])
    return hashlib.sha256(parts.encode()).hexdigest()[:12]


def _utc(wall: float) -> str:
    """ISO 8601 with milliseconds: 2024-05-01T12:00:00.250Z."""
    text = datetime.fromtimestamp(round(wall, 3), UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def _mend(path: Path) -> None:
    """End a log with a whole line."""
    with path.open("r+b") as file:
        if not _FIRST.startswith(file.read(len(_FIRST))):
            raise DataError(f"{path} is no log of events", "name another file: events are appended to a log alone")
        start, last = _last_line(file)
        if not last:
            return
        if _is_whole(last):
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
        else:
            file.truncate(start)


def _last_line(file: BinaryIO) -> tuple[int, bytes]:
    """(place, bytes) of what follows the last line end."""
    place, tail = file.seek(0, os.SEEK_END), b""
    while place and b"\n" not in tail:
        size = min(_BLOCK, place)
        place = file.seek(place - size)
        tail = file.read(size) + tail
    last = tail.rpartition(b"\n")[2]
    return place + len(tail) - len(last), last


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
