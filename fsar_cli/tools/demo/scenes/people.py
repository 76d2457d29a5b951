"""Articulated people: a pose is a small vector of angles, a figure is that pose drawn in somebody's clothes.

Angles are degrees in the picture plane, seen with the person facing right: limbs 0 hanging down, 90 forwards, 180 up;
the torso and head 0 upright, 90 forwards. They are absolute, not relative to the parent joint, so a pose reads as seen.
"""

from cmath import rect
from dataclasses import dataclass
from itertools import pairwise
from math import pi

import numpy as np

from fsar_cli.tools.demo.scenes.canvas import Canvas, Colour

THIGH, SHIN, TORSO, UPPER_ARM, FOREARM = 0.25, 0.25, 0.31, 0.17, 0.17
LEAN, HEAD, NEAR_ARM, FAR_ARM, NEAR_LEG, FAR_LEG, LIFT, SPIN = 0, 1, 2, 4, 6, 8, 10, 11
Limb = tuple[float, float]


def pose(
    lean: float = 0,
    near_arm: Limb = (8, 14),
    far_arm: Limb = (-8, 0),
    near_leg: Limb = (6, 3),
    far_leg: Limb = (-5, -8),
    lift: float = 0,
    head: float | None = None,
    spin: float = 0,
) -> np.ndarray:
    """A pose vector [12].

    Limbs are (upper, lower) angles, `lift` is the clearance below the lowest joint in body heights, `spin` turns the
    whole body forwards about the hip.
    """
    head = lean if head is None else head
    return np.array([lean, head, *near_arm, *far_arm, *near_leg, *far_leg, lift, spin], np.float64)


STAND = pose()
FRONT = pose(near_arm=(12, 8), far_arm=(-12, -8), near_leg=(9, 4), far_leg=(-9, -4))
CROUCH = pose(lean=38, near_arm=(40, 60), far_arm=(30, 55), near_leg=(80, -42), far_leg=(60, -50))
LYING = pose(lean=90, near_arm=(120, 100), far_arm=(60, 85), near_leg=(-88, -92), far_leg=(-78, -95), head=92)


def tween(u: float, *keys: tuple[float, np.ndarray]) -> np.ndarray:
    """Pose at time `u` between key poses (time, pose) in rising order, with soft starts and stops."""
    for (t0, a), (t1, b) in pairwise(keys):
        if u < t1:
            return a + (b - a) * ease((u - t0) / (t1 - t0))
    return keys[-1][1]


def ease(u: float) -> float:
    """Smooth step from 0 to 1."""
    u = min(1.0, max(0.0, u))
    return u * u * (3 - 2 * u)


def stride(phase: float, swing: float = 26, knee: float = 42, elbow: float = 14, lean: float = 3) -> np.ndarray:
    """Gait at `phase` (radians; 2 pi is two steps); larger swing, knee and elbow make a run."""
    s, c = np.sin(phase), np.cos(phase)
    thighs = swing * s + 4, -swing * s + 4
    shins = thighs[0] - knee * max(0.0, c) - 4, thighs[1] - knee * max(0.0, -c) - 4
    arms = -swing * s, swing * s
    return pose(
        lean,
        (arms[0], arms[0] + elbow),
        (arms[1], arms[1] + elbow),
        (thighs[0], shins[0]),
        (thighs[1], shins[1]),
        lift=0.02 * abs(c) * swing / 26,
    )


def running(phase: float) -> np.ndarray:
    """Gait of a sprint."""
    return stride(phase, swing=46, knee=75, elbow=80, lean=16)


@dataclass(frozen=True)
class Look:
    """Colours (RGB in 0-1) and build of one person."""

    shirt: Colour
    trousers: Colour
    skin: Colour
    hair: Colour
    stout: float = 1.0


def _along(origin: complex, angle: float, length: float) -> complex:
    return origin + rect(length, (angle - 90) / 180 * pi)


