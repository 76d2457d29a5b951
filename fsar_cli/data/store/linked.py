"""No pictures: an index of where each frame lies in its video, from which it is decoded when it is asked for.

The table class/video/index.npz holds `frames` (number, stamp, seconds: see `video.positions`; numbers count the clip's
frames before thinning), `entries` (number, stamp) and `source` (bytes and modification time of the video file).

A video is looked for where it was indexed, then at the same place as seen from the store: a store moves together with
its videos. It must be the file that was indexed, by size and modification time.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from PIL import Image

from fsar_cli.data.store.clip import ClipFrames
from fsar_cli.data.store.records import Record
from fsar_cli.data.store.shards import ShardPlace, Shards
from fsar_cli.data.video import iter_frames, printable
from fsar_cli.data.video.picture import FrameScaler, resized
from fsar_cli.data.video.positions import EntryPoint, FramePositions, Position, read_positions
from fsar_cli.errors import DataError

TABLE = "index.npz"
FRAMES = np.dtype([("number", "<i8"), ("stamp", "<i8"), ("seconds", "<f8")])
AGAIN = (
    "run `fsar extract-frames` again, with the folder where the videos are now: it indexes anew what changed; or put"
    " the videos where they were, copied with their times"
)


def signature(path: Path) -> tuple[int, int]:
    """(bytes, modification time in whole seconds, which every file system and copy keeps)."""
    facts = path.stat()
    return facts.st_size, int(facts.st_mtime)


class LinkedFrames(Shards):
    """The kind of store `videos`; see `frames.Kind`. A video is open for the time of one call only."""

    reads_videos = True

    @staticmethod
    def collect(clip: ClipFrames, folder: Path) -> None:
        """Find where the frames lie and where decoding may begin, and leave the table."""
        file = signature(clip.source.path)  # before decoding: a change meanwhile is to be noticed
        positions = FramePositions(clip.source.path, *clip.stretch)
        taken = [position for _, position in positions.frames(clip.chosen)]
        rows = [(*taken[n], second) for n, second in zip(clip.chosen.kept, clip.chosen.times, strict=True)]
        entries = np.array(positions.entries(), np.int64).reshape(-1, 2)
        frames, source = np.array(rows, FRAMES), np.array(file)
        np.savez_compressed(folder / TABLE, frames=frames, entries=entries, source=source)

    def whole(self, record: Record) -> bool:
        """As `Kind.whole`; of a clip whose row does not remember its video, no other lies in that one's stead."""
        if record.source_size or not super().whole(record):
            return super().whole(record)
        paths = _sources(self.root, record, self.places[record.id])
        return _find(self.root, record, self.places[record.id]) is not None or not any(path.exists() for path in paths)

    def place(self, record: Record, folder: Path) -> None:
        """Append the table to the shards."""
        table = (folder / TABLE).read_bytes()
        with np.load(BytesIO(table)) as arrays:
            size, time = arrays["source"].tolist()
        self.begin(len(table))
        self.finish(f"{record.id}/{TABLE}", table, ShardPlace(record.id, 0, 0, 0, size, time, self._relative(record)))

    def move(self, record: Record) -> None:
        """Look for the same video at its new place, with its new time."""
        place, size, time = self.places[record.id], record.source_size, record.source_time // 10**9
        now = replace(place, source=self._relative(record), source_size=size, source_time=time)
        self.places[record.id] = now

    def _relative(self, record: Record) -> str:
        with suppress(ValueError):  # Windows: another drive
            return os.path.relpath(record.source, self.root.resolve())
        return ""

    def seconds(self, record: Record) -> np.ndarray:
        """Times as `FrameStore.seconds`."""
        return self._tables(record)[0]["seconds"].astype(np.float64)

    def read(
        self, record: Record, indices: Sequence[int], size: tuple[int, int], interpolation: str
    ) -> np.ndarray:  # fmt: skip
        """Pictures of a size (w, h) as `FrameStore.read`, of indices that exist: scaled as for storing, then to it."""
        if not len(indices):
            return np.empty((0, size[1], size[0], 3), np.uint8)
        frames, entries = self._tables(record)
        path = self._source(record)
        wanted = [Position(*row) for row in frames[sorted(set(indices))][["number", "stamp"]].tolist()]
        decoded = self._decoded(record, path, [EntryPoint(*row) for row in entries.tolist()], wanted)
        pictures = {
            number: resized(Image.fromarray(picture), size, interpolation) for number, picture in decoded.items()
        }
        return np.stack([pictures[number] for number in frames["number"][list(indices)].tolist()])

    def at_hand(self, record: Record) -> bool:
        """Whether the video file is where it may be, and the one that was indexed."""
        place = self.places.get(record.id)
        return place is not None and _find(self.root, record, place) is not None

    def _decoded(
        self, record: Record, path: Path, entries: list[EntryPoint], wanted: list[Position]
    ) -> dict[int, np.ndarray]:
        """Frame number -> picture of the stored size."""
        side = min(record.width, record.height)
        pictures = read_positions(path, entries, wanted, FrameScaler(path, side))
        shape = (record.height, record.width, 3)
        if pictures is None or any(picture.shape != shape for picture in pictures.values()):
            # Another decoder than at indexing, or pictures that change their size: the sequential reading is the truth.
            numbers = {position.number for position in wanted}
            frames = iter_frames(path, side, lambda number, _: number in numbers, 1, record.start)
            pictures = dict(zip(sorted(numbers), (picture for _, picture in frames), strict=False))
            if len(pictures) < len(numbers):
                raise DataError(f"{printable(path)}: frame {wanted[-1].number} does not exist any more", AGAIN)
        return pictures

    def _source(self, record: Record) -> Path:
        place = self.places[record.id]
        path = _find(self.root, record, place)
        if path is None:
            there = [p for p in _sources(self.root, record, place) if p.exists()]
            what = "is not the file that was indexed (other size or time)" if there else "no such file"
            raise DataError(f"{printable(there[0] if there else record.source)}: {what}", AGAIN)
        return path

    def _tables(self, record: Record) -> tuple[np.ndarray, np.ndarray]:
        """(frames, entries) of a clip."""
        with self.opened(record) as (_, table):
            try:
                with np.load(BytesIO(table)) as arrays:
                    frames, entries = arrays["frames"], arrays["entries"]
            except (BadZipFile, KeyError) as error:
                raise ValueError(str(error)) from error
            if frames.dtype != FRAMES or len(frames) != record.frames or entries.shape[1:] != (2,):
                raise ValueError(f"its table is not one of {record.frames} frames")
        return frames, entries


def _sources(root: Path, record: Record, place: ShardPlace) -> list[Path]:
    """Where the video may lie."""
    return [Path(record.source), *([root / place.source] if place.source else [])]


def _find(root: Path, record: Record, place: ShardPlace) -> Path | None:
    """The video file that was indexed; None where it is not there or has changed."""
    for path in _sources(root, record, place):
        with suppress(OSError):
            if signature(path) == (place.source_size, place.source_time):
                return path
    return None
