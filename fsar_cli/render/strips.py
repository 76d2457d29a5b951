"""Clips as strips of frames below one another, each with its regions: the form of the paper's figures 6, 8 and 9."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fsar_cli.render.figures import CELL, Row, boxed, compose, fit
from fsar_cli.render.overlay import RED, WHITE, draw_box


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


def strips(clips: Sequence[Strip], title: str, columns: int = 8) -> np.ndarray:
    """Lay clips out below one another, `columns` of their frames side by side: uint8 RGB [h,w,3]."""
    if not clips:
        raise ValueError("no clip to show")
    shown = [np.linspace(0, len(c.frames) - 1, min(columns, len(c.frames))).round().astype(int) for c in clips]
    rows = [
        Row(clip.name, [_cell(clip, t) for t in chosen.tolist()]) for clip, chosen in zip(clips, shown, strict=True)
    ]
    captions = [f"{number}" for number in range(1, max(map(len, shown)) + 1)]
    return compose([(rows, captions)], title, legend=False)


def _cell(clip: Strip, t: int) -> np.ndarray:
    frame = clip.frames[t]
    regions = None if clip.regions is None else clip.regions[t] * frame.shape[1]
    picture = fit(frame, CELL) if regions is None else boxed(frame, regions, RED)
    return picture if clip.others is None else draw_box(picture, clip.others[t] * CELL, WHITE, 2)
