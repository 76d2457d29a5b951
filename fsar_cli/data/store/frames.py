"""The frame store: what extraction leaves on disk, and how training reads it.

    OUT/class/video/00000001.jpg ...   stored frames; the file number is the 0-based index plus one
    OUT/class/video/seconds.txt        time of each stored frame since the video's first, one a line (float64)
    OUT/manifest.csv                   one row a finished video, the columns of `Record`
    OUT/extract.json                   the settings, one set for the whole store
    OUT/failed.csv                     the videos that the last extraction could not read, with reasons

A row is appended after the video's folder is complete and in its place, so whatever the manifest lists is whole.
"""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from fsar_cli.data.sizes import scaled_size
from fsar_cli.errors import DataError, UsageError

Clips = Literal["segment", "longest", "whole"]
Kind = Literal["files", "packed", "videos"]
MANIFEST, SETTINGS, SECONDS = "manifest.csv", "extract.json", "seconds.txt"
COLUMN = {"id": "video", "label": "class"}  # where the column's name says more, or is no Python name
ANEW = "run `fsar extract-frames` with --overwrite to extract everything anew"
AGAIN = "delete that folder and run `fsar extract-frames` again: it fetches only what is missing"


@dataclass(frozen=True, slots=True)
class Record:
    """One video of a store, a row of its manifest."""

    id: str
    """`class/name` (column `video`)."""
    label: str
    """Class (column `class`)."""
    source: str
    """The video file it was extracted from."""
    source_width: int
    """Pixels of the upright source picture."""
    source_height: int
    source_fps: float
    """Average rate of the video."""
    source_frames: int
    """Frames that the video decodes to."""
    width: int
    """Pixels of the stored frames."""
    height: int
    fps: float
    """Average rate of the stored frames: that of the video unless they were thinned."""
    frames: int
    """Stored frames."""
    duration: float
    """Seconds from the clip's first frame to the end of its last."""
    start: float = 0.0
    """Seconds from the source's first frame to where the clip begins: above 0 only for a clip cut from a video."""


_COLUMNS = len(fields(Record))


@dataclass(frozen=True)
class Settings:
    """How frames are stored; one set a store, so that its videos compare."""

    short_side: int | None = 256
    """Pixels of the shorter side; None: as in the video."""
    quality: int = 90
    """JPEG quality, 1 to 100."""
    fps: float | None = None
    """At most so many frames a second; None: all."""
    every: int = 1
    """Every so manieth frame."""
    max_frames: int | None = None
    """At most so many frames a video, evenly spread over it."""
    clips: Clips = "whole"
    """What of an annotated video is a clip: each segment, its longest segment, or all of it."""
    store: Kind = "files"
    """How pictures are kept: a JPEG file each, packed in a few tar files, or left in the videos (read by index)."""

    def __post_init__(self) -> None:
        checks = {
            "--short-side must be 16 pixels or more, or 0 to keep the size": (self.short_side or 16) >= 16,
            "--quality lies between 1 and 100": 1 <= self.quality <= 100,
            "--fps must be above 0": self.fps is None or 0 < self.fps < float("inf"),
            "--every must be 1 or more": self.every >= 1,
            "--fps and --every exclude each other": self.fps is None or self.every == 1,
            "--max-frames must be 2 or more": self.max_frames is None or self.max_frames >= 2,
        }
        for text, holds in checks.items():
            if not holds:
                raise UsageError(text)


def read_settings(root: Path) -> Settings | None:
    """The settings of a store; None where there are none yet."""
    try:
        values = json.loads((root / SETTINGS).read_text(encoding="utf-8"))
        values.pop("schema")
        return Settings(**values)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{root / SETTINGS} is damaged ({error})", ANEW) from error


