"""Contact sheet of clips that need a look: each beside an example of what it was taken for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from fsar_cli.render.figures import GAP, MARGIN, MUTED, PAPER
from fsar_cli.render.overlay import INK, RED, font

WIDE, HIGH = 176, 132
"""Room of a picture in pixels; pictures keep their shape."""
HEAD, ROW_HEAD, BETWEEN = 48, 44, 40
SEPARATOR = (222, 226, 230)


@dataclass(frozen=True)
class Suspect:
    """One row: a clip with what is said of it, and the clip it is compared with."""

    called: str
    name: str
    frames: Sequence[np.ndarray]
    """uint8 RGB [h,w,3] each."""
    verdict: str
    detail: str
    other_called: str
    other_name: str
    other_frames: Sequence[np.ndarray]


def suspect_sheet(suspects: Sequence[Suspect], title: str, note: str = "") -> np.ndarray:
    """Draw the rows below one another under a title, a note at the end: uint8 RGB [H,W,3].

    Raises:
        ValueError: no row.
    """
    if not suspects:
        raise ValueError("a sheet needs a clip")
    left = max(_width(len(suspect.frames)) for suspect in suspects)
    right = max(_width(len(suspect.other_frames)) for suspect in suspects)
    middle = MARGIN + left + BETWEEN
    row = ROW_HEAD + HIGH + 2 * GAP
    size = (middle + right + MARGIN, MARGIN + HEAD + row * len(suspects) + (HEAD if note else 0))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    _line(draw, (MARGIN, MARGIN + 8), title, 22, INK, size[0] - 2 * MARGIN)
    for number, suspect in enumerate(suspects):
        top = MARGIN + HEAD + number * row
        draw.line((MARGIN, top - GAP, size[0] - MARGIN, top - GAP), fill=SEPARATOR)
        _row(sheet, draw, suspect, top, left, middle, right)
    if note:
        _line(draw, (MARGIN, size[1] - HEAD / 2), note, 15, MUTED, size[0] - 2 * MARGIN)
    return np.asarray(sheet)


def _row(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, suspect: Suspect, top: int, left: int, middle: int, right: int
) -> None:
    used = _line(draw, (MARGIN, top + 10), suspect.called, 17, INK, left / 2)
    _line(draw, (MARGIN + used + 14, top + 10), suspect.verdict, 15, RED, left - used - 14)
    used = _line(draw, (MARGIN, top + 31), suspect.name, 13, MUTED, left / 2)
    _line(draw, (MARGIN + used + 14, top + 31), suspect.detail, 13, INK, left - used - 14)
    _line(draw, (middle, top + 10), suspect.other_called, 17, INK, right)
    _line(draw, (middle, top + 31), suspect.other_name, 13, MUTED, right)
    for x, frames in ((MARGIN, suspect.frames), (middle, suspect.other_frames)):
        for place, frame in enumerate(frames):
            _paste(sheet, frame, x + place * (WIDE + GAP), top + ROW_HEAD)


def _width(pictures: int) -> int:
    return max(pictures * (WIDE + GAP) - GAP, 2 * WIDE)


def _paste(sheet: Image.Image, frame: np.ndarray, x: int, y: int) -> None:
    """A picture as large as its room allows, in the middle of it."""
    high, wide = frame.shape[:2]
    scale = min(WIDE / wide, HIGH / high)
    size = (max(1, round(wide * scale)), max(1, round(high * scale)))
    picture = Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)
    sheet.paste(picture, (x + (WIDE - size[0]) // 2, y + (HIGH - size[1]) // 2))


def _line(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, ink: tuple[int, int, int], room: float
) -> float:
    """Write a text, shortened to `room` pixels; its width."""
    text = " ".join(text.split())
    if font(size).getlength(text) > room:
        while text and font(size).getlength(text + "…") > room:
            text = text[:-1]
        text = text.rstrip() + "…"
    draw.text(at, text, font=font(size), fill=ink, anchor="lm")
    return font(size).getlength(text)
