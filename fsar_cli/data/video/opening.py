"""A video file -> an open container and its picture stream, or a DataError `PATH: reason`.

Pipes, sockets and devices are refused unopened, as reading them might never end; still pictures are no videos.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from fsar_cli.errors import DataError, in_a_line

MAX_SIDE = 16_384
MAX_PIXELS = 100_000_000


def printable(path: Path | str) -> str:
    """A path as text that any terminal and file can take, whatever its bytes are."""
    return os.fsencode(path).decode("utf-8", "replace")


def video_error(path: Path | str, reason: str, hint: str = "") -> DataError:
    """A DataError `PATH: reason`, the form of every message about a video file."""
    return DataError(f"{printable(path)}: {reason}", hint)


def reason_of(error: DataError, path: Path | str) -> str:
    """The reason alone of a `video_error`, whose message is one line where a path may be several."""
    return error.message.removeprefix(in_a_line(f"{printable(path)}: "))


@contextmanager
def translated(path: Path | str, what: str = "not a readable video") -> Iterator[None]:
    """PyAV's exceptions as DataError naming the file and saying what it is or has."""
    try:
        yield
    except av.FFmpegError as error:
        raise video_error(path, f"{what} ({error.strerror})") from error


def check_size(path: Path | str, width: int, height: int) -> None:
    """Raise DataError for pictures too large to be held."""
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        limit = f"at most {MAX_SIDE} pixels a side and {MAX_PIXELS // 10**6} megapixels"
        raise video_error(path, f"declares pictures of {width} x {height}; {limit} are read")


def _check_file(path: Path) -> None:
    try:
        facts = path.stat()
        if stat.S_ISDIR(facts.st_mode):
            raise video_error(path, "is a folder, not a video")
        if not stat.S_ISREG(facts.st_mode):  # opening a pipe would wait for ever
            raise video_error(path, "is a pipe, socket or device, not a file")
        with path.open("rb"):
            pass
    except FileNotFoundError as error:
        raise video_error(path, "no such file") from error
    except OSError as error:
        raise video_error(path, f"cannot be read ({error.strerror})", "check its permissions") from error
    if facts.st_size == 0:
        raise video_error(path, "is empty (0 bytes)")


def main_stream(container: InputContainer) -> VideoStream | None:
    """The picture stream that `ffmpeg` takes: one marked as default, then the largest, then the first; else None.

    A cover picture is never it: that of an audio file is a picture stream too.
    """

    def rank(stream: VideoStream) -> tuple[bool, bool, int]:
        pixels = stream.codec_context.width * stream.codec_context.height
        return pixels > 0, bool(stream.disposition & av.stream.Disposition.default), pixels

    covers = av.stream.Disposition.attached_pic
    return max((s for s in container.streams.video if not s.disposition & covers), key=rank, default=None)


@contextmanager
def open_video(path: Path | str, threads: int = 0) -> Iterator[tuple[InputContainer, VideoStream]]:
    """(container, video stream) of a checked file; an address with `://` is opened as it is."""
    address = str(path)
    if "://" not in address:
        _check_file(Path(path))
        address = f"file:{address}"  # or `a:b.mp4` would be taken for a protocol
    with translated(path):
        container = av.open(address, timeout=(20.0, 60.0) if "://" in address else None)
    with container:
        stream = main_stream(container)
        if container.format.name == "image2" or container.format.name.endswith("_pipe"):
            raise video_error(path, "is a still picture, not a video")
        if stream is None:
            reason = "has sound but no picture" if container.streams.audio else "has no video stream"
            raise video_error(path, reason)
        check_size(path, stream.codec_context.width, stream.codec_context.height)
        stream.codec_context.thread_count = threads
        if threads != 1:
            stream.thread_type = "AUTO"
        yield container, stream
