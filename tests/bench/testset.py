"""Video files and frame stores for the benchmark: copies of a few rendered clips, each a file of its own.

Every video has JPEGs of its own, so reading, decoding and encoding cost what they cost with real ones; only what is
seen repeats. Accuracies on such a set mean nothing.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fsar_cli.config import ExtractConfig
from fsar_cli.data.splits import Splits
from fsar_cli.data.splits.file import Video
from fsar_cli.data.store.extraction import extract
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.sources import find_videos
from fsar_cli.data.video import VideoWriter
from fsar_cli.files import cores
from fsar_cli.reporting import SILENT, Reporter
from fsar_cli.tools.demo.scenes.actions import CLASSES
from fsar_cli.tools.demo.scenes.render import render_clip

FRAMES = 8
"""Of a video of a set: what evaluation reads."""
DISTINCT, FPS, MAX_WORKERS = 8, 8.0, 8


@dataclass(frozen=True)
class SyntheticSet:
    """A frame store and the split file of its videos."""

    store: FrameStore
    splits_file: Path

    @property
    def splits(self) -> Splits:
        """The split file's content."""
        return Splits.read(self.splits_file)


def make_set(
    root: Path, videos: Mapping[str, tuple[int, int]], short_side: int, seed: int = 0, reporter: Reporter = SILENT
) -> SyntheticSet:
    """Make a store and a split file.

    Args:
        root: an existing folder; receives `videos`, `frames` and `splits.csv`.
        videos: by split its classes and its videos, spread evenly over them.
        short_side: pixels of the stored frames.
    """
    rows = [(split, video) for split, (classes, count) in videos.items() for video in _names(split, classes, count)]
    write_videos(root, [video.id for _, video in rows], seed, FRAMES)
    settings = ExtractConfig(short_side=short_side, store="packed")
    extract(find_videos([root / "videos"]).sources, root / "frames", settings, cores(MAX_WORKERS), reporter)
    Splits(tuple(rows)).write(root / "splits.csv")
    return SyntheticSet(FrameStore(root / "frames"), root / "splits.csv")


def _names(split: str, classes: int, count: int) -> list[Video]:
    named = [(f"{split}_{number % classes:02d}", number // classes) for number in range(count)]
    return [Video(name, f"{name}/{name}_{index:04d}") for name, index in named]


def write_videos(root: Path, ids: list[str], seed: int, frames: int | None = None) -> list[Path]:
    """ROOT/videos/ID.mp4, 320 x 240, the DISTINCT clips in turn; `frames`: so many of each, evenly spread."""
    files = [root / "videos" / f"{name}.mp4" for name in ids]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    for name, file in zip(sorted(CLASSES)[:DISTINCT], files, strict=False):
        pictures = render_clip(name, seed).frames
        pictures = pictures[np.linspace(0, len(pictures) - 1, frames or len(pictures)).astype(int)]
        with VideoWriter(file, pictures.shape[2], pictures.shape[1], FPS) as writer:
            for number, picture in enumerate(pictures):
                writer.write(picture, number / FPS)
    for number, file in enumerate(files[DISTINCT:]):
        shutil.copyfile(files[number % DISTINCT], file)
    return files
