"""Whole pictures: contact sheets of key regions and the heat map figures of the paper (figures 6 and 7)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fsar_cli.errors import DataError
from fsar_cli.files import atomic
from fsar_cli.render.overlay import INK, RED, Colour, blend_heat, draw_box, font, heat_colours

CELL = 232
"""Pixels of a cell's width."""
GAP, MARGIN, CAPTION = 10, 28, 26
COLUMNS = 8
NARROW = 640  # least width of a figure with a title
PAPER: Colour = (255, 255, 255)
MUTED: Colour = (108, 117, 125)
SEEN: Colour = (206, 212, 218)
"""Outline of what the network sees."""


@dataclass(frozen=True)
class Row:
    """One line of cells: a name at the left and a picture, uint8 RGB, in each column."""

    name: str
    pictures: list[np.ndarray]


def fit(picture: np.ndarray, width: int) -> np.ndarray:
    """Scale to a width; small pictures grow smoothly."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def enlarge(frame: np.ndarray, box: Sequence[float], width: int = CELL) -> np.ndarray:
    """The part of a frame in a box (xyxy pixels, cut to the frame), scaled to a width: uint8 RGB [h, width, 3]."""
    high, wide = frame.shape[:2]
    x0, x1 = np.clip([box[0], box[2]], 0, wide)
    y0, y1 = np.clip([box[1], box[3]], 0, high)
    if x1 - x0 < 1 or y1 - y0 < 1:
        return np.full((width, width, 3), 233, np.uint8)
    size = (width, max(1, round(width * (y1 - y0) / (x1 - x0))))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC, box=(x0, y0, x1, y1)))


def boxed(frame: np.ndarray, box: Sequence[float], colour: Colour = RED, width: float = 3) -> np.ndarray:
    """A frame fitted to the cell with a box (xyxy in its pixels) drawn in the fitted picture, where it stays crisp."""
    fitted = fit(frame, CELL)
    return draw_box(fitted, np.asarray(box, float) * CELL / frame.shape[1], colour, width)


def _write(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, ink: Colour, anchor: str) -> None:
    draw.text(at, text, font=font(size), fill=ink, anchor=anchor)


def _shorten(text: str, size: int, room: float) -> str:
    """A text that fits into `room` pixels, with an ellipsis for what does not."""
    if font(size).getlength(text) <= room:
        return text
    while text and font(size).getlength(text + "…") > room:
        text = text[:-1]
    return text.rstrip() + "…"


def compose(bands: list[tuple[list[Row], list[str]]], title: str, legend: bool) -> np.ndarray:
    """Lay out bands of rows (name at the left, captions below) under a title: uint8 RGB [H, W, 3]."""
    names = [row.name for rows, _ in bands for row in rows]
    left = MARGIN + round(max(font(15).getlength(name) for name in names)) + 16
    columns = max(len(captions) for _, captions in bands)
    head = MARGIN + (40 if title or legend else 0)
    heights = [[max(picture.shape[0] for picture in row.pictures) for row in rows] for rows, _ in bands]
    width = max(left + columns * (CELL + GAP) - GAP + MARGIN, NARROW if title or legend else 0)
    height = head + sum(sum(band) + GAP * (len(band) - 1) + CAPTION + 12 for band in heights) + MARGIN - 12
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    if legend:
        _legend(sheet, draw, width - MARGIN)
    room = width - 2 * MARGIN - (300 if legend else 0)
    _write(draw, (MARGIN, MARGIN + 8), _shorten(title, 22, room), 22, INK, "lm")
    y = head
    for (rows, captions), band in zip(bands, heights, strict=True):
        for row, high in zip(rows, band, strict=True):
            _write(draw, (left - 16, y + high / 2), row.name, 15, MUTED, "rm")
            for column, picture in enumerate(row.pictures):
                sheet.paste(
                    Image.fromarray(picture), (left + column * (CELL + GAP), y + (high - picture.shape[0]) // 2)
                )
            y += high + GAP
        for column, caption in enumerate(captions):
            middle = left + column * (CELL + GAP) + CELL / 2
            _write(draw, (middle, y - GAP + CAPTION / 2 + 2), caption, 15, MUTED, "mm")
        y += CAPTION - GAP + 12
    return np.asarray(sheet)


def _legend(sheet: Image.Image, draw: ImageDraw.ImageDraw, right: int) -> None:
    """The colour scale, its right end at `right`."""
    bar = np.repeat(heat_colours(np.linspace(0, 1, 160))[None], 12, axis=0)
    end = right - round(font(14).getlength("high")) - 8
    sheet.paste(Image.fromarray(bar), (end - 160, MARGIN + 3))
    _write(draw, (right, MARGIN + 8), "high", 14, MUTED, "rm")
    _write(draw, (end - 168, MARGIN + 8), "low", 14, MUTED, "rm")


def _check(frames: Sequence[np.ndarray], **others: Sequence) -> None:
    for name, values in others.items():
        if len(values) != len(frames) or not len(frames):
            raise ValueError(f"{len(frames)} frames and {len(values)} {name}: there must be one for each, at least one")


def contact_sheet(frames: Sequence[np.ndarray], boxes: np.ndarray, seconds: Sequence[float], title: str) -> np.ndarray:
    """Sampled frames with their key region, and below each the region enlarged; eight columns a line.

    Args:
        frames: T pictures, uint8 RGB [H, W, 3].
        boxes: [T, 4] xyxy in source pixels.
        seconds: [T], written below each column.

    Returns:
        uint8 RGB [h, w, 3].
    """
    _check(frames, boxes=boxes, seconds=seconds)
    bands = []
    for start in range(0, len(frames), COLUMNS):
        part = range(start, min(start + COLUMNS, len(frames)))
        rows = [
            Row("frame", [boxed(frames[t], boxes[t]) for t in part]),
            Row("key region", [enlarge(frames[t], boxes[t]) for t in part]),
        ]
        bands.append((rows, [f"{seconds[t]:.2f} s" for t in part]))
    return compose(bands, title, legend=False)


def unit_range(maps: np.ndarray) -> np.ndarray:
    """Maps brought to [0, 1] by their common minimum and maximum; all zero where they do not vary."""
    maps = np.nan_to_num(np.asarray(maps, np.float64))
    span = maps.max() - maps.min()
    return (maps - maps.min()) / span if span > 0 else np.zeros_like(maps)


def heat_figure(
    frames: Sequence[np.ndarray],
    maps_before: np.ndarray,
    maps_after: np.ndarray | None,
    crop: Sequence[float],
    boxes: np.ndarray,
    seconds: Sequence[float],
    title: str = "",
    names: tuple[str, str] = ("before relation", "after relation"),
) -> np.ndarray:
    """Frames with their key region, the map before the relation module, the map after it; after figures 6 and 7.

    Each row of maps has one colour scale over all its frames, so that columns compare.

    Args:
        frames: T pictures, uint8 RGB [H, W, 3].
        maps_before, maps_after: [T, h, w], any range; after: None where nothing weighs the map.
        crop: xyxy in source pixels of what the network saw; maps cover just that, a thin line marks it.
        boxes: [T, 4] xyxy in source pixels.
        seconds: [T].
        names: what the two rows of maps are called.

    Returns:
        uint8 RGB [h, w, 3].
    """
    maps = {"maps_before": maps_before} | ({} if maps_after is None else {"maps_after": maps_after})
    _check(frames, **maps, boxes=boxes, seconds=seconds)
    heats = list(zip(names, map(unit_range, maps.values()), strict=False))
    bands = []
    for start in range(0, len(frames), COLUMNS):
        part = range(start, min(start + COLUMNS, len(frames)))
        rows = [
            Row("key region", [_region(frames[t], boxes[t], crop) for t in part]),
            *(Row(name, [_heat(frames[t], heat[t], crop) for t in part]) for name, heat in heats),
        ]
        bands.append((rows, [f"{seconds[t]:.2f} s" for t in part]))
    return compose(bands, title, legend=True)


def _region(frame: np.ndarray, box: Sequence[float], crop: Sequence[float]) -> np.ndarray:
    scale = CELL / frame.shape[1]
    seen = draw_box(fit(frame, CELL), np.asarray(crop, float) * scale, SEEN, 1)
    return draw_box(seen, np.asarray(box, float) * scale, RED, 3)


def _heat(frame: np.ndarray, heat: np.ndarray, crop: Sequence[float]) -> np.ndarray:
    return blend_heat(fit(frame, CELL), heat, np.asarray(crop, float) * CELL / frame.shape[1])


def save_png(image: np.ndarray, path: Path) -> None:
    """Write uint8 [H, W, 3] as PNG, at once or not at all.

    Raises:
        DataError: the folder does not exist or takes no more.
    """
    try:
        with atomic(path) as part:
            Image.fromarray(image).save(part, format="PNG")
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror})", "check the folder and the free disk") from error
