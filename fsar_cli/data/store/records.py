"""What a frame store says about itself: its settings, and a row of facts for every video."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, cast

from fsar_cli.config import ExtractConfig
from fsar_cli.errors import DataError, unreadable
from fsar_cli.files import complete_rows, write_rows, write_whole

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
    source_size: int = 0
    """What the source was when it was extracted, see `origin`: its bytes; 0 where an older fsar did not say."""
    source_time: int = 0
    """Its modification time in nanoseconds."""
    source_content: str = ""
    """Digest of its content."""


_WIDTHS = (12, 13, len(fields(Record)))
"""Columns of a manifest: before clips were cut from videos, before their sources were remembered, now."""


def settings_document(settings: ExtractConfig) -> dict[str, Any]:
    """The settings as programs get them; a short side of null: as in the video."""
    return settings.model_dump() | {"short_side": settings.short_side or None}


def read_settings(root: Path) -> ExtractConfig | None:
    """The settings of a store; None where there are none yet."""
    try:
        values = json.loads((root / SETTINGS).read_text(encoding="utf-8"))
        values.pop("schema")
        return ExtractConfig.model_validate({"clips": "whole", **values, "short_side": values["short_side"] or 0})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{root / SETTINGS} is damaged ({' '.join(str(error).split())})"
        raise unreadable(root / SETTINGS, message, ANEW) from error


def write_settings(root: Path, settings: ExtractConfig) -> None:
    """Store the settings, at once or not at all."""
    text = json.dumps({"schema": 1, **settings_document(settings)}, indent=2) + "\n"
    write_whole(root / SETTINGS, text)


def has_manifest(root: Path) -> bool:
    """Whether a folder holds the manifest of a store, and not a file of that name by something else.

    Raises:
        DataError: there is one that cannot be read.
    """
    try:
        with (root / MANIFEST).open(encoding="utf-8", errors="surrogateescape") as file:
            return {"video", "source_frames"} <= set(file.readline().strip().split(","))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False
    except OSError as error:
        raise unreadable(root / MANIFEST, f"{root / MANIFEST} cannot be read", "", error) from error


def manifest_rows(root: Path) -> Iterator[list[str]]:
    """The complete rows of a manifest as text."""
    yield from (row for row in complete_rows(root / MANIFEST) if len(row) in _WIDTHS)


def read_manifest(root: Path) -> Iterator[Record]:
    """The complete rows of a manifest. Raises DataError where a row is not what extraction writes."""
    # The types themselves: none is written as text.
    kinds = cast(list[Callable[[str], Any]], [field.type for field in fields(Record)])
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
