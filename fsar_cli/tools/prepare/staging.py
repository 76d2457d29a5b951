"""OUT/.fsar-prepare: what was unpacked and where it waits, so that a stopped run goes on where it was.

Each archive is unpacked into a folder of its own with a number for a name. Only when it is complete does a row of
`done.csv` say so; folders without a row are what a killed run left, and are removed. A row holds the archive's size and
time: a changed archive is unpacked anew. What has found its place in the tree has left its folder; what has not (a
video without a label) waits there for a run that knows more. Archives inside others are unpacked in the same way.
"""

import csv
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path

from fsar_cli.data.video import printable
from fsar_cli.errors import DataError, in_a_line
from fsar_cli.files import complete_rows, lock, naming, write_rows
from fsar_cli.reporting import SILENT, Reporter, Task
from fsar_cli.tools.prepare.datasets import PublishedSet
from fsar_cli.tools.prepare.searching import SourceFile, Sources, hidden, search_staged, useful
from fsar_cli.tools.prepare.unpacking import DiskFull, check_room, declared_size, unpack

FOLDER, DONE, LOCK = ".fsar-prepare", "done.csv", "lock"
MAX_DEPTH = 4
"""Archives within archives are unpacked so deep."""


@dataclass(frozen=True)
class UnpackedArchive:
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


