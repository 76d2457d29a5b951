"""People who have nothing to do with it: they stand about or stroll, well away from the action.

They are drawn independently of the class, so what they do says nothing about it; to a camera that looks at the
middle of the frame they are the nearest thing that moves.
"""

from dataclasses import dataclass

import numpy as np

from fsar_cli.tools.demo.scenes.act import Wardrobe, between
from fsar_cli.tools.demo.scenes.canvas import Canvas, Colour
from fsar_cli.tools.demo.scenes.people import FRONT, Look, person, stride

SIDE = 64
CLEARANCE = 84.0  # pixels between the patch centres of actor and bystander, so that the two never overlap


@dataclass(frozen=True)
class Bystander:
    """Somebody at a place (patch centre, source pixels), strolling at `speed` pixels a second or standing (0)."""

    centre: tuple[float, float]
    speed: float
    facing: int
    scale: float
    phase: float
    look: Look

    def where(self, t: float) -> tuple[float, float]:
        """Patch centre at second `t`."""
        return self.centre[0] + self.facing * self.speed * t, self.centre[1]

    def onto(self, frame: np.ndarray, t: float, light: Colour) -> None:
        """Draw second `t` into `frame`, float32 [H,W,3]; the patch may stick out of it."""
        x, y = (round(c - SIDE / 2) for c in self.where(t))
        left, top, right, bottom = max(0, x), max(0, y), min(frame.shape[1], x + SIDE), min(frame.shape[0], y + SIDE)
        if left >= right or top >= bottom:
            return
        patch = np.zeros((SIDE, SIDE, 3), np.float32)
        inner = np.s_[top - y : bottom - y, left - x : right - x]
        patch[inner] = frame[top:bottom, left:right]
        frame[top:bottom, left:right] = self._drawn(t, light).onto(patch)[0][inner]

    def _drawn(self, t: float, light: Colour) -> Canvas:
        canvas = Canvas(self.scale, 1, light, SIDE)
        if self.speed:
            p = stride(2 * np.pi * 0.9 * t + self.phase, swing=22)
        else:
            idle = np.sin(1.3 * t + self.phase)
            p = FRONT.copy()
            p[:6] += 2 * idle, 8 * idle, 6 * idle, 10 * idle, -4 * idle, 4 * idle
        person(canvas, 0.0, p, self.look, self.facing)
        return canvas


def make_bystanders(
    rng: np.random.Generator, wardrobe: Wardrobe, actor: tuple[float, float], seconds: float
) -> list[Bystander]:
    """Zero to four people (usually one or two) who keep `CLEARANCE` from `actor` for the whole clip."""
    people = []
    wanted = int(rng.choice(5, p=(0.15, 0.3, 0.3, 0.15, 0.1)))
    for _ in range(12):
        walks = rng.random() < 0.5
        someone = Bystander(
            centre=(between(rng, 20, 300), between(rng, 62, 205)),
            speed=between(rng, 6, 16) if walks else 0.0,
            facing=int(rng.choice((-1, 1))),
            scale=between(rng, 36, 46),
            phase=between(rng, 0, 6.28),
            look=wardrobe.look(),
        )
        ends = someone.where(0.0), someone.where(seconds)
        clear = all(max(abs(x - actor[0]), abs(y - actor[1])) > CLEARANCE for x, y in ends)
        apart = all(abs(someone.centre[0] - other.centre[0]) > 30 for other in people)
        if clear and apart and len(people) < wanted:
            people.append(someone)
    return sorted(people, key=lambda p: p.centre[1])
