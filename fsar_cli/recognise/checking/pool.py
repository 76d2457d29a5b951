"""Where the clips come from: the split of a run's data set, or a folder DIR/CLASS/clip.mp4 of a user's own examples.

The clips of a folder are read as those of a data set are: indexed into a frame store that lives as long as the check
and holds no pictures; frames are decoded from the files themselves.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fsar_cli.config import Config, ExtractConfig
from fsar_cli.data.clips import ClipReader
from fsar_cli.data.splits import Splits, Video
from fsar_cli.data.store.extraction import extract
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.records import MANIFEST
from fsar_cli.data.store.sources import Source, find_videos
from fsar_cli.data.video import printable
from fsar_cli.errors import DataError
from fsar_cli.files import cores, scratch
from fsar_cli.reporting import SILENT, Reporter

INDEX_BYTES = 256 * 2**10
"""Room for the index of a clip, which takes a few kilobytes."""


@dataclass
class Pool:
    """Clips by class."""

    name: str
    """What they are, for titles."""
    videos: tuple[str, ...]
    """Ids in the reader's store, sorted by class and id."""
    labels: np.ndarray
    """int64 [V]"""
    classes: tuple[str, ...]
    reader: ClipReader | None
    """None: of what is enrolled there are features alone."""
    unreadable: dict[str, tuple[str, str]] = field(default_factory=dict)
    """{video: (class, reason)} of clips that are not in `videos`, as they cannot be read."""

    @property
    def rows(self) -> list[Video]:
        """The clips that can be read."""
        return [Video(self.classes[c], video) for video, c in zip(self.videos, self.labels, strict=True)]

    @property
    def pictures(self) -> ClipReader:
        """The reader of clips that are not enrolled."""
        assert self.reader is not None
        return self.reader

    def without(self, reasons: dict[str, str]) -> "Pool":
        """The pool without clips that turned out to be unreadable: {video: reason}."""
        lost = {row.id: (row.cls, reasons[row.id]) for row in self.rows if row.id in reasons}
        kept = [row for row in self.rows if row.id not in reasons]
        return make_pool(self.name, kept, self.pictures, {**self.unreadable, **lost})


def make_pool(name: str, rows: list[Video], reader: ClipReader, unreadable: dict[str, tuple[str, str]]) -> Pool:
    """A pool of videos.

    Raises:
        DataError: fewer than two classes, between which nothing could be mistaken.
    """
    rows = sorted(rows)
    classes = tuple(dict.fromkeys(row.cls for row in rows))
    if len(classes) < 2:
        lost = f"; {len(unreadable)} clips cannot be read" if unreadable else ""
        raise DataError(
            f"{name} has clips of {f'one class, {classes[0]}' if classes else 'no class'}{lost}",
            "two classes or more are needed: DIR/CLASS/clip.mp4, a folder for each class",
        )
    labels = np.array([classes.index(row.cls) for row in rows])
    return Pool(name, tuple(row.id for row in rows), labels, classes, reader, unreadable)


def pool_of_split(config: Config) -> Pool:
    """The clips of `eval.split` of a configuration's data set.

    Raises:
        DataError: no such files or split.
    """
    split, store = config.eval.split, FrameStore(config.data.frames)
    rows = Splits.read(config.data.splits).videos(split)
    lost = {row.id: (row.cls, f"not in {store.root}") for row in rows if row.id not in store}
    there = [row for row in rows if row.id in store]
    return make_pool(f"split '{split}' of {config.data.name}", there, ClipReader(store, config.clip), lost)


@contextmanager
def pool_of_folder(folder: Path, config: Config, reporter: Reporter = SILENT) -> Iterator[Pool]:
    """The clips of DIR/CLASS/clip.mp4, which can be read as long as the context lasts.

    Raises:
        DataError: no videos, or of one class only.
    """
    sources = _sources(folder, reporter)
    with scratch("support", len(sources) * INDEX_BYTES, reporter.warn) as place:
        out, settings = place / "frames", ExtractConfig(short_side=config.clip.short_side, store="videos")
        result = extract(sources, out, settings, min(cores(8), len(sources)), _Quietly(reporter))
        reasons = {path: reason for path, reason in result.failed}
        lost = {s.id: (s.label, reasons[s.path]) for s in sources if s.path in reasons}
        kept = [Video(s.label, s.id) for s in sources if s.path not in reasons]
        if not kept or not (out / MANIFEST).is_file():
            raise DataError(f"no clip of {printable(folder)} can be read: {next(iter(reasons.values()))}")
        yield make_pool(printable(folder), kept, ClipReader(FrameStore(out), config.clip), lost)


def _sources(folder: Path, reporter: Reporter) -> list[Source]:
    found = find_videos([folder])
    if found.left_out():
        reporter.warn(found.left_out())
    empty = sorted(
        {path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")}
        - {source.label for source in found.sources}
    )
    if empty:
        reporter.warn(f"no videos in {', '.join(map(printable, empty))}")
    return found.sources


class _Quietly:
    """The extraction's progress without its words: what cannot be read is a result here, told once, at its place."""

    def __init__(self, reporter: Reporter) -> None:
        self.track, self.detail = reporter.track, reporter.detail

    def log(self, text: str) -> None:
        pass

    warn = log
