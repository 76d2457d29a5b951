"""A synthetic test set with the shape of a published one: packed frames of few distinct pictures, made in seconds.

Every clip has JPEGs of its own, so reading and decoding cost what they cost with real ones; only what is seen repeats.
Accuracies on it mean nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from fsar_cli.config import ExtractConfig
from fsar_cli.data.splits import Splits
from fsar_cli.data.splits.file import Video
from fsar_cli.data.store.clip import Thinning
from fsar_cli.data.store.filling import StoreWriter, locked
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.packed import PackedFrames
from fsar_cli.data.store.records import Record
from fsar_cli.data.store.sources import Source
from fsar_cli.data.video import scaled_size
from fsar_cli.data.video.picture import to_jpeg
from fsar_cli.reporting import SILENT, Reporter
from fsar_cli.tools.demo.scenes.actions import CLASSES
from fsar_cli.tools.demo.scenes.render import render_clip

FRAMES = 8
"""Stored frames of a clip: what evaluation reads."""
PICTURES = 48
FPS = 8.0


@dataclass(frozen=True)
class SyntheticSet:
    """A frame store and the split file of its videos."""

    store: FrameStore
    splits_file: Path

    @classmethod
    def open(cls, frames: Path, splits_file: Path) -> "SyntheticSet":
        """One that was made before."""
        return cls(FrameStore(frames), splits_file)

    @property
    def splits(self) -> Splits:
        """The split file's content."""
        return Splits.read(self.splits_file)


def make_set(
    root: Path,
    videos: Mapping[str, tuple[int, int]],
    *,
    short_side: int,
    distinct: int | None = None,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> SyntheticSet:
    """Make a store and a split file.

    Args:
        root: an existing folder; receives `frames` and `splits.csv`.
        videos: by split its classes and its videos, spread evenly over them.
        short_side: pixels of the stored frames.
        distinct: video i of a split, in the order of the split file, shows what video i + distinct shows; None: no
            video shows what another shows.
    """
    rows = [(split, video) for split, (classes, count) in videos.items() for video in _names(split, classes, count)]
    splits = Splits(tuple(rows))
    splits.write(root / "splits.csv")
    frames, settings = root / "frames", ExtractConfig(short_side=short_side, store="packed")
    pictures, size = _pictures(short_side, seed)
    sources = [Source(video.id, video.cls, Path(f"{video.id}.mp4")) for _, video in splits.rows]
    shown = {
        video.id: np.random.default_rng([seed, position % (distinct or len(rows))]).integers(0, len(pictures), FRAMES)
        for split in splits.names
        for position, video in enumerate(splits.videos(split))
    }
    with locked(frames), reporter.track("making the test videos", len(sources), "videos") as task:
        store = StoreWriter(frames, settings, overwrite=False)
        try:
            for source in store.begin(sources):
                _add(store, source, [pictures[i] for i in shown[source.id]], size)
                task.advance()
        finally:
            store.close()
    return SyntheticSet(FrameStore(frames), root / "splits.csv")


def bytes_a_video(short_side: int) -> int:
    """About what a video of the store takes on the disk."""
    return FRAMES * (2048 + short_side**2 // 2)


def _names(split: str, classes: int, count: int) -> list[Video]:
    named = [(f"{split}_{number % classes:02d}", number // classes) for number in range(count)]
    return [Video(name, f"{name}/{name}_{index:04d}") for name, index in named]


def _pictures(short_side: int, seed: int) -> tuple[list[bytes], tuple[int, int]]:
    """Distinct rendered pictures as JPEG files, and their (width, height)."""
    names, found = sorted(CLASSES), []
    for number in range(PICTURES // FRAMES):
        clip = render_clip(names[number % len(names)], seed + number).frames
        found += list(clip[np.linspace(0, len(clip) - 1, FRAMES).astype(int)])
    size = scaled_size(found[0].shape[1], found[0].shape[0], short_side)
    scaled = [np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BICUBIC)) for f in found]
    return [to_jpeg(picture, ExtractConfig().quality) for picture in scaled], size


def _add(store: StoreWriter, source: Source, pictures: list[bytes], size: tuple[int, int]) -> None:
    folder = store.root / ".partial" / source.id.replace("/", "-")
    folder.mkdir(parents=True)
    chosen = Thinning()
    for index in range(len(pictures)):
        chosen(index, index / FPS)
    PackedFrames.collect(SimpleNamespace(jpegs=lambda: pictures, chosen=chosen), folder)
    count = len(pictures)
    record = Record(
        source.id, source.label, str(source.path), *size, FPS, count, *size, FPS, count, count / FPS
    )  # fmt: skip
    store.add(record, folder)
