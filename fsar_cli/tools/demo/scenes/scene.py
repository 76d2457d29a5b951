"""Where it happens: a static picture per clip, as a fixed raised camera sees a street, yard, corridor, car park, plaza.

A scene is drawn once per clip, independently of what will happen in it. `light` is the RGB gain that people and things
put into it receive, so that they belong to the same hour of the day.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fsar_cli.tools.demo.scenes.canvas import Colour
from fsar_cli.tools.demo.scenes.textures import (
    bricks,
    fill,
    floor_coordinates,
    mottle,
    shade_of,
    tiles,
    value_noise,
)

WIDTH, HEIGHT = 320, 240


@dataclass(frozen=True)
class Scene:
    """A background, float32 [240,320,3] in 0-255, and the light that falls on what is put into it."""

    picture: np.ndarray
    light: Colour


def make_scene(rng: np.random.Generator) -> Scene:
    """Draw a scene of a random kind under a random light."""
    horizon = int(rng.integers(40, 68))
    plain = PLACES[rng.integers(len(PLACES))](rng, horizon)
    light, gain = _daylight(rng, horizon)
    picture = np.clip(plain * gain, 0, 255)
    return Scene(_stamp(rng, picture), light)


def _daylight(rng: np.random.Generator, horizon: int) -> tuple[Colour, np.ndarray]:
    """The light on people, and the gain [240,320,3] on the scene: cast, gradient, vignette, pools of light at night."""
    night = rng.random() < 0.3
    level = rng.uniform(0.5, 0.66) if night else rng.uniform(0.85, 1.05)
    cast = np.array([0.86, 0.95, 1.2]) if night else np.array([1.0, 1.0, 1.0]) + rng.normal(0, 0.05, 3)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    slope = 1 + rng.uniform(-0.15, 0.15) * (x / WIDTH - 0.5) + rng.uniform(-0.12, 0.12) * (y / HEIGHT - 0.5)
    vignette = 1 - rng.uniform(0.05, 0.25) * (((x - 160) / 200) ** 2 + ((y - 120) / 150) ** 2)
    gain = (level * slope * vignette)[..., None] * cast
    if night:
        for _ in range(rng.integers(1, 4)):
            cx, cy = rng.uniform(0, WIDTH), rng.uniform(horizon, HEIGHT)
            pool = np.exp(-0.5 * (((x - cx) / 55) ** 2 + ((y - cy) / 28) ** 2))
            gain = gain + rng.uniform(0.1, 0.3) * pool[..., None] * np.array([1.0, 0.86, 0.55])
    shown = np.maximum(level, 0.72) * cast
    return tuple(float(c) for c in shown), gain


def _stamp(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Burn the camera's label into the corner, as recorders do."""
    image = Image.fromarray(picture.astype(np.uint8))
    text = f"CAM {rng.integers(1, 64):02d}"
    ImageDraw.Draw(image).text((5, 228), text, fill=(228, 228, 228), font=ImageFont.load_default(9))
    return np.asarray(image, np.float32)


def _paste(picture: np.ndarray, draw: Callable[[ImageDraw.ImageDraw], None]) -> np.ndarray:
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    draw(ImageDraw.Draw(image))
    return np.asarray(image, np.float32)


def _rgb(colour: Colour) -> tuple[int, int, int]:
    return tuple(int(255 * min(1.0, max(0.0, c))) for c in colour)


def _wall(rng: np.random.Generator, horizon: int) -> np.ndarray:
    """A house front [horizon,320,3] with a row of windows."""
    tone = shade_of(rng, WALLS[rng.integers(len(WALLS))])
    surface = bricks(rng, horizon, WIDTH, int(rng.choice((6, 8, 30)))) * mottle(rng, horizon, WIDTH, 0.06)
    glass, frame = _rgb(shade_of(rng, (0.22, 0.28, 0.34))), _rgb(shade_of(rng, (0.75, 0.73, 0.68)))
    pitch, wide, start = rng.integers(34, 60), rng.integers(14, 24), rng.integers(0, 30)
    tall = rng.uniform(0.4, 0.6) * horizon

    def windows(pen: ImageDraw.ImageDraw) -> None:
        for x in range(-int(start), WIDTH, int(pitch)):
            top = horizon * 0.22
            pen.rectangle((x, top, x + int(wide), top + tall), fill=glass, outline=frame)
            pen.line((x + wide / 2, top, x + wide / 2, top + tall), fill=frame)

    return _paste(fill(tone, surface), windows)


