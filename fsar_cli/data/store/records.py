"""What a frame store says about itself: its settings, and a row of facts for every video."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Literal

from fsar_cli.errors import DataError, UsageError
from fsar_cli.files import complete_rows, write_rows, write_whole

Clips = Literal["segment", "longest", "whole"]
Kind = Literal["files", "packed", "videos"]
MANIFEST, SETTINGS = "manifest.csv", "extract.json"
COLUMN = {"id": "video", "label": "class"}  # where the column's name says more, or is no Python name
ANEW = "run `fsar extract-frames` with --overwrite to extract everything anew"


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
    """Frames that the video decodes to, or the clip cut from it."""
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
    text = json.dumps({"schema": 1, **asdict(settings)}, indent=2) + "\n"
    write_whole(root / SETTINGS, text)


def manifest_rows(root: Path) -> Iterator[list[str]]:
    """The complete rows of a manifest as text."""
    yield from (row for row in complete_rows(root / MANIFEST) if len(row) in (_COLUMNS - 1, _COLUMNS))


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
    heading = [COLUMN.get(field.name, field.name) for field in fields(Record)]
    write_rows(root / MANIFEST, heading, map(astuple, records))
