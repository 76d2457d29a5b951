"""One connection to a live source: opened, read frame by frame, and given up at once when it is asked to.

FFmpeg waits inside its own calls and asks now and then whether it should go on: PyAV answers by its module's clock.
That clock is ours here, and leaps for a thread whose patience is over, which ends whatever the thread waits for.
Were PyAV to ask in another way one day, its own limits, which are set as well, would end the wait later.
"""

import errno
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import cast

import av
import av.container.core
import av.error
import av.format
from av.video.stream import VideoStream

from fsar_cli.data.video.live.addresses import CAMERA, cameras, dialling, masked
from fsar_cli.data.video.opening import check_size, main_stream
from fsar_cli.data.video.reading import ticks
from fsar_cli.data.video.shown import as_shown
from fsar_cli.errors import DataError, listed

UNTIMED = ("mpjpeg", "mjpeg", "mjpeg_2000")
"""Inputs whose stamps are made up from an assumed rate: what tells the time is when a frame comes."""
LEAP = 1e9


class _LeapingTime:
    """The module `time`, but for threads whose patience is over the clock leaps on at each look."""

    def __init__(self) -> None:
        self.thread = threading.local()

    def monotonic(self) -> float:
        is_over = getattr(self.thread, "is_over", None)
        if is_over is None or not is_over():
            return time.monotonic()
        leaps: int = getattr(self.thread, "leaps", 0) + 1
        self.thread.leaps = leaps
        return time.monotonic() + LEAP * leaps

    def __getattr__(self, name: str) -> object:
        return getattr(time, name)


_TIME = _LeapingTime()
av.container.core.time = _TIME  # type: ignore[attr-defined]  # a stub names no imports


