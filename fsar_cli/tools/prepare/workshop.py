"""OUT/.fsar-prepare: what was unpacked and where it waits, so that a stopped run goes on where it was.

Each archive is unpacked into a folder of its own with a number for a name. Only when it is complete does a row of
`done.csv` say so; folders without a row are what a killed run left, and are removed. A row holds the archive's size and
time: a changed archive is unpacked anew. What has found its place in the tree has left its folder; what has not (a
video without a label) waits there for a run that knows more.
"""

import csv
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from fsar_cli.files import complete_rows, lock, write_rows
from fsar_cli.tools.prepare.searching import Entry

FOLDER, DONE, LOCK = ".fsar-prepare", "done.csv", "lock"


@dataclass(frozen=True)
class Row:
    """An archive that was unpacked completely."""

    folder: int
    origin: str
    """The archive as the user sees it; for one inside another, the other's name and the name inside."""
    size: int
    mtime: int
    """Nanoseconds; 0 for an archive inside another."""
    wish: str
    """What was wanted of it: members left out under one wish may be wanted under another."""
    files: int
    bytes: int


class Workshop:
    """The folder and its list; opening it removes what a killed run left. Use `opened`."""

    def __init__(self, out: Path, wish: str) -> None:
        self.root, self.wish = out / FOLDER, wish
        self.rows = {row.origin: row for row in self._read()}
        numbers = {str(row.folder) for row in self.rows.values()}
        for path in self.root.iterdir():
            if path.is_dir() and path.name not in numbers:
                shutil.rmtree(path)
        self._rewrite()

    def _read(self) -> Iterator[Row]:
        for row in complete_rows(self.root / DONE):
            if len(row) == len(fields(Row)) and row[0].isdecimal():
                number, origin, size, mtime, wish, files, size_unpacked = row
                yield Row(int(number), origin, int(size), int(mtime), wish, int(files), int(size_unpacked))

    def _rewrite(self) -> None:
        write_rows(self.root / DONE, [column.name for column in fields(Row)], map(astuple, self.rows.values()))

    def is_done(self, archive: Entry) -> bool:
        """Whether this archive, as it is now, was unpacked before. One that has changed since is forgotten."""
        row, (size, mtime) = self.rows.get(key_of(archive)), _stamp(archive)
        if row and (row.size, row.mtime, row.wish) == (size, mtime, self.wish):
            return True
        if row:
            inside = [origin for origin in self.rows if origin == row.origin or origin.startswith(row.origin + os.sep)]
            gone = [self.rows.pop(origin) for origin in inside]
            self._rewrite()
            for old in gone:
                shutil.rmtree(self.folder(old.folder), ignore_errors=True)
        return False

    def folder(self, number: int) -> Path:
        """Where an archive's files wait."""
        return self.root / str(number)

    def free_number(self) -> int:
        """A number that no archive has."""
        return max((row.folder for row in self.rows.values()), default=0) + 1

    def add(self, archive: Entry, number: int, files: int, size: int) -> None:
        """Note that an archive is complete in the folder of that number."""
        row = Row(number, key_of(archive), *_stamp(archive), self.wish, files, size)
        self.rows[row.origin] = row
        with (self.root / DONE).open("a", encoding="utf-8", errors="surrogateescape", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(astuple(row))
            file.flush()
            os.fsync(file.fileno())

    def tidy(self) -> None:
        """Remove the folders in which nothing waits any more."""
        for row in self.rows.values():
            for place, _, _ in os.walk(self.folder(row.folder), topdown=False):
                if not os.listdir(place):
                    os.rmdir(place)


def key_of(archive: Entry) -> str:
    """The name of an archive in the list."""
    return str(Path(*archive.parents, archive.name))


def _stamp(archive: Entry) -> tuple[int, int]:
    # The time of an archive inside another is that of its unpacking.
    found = archive.path.stat()
    return found.st_size, 0 if archive.staged else found.st_mtime_ns


@contextmanager
def opened(out: Path, wish: str) -> Iterator[Workshop]:
    """The workshop of a folder, kept to this process.

    Raises:
        UsageError: another one is at work there.
    """
    root = out / FOLDER
    root.mkdir(parents=True, exist_ok=True)
    with lock(root / LOCK, busy=(f"another fsar prepare is at work in {out}", "wait for it, or name another --out")):
        yield Workshop(out, wish)
