"""Frames packed in shards: the members of a video are its JPEGs, named as files would be, and a table.

`tar xf` gives the very files of an extraction into files. The table class/video/index.npy holds for every frame its
`position` and `size` in the shard and its `seconds`, so a frame is one positioned read.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from fsar_cli.data.store import jpeg
from fsar_cli.data.store.loose import frame_name
from fsar_cli.data.store.records import Record
from fsar_cli.data.store.shards import Place, ShardReader, ShardWriter, read_at

TABLE = "index.npy"
COLUMNS = np.dtype([("position", "<i8"), ("size", "<i8"), ("seconds", "<f8")])
SPOOL = "pictures"
ROOM = 1024
"""Bytes a frame takes in a tar beside its own, at most."""


class PackedSink:
    """Where a worker leaves a video's JPEGs: one file of them, end to end, and the table with positions in that."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._spool = folder, (folder / SPOOL).open("wb")
        self._spans: list[tuple[int, int]] = []

    def add(self, data: bytes) -> None:
        """Take the next frame."""
        self._spans.append((self._spool.tell(), len(data)))
        self._spool.write(data)

    def drop(self, position: int) -> None:
        """Give up one of the frames taken and kept so far."""
        self._spans.pop(position)

    def finish(self, times: Sequence[float]) -> None:
        """Write the table."""
        self._spool.close()
        rows = [(*span, second) for span, second in zip(self._spans, times, strict=True)]
        np.save(self._folder / TABLE, np.array(rows, COLUMNS))


class PackedWriter(ShardWriter):
    """Appends finished videos to the shards."""

    def place(self, record: Record, folder: Path) -> None:
        """Take what a worker left in a folder."""
        table = np.load(folder / TABLE)
        self.begin(int(table["size"].sum()) + len(table) * ROOM)
        with (folder / SPOOL).open("rb") as spool:
            for index, row in enumerate(table):
                data = read_at(spool, int(row["position"]), int(row["size"]))
                row["position"] = self.add(f"{record.id}/{frame_name(index)}", data)
        self.finish(f"{record.id}/{TABLE}", _bytes(table), Place(record.id, 0, 0, 0))


def _bytes(table: np.ndarray) -> bytes:
    data = BytesIO()
    np.save(data, table)
    return data.getvalue()


class PackedFrames(ShardReader):
    """Reads the frames."""

    def seconds(self, record: Record) -> np.ndarray:
        """Times as `FrameStore.seconds`."""
        with self.opened(record) as (_, table):
            return _rows(table, record)["seconds"].astype(np.float64)

    def read(self, record: Record, indices: Sequence[int], size: tuple[int, int]) -> np.ndarray:
        """Pictures of a size (w, h) as `FrameStore.read`, of indices that exist."""
        pictures = np.empty((len(indices), size[1], size[0], 3), np.uint8)
        with self.opened(record) as (file, table):
            rows = _rows(table, record)[list(indices)]
            for slot, (position, length) in enumerate(rows[["position", "size"]].tolist()):
                try:
                    pictures[slot] = jpeg.decode(read_at(file, position, length), size)
                except (OSError, ValueError) as error:
                    raise ValueError(f"its frame {indices[slot]}: {error}") from error
        return pictures


def _rows(data: bytes, record: Record) -> np.ndarray:
    table = np.load(BytesIO(data))
    if table.dtype != COLUMNS or len(table) != record.frames:
        raise ValueError(f"its table is not one of {record.frames} frames")
    return table