class Staging:
    """The folder and its list; opening it removes what a killed run left. Use `opened`."""

    def __init__(self, out: Path, wish: str) -> None:
        self.root, self.wish = out / FOLDER, wish
        self.archives = {archive.origin: archive for archive in self._read()}
        numbers = {str(archive.folder) for archive in self.archives.values()}
        for path in self.root.iterdir():
            if path.is_dir() and path.name not in numbers:
                shutil.rmtree(path)
        self._rewrite()

    def _read(self) -> Iterator[UnpackedArchive]:
        for row in complete_rows(self.root / DONE):
            if len(row) == len(fields(UnpackedArchive)) and row[0].isdecimal():
                number, origin, size, mtime, wish, files, size_unpacked = row
                if all(map(str.isdecimal, (size, mtime, files, size_unpacked))):
                    yield UnpackedArchive(
                        int(number), origin, int(size), int(mtime), wish, int(files), int(size_unpacked)
                    )

    def _rewrite(self) -> None:
        names = [column.name for column in fields(UnpackedArchive)]
        write_rows(self.root / DONE, names, map(astuple, self.archives.values()))

    def is_done(self, archive: SourceFile) -> bool:
        """Whether this archive, as it is now, was unpacked before. One that has changed since is forgotten."""
        before, (size, mtime) = self.archives.get(key_of(archive)), _stamp(archive)
        if before and (before.size, before.mtime, before.wish) == (size, mtime, self.wish):
            return True
        if before:
            inside = [origin for origin in self.archives if f"{origin}{os.sep}".startswith(before.origin + os.sep)]
            gone = [self.archives.pop(origin) for origin in inside]
            self._rewrite()
            for old in gone:
                shutil.rmtree(self.folder(old.folder), ignore_errors=True)
        return False

    def folder(self, number: int) -> Path:
        """Where an archive's files wait."""
        return self.root / str(number)

    def free_number(self) -> int:
        """A number that no archive has."""
        return max((archive.folder for archive in self.archives.values()), default=0) + 1

    def add(self, archive: SourceFile, number: int, files: int, size: int) -> None:
        """Note that an archive is complete in the folder of that number."""
        done = UnpackedArchive(number, key_of(archive), *_stamp(archive), self.wish, files, size)
        self.archives[done.origin] = done
        path = self.root / DONE
        with naming(path), path.open("a", encoding="utf-8", errors="surrogateescape", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(astuple(done))
            file.flush()
            os.fsync(file.fileno())

    def waiting(self) -> Iterator[Sources]:
        """What waits in the folders, one archive after the other."""
        for archive in self.archives.values():
            yield search_staged(self.folder(archive.folder), Path(archive.origin).parts)

    def tidy(self) -> None:
        """Remove the folders in which nothing waits any more."""
        for archive in self.archives.values():
            for place, _, _ in os.walk(self.folder(archive.folder), topdown=False):
                if not os.listdir(place):
                    os.rmdir(place)


def key_of(archive: SourceFile) -> str:
    """The name of an archive in the list."""
    return str(Path(*archive.parents, archive.name))


def _stamp(archive: SourceFile) -> tuple[int, int]:
    # The time of an archive inside another is that of its unpacking.
    state = archive.path.stat()
    return state.st_size, 0 if archive.staged else state.st_mtime_ns


@contextmanager
def opened(out: Path, wish: str) -> Iterator[Staging]:
    """The staging folder, kept to this process.

    Raises:
        UsageError: another one is at work there.
    """
    root = out / FOLDER
    root.mkdir(parents=True, exist_ok=True)
    with lock(root / LOCK, busy=(f"another fsar prepare is at work in {out}", "wait for it, or name another --out")):
        yield Staging(out, wish)


@dataclass
class Unpacking:
    """What the unpacking did, so far."""

    files: dict[str, int] = field(default_factory=dict)
    """Files that came out of each archive now."""
    skipped: int = 0
    """Archives that were unpacked before."""
    left_out: int = 0
    """Members of archives that nobody needs."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(archive, what is wrong with it)."""


def size_unpacked(dataset: PublishedSet, archive: SourceFile) -> int:
    """Bytes that an archive becomes, at least."""
    return declared_size(archive.path, lambda parts: _wanted(dataset, archive, parts))


def _wanted(dataset: PublishedSet, archive: SourceFile, parts: tuple[str, ...]) -> bool:
    *folders, name = parts or ("",)
    parents = (*archive.parents, archive.name, *folders)
    return not any(map(hidden, folders)) and useful(name) and not dataset.unwanted(parents, name)


def unpack_all(
    dataset: PublishedSet, sources: Sources, staging: Staging, result: Unpacking, reporter: Reporter = SILENT
) -> None:
    """Unpack what was not unpacked before; `result` is filled as it goes, so that Ctrl-C loses no count.

    Raises:
        DiskFull: the archives do not fit.
    """
    new = [archive for archive in sources.archives if not staging.is_done(archive)]
    result.skipped = len(sources.archives) - len(new)
    check_room(staging.root, sum(size_unpacked(dataset, archive) for archive in new))
    inside = [(archive, 1) for waiting in staging.waiting() for archive in waiting.archives]
    todo = [(archive, 0) for archive in new] + inside
    with reporter.track("unpack", len(todo), "archives") as task:
        for first in todo:
            waiting = [first]
            while waiting:  # depth first: an archive inside another is deleted as soon as it is unpacked
                waiting[:0] = _unpack_one(dataset, *waiting.pop(0), staging, result, reporter, task)
            task.advance()


def _unpack_one(
    dataset: PublishedSet,
    archive: SourceFile,
    depth: int,
    staging: Staging,
    result: Unpacking,
    reporter: Reporter,
    task: Task,
) -> list[tuple[SourceFile, int]]:
    """Unpack one archive; returns those that it holds, with their depth."""
    try:
        if depth >= MAX_DEPTH:
            raise DataError(f"lies in {depth} archives, one in another", "unpack it yourself and give the folder")
        if not staging.is_done(archive):
            _unpack_new(dataset, archive, staging, result, task)
            reporter.detail(f"{archive.origin}: {result.files[archive.origin]} files")
    except DiskFull:
        raise
    except DataError as error:
        reason = error.message.removeprefix(in_a_line(printable(archive.path))).lstrip(": ")
        result.problems.append((archive.origin, f"{reason}; {error.hint}" if error.hint else reason))
        reporter.warn(f"{archive.origin} {reason}")
        return []
    if archive.staged:
        archive.path.unlink()
    folder = staging.folder(staging.archives[key_of(archive)].folder)
    inner = search_staged(folder, (*archive.parents, archive.name))
    return [(other, depth + 1) for other in inner.archives]


def _unpack_new(dataset: PublishedSet, archive: SourceFile, staging: Staging, result: Unpacking, task: Task) -> None:
    """Unpack an archive into a folder, which does not stay where that fails or is interrupted."""
    number, size = staging.free_number(), 0

    def progress(written: int) -> None:
        nonlocal size
        size += written
        task.advance(0, archive=printable(archive.name), MiB=size // 2**20)

    try:
        got = unpack(archive.path, staging.folder(number), lambda parts: _wanted(dataset, archive, parts), progress)
    except BaseException:
        shutil.rmtree(staging.folder(number), ignore_errors=True)
        raise
    staging.add(archive, number, got.files, got.bytes)
    result.files[archive.origin] = got.files
    result.left_out += got.left_out
