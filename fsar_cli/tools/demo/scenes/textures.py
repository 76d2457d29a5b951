"""Procedural surfaces: value noise, tiles, bricks, blotches; float32 arrays around 1 that multiply a colour."""

import numpy as np
from PIL import Image

from fsar_cli.tools.demo.scenes.canvas import Colour


def value_noise(rng: np.random.Generator, height: int, width: int, cell: float) -> np.ndarray:
    """Smooth noise [height,width] in [-1,1] with features about `cell` pixels wide."""
    rows, columns = max(2, round(height / cell) + 1), max(2, round(width / cell) + 1)
    grid = Image.fromarray(rng.uniform(-1, 1, (rows, columns)).astype(np.float32), mode=None)
    return np.asarray(grid.resize((width, height), Image.Resampling.BILINEAR))


def mottle(rng: np.random.Generator, height: int, width: int, strength: float = 0.1) -> np.ndarray:
    """Asphalt, grass, plaster: three octaves of noise around 1."""
    total = sum(value_noise(rng, height, width, cell) * part for cell, part in ((40, 0.6), (9, 0.4), (2, 0.6)))
    return (1 + strength * total).astype(np.float32)


def bricks(rng: np.random.Generator, height: int, width: int, course: int, strength: float = 0.12) -> np.ndarray:
    """Brickwork or wall panels: every brick a shade, dark joints; `course` is the height of a row in pixels."""
    y, x = np.mgrid[:height, :width]
    row = y // course
    shifted = x + (row % 2) * course
    shade = rng.uniform(1 - strength, 1 + strength, (height // course + 1, width // (2 * course) + 2))
    wall = shade[row, shifted // (2 * course)]
    joint = (y % course == 0) | (shifted % (2 * course) == 0)
    return np.where(joint, wall * 0.78, wall).astype(np.float32)


def floor_coordinates(height: int, width: int, tilt: float, vanish_x: float) -> tuple[np.ndarray, np.ndarray]:
    """Ground coordinates (across, away) of every pixel of a floor seen by a raised camera.

    Args:
        tilt: how much narrower things are at the far edge than at the near edge, above 1.
        vanish_x: column towards which lines that lead away converge.
    """
    y = np.arange(height, dtype=np.float32)[:, None]
    nearness = 1 / tilt + (1 - 1 / tilt) * y / height
    across = (np.arange(width, dtype=np.float32)[None] - vanish_x) / nearness
    away = np.broadcast_to(height / (tilt - 1) * np.log(nearness) * 2.0, (height, width))
    return across, away


def tiles(rng: np.random.Generator, across: np.ndarray, away: np.ndarray, size: float, contrast: float) -> np.ndarray:
    """Paving on a floor: a shade per tile and dark joints; `size` in near-edge pixels."""
    i, j = np.floor(across / size).astype(int), np.floor(away / size).astype(int)
    shades = rng.uniform(1 - contrast, 1 + contrast, (61, 61))
    floor = shades[i % 61, j % 61]
    joint = (across / size - i < 1.2 / size) | (away / size - j < 1.4 / size)
    return np.where(joint, floor * 0.8, floor).astype(np.float32)


def fill(colour: Colour, surface: np.ndarray) -> np.ndarray:
    """A surface [H,W] in a colour: float32 [H,W,3], 0-255."""
    return surface[..., None] * (255 * np.asarray(colour, np.float32))


def shade_of(rng: np.random.Generator, colour: Colour, spread: float = 0.08) -> Colour:
    """The colour with its brightness and balance moved a little at random."""
    moved = np.asarray(colour) * rng.uniform(1 - 2 * spread, 1 + 2 * spread) + rng.normal(0, spread / 4, 3)
    return tuple(float(c) for c in np.clip(moved, 0.02, 0.98))
