"""Files that appear whole or not at all, locks, a cache that processes share, and what the machine has to spare.

Names in tables may hold anything a file system allows, line breaks and bytes that are no text included.
"""

import csv
import errno
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TextIO, TypeVar

from filelock import FileLock, Timeout

from fsar_cli.errors import DataError, UsageError
from fsar_cli.leftovers import is_dead, own_name, remove_leftovers

Content = TypeVar("Content")

LIMIT_BYTES = 20 * 2**30
IN_USE_SECONDS = 60  # a process that has just been given an entry has it open by then


@contextmanager
def naming(path: Path, *others: Path) -> Iterator[None]:
    """Errors of the system in the block that name no file (those of a full disk), or one of `others`, name `path`."""
    try:
        yield
    except OSError as error:
        if error.errno is None or (error.filename is not None and str(error.filename) not in map(str, others)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A file to write beside `path`; it takes that name at the end of the block and is removed on an error.

    Readers see the old file or the new one, never a part. The file beside keeps the suffix, by which libraries know the
    format, and has a short name, as `path` may be as long as the file system allows. What a killed process left there
    is removed first. Pipes and devices are written as they are.

    Raises:
        OSError: naming `path`, whatever went wrong with the file beside it.
    """
    part = path.with_name(f".{own_name()}{path.suffix}")
    with naming(path, part):
        if path.exists() and not path.is_file():
            yield path
            return
        remove_leftovers(path.parent)
        try:
            yield part
            with part.open("r+b") as file:
                os.fsync(file.fileno())  # else a power cut could leave the name without the content
            os.replace(part, path)
            _keep_names(path.parent)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def _keep_names(folder: Path) -> None:
    """Have a folder's names on the disk before anything that builds on them is written there, for a power cut."""
    if os.name != "posix":
        return
    with suppress(OSError):  # a file system that cannot, or a folder one may not read: the content is there
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file at once or not at all; text as UTF-8, line ends as they are."""
    with atomic(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def write_rows(file: Path, heading: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a whole CSV file, at once or not at all."""
    with atomic(file) as part, part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        writer = csv.writer(_PlainEnds(stream), lineterminator="\r\n")
        writer.writerow(heading)
        writer.writerows(rows)


class _PlainEnds:
    """Takes rows that end with both signs of a line end, so that cells with either are quoted, and keeps one of them.

    Before Python 3.13 a CSV writer quotes only the signs that it ends its own lines with.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, row: str) -> None:
        """Write one row."""
        self._stream.write(row.removesuffix("\r\n") + "\n")


def complete_rows(file: Path) -> Iterator[list[str]]:
    """The rows of a CSV file without its heading; a last one that a killed process left unfinished is passed over.

    Raises:
        DataError: it is no CSV.
    """
    try:
        # newline="": names may hold line breaks, which stand quoted in the file.
        with file.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
            lines = [line for line in stream if line.endswith(("\n", "\r"))]
    except FileNotFoundError:
        return
    try:
        yield from csv.reader(lines[1:])
    except csv.Error as error:
        raise DataError(f"{file} is not CSV ({error})", "get the file again, or remove it") from error


@contextmanager
def lock(path: Path, busy: tuple[str, str] | None = None) -> Iterator[None]:
    """Let one process at a time into the block; the others wait. The lock dies with its process.

    The empty file stays: were it removed, one process could lock the old file and another a new one of the same name.
    Who holds it stands in a file beside (some versions of filelock empty what they open) and is first of all removed
    by the next holder, as a killed one leaves it.

    Args:
        path: the lock's file, in a folder that exists and can be written to.
        busy: message and hint of the error raised instead of waiting; the message goes on with who holds the lock.

    Raises:
        UsageError: another process is in the block, where `busy` is given.
        OSError: the file cannot be written, or its file system has no locks.
    """
    holder = path.with_suffix(".holder")
    try:
        held = FileLock(path).acquire(timeout=0 if busy else -1)
    except Timeout as error:
        assert busy is not None  # else it waits
        raise UsageError(f"{busy[0]}{_read_holder(holder)}", busy[1]) from error
    except NotImplementedError as error:
        raise OSError(errno.ENOLCK, "its file system has no locks", str(path)) from error
    except OSError as error:  # that of the lock itself names no file
        raise OSError(error.errno or errno.ENOLCK, error.strerror or str(error), str(path)) from error
    with held:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
            since = f"{datetime.now():%Y-%m-%d %H:%M:%S}"
            holder.write_text(f"process {os.getpid()} on {platform.node()} since {since}", encoding="utf-8")
        try:
            yield
        finally:
            with suppress(OSError):
                holder.unlink(missing_ok=True)


def _read_holder(file: Path) -> str:
    """Who holds a lock, to follow a message; empty where that cannot be read.

    A holder says it just after it has taken the lock: until then a killed one's text may stand there.
    """
    for _ in range(10):
        with suppress(OSError):
            text = file.read_text(encoding="utf-8", errors="replace")
            if text and not _is_dead(text):
                return f": {text}"
        time.sleep(0.05)
    return ""


def _is_dead(holder: str) -> bool:
    """Whether the process of a holder's text is one of this machine that is no more."""
    word, number, _, machine, *_ = [*holder.split(), "", "", "", ""]
    return word == "process" and machine == platform.node() and number.isdigit() and is_dead(int(number))


class Cache:
    """A folder of what can be made anew: each entry a folder of files, its key the digest of what it was made from.

    Whoever changes an entry holds its lock. It is filled under a hidden name and renamed when complete, so a killed
    process leaves nothing that looks finished. When all entries together exceed the limit, those unused for longest go.

    Args:
        folder: made when the first entry is.
        limit: bytes of all entries together.
    """

    def __init__(self, folder: Path, limit: int = LIMIT_BYTES) -> None:
        self.folder, self.limit = folder, limit

    def find(self, key: str) -> Path | None:
        """The folder of a finished entry; it counts as used now."""
        entry = self.folder / key
        if not os.path.isdir(entry):  # unlike Path.is_dir, False where one may not look
            return None
        with suppress(OSError):  # a cache one may only read is still one
            os.utime(entry)
        return entry

    def get(self, key: str, make: Callable[[Path], None]) -> Path:
        """The folder of an entry. `make` fills an empty one where there is none, in one process; the others wait.

        Raises:
            OSError: the cache is full, read-only, gone or no folder: who asks goes on without it (`without`).
        """
        if entry := self.find(key):
            return entry
        self.folder.mkdir(parents=True, exist_ok=True)
        entry, part = self.folder / key, self._part(key)
        with lock(self._lock(key)):
            if self.find(key):  # made while this process waited
                return entry
            self._clear(key)
            part.mkdir()
            try:
                make(part)
                os.replace(part, entry)
            finally:
                self._clear(key)
        with suppress(OSError):  # the entry is there
            self._tidy()
        return entry

    def read(self, key: str, make: Callable[[Path], None], read: Callable[[Path], Content]) -> Content:
        """What `read` makes of an entry's folder; an entry that it cannot take, as it is damaged, is made anew.

        Raises:
            OSError: as `get`, or a damaged entry cannot be removed.
        """
        entry = self.get(key, make)
        try:
            return read(entry)
        except Exception as error:  # whatever damaged files raise
            self.drop(key)
            if self.find(key):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(entry)) from error
        return read(self.get(key, make))

    def drop(self, key: str) -> None:
        """Remove an entry, if it is there and nobody is making it."""
        with suppress(OSError, UsageError), lock(self._lock(key), busy=(f"{key} is being made", "")):
            self._clear(key)
            os.replace(self.folder / key, self._part(key))  # at once gone for those who look for it
            self._clear(key)

    def without(self, error: OSError) -> str:
        """The warning of who goes on without the cache; of all caches in a folder the same."""
        return without_cache(self.folder.parent, error)

    def _part(self, key: str) -> Path:
        return self.folder / f".{key}"

    def _lock(self, key: str) -> Path:
        return self.folder / f".{key}.lock"

    def _clear(self, key: str) -> None:
        shutil.rmtree(self._part(key), ignore_errors=True)

    def _tidy(self) -> None:
        """Drop what exceeds the limit, and what the dead left; others may do the same at the same time."""
        entries, total = [], 0
        for entry in self.folder.iterdir():
            with suppress(OSError, UsageError):
                if not entry.name.startswith("."):
                    if entry.stat().st_mtime > time.time():  # the clock was set back: from now on it ages again
                        os.utime(entry)
                    size = sum(file.stat().st_size for file in entry.iterdir())
                    entries.append((entry.stat().st_mtime, entry.name, size))
                    total += size
                elif entry.is_dir():
                    with lock(self._lock(entry.name[1:]), busy=("it is being made", "")):
                        self._clear(entry.name[1:])
        for used, key, size in sorted(entries):
            if total <= self.limit or time.time() - used < IN_USE_SECONDS:
                return
            self.drop(key)
            total -= size


