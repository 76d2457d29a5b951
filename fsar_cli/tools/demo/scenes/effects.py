"""Water, wind, steam, sparks: clouds of particles whose position is a closed formula of time."""

import numpy as np

from fsar_cli.tools.demo.scenes.act import Act, Wardrobe, between
from fsar_cli.tools.demo.scenes.canvas import Canvas, Colour
from fsar_cli.tools.demo.scenes.handling import RUBBER, STEEL
from fsar_cli.tools.demo.scenes.people import CROUCH, person, pose
from fsar_cli.tools.demo.scenes.solo import TAU


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


def plume(stream: Stream, t: float, rise: float, drift: float, spread: float) -> tuple[np.ndarray, ...]:
    """Ages, x and y [N] of puffs that rise from the origin, slow down and spread."""
    age, r = stream.ages(t), stream.random
    x = drift * age**1.5 + r[:, 0] * spread * (0.15 + age) + 0.05 * np.sin(5 * age * (1 + 0.3 * r[:, 1]) + 4 * t)
    return age, x, rise * age**0.75


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


def sparks(canvas: Canvas, stream: Stream, t: float, origin: tuple[float, float], throw: float, colour: Colour) -> None:
    """Glowing specks thrown off `origin` in all upper directions, falling."""
    age, r = stream.ages(t), stream.random
    angle = np.pi / 2 + 1.5 * r[:, 0]
    reach = throw * (0.6 + 0.4 * r[:, 1]) * age
    x = origin[0] + reach * np.cos(angle)
    y = np.maximum(0.02, origin[1] + reach * np.sin(angle) - 0.55 * throw * age**2)
    canvas.glow(x, y, 0.018, colour, 1.5 * (1 - age))


def sparkler(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """A person swings a sparkler in circles."""
    look, stream, pace = wardrobe.look(), Stream(rng, 46, 0.4), between(rng, 0.7, 1.1)
    tint = (1.0, 0.86, 0.5) if rng.random() < 0.6 else (0.75, 1.0, 0.8)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        turn = TAU * pace * t
        p = pose(0, (95 + 40 * np.sin(turn), 115 + 60 * np.sin(turn + 0.5)), (-12, -6))
        at = person(canvas, -0.22, p, look)
        (x, y), (ex, ey) = at["near_hand"], at["near_elbow"]
        tip = x + 0.9 * (x - ex), y + 0.9 * (y - ey)
        canvas.line([(x, y), tip], 0.02, STEEL)
        sparks(canvas, stream, t, tip, 0.36, tint)
        canvas.glow([tip[0]], [tip[1]], [0.05], tint, [1.6])

    return Act(draw)


def welding(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """A crouching welder: blue-white flashes, sparks along the ground."""
    look, stream, metal = wardrobe.look(), Stream(rng, 40, 0.45), wardrobe.colour()
    flashes = rng.random(64) < 0.62
    p = CROUCH.copy()
    p[2:6] = 50, 72, 44, 66

    def draw(canvas: Canvas, u: float, t: float) -> None:
        at = person(canvas, -0.24, p, look)
        hx, hy = at["head"]
        canvas.rect(hx + 0.02, hy - 0.08, hx + 0.1, hy + 0.08, (0.12, 0.14, 0.14))
        canvas.rect(0.14, 0.0, 0.46, 0.22, metal)
        canvas.line([at["near_hand"], (0.14, 0.24)], 0.03, RUBBER)
        sparks(canvas, stream, t, (0.16, 0.24), 0.5, (1.0, 0.8, 0.4))
        if flashes[int(t * 6) % 64]:
            canvas.glow([0.15, 0.15], [0.26, 0.26], [0.05, 0.2], (0.7, 0.85, 1.0), [2.0, 0.75])

    return Act(draw)


def bubbles(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """A child's bubble gun: pale rings float up and away."""
    look, stream = wardrobe.look(), Stream(rng, 16, between(rng, 1.2, 1.6))
    tints = np.array([wardrobe.colour() for _ in range(3)])
    p = pose(near_arm=(70, 84), far_arm=(60, 78))

    def draw(canvas: Canvas, u: float, t: float) -> None:
        at = person(canvas, -0.34, p, look, size=0.85)
        x, y = at["near_hand"]
        canvas.line([(x, y), (x + 0.1, y + 0.03)], 0.05, tuple(tints[0]))
        for age, r, tint in zip(stream.ages(t), stream.random, tints[np.arange(16) % 3], strict=True):
            bx, by = x + 0.14 + 0.5 * age + 0.05 * r[0], y + 0.05 + (0.35 + 0.3 * r[1]) * age
            size = 0.035 + 0.05 * min(1.0, 3 * age) * (1 + 0.3 * r[2])
            ring = [(bx + size * np.cos(a), by + size * np.sin(a)) for a in np.linspace(0, TAU, 10)]
            canvas.line(ring, 0.022, tuple(0.5 + 0.5 * tint))

    return Act(draw)


def street_lamp(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """A lamp flickers on and off over its pole."""
    tint = (1.0, 0.85, 0.5) if rng.random() < 0.5 else (0.8, 0.92, 1.0)
    lit = rng.random(64) < 0.55

    def draw(canvas: Canvas, u: float, t: float) -> None:
        on = bool(lit[int(t * 4) % 64])
        canvas.poly([(0.0, 1.12), (0.3, 1.12), (0.24, 1.22), (0.06, 1.22)], (0.15, 0.16, 0.17))
        canvas.oval(0.15, 1.1, 0.12, 0.05, tint if on else tuple(0.35 * c for c in tint), shines=on)
        if on:
            cone = np.linspace(0, 1, 7)
            canvas.glow(0.15 + 0 * cone, 1.05 - 0.8 * cone, 0.08 + 0.12 * cone, tint, 0.75 - 0.5 * cone)

    def pole(canvas: Canvas) -> None:
        canvas.line([(-0.12, 0), (-0.12, 1.2), (0.08, 1.2)], 0.05, (0.25, 0.26, 0.27))

    return Act(draw, pole)
