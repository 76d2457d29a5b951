"""Water, wind, steam, cloth, cars and lamps."""

import numpy as np

from fsar_cli.tools.demo.scenes.act import TAU, Act, Wardrobe, between
from fsar_cli.tools.demo.scenes.canvas import Canvas, Colour

AMBER = (1.0, 0.62, 0.1)
STEEL = (0.62, 0.64, 0.66)
RUBBER = (0.07, 0.07, 0.08)


class Stream:
    """Particles born again and again at regular, staggered moments.

    Args:
        count: particles alive at a time.
        life: seconds from birth to rebirth.
    """

    def __init__(self, rng: np.random.Generator, count: int, life: float) -> None:
        self.life = life
        self.offset = (np.arange(count) + rng.uniform(0, 1, count)) / count
        self.random = rng.uniform(-1, 1, (count, 4))
        """Four numbers in [-1,1] per particle, for whatever varies."""

    def ages(self, t: float) -> np.ndarray:
        """Share of its life each particle has behind it, [N] in [0,1)."""
        return (t / self.life + self.offset) % 1.0


def plume(stream: Stream, t: float, rise: float, drift: float, spread: float) -> tuple[np.ndarray, ...]:
    """Ages, x and y [N] of puffs that rise from the origin, slow down and spread."""
    age, r = stream.ages(t), stream.random
    x = drift * age**1.5 + r[:, 0] * spread * (0.15 + age) + 0.05 * np.sin(5 * age * (1 + 0.3 * r[:, 1]) + 4 * t)
    return age, x, rise * age**0.75


