"""Frames of a video by index and by time.

Where the container keeps an index (MP4, Matroska), all stamps are known without decoding: the reader seeks to the key
frame before each frame asked for and takes the one with exactly that stamp. If any does not turn up, or the file is no
such container, it decodes from the start: slower, and the truth by definition.
"""

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np

from fsar_cli.data.video.cutting import iter_frames
from fsar_cli.data.video.faults import translated, video_error
from fsar_cli.data.video.picture import Picture
from fsar_cli.data.video.reading import count_frames, cut_off, open_video, timed_frames
from fsar_cli.errors import UsageError

SEEK_FROM = 64  # below this frame, decoding from the start costs less than reading the index
SEEKABLE = ("mp4", "matroska")


def read_frames(path: Path | str, indices: Sequence[int], short_side: int | None = None) -> np.ndarray:
    """The pictures with these 0-based indices, in the order asked for; repeats are allowed.

    Seeks where the container's index can be trusted, and decodes from the start elsewhere.

    Returns:
        uint8 RGB [T, h, w, 3].

    Raises:
        DataError: as `iter_frames`, or an index the video does not have.
    """
    wanted = sorted(set(map(int, indices)))
    if not wanted or wanted[0] < 0:
        raise UsageError(f"frame indices must be 0 or more and at least one, not {list(indices)}")
    found = _seek_frames(path, wanted, short_side) if wanted[-1] >= SEEK_FROM else None
    if found is None:
        last, chosen = wanted[-1], set(wanted)
        frames = iter_frames(path, short_side, keep=lambda index, _: index in chosen)
        found = dict(zip(wanted, (picture for _, picture in itertools.islice(frames, len(wanted))), strict=False))
        if last not in found:
            raise video_error(path, f"frame {last} does not exist: the video has {count_frames(path)} frames")
    return np.stack([found[int(index)] for index in indices])


def read_times(path: Path | str, seconds: Sequence[float], short_side: int | None = None) -> np.ndarray:
    """The pictures on screen at these seconds after the first frame (the last one beyond the end).

    Returns:
        uint8 RGB [T, h, w, 3].

    Raises:
        DataError: as `iter_frames`.
    """
    if not len(seconds) or not all(math.isfinite(second) and second >= 0 for second in seconds):
        raise UsageError(f"times must be finite, 0 or more and at least one, not {list(seconds)}")
    times = frame_times(path)
    # Half a microsecond of grace: 0.1 asked for must find a frame stamped 0.09999999.
    return read_frames(path, [max(0, bisect_right(times, second + 5e-7) - 1) for second in seconds], short_side)


def frame_times(path: Path | str) -> list[float]:
    """Seconds since the first frame of every frame; from the container's index where it can be trusted."""
    with open_video(path) as (container, stream):
        timeline = _timeline(path, container, stream)
        if timeline is not None:
            stamps = timeline[0]
            return [float((stamp - stamps[0]) * stream.time_base) for stamp in stamps]
    with open_video(path) as (container, stream):
        return [seconds for seconds, _ in timed_frames(path, container, stream)]


def _timeline(path: Path | str, container, stream) -> tuple[list[int], list[int]] | None:
    """Sorted stamps of all frames and of the key frames, without decoding; None where they cannot be trusted."""
    if not any(name in container.format.name for name in SEEKABLE):
        return None
    stamps, keys = [], []
    with translated(path):
        for packet in container.demux(stream):
            if not packet.size:
                continue
            if packet.pts is None or packet.is_discard or packet.is_corrupt:
                return None
            stamps.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
    # Frames before the first key frame cannot be decoded, so indices would be shifted.
    if not keys or keys[0] != min(stamps) or len(set(stamps)) < len(stamps) or cut_off(container, stream, 0):
        return None
    return sorted(stamps), sorted(keys)


def _seek_frames(path: Path | str, wanted: list[int], short_side: int | None) -> dict[int, np.ndarray] | None:
    """Index -> picture by seeking; None where any frame was not found by its exact stamp."""
    picture, found = Picture(path, short_side), {}
    with open_video(path) as (container, stream):
        timeline = _timeline(path, container, stream)
        if timeline is None or wanted[-1] >= len(timeline[0]):
            return None
        stamps, keys = timeline
        reached, frames = None, iter(())
        for index in wanted:
            key = keys[bisect_right(keys, stamps[index]) - 1]
            if reached is None or key > reached:
                frames = _from_key(container, stream, key)
            frame = next((f for f in frames if f.pts >= stamps[index]), None)
            if frame is None or frame.pts != stamps[index]:
                return None
            reached, found[index] = frame.pts, picture(frame)
    return found


def _from_key(container, stream, key: int) -> Iterator[av.VideoFrame]:
    """Frames from the key frame with stamp `key` on; nothing more where decoding fails."""
    try:
        container.seek(key, stream=stream)
        frames = itertools.dropwhile(lambda frame: not frame.key_frame, container.decode(stream))
        for frame in frames:
            if frame.is_corrupt or frame.pts is None:
                return
            yield frame
    except av.FFmpegError:
        return
