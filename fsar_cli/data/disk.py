"""Files that appear whole or not at all, tables of which a killed run may leave half a row, and folders of one process.

Names in tables may hold anything a file system allows, line breaks and bytes that are no text included.
"""

import csv
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fsar_cli.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows: two runs at one folder are then not kept apart
    fcntl = None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one step: readers see the old one or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def complete_rows(file: Path) -> Iterator[list[str]]:
    """The rows of a CSV file without its heading; a last one that a killed process left unfinished is passed over."""
    try:
        # newline="": names may hold line breaks, which stand quoted in the file.
        with file.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
            lines = [line for line in stream if line.endswith(("\n", "\r"))]
    except FileNotFoundError:
        return
    yield from csv.reader(lines[1:])


def write_rows(file: Path, heading: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a whole CSV file, at once or not at all."""
    partial = file.with_name(f".{file.name}")
    with partial.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(heading)
        writer.writerows(rows)
    os.replace(partial, file)


@contextmanager
def kept_to_one(lock: Path, message: str, hint: str) -> Iterator[None]:
    """Let one process at a time into the block; the lock, a file in a folder that exists, dies with the process.

    Raises:
        UsageError: another one is in it, in these words.
    """
    with lock.open("w") as file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(message, hint) from error
        yield
