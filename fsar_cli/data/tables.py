"""Tables that people write: CSV of an editor or a spreadsheet, whatever parts its cells, its columns in any order.

The first row names the columns; their case, order and the spaces around them do not count. Of comma, semicolon and tab
that one parts the cells which makes the first row name what is needed. A spreadsheet's line `sep=;` is passed over.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fsar_cli.errors import DataError

if TYPE_CHECKING:
    from _csv import Reader

MARKS = ",;\t"
"""What may stand between two cells."""


@dataclass(frozen=True)
class Table:
    """A header and the rows that follow, which are read once."""

    columns: tuple[str, ...]
    """Of the first row, in small letters; empty for an empty file."""
    rows: Iterator[tuple[int, list[str]]]
    """(line of the file, cells as written) of each row that is not blank; raises DataError where it is no CSV."""

    def has(self, needed: Iterable[str]) -> bool:
        """Whether all these columns are there."""
        return set(needed) <= set(self.columns)


def read_table(text: str, *needed: tuple[str, ...], strict: bool = False) -> Table:
    """Read a table that has one of several sets of columns; one that has none is read with commas.

    Args:
        strict: a quoted cell that goes on after its closing quote, or never ends, is an error.

    Raises:
        DataError: a column that is needed stands there twice, or the first row is no CSV.
    """
    tables, errors = [], []
    for mark in MARKS:
        try:
            tables.append(_read(text, mark, strict))
        except DataError as error:
            errors.append(error)
    fitting = [table for table in tables if any(map(table.has, needed))]
    if not fitting and errors:
        raise errors[0]
    chosen = (fitting or tables)[0]
    twice = [name for names in needed for name in names if chosen.columns.count(name) > 1]
    if twice:
        raise DataError(f"the first row has the column '{twice[0]}' twice", "remove or rename one of them")
    return chosen


def _read(text: str, mark: str, strict: bool) -> Table:
    rows = _rows(csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=strict))
    _, first = next(rows, (0, []))
    if first and first[0].startswith("sep="):
        _, first = next(rows, (0, []))
    return Table(tuple(cell.strip().casefold() for cell in first), rows)


def _rows(reader: "Reader") -> Iterator[tuple[int, list[str]]]:
    try:
        yield from ((reader.line_num, cells) for cells in reader if any(map(str.strip, cells)))
    except csv.Error as error:
        raise DataError(f"row {reader.line_num}: not CSV ({error})", "get the file again, or repair it") from error
