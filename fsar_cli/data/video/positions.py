"""Where the frames of a clip lie in its video, so that a few of them can be decoded without the others.

Indexing decodes the clip once, as extraction does, and counts: frame `number` is that of the sequential reading, which
is the truth by definition. Each key frame is then tried as an entry: seek there, decode on, and compare every frame,
bit for bit, with what the sequential reading gave. Only entries that pass are kept, so no container has to be trusted:
MP4 and Matroska pass, transport streams and AVI with packed B-frames mostly do not and are decoded from the start.
"""

import itertools
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from fsar_cli.data.video.cutting import frames_between
from fsar_cli.data.video.opening import open_video
from fsar_cli.data.video.picture import FrameScaler
from fsar_cli.data.video.reading import Keep, good_frames
from fsar_cli.errors import DataError

NO_STAMP = -(2**63)
FAR = 5000
"""Frames that are decoded at most to find out how far before a clip a key frame lies."""
LEAD = 64
"""Pictures that may come out before the key frame of an entry: those of an open group that refer to the one before."""


class EntryPoint(NamedTuple):
    """A place where decoding may begin."""

    number: int
    """Of its frame; below 0 where the clip begins within a group of pictures."""
    stamp: int
    """Presentation time stamp to seek to; NO_STAMP: the start of the file."""


class Position(NamedTuple):
    """Where a frame of the clip lies."""

    number: int
    """Counted from the clip's first frame, before any thinning."""
    stamp: int
    """Its presentation time stamp as decoded, in the stream's ticks; NO_STAMP: it has none."""


class FramePositions:
    """Indexes a clip (start <= seconds < end): iterate over `frames` to the end, then ask for `entries`."""

    def __init__(self, path: Path | str, start: float = 0.0, end: float | None = None) -> None:
        self._path, self._start, self._end = path, start, end
        self._stamps, self._sums = array("q"), array("I")
        self._keys: list[int] = []

    def frames(self, keep: Keep) -> Iterator[tuple[float, Position]]:
        """(seconds, position) of the frames that `keep` wants. Raises DataError as `iter_frames`."""
        for number, (seconds, frame) in enumerate(frames_between(self._path, 1, self._start, self._end)):
            stamp = _stamp(frame)
            self._stamps.append(stamp)
            self._sums.append(_checksum(frame))
            if frame.key_frame and stamp != NO_STAMP:
                self._keys.append(number)
            if keep(number, seconds):
                yield seconds, Position(number, stamp)

    def entries(self) -> list[EntryPoint]:
        """The entries from which the clip's frames are decoded right, first to last."""
        entries, end = [], len(self._stamps)
        budget = 2 * end  # frames to decode for trying, or a file full of bad entries would take for ever
        with open_video(self._path, threads=1) as (container, stream):
            for candidate in self._candidates(container, stream):
                good, decoded = self._passes(container, stream, candidate, end)
                budget -= decoded
                if good:
                    entries.append(candidate)
                    end = candidate.number
                if end <= 0 or budget <= 0:
                    break
        if self._start == 0:
            entries.append(EntryPoint(0, NO_STAMP))
        return entries[::-1]

    def _candidates(self, container: InputContainer, stream: VideoStream) -> Iterator[EntryPoint]:
        """Key frames that may be entries, last to first; for a clip from within a video, the one before it as well."""
        first = 1 if self._start == 0 else 0
        yield from (EntryPoint(key, self._stamps[key]) for key in reversed(self._keys) if key >= first)
        if self._start > 0 and self._stamps[0] != NO_STAMP:
            entry = _key_before(self._path, container, stream, self._stamps[0])
            if entry:
                yield entry

    def _passes(self, container: InputContainer, stream: VideoStream, entry: EntryPoint, end: int) -> tuple[bool, int]:
        """Whether the frames from the entry up to `end` come out as in the sequential reading; frames decoded."""
        number = entry.number
        for frame in _from_entry(self._path, container, stream, entry):
            if number >= 0 and (_stamp(frame), _checksum(frame)) != (self._stamps[number], self._sums[number]):
                break
            number += 1
            if number == end:
                return True, number - entry.number
        return False, number - entry.number + 1


def _stamp(frame: av.VideoFrame) -> int:
    return NO_STAMP if frame.pts is None else frame.pts


def _checksum(frame: av.VideoFrame) -> int:
    try:
        pixels = frame.to_ndarray()
    except (ValueError, AssertionError):  # a layout that has no array form, or a size that its form does not take
        pixels = frame.to_rgb().to_ndarray()
    # Of a palette: indices and colours.
    return crc32(b"".join(map(bytes, pixels)) if isinstance(pixels, tuple) else np.ascontiguousarray(pixels).data)


def _key_before(path: Path | str, container: InputContainer, stream: VideoStream, first: int) -> EntryPoint | None:
    """The key frame that seeking to a clip's first frame, by its stamp, finds; counted from that frame."""
    with suppress(av.FFmpegError, DataError):
        container.seek(first, stream=stream)
        frames = itertools.dropwhile(lambda frame: not frame.key_frame, good_frames(path, container, stream))
        stamps = list(itertools.takewhile(lambda stamp: stamp < first, map(_stamp, itertools.islice(frames, FAR))))
        if stamps and len(stamps) < FAR:
            return EntryPoint(-len(stamps), stamps[0])
    return None


def _from_entry(
    path: Path | str, container: InputContainer, stream: VideoStream, entry: EntryPoint
) -> Iterator[av.VideoFrame]:
    """Frames from the entry's on; nothing more where seeking or decoding fails."""
    try:
        if entry.stamp != NO_STAMP:
            container.seek(entry.stamp, stream=stream)
        frames = good_frames(path, container, stream)
        if entry.stamp != NO_STAMP:
            leading = itertools.islice(frames, LEAD)
            first = next((frame for frame in leading if frame.key_frame and frame.pts == entry.stamp), None)
            if first is None:
                return
            yield first
        yield from frames
    except (av.FFmpegError, DataError):
        return


def read_positions(
    path: Path | str, entries: Sequence[EntryPoint], wanted: Sequence[Position], scaler: FrameScaler
) -> dict[int, np.ndarray] | None:
    """Frame number -> picture, decoding from the nearest entry before each; None where a frame did not turn up.

    Args:
        entries, wanted: in growing order.

    Raises:
        DataError: the file cannot be opened.
    """
    numbers = [entry.number for entry in entries]
    pictures: dict[int, np.ndarray] = {}
    if not numbers or wanted[0].number < numbers[0]:
        return None
    with open_video(path, threads=1) as (container, stream):
        number = numbers[0] - 1
        frames: Iterator[av.VideoFrame] = iter(())
        for position in wanted:
            entry = entries[bisect_right(numbers, position.number) - 1]
            if not pictures or entry.number > number:
                number, frames = entry.number - 1, _from_entry(path, container, stream, entry)
            frame = None
            while number < position.number and (frame := next(frames, None)) is not None:
                number += 1
            if frame is None or _stamp(frame) != position.stamp:
                return None
            pictures[position.number] = scaler(frame)
    return pictures
