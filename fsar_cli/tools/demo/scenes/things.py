"""Animals, vehicles, cloth and lamps: rigid movers, flocks, colours that change."""

import numpy as np

from fsar_cli.tools.demo.scenes.act import Act, Wardrobe, after, between, to_and_fro
from fsar_cli.tools.demo.scenes.canvas import Canvas, Colour
from fsar_cli.tools.demo.scenes.handling import RUBBER, STEEL
from fsar_cli.tools.demo.scenes.people import ease, person, stride
from fsar_cli.tools.demo.scenes.solo import TAU

AMBER = (1.0, 0.62, 0.1)


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


def _dog(canvas: Canvas, x: float, phase: float, paint: Colour, stretch: float) -> None:
    canvas.shadow(x, 0.4)
    for off, lag in ((-0.13, 0.0), (-0.1, np.pi), (0.11, 0.6 + np.pi), (0.14, 0.6)):
        foot = x + off + stretch * np.sin(phase + lag), 0.02 + 0.05 * max(0.0, np.cos(phase + lag))
        canvas.line([(x + off, 0.2), foot], 0.045, tuple(0.75 * c for c in paint))
    canvas.line([(x - 0.14, 0.22), (x + 0.14, 0.23)], 0.125, paint)
    canvas.line([(x + 0.14, 0.26), (x + 0.22, 0.34)], 0.08, paint)
    canvas.oval(x + 0.25, 0.35, 0.075, 0.055, paint)
    canvas.line([(x - 0.18, 0.27), (x - 0.27, 0.36 + 0.04 * np.sin(3 * phase))], 0.035, paint)


def walk_dog(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """A person walks a dog on a lead."""
    look, fur, pace = wardrobe.look(), wardrobe.colour(), between(rng, 0.85, 1.15)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        x = 0.44 * u - 0.42
        p = stride(TAU * pace * t)
        p[2:4] = 30, 60
        at = person(canvas, x, p, look)
        canvas.line([at["near_hand"], (x + 0.5, 0.3)], 0.018, RUBBER)
        _dog(canvas, x + 0.38, 2.4 * TAU * pace * t, fur, 0.07)

    return Act(draw)


def dog_run(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """A dog runs round after a ball, to and fro."""
    fur, ball, laps, phase = wardrobe.colour(), wardrobe.colour(), between(rng, 1.0, 1.5), between(rng, 0, 1)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        lap = laps * u + phase
        x, right = 0.64 * to_and_fro(lap) - 0.32, lap % 1 < 0.5
        flipped = Mirrored(canvas, right)
        _dog(flipped, x if right else -x, TAU * 2.4 * t, fur, 0.13)
        lead = 0.64 * to_and_fro(lap + 0.12) - 0.32
        canvas.disc(lead * 1.4, 0.07 + 0.18 * abs(np.sin(TAU * 1.5 * t)), 0.06, ball)

    return Act(draw)


class Mirrored:
    """A canvas seen in a mirror at x = 0 unless `plain`: for things drawn facing right that run left."""

    def __init__(self, canvas: Canvas, plain: bool) -> None:
        self._canvas, self._sign = canvas, 1 if plain else -1

    def shadow(self, x: float, width: float) -> None:
        """As Canvas.shadow."""
        self._canvas.shadow(self._sign * x, width)

    def line(self, points: list[tuple[float, float]], width: float, colour: Colour) -> None:
        """As Canvas.line."""
        self._canvas.line([(self._sign * x, y) for x, y in points], width, colour)

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """As Canvas.oval."""
        self._canvas.oval(self._sign * x, y, rx, ry, colour)


def birds(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Birds peck on the ground, then take off in all directions."""
    count, start = int(rng.integers(6, 10)), between(rng, 0.25, 0.45)
    paint = wardrobe.colour()
    home = np.stack([rng.uniform(-0.34, 0.34, count), rng.uniform(0.0, 0.25, count)], 1)
    away = np.stack([home[:, 0] * 0.9 + rng.uniform(-0.12, 0.12, count), rng.uniform(0.5, 1.0, count)], 1)
    lag, beat = rng.uniform(0, 0.2, count), between(rng, 3.0, 4.0)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        for i in range(count):
            k = after(u, start + lag[i], start + lag[i] + 0.6)
            x, y = home[i] + away[i] * k
            if k == 0:
                nod = 0.03 * np.sin(TAU * t + i)
                canvas.oval(x, y + 0.05, 0.07, 0.045, paint)
                canvas.disc(x + 0.07, y + 0.09 + nod, 0.033, paint)
                continue
            flap = 0.1 * np.sin(TAU * beat * t + i)
            canvas.line([(x - 0.12, y + flap), (x, y), (x + 0.12, y + flap)], 0.05, paint)
            canvas.oval(x, y, 0.05, 0.05, tuple(0.8 * c for c in paint))

    return Act(draw)


def shutter(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """A roller shutter goes up and uncovers a lit doorway."""
    slat, start, lasts = wardrobe.colour(), between(rng, 0.05, 0.25), between(rng, 0.5, 0.7)
    closing = rng.random() < 0.3
    wide = between(rng, 0.36, 0.44)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        k = ease(after(u, start, start + lasts))
        low = 0.95 * (1 - k if closing else k)
        if low > 0.02:
            canvas.rect(-wide, 0, wide, low, (1.0, 0.9, 0.66), shines=True)
            canvas.rect(-0.5 * wide, 0, 0.1, min(low, 0.4), (0.45, 0.34, 0.22))
        canvas.rect(-wide, low, wide, 1.08, slat)
        for y in np.arange(low + 0.05, 1.05, 0.12):
            canvas.line([(-wide, y), (wide, y)], 0.028, tuple(0.6 * c for c in slat))
        canvas.rect(-wide - 0.06, 1.02, wide + 0.06, 1.18, tuple(0.8 * c for c in slat))

    return Act(draw)
