"""The frames of a stretch of a video, without decoding what lies before it where that gives the very same frames.

The rule is a decode from the start of which only a stretch is kept. To be quicker, the reader seeks to the last key
frame before the stretch and decodes on. It believes what it gets only as far as
- the clock runs forward and a seek does not change it: by an MP4's own index, else by reading the packets from the
  start as well, without decoding (MPEG program streams estimate stamps from what came before);
- from the key frame on, every packet turns into its frame, in the order of the stamps. Where frames refer to what was
  before the seek (periodic intra refresh), the decoder withholds them, and that shows.
Damage before the stretch is not noticed, and does not reach into it.
From the first doubt on (no stamps, as in AVI with B-frames, damage, lost frames, a file that is cut off) the rule is
followed to the letter: slower, and the truth by definition.
"""

import heapq
import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal, overload

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from fsar_cli.data.video.opening import open_video, video_error
from fsar_cli.data.video.picture import FrameScaler, Planes
from fsar_cli.data.video.reading import WINDOW, Keep, good_frames, ticks, timed_frames
from fsar_cli.data.video.shown import as_shown
from fsar_cli.data.video.truncation import cut_off
from fsar_cli.errors import DataError

Mark = tuple[int | None, int | None, int]
"""A packet's stamp, place in the file and size, by which it is known again."""
REORDER = 16
"""Frames may be shown so many places after they are stored (the most that H.264 and HEVC allow)."""


class _Inexact(Exception):
    """Seeking might not give what decoding from the start gives."""


@overload
def iter_frames(
    path: Path | str,
    short_side: int | None = None,
    keep: Keep | None = None,
    threads: int = 0,
    start: float = 0.0,
    end: float | None = None,
    planes: Literal[False] = False,
) -> Iterator[tuple[float, np.ndarray]]: ...
@overload
def iter_frames(
    path: Path | str,
    short_side: int | None = None,
    keep: Keep | None = None,
    threads: int = 0,
    start: float = 0.0,
    end: float | None = None,
    *,
    planes: Literal[True],
) -> Iterator[tuple[float, np.ndarray | Planes]]: ...
def iter_frames(
    path: Path | str,
    short_side: int | None = None,
    keep: Keep | None = None,
    threads: int = 0,
    start: float = 0.0,
    end: float | None = None,
    planes: bool = False,
) -> Iterator[tuple[float, np.ndarray | Planes]]:
    """Decode a video, or the stretch of it with start <= seconds < end; memory does not grow with its length.

    Args:
        path: a file, or an address such as `rtsp://...`.
        short_side: pixels of the shorter side of the pictures; None: as stored.
        keep: `keep(index, seconds)`; frames it refuses are decoded but neither converted nor yielded. The index counts
            from the first frame of the stretch.
        threads: decoder threads; 0: as many as suit the machine.
        start, end: seconds since the video's first frame.
        planes: pictures are for a JPEG: they may come as its `Planes`, which costs less than RGB.

    Yields:
        Seconds since the video's first frame (strictly increasing) and the upright picture, uint8 RGB [h, w, 3].

    Raises:
        DataError: as `probe`; also after the last good frame of a damaged or cut-off file, and where no frame lies in
            the stretch.
    """
    picture = FrameScaler(path, short_side)
    if start > 0:  # all clips of a video have the size of its first frame
        with open_video(path, threads=1) as (container, stream):
            picture(next(good_frames(path, container, stream)))
    for index, (seconds, frame) in enumerate(frames_between(path, threads, start, end)):
        if keep is None or keep(index, seconds):
            yield seconds, picture.planes(frame) if planes else picture(frame)


def frames_between(
    path: Path | str, threads: int = 0, start: float = 0.0, end: float | None = None
) -> Iterator[tuple[float, av.VideoFrame]]:
    """(seconds since the video's first frame, frame) for start <= seconds < end. Raises DataError as `iter_frames`."""
    seconds, any_frame = 0.0, False
    for seconds, frame in _frames_from(path, threads, start):
        if end is not None and seconds >= end:
            break
        if seconds >= start:
            any_frame = True
            yield seconds, frame
    if not any_frame:
        stretch = f"from {start:g} s on" if end is None else f"between {start:g} s and {end:g} s"
        whole = f"; its last comes after {seconds:.1f} s" if seconds < start else ""
        raise video_error(path, f"has no frame {stretch}{whole}")


def _frames_from(path: Path | str, threads: int, start: float) -> Iterator[tuple[float, av.VideoFrame]]:
    """Timed frames, at least those from `start` on: found by seeking for as long as that is exact, else decoded."""
    reached = -1.0
    if start > 0:
        try:
            for reached, frame in _sought(path, threads, start):
                yield reached, frame
            return
        except (_Inexact, av.FFmpegError, DataError):
            pass  # what is wrong with the file, if anything, comes to light below
    with open_video(path, threads) as (container, stream):
        timed = timed_frames(path, container, stream)
        yield from ((seconds, frame) for seconds, frame in timed if seconds > reached)