def _floor(rng: np.random.Generator, horizon: int) -> tuple[np.ndarray, np.ndarray, int]:
    rows = HEIGHT - horizon
    across, away = floor_coordinates(rows, WIDTH, rng.uniform(1.5, 2.6), rng.uniform(60, 260))
    return across, away, rows


def _street(rng: np.random.Generator, horizon: int) -> np.ndarray:
    across, away, rows = _floor(rng, horizon)
    road = fill(shade_of(rng, (0.34, 0.34, 0.36)), mottle(rng, rows, WIDTH, 0.1))
    lane, middle = rng.uniform(95, 130), rng.uniform(-40, 40)
    pavement = fill(shade_of(rng, (0.56, 0.55, 0.52)), tiles(rng, across, away, 14, 0.06))
    outside = np.abs(across - middle) > lane
    kerb = np.abs(np.abs(across - middle) - lane) < 3
    dashes = (np.abs(across - middle) < 2) & (np.sin(away / 6) > 0)
    road[dashes] = 190
    road = np.where(outside[..., None], pavement, road)
    road[kerb] *= 0.6
    return _poles(rng, np.concatenate([_wall(rng, horizon), road]), horizon)


def _yard(rng: np.random.Generator, horizon: int) -> np.ndarray:
    across, away, rows = _floor(rng, horizon)
    grass = fill(shade_of(rng, (0.33, 0.42, 0.22)), mottle(rng, rows, WIDTH, 0.2))
    path = np.abs(across - rng.uniform(-60, 60) - 14 * np.sin(away / 30)) < rng.uniform(15, 35)
    sand = fill(shade_of(rng, (0.6, 0.53, 0.42)), mottle(rng, rows, WIDTH, 0.1))
    ground = np.where(path[..., None], sand, grass)
    fence = fill(shade_of(rng, (0.46, 0.36, 0.26)), bricks(rng, horizon, WIDTH, 60, 0.1))
    fence[:, np.arange(WIDTH) % int(rng.integers(7, 12)) == 0] *= 0.7
    return _trees(rng, np.concatenate([fence, ground]), horizon)


def _corridor(rng: np.random.Generator, horizon: int) -> np.ndarray:
    across, away, rows = _floor(rng, horizon)
    shine = 1 + 0.25 * np.exp(-(((across - rng.uniform(-60, 60)) / 40) ** 2))
    floor = fill(shade_of(rng, (0.58, 0.57, 0.54)), tiles(rng, across, away, rng.uniform(16, 30), 0.07) * shine)
    side = np.abs(across) > rng.uniform(150, 200)
    wall = fill(shade_of(rng, (0.66, 0.67, 0.62)), mottle(rng, rows, WIDTH, 0.03))
    floor = np.where(side[..., None], wall, floor)
    back = fill(shade_of(rng, (0.7, 0.7, 0.66)), mottle(rng, horizon, WIDTH, 0.03))
    back[-6:] *= 0.6
    door = _rgb(shade_of(rng, (0.4, 0.3, 0.24)))
    starts = rng.integers(20, 280, 3)
    picture = _paste(
        back, lambda pen: [pen.rectangle((x, horizon * 0.25, x + 22, horizon), fill=door) for x in map(int, starts)]
    )
    return np.concatenate([picture, floor])


def _car_park(rng: np.random.Generator, horizon: int) -> np.ndarray:
    across, away, rows = _floor(rng, horizon)
    ground = fill(shade_of(rng, (0.4, 0.4, 0.4)), mottle(rng, rows, WIDTH, 0.12))
    pitch = rng.uniform(36, 60)
    marks = (np.abs(np.mod(across, pitch) - 2) < 1.6) & (np.mod(away, 110) < 52)
    ground[marks] = 200
    picture = np.concatenate([_wall(rng, horizon), ground])
    spots = [(float(x), float(rng.uniform(-4, 8)), _rgb(_vivid(rng))) for x in rng.permutation(6)[:4] * 62 - 20]
    return _paste(picture, lambda pen: [_parked(pen, x, horizon + dy, paint) for x, dy, paint in spots])


