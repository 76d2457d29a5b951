"""Whole pictures: contact sheets of key regions, heat maps (the paper's figures 6 and 7), clips as strips (8 and 9)."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from textwrap import wrap

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from PIL import Image

from fsar_cli.files import write_whole

CELL, DPI = 1.55, 150
"""Inches of a cell's width; dots an inch."""
COLUMNS = 8
RED, WHITE, SEEN, MUTED = "#e63946", "#ffffff", "#ced4da", "#6c757d"
"""Key regions; actors; the outline of what the network sees; names."""
STYLE = {"text.parse_math": False, "font.family": "DejaVu Sans", "font.size": 9}  # `$` in a name is a letter
HEAT, OPACITY = "inferno", 0.6  # grows evenly in lightness, so that it also reads in grey print
Paint = Callable[[Axes, int], None]
"""Paints frame t of a clip."""


def drawing(draw: Callable[[Figure], None], inches: tuple[float, float]) -> np.ndarray:
    """What `draw` puts on an empty figure: uint8 RGB [H,W,3]."""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name may hold letters that the font lacks
        layout = ConstrainedLayoutEngine(w_pad=0.065, h_pad=0.05)
        figure = Figure(inches, dpi=DPI, layout=layout, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        draw(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def shorten(text: str, letters: int) -> str:
    """A text on one line, its middle left out where it is too long."""
    text, half = " ".join(text.split()), letters // 2
    return text if len(text) <= letters else f"{text[: half - 1]}…{text[-half:]}"


def outline(axes: Axes, box: Sequence[float], colour: str = RED, width: float = 1.5) -> None:
    """Draw a box, xyxy in pixels of the picture shown, with a dark rim that is visible on its own colour, too."""
    x0, y0, x1, y1 = (float(value) for value in box)
    for edge, line in (("#00000059", 1.7 * width), (colour, width)):
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=edge, linewidth=line))


