"""Renders labelled clips: one small actor in the outer part of a surveillance scene, with its exact box per frame.

The order of draws keeps everything but the action independent of the class: scene, place, size, side, sensor and
clip length come from a generator that does not know the class. The action happens away from the frame centre (a
centre crop misses most of it) but inside the central square that a network's centre crop shows.
"""

from dataclasses import dataclass
from functools import cache
from zlib import crc32

import numpy as np

from fsar_cli.tools.demo.scenes.act import Act, Wardrobe
from fsar_cli.tools.demo.scenes.actions import action_class
from fsar_cli.tools.demo.scenes.bystanders import Bystander, make_bystanders
from fsar_cli.tools.demo.scenes.canvas import SIDE, Canvas, bounds
from fsar_cli.tools.demo.scenes.scene import HEIGHT, WIDTH, Scene, make_scene

FPS = 12.0
# The stage centre is INNER to OUTER pixels from the frame centre along one axis, and at most OUTER along the other.
INNER, OUTER = 53.0, 65.0


@dataclass(frozen=True)
class Clip:
    """A rendered clip.

    frames: uint8 RGB [T,240,320,3]; boxes: float32 [T,4], x0 y0 x1 y1 in source pixels; fps: frames per second.
    """

    frames: np.ndarray
    boxes: np.ndarray
    fps: float


@dataclass(frozen=True)
class Setting:
    """Everything about a clip that does not depend on its class."""

    scene: Scene
    centre: tuple[float, float]
    scale: float
    mirror: int
    count: int
    noise: float
    flicker: np.ndarray

    def canvas(self) -> Canvas:
        """An empty stage patch."""
        return Canvas(self.scale, self.mirror, self.scene.light)


def make_setting(rng: np.random.Generator) -> Setting:
    """Draw scene, stage centre (source pixels), size, side, clip length and sensor."""
    count = int(rng.integers(24, 33))
    dx, dy = place(rng)
    wobble = np.cumsum(rng.normal(0, 0.0025, count))
    return Setting(
        scene=make_scene(rng),
        centre=(WIDTH / 2 + dx, HEIGHT / 2 + dy),
        scale=float(50 + 4 * dy / OUTER + rng.uniform(-4, 6)),  # people lower in the picture are nearer
        mirror=int(rng.choice((-1, 1))),
        count=count,
        noise=float(rng.uniform(1.0, 4.5)),
        flicker=1 + wobble - wobble.mean(),
    )


def place(rng: np.random.Generator) -> tuple[float, float]:
    """Offset of the stage centre from the frame centre, uniform over a square ring (source pixels)."""
    major = float(rng.uniform(INNER, OUTER) * rng.choice((-1, 1)))
    minor = float(rng.uniform(-OUTER, OUTER))
    return (major, minor) if rng.random() < 0.5 else (minor, major)


@cache
def _noise_bank() -> np.ndarray:
    """Sensor noise of unit strength, float32, 96 pixels larger than a frame; each frame shows another window of it."""
    rng = np.random.default_rng(20)
    grain = rng.normal(0, 1, (HEIGHT + 96, WIDTH + 96, 1)) + 0.35 * rng.normal(0, 1, (HEIGHT + 96, WIDTH + 96, 3))
    return grain.astype(np.float32)


def render_clip(name: str, seed: int) -> Clip:
    """Render one clip; a pure function of its arguments.

    Raises:
        UsageError: `name` is not in CLASSES.
    """
    action = action_class(name)
    # One seed must not give all classes the same scene, and no class a scene of its own: mix the name in.
    rng = np.random.default_rng([seed, crc32(name.encode())])
    setting = make_setting(rng)
    x, y = (int(c - SIDE / 2) for c in setting.centre)
    ground = setting.scene.picture[y : y + SIDE, x : x + SIDE].mean((0, 1)) / 255
    wardrobe = Wardrobe(rng, ground, setting.scene.light)
    people = make_bystanders(rng, wardrobe, setting.centre, setting.count / FPS)
    return _film(setting, action.make(rng, wardrobe), people, rng, (x, y))


def _with_props(setting: Setting, act: Act, spot: tuple[slice, slice]) -> np.ndarray:
    """The scene with what stands on the stage but does not act."""
    plate = setting.scene.picture.copy()
    if act.props:
        props = setting.canvas()
        act.props(props)
        plate[spot] = props.onto(plate[spot])[0]
    return plate


def _film(
    setting: Setting, act: Act, people: list[Bystander], rng: np.random.Generator, corner: tuple[int, int]
) -> Clip:
    """Draw all frames; `corner` is the top left pixel (x, y) of the stage patch."""
    x, y = corner
    spot = np.s_[y : y + SIDE, x : x + SIDE]
    plate = _with_props(setting, act, spot)
    frames = np.empty((setting.count, HEIGHT, WIDTH, 3), np.uint8)
    boxes = np.zeros((setting.count, 4), np.float32)
    shifts = rng.integers(0, 96, (setting.count, 2))
    for i in range(setting.count):
        t = i / FPS
        frame = plate.copy()
        for someone in people:
            someone.onto(frame, t, setting.scene.light)
        canvas = setting.canvas()
        act.draw(canvas, i / (setting.count - 1), t)
        frame[spot], acting = canvas.onto(frame[spot])
        boxes[i] = _box(acting, boxes[i - 1] if i else None, x, y)
        frames[i] = _sense(frame, setting, i, shifts[i])
    return Clip(frames, boxes, FPS)


def _box(acting: np.ndarray, before: np.ndarray | None, x: int, y: int) -> np.ndarray:
    found = bounds(acting)
    if found is None:  # nothing to be seen for a moment: where it was, or where it will be
        return before if before is not None else np.array([x + 40, y + 40, x + 56, y + 56], np.float32)
    return np.array([found[0] + x, found[1] + y, found[2] + x, found[3] + y], np.float32)


def _sense(frame: np.ndarray, setting: Setting, i: int, shift: np.ndarray) -> np.ndarray:
    """What the sensor makes of the light (which it overwrites): flicker and noise, uint8."""
    dy, dx = shift
    noise = _noise_bank()[dy : dy + HEIGHT, dx : dx + WIDTH]
    frame *= np.float32(setting.flicker[i])
    frame += np.float32(setting.noise) * noise
    return np.clip(frame, 0, 255, out=frame).astype(np.uint8)
