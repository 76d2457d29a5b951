"""A video file -> one that any browser plays, on the clock of `iter_frames`: H.264, yuv420p, MP4, times from 0 on.

A file that is all that already is linked (or copied, on another disk); others are encoded anew, without their sound. A
file that starts late, is turned, cut by its container or damaged at its end would run on another clock, or look
otherwise, in a browser than in a scan, so it counts as another.
"""

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fsar_cli.data.video.cutting import iter_frames
from fsar_cli.data.video.opening import open_video
from fsar_cli.data.video.picture import UPRIGHT, turn_of
from fsar_cli.data.video.reading import WINDOW, good_frames, probe
from fsar_cli.data.video.truncation import cut_off
from fsar_cli.data.video.writing import VideoWriter
from fsar_cli.errors import DataError
from fsar_cli.files import atomic
from fsar_cli.reporting import SILENT, Reporter

SHORT_SIDE = 640
CRF = 23
KEY_EVERY = 2.0
"""Seconds from key frame to key frame: a seek decodes no more than these."""
Timed = tuple[float, np.ndarray]


@dataclass(frozen=True)
class Playable:
    """What a browser plays."""

    path: Path
    shown: tuple[float, float] = (1.0, 1.0)
    """Share of its (width, height) that is the source's picture, from the top left: odd sizes are padded by a pixel."""
    fault: str = ""
    """Why it ends before its source does; empty where it does not."""


def make_playable(source: Path, target: Path, short_side: int = SHORT_SIDE, reporter: Reporter = SILENT) -> Playable:
    """Make `target` a video that browsers play and whose times are those that `iter_frames` gives for `source`.

    Args:
        source: a video file.
        target: ends in .mp4; its folder exists. What is there is replaced.
        short_side: pixels; pictures that are larger are made smaller where they have to be encoded.

    Raises:
        DataError: the source has no readable frame, or the target cannot be written.
    """
    if plays_as_it_is(source):
        _link(source, target)
        return Playable(target)
    return _encode(source, target, short_side, reporter)


def plays_as_it_is(path: Path) -> bool:
    """Whether browsers show a file as `iter_frames` does: format, size, turn and times. Raises DataError as `probe`."""
    with open_video(path, threads=1) as (container, stream):
        frames = list(itertools.islice(good_frames(path, container, stream), WINDOW + 1))
        stamps = [-1 if frame.pts is None else frame.pts for frame in frames]
        facts = stream.codec_context
        return (
            "mp4" in container.format.name
            and container.metadata.get("major_brand", "").strip() not in ("", "qt")
            and (facts.name, frames[0].format.name) == ("h264", "yuv420p")
            and len(container.streams.video) == 1
            and min(stamps) == 0 == (container.start_time or 0)
            and turn_of(frames[0]) == UPRIGHT
            and (frames[0].width, frames[0].height) == (facts.width, facts.height)
            and not cut_off(container, stream, 0)
        )


def _link(source: Path, target: Path) -> None:
    if target.exists() and target.samefile(source):
        return
    target.unlink(missing_ok=True)
    with suppress(OSError):  # another disk, or a file system without links
        os.link(source.resolve(), target)
        return
    with atomic(target) as part:
        shutil.copyfile(source, part)


def _encode(source: Path, target: Path, short_side: int, reporter: Reporter) -> Playable:
    info = probe(source)
    fps = min(max(info.fps, 1.0), 1000.0)
    side = min(short_side, info.width, info.height)
    frames = _until_a_fault(iter_frames(source, side if side < min(info.width, info.height) else None))
    fault, first = next(frames)
    assert first is not None  # of a file without any frame it raises
    seconds, picture = first
    height, width = picture.shape[:2]
    with (
        VideoWriter(target, width, height, fps, CRF, key_every=max(1, round(KEY_EVERY * fps))) as writer,
        reporter.track(f"making {source.name} playable", info.frames, "frames") as task,
    ):
        writer.write(picture, seconds)
        for fault, timed in frames:  # noqa: B007 - the last one is wanted
            if timed is not None:
                writer.write(timed[1], timed[0])
                task.advance()
    return Playable(target, (width / (width + width % 2), height / (height + height % 2)), fault)


def _until_a_fault(frames: Iterator[Timed]) -> Iterator[tuple[str, Timed | None]]:
    """("", frame) of each frame, then (why, None) where the rest cannot be read. Raises DataError without any frame."""
    any_frame = False
    try:
        for frame in frames:
            any_frame = True
            yield "", frame
    except DataError as error:
        if not any_frame:
            raise
        yield error.message, None
