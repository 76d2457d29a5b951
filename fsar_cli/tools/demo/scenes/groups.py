"""Two people or more: greeting, passing a thing, dancing, meeting."""

import numpy as np

from fsar_cli.tools.demo.scenes.act import Act, Wardrobe, after, between
from fsar_cli.tools.demo.scenes.canvas import Canvas
from fsar_cli.tools.demo.scenes.people import STAND, ease, person, pose, stride, tween
from fsar_cli.tools.demo.scenes.solo import TAU


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


def hand_over(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """One person passes a parcel to another, who puts it on the shoulder."""
    a, b, paint = wardrobe.look(), wardrobe.look(), wardrobe.colour()
    start, side = between(rng, 0.25, 0.4), between(rng, 0.17, 0.23)
    hold = pose(near_arm=(20, 80), far_arm=(15, 75))
    reach = pose(8, near_arm=(72, 86), far_arm=(66, 80))
    lifted = pose(-6, near_arm=(110, 165), far_arm=(100, 160))

    def draw(canvas: Canvas, u: float, t: float) -> None:
        pa = tween(u, (0, hold), (start, reach), (start + 0.12, reach), (start + 0.35, STAND))
        pb = tween(u, (0, STAND), (start, reach), (start + 0.12, reach), (start + 0.42, lifted))
        at = person(canvas, -0.36, pa, a)
        bt = person(canvas, 0.36, pb, b, -1)
        x, y = (at if u < start + 0.06 else bt)["near_hand"]
        canvas.rect(x - side / 2, y - side / 2, x + side / 2, y + side / 2, paint)
        canvas.line([(x - side / 2, y), (x + side / 2, y)], 0.028, tuple(0.6 * c for c in paint))

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