def write_settings(root: Path, settings: Settings) -> None:
    """Store the settings, at once or not at all."""
    partial = root / f".{SETTINGS}"
    partial.write_text(json.dumps({"schema": 1, **asdict(settings)}, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, root / SETTINGS)


def manifest_rows(root: Path) -> Iterator[list[str]]:
    """The complete rows of a manifest as text; a last row that a killed process left unfinished is passed over."""
    try:
        # newline="": names may hold line breaks, which stand quoted in the file.
        with (root / MANIFEST).open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
            lines = [line for line in stream if line.endswith(("\n", "\r"))]
    except FileNotFoundError:
        return
    yield from (row for row in csv.reader(lines[1:]) if len(row) in (_COLUMNS - 1, _COLUMNS))


def read_manifest(root: Path) -> Iterator[Record]:
    """The complete rows of a manifest. Raises DataError where a row is not what extraction writes."""
    kinds = [field.type for field in fields(Record)]
    for row in manifest_rows(root):
        try:
            yield Record(*[kind(text) for kind, text in zip(kinds, row, strict=False)])
        except ValueError as error:
            message = f"the row of '{row[0]}' in {root / MANIFEST} is damaged ({error})"
            raise DataError(message, f"remove the row, or {ANEW}") from error


def write_manifest(root: Path, records: Iterable[Record]) -> None:
    """Write the whole manifest, at once or not at all."""
    partial = root / f".{MANIFEST}"
    with partial.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMN.get(field.name, field.name) for field in fields(Record))
        writer.writerows(astuple(record) for record in records)
    os.replace(partial, root / MANIFEST)


def frame_name(index: int) -> str:
    """File name of the stored frame with a 0-based index."""
    return f"{index + 1:08d}.jpg"


class FrameStore:
    """A finished extraction, ready to be read.

    Copies in loader processes carry only the path: each reads the manifest once, when it is first asked.

    Raises:
        DataError: no such folder, or no manifest in it.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._records: dict[str, Record] | None = None
        if not (self.root / MANIFEST).is_file():
            kind = "is not a frame store" if self.root.is_dir() else "does not exist"
            raise DataError(f"{self.root} {kind}", f"`fsar extract-frames VIDEOS {self.root}` makes it")

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "_records": None}

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
            raise DataError(f"no video '{video_id}' in {self.root}", "add it with `fsar extract-frames`")
        return self._table[video_id]

    def count(self, video_id: str) -> int:
        """Stored frames of a video."""
        return self.record(video_id).frames

    def fingerprint(self, video_id: str) -> str:
        """Changes when the stored pictures of a video may have changed; costs one look at the file system."""
        record = self.record(video_id)
        return f"{record} {(self.root / record.id).stat().st_mtime_ns}"

    def folder(self, video_id: str) -> Path:
        """Where the frames of a video lie."""
        return self.root / self.record(video_id).id

    def seconds(self, video_id: str) -> np.ndarray:
        """Time of each stored frame since the video's first frame, float64 [n].

        Raises:
            DataError: no such video, or its times are missing or damaged.
        """
        path = self.folder(video_id) / SECONDS
        try:
            times = np.array(path.read_text(encoding="utf-8").split(), np.float64)
        except (OSError, ValueError) as error:
            raise DataError(f"the times of '{video_id}' cannot be read: {path}", AGAIN) from error
        if len(times) != self.count(video_id):
            raise DataError(f"{path} holds {len(times)} times for {self.count(video_id)} frames", AGAIN)
        return times

    def read(self, video_id: str, indices: Sequence[int], short_side: int | None = None) -> np.ndarray:
        """Pictures by 0-based index, in the order asked for, scaled so that the short side is exactly `short_side`.

        Returns:
            uint8 RGB [T, h, w, 3].

        Raises:
            DataError: no such video or frame, or a frame that is missing or damaged on disk.
        """
        record = self.record(video_id)
        width, height = scaled_size(record.width, record.height, short_side)
        pictures = np.empty((len(indices), height, width, 3), np.uint8)
        for slot, index in enumerate(indices):
            if not 0 <= index < record.frames:
                raise DataError(f"'{video_id}' has no frame {index}: it has {record.frames}, counted from 0")
            pictures[slot] = _load(self.root / record.id / frame_name(index), (width, height))
        return pictures


def _load(path: Path, size: tuple[int, int]) -> np.ndarray:
    """A JPEG as uint8 RGB [h, w, 3]; decoded at a fraction of its size where that is still large enough."""
    try:
        with Image.open(path) as image:
            if image.size != size:
                image.draft("RGB", size)
            image = image.convert("RGB")
            return np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BILINEAR))
    except FileNotFoundError as error:
        raise DataError(f"the frame {path} is missing", AGAIN) from error
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"the frame {path} is damaged ({error})", AGAIN) from error
