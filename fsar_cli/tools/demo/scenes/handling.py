"""One person with a thing: pushed, ridden, kicked, swept, opened, lifted."""

import numpy as np

from fsar_cli.tools.demo.scenes.act import Act, Wardrobe, after, between, to_and_fro
from fsar_cli.tools.demo.scenes.canvas import Canvas
from fsar_cli.tools.demo.scenes.people import CROUCH, FRONT, STAND, ease, person, pose, stride, tween
from fsar_cli.tools.demo.scenes.solo import TAU

STEEL = (0.62, 0.64, 0.66)
RUBBER = (0.07, 0.07, 0.08)


def push_cart(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Pushes a laden trolley across."""
    look, paint, load = wardrobe.look(), wardrobe.colour(), wardrobe.colour()
    pace, high = between(rng, 0.8, 1.1), between(rng, 0.28, 0.42)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        x = 0.5 * u - 0.42
        p = stride(TAU * pace * t, lean=12)
        p[2:6] = 55, 75, 50, 72
        canvas.shadow(x + 0.38, 0.5)
        person(canvas, x, p, look)
        canvas.rect(x + 0.22, 0.1, x + 0.56, 0.1 + high, paint)
        canvas.rect(x + 0.26, 0.1 + high, x + 0.5, 0.2 + high, load)
        canvas.line([(x + 0.22, 0.4), (x + 0.16, 0.56)], 0.035, STEEL)
        for wheel in (x + 0.27, x + 0.5):
            canvas.disc(wheel, 0.055, 0.055, RUBBER)

    return Act(draw)


def _bicycle(canvas: Canvas, x: float, paint: tuple, turn: float) -> None:
    for hub in (x - 0.21, x + 0.21):
        canvas.disc(hub, 0.15, 0.15, RUBBER)
        canvas.disc(hub, 0.15, 0.115, STEEL)
        for spoke in range(3):
            a = turn + spoke * np.pi / 3
            dx, dy = 0.12 * np.cos(a), 0.12 * np.sin(a)
            canvas.line([(hub - dx, 0.15 - dy), (hub + dx, 0.15 + dy)], 0.02, RUBBER)
    frame = [(x - 0.21, 0.15), (x - 0.06, 0.37), (x + 0.15, 0.38), (x, 0.15), (x - 0.06, 0.37)]
    canvas.line(frame, 0.03, paint)
    canvas.line([(x + 0.21, 0.15), (x + 0.15, 0.46), (x + 0.2, 0.47)], 0.03, paint)


def cycle(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Rides a bicycle across."""
    look, paint, pace = wardrobe.look(), wardrobe.colour(), between(rng, 1.0, 1.5)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        x, crank = 0.58 * u - 0.29, TAU * pace * t
        s, c = np.sin(crank), np.cos(crank)
        p = pose(34, (38, 62), (34, 58), (48 + 24 * s, -12 + 22 * c), (48 - 24 * s, -12 - 22 * c), head=16)
        canvas.shadow(x, 0.6)
        _bicycle(canvas, x, paint, -3 * crank)
        from_hip = 0.5 - 0.03 * abs(s)
        person(canvas, x - 0.1, p, look, y=from_hip - 0.46)

    return Act(draw)


def kick_ball(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Steps up and kicks a ball, which flies off and bounces."""
    look, paint, hit = wardrobe.look(), wardrobe.colour(), between(rng, 0.3, 0.5)
    radius, high = between(rng, 0.085, 0.11), between(rng, 0.35, 0.75)
    back = pose(-8, (-30, -20), (40, 50), (-50, -100), (8, 0))
    kick = pose(-14, (-50, -40), (60, 70), (72, 62), (-6, -8))
    keys = (0, STAND), (hit - 0.16, back), (hit + 0.04, kick), (hit + 0.22, STAND)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        k = after(u, hit, 1.0)
        person(canvas, -0.36, tween(u, *keys), look)
        flight = min(k / 0.6, 1.0)
        y = radius + high * 4 * flight * (1 - flight) + 0.2 * high * 4 * max(0.0, k - 0.6) * (1 - k)
        x = -0.16 + 0.72 * k
        canvas.shadow(x, 2 * radius)
        canvas.disc(x, y, radius, paint)
        canvas.disc(x + 0.3 * radius * np.cos(9 * k), y + 0.3 * radius * np.sin(9 * k), 0.4 * radius, RUBBER)

    return Act(draw)


def juggle(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Keeps several balls in the air."""
    look, beat = wardrobe.look(), between(rng, 0.55, 0.75)
    paints = [wardrobe.colour() for _ in range(rng.integers(3, 5))]

    def draw(canvas: Canvas, u: float, t: float) -> None:
        s = 16 * np.sin(2 * TAU * beat * t)
        person(canvas, 0.0, pose(0, (30, 95 + s), (-30, -95 + s), (9, 4), (-9, -4)), look)
        for i, paint in enumerate(paints):
            k = (beat * t * 2 + i / len(paints)) % 1.0
            across = 1 if (beat * t * 2 + i / len(paints)) % 2 < 1 else -1
            canvas.disc(across * 0.27 * (1 - 2 * k), 0.62 + 2.3 * k * (1 - k), 0.07, paint)

    return Act(draw)


def sweep(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Sweeps with a broom, litter moving along the ground."""
    look, bristle, beat = wardrobe.look(), wardrobe.colour(), between(rng, 0.8, 1.2)
    litter = rng.uniform(-0.1, 0.1, 9)
    paints = [wardrobe.colour() for _ in range(3)]

    def draw(canvas: Canvas, u: float, t: float) -> None:
        s = np.sin(TAU * beat * t)
        p = pose(26 + 5 * s, (38 + 18 * s, 48 + 18 * s), (56 + 14 * s, 60 + 12 * s), (12, 6), (-14, -20))
        at = person(canvas, -0.25, p, look)
        head = 0.25 + 0.16 * s
        canvas.line([at["near_hand"], (head - 0.03, 0.09)], 0.035, (0.7, 0.52, 0.3))
        canvas.poly([(head - 0.08, 0.1), (head + 0.04, 0.1), (head + 0.08, 0), (head - 0.12, 0)], bristle)
        for i, off in enumerate(litter):
            canvas.disc(0.36 + 0.14 * u + off + 0.05 * max(0.0, s), 0.03 + 0.03 * (i % 3), 0.024, paints[i % 3])

    return Act(draw)


def umbrella(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Raises an umbrella and opens it overhead."""
    look, paint, start = wardrobe.look(), wardrobe.colour(), between(rng, 0.2, 0.45)
    stripe = wardrobe.colour()
    low, high = pose(near_arm=(40, 80), far_arm=(-10, 5)), pose(near_arm=(60, 150), far_arm=(-10, 5))

    def draw(canvas: Canvas, u: float, t: float) -> None:
        at = person(canvas, -0.05, tween(u, (0, low), (start, high), (1, high)), look)
        x, y = at["near_hand"]
        top, open_ = y + 0.42, ease(after(u, start, start + 0.25))
        half, drop = 0.05 + 0.42 * open_, 0.36 - 0.16 * open_
        canvas.line([(x, y - 0.06), (x, top)], 0.03, RUBBER)
        a = np.linspace(0, np.pi, 13)
        rim = [(x + half * np.cos(v), top - drop + drop * np.sin(v)) for v in a]
        canvas.poly(rim, paint)
        for v in (0.3, 0.7):
            i = int(v * 12)
            canvas.poly([(x, top), rim[i], rim[i + 1]], stripe)

    return Act(draw)


def pick_up(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Bends down to a box and lifts it to the chest."""
    look, paint, start = wardrobe.look(), wardrobe.colour(), between(rng, 0.1, 0.25)
    side = between(rng, 0.2, 0.28)
    low = pose(lean=62, near_arm=(38, 42), far_arm=(30, 36), near_leg=(58, -30), far_leg=(48, -36), head=50)
    held = pose(lean=-4, near_arm=(38, 92), far_arm=(32, 88))
    keys = (0, STAND), (start, STAND), (start + 0.25, low), (start + 0.32, low), (start + 0.6, held)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        at = person(canvas, -0.2, tween(u, *keys), look)
        x, y = at["near_hand"] if u > start + 0.28 else (0.18, side / 2)
        y = max(y, side / 2)
        canvas.shadow(0.18, side)
        canvas.rect(x - side / 2 + 0.06, y - side / 2, x + side / 2 + 0.06, y + side / 2, paint)
        canvas.line([(x - side / 2 + 0.06, y), (x + side / 2 + 0.06, y)], 0.03, tuple(0.6 * c for c in paint))

    return Act(draw)


def dig(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Shovels earth onto a heap."""
    look, beat, phase = wardrobe.look(), between(rng, 0.65, 0.9), between(rng, 0, 1)
    earth = (0.36, 0.25, 0.16)
    fly = rng.normal(0, 1, (14, 2))

    def draw(canvas: Canvas, u: float, t: float) -> None:
        k = (beat * t + phase) % 1.0
        s = to_and_fro(k)
        p = pose(52 - 44 * s, (34 + 46 * s, 44 + 50 * s), (52 + 40 * s, 56 + 44 * s), (20, -12), (-16, -24))
        at = person(canvas, -0.3, p, look)
        (x, y), a = at["near_hand"], np.radians(40 + 75 * s)
        tip = x + 0.36 * np.sin(a), max(0.03, y - 0.36 * np.cos(a))
        canvas.line([(x - 0.1 * np.sin(a), y + 0.1 * np.cos(a)), tip], 0.035, (0.7, 0.52, 0.3))
        canvas.disc(*tip, 0.065, STEEL)
        canvas.poly([(0.2, 0), (0.6, 0), (0.42, 0.12 + 0.16 * u)], earth)
        air = (k - 0.45) / 0.4
        if 0 < air < 1:
            for dx, dy in fly * 0.035:
                canvas.disc(0.2 + 0.22 * air + dx, 0.5 + 0.9 * air * (1 - air) - 0.3 * air + dy, 0.03, earth)

    return Act(draw)


def rope_skip(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Skips over a turning rope."""
    look, paint, beat = wardrobe.look(), wardrobe.colour(), between(rng, 1.1, 1.5)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        turn = TAU * beat * t
        up = max(0.0, -np.cos(turn))
        p = pose(0, (22, 62), (-22, -62), (7, 2), (-7, -2), lift=0.12 * max(0.0, np.cos(turn)))
        at = person(canvas, 0.0, p, look)
        y = 0.5 - 0.5 * np.cos(turn) if up == 0 else 0.5 + 0.75 * up
        (x0, y0), (x1, y1) = at["near_hand"], at["far_hand"]
        rope = [(x0, y0), (0.42, 0.5 * (y + y0)), (0.22, y), (-0.22, y), (-0.42, 0.5 * (y + y1)), (x1, y1)]
        canvas.line(rope, 0.032, paint)

    return Act(draw)


def skateboard(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Rolls across on a board, crouching and swaying."""
    look, paint, beat = wardrobe.look(), wardrobe.colour(), between(rng, 0.4, 0.7)
    low = CROUCH + 0.0
    low[2:6] = 85, 100, -75, -95

    def draw(canvas: Canvas, u: float, t: float) -> None:
        x, k = 0.66 * u - 0.33, 0.5 - 0.5 * np.cos(TAU * beat * t)
        p = FRONT + (low - FRONT) * (0.35 + 0.5 * k)
        canvas.rect(x - 0.26, 0.07, x + 0.26, 0.115, paint)
        for wheel in (x - 0.18, x + 0.18):
            canvas.disc(wheel, 0.045, 0.045, RUBBER)
        person(canvas, x - 0.04, p, look, y=0.1)

    return Act(draw)


def balloons(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Lets go of a bunch of balloons, which rise and drift apart."""
    look, start = wardrobe.look(), between(rng, 0.15, 0.35)
    paints = [wardrobe.colour() for _ in range(5)]
    drift = rng.uniform(-0.3, 0.3, 5)
    arm = pose(near_arm=(60, 150), far_arm=(-10, 5))

    def draw(canvas: Canvas, u: float, t: float) -> None:
        at = person(canvas, -0.3, arm, look)
        x, y = at["near_hand"]
        k = after(u, start, 1.3)
        for i, paint in enumerate(paints):
            bx, by = x + 0.1 * (i - 2) * (1 - k) + 0.2 + (drift[i] + 0.2) * k, y + 0.18 + 0.06 * (i % 3) + 0.36 * k
            knot = (x, y) if k == 0 else (bx, by - 0.25)
            canvas.line([(bx, by), knot], 0.012, (0.9, 0.9, 0.9))
            canvas.oval(bx, by, 0.085, 0.105, paint)

    return Act(draw)