def joints(p: np.ndarray) -> dict[str, tuple[float, float]]:
    """Joint positions (x, y) in body heights, facing right, hip at x = 0, lowest point at y = lift."""
    p = p.tolist()  # plain floats: a figure is too small for array arithmetic to pay
    spin = p[SPIN]
    at = {"hip": 0j, "neck": _along(0j, 180 - p[LEAN] - spin, TORSO)}
    at["head"] = _along(at["neck"], 180 - p[HEAD] - spin, 0.105)
    at["shoulder"] = _along(0j, 180 - p[LEAN] - spin, TORSO - 0.035)
    for name, first in (("near", NEAR_ARM), ("far", FAR_ARM)):
        at[f"{name}_elbow"] = _along(at["shoulder"], p[first] - spin, UPPER_ARM)
        at[f"{name}_hand"] = _along(at[f"{name}_elbow"], p[first + 1] - spin, FOREARM)
    for name, first in (("near", NEAR_LEG), ("far", FAR_LEG)):
        at[f"{name}_knee"] = _along(0j, p[first] - spin, THIGH)
        at[f"{name}_foot"] = _along(at[f"{name}_knee"], p[first + 1] - spin, SHIN)
        at[f"{name}_toe"] = _along(at[f"{name}_foot"], p[first + 1] + 80 - spin, 0.07)
    low = min(v.imag - (0.085 if k == "head" else 0.03) for k, v in at.items())
    return {k: (v.real, v.imag + p[LIFT] - low) for k, v in at.items()}


def person(
    canvas: Canvas, x: float, p: np.ndarray, look: Look, facing: int = 1, size: float = 1.0, y: float = 0.0
) -> dict[str, tuple[float, float]]:
    """Draw a person with the hip above stage `x` and return the joints in stage units.

    Args:
        facing: 1 looks right, -1 left.
        size: body height in stage units.
        y: height of what they stand on.
    """
    at = {k: (x + facing * v[0] * size, y + v[1] * size) for k, v in joints(p).items()}
    wide = look.stout * size
    spread = abs(at["head"][0] - at["near_foot"][0])
    canvas.shadow((at["head"][0] + at["near_foot"][0] + at["far_foot"][0]) / 3, 0.22 * size + 0.6 * spread, y)
    dark_shirt, dark_legs = (tuple(0.68 * c for c in colour) for colour in (look.shirt, look.trousers))
    _leg(canvas, at, "far", dark_legs, wide)
    _arm(canvas, at, "far", dark_shirt, look.skin, wide)
    _leg(canvas, at, "near", look.trousers, wide)
    canvas.line([at["hip"], at["shoulder"]], 0.17 * wide, look.shirt)
    hx, hy = at["head"]
    canvas.line([at["neck"], at["head"]], 0.07 * size, look.skin)
    canvas.disc(hx - 0.012 * facing * size, hy + 0.012 * size, 0.086 * size, look.hair)
    canvas.disc(hx + 0.016 * facing * size, hy - 0.012 * size, 0.07 * size, look.skin)
    _arm(canvas, at, "near", tuple(0.86 * c for c in look.shirt), look.skin, wide)
    return at


def _leg(canvas: Canvas, at: dict, side: str, colour: Colour, wide: float) -> None:
    canvas.line([at["hip"], at[f"{side}_knee"], at[f"{side}_foot"]], 0.088 * wide, colour)
    canvas.line([at[f"{side}_foot"], at[f"{side}_toe"]], 0.055 * wide, (0.1, 0.09, 0.09))


def _arm(canvas: Canvas, at: dict, side: str, colour: Colour, skin: Colour, wide: float) -> None:
    canvas.line([at["shoulder"], at[f"{side}_elbow"], at[f"{side}_hand"]], 0.066 * wide, colour)
    canvas.disc(*at[f"{side}_hand"], 0.042 * wide, skin)
