"""Many videos in few files: append-only tar shards, and an index that says where each video's table lies.

    OUT/shards/000000.tar ...    members class/video/...; a video is never split over two shards
    OUT/shards/index.csv         one row a video, the columns of `ShardPlace`

A video's members end with a table, whose position the index gives; what else the video has, the table finds. So a
reader keeps three numbers a video, never scans a tar and never writes.

A row is appended after the video's members are written. Bytes behind the last indexed one are what a killed run left:
the next writer cuts them off and goes on from there, so the shards become what an undisturbed run writes.
"""

import csv
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import BinaryIO, TextIO

from fsar_cli.data.store.records import Record
from fsar_cli.errors import DataError, unreadable
from fsar_cli.files import complete_rows, write_rows

SHARDS, INDEX = "shards", "index.csv"
LIMIT = 1 << 30
"""Bytes after which a new shard begins; only a single video may be larger."""
_END = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True, slots=True)
class ShardPlace:
    """Where a video's table lies, a row of the index."""

    id: str
    """`class/name` (column `video`)."""
    shard: int
    position: int
    """Of the table's first byte in the shard."""
    size: int
    """Bytes of the table."""
    source_size: int = 0
    """Bytes of the video file; this column and the next ones only where pictures stay in the videos."""
    source_time: int = 0
    """Its modification time, whole seconds."""
    source: str = ""
    """Its path as seen from the store."""

    @property
    def end(self) -> int:
        """Where the next video may begin."""
        return _rounded(self.position + self.size)


def _rounded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def shard_path(root: Path, number: int) -> Path:
    """The file of a shard."""
    return root / SHARDS / f"{number:06d}.tar"


def read_index(root: Path) -> dict[str, ShardPlace]:
    """The complete rows of the index by video; the later one where a video has two."""
    places = {}
    for row in complete_rows(root / SHARDS / INDEX):
        with suppress(ValueError, TypeError):  # a row that is none of ours counts as missing, which is repairable
            video, *numbers, source = row
            shard, position, size, source_size, source_time = map(int, numbers)
            places[video] = ShardPlace(video, shard, position, size, source_size, source_time, source)
    return places


def read_at(file: BinaryIO, position: int, size: int) -> bytes:
    """`size` bytes from a position of an open file. Raises OSError, or EOFError where there are fewer."""
    file.seek(position)
    data = file.read(size)
    if len(data) < size:
        raise EOFError(f"{len(data)} of {size} bytes are there")
    return data


def remove_shards(root: Path) -> None:
    """Remove the index and the shards, and nothing else that lies there."""
    folder = root / SHARDS
    if not folder.is_dir() or not (folder / INDEX).is_file():
        return
    for path in _shard_files(root):
        path.unlink()
    (folder / INDEX).unlink()
    with suppress(OSError):  # there is more in it
        folder.rmdir()


def _shard_files(root: Path) -> list[Path]:
    return sorted(p for p in (root / SHARDS).iterdir() if re.fullmatch(r"\d{6,}\.tar", p.name) and p.is_file())


