"""The demo set on disk: `videos/CLASS/CLASS_0001.mp4`, and `boxes.csv`: where the action is in every frame."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from fsar_cli.data.video import VideoWriter
from fsar_cli.errors import DataError, UsageError
from fsar_cli.files import write_rows
from fsar_cli.reporting import SILENT, Reporter
from fsar_cli.tools.demo.scenes.actions import action_class
from fsar_cli.tools.demo.scenes.render import render_clip
from fsar_cli.tools.demo.scenes.scene import HEIGHT, WIDTH

BOXES = "boxes.csv"
QUALITY = 23  # x264 crf: sensor noise makes lower values twice as large and slow, to no visible gain
CORNERS = ["x0", "y0", "x1", "y1"]
COLUMNS = ["video", "frame", *CORNERS]


def render_set(
    root: Path, clips: Mapping[str, int], *, seed: int, first: int = 1, workers: int = 1, reporter: Reporter = SILENT
) -> list[Path]:
    """Render clips of several classes; every file appears whole or not at all.

    Args:
        root: receives `videos/` and `boxes.csv`; existing clips of the same names are replaced.
        clips: class name -> number of clips. Clip k of a class is the same whatever else is asked for.
        first: number of the first clip of each class.
        workers: processes; the files do not depend on it.

    Returns:
        The video files, by class in the order of `clips`, then by number.

    Raises:
        UsageError: an unknown class or a negative number. DataError: a file cannot be written.
    """
    jobs = _jobs(clips, first)
    for name in dict.fromkeys(name for name, _ in jobs):
        (root / "videos" / name).mkdir(parents=True, exist_ok=True)
    boxes: dict[str, np.ndarray] = {}
    with reporter.track("rendering", len(jobs), "clips") as task:
        for video, found in _run(partial(_write_clip, root, seed), jobs, workers):
            boxes[video] = found
            task.advance()
    write_boxes(root / BOXES, boxes)
    return [root / "videos" / f"{video}.mp4" for video in boxes]


def _jobs(clips: Mapping[str, int], first: int) -> list[tuple[str, int]]:
    for name, count in clips.items():
        action_class(name)
        if count < 0:
            raise UsageError(f"cannot render {count} clips of '{name}'; the number must not be negative")
    return [(name, number) for name, count in clips.items() for number in range(first, first + count)]


def _run(write, jobs: list[tuple[str, int]], workers: int) -> Iterator[tuple[str, np.ndarray]]:
    """Results in the order of `jobs`."""
    workers = min(workers, len(jobs))
    if workers <= 1:
        yield from map(write, jobs)
        return
    # spawn: a fork of a process that has used torch may hang.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield from pool.map(write, jobs, chunksize=4)
    finally:
        pool.shutdown(cancel_futures=True)


def _write_clip(root: Path, seed: int, job: tuple[str, int]) -> tuple[str, np.ndarray]:
    name, number = job
    video = f"{name}/{name}_{number:04d}"
    clip = render_clip(name, int(np.random.SeedSequence([seed, number]).generate_state(1)[0]))
    with VideoWriter(root / "videos" / f"{video}.mp4", WIDTH, HEIGHT, clip.fps, crf=QUALITY) as writer:
        for frame in clip.frames:
            writer.write(frame)
    return video, clip.boxes


def write_boxes(path: Path, boxes: Mapping[str, np.ndarray]) -> None:
    """Write boxes float32 [T,4] by video id (x0 y0 x1 y1, source pixels) as one row per frame; atomic."""
    rows = ([video, i, *(f"{float(v):g}" for v in box)] for video, some in boxes.items() for i, box in enumerate(some))
    write_rows(path, COLUMNS, rows)


def read_boxes(path: Path) -> dict[str, np.ndarray]:
    """Read `boxes.csv`: video id -> float32 [T,4], x0 y0 x1 y1 in source pixels of each frame.

    Raises:
        DataError: missing or unreadable file, other columns, frames not counted from 0 without gaps.
    """
    try:
        table = pd.read_csv(path)
        if list(table) != COLUMNS:
            raise DataError(f"{path}: the first line must be {','.join(COLUMNS)}")
        wrong = table.frame != table.groupby("video").cumcount()
        if wrong.any():
            row = wrong.idxmax()
            raise DataError(f"{path}, line {row + 2}: frame {table.frame[row]} of {table.video[row]} is out of order")
        videos = table.groupby("video", sort=False)[CORNERS]
        return {str(video): rows.to_numpy(np.float32) for video, rows in videos}
    except OSError as error:
        raise DataError(f"cannot read the boxes {path}: {error.strerror}", "`fsar demo` renders the set") from error
    except ValueError as error:
        raise DataError(f"{path} is not a table of boxes: {error}") from error
