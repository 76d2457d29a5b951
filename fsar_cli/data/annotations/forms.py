"""The forms that temporal annotations come in, read as they stand: a row a video, or a segment, nothing judged yet.

| form                                                                                             | times           |
|--------------------------------------------------------------------------------------------------|-----------------|
| .json: `{"Abuse/Abuse001_x264.mp4": [{"start": 8, "end": 10}, ...], ...}`                        | seconds, clock  |
| UCF Crime v2's table: header `Filepath,1.action start,1.action end,...`, a row a video           | seconds, clock  |
| one's own table: columns video, start, end and, if wanted, class; a row a segment                | seconds, clock  |
| UCF Crime's .txt: `Abuse028_x264.mp4  Abuse  165  240  -1  -1`, frames; -1: no such segment      | frame / 30      |

Tables are .csv, .tsv or .txt, as editors and spreadsheets write them (`data.tables`), in UTF-8 or UTF-16.
"""

import codecs
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fsar_cli.data.tables import Table, read_table
from fsar_cli.errors import DataError, unreadable

FRAMES_PER_SECOND = 30
"""Of UCF Crime's videos, by which the .txt form counts."""
ENDINGS = (".json", ".csv", ".tsv", ".txt")
FORMS = "JSON {video: [{start, end}]}, a table with the columns video,start,end or UCF Crime's Filepath, or its .txt"
NONE = "-1"
_OWN, _UCF_CRIME = ("video", "start", "end"), ("filepath",)


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
    own: bool = False
    """Whether it is a row of one's own table: one of several for its video, and of no known data set."""


def read_rows(file: Path) -> list[AnnotationRow]:
    """Read one file in the form that its ending and its header tell.

    Raises:
        DataError: it cannot be read or is damaged. NotAnnotations: none of the forms.
    """
    if file.suffix.lower() not in ENDINGS:
        raise NotAnnotations(f"{file} is no file of annotations ({', '.join(ENDINGS)})", f"read are {FORMS}")
    reader: Callable[[Path, str], Iterator[AnnotationRow]] = _json if file.suffix.lower() == ".json" else _table
    try:
        content = file.read_bytes()
        utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return list(reader(file, content.decode("utf-16" if utf16 else "utf-8-sig")))
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
    if "database" in dict(content):
        raise NotAnnotations(f"{file} is in the form of ActivityNet, which is not read", f"read are {FORMS}")
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


def _table(file: Path, text: str) -> Iterator[AnnotationRow]:
    try:
        table = read_table(text, _OWN, _UCF_CRIME)
        if table.columns[:1] == _UCF_CRIME:
            yield from _of_ucf_crime(table)
        elif table.has(_OWN):
            yield from _of_segments(table)
        elif file.suffix.lower() == ".txt":
            yield from _txt(file, text)
        else:
            first = f"reads {','.join(table.columns)[:100]}" if table.columns else "is missing"
            text = f"the first row of {file} names neither video, start and end nor Filepath: it {first}"
            raise NotAnnotations(text, f"read are {FORMS}")
    except NotAnnotations:
        raise
    except DataError as error:
        raise DataError(f"{file}: {error.message}", error.hint) from error


def _of_ucf_crime(table: Table) -> Iterator[AnnotationRow]:
    for line, (video, *cells) in table.rows:
        cells = [cell.strip() for cell in cells]
        while cells and not cells[-1]:
            cells.pop()
        times = tuple(zip(cells[::2], cells[1::2], strict=False))
        yield AnnotationRow(f"row {line}: ", video.strip(), times=times, fault=_without_end(cells))


def _without_end(cells: list[str]) -> str:
    """What is wrong with an odd number of times."""
    return f"the last start, {cells[-1]}, has no end" if len(cells) % 2 and cells[-1] != NONE else ""


def _of_segments(table: Table) -> Iterator[AnnotationRow]:
    for line, cells in table.rows:
        row = dict(zip(table.columns, map(str.strip, cells), strict=False))
        video, cls, start, end = (row.get(name, "") for name in ("video", "class", "start", "end"))
        if fault := _misread(cells, table):
            yield AnnotationRow(f"row {line}: ", video.partition("\n")[0], cls, fault=fault, own=True)
            continue
        # A video that is named without times is one without a segment.
        times = ((start, end),) if start or end else ()
        yield AnnotationRow(f"row {line}: ", video, cls, times, own=True)


def _misread(cells: list[str], table: Table) -> str:
    """Why the cells of a row are not those that its writer meant; empty for a good one."""
    if any("\n" in cell or "\r" in cell for cell in cells):
        return "a line break inside a cell: a double quote has no second one"
    if any(map(str.strip, cells[len(table.columns) :])):
        hint = "a name that holds the sign between two cells needs double quotes"
        return f"{len(cells)} cells under {len(table.columns)} columns: {hint}"
    return ""


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
