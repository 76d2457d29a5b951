"""A short video of an event: some seconds before and after it, its region drawn while it lasts."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from fsar_cli.data.video.cutting import iter_frames
from fsar_cli.data.video.reading import probe
from fsar_cli.data.video.writing import VideoWriter
from fsar_cli.errors import DataError
from fsar_cli.recognise.events import Event
from fsar_cli.recognise.outputs import one_line
from fsar_cli.render.overlay import draw_box

LONGEST_LABEL = 40
"""Signs of a class's name that the tab shows."""
FASTEST = 240.0
"""Frames a second that a header is believed; each frame has its own time anyway."""


def write_event_clip(video: Path, event: Event, out: Path, before: float = 2.0, after: float = 1.0) -> None:
    """Write an MP4 of an event, whole or not at all; it begins at the first frame from `event.start - before` on.

    Frames keep their times. From the event's start to its end they have a box with the class in its tab: the region,
    interpolated between the moments of the track, or the edge of the picture where the event has no track.

    Args:
        before, after: seconds; what lies outside the video is not there.

    Raises:
        DataError: nothing of the video can be read there, or the clip cannot be written.
        UsageError: `out` is no video's name.
    """
    begin, end = max(0.0, event.start - before), event.end + after
    frames = _up_to_damage(iter_frames(video, start=begin, end=end))
    write_pictures(frames, event, out, probe(video).fps)


def _up_to_damage(frames: Iterator[tuple[float, np.ndarray]]) -> Iterator[tuple[float, np.ndarray]]:
    """Frames as far as they can be read. Raises DataError: none can."""
    some = False
    try:
        for frame in frames:
            some = True
            yield frame
    except DataError:
        if not some:
            raise


def write_pictures(pictures: Iterable[tuple[float, np.ndarray]], event: Event, out: Path, fps: float) -> None:
    """The same of pictures at hand: (seconds, uint8 RGB [h,w,3]) in order; those of another size than the first end it.

    Raises:
        DataError: there are none, or the clip cannot be written.
    """
    frames = iter(pictures)
    if (opening := next(frames, None)) is None:
        raise DataError(f"there are no pictures from {event.start:.1f} to {event.end:.1f} s")
    first, (height, width) = opening[0], opening[1].shape[:2]
    with VideoWriter(out, width, height, min(fps, FASTEST)) as writer:
        for seconds, frame in chain((opening,), frames):
            if frame.shape[:2] != (height, width):
                break
            writer.write(_drawn(frame, event, seconds), seconds - first)


def region_at(event: Event, seconds: float) -> np.ndarray:
    """xyxy in [0, 1] of an event's region at a moment, float64 [4]: between two moments of its track in between.

    Before the first and after the last of them it is theirs; the whole picture without a track.
    """
    if not event.track:
        return np.array([0.0, 0.0, 1.0, 1.0])
    times = [at for at, _ in event.track]
    sides = np.array([box for _, box in event.track], np.float64)
    return np.array([np.interp(seconds, times, side) for side in sides.T])


def _drawn(frame: np.ndarray, event: Event, seconds: float) -> np.ndarray:
    if not event.start <= seconds < event.end:
        return frame
    height, width = frame.shape[:2]
    label = one_line(event.cls)
    label = label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"
    return draw_box(frame, region_at(event, seconds) * [width, height, width, height], label=label)