def _sought(path: Path | str, threads: int, start: float) -> Iterator[tuple[float, av.VideoFrame]]:
    """Timed frames from the last key frame before `start` on. Raises _Inexact from the first doubt on."""
    with open_video(path, threads) as (container, stream):
        opening = itertools.islice(good_frames(path, container, stream), WINDOW + 1)
        first = min(_stamp(frame) for frame in opening)
        wanted = first + math.floor(Fraction(start) / ticks(stream))
        place, key = _key_before(container, stream, wanted, first)
        indexed = _indexed(container, stream)
        if key.pos is None and not indexed:
            raise _Inexact
        walk = None if indexed else _walk(path, key)
        prepared = as_shown(container, stream)
        for frame in _decoded(container, stream, place, key, walk):
            yield float((_stamp(frame) - first) * ticks(stream)), prepared(frame)
        if cut_off(container, stream, 0):
            raise _Inexact


def _key_before(
    container: InputContainer, stream: VideoStream, stamp: int, first: int
) -> "tuple[int, av.Packet[VideoStream]]":
    """(where to seek to, packet of the key frame found there) for a key frame not after `stamp`."""
    back, second = 0, math.ceil(1 / ticks(stream))
    while stamp - back > first:
        container.seek(stamp - back, stream=stream)
        key = next((packet for packet in container.demux(stream) if packet.is_keyframe), None)
        if key is not None and key.pts is not None and key.pts <= stamp:
            return stamp - back, key
        back = max(second, 2 * back)
    raise _Inexact


def _indexed(container: InputContainer, stream: VideoStream) -> bool:
    """Whether the container itself lists all frames in growing order of time."""
    entries = [entry.timestamp for entry in stream.index_entries] if "mp4" in container.format.name else []
    return 0 < stream.frames == len(entries) and all(a < b for a, b in itertools.pairwise(entries))


def _stamp(packet: "av.Packet[VideoStream] | av.VideoFrame") -> int:
    """When a packet or frame is shown. Raises _Inexact: it does not say."""
    if packet.pts is None:
        raise _Inexact
    return packet.pts


def _mark(packet: "av.Packet[VideoStream]") -> Mark:
    return packet.pts, packet.pos, packet.size


def _walk(path: Path | str, key: "av.Packet[VideoStream]") -> Iterator[Mark]:
    """The packets from `key` on as they come without a seek, nothing decoded.

    Raises _Inexact unless all stamps from the start on exist, differ and can be put in order.
    """
    waiting: list[int] = []
    since: list[Mark] = []
    shown, begin = -math.inf, _stamp(key)
    with open_video(path, threads=1) as (container, stream):
        for packet in itertools.chain(container.demux(stream), itertools.repeat(None, REORDER)):
            if packet is not None and packet.size:
                if packet.pts is None or packet.is_corrupt:
                    raise _Inexact
                heapq.heappush(waiting, packet.pts)
                if since or shown >= begin or _mark(packet) == _mark(key):
                    since.append(_mark(packet))
            if waiting and (packet is None or len(waiting) > REORDER):
                if waiting[0] <= shown:
                    raise _Inexact
                shown = heapq.heappop(waiting)
            if shown >= begin:
                yield from since
                since.clear()


def _decoded(
    container: InputContainer,
    stream: VideoStream,
    place: int,
    key: "av.Packet[VideoStream]",
    walk: Iterator[Mark] | None,
) -> Iterator[av.VideoFrame]:
    """The frames from `key` on after a seek to `place`; those of an open group that come before it are not."""
    container.seek(place, stream=stream)
    due: list[int] = []
    begin = _stamp(key)
    shown, begun = begin - 1, False
    for packet in container.demux(stream):
        if packet.size and not packet.is_discard:
            if packet.pts is None or packet.is_corrupt:
                raise _Inexact
            if packet.pts >= begin:
                heapq.heappush(due, packet.pts)
        begun = begun or packet.pts == begin
        if walk and begun and packet.size and _mark(packet) != next(walk, None):
            raise _Inexact
        for frame in packet.decode():
            stamp = _stamp(frame)
            if stamp >= begin:
                if frame.is_corrupt or not due or stamp != heapq.heappop(due) or stamp <= shown:
                    raise _Inexact
                if stamp == begin and not frame.key_frame:
                    raise _Inexact
                shown = stamp
                yield frame
    if due:
        raise _Inexact