class Shards:
    """The shards of a store.

    Every process may read, through files that are open for the time of one call: processes share nothing. One process
    may add, between `open` and `close`; `place`, which takes what a worker left, is the matter of the kinds of store.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._file: FileIO | None = None
        self._index: TextIO | None = None
        self._shard = self._end = self._at = 0

    @cached_property
    def places(self) -> dict[str, ShardPlace]:
        """The index, read when it is first needed."""
        return read_index(self.root)

    def fingerprint(self, record: Record) -> str:
        """Its place, and a sum over its table: sizes and times of its frames, or where they are in which video."""
        with self.opened(record) as (_, table):
            return f"{self.places[record.id]} {zlib.crc32(table):08x}"

    @contextmanager
    def opened(self, record: Record) -> Iterator[tuple[BinaryIO, bytes]]:
        """(shard, bytes of the video's table).

        Raises:
            DataError: either is missing or damaged, as it is for an OSError, ValueError or EOFError in the body.
        """
        place = self.places.get(record.id)
        if place is None:
            text = f"'{record.id}' is not in {self.root / SHARDS / INDEX}"
            raise DataError(text, "run `fsar extract-frames` again: it fetches what is missing")
        path = shard_path(self.root, place.shard)
        try:
            with path.open("rb", buffering=0) as file:
                yield file, read_at(file, place.position, place.size)
        except (OSError, ValueError, EOFError) as error:
            raise unreadable(
                path,
                f"'{record.id}' in {path} is missing or damaged ({error})",
                "delete that file and run `fsar extract-frames` again: it fetches only what is missing",
                error,
            ) from error

    def whole(self, record: Record) -> bool:
        """As `Kind.whole`: its shard reaches to the end of its table."""
        place = self.places.get(record.id)
        with suppress(OSError):
            return place is not None and shard_path(self.root, place.shard).stat().st_size >= place.end
        return False

    def move(self, record: Record) -> None:
        """Nothing to do where no source is needed any more."""

    def remove(self, record: Record) -> None:
        """Lead to the video no more; its bytes stay, unless they are the last of their shard."""
        self.places.pop(record.id, None)

    def open(self, records: Iterable[Record]) -> None:
        """Begin to add to the videos listed: list no others and remove what a killed run left behind."""
        places = [self.places[record.id] for record in records]
        ends: dict[int, int] = {}
        for place in places:
            ends[place.shard] = max(place.end, ends.get(place.shard, 0))
        (self.root / SHARDS).mkdir(exist_ok=True)
        columns = ["video", *(field.name for field in fields(ShardPlace)[1:])]
        write_rows(self.root / SHARDS / INDEX, columns, map(astuple, places))
        for path in _shard_files(self.root):
            self._repair(path, ends.get(int(path.stem), 0))
        self._index = (self.root / SHARDS / INDEX).open("a", encoding="utf-8", errors="surrogateescape", newline="")
        self._shard = max(ends, default=0)
        self._end = ends.get(self._shard, 0)

    def _repair(self, path: Path, end: int) -> None:
        if not end:
            path.unlink()
            return
        with path.open("r+b") as file:
            file.seek(end)
            if file.read(len(_END) + 1) != _END:
                file.truncate(end)
                file.seek(end)
                file.write(_END)

    def begin(self, room: int) -> None:
        """Before a video's members, which take about `room` bytes: a full shard is closed, a new one begun."""
        if self._end and self._end + room > LIMIT:
            self._close_shard()
            self._shard, self._end = self._shard + 1, 0
        if self._file is None:
            path = shard_path(self.root, self._shard)
            self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        self._at = self._file.seek(self._end)

    def add(self, name: str, data: bytes) -> int:
        """Append a member; returns the position of its first byte."""
        info = tarfile.TarInfo(name)
        info.size = len(data)
        header = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        start = self._at + len(header)
        padded = memoryview(b"".join((header, data, bytes(_rounded(len(data)) - len(data)))))
        self._at += len(padded)
        assert self._file is not None  # open since `begin`
        while padded:  # an unbuffered write may take a part only
            padded = padded[self._file.write(padded) :]
        return start

    def finish(self, name: str, table: bytes, place: ShardPlace) -> None:
        """Append a video's table, then list the video: `place` with shard, position and size filled in."""
        position = self.add(name, table)
        assert self._index is not None  # open since `open`
        row = (place.id, self._shard, position, len(table), *astuple(place)[4:])
        csv.writer(self._index, lineterminator="\n").writerow(row)
        self._index.flush()
        self._end = self._at

    def _close_shard(self) -> None:
        if self._file is not None:
            self._file.truncate(self._end)
            self._file.seek(self._end)
            self._file.write(_END)
            self._file.close()
            self._file = None

    def close(self) -> None:
        """Complete the last shard."""
        with suppress(OSError):  # the disk is full: readers do not need the tar's end, and the next writer adds it
            self._close_shard()
        if self._index is not None:
            self._index.close()
