"""Segments with their classes, row by row: one's own examples, or what truly happens in a video.

Unlike `segments`, which cleans what others published and goes on, this reading stops at the first row that cannot be
meant: who wrote it is there to mend it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from fsar_cli.data.annotations.forms import read_rows
from fsar_cli.data.annotations.rows import AnnotationRow
from fsar_cli.data.annotations.times import HOW, fault
from fsar_cli.data.naming import bare, fold, is_storable, slashed
from fsar_cli.errors import DataError
from fsar_cli.reporting import SILENT, Reporter


@dataclass(frozen=True)
class LabelledSegment:
    """An action in a video."""

    video: str
    """As written; of Label Studio's address of a file, the file."""
    start: float
    """Seconds since the video's first frame."""
    end: float | None
    """The first moment that is no longer of it; None: the whole video is it."""
    cls: str
    at: str = field(default="", compare=False)
    """Where it is written, such as `truth.csv, row 3`."""


def labelled_segments(path: Path, reporter: Reporter = SILENT) -> list[LabelledSegment]:
    """Read a table `video,start,end,class` (more columns do not matter), or JSON of ActivityNet or Label Studio.

    A row of a table without start and end is the whole video. A video without any annotation in JSON gives nothing.
    Spaces around a table's cells do not count; segments keep their order, and what is there twice is twice.

    Args:
        reporter: is warned of what had to be assumed, such as how many frames a second Label Studio counted.

    Raises:
        DataError: the file cannot be read or is in none of the forms; a row has no video, no class, or a time that is
            missing, none, infinite, below 0 or not after the start.
    """
    rows = read_rows(path, exact=True)
    segments = [segment for row in rows for segment in _segments(path, row)]
    for _, text in dict.fromkeys(note for row in rows for note in row.notes):
        reporter.warn(f"{path}: {text}")
    return segments


def of_videos(segments: Iterable[LabelledSegment], videos: Sequence[str]) -> tuple[list[LabelledSegment], list[str]]:
    """(the segments of these videos, under the names given here; names of videos that are none of them).

    A name means the video that is written the same; else the one whose path ends the same, as far as both are written;
    else that with folded names and without the endings of videos (`naming`).

    Raises:
        DataError: a name means several videos.
    """
    meant: dict[str, str] = {}
    for segment in (segments := list(segments)):
        if segment.video not in meant:
            meant[segment.video] = _meant(segment, videos)
    kept = [replace(segment, video=meant[segment.video]) for segment in segments if meant[segment.video]]
    return kept, sorted(name for name, video in meant.items() if not video)


def _meant(segment: LabelledSegment, videos: Sequence[str]) -> str:
    """The video that a segment is of; empty: none of these."""
    name = segment.video
    steps = (lambda video: video == name, lambda video: _ends_alike(_parts(video), _parts(name)))
    for step in (*steps, lambda video: _ends_alike(_folded(video), _folded(name))):
        found = sorted({video for video in videos if step(video)})
        if len(found) > 1:
            text = f"{segment.at}: '{name}' could be {' or '.join(map(repr, found))}"
            raise DataError(text, "write the folder before the name")
        if found:
            return found[0]
    return ""


def _parts(name: str) -> list[str]:
    return [part for part in PurePosixPath(slashed(name)).parts if part not in ("/", "..")]


def _folded(name: str) -> list[str]:
    *folders, last = _parts(name) or [name]
    return [*map(fold, folders), fold(bare(last))]


def _ends_alike(one: list[str], other: list[str]) -> bool:
    length = min(len(one), len(other))
    return length > 0 and one[-length:] == other[-length:]


def _segments(path: Path, row: AnnotationRow) -> list[LabelledSegment]:
    place = f"{path.name}, {row.at or row.video}".removesuffix(": ")
    if row.fault:
        raise DataError(f"{_place(path, row)}{row.fault}", "mend the row, or remove it")
    if not row.video:
        raise DataError(f"{_place(path, row)}it names no video", "write its file, with or without its folder")
    # Forms that have no place for a class have it in the folder.
    cls = row.cls or ("" if row.own else PurePosixPath(slashed(row.video)).parent.name)
    if not cls and (row.own or row.times):
        raise DataError(f"{_place(path, row)}it has no class", "write the class in the column class, or as the label")
    for what, name in (("video", row.video), ("class", cls)):
        if not is_storable(name):
            raise DataError(f"{_place(path, row)}{name!r} is no name of a {what}", "mend the row")
    if not row.times:
        return [LabelledSegment(row.video, 0.0, None, cls, place)] if row.own else []
    return [_segment(path, row, cls, start, end, place) for start, end in row.times]


def _segment(path: Path, row: AnnotationRow, cls: str, start: object, end: object, place: str) -> LabelledSegment:
    segment = row.segment(start, end)
    if why := fault(start, end, segment):
        raise DataError(f"{_place(path, row)}start {start!r}, end {end!r}: {why}", f"mend the row; {HOW}")
    return LabelledSegment(row.video, segment.start, segment.end, cls, place)


def _place(path: Path, row: AnnotationRow) -> str:
    return ": ".join(filter(None, (f"{path}", row.at.removesuffix(": "), f"'{row.video}'" if row.video else ""))) + ": "
