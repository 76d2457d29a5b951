"""Boxes on frames, and the geometry between the network's input and the source picture.

Coordinates are continuous: pixel i covers [i, i + 1), a picture of width w spans 0 to w. No function changes the frame
it is given.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

RED: Colour = (230, 57, 70)
WHITE: Colour = (255, 255, 255)
INK: Colour = (33, 37, 41)


def to_source(box01: np.ndarray | Sequence[float], crop: Sequence[float]) -> np.ndarray:
    """Map boxes from the network's input to the source picture.

    Args:
        box01: xyxy in [0, 1] of the input crop, [..., 4].
        crop: xyxy in source pixels of the rectangle that became the input.

    Returns:
        xyxy in source pixels, float64 [..., 4].
    """
    x0, y0, x1, y1 = (float(value) for value in crop)
    return np.asarray(box01, np.float64) * [x1 - x0, y1 - y0, x1 - x0, y1 - y0] + [x0, y0, x0, y0]


def to_input(box: np.ndarray | Sequence[float], crop: Sequence[float]) -> np.ndarray:
    """The inverse of `to_source`: source pixels [..., 4] -> [0, 1] of the input crop."""
    x0, y0, x1, y1 = (float(value) for value in crop)
    return (np.asarray(box, np.float64) - [x0, y0, x0, y0]) / [x1 - x0, y1 - y0, x1 - x0, y1 - y0]


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The built-in font of Pillow in a size in pixels."""
    return ImageFont.load_default(size)


def _cover(start: float, stop: float, first: int, last: int) -> np.ndarray:
    """Share of each of the pixels first..last-1 that lies between start and stop, float32 [last - first]."""
    edges = np.clip(np.arange(first, last + 1, dtype=np.float32), start, max(start, stop))
    return np.diff(edges)


def _strips(box: Sequence[float], half: float, shape: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Windows (y0, y1, x0, x1) of whole pixels that hold an outline, without overlap and without its inside."""
    high, wide = shape
    left, right = (int(np.clip(np.floor(v), 0, wide)) for v in (box[0] - half, box[2] + half + 1))
    top, bottom = (int(np.clip(np.floor(v), 0, high)) for v in (box[1] - half, box[3] + half + 1))
    upper, lower = (int(np.clip(v, top, bottom)) for v in (np.ceil(box[1] + half), np.floor(box[3] - half)))
    inner, outer = (int(np.clip(v, left, right)) for v in (np.ceil(box[0] + half), np.floor(box[2] - half)))
    if lower <= upper or outer <= inner:
        return [(top, bottom, left, right)]
    middle = (upper, lower)
    return [(top, upper, left, right), (lower, bottom, left, right), (*middle, left, inner), (*middle, outer, right)]


def _outline(frame: np.ndarray, box: Sequence[float], width: float, colour: Colour, opacity: float = 1.0) -> None:
    """Paint an outline of `width` pixels, centred on the edge of a box, into a frame."""
    (x0, y0, x1, y1), half = box, width / 2
    for top, bottom, left, right in _strips(box, half, frame.shape[:2]):
        cover = np.outer(_cover(y0 - half, y1 + half, top, bottom), _cover(x0 - half, x1 + half, left, right))
        cover -= np.outer(_cover(y0 + half, y1 - half, top, bottom), _cover(x0 + half, x1 - half, left, right))
        cover = cover[..., None] * opacity
        window = frame[top:bottom, left:right]
        window[:] = np.rint(window * (1 - cover) + np.array(colour, np.float32) * cover)


def line_width(frame: np.ndarray) -> int:
    """A line width in pixels that suits the size of a picture [H, W, 3]."""
    return max(1, round(min(frame.shape[:2]) / 160))


def draw_box(
    frame: np.ndarray,
    box: Sequence[float] | np.ndarray,
    colour: Colour = RED,
    width: float | None = None,
    label: str = "",
) -> np.ndarray:
    """A frame with the outline of a box, anti-aliased at fractional coordinates.

    Args:
        frame: uint8 RGB [H, W, 3].
        box: xyxy in pixels of the frame; parts outside are cut off.
        width: of the line in pixels; None: as suits the frame.
        label: short text in a tab at the box's upper left corner.

    Returns:
        A new uint8 RGB [H, W, 3].
    """
    width = line_width(frame) if width is None else width
    x0, y0, x1, y1 = (float(value) for value in box)
    box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    drawn = frame.copy()
    # A dark rim keeps the line visible on a background of its own colour.
    _outline(drawn, box, width + 2 * max(1.0, width / 3), (0, 0, 0), 0.35)
    _outline(drawn, box, width, colour)
    return _draw_label(drawn, box, colour, width, label) if label else drawn


def _draw_label(frame: np.ndarray, box: Sequence[float], colour: Colour, width: float, label: str) -> np.ndarray:
    height, length = frame.shape[:2]
    size = max(9, round(min(height, length) / 22))
    pad = max(2, size // 3)
    text_width = font(size).getlength(label)
    high, wide = size + pad, text_width + 2 * pad
    left = max(0.0, min(box[0] - width / 2, length - wide))
    # Above the box where there is room, else below it, else inside its upper edge.
    over, under = box[1] - width / 2 - high, box[3] + width / 2
    top = over if over >= 0 else under if under + high <= height else max(0.0, box[1] + width / 2)
    image = Image.fromarray(frame)
    draw = ImageDraw.Draw(image)
    draw.rectangle((round(left), round(top), round(left + wide) - 1, round(top + high) - 1), fill=colour)
    ink = WHITE if np.dot(colour, (0.299, 0.587, 0.114)) < 150 else INK
    draw.text((round(left + pad), round(top + high / 2)), label, font=font(size), fill=ink, anchor="lm")
    return np.asarray(image)
