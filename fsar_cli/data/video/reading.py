"""Video files -> pictures with their times, in sequence.

What files do, and what happens here:
- Time is the presentation time stamp (pts), relative to the first frame; the rate in the header is never trusted.
- AVI with packed B-frames hands pts out of order, others repeat or lack some: stamps are sorted over a window of
  `WINDOW` frames, then made strictly increasing. Pictures always come in the decoder's (display) order.
- Phones store turned or mirrored pictures and how to set them right, and some containers a frame to cut pictures to
  (`shown`): both are applied, and all sizes are those of the upright picture. The pixel aspect ratio is not applied,
  as is usual when data sets are extracted.
- Damaged frames are skipped; a run of `MAX_BAD` ends the reading, and a file that was cut off (`truncation`) is an
  error after its last readable frame.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from fsar_cli.data.video.opening import open_video, translated, video_error
from fsar_cli.data.video.picture import turn_of
from fsar_cli.data.video.shown import as_shown
from fsar_cli.data.video.truncation import cut_off
from fsar_cli.errors import DataError

WINDOW = 4
MAX_BAD = 30

Keep = Callable[[int, float], bool]


@dataclass(frozen=True)
class VideoInfo:
    """What the header and the first frame of a video say."""

    width: int
    """Pixels of the upright picture."""
    height: int
    fps: float
    """Average frames a second by the header; 25 where it says nothing."""
    frames: int | None
    """Frames by the header, which may be wrong; `count_frames` counts."""
    duration: float | None
    """Seconds by the header."""
    codec: str
    rotation: int
    """Degrees counter-clockwise by which stored pictures are turned, mirrored or not: 0, 90, 180 or 270."""
    pix_fmt: str


def _fps(stream: VideoStream) -> float:
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate else 25.0


def ticks(stream: VideoStream) -> Fraction:
    """Seconds between the stamps of a stream; a thousandth where its container does not say."""
    return stream.time_base or Fraction(1, 1000)


def good_frames(path: Path | str, container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Good frames in display order, to the last one the decoder holds back."""
    bad = good = packets = 0
    prepared = as_shown(container, stream)
    with translated(path):
        for packet in container.demux(stream):  # ends with the empty packet that flushes the decoder
            packets += bool(packet.size)
            try:
                frames = packet.decode()
            except av.FFmpegError:
                frames, bad = [], bad + 1
            for frame in frames:
                bad = bad + 1 if frame.is_corrupt else 0
                if not frame.is_corrupt:
                    good += 1
                    yield prepared(frame)
            if bad >= MAX_BAD:
                raise video_error(path, f"{bad} frames in a row do not decode (after {good} good ones)")
    if missing := cut_off(container, stream, packets):
        raise video_error(path, f"is cut off: {missing} (its first {good} frames decode)", "get the file again")
    if not good:
        raise video_error(path, "no frame could be decoded")


def _flushed(frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame | None]:
    """The frames, then `WINDOW` times None, and only then the error that ended them."""
    failure = None
    try:
        yield from frames
    except DataError as error:
        failure = error
    yield from [None] * WINDOW
    if failure:
        raise failure


def timed_frames(
    path: Path | str, container: InputContainer, stream: VideoStream
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Frames with strictly increasing seconds since the first; see the module docstring."""
    step = max(1, round(1 / (_fps(stream) * float(ticks(stream)))))
    waiting: deque[av.VideoFrame] = deque()
    stamps: list[int] = []
    first = latest = shown = None
    for frame in _flushed(good_frames(path, container, stream)):
        if frame is not None:
            latest = frame.pts if frame.pts is not None else (0 if latest is None else latest + step)
            heapq.heappush(stamps, latest)
            waiting.append(frame)
        if waiting and (frame is None or len(waiting) > WINDOW):
            stamp = heapq.heappop(stamps)
            first = stamp if first is None else first
            shown = stamp if shown is None else _after(shown, stamp, step)
            yield float((shown - first) * ticks(stream)), waiting.popleft()


def _after(shown: int, stamp: int, step: int) -> int:
    """`stamp` where it grows; a repeated one moves on by a tick, a clock that was set back goes on by a frame."""
    if stamp > shown:
        return stamp
    return shown + (1 if shown - stamp < step else step)


def probe(path: Path | str) -> VideoInfo:
    """Read the header and decode the first frame.

    Raises:
        DataError: missing, empty, a folder, not a video, sound only, too large, or its first frame does not decode.
    """
    with open_video(path, threads=1) as (container, stream):
        frame = next(good_frames(path, container, stream))
        width, height = (frame.height, frame.width) if turn_of(frame).transposed else (frame.width, frame.height)
        seconds: float | Fraction | None = stream.duration * ticks(stream) if stream.duration else None
        if seconds is None and container.duration:
            seconds = container.duration / av.time_base
        return VideoInfo(
            width=width,
            height=height,
            fps=_fps(stream),
            frames=stream.frames or None,
            duration=None if seconds is None else float(seconds),
            codec=stream.codec_context.name,
            rotation=round(frame.rotation / 90) % 4 * 90,
            pix_fmt=frame.format.name,
        )


def count_frames(path: Path | str, threads: int = 0) -> int:
    """Frames that `iter_frames` yields; decodes the whole video but converts nothing."""
    with open_video(path, threads) as (container, stream):
        return sum(1 for _ in good_frames(path, container, stream))