def without_cache(place: Path, error: OSError) -> str:
    """The warning about a place for what can be made anew that takes nothing: said once, work goes on."""
    return f"{place} keeps nothing ({error.strerror}): going on without a cache"


def cache_folder(*parts: str) -> Path:
    """FSAR_CACHE, else `fsar` in XDG_CACHE_HOME, else ~/.cache/fsar; with `parts`, a folder in it, made by its user."""
    chosen, base = os.environ.get("FSAR_CACHE"), Path(os.environ.get("XDG_CACHE_HOME") or "")
    if not base.is_absolute():  # the desktop standard has relative places ignored
        home = os.path.expanduser("~")  # itself for a user without a home: of containers, whose home is the root
        base = Path("/" if home == "~" else home) / ".cache"
    return (Path(os.path.expanduser(chosen)) if chosen else base / "fsar").joinpath(*parts)


@contextmanager
def scratch(name: str, size: int, warn: Callable[[str], None]) -> Iterator[Path]:
    """A folder for the time of the block, with room for `size` bytes: in `name` of the cache folder, else the system's.

    The system's comes second as it is often in memory.

    Raises:
        OSError: neither has the room.
    """
    with ExitStack() as stack:
        try:
            place = cache_folder(name)
            place.mkdir(parents=True, exist_ok=True)
            remove_leftovers(place)
            folder = stack.enter_context(_roomy(place, size))
        except OSError as error:
            warn(without_cache(cache_folder(), error))
            folder = stack.enter_context(_roomy(None, size))
        yield folder


