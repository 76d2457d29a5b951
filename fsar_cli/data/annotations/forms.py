"""The forms that temporal annotations come in, read as they stand: a row a video, or a segment, nothing judged yet.

| form                                                                                             | times           |
|--------------------------------------------------------------------------------------------------|-----------------|
| .json: `{"Abuse/Abuse001_x264.mp4": [{"start": 8, "end": 10}, ...], ...}`                        | seconds, clock  |
| UCF Crime v2's table: header `Filepath,1.action start,1.action end,...`, a row a video           | seconds, clock  |
| one's own table: columns video, start, end and, if wanted, class; a row a segment                | seconds, clock  |
| .json of ActivityNet, as truth (`database`) or as what was found (`results`); see `json_forms`   | seconds         |
| .json of Label Studio's timeline labels, its exports JSON and JSON-MIN; see `json_forms`         | its frames      |
| UCF Crime's .txt: `Abuse028_x264.mp4  Abuse  165  240  -1  -1`, frames; -1: no such segment      | frame / 30      |

Tables are .csv, .tsv or .txt, as editors and spreadsheets write them (`data.tables`), in UTF-8 or UTF-16.
"""

import codecs
from collections.abc import Iterator
from pathlib import Path

from fsar_cli.data.annotations.json_forms import read_json
from fsar_cli.data.annotations.rows import FORMS, AnnotationRow, NotAnnotations
from fsar_cli.data.tables import Table, read_table
from fsar_cli.errors import DataError, unreadable

FRAMES_PER_SECOND = 30
"""Of UCF Crime's videos, by which the .txt form counts."""
ENDINGS = (".json", ".csv", ".tsv", ".txt")
NONE = "-1"
_OWN, _UCF_CRIME = ("video", "start", "end"), ("filepath",)


def read_rows(file: Path, exact: bool = False) -> list[AnnotationRow]:
    """Read one file in the form that its ending and its header tell.

    Args:
        exact: names are what a program wrote, so cells may hold line breaks and bytes that are no UTF-8 (as
            surrogates); a double quote without a second one is then an error. Else such cells are faults of their row.

    Raises:
        DataError: it cannot be read or is damaged. NotAnnotations: none of the forms.
    """
    if file.suffix.lower() not in ENDINGS:
        raise NotAnnotations(f"{file} is no file of annotations ({', '.join(ENDINGS)})", f"read are {FORMS}")
    try:
        content = file.read_bytes()
        utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if utf16 else "utf-8-sig", "surrogateescape" if exact else "strict")
    except OSError as error:
        message = f"cannot read the annotations {file}: {error.strerror}"
        raise unreadable(file, message, "check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text (byte {error.start})", "save the file as UTF-8") from error
    try:
        return list(read_json(file, text) if file.suffix.lower() == ".json" else _table(file, text, exact))
    except RecursionError as error:  # of values that are shown, too
        raise DataError(f"{file} is nested too deeply: these are no annotations", f"read are {FORMS}") from error


def _table(file: Path, text: str, exact: bool) -> Iterator[AnnotationRow]:
    try:
        table = read_table(text, _OWN, _UCF_CRIME, strict=exact)
        if table.columns[:1] == _UCF_CRIME:
            yield from _of_ucf_crime(table)
        elif table.has(_OWN):
            yield from _of_segments(table, exact)
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


def _of_segments(table: Table, exact: bool) -> Iterator[AnnotationRow]:
    for line, cells in table.rows:
        row = dict(zip(table.columns, map(str.strip, cells), strict=False))
        video, cls, start, end = (row.get(name, "") for name in ("video", "class", "start", "end"))
        if fault := _misread(cells, table, exact):
            yield AnnotationRow(f"row {line}: ", video.partition("\n")[0], cls, fault=fault, own=True)
            continue
        # A video that is named without times is one without a segment.
        times = ((start, end),) if start or end else ()
        yield AnnotationRow(f"row {line}: ", video, cls, times, own=True)


def _misread(cells: list[str], table: Table, breaks: bool) -> str:
    """Why the cells of a row are not those that its writer meant; empty for a good one."""
    if not breaks and any("\n" in cell or "\r" in cell for cell in cells):
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
