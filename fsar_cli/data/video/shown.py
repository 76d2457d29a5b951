"""A decoded frame as `ffmpeg` hands it to its filters: cut to what the container wants shown, and in one piece.

- Matroska's PixelCrop and the clean aperture of MP4 and MOV are for whoever reads the container; what a codec itself
  cuts off never leaves the decoder.
- Frames that are marked as interlaced are scaled like all others. Where the mark stays, swscale scales each of the two
  fields for itself, which doubles every edge.
"""

import itertools
import re
import threading
from collections.abc import Callable

import av
import av.logging
from av.container import InputContainer
from av.video.stream import VideoStream

KINDS = ("matroska", "mp4")
_LOGGING = threading.Lock()


def as_shown(container: InputContainer, stream: VideoStream) -> Callable[[av.VideoFrame], av.VideoFrame]:
    """What to do with each frame that the stream's packets decode to: in nearly all files nothing."""
    return _Shown(*_edges(container, stream))


def _edges(container: InputContainer, stream: VideoStream) -> tuple[int, int, int, int]:
    """Pixels to take off at the (left, right, top, bottom)."""
    if not any(kind in container.format.name for kind in KINDS):
        return 0, 0, 0, 0
    with _LOGGING:  # PyAV has no other way to the side data of a stream than FFmpeg's description of the file
        before = av.logging.get_level()
        av.logging.set_level(av.logging.INFO)
        try:
            text = container.dumps_format()  # type: ignore[attr-defined]  # PyAV's stubs leave it out
        finally:
            av.logging.set_level(before)
    own = text.partition(f"Stream #0:{stream.index}")[2].partition("Stream #")[0]
    edges = re.search(r"frame cropping: (\d+)/(\d+)/(\d+)/(\d+)", own, re.IGNORECASE)
    left, right, top, bottom = map(int, edges.groups()) if edges else (0, 0, 0, 0)
    return left, right, top, bottom


class _Shown:
    """Sends frames that need it through FFmpeg's own filters; edges move to where subsampled colour has one."""

    def __init__(self, left: int, right: int, top: int, bottom: int) -> None:
        self._left, self._right, self._top, self._bottom = left, right, top, bottom
        self._kind: tuple[int, int, str] | None = None
        self._graph: av.filter.Graph | None = None

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        width, height = frame.width - self._left - self._right, frame.height - self._top - self._bottom
        if (width, height) == (frame.width, frame.height) and not frame.interlaced_frame:
            return frame
        if width < 1 or height < 1:
            return frame
        kind = (frame.width, frame.height, frame.format.name)
        if self._graph is None or self._kind != kind:
            self._kind, self._graph = kind, av.filter.Graph()
            source = self._graph.add_buffer(None, frame.width, frame.height, frame.format, time_base=frame.time_base)
            crop = self._graph.add("crop", f"{width}:{height}:{self._left}:{self._top}")
            whole, sink = self._graph.add("setfield", "prog"), self._graph.add("buffersink")
            for one, next_one in itertools.pairwise((source, crop, whole, sink)):
                one.link_to(next_one)
            self._graph.configure()
        self._graph.push(frame)
        return self._graph.vpull()
