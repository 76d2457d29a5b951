"""The review of a report: the review.csv that its page saves, one row an event that somebody judged."""

import math
from dataclasses import dataclass
from pathlib import Path

from fsar_cli.data.tables import read_table
from fsar_cli.errors import DataError, did_you_mean, unreadable

COLUMNS = ("video", "start", "end", "class", "verdict")
VERDICTS = ("confirmed", "rejected", "changed", "retimed")
NORMAL = "normal"
"""What a rejected event is learnt as."""


@dataclass(frozen=True)
class ReviewRow:
    """What was said of one event."""

    video: str
    """Path of the video file, absolute; of a stream its name."""
    start: float
    """Seconds since the video's first frame."""
    end: float
    """The same; later than the start."""
    cls: str
    """What it is to be learnt as; of a rejected event `normal`."""
    verdict: str
    """One of VERDICTS."""


def read_review(file: Path) -> list[ReviewRow]:
    """The rows of a review.csv, in its order; its columns may stand in any.

    Raises:
        DataError: it cannot be read, lacks a column, or a value is not allowed; names file, line, value and what is.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        message = f"cannot read the review {file}: {error.strerror}"
        raise unreadable(file, message, "check the path", error) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text (byte {error.start})", "save the file as UTF-8") from error
    try:
        table = read_table(text, COLUMNS)
        lines = list(table.rows)
    except DataError as error:
        raise DataError(f"{file}: {error.message}", error.hint) from error
    if missing := [name for name in COLUMNS if name not in table.columns]:
        have = ", ".join(table.columns) or "nothing"
        hint = "save the review again from the report's page"
        raise DataError(f"{file}: no column '{missing[0]}'; needed are {', '.join(COLUMNS)}, it has {have}", hint)
    return [_row(f"{file}, line {line}", table.columns, cells) for line, cells in lines]


def _row(place: str, columns: tuple[str, ...], cells: list[str]) -> ReviewRow:
    if len(cells) != len(columns):
        hint = "quote cells that hold the mark between two cells"
        raise DataError(f"{place}: {len(cells)} cells where the first row has {len(columns)}", hint)
    values = dict(zip(columns, cells, strict=True))
    verdict, cls = values["verdict"].strip(), values["class"].strip()
    if verdict not in VERDICTS:
        allowed = f"{', '.join(VERDICTS[:-1])} and {VERDICTS[-1]}"
        raise DataError(f"{place}: verdict '{verdict}'; allowed are {allowed}", did_you_mean(verdict, VERDICTS))
    for name in ("video", "class"):
        if not values[name].strip():
            raise DataError(f"{place}: the {name} is empty; it must be named")
    if verdict == "rejected" and cls != NORMAL:
        hint = "for an event of another class, the verdict is 'changed'"
        raise DataError(f"{place}: class '{cls}' of a rejected event; it must be '{NORMAL}'", hint)
    start, end = (_seconds(place, name, values[name]) for name in ("start", "end"))
    if end <= start:
        raise DataError(f"{place}: end {values['end'].strip()} is not later than start {values['start'].strip()}")
    return ReviewRow(values["video"], start, end, cls, verdict)


def _seconds(place: str, name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise DataError(f"{place}: {name} '{text.strip()}'; it must be a number of seconds, 0 or more")
    return seconds
