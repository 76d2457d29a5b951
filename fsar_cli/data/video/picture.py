"""A decoded frame -> an upright RGB picture of the size asked for."""

from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from fsar_cli.data.sizes import scaled_size
from fsar_cli.data.video.faults import video_error

MAX_SIDE = 16_384
MAX_PIXELS = 100_000_000

PLANAR = {"yuv420p": "yuv420p", "yuvj420p": "yuvj420p", "yuv420p10le": "yuv420p"}
"""Formats that nearly all videos have, and what they are scaled in before they turn into RGB. Scaling straight to RGB,
as is done with the others, takes five times as long. Colour then has half the picture's resolution, as in a JPEG."""


def check_size(path: Path | str, width: int, height: int) -> None:
    """Raise DataError for pictures too large to be held."""
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        limit = f"at most {MAX_SIDE} pixels a side and {MAX_PIXELS // 10**6} megapixels"
        raise video_error(path, f"declares pictures of {width} x {height}; {limit} are read")


def quarter_turns(degrees: float) -> int:
    """Counter-clockwise quarter turns (0 to 3) nearest to an angle."""
    return round(degrees / 90) % 4


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
        if self._size is None:
            check_size(self._path, frame.width, frame.height)
            self._size = scaled_size(frame.width, frame.height, self._short_side)
            self._turns = quarter_turns(frame.rotation)
        picture = self._rgb(frame).to_ndarray()
        return np.ascontiguousarray(np.rot90(picture, self._turns))

    def _rgb(self, frame: av.VideoFrame) -> av.VideoFrame:
        how = {"interpolation": "BICUBIC", "threads": 1}
        # A size is named only where it differs, and planes change only with it: unscaled pictures are not resampled.
        if self._size != (frame.width, frame.height):
            how |= zip(("width", "height"), self._size, strict=True)
            if planar := PLANAR.get(frame.format.name):
                frame = self._scaler.reformat(frame, format=planar, **how)
        return self._converter.reformat(frame, format="rgb24", **how)