class Patience:
    """How long a thread waits: until a time that is put off as frames come, or until it is told to stop."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._until = math.inf
        self.stopped = threading.Event()

    def __enter__(self) -> "Patience":
        """What this thread waits for in FFmpeg ends with its patience."""
        _TIME.thread.is_over = self.is_over
        return self

    def __exit__(self, *_: object) -> None:
        _TIME.thread.is_over = None

    def last(self, seconds: float) -> None:
        """Wait so long from now on."""
        self._until = self._monotonic() + seconds

    def is_over(self) -> bool:
        """Whether to give up."""
        return self.stopped.is_set() or self._monotonic() > self._until


class Connection:
    """A context manager; of the thread that makes it.

    Args:
        address: as `is_live` knows it; what is told of it is masked.
        connect_timeout: seconds until the source must have answered.
        stall: seconds without data after which FFmpeg itself gives up, should `patience` not be asked.
        threads: of the decoder. They share one picture, so that none is held back.

    Raises:
        DataError: what went wrong, in words.
    """

    def __init__(self, address: str, patience: Patience, connect_timeout: float, stall: float, threads: int) -> None:
        self._name, self._patience, self._stall = masked(address), patience, stall
        how = dialling(address, stall, min(5.0, connect_timeout / 2))
        patience.last(connect_timeout)
        try:
            self._container = av.open(
                how.file, format=how.format, options=how.options, timeout=(connect_timeout, stall)
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            late = patience.is_over() and not patience.stopped.is_set()
            raise self._error(*_in_words(error, address, connect_timeout, late)) from None
        try:
            self._stream = self._picture_stream()
        except DataError:
            self._container.close()
            raise
        self._stream.codec_context.thread_count, self._stream.thread_type = threads, "SLICE"

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    @property
    def finite(self) -> bool:
        """Whether it is a file that a server hands out: it has a length, ends, and waits for who reads it."""
        kind = self._container.format.name
        lasting = kind in UNTIMED or (kind == "hls" and not self._container.duration)
        return self._container.size > 0 and not lasting

    @property
    def timed(self) -> bool:
        """Whether its stamps can be believed."""
        kind = self._container.format
        stampless = av.format.Flags.no_timestamps.value
        return kind.name not in UNTIMED and not kind.flags & stampless  # type: ignore[operator]  # a number, not a flag

    def frames(self) -> Iterator[av.VideoFrame | None]:
        """Decoded frames, ready to be scaled; None for each piece that gave no good one.

        Ends where the source ends. Raises DataError where it breaks off or stalls, after the last frame.
        """
        prepared = as_shown(self._container, self._stream)
        for decoded in self._decoded():
            if decoded is None or decoded.is_corrupt:
                yield None
            else:
                yield prepared(decoded)

    def stamp(self, frame: av.VideoFrame) -> float | None:
        """A frame's seconds by the source's clock."""
        return None if frame.pts is None else float(frame.pts * ticks(self._stream))

    def _decoded(self) -> Iterator[av.VideoFrame | None]:
        failure = None
        demuxed = cast("Generator[av.Packet[VideoStream], None, None]", self._container.demux())  # its stubs say less
        with closing(demuxed) as packets:  # of sound, too, so that patience is looked at
            try:
                for packet in packets:
                    if self._patience.is_over():
                        break
                    if packet.stream.index == self._stream.index:
                        yield from self._frames_in(packet)
            except (av.FFmpegError, OSError) as error:
                failure = f"broke off ({_cause(error)})"
        if self._patience.stopped.is_set():
            return
        if self._patience.is_over():
            raise StalledError(f"{self._name}: no picture in {self._stall:g} s")
        if failure:
            yield from self._frames_in(None)
            raise self._error(failure)

    def _frames_in(self, packet: "av.Packet[VideoStream] | None") -> Sequence[av.VideoFrame | None]:
        """None: those that the decoder holds back."""
        try:
            return self._stream.codec_context.decode(packet)
        except av.FFmpegError:
            return [] if packet is None else [None]

    def _picture_stream(self) -> VideoStream:
        stream = main_stream(self._container)
        if stream is None:
            sound = "has sound but no picture" if self._container.streams.audio else "has no picture"
            raise self._error(sound)
        check_size(self._name, stream.codec_context.width, stream.codec_context.height)
        return stream

    def _error(self, reason: str, hint: str = "") -> DataError:
        return DataError(f"{self._name}: {reason}", hint)


class StalledError(DataError):
    """A live source is connected and sends no picture."""


LOGIN = "write them before the host, as in rtsp://USER:PASSWORD@HOST/..., with @ / ? # : of a password as %40 and so on"
_WORDS: dict[type[Exception], tuple[str, str]] = {
    av.error.ConnectionRefusedError: ("refuses the connection", "check host and port, and that the source runs"),
    av.error.HTTPUnauthorizedError: ("wants another user name or password (401)", LOGIN),
    av.error.HTTPForbiddenError: ("does not allow this (403)", LOGIN),
    av.error.HTTPNotFoundError: ("has no such stream (404)", "check what comes after the host"),
    av.error.InvalidDataError: ("sends nothing that can be read as video", "check what comes after the host"),
    av.error.EOFError: ("ends without a picture", "check that the source runs"),
    av.error.ProtocolNotFoundError: ("is of a kind that this build of FFmpeg cannot read", ""),
}


def _in_words(error: Exception, address: str, seconds: float, late: bool) -> tuple[str, str]:
    """(reason, hint) of a connection that did not come about."""
    if CAMERA.fullmatch(address):
        there = cameras()
        reason = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be opened ({_cause(error)})"
        return reason, f"there are {listed(there)}" if there else "this machine has no camera, or none that may be seen"
    if late or isinstance(error, av.error.ExitError | TimeoutError):
        return f"no answer in {seconds:g} s", "check the host, and that nothing between bars the way"
    if getattr(error, "errno", None) == errno.EIO:  # FFmpeg says no more of either
        return "cannot be reached, or sends no video", "check the host and what comes after it"
    known = next((words for kind, words in _WORDS.items() if isinstance(error, kind)), None)
    return known or (f"cannot be reached ({_cause(error)})", "check the address")


def _cause(error: Exception) -> str:
    """An error without the address that FFmpeg puts into it."""
    return masked(getattr(error, "strerror", None) or type(error).__name__)
