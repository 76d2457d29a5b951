"""The one process that adds to a frame store: its lock, what it finds there, and each step that makes a video done."""

import csv
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple
from pathlib import Path
from typing import TextIO

from fsar_cli.config import ExtractConfig
from fsar_cli.data.store.changes import Changes, compare
from fsar_cli.data.store.frames import KINDS
from fsar_cli.data.store.loose import remove_folder
from fsar_cli.data.store.records import (
    ANEW,
    MANIFEST,
    SETTINGS,
    Record,
    manifest_rows,
    read_manifest,
    read_settings,
    write_manifest,
    write_settings,
)
from fsar_cli.data.store.shards import remove_shards
from fsar_cli.data.store.sources import Source
from fsar_cli.data.video import printable
from fsar_cli.errors import UsageError
from fsar_cli.files import lock, naming
from fsar_cli.reporting import Reporter

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
    with lock(out / LOCK, busy=(f"another extraction is at work in {out}", "wait for it, or choose another folder")):
        yield


def _is_strange(out: Path) -> bool:
    """Whether it holds something that no extraction made."""
    if not out.is_dir():
        return out.exists()
    return not (out / SETTINGS).exists() and any(not path.name.startswith(".") for path in out.iterdir())


def _difference(old: ExtractConfig, new: ExtractConfig) -> str:
    before, now = old.model_dump(), new.model_dump()
    changed = [name for name in before if before[name] != now[name]]
    return ", ".join(f"{name} {before[name]} (now {now[name]})" for name in changed)


class StoreWriter:
    """A store that is being filled. Opening it repairs what a killed run left behind.

    Args:
        overwrite: remove the videos that the manifest lists, and nothing else.

    Raises:
        UsageError: the store was made with other settings.
    """

    def __init__(self, root: Path, settings: ExtractConfig, overwrite: bool) -> None:
        self.root, self.skipped, self.changes = root, 0, Changes()
        shutil.rmtree(root / PARTIAL, ignore_errors=True)
        if overwrite:
            self._clear()
        old = read_settings(root)
        if old not in (None, settings):
            raise UsageError(f"{root} was made with {_difference(old, settings)}", ANEW)
        self._kind = KINDS[settings.store](root)
        self._records = {r.id: r for r in read_manifest(root) if self._kind.whole(r)}
        write_settings(root, settings)
        self._manifest: TextIO | None = None
        self._failed: TextIO | None = None

    def _clear(self) -> None:
        for row in manifest_rows(self.root):
            remove_folder(self.root, row[0])
        remove_shards(self.root)
        for name in (MANIFEST, SETTINGS):
            (self.root / name).unlink(missing_ok=True)

    def begin(self, videos: list[Source], prune: bool, by_content: bool, reporter: Reporter) -> list[Source]:
        """Let go of clips whose sources changed, open the tables and return the videos that are to be extracted.

        Args:
            prune, by_content: as `extract`.

        Raises:
            UsageError: a video is there under another id, or a clip that began elsewhere under this one.
        """
        self._refuse_others(videos)
        self.changes = compare(self.root, self._records, videos, by_content, reporter)
        for record in self.changes.moved.values():
            self._records[record.id] = record
            self._kind.move(record)
        for name in [*self.changes.replaced, *(self.changes.gone if prune else ())]:
            self._kind.remove(self._records.pop(name))
        todo = [video for video in videos if video.id not in self._records]
        self.skipped = len(videos) - len(todo)
        (self.root / FAILED).unlink(missing_ok=True)
        write_manifest(self.root, self._records.values())  # also repairs a last row that was left unfinished
        self._kind.open(list(self._records.values()))
        self._manifest = (self.root / MANIFEST).open("a", encoding="utf-8", errors="surrogateescape", newline="")
        return todo

    def _refuse_others(self, videos: list[Source]) -> None:
        by_source = {(record.source, record.start): record.id for record in self._records.values()}
        ids = {video.id for video in videos}
        for video in videos:
            start, there = video.span[0] if video.span else 0.0, self._records.get(video.id)
            old = by_source.get((str(video.path), start), video.id)
            if old not in ids:
                raise UsageError(f"{printable(video.path)} is in {self.root} as '{old}', and is now '{video.id}'", ANEW)
            if there and there.start != start:
                text = f"begins at {there.start:g} s of its video in {self.root}, and is now to begin at {start:g} s"
                raise UsageError(f"'{printable(video.id)}' {text}", ANEW)

    def add(self, record: Record, folder: Path) -> None:
        """Put what a worker left in a folder in its place, then list it: in this order a listed video is whole."""
        self._kind.place(record, folder)
        shutil.rmtree(folder, ignore_errors=True)
        assert self._manifest is not None  # open since `begin`
        csv.writer(self._manifest, lineterminator="\n").writerow(astuple(record))
        self._manifest.flush()

    def add_failure(self, source: Source, reason: str) -> None:
        """Append a line to failed.csv."""
        with naming(self.root / FAILED):
            if self._failed is None:
                self._failed = (self.root / FAILED).open("w", encoding="utf-8", errors="surrogateescape", newline="")
                csv.writer(self._failed, lineterminator="\n").writerow(["video", "path", "reason"])
            csv.writer(self._failed, lineterminator="\n").writerow([source.id, source.path, reason])
            self._failed.flush()

    def close(self) -> None:
        """Close the tables and remove what was not finished."""
        self._kind.close()
        for file in (self._manifest, self._failed):
            if file is not None:
                with suppress(OSError):  # of a full disk, which was told when the row was written
                    file.close()
        shutil.rmtree(self.root / PARTIAL, ignore_errors=True)
