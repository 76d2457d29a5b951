"""Frames on a grid of times -> windows, each a clip for the network. One code for files and streams.

    video frames   | | | | | | | | | | | | | | | | | |
    grid times     x     x     x     x     x     x        each is served by the first frame at or after it
    windows        1     1     1                          F frames, `apart` grid steps from one another
                               2     2     2              begun `every` grid steps after the one before

Window and stride are laid on one grid, so windows that overlap show the very same frames: they are decoded, converted
and, by a network of images, encoded once. A gap of more than `LONGEST_GAP` seconds begins anew: no window spans it.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from fsar_cli.config import ClipConfig
from fsar_cli.data.sampling import even_indices, rated_indices
from fsar_cli.data.transforms import Crop, centre_crop
from fsar_cli.data.video import iter_frames, probe, scaled_size
from fsar_cli.errors import UsageError

LONGEST_GAP = 1.0  # seconds between two frames of one shot; the slowest cameras give a frame a second
TOLERANCE = 1e-6  # seconds; times of containers are rounded
SHORTEST_STRIDE, LONGEST_WINDOW = 0.01, 600.0  # seconds; what is beyond is a slip


@dataclass(eq=False)
class WindowFrame:
    """A frame as windows share it."""

    seconds: float
    """Since the source's first frame."""
    picture: np.ndarray
    """uint8 RGB [S,S,3], the network's input crop."""
    maps: Tensor | None = None
    """[1,C,H,W] of a network of images, once they are known."""


@dataclass(frozen=True)
class Window:
    """F frames of a source, as a clip."""

    frames: tuple[WindowFrame, ...]
    start: float
    """Seconds."""
    end: float
    input_crop: tuple[float, float, float, float]
    """What the network sees, xyxy in [0,1] of the picture."""
    breaks: bool = False
    """Whether there is a gap between the window before and this one."""
    wall: float | None = None
    """Clock time of the last frame; None: of a file."""

    @property
    def pictures(self) -> np.ndarray:
        """uint8 [F,S,S,3]."""
        return np.stack([frame.picture for frame in self.frames])


@dataclass(frozen=True)
class WindowGrid:
    """Where windows of F frames lie."""

    frames: int
    """F."""
    step: float
    """Seconds between grid times."""
    apart: int
    """WindowGrid steps from frame to frame of a window."""
    every: int
    """WindowGrid steps from window to window."""

    @property
    def window(self) -> float:
        """Seconds of a window: F times what lies between two of its frames."""
        return self.frames * self.apart * self.step

    @property
    def stride(self) -> float:
        """Seconds from window to window."""
        return self.every * self.step

    @property
    def span(self) -> int:
        """WindowGrid steps from the first frame of a window to its last."""
        return (self.frames - 1) * self.apart

    @staticmethod
    def laid(window: float, stride: float, frames: int) -> "WindowGrid":
        """The grid with exactly this stride whose windows are nearest to the length asked for.

        Raises:
            UsageError: they are too short or too long, or windows would not touch.
        """
        if not (SHORTEST_STRIDE <= stride <= window <= LONGEST_WINDOW):
            raise UsageError(
                f"windows of {window:g} s every {stride:g} s cannot be laid",
                f"--stride must be {SHORTEST_STRIDE:g} or more and at most --window, and that at most"
                f" {LONGEST_WINDOW:g}",
            )
        between = window / frames
        if stride <= between:
            return WindowGrid(frames, stride, round(between / stride), 1)
        fewer = math.floor(stride / between)
        every = min((fewer, fewer + 1), key=lambda steps: abs(frames * stride / steps - window))
        return WindowGrid(frames, stride / every, 1, every)