def _plaza(rng: np.random.Generator, horizon: int) -> np.ndarray:
    across, away, rows = _floor(rng, horizon)
    surface = tiles(rng, across, away, rng.uniform(18, 40), rng.uniform(0.04, 0.14))
    tone = shade_of(rng, FLOORS[rng.integers(len(FLOORS))])
    ground = fill(tone, surface * mottle(rng, rows, WIDTH, 0.05))
    return _poles(rng, np.concatenate([_wall(rng, horizon), ground]), horizon)


def _station(rng: np.random.Generator, horizon: int) -> np.ndarray:
    across, away, _ = _floor(rng, horizon)
    ground = fill(shade_of(rng, (0.5, 0.49, 0.47)), tiles(rng, across, away, 12, 0.05))
    band = np.abs(across - rng.choice((-130, 130))) < 7
    ground[band] = (196, 168, 60)
    back = fill(shade_of(rng, WALLS[rng.integers(len(WALLS))]), bricks(rng, horizon, WIDTH, 10, 0.05))
    board = _rgb(shade_of(rng, (0.15, 0.25, 0.45)))
    left = int(rng.integers(10, 200))
    back = _paste(back, lambda pen: pen.rectangle((left, 12, left + 90, 26), fill=board, outline=(220, 220, 220)))
    return np.concatenate([back, ground])


def _poles(rng: np.random.Generator, picture: np.ndarray, horizon: int) -> np.ndarray:
    spots = [int(x) for x in rng.integers(5, WIDTH, rng.integers(0, 4))]
    tone = _rgb(shade_of(rng, (0.2, 0.22, 0.22)))

    def draw(pen: ImageDraw.ImageDraw) -> None:
        for x in spots:
            pen.line((x, 0, x, horizon + 8), fill=tone, width=3)
            pen.ellipse((x - 5, horizon + 5, x + 5, horizon + 10), fill=tone)

    return _paste(picture, draw)


def _trees(rng: np.random.Generator, picture: np.ndarray, horizon: int) -> np.ndarray:
    leaf = shade_of(rng, (0.2, 0.32, 0.14))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ragged = value_noise(rng, HEIGHT, WIDTH, 5)
    for cx in rng.integers(0, WIDTH, rng.integers(1, 4)):
        radius = rng.uniform(18, 32)
        cy = horizon - radius * 0.7
        picture[int(cy) : horizon + 6, max(0, cx - 2) : cx + 3] = (70, 52, 38)
        crown = ((x - cx) / radius) ** 2 + ((y - cy) / (0.8 * radius)) ** 2 + 0.5 * ragged < 1
        picture[crown] = (fill(leaf, 1 + 0.3 * ragged) * (1.15 - 0.3 * (y - cy) / radius)[..., None])[crown]
    return picture


def _parked(pen: ImageDraw.ImageDraw, x: float, y: float, paint: tuple[int, int, int]) -> None:
    dark = tuple(int(0.35 * c) for c in paint)
    pen.rounded_rectangle((x + 8, y - 18, x + 42, y), 6, fill=paint)
    pen.rectangle((x + 13, y - 15, x + 37, y - 7), fill=dark)
    pen.rounded_rectangle((x, y - 9, x + 52, y + 4), 4, fill=paint)
    for wheel in (x + 11, x + 41):
        pen.ellipse((wheel - 5, y - 1, wheel + 5, y + 9), fill=(24, 24, 26))


def _vivid(rng: np.random.Generator) -> Colour:
    return tuple(float(c) for c in rng.uniform(0.2, 0.75, 3))


WALLS: tuple[Colour, ...] = (
    (0.56, 0.36, 0.29),
    (0.66, 0.62, 0.52),
    (0.48, 0.5, 0.52),
    (0.62, 0.54, 0.4),
    (0.42, 0.46, 0.42),
    (0.7, 0.68, 0.66),
)
FLOORS: tuple[Colour, ...] = ((0.6, 0.56, 0.5), (0.5, 0.5, 0.5), (0.55, 0.45, 0.4), (0.44, 0.48, 0.5))
PLACES = (_street, _yard, _corridor, _car_park, _plaza, _station)
