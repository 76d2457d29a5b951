"""The forms that temporal annotations come in, read as they stand: a row a video, or a segment, nothing judged yet.

| file  | form                                                                                      | seconds      |
|-------|-------------------------------------------------------------------------------------------|--------------|
| .json | `{"Abuse/Abuse001_x264.mp4": [{"start": 8, "end": 10}, ...], ...}`                        | as they are  |
| .csv  | UCF Crime v2: header `Filepath,1.action start,1.action end,...`, a row a video            | as they are  |
| .csv  | one's own: header with the columns video, start, end and, if wanted, class; a row a segment | as they are |
| .txt  | UCF Crime: `Abuse028_x264.mp4  Abuse  165  240  -1  -1`, frames; -1: no such segment      | frame / 30   |
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fsar_cli.errors import DataError, unreadable

FRAMES_PER_SECOND = 30
"""Of UCF Crime's videos, by which the .txt form counts."""
FORMS = "JSON {video: [{start, end}]}, CSV with video,start,end or UCF Crime's Filepath, or UCF Crime's .txt"
NONE = "-1"


class NotAnnotations(DataError):
    """The file is of none of the forms."""


@dataclass(frozen=True)
class AnnotationRow:
    """What a file says about one video."""

    at: str
    """Place in the file, such as `row 12: `; empty where the video's name is enough."""
    video: str
    """Name as written: with or without folder and extension."""
    cls: str = ""
    """Class, where it has a column of its own."""
    times: tuple[tuple[object, object], ...] = ()
    """(start, end) as written."""
    fault: str = ""
    """Why the row, or a part of it, says nothing."""
    rate: int = 1
    """Units of the times in a second."""
    whole: bool = True
    """All that the file says about the video, or one of several rows."""


def read_rows(file: Path) -> list[AnnotationRow]:
    """Read one file in the form that its ending and its header tell.

    Raises:
        DataError: it cannot be read or is damaged. NotAnnotations: none of the forms.
    """
    readers: dict[str, Callable[[Path, str], Iterator[AnnotationRow]]] = {".json": _json, ".csv": _csv, ".txt": _txt}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise NotAnnotations(f"{file} is no file of annotations", f"read are {FORMS}")
    try:
        return list(reader(file, file.read_bytes().decode("utf-8-sig")))
    except OSError as error:
        message = f"cannot read the annotations {file}: {error.strerror}"
        raise unreadable(file, message, "check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text (byte {error.start})", "save the file as UTF-8") from error


def _json(file: Path, text: str) -> Iterator[AnnotationRow]:
    try:
        # Pairs, not a dict: a video that is there twice would lose its first entry.
        content = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not JSON ({error})", "get the file again, or repair it there") from error
    if not isinstance(content, list) or not all(isinstance(pair, tuple) for pair in content):
        raise NotAnnotations(f"{file} is not a JSON object of videos", f"read are {FORMS}")
    for video, segments in content:
        yield _of_video(video, segments)


def _of_video(video: str, segments: object) -> AnnotationRow:
    if not isinstance(segments, list) or any(isinstance(segment, tuple) for segment in segments):
        return AnnotationRow("", video, fault="its value is not a list of segments")
    times, faults = [], []
    for segment in segments:
        pairs = segment if isinstance(segment, list) else []
        values = dict(pair for pair in pairs if isinstance(pair, tuple))
        if {"start", "end"} <= values.keys():
            times.append((values["start"], values["end"]))
        else:
            faults.append(f"a segment without start and end: {json.dumps(values or segment)}")
    return AnnotationRow("", video, times=tuple(times), fault="; ".join(faults))


def _csv(file: Path, text: str) -> Iterator[AnnotationRow]:
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [cell.strip().casefold() for cell in next(reader, [])]
        if header and header[0] == "filepath":
            rows = _of_ucf_crime(reader)
        elif {"video", "start", "end"} <= set(header):
            rows = _of_segments(reader, header)
        else:
            raise NotAnnotations(f"the first row of {file} names neither video, start and end nor Filepath", FORMS)
        yield from rows
    except csv.Error as error:
        raise DataError(f"{file}, row {reader.line_num}: not CSV ({error})", "get the file again") from error


def _of_ucf_crime(reader) -> Iterator[AnnotationRow]:
    for video, *cells in filter(any, reader):
        cells = [cell.strip() for cell in cells]
        while cells and not cells[-1]:
            cells.pop()
        times = tuple(zip(cells[::2], cells[1::2], strict=False))
        yield AnnotationRow(f"row {reader.line_num}: ", video.strip(), times=times, fault=_without_end(cells))


def _without_end(cells: list[str]) -> str:
    """What is wrong with an odd number of times."""
    return f"the last start, {cells[-1]}, has no end" if len(cells) % 2 and cells[-1] != NONE else ""


def _of_segments(reader, header: list[str]) -> Iterator[AnnotationRow]:
    for cells in filter(any, reader):
        row = dict(zip(header, map(str.strip, cells), strict=False))
        start, end = row.get("start", ""), row.get("end", "")
        # A video that is named without times is one without a segment.
        times = ((start, end),) if start or end else ()
        yield AnnotationRow(f"row {reader.line_num}: ", row.get("video", ""), row.get("class", ""), times, whole=False)


def _txt(file: Path, text: str) -> Iterator[AnnotationRow]:
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or line.startswith("#"):
            continue
        if len(fields) < 4:
            raise NotAnnotations(f"{file}, line {number}: not video, class, start and end: '{line.strip()}'", FORMS)
        video, cls, *cells = fields
        pairs = zip(cells[::2], cells[1::2], strict=False)
        times = tuple(pair for pair in pairs if pair != (NONE, NONE))
        yield AnnotationRow(f"line {number}: ", video, cls, times, _without_end(cells), FRAMES_PER_SECOND)
