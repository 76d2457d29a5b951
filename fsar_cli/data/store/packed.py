"""Frames packed in shards: the members of a video are its JPEGs, named as files would be, and a table.

`tar xf` gives the very files of an extraction into files. The table class/video/index.npy holds for every frame its
`position` and `size` in the shard and its `seconds`, so a frame is one positioned read.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from fsar_cli.data.store.clip import ClipFrames
from fsar_cli.data.store.loose import frame_name
from fsar_cli.data.store.records import Record
from fsar_cli.data.store.shards import ShardPlace, Shards, read_at
from fsar_cli.data.video.picture import from_jpeg

TABLE = "index.npy"
COLUMNS = np.dtype([("position", "<i8"), ("size", "<i8"), ("seconds", "<f8")])
SPOOL = "pictures"
ROOM = 1024
"""Bytes a frame takes in a tar beside its own, at most."""


class PackedFrames(Shards):
    """The kind of store `packed`; see `frames.Kind`."""

    reads_videos = False

    @staticmethod
    def collect(clip: ClipFrames, folder: Path) -> None:
        """Leave one file of JPEGs, end to end, and the table with positions in that."""
        spans = []
        with (folder / SPOOL).open("wb") as spool:
            for picture in clip.jpegs():
                data = picture.read_bytes() if isinstance(picture, Path) else picture
                spans.append((spool.tell(), len(data)))
                spool.write(data)
        rows = [(*spans[n], second) for n, second in zip(clip.chosen.kept, clip.chosen.times, strict=True)]
        np.save(folder / TABLE, np.array(rows, COLUMNS))

    def place(self, record: Record, folder: Path) -> None:
        """Append the pictures and the table, with positions in the shard, to the shards."""
        table = np.load(folder / TABLE)
        self.begin(int(table["size"].sum()) + len(table) * ROOM)
        with (folder / SPOOL).open("rb") as spool:
            for index, row in enumerate(table):
                data = read_at(spool, int(row["position"]), int(row["size"]))
                row["position"] = self.add(f"{record.id}/{frame_name(index)}", data)
        self.finish(f"{record.id}/{TABLE}", _bytes(table), ShardPlace(record.id, 0, 0, 0))

    def seconds(self, record: Record) -> np.ndarray:
        """Times as `FrameStore.seconds`."""
        with self.opened(record) as (_, table):
            return _rows(table, record)["seconds"].astype(np.float64)

    def read(
        self, record: Record, indices: Sequence[int], size: tuple[int, int], interpolation: str
    ) -> np.ndarray:  # fmt: skip
        """Pictures of a size (w, h) as `FrameStore.read`, of indices that exist."""
        pictures = np.empty((len(indices), size[1], size[0], 3), np.uint8)
        with self.opened(record) as (file, table):
            rows = _rows(table, record)[list(indices)]
            for slot, (position, length) in enumerate(rows[["position", "size"]].tolist()):
                data = read_at(file, position, length)
                try:
                    pictures[slot] = from_jpeg(data, size, interpolation)
                except (OSError, ValueError) as error:
                    raise ValueError(f"its frame {indices[slot]}: {error}") from error
        return pictures


def _rows(data: bytes, record: Record) -> np.ndarray:
    table: np.ndarray = np.load(BytesIO(data))
    if table.dtype != COLUMNS or len(table) != record.frames:
        raise ValueError(f"its table is not one of {record.frames} frames")
    return table


def _bytes(table: np.ndarray) -> bytes:
    data = BytesIO()
    np.save(data, table)
    return data.getvalue()
