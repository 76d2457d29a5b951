"""Pictures -> a video file."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from fsar_cli.data.video.opening import MAX_SIDE, printable, video_error
from fsar_cli.errors import UsageError
from fsar_cli.files import atomic

TICKS = 90_000  # stamps a second: holds 24, 25, 30 and 30000/1001 frames a second without rounding
REPEATABLE = {"mbtree": "0"}  # with macroblock trees x264 writes other bytes from run to run
CONTAINERS = (".mp4", ".mov", ".m4v", ".mkv")


class VideoWriter:
    """Encodes H.264 (yuv420p, playable while it loads); the file appears when the `with` block ends without an error.

    Args:
        path: ends in .mp4, .mov, .m4v or .mkv; its folder exists.
        width, height: pixels of the frames; odd sizes are padded by one column or row, as 4:2:0 colour needs even ones.
        fps: frames a second; also the spacing of frames written without a time.
        crf: quality, 0 (lossless) to 51; 18 to 23 is good.
        key_every: frames from key frame to key frame at most, for players to seek quickly; None: the encoder's own.

    Raises:
        UsageError: another suffix or size. DataError: the file cannot be written.
    """

    def __init__(
        self, path: Path, width: int, height: int, fps: float = 25.0, crf: int = 20, key_every: int | None = None
    ) -> None:
        if path.suffix.lower() not in CONTAINERS:
            raise UsageError(f"cannot write a video to {printable(path)}: the name must end in {', '.join(CONTAINERS)}")
        if min(width, height) < 2 or max(width, height) > MAX_SIDE or not 0 < fps <= 1000:
            raise UsageError(f"cannot write a video of {width} x {height} at {fps} frames a second")
        self.path, self.width, self.height, self.fps = path, width, height, fps
        self._options = {"crf": str(crf), "preset": "veryfast", **REPEATABLE}
        self._options |= {"g": str(key_every)} if key_every else {}
        self._container: OutputContainer
        self._stream: VideoStream
        self._open = ExitStack()
        self._last = -1

    def __enter__(self) -> "VideoWriter":
        if not self.path.parent.is_dir():
            raise video_error(self.path, "its folder does not exist")
        flags = {} if self.path.suffix.lower() == ".mkv" else {"movflags": "+faststart"}
        with _writing(self.path), ExitStack() as stack:
            part = stack.enter_context(atomic(self.path))
            self._container = av.open(f"file:{part}", "w", options=flags)
            stack.callback(self._close)
            rate = Fraction(self.fps).limit_denominator(1001)
            self._stream = self._container.add_stream("libx264", rate=rate, options=self._options)
            self._stream.width, self._stream.height = self.width + self.width % 2, self.height + self.height % 2
            self._stream.pix_fmt = "yuv420p"
            self._stream.time_base = self._stream.codec_context.time_base = Fraction(1, TICKS)
            self._open = stack.pop_all()
        return self

    def write(self, frame: np.ndarray, seconds: float | None = None) -> None:
        """Append a frame, uint8 RGB [height, width, 3], at `seconds` (must grow) or one frame period after the last."""
        if frame.shape != (self.height, self.width, 3) or frame.dtype != np.uint8:
            raise UsageError(
                f"a frame of {frame.shape} {frame.dtype} does not fit a video of {self.height} x {self.width}"
            )
        if seconds is None:
            stamp = 0 if self._last < 0 else self._last + round(TICKS / self.fps)
        else:
            stamp = max(round(seconds * TICKS), self._last + 1)
        self._last = stamp
        if self.width % 2 or self.height % 2:
            frame = np.pad(frame, ((0, self.height % 2), (0, self.width % 2), (0, 0)), mode="edge")
        with _writing(self.path):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts, picture.time_base = stamp, Fraction(1, TICKS)
            self._container.mux(self._stream.encode(picture))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._open.__exit__(kind, error, trace)
            return
        with _writing(self.path), self._open:
            if self._last < 0:
                raise video_error(self.path, "no frame was written to it")
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def _close(self) -> None:
        with suppress(av.FFmpegError):  # the error that brought us here is the one to report
            self._container.close()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        raise video_error(
            path, f"cannot be written ({error.strerror})", "check the folder and the free disk"
        ) from error
