"""A decoded frame -> an upright picture of the size asked for, as RGB or as the planes of a JPEG."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from fsar_cli.data.sizes import scaled_size
from fsar_cli.data.video.faults import video_error

MAX_SIDE = 16_384
MAX_PIXELS = 100_000_000

PLANAR = {"yuv420p": "yuv420p", "yuvj420p": "yuvj420p", "yuv420p10le": "yuv420p"}
"""Formats that nearly all videos have, and what they are scaled in before they turn into RGB. Scaling straight to RGB,
as is done with the others, takes five times as long. Colour then has half the picture's resolution, as in a JPEG."""


EXACT = Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
"""Without these swscale's RGB is one to two levels dark."""
BT_601 = (2, 5, 6)
"""AVCOL_SPC_UNSPECIFIED, _BT470BG and _SMPTE170M: the colour matrix of JPEG, and what is taken where none is named."""


@dataclass(frozen=True)
class Planes:
    """A picture as JPEG keeps it: BT.601, full range, colour at half the resolution, uint8."""

    y: np.ndarray
    """[h, w]."""
    u: np.ndarray
    """[ceil(h / 2), ceil(w / 2)], as v."""
    v: np.ndarray


def check_size(path: Path | str, width: int, height: int) -> None:
    """Raise DataError for pictures too large to be held."""
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        limit = f"at most {MAX_SIDE} pixels a side and {MAX_PIXELS // 10**6} megapixels"
        raise video_error(path, f"declares pictures of {width} x {height}; {limit} are read")


def quarter_turns(degrees: float) -> int:
    """Counter-clockwise quarter turns (0 to 3) nearest to an angle."""
    return round(degrees / 90) % 4


def _evenly_backed(plane: np.ndarray) -> np.ndarray:
    """The same plane in memory that goes on for its last column and row once more where their number is odd.

    Two of them share a sample of colour, so an encoder looks that far.
    """
    height, width = plane.shape
    if height % 2 == width % 2 == 0:
        return plane
    return np.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge")[:height, :width]


class Picture:
    """Turns decoded frames into upright RGB arrays of one size, that of the first frame.

    The colour matrix and range are those that the frame declares; where it declares none, BT.601 and video range.
    """

    def __init__(self, path: Path | str, short_side: int | None) -> None:
        self._path, self._short_side = path, short_side
        self._size, self._turns = None, 0
        # Kept from frame to frame: making a scaler costs as much as using it.
        self._scaler, self._converter = VideoReformatter(), VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """uint8 RGB [h, w, 3]."""
        self._measure(frame)
        picture = self._rgb(frame).to_ndarray()
        return np.ascontiguousarray(np.rot90(picture, self._turns))

    def planes(self, frame: av.VideoFrame) -> "Planes | np.ndarray":
        """Planes, without the way over RGB, where the frame is upright and has them; else RGB as a call gives."""
        self._measure(frame)
        if self._turns or frame.format.name not in PLANAR or frame.colorspace not in BT_601:
            return self(frame)
        scaled = self._scaler.reformat(frame, format="yuvj420p", **self._how(frame))
        y, u, v = (np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width] for p in scaled.planes)
        return Planes(_evenly_backed(y), u, v)

    def _measure(self, frame: av.VideoFrame) -> None:
        if self._size is None:
            check_size(self._path, frame.width, frame.height)
            self._size = scaled_size(frame.width, frame.height, self._short_side)
            self._turns = quarter_turns(frame.rotation)

    def _how(self, frame: av.VideoFrame) -> dict[str, Any]:
        # A size is named only where it differs: unscaled pictures are not resampled.
        size = dict(zip(("width", "height"), self._size, strict=True)) if self._differs(frame) else {}
        return {"interpolation": Interpolation.BICUBIC, "threads": 1} | size

    def _differs(self, frame: av.VideoFrame) -> bool:
        return self._size != (frame.width, frame.height)

    def _rgb(self, frame: av.VideoFrame) -> av.VideoFrame:
        if self._differs(frame) and (planar := PLANAR.get(frame.format.name)):
            frame = self._scaler.reformat(frame, format=planar, **self._how(frame))
        how = self._how(frame)
        # Of planes with the picture's size only colour is resampled, for which this filter is the quick one.
        kernel = how["interpolation"] if self._differs(frame) else Interpolation.BILINEAR
        return self._converter.reformat(frame, format="rgb24", **how | {"interpolation": kernel | EXACT})