@dataclass
class Windower:
    """Makes windows of the frames of one source as they come, in order of time.

    `wants` says which frames are needed; only those are to be pushed. Memory holds the frames of one window.
    """

    grid: WindowGrid
    clip: ClipConfig
    origin: float | None = None
    """Seconds of the first grid time, where windows go on behind a full one; None: of the first frame. Frames of
    `LONGEST_GAP` before it are to be asked for, too: they tell whether there is a gap."""
    _ring: deque[WindowFrame] = field(init=False)
    _crop: Crop | None = None
    _size: tuple[int, int] = (0, 0)
    _origin: float = 0.0
    _index: int = -1
    """Of the last grid time that was served."""
    _emitted: bool = False
    _breaks: bool = False
    _seen: float = field(init=False)
    """Seconds of the last frame that was asked for."""
    _gap: bool = False
    """Whether there was a gap since the last frame that was pushed."""
    _wall: float | None = None
    """Of that frame."""

    def __post_init__(self) -> None:
        self._ring = deque(maxlen=self.grid.span + 1)
        self._seen = math.inf if self.origin is None else -math.inf

    def wants(self, _: int, seconds: float) -> bool:
        """Whether a frame serves a grid time; to be asked once for every frame of the source, in order."""
        before, self._seen = self._seen, seconds
        if self.origin is not None and not self._ring and seconds < self.origin - TOLERANCE:
            return False
        self._gap |= seconds - before > LONGEST_GAP
        return self._gap or not self._ring or self._due(seconds) > self._index

    def _due(self, seconds: float) -> int:
        return math.floor((seconds - self._origin) / self.grid.step + TOLERANCE / self.grid.step)

    def push(self, seconds: float, picture: np.ndarray, gap: bool = False, wall: float | None = None) -> list[Window]:
        """A wanted frame, uint8 RGB [h,w,3] of the clip's short side -> the windows that it completes, mostly none."""
        size, windows, gap = (picture.shape[1], picture.shape[0]), [], gap or self._gap
        if not self._ring or gap or size != self._size:
            windows = self.flush()
            self._begin(seconds, size, gap)
        self._gap, self._wall = False, wall
        assert self._crop is not None  # since `_begin`
        frame = WindowFrame(seconds, self._crop.apply(picture[None])[0])
        for index in range(self._index + 1, self._due(seconds) + 1):  # a slow camera's frame serves several times
            self._index = index
            self._ring.append(frame)
            if index >= self.grid.span and (index - self.grid.span) % self.grid.every == 0:
                windows.append(self._window(tuple(self._ring)[:: self.grid.apart], index))
        return windows

    def flush(self) -> list[Window]:
        """What a source that ends, or has a gap, before one window is full still shows: its frames, spread evenly."""
        ring = tuple(self._ring)
        if self._emitted or not ring:
            return []
        chosen = even_indices(len(ring), self.grid.frames)
        return [self._window(tuple(ring[i] for i in chosen), self._index, short=True)]

    def _begin(self, seconds: float, size: tuple[int, int], gap: bool) -> None:
        first = self._crop is None
        goes_on = first and self.origin is not None and not gap  # behind a full window of the same stretch
        self._breaks = not goes_on and not (first and self.origin is None)
        self._ring.clear()
        self._origin = seconds if self.origin is None or not goes_on else self.origin
        self._index, self._emitted = -1, goes_on
        self._size, self._crop = size, centre_crop(*size, self.clip.size)

    def _window(self, frames: tuple[WindowFrame, ...], index: int, short: bool = False) -> Window:
        end = self._origin + index * self.grid.step + (self.grid.step if short else self.grid.apart * self.grid.step)
        start = self._origin if short else self._origin + (index - self.grid.span) * self.grid.step
        breaks, self._breaks, self._emitted = self._breaks, False, True
        assert self._crop is not None  # since `_begin`
        return Window(frames, start, end, input_crop(self._crop, self._size), breaks, self._wall)


def input_crop(crop: Crop, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """A crop of a picture of a size (w, h), xyxy in [0,1] of the picture."""
    return crop.in_source(size, (1, 1))


def windows_of_file(
    path: Path, grid: WindowGrid, clip: ClipConfig, start: float = 0.0, end: float | None = None,
    origin: float | None = None,
) -> Iterator[Window]:  # fmt: skip
    """The windows of a video file, or of the stretch of it with start <= seconds < end.

    Args:
        origin: seconds of the first grid time, where windows go on behind a full one; `start` then does not count.

    Raises:
        DataError: as `iter_frames`, after the windows before the damage.
    """
    windower = Windower(grid, clip, origin)
    if origin is not None:
        start = max(0.0, origin - LONGEST_GAP - TOLERANCE)
    for seconds, picture in iter_frames(path, clip.short_side, windower.wants, start=start, end=end):
        yield from windower.push(seconds, picture)
    yield from windower.flush()


def window_of_clip(path: Path, clip: ClipConfig, start: float = 0.0, end: float | None = None) -> Window:
    """All of a short video, or of a stretch of it, as one window: the clip that an evaluation would read.

    The file is decoded twice, as what is converted depends on how many frames there are.

    Raises:
        DataError: as `iter_frames`.
    """
    times: list[float] = []

    def note(_: int, seconds: float) -> bool:
        times.append(seconds)
        return False

    for _ in iter_frames(path, keep=note, start=start, end=end):
        pass
    indices = (
        even_indices(len(times), clip.frames)
        if clip.rate is None
        else rated_indices(np.array(times), clip.frames, clip.rate, 0.5)
    )
    wanted = set(indices.tolist())
    chosen = iter_frames(path, clip.short_side, lambda index, _: index in wanted, start=start, end=end)
    found = dict(zip(sorted(wanted), chosen, strict=True))
    height, width = found[int(indices[0])][1].shape[:2]
    crop = centre_crop(width, height, clip.size)
    frames = {i: WindowFrame(seconds, crop.apply(picture[None])[0]) for i, (seconds, picture) in found.items()}
    step = (times[-1] - times[0]) / max(1, len(times) - 1)
    return Window(
        tuple(frames[i] for i in indices.tolist()), times[0], times[-1] + step, input_crop(crop, (width, height))
    )


def crop_of(path: Path, clip: ClipConfig) -> tuple[float, float, float, float]:
    """What the network sees of a file's pictures, xyxy in [0,1] of them. Raises DataError: it cannot be read."""
    info = probe(path)
    size = scaled_size(info.width, info.height, clip.short_side)
    return input_crop(centre_crop(*size, clip.size), size)