def fountain(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Water rises from a basin and falls back in arcs."""
    stream, high = Stream(rng, 90, between(rng, 0.9, 1.2)), between(rng, 0.75, 1.0)
    spread, rate = between(rng, 0.3, 0.4), between(rng, 0.4, 0.8)
    rim = wardrobe.colour()

    def draw(canvas: Canvas, u: float, t: float) -> None:
        age, r = stream.ages(t), stream.random
        tall = high * (0.8 + 0.2 * np.sin(TAU * rate * t))
        x = r[:, 0] * spread * age
        y = 0.18 + 4 * tall * (1 + 0.15 * r[:, 1]) * age * (1 - age)
        canvas.puff(x, y, 0.022 + 0.02 * age, (0.9, 0.96, 1.0), 0.9)
        canvas.puff([0.0], [0.17], [0.2], (0.8, 0.9, 1.0), [0.35 + 0.1 * np.sin(9 * t)])

    def basin(canvas: Canvas) -> None:
        canvas.shadow(0, 1.0)
        canvas.poly([(-0.42, 0.17), (0.42, 0.17), (0.34, 0), (-0.34, 0)], rim)
        canvas.oval(0, 0.17, 0.42, 0.06, (0.4, 0.55, 0.65))

    return Act(draw, basin)


def sprinkler(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """A lawn sprinkler throws a turning jet low over the ground."""
    stream, pace = Stream(rng, 70, 0.7), between(rng, 0.5, 0.9)
    phase = between(rng, 0, TAU)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        age, r = stream.ages(t), stream.random
        heading = np.sin(TAU * pace * (t - 0.7 * age) + phase)
        x = (heading + 0.12 * r[:, 0]) * 0.62 * age
        y = 0.16 + 1.1 * age * (1 - age) + 0.05 * r[:, 1] * age - 0.12 * age
        canvas.puff(x, y, 0.022 + 0.03 * age, (0.92, 0.97, 1.0), 0.95 - 0.5 * age)
        canvas.rect(-0.035, 0, 0.035, 0.16, STEEL)
        canvas.line([(-0.09 * heading[0], 0.18), (0.09 * heading[0], 0.2)], 0.05, (0.8, 0.2, 0.15))

    return Act(draw)


def leaves(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """The wind whirls up a handful of leaves."""
    count = int(rng.integers(22, 34))
    colours = np.array([wardrobe.colour() for _ in range(4)])
    orbit, height = rng.uniform(0.06, 0.4, count), rng.uniform(0, 1, count)
    phase, pace, climb = rng.uniform(0, TAU, count), between(rng, 0.5, 0.8), between(rng, 0.25, 0.4)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        y = (height + climb * t) % 1.0
        turn = phase + TAU * pace * t * (1.4 - orbit)
        x = orbit * (0.5 + 0.6 * y) * np.cos(turn)
        for i in range(count):
            flat = 0.3 + 0.7 * abs(np.sin(3 * turn[i]))
            lift = 0.05 + 1.0 * y[i] + 0.05 * np.sin(turn[i])
            canvas.oval(x[i], lift, 0.045, 0.045 * flat, tuple(colours[i % 4]))

    return Act(draw)


def steam(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """White steam comes in gusts from a grate."""
    stream, drift = Stream(rng, 30, 1.3), between(rng, -0.15, 0.25)
    gust, phase, rise = between(rng, 0.5, 0.9), between(rng, 0, TAU), between(rng, 0.8, 1.05)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        age, x, y = plume(stream, t, rise, drift, 0.14)
        breath = 0.65 + 0.35 * np.sin(TAU * gust * (t - age) + phase)
        canvas.puff(x, y + 0.05, 0.05 + 0.07 * age, (0.98, 0.98, 1.0), 0.75 * breath * (1 - age) ** 0.8)

    def grate(canvas: Canvas) -> None:
        canvas.oval(0, 0.02, 0.24, 0.07, (0.2, 0.2, 0.21))
        for x in np.linspace(-0.15, 0.15, 5):
            canvas.line([(x, -0.02), (x, 0.06)], 0.02, (0.45, 0.45, 0.45))

    return Act(draw, grate)


def flag(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """A striped flag flies from a pole."""
    paints = [wardrobe.colour() for _ in range(3)]
    beat, high = between(rng, 0.9, 1.5), between(rng, 0.4, 0.55)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        x = np.linspace(0, 0.72, 13)
        sag = 0.09 * (x / 0.72) * np.sin(9 * x - TAU * beat * t)
        for i, paint in enumerate(paints):
            top, low = 1.22 - high * i / 3, 1.22 - high * (i + 1) / 3
            upper = [(a - 0.36, top + b) for a, b in zip(x, sag, strict=True)]
            lower = [(a - 0.36, low + b) for a, b in zip(x, sag, strict=True)]
            canvas.poly(upper + lower[::-1], paint)

    return Act(draw, lambda canvas: canvas.line([(-0.37, 0), (-0.37, 1.28)], 0.04, STEEL))


def car_body(canvas: Canvas, x: float, paint: Colour, facing: int = 1, turn: float = 0.0, tilt: float = 0.0) -> None:
    """A car seen from the side, 0.62 long, centred at `x`; `tilt` lifts its front, `turn` its wheels (radians)."""
    c, s = np.cos(tilt), np.sin(tilt)

    def at(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        rear = -0.2
        return [(x + facing * (rear + (a - rear) * c - b * s), (a - rear) * s + b * c) for a, b in points]

    canvas.shadow(x, 0.66)
    canvas.poly(at([(-0.2, 0.24), (-0.13, 0.41), (0.08, 0.41), (0.18, 0.24)]), paint)
    canvas.poly(at([(-0.16, 0.25), (-0.1, 0.37), (-0.03, 0.37), (-0.03, 0.25)]), (0.16, 0.2, 0.25))
    canvas.poly(at([(0.0, 0.25), (0.0, 0.37), (0.07, 0.37), (0.14, 0.25)]), (0.16, 0.2, 0.25))
    canvas.poly(at([(-0.31, 0.08), (-0.31, 0.23), (-0.26, 0.26), (0.26, 0.25), (0.31, 0.19), (0.31, 0.08)]), paint)
    canvas.poly(at([(0.27, 0.16), (0.31, 0.16), (0.31, 0.2), (0.27, 0.21)]), (1.0, 0.95, 0.7), shines=True)
    for hub in (-0.18, 0.19):
        (wx, wy), *_ = at([(hub, 0.085)])
        canvas.disc(wx, wy, 0.085, RUBBER)
        canvas.disc(wx + 0.03 * np.cos(turn), wy + 0.03 * np.sin(turn), 0.028, STEEL)


def car_drive(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """A car passes by, or pulls up in the middle."""
    paint, goal = wardrobe.colour(), between(rng, 0.05, 0.32)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        x = -0.32 + (goal + 0.32) * np.sin(np.pi / 2 * u)
        car_body(canvas, x, paint, turn=-x / 0.085)

    return Act(draw)


def hazard_lights(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """A parked van flashes its amber lights."""
    paint, rate, phase = wardrobe.colour(), between(rng, 0.9, 1.4), between(rng, 0, 1)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        lit = (rate * t + phase) % 1 < 0.5
        canvas.shadow(0, 0.95)
        canvas.poly([(-0.44, 0.08), (-0.44, 0.6), (0.2, 0.6), (0.34, 0.36), (0.44, 0.32), (0.44, 0.08)], paint)
        canvas.poly([(0.08, 0.36), (0.08, 0.54), (0.18, 0.54), (0.28, 0.36)], (0.16, 0.2, 0.25))
        for wheel in (-0.26, 0.26):
            canvas.disc(wheel, 0.1, 0.1, RUBBER)
        for x, y in ((-0.42, 0.34), (0.4, 0.24)):
            canvas.disc(x, y, 0.05, AMBER if lit else (0.4, 0.22, 0.08), shines=lit)
            if lit:
                canvas.glow(x, y, 0.12, AMBER, 0.9)

    return Act(draw)


def traffic_light(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """A traffic light goes through its colours."""
    lamps = ((1.0, 0.12, 0.08), (1.0, 0.75, 0.1), (0.1, 0.95, 0.3))
    shift, order = between(rng, 0.1, 0.3), (0, 1, 2) if rng.random() < 0.5 else (2, 1, 0)
    case = (0.12, 0.13, 0.13)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        canvas.rect(-0.17, 0.42, 0.17, 1.24, case)
        now = order[min(2, int((u + shift) * 2.3))]
        for i, lamp in enumerate(lamps):
            y = 1.1 - 0.27 * i
            canvas.disc(0, y, 0.11, lamp if i == now else tuple(0.22 * c for c in lamp), shines=i == now)
            if i == now:
                canvas.glow(0, y, 0.16, lamp, 0.7)

    return Act(draw, lambda canvas: canvas.rect(-0.03, 0, 0.03, 0.42, (0.3, 0.31, 0.3)))
