"""The one process that adds to a frame store: its lock, what it finds there, and each step that makes a video done."""

import csv
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple
from pathlib import Path

from fsar_cli.data.store.frames import (
    ANEW,
    MANIFEST,
    SETTINGS,
    Record,
    Settings,
    frame_name,
    manifest_rows,
    read_manifest,
    read_settings,
    write_manifest,
    write_settings,
)
from fsar_cli.data.store.sources import Source
from fsar_cli.data.video import printable
from fsar_cli.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows: two extractions into one store are then not kept apart
    fcntl = None

PARTIAL, LOCK, FAILED = ".partial", ".lock", "failed.csv"


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep a second extraction out of the store; the lock dies with the process."""
    if _is_strange(out):
        raise UsageError(
            f"{out} is not a frame store and not an empty folder",
            "OUT is the last argument; name a new folder or one that extract-frames made",
        )
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("w") as file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"another extraction is at work in {out}", "wait for it, or choose another folder"
            ) from error
        yield


def _is_strange(out: Path) -> bool:
    """Whether it holds something that no extraction made."""
    if not out.is_dir():
        return out.exists()
    return not (out / SETTINGS).exists() and any(not path.name.startswith(".") for path in out.iterdir())


def _difference(old: Settings, new: Settings) -> str:
    before, now = asdict(old), asdict(new)
    changed = [name for name in before if before[name] != now[name]]
    return ", ".join(f"{name} {before[name]} (now {now[name]})" for name in changed)


class StoreWriter:
    """A store that is being filled. Opening it repairs what a killed run left behind.

    Args:
        overwrite: remove the videos that the manifest lists, and nothing else.

    Raises:
        UsageError: the store was made with other settings.
    """

    def __init__(self, root: Path, settings: Settings, overwrite: bool) -> None:
        self.root, self.skipped = root, 0
        shutil.rmtree(root / PARTIAL, ignore_errors=True)
        if overwrite:
            self._clear()
        old = read_settings(root)
        if old not in (None, settings):
            raise UsageError(f"{root} was made with {_difference(old, settings)}", ANEW)
        self._records = {r.id: r for r in read_manifest(root) if self._whole(r)}
        write_settings(root, settings)
        write_manifest(root, self._records.values())  # also repairs a last row that was left unfinished
        self._manifest = (root / MANIFEST).open("a", encoding="utf-8", errors="surrogateescape", newline="")
        self._failed = None

    def _whole(self, record: Record) -> bool:
        return (self.root / record.id / frame_name(record.frames - 1)).is_file()

    def _clear(self) -> None:
        for row in manifest_rows(self.root):
            parts = row[0].split("/")
            # The manifest may have come from anywhere: nothing outside the store is ever removed.
            if len(parts) == 2 and not any(part in ("", ".", "..") for part in parts):
                shutil.rmtree(self.root / row[0], ignore_errors=True)
        for name in (MANIFEST, SETTINGS):
            (self.root / name).unlink(missing_ok=True)

    def missing(self, videos: list[Source]) -> list[Source]:
        """The videos that are still to be extracted. Raises UsageError where a video is there under another id."""
        by_source = {record.source: record.id for record in self._records.values()}
        for video in videos:
            old = by_source.get(str(video.path), video.id)
            if old != video.id:
                raise UsageError(f"{printable(video.path)} is in {self.root} as '{old}', and is now '{video.id}'", ANEW)
        todo = [video for video in videos if video.id not in self._records]
        self.skipped = len(videos) - len(todo)
        (self.root / FAILED).unlink(missing_ok=True)
        return todo

    def add(self, record: Record, folder: Path) -> None:
        """Move a finished folder into its place, then list it: in this order a listed video is always whole."""
        place = self.root / record.id
        shutil.rmtree(place, ignore_errors=True)  # left by a run that was killed between the move and the row
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder, place)
        csv.writer(self._manifest, lineterminator="\n").writerow(astuple(record))
        self._manifest.flush()

    def add_failure(self, source: Source, reason: str) -> None:
        """Append a line to failed.csv."""
        if self._failed is None:
            self._failed = (self.root / FAILED).open("w", encoding="utf-8", errors="surrogateescape", newline="")
            csv.writer(self._failed, lineterminator="\n").writerow(["video", "path", "reason"])
        csv.writer(self._failed, lineterminator="\n").writerow([source.id, source.path, reason])
        self._failed.flush()

    def close(self) -> None:
        """Close the tables and remove what was not finished."""
        self._manifest.close()
        if self._failed is not None:
            self._failed.close()
        shutil.rmtree(self.root / PARTIAL, ignore_errors=True)