@contextmanager
def _roomy(place: Path | None, size: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f"{own_name()}-", dir=place, ignore_cleanup_errors=True) as name:
        probe = Path(name) / "room"
        with naming(Path(name)), probe.open("wb") as file:
            allocate(file.fileno(), size)
        probe.unlink()
        yield Path(name)


def allocate(descriptor: int, size: int) -> None:
    """Give a file its size on the disk, where the system can: that there is no room is known before hours of work.

    Raises:
        OSError: there is none.
    """
    if hasattr(os, "posix_fallocate") and size:
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):  # a file system that cannot
                raise


def cores(at_most: int | None = None) -> int:
    """Processor cores this process may use, or `at_most` where there are more."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, at_most or available)


def available_memory(root: Path = Path("/")) -> int:
    """Bytes of memory that could be taken now, by the machine and by the limits of the containers around this process.

    Args:
        root: where `proc` and `sys` are.
    """
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        machine = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux
        return 4 * 2**30
    return max(0, min([machine, *_left_in_groups(root)]))


def _left_in_groups(root: Path) -> Iterator[int]:
    """Bytes left in each control group with a limit: version 2 from the process's own up, and version 1."""
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in groups:
        _, kinds, name = line.split(":", 2)
        if kinds not in ("", "memory") and "memory" not in kinds.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("memory" if kinds else "")
        files = ("memory.limit_in_bytes", "memory.usage_in_bytes") if kinds else ("memory.max", "memory.current")
        # Inside a container the name may be one of the host's; what is mounted at the top is then the container's.
        place = top / name.lstrip("/")
        for folder in (place, *place.parents):
            yield from _left(folder, *files)
            if folder == top:
                break


def _left(folder: Path, limit: str, used: str) -> Iterator[int]:
    try:
        most, now = (folder / limit).read_text(encoding="ascii").strip(), int((folder / used).read_text())
        facts = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        return
    if most != "max":
        # Files that were read count as used until somebody needs the room.
        files = int(facts.get("total_inactive_file", facts.get("inactive_file", 0)))
        yield int(most) - now + files
