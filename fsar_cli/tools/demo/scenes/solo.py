"""One person moving without anything in hand."""

import numpy as np

from fsar_cli.tools.demo.scenes.act import Act, Wardrobe, after, between, to_and_fro
from fsar_cli.tools.demo.scenes.canvas import Canvas
from fsar_cli.tools.demo.scenes.people import FRONT, SIT, STAND, person, pose, running, stride, tween

TAU = 2 * np.pi


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
        person(canvas, 0.8 * to_and_fro(lap) - 0.4, running(TAU * 2.1 * t), look, 1 if lap % 1 < 0.5 else -1)

    return Act(draw)


def sit_down(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Lowers onto a bench and stays seated."""
    look, wood = wardrobe.look(), wardrobe.colour()
    start, lasts = between(rng, 0.1, 0.35), between(rng, 0.2, 0.35)
    mid = pose(lean=32, near_arm=(30, 60), far_arm=(20, 50), near_leg=(58, -22), far_leg=(50, -28))
    keys = (0.0, STAND), (start, STAND), (start + lasts * 0.6, mid), (start + lasts, SIT)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        back = -0.2 * after(u, start, start + lasts)
        person(canvas, 0.1 + back, tween(u, *keys), look)

    def bench(canvas: Canvas) -> None:
        canvas.rect(-0.34, 0.17, 0.02, 0.24, wood)
        canvas.rect(-0.4, 0.2, -0.34, 0.55, wood)
        for x in (-0.34, -0.04):
            canvas.rect(x, 0.0, x + 0.05, 0.2, tuple(0.6 * c for c in wood))

    return Act(draw, bench)


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
    look, beat, phase = wardrobe.look(), between(rng, 0.6, 0.95), between(rng, 0, 1)
    up = pose(near_arm=(88, 90), far_arm=(80, 84))
    down = pose(lean=30, near_arm=(88, 90), far_arm=(80, 84), near_leg=(102, -36), far_leg=(94, -42))

    def draw(canvas: Canvas, u: float, t: float) -> None:
        person(canvas, 0.0, up + (down - up) * (0.5 - 0.5 * np.cos(TAU * (beat * t + phase))), look)

    return Act(draw)


def bow(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Touches the toes and reaches for the sky in turn."""
    look, beat, phase = wardrobe.look(), between(rng, 0.45, 0.7), between(rng, 0, 1)
    up = pose(lean=-6, near_arm=(172, 176), far_arm=(184, 182))
    down = pose(lean=112, near_arm=(18, 12), far_arm=(8, 4), near_leg=(-6, -3), far_leg=(-10, -6), head=125)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        person(canvas, -0.1, up + (down - up) * (0.5 - 0.5 * np.cos(TAU * (beat * t + phase))), look)

    return Act(draw)


def push_ups(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Push-ups on the ground."""
    look, beat, phase = wardrobe.look(), between(rng, 0.8, 1.2), between(rng, 0, 1)
    up = pose(lean=66, near_arm=(4, -2), far_arm=(-4, -8), near_leg=(-66, -66), far_leg=(-64, -64), head=55)
    down = pose(lean=84, near_arm=(-62, 38), far_arm=(-66, 34), near_leg=(-85, -85), far_leg=(-84, -84), head=70)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        person(canvas, 0.02, up + (down - up) * (0.5 - 0.5 * np.cos(TAU * (beat * t + phase))), look)

    return Act(draw)


def cartwheel(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Turns a cartwheel across the stage."""
    look, turns, wide = wardrobe.look(), between(rng, 1.0, 1.5), between(rng, 25, 38)
    start = between(rng, 0.0, 0.12)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        k = after(u, start, 0.95)
        p = pose(0, (155, 160), (-155, -160), (wide, wide), (-wide, -wide), spin=360 * turns * k)
        person(canvas, 0.5 * k - 0.25, p, look)

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
