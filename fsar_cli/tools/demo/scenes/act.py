"""What an action is to the renderer, and the wardrobe it may draw from.

An action module holds functions `name(rng, wardrobe) -> Act`. All randomness (tempo, phase, colours, sizes) is drawn
when the act is made; drawing is then a pure function of time, so any frame can be drawn alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fsar_cli.tools.demo.scenes.canvas import Canvas, Colour
from fsar_cli.tools.demo.scenes.people import Look

TAU = 2 * np.pi
Draw = Callable[[Canvas, float, float], None]
"""(canvas, u in [0,1] through the clip, seconds): draws one frame."""


@dataclass(frozen=True)
class Act:
    """An action ready to be drawn; `props` draws what stands on the scene and does not act (a bench, a pole)."""

    draw: Draw
    props: Callable[[Canvas], None] | None = None


SKINS: tuple[Colour, ...] = ((0.96, 0.8, 0.68), (0.85, 0.65, 0.5), (0.62, 0.44, 0.32), (0.42, 0.29, 0.21))
HAIRS: tuple[Colour, ...] = ((0.08, 0.07, 0.06), (0.3, 0.19, 0.1), (0.62, 0.46, 0.2), (0.55, 0.54, 0.53))


class Wardrobe:
    """Draws colours that stand out from the ground they will be seen against.

    Args:
        rng: the clip's generator.
        ground: mean colour of the scene behind the stage (0-1), as lit.
        light: the scene's light on people.
    """

    def __init__(self, rng: np.random.Generator, ground: np.ndarray, light: Colour) -> None:
        self._rng, self._ground, self._light = rng, np.asarray(ground), np.asarray(light)

    def colour(self) -> Colour:
        """A colour of any hue, the one of eight tries that differs most from the ground in brightness and hue."""
        tries = self._rng.uniform(0.03, 1.0, (8, 3))
        differ = tries * self._light - self._ground
        gap = np.abs(differ @ (0.3, 0.6, 0.1)) + 0.4 * np.abs(differ).max(1)
        return tuple(float(c) for c in tries[np.argmax(gap)])

    def look(self) -> Look:
        """Clothes, skin, hair and build of a person."""
        skin, hair = SKINS[self._rng.integers(len(SKINS))], HAIRS[self._rng.integers(len(HAIRS))]
        return Look(self.colour(), self.colour(), skin, hair, float(self._rng.uniform(0.9, 1.25)))


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A plain float from U(low, high)."""
    return float(rng.uniform(low, high))


def after(u: float, start: float, end: float) -> float:
    """Progress in [0,1] of something that lasts from `start` to `end`."""
    return min(1.0, max(0.0, (u - start) / (end - start)))
