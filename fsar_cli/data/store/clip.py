"""The frames of one clip on their way into a store: chosen while they stream by, before the clip's length is known."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fsar_cli.config import ExtractConfig
from fsar_cli.data.store.pictures import read_pictures
from fsar_cli.data.store.sources import Source
from fsar_cli.data.video import iter_frames, probe, scaled_size
from fsar_cli.data.video.picture import to_jpeg


class Thinning:
    """Decides frame by frame; call it with each (index, seconds) in order.

    Args:
        fps: keep the first frame in each period of 1/fps seconds; frames are never repeated.
        every: keep frames 0, every, 2 * every, ...
        max_frames: keep at most so many, evenly spread: whenever the limit is full, every second one of those kept is
            given up and from then on half as many are taken. A longer video keeps between half the limit and the limit.

    Example, max_frames=4, frames 0 to 9: 0 1 2 3 are kept; at 4 only 0 2 remain and 4 joins, then 6; at 8 only 0 4
    remain and 8 joins: 0 4 8. Taken were 0 1 2 3 4 6 8, and `kept` is 0 4 6, their places among these.
    """

    def __init__(self, fps: float | None = None, every: int = 1, max_frames: int | None = None) -> None:
        self._fps, self._every, self._max = fps, every, max_frames
        self._due_frames = self._next = 0
        self._stride, self._first = 1, 0.0
        self.count = 0
        """Frames seen."""
        self.last = 0.0
        """Seconds of the last one since the first."""
        self.taken = 0
        """Frames that were wanted when they came."""
        self.kept: list[int] = []
        """Places, among the frames taken, of those that are wanted still."""
        self.times: list[float] = []
        """Seconds of each of these since the first frame seen."""

    def __call__(self, index: int, seconds: float) -> bool:
        """Whether to take this frame; some of the earlier ones may be given up for it."""
        if index == 0:
            self._first = seconds
        self.count, self.last = index + 1, seconds - self._first
        if not self._due():
            return False
        turn = self._due_frames % self._stride == 0
        if turn and len(self.kept) == self._max:
            self.kept, self.times = self.kept[::2], self.times[::2]
            self._stride *= 2
            turn = self._due_frames % self._stride == 0
        self._due_frames += 1
        if turn:
            self.kept.append(self.taken)
            self.times.append(self.last)
            self.taken += 1
        return turn

    def _due(self) -> bool:
        if self._fps is None:
            return (self.count - 1) % self._every == 0
        # A millionth of a period of grace, or frames that lie on the grid could fall to either side of it.
        if self.last * self._fps < self._next - 1e-6:
            return False
        self._next = int(self.last * self._fps + 1e-6) + 1
        return True


@dataclass
class ClipFrames:
    """A clip as each kind of store collects it: as pictures, or as it likes by `source` and `chosen`."""

    source: Source
    settings: ExtractConfig
    chosen: Thinning = field(init=False)
    """Which frames are stored; complete when all have streamed by."""

    def __post_init__(self) -> None:
        self.chosen = Thinning(self.settings.fps, self.settings.every, self.settings.max_frames)

    @property
    def stretch(self) -> tuple[float, float | None]:
        """The clip's start and end in seconds from the video's first frame; an end of None: the video's."""
        return self.source.span or (0.0, None)

    def measure(self) -> tuple[int, int, float]:
        """Width and height of the upright pictures, and their average rate. Raises DataError as `iter_frames`."""
        if self.source.pictures:
            return *read_pictures(self.source.path).size(), self.settings.picture_fps
        info = probe(self.source.path)
        return info.width, info.height, info.fps

    def jpegs(self) -> Iterator[bytes | Path]:
        """The frames taken, each as a JPEG file: its bytes, or where it lies already. Raises DataError."""
        return self._linked() if self.source.pictures else self._decoded()

    def _linked(self) -> Iterator[bytes | Path]:
        pictures = read_pictures(self.source.path)
        size = scaled_size(*pictures.size(), self.settings.short_side or None)
        times = pictures.times(self.settings.picture_fps, *self.stretch)
        for index, (path, seconds) in enumerate(times.items()):
            if self.chosen(index, seconds):
                yield pictures.jpeg(path, size, self.settings.quality)

    def _decoded(self) -> Iterator[bytes]:
        start, end = self.stretch
        side = self.settings.short_side or None
        for _, picture in iter_frames(self.source.path, side, self.chosen, 1, start, end, planes=True):
            yield to_jpeg(picture, self.settings.quality)
