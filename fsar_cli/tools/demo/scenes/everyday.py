"""Everyday actions of people, alone, with a thing, in pairs and in groups."""

import numpy as np

from fsar_cli.tools.demo.scenes.act import TAU, Act, Wardrobe, after, between
from fsar_cli.tools.demo.scenes.canvas import Canvas
from fsar_cli.tools.demo.scenes.people import CROUCH, FRONT, STAND, ease, person, pose, running, stride, tween
from fsar_cli.tools.demo.scenes.things import RUBBER, Stream


def walk(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Walks across at an even pace."""
    look, pace, phase = wardrobe.look(), between(rng, 0.85, 1.2), between(rng, 0, TAU)
    reach = between(rng, 0.3, 0.42)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        person(canvas, reach * (2 * u - 1), stride(TAU * pace * t + phase), look)

    return Act(draw)


def run(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Runs to and fro (a shuttle run)."""
    look, laps, phase = wardrobe.look(), between(rng, 1.0, 1.4), between(rng, 0, 1)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        lap = laps * u + phase
        x = 0.4 - 0.8 * abs(2 * (lap % 1) - 1)
        person(canvas, x, running(TAU * 2.1 * t), look, 1 if lap % 1 < 0.5 else -1)

    return Act(draw)


def wave(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Stands and waves a raised arm."""
    look, beat, phase = wardrobe.look(), between(rng, 1.2, 1.8), between(rng, 0, TAU)
    both = rng.random() < 0.3

    def draw(canvas: Canvas, u: float, t: float) -> None:
        swing = 42 * np.sin(TAU * beat * t + phase)
        arm = (150 + 0.3 * swing, 168 + swing)
        far = (-arm[0], -arm[1]) if both else (-12, -8)
        person(canvas, 0.0, pose(near_arm=arm, far_arm=far, near_leg=(9, 4), far_leg=(-9, -4)), look)

    return Act(draw)


def jumping_jacks(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Jumps, arms and legs opening and closing together."""
    look, beat, phase = wardrobe.look(), between(rng, 0.8, 1.2), between(rng, 0, 1)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        k = 0.5 - 0.5 * np.cos(TAU * (beat * t + phase))
        arm, leg = 15 + 145 * k, 5 + 30 * k
        p = pose(0, (arm, arm + 8), (-arm, -arm - 8), (leg, leg), (-leg, -leg), lift=0.1 * (1 - abs(2 * k - 1)))
        person(canvas, 0.0, p, look)

    return Act(draw)


def squat(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Bends and stretches the knees, arms held forwards."""
    up = pose(near_arm=(88, 90), far_arm=(80, 84))
    down = pose(lean=30, near_arm=(88, 90), far_arm=(80, 84), near_leg=(102, -36), far_leg=(94, -42))
    return _up_and_down(rng, wardrobe, (0.6, 0.95), up, down)


def push_ups(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Push-ups on the ground."""
    up = pose(lean=66, near_arm=(4, -2), far_arm=(-4, -8), near_leg=(-66, -66), far_leg=(-64, -64), head=55)
    down = pose(lean=84, near_arm=(-62, 38), far_arm=(-66, 34), near_leg=(-85, -85), far_leg=(-84, -84), head=70)
    return _up_and_down(rng, wardrobe, (0.8, 1.2), up, down, 0.02)


def _up_and_down(
    rng: np.random.Generator, wardrobe: Wardrobe, beats: tuple[float, float], up: np.ndarray, down: np.ndarray, x=0.0
) -> Act:
    look, beat, phase = wardrobe.look(), between(rng, *beats), between(rng, 0, 1)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        person(canvas, x, up + (down - up) * (0.5 - 0.5 * np.cos(TAU * (beat * t + phase))), look)

    return Act(draw)


def dance(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Sways from side to side with the arms swinging over the head."""
    look, beat, phase = wardrobe.look(), between(rng, 0.7, 1.1), between(rng, 0, TAU)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        s = np.sin(TAU * beat * t + phase)
        p = FRONT.copy()
        p[:2] = 16 * s, -10 * s
        p[2:6] = 100 + 60 * s, 140 + 60 * s, -100 + 60 * s, -140 + 60 * s
        p[6:10] = 14 + 16 * s, 8 - 12 * max(0.0, s), -14 + 16 * s, -8 - 12 * min(0.0, s)
        person(canvas, 0.12 * s, p, look)

    return Act(draw)


def handshake(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Two people walk up to each other and shake hands."""
    a, b, start = wardrobe.look(), wardrobe.look(), between(rng, 0.2, 0.4)
    beat = between(rng, 1.3, 1.9)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        apart = 0.46 - 0.2 * after(u, 0, start)
        shake = 9 * np.sin(TAU * beat * t)
        give = pose(4, near_arm=(52 + shake, 78 + shake), far_arm=(-8, 2))
        p = stride(TAU * 1.1 * t) if u < start else tween(u, (start, STAND), (start + 0.12, give), (1, give))
        person(canvas, -apart, p, a)
        person(canvas, apart, p, b, -1)

    return Act(draw)


def dance_pair(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """A couple turns round each other hand in hand."""
    a, b, pace = wardrobe.look(), wardrobe.look(), between(rng, 0.3, 0.5)
    phase = between(rng, 0, TAU)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        turn = TAU * pace * t + phase
        c = np.cos(turn)
        p = stride(2 * TAU * pace * t * 1.5, swing=16, knee=24)
        p[2:6] = 95, 120, 80, 100
        order = ((a, c), (b, -c)) if np.sin(turn) > 0 else ((b, -c), (a, c))
        for look, side in order:
            person(canvas, 0.3 * side, p, look, -1 if side > 0 else 1)

    return Act(draw)


def gather(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Several people come together from all sides and stand in a knot."""
    count = int(rng.integers(4, 7))
    looks = [wardrobe.look() for _ in range(count)]
    goals = rng.permutation(np.linspace(-0.2, 0.2, count)) + rng.uniform(-0.02, 0.02, count)
    sides = np.where(np.arange(count) % 2, 1, -1)
    depths = np.sort(rng.uniform(-0.05, 0.3, count))[::-1]
    arrive = between(rng, 0.6, 0.8)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        k = ease(after(u, 0, arrive))
        for i, look in enumerate(looks):
            x = goals[i] + sides[i] * 0.42 * (1 - k)
            p = STAND if k == 1 else stride(TAU * 1.2 * t + i)
            person(canvas, x, p, look, -int(sides[i]), 0.6, depths[i])

    return Act(draw)


def hug(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Two people walk up to each other and embrace."""
    a, b, start = wardrobe.look(), wardrobe.look(), between(rng, 0.25, 0.45)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        k = after(u, 0, start)
        sway = 4 * np.sin(TAU * 0.8 * t) * (k == 1)
        hold = pose(8 + sway, near_arm=(72, 104), far_arm=(66, 98), head=18)
        open_ = pose(0, near_arm=(80, 92), far_arm=(66, 80))
        p = stride(TAU * 1.1 * t) if k < 0.6 else tween(u, (0.6 * start, open_), (start, hold), (1, hold))
        if k < 0.6:
            p[2:6] = 40 + 60 * k, 55 + 60 * k, 30 + 60 * k, 45 + 60 * k
        person(canvas, 0.09 + 0.34 * (1 - k), p, b, -1)
        person(canvas, -0.09 - 0.34 * (1 - k), p, a)

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
