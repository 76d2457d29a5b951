"""The frame store: what extraction leaves on disk, and how training reads it. One of three kinds, with

    OUT/manifest.csv    one row a finished clip, the columns of `Record`
    OUT/extract.json    the settings, one set for the whole store; `store` is its kind
    OUT/failed.csv      the clips that the last extraction could not read, with reasons

Kind `files`, a JPEG file each (`loose`):

    OUT/class/video/00000001.jpg ...   stored frames; the file number is the 0-based index plus one
    OUT/class/video/seconds.txt        time of each stored frame since the clip's first, one a line (float64)

Kind `packed`, the same JPEGs in a few large files (`packed`, `shards`):

    OUT/shards/000000.tar ...          class/video/00000001.jpg ... and class/video/index.npy, where each lies and when
    OUT/shards/index.csv               which shard holds a clip, and where in it that table lies

Kind `videos`, no pictures; they are decoded from the video files (`linked`, `shards`):

    OUT/shards/000000.tar ...          class/video/index.npz: stamp and time of each frame, and where to start decoding
    OUT/shards/index.csv               as above, with the size, time and place of the video file

Frames have the same numbers, times and sizes in all three. A row is appended to the manifest after everything else of
the clip is complete and in its place, so whatever the manifest lists is whole.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fsar_cli.config import ExtractConfig
from fsar_cli.data.store.clip import ClipFrames
from fsar_cli.data.store.linked import LinkedFrames
from fsar_cli.data.store.loose import LooseFrames
from fsar_cli.data.store.packed import PackedFrames
from fsar_cli.data.store.pictures import holds_pictures
from fsar_cli.data.store.records import Record, has_manifest, read_manifest, read_settings
from fsar_cli.data.video.picture import scaled_size
from fsar_cli.errors import DataError


class Kind(Protocol):
    """One way to keep clips: what a worker collects, how it comes into the store, how it is read."""

    reads_videos: bool
    """Whether the video files are needed for reading."""

    def __init__(self, root: Path) -> None: ...

    @staticmethod
    def collect(clip: ClipFrames, folder: Path) -> None:
        """In a worker process: leave what is kept of a clip in an empty folder."""

    def whole(self, record: Record) -> bool:
        """Whether all of a listed clip is still there."""

    def open(self, records: Sequence[Record]) -> None:
        """Begin to add to the clips listed, in one process; what a killed run left behind is removed."""

    def place(self, record: Record, folder: Path) -> None:
        """Put what a worker left where it belongs."""

    def move(self, record: Record) -> None:
        """Before `open`: take in that a clip's source, of the same content, has another place or time."""

    def remove(self, record: Record) -> None:
        """Before `open`: let go of a clip."""

    def close(self) -> None:
        """End adding."""

    def fingerprint(self, record: Record) -> str:
        """Text that changes when the clip is extracted anew from something else."""

    def seconds(self, record: Record) -> np.ndarray:
        """Times as `FrameStore.seconds`."""

    def read(
        self, record: Record, indices: Sequence[int], size: tuple[int, int], interpolation: str
    ) -> np.ndarray:  # fmt: skip
        """Pictures of a size (w, h) as `FrameStore.read`, of indices that exist."""


def refuse_pictures(root: Path) -> None:
    """Raise DataError where a folder holds the pictures of another tool and is no frame store."""
    with suppress(OSError):
        if not has_manifest(root) and holds_pictures(root):
            raise DataError(
                f"{root} holds folders of pictures, but is not a frame store",
                f"`fsar extract-frames {root} NEW` takes them over, linked where they fit; then --frames NEW, or"
                " data.frames: NEW in fsar.yaml",
            )


def refuse_other(root: Path) -> None:
    """Raise DataError where a folder is no frame store; it says how one is made, or named where it is elsewhere."""
    refuse_pictures(root)
    if not has_manifest(root):
        elsewhere = "one that is elsewhere is named by --frames, or data.frames in fsar.yaml"
        kind, out = ("is not a frame store", "OUT") if root.is_dir() else ("does not exist", root)
        raise DataError(f"{root} {kind}", f"`fsar extract-frames VIDEOS {out}` makes it; {elsewhere}")


KINDS: dict[str, type[Kind]] = {"files": LooseFrames, "packed": PackedFrames, "videos": LinkedFrames}
"""The kinds of store, by the values of `extract.store`."""


class FrameStore:
    """A finished extraction, ready to be read.

    Copies in loader processes carry only the path: each reads the tables once, when it is first asked. Reading writes
    and locks nothing.

    Raises:
        DataError: no such folder, or no manifest in it.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._records: dict[str, Record] | None = None
        self._opened: Kind | None = None
        refuse_other(self.root)

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "_records": None, "_opened": None}

    @property
    def _table(self) -> dict[str, Record]:
        if self._records is None:
            self._records = {record.id: record for record in read_manifest(self.root)}
        return self._records

    @property
    def ids(self) -> list[str]:
        """All video ids, sorted."""
        return sorted(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, video_id: object) -> bool:
        return video_id in self._table

    def record(self, video_id: str) -> Record:
        """The manifest's row of a video. Raises DataError where the store has no such video."""
        if video_id not in self._table:
            raise DataError(
                f"no video '{video_id}' in {self.root}",
                "`fsar splits check` says why; `fsar extract-frames` adds what is missing",
            )
        return self._table[video_id]

    def count(self, video_id: str) -> int:
        """Stored frames of a video."""
        return self.record(video_id).frames

    def absent(self) -> list[str]:
        """Ids of the clips whose video file is needed for reading (kind `videos`) and is away or has changed."""
        kind = self._kind
        return [i for i in self.ids if not kind.at_hand(self.record(i))] if isinstance(kind, LinkedFrames) else []

    @property
    def _kind(self) -> Kind:
        if self._opened is None:
            self._opened = KINDS[(read_settings(self.root) or ExtractConfig()).store](self.root)
        return self._opened

    def fingerprint(self, video_id: str) -> str:
        """Text that changes when the pictures of a video are extracted anew from something else."""
        record = self.record(video_id)
        pictures = replace(record, source="", source_size=0, source_time=0)  # wherever they came from
        return f"{pictures} {self._kind.fingerprint(record)}"

    def seconds(self, video_id: str) -> np.ndarray:
        """Time of each stored frame since the clip's first frame, float64 [n].

        Raises:
            DataError: no such video, or its times are missing or damaged.
        """
        return self._kind.seconds(self.record(video_id))

    def read(
        self,
        video_id: str,
        indices: Sequence[int] | np.ndarray,
        short_side: int | None = None,
        interpolation: str = "bilinear",
    ) -> np.ndarray:
        """Pictures by 0-based index, in the order asked for, scaled so that the short side is exactly `short_side`.

        Args:
            interpolation: `bilinear` or `bicubic`, where they are scaled.

        Returns:
            uint8 RGB [T, h, w, 3].

        Raises:
            DataError: no such video or frame, or a frame that is missing or damaged on disk.
        """
        record, indices = self.record(video_id), [int(index) for index in indices]
        for index in indices:
            if not 0 <= index < record.frames:
                raise DataError(f"'{video_id}' has no frame {index}: it has {record.frames}, counted from 0")
        size = scaled_size(record.width, record.height, short_side)
        return self._kind.read(record, indices, size, interpolation)
