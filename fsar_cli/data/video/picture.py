"""Pictures: a decoded frame -> an upright picture of the size asked for -> a JPEG, and back.

All scaling goes by one rule, `scaled_size`. JPEGs lead both ways through libjpeg-turbo: by simplejpeg to write, which
takes a decoder's planes as they are, and to read at the size that is stored; by Pillow where a picture is scaled.
"""

import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import simplejpeg
from av.sidedata.sidedata import Type as SideDataKind
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import Image, UnidentifiedImageError

from fsar_cli.data.video.opening import check_size, translated
from fsar_cli.errors import UsageError

# A kind of side data that PyAV has no name for, as EXIF in 18.1, would keep those of a frame from being read at all.
_any_kind = classmethod(lambda kinds, _: kinds.SEI_UNREGISTERED)
SideDataKind._missing_ = _any_kind  # type: ignore[method-assign, assignment]  # an enumeration of PyAV is completed

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


def scaled_size(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """(width, height) in pixels after scaling so that the shorter side is exactly `short_side`.

    The longer side scales alike, is rounded to the nearest pixel and never falls below the short one. None: no change.

    Raises:
        UsageError: a short side below 1.
    """
    if short_side is None:
        return width, height
    if short_side < 1:
        raise UsageError(f"the short side must be at least 1 pixel, not {short_side}")
    short, long = min(width, height), max(width, height)
    other = max(short_side, int(long * short_side / short + 0.5))
    return (short_side, other) if width <= height else (other, short_side)


class Turn(NamedTuple):
    """How a stored picture is brought upright: rows and columns change places first, then it is mirrored."""

    transposed: bool
    across: bool
    """Left and right change places."""
    over: bool
    """Top and bottom do."""

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """[h, w, ...] -> the upright picture, contiguous."""
        picture = picture.swapaxes(0, 1) if self.transposed else picture
        return np.ascontiguousarray(picture[:: -1 if self.over else 1, :: -1 if self.across else 1])


UPRIGHT = Turn(False, False, False)


def turn_of(frame: av.VideoFrame) -> Turn:
    """What a frame's display matrix asks for, from the container or the picture's own EXIF: the nearest of the eight.

    The matrix takes a pixel (x, y) to (a x + c y, b x + d y).
    """
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    a, b, _, c, d = struct.unpack("5i", bytes(matrix)[:20]) if matrix else (1, 0, 0, 0, 1)
    transposed = abs(b) + abs(c) > abs(a) + abs(d)
    return Turn(transposed, *((c < 0, b < 0) if transposed else (a < 0, d < 0)))


def _evenly_backed(plane: np.ndarray) -> np.ndarray:
    """The same plane in memory that goes on for its last column and row once more where their number is odd.

    Two of them share a sample of colour, so an encoder looks that far.
    """
    height, width = plane.shape
    if height % 2 == width % 2 == 0:
        return plane
    return np.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge")[:height, :width]


class FrameScaler:
    """Turns decoded frames into upright RGB arrays of one size, that of the first frame.

    The colour matrix and range are those that the frame declares; where it declares none, BT.601 and video range.
    """

    def __init__(self, path: Path | str, short_side: int | None) -> None:
        self._path, self._short_side = path, short_side
        self._size: tuple[int, int] | None = None
        self._turn = UPRIGHT
        # Kept from frame to frame: making a scaler costs as much as using it.
        self._scaler, self._converter = VideoReformatter(), VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """uint8 RGB [h, w, 3]."""
        self._measure(frame)
        with translated(self._path, "has pictures whose colours cannot be read"):
            return self._turn(self._rgb(frame).to_ndarray())

    def planes(self, frame: av.VideoFrame) -> Planes | np.ndarray:
        """Planes, without the way over RGB, where the frame is upright and has them; else RGB as a call gives."""
        self._measure(frame)
        if any(self._turn) or frame.format.name not in PLANAR or frame.colorspace not in BT_601:
            return self(frame)
        scaled = self._scaler.reformat(frame, format="yuvj420p", **self._how(frame))
        planes: tuple[Any, ...] = scaled.planes  # buffers, which PyAV's stubs do not say
        y, u, v = (np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width] for p in planes)
        return Planes(_evenly_backed(y), u, v)

    def _measure(self, frame: av.VideoFrame) -> None:
        if self._size is None:
            check_size(self._path, frame.width, frame.height)
            self._size = scaled_size(frame.width, frame.height, self._short_side)
            self._turn = turn_of(frame)

    def _how(self, frame: av.VideoFrame) -> dict[str, Any]:
        # A size is named only where it differs: unscaled pictures are not resampled.
        size = dict(zip(("width", "height"), self._size, strict=True)) if self._size and self._differs(frame) else {}
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


def to_jpeg(picture: np.ndarray | Planes, quality: int) -> bytes:
    """uint8 RGB [h, w, 3], or planes, as a JPEG file of quality 1 to 100 with colour at half the resolution."""
    if isinstance(picture, Planes):
        data: bytes = simplejpeg.encode_jpeg_yuv_planes(picture.y, picture.u, picture.v, quality)
    else:
        data = simplejpeg.encode_jpeg(picture, quality, "RGB", "420")
    return data


def from_jpeg(data: bytes, size: tuple[int, int], interpolation: str = "bilinear") -> np.ndarray:
    """A JPEG file's bytes as uint8 RGB [h, w, 3] of a size (w, h); decoded at a fraction of its own where that will do.

    Args:
        interpolation: as of `resized`.

    Raises:
        ValueError, OSError: it is damaged.
    """
    try:
        height, width, kind, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:  # its own text is for those who know libjpeg's functions
        raise ValueError("no picture") from error
    if (width, height) == size and kind == "YCbCr":
        picture: np.ndarray = simplejpeg.decode_jpeg(data)
        return picture
    try:
        with Image.open(BytesIO(data)) as image:
            if image.size != size:
                image.draft("RGB", size)
            return resized(image.convert("RGB"), size, interpolation)
    except UnidentifiedImageError as error:  # its own text names no file but an object
        raise ValueError("no picture") from error
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error


def jpeg_picture(data: bytes, largest: int) -> np.ndarray:
    """A JPEG file's bytes as uint8 RGB [h, w, 3]. Raises ValueError: it is damaged, none, or has a larger side."""
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    if max(height, width) > largest:
        raise ValueError(f"a picture of {width} x {height}")
    picture: np.ndarray = simplejpeg.decode_jpeg(data)
    return picture


def resized(image: Image.Image, size: tuple[int, int], interpolation: str = "bilinear") -> np.ndarray:
    """A picture of a size (w, h), by the filter `bilinear` or `bicubic`, as wide as a smaller picture needs."""
    return np.asarray(image if image.size == size else image.resize(size, Image.Resampling[interpolation.upper()]))