def _grid(figure: Figure, rows: Sequence[tuple[str, Paint, float]], captions: Sequence[str]) -> np.ndarray:
    """Rows (name, paint, height by width) of frames, `COLUMNS` a line: the axes, [lines * rows, columns]."""
    columns = min(len(captions), COLUMNS)
    lines = -(-len(captions) // COLUMNS)
    heights = [height for _ in range(lines) for _, _, height in rows]
    axes = figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights)
    for cell in axes.flat:
        cell.set(xticks=[], yticks=[])
        cell.spines[:].set_visible(False)
    for t, caption in enumerate(captions):
        for row, (name, paint, height) in enumerate(rows):
            cell = axes[t // COLUMNS * len(rows) + row, t % COLUMNS]
            paint(cell, t)
            if t % COLUMNS == 0:
                letters = int(height * CELL / 0.085)
                lines = wrap(name, letters, break_long_words=False)[:2] or [""]
                cell.set_ylabel("\n".join(shorten(line, letters) for line in lines), color=MUTED)
        cell.set_xlabel(caption, color=MUTED)
    return axes


def _size(rows: Sequence[tuple[str, Paint, float]], captions: Sequence[str]) -> tuple[float, float]:
    lines = -(-len(captions) // COLUMNS)
    width = 0.3 + max(CELL * min(len(captions), COLUMNS), 2 * CELL)
    return width, 0.5 + lines * (0.25 + (CELL + 0.05) * sum(height for _, _, height in rows))


def _check(frames: Sequence[np.ndarray], **others: Sequence) -> None:
    for name, values in others.items():
        if len(values) != len(frames) or not len(frames):
            raise ValueError(f"{len(frames)} frames and {len(values)} {name}: there must be one for each, at least one")


def _times(seconds: Sequence[float]) -> list[str]:
    return [f"{second:.2f} s" for second in seconds]


def _titled(figure: Figure, title: str) -> None:
    if title:
        figure.suptitle(shorten(title, int(10 * figure.get_figwidth())), x=0.01, ha="left", size=12, weight="bold")


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
    high, wide = frames[0].shape[:2]
    widths, heights = (np.maximum(boxes[:, i + 2] - boxes[:, i], 1) for i in (0, 1))

    def whole(axes: Axes, t: int) -> None:
        axes.imshow(frames[t])
        outline(axes, boxes[t] - 0.5)

    def region(axes: Axes, t: int) -> None:
        x0, y0, x1, y1 = np.clip(boxes[t], 0, [wide, high, wide, high]) - 0.5  # pixel i is drawn from i - 0.5
        axes.imshow(frames[t], interpolation="bicubic")
        axes.set(xlim=(x0, max(x1, x0 + 1)), ylim=(max(y1, y0 + 1), y0))

    rows = [("frame", whole, high / wide), ("key region", region, float((heights / widths).max()))]

    def draw(figure: Figure) -> None:
        _titled(figure, title)
        _grid(figure, rows, _times(seconds))

    return drawing(draw, _size(rows, seconds))


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
    shape = frames[0].shape[0] / frames[0].shape[1]

    def region(axes: Axes, t: int) -> None:
        axes.imshow(frames[t])
        outline(axes, np.asarray(crop) - 0.5, SEEN, 0.7)
        outline(axes, boxes[t] - 0.5)

    def heat(values: np.ndarray) -> Paint:
        def paint(axes: Axes, t: int) -> None:
            # Grey below the map: the scene's own colours would be mistaken for heat.
            axes.imshow(frames[t] @ np.array([0.299, 0.587, 0.114]), cmap="gray", vmin=0, vmax=255)
            shown, (x0, y0, x1, y1) = axes.axis(), crop
            axes.imshow(values[t], HEAT, vmin=0, vmax=1, alpha=OPACITY, extent=(x0 - 0.5, x1 - 0.5, y1 - 0.5, y0 - 0.5),
                        interpolation="bilinear")  # fmt: skip
            axes.axis(shown)

        return paint

    rows = [("key region", region, shape)]
    rows += [(name, heat(unit_range(m)), shape) for name, m in zip(names, maps.values(), strict=False)]

    def draw(figure: Figure) -> None:
        _titled(figure, title)
        axes = _grid(figure, rows, _times(seconds))
        bar = figure.colorbar(ScalarMappable(cmap=HEAT), ax=axes, shrink=0.5, aspect=30, pad=0.01)
        bar.set_ticks([0, 1], labels=["low", "high"], color=MUTED)
        bar.outline.set_visible(False)

    width, height = _size(rows, seconds)
    return drawing(draw, (width + 0.6, height))


@dataclass(frozen=True)
class Strip:
    """One clip."""

    name: str
    frames: np.ndarray
    """uint8 RGB [T,S,S,3] as the network sees it."""
    regions: np.ndarray | None = None
    """[T,4] xyxy in [0,1]: red."""
    others: np.ndarray | None = None
    """[T,4] xyxy in [0,1]: white, as where the actors are."""


def strips(clips: Sequence[Strip], title: str, columns: int = COLUMNS) -> np.ndarray:
    """Lay clips out below one another, `columns` of their frames side by side: uint8 RGB [h,w,3]."""
    if not clips:
        raise ValueError("no clip to show")
    columns = min(columns, COLUMNS, max(len(clip.frames) for clip in clips))

    def row(clip: Strip) -> Paint:
        shown = np.linspace(0, len(clip.frames) - 1, min(columns, len(clip.frames))).round().astype(int)

        def paint(axes: Axes, number: int) -> None:
            if number >= len(shown):
                return
            t, side = shown[number], clip.frames.shape[2]
            axes.imshow(clip.frames[t])
            for boxes, colour in ((clip.regions, RED), (clip.others, WHITE)):
                if boxes is not None:
                    outline(axes, boxes[t] * side - 0.5, colour)

        return paint

    rows = [(clip.name, row(clip), clip.frames.shape[1] / clip.frames.shape[2]) for clip in clips]
    captions = [f"{number}" for number in range(1, columns + 1)]

    def draw(figure: Figure) -> None:
        _titled(figure, title)
        _grid(figure, rows, captions)

    return drawing(draw, _size(rows, captions))


def save_png(image: np.ndarray, path: Path) -> None:
    """Write uint8 [H, W, 3] as PNG, at once or not at all.

    Raises:
        OSError: the folder does not exist or takes no more; naming the file.
    """
    whole = BytesIO()
    Image.fromarray(image).save(whole, format="PNG")  # to a file it would hide why that cannot be written
    write_whole(path, whole.getvalue())
