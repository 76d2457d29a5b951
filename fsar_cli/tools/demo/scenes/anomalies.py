"""The anomalous actions: what a guard would want to be told about. Never used for training."""

import numpy as np

from fsar_cli.tools.demo.scenes.act import TAU, Act, Wardrobe, after, between
from fsar_cli.tools.demo.scenes.canvas import Canvas
from fsar_cli.tools.demo.scenes.people import LYING, STAND, ease, person, pose, running, stride, tween
from fsar_cli.tools.demo.scenes.things import STEEL, Stream, car_body, plume


def fall(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Walks a few steps, collapses and stays down."""
    look, start, lasts = wardrobe.look(), between(rng, 0.15, 0.35), between(rng, 0.18, 0.3)
    knees = pose(lean=30, near_arm=(60, 80), far_arm=(30, 70), near_leg=(40, -70), far_leg=(20, -80), head=50)
    down = LYING + np.array([0, 0, *rng.uniform(-35, 35, 4), *rng.uniform(-10, 10, 4), 0, 0])

    def draw(canvas: Canvas, u: float, t: float) -> None:
        x = -0.3 + 0.22 * after(u, 0, start + lasts)
        upright = stride(TAU * 1.1 * t) if u < start else STAND
        twitch = np.zeros(12)
        twitch[2:6] = 6 * np.sin(TAU * t) * (u > start + lasts)
        p = tween(u, (0, upright), (start, upright), (start + 0.5 * lasts, knees), (start + lasts, down)) + twitch
        person(canvas, x, p, look)

    return Act(draw)


def fight(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Two people punch, kick and push each other back and forth."""
    a, b, beat = wardrobe.look(), wardrobe.look(), between(rng, 1.3, 1.8)
    phase, drift = between(rng, 0, 1), between(rng, 0.3, 0.6)
    guard = pose(14, (58, 130), (40, 120), (24, -8), (-26, -34))
    punch = pose(28, (88, 90), (30, 120), (34, -2), (-34, -40))
    kick = pose(-22, (20, 100), (-30, 60), (86, 78), (-4, -10))
    hurt = pose(-26, (70, 120), (-50, -20), (16, -12), (-22, -50), head=-45)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        k = beat * t + phase
        hit = np.sin(np.pi * (k % 1.0)) ** 0.7
        blow = kick if int(k) % 3 == 2 else punch
        strike, suffer = guard + (blow - guard) * hit, guard + (hurt - guard) * hit
        first = int(k) % 2 == 0
        x = 0.1 * np.sin(TAU * drift * t)
        person(canvas, x - 0.23 + 0.07 * hit * first, strike if first else suffer, a)
        person(canvas, x + 0.23 - 0.07 * hit * (not first), suffer if first else strike, b, -1)

    return Act(draw)


def fire(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Flames take hold of a heap of rubbish and grow."""
    stream, grow = Stream(rng, 60, between(rng, 0.55, 0.75)), between(rng, 0.35, 0.6)
    smoke, junk = Stream(rng, 14, 1.3), wardrobe.colour()
    wide, high = between(rng, 0.24, 0.34), between(rng, 0.7, 0.95)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        size = grow + (1 - grow) * ease(u * 1.2)
        age, r = stream.ages(t), stream.random
        lick = 0.06 * np.sin(9 * age + 8 * t + 3 * r[:, 3])
        x = size * wide * r[:, 0] * (1 - 0.85 * age) + lick * age
        y = 0.1 + size * high * age * (0.6 + 0.4 * r[:, 1])
        heat = np.stack([np.ones_like(age), 0.85 - 0.7 * age, 0.35 - 0.35 * age], 1)
        s_age, s_x, s_y = plume(smoke, t, 0.5, 0.1, 0.12)
        canvas.puff(s_x, s_y + 0.65 * size, 0.07 + 0.06 * s_age, (0.16, 0.15, 0.15), 0.35 * (1 - s_age))
        canvas.puff(x, y, size * (0.085 - 0.05 * age), heat, 1.5 * (1 - age), shines=True)
        canvas.glow([0.0], [0.3], [0.3], (1.0, 0.5, 0.15), [0.28 + 0.08 * np.sin(31 * t)])

    def heap(canvas: Canvas) -> None:
        canvas.poly([(-0.36, 0), (-0.2, 0.18), (0.02, 0.22), (0.24, 0.15), (0.36, 0)], tuple(0.4 * c for c in junk))

    return Act(draw, heap)


def smoke(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Thick dark smoke wells up and spreads."""
    stream, drift = Stream(rng, 60, 2.2), between(rng, -0.1, 0.35)
    tone, rise = between(rng, 0.08, 0.3), between(rng, 0.85, 1.05)
    grow = between(rng, 0.25, 0.5)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        size = grow + (1 - grow) * ease(u)
        age, x, y = plume(stream, t, rise * size, drift * size, 0.3 * size)
        shade = tone * (1 + 0.75 * stream.random[:, 2:3]) * np.array([1.0, 0.98, 0.96])
        canvas.puff(x, y + 0.08, (0.045 + 0.075 * age) * (0.6 + 0.4 * size), shade, 1.1 * (1 - age) ** 0.5)

    return Act(draw)


def explosion(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """A box bursts: flash, fireball, flying debris, a ring of dust."""
    start, count = between(rng, 0.12, 0.32), 34
    angle, speed = rng.uniform(-0.2, np.pi + 0.2, count), rng.uniform(0.4, 1.0, count)
    ball, paint = rng.normal(0, 1, (56, 3)), wardrobe.colour()

    def draw(canvas: Canvas, u: float, t: float) -> None:
        if u < start:
            canvas.shadow(0, 0.34)
            canvas.rect(-0.15, 0, 0.15, 0.28, paint)
            canvas.rect(-0.15, 0.2, 0.15, 0.24, (0.9, 0.1, 0.1))
            return
        k = after(u, start, 1.05)
        out = 1 - (1 - k) ** 3
        size = 0.08 + 0.34 * out
        x, y = 0.5 * size * ball[:, 0], 0.3 + 0.25 * k + 0.45 * size * ball[:, 1]
        cool = np.clip(k * 1.7 + 0.3 * ball[:, 2:3], 0, 1)
        colour = (1 - cool) * np.array([1.0, 0.62, 0.12]) + cool * np.array([0.2, 0.17, 0.15])
        canvas.puff(x, np.maximum(y, 0.02), 0.035 + 0.06 * out, colour, 1.3 * (1 - k) ** 0.6, shines=True)
        canvas.glow([0.0], [0.3], [0.12 + 0.4 * out], (1.0, 0.9, 0.66), [2.6 * max(0.0, 1 - 3.5 * k)])
        fx, fy = 0.66 * speed * out * np.cos(angle), 0.25 + 0.9 * speed * out * np.sin(angle) - 0.75 * k * k
        for i in range(0, count, 2):
            if fy[i] > -0.02:
                canvas.disc(fx[i], fy[i], 0.034, (0.12, 0.1, 0.09) if i % 4 else (1.0, 0.6, 0.15), shines=i % 4 == 0)

    return Act(draw)


def dispersal(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """A standing crowd breaks up: everybody runs, each a different way."""
    count, start = int(rng.integers(5, 8)), between(rng, 0.15, 0.35)
    looks = [wardrobe.look() for _ in range(count)]
    angle = np.linspace(0, TAU, count, endpoint=False) + rng.uniform(-0.3, 0.3, count)
    order = np.argsort(-np.sin(angle))

    def draw(canvas: Canvas, u: float, t: float) -> None:
        k = after(u, start, 1.0)
        far = 0.17 + 0.4 * k
        for i in order:
            x, y = far * np.cos(angle[i]), 0.26 + 0.5 * far * np.sin(angle[i])
            p = running(TAU * 2.2 * t + i) if k > 0 else STAND
            person(canvas, x, p, looks[i], 1 if np.cos(angle[i]) > 0 else -1, 0.52, y)

    return Act(draw)


def spray_paint(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Sprays a scrawl on to a wall, which grows stroke by stroke."""
    look, tag, panel = wardrobe.look(), wardrobe.colour(), (0.78, 0.77, 0.74)
    k = np.linspace(0, 1, 40)
    a, b = between(rng, 2.0, 3.2), between(rng, 0, TAU)
    tag = tag if max(abs(c - p) for c, p in zip(tag, panel, strict=True)) > 0.35 else (0.8, 0.08, 0.12)
    scrawl = np.stack([0.02 + 0.42 * k, 0.72 + 0.2 * np.sin(TAU * a * k + b)], 1)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        shown = 2 + int(37 * after(u, 0.05, 0.95))
        canvas.line([tuple(q) for q in scrawl[:shown]], 0.085, tag)
        tx, ty = scrawl[shown - 1]
        aim = np.degrees(np.arctan2(tx + 0.34, 0.9 - ty))
        at = person(canvas, -0.34 + 0.22 * u, pose(4, (aim, aim + 4), (-8, 6)), look)
        x, y = at["near_hand"]
        canvas.rect(x - 0.035, y - 0.03, x + 0.035, y + 0.1, STEEL)
        canvas.puff(np.linspace(x + 0.05, tx, 6), np.linspace(y + 0.05, ty, 6), 0.035, tag, 0.5)

    def wall(canvas: Canvas) -> None:
        canvas.rect(-0.1, 0.02, 0.6, 1.15, panel)
        canvas.rect(-0.13, 1.12, 0.63, 1.2, (0.45, 0.42, 0.38))

    return Act(draw, wall)


def banner(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Two protesters hold a lettered banner and pump it up and down."""
    a, b, cloth = wardrobe.look(), wardrobe.look(), wardrobe.colour()
    ink = (0.06, 0.05, 0.05) if sum(cloth) > 1.4 else (0.98, 0.97, 0.95)
    beat, words = between(rng, 0.7, 1.1), rng.uniform(0.05, 0.13, 8)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        s = np.sin(TAU * beat * t)
        p = pose(0, (110 + 22 * s, 160 + 10 * s), (-100 - 22 * s, -155), (8, 3), (-8, -3))
        low = 0.86 + 0.1 * s
        for x, look, way in ((-0.38, a, 1), (0.38, b, -1)):
            person(canvas, x, p, look, way, 0.85)
        hem = [(x, low + 0.03 * np.sin(6 * x + 5 * t)) for x in np.linspace(-0.6, 0.6, 9)]
        canvas.poly([*hem, (0.6, low + 0.36), (-0.6, low + 0.36)], cloth)
        for row, y in enumerate((low + 0.25, low + 0.12)):
            left = -0.5
            for word in words[row * 4 : row * 4 + 4]:
                canvas.rect(left, y - 0.035, left + 1.6 * word, y + 0.045, ink)
                left += 1.6 * word + 0.07

    return Act(draw)


def snatch(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """A runner tears a bag from a passer-by, who falls on the backside, and is off."""
    victim, thief, bag = wardrobe.look(), wardrobe.look(), wardrobe.colour()
    meet = between(rng, 0.32, 0.48)
    pulled = pose(40, (95, 95), (60, 70), (30, -20), (-20, -40))
    down = pose(-42, (-60, -30), (-70, -45), (88, 62), (74, 96), head=-30)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        p = tween(u, (0, STAND), (meet, STAND), (meet + 0.12, pulled), (meet + 0.34, down))
        at = person(canvas, 0.06, p, victim)
        near, away = after(u, 0.0, meet), after(u, meet, 0.95)
        x = -0.5 + 0.46 * near + 0.36 * away
        q = running(TAU * 2.2 * t)
        if near > 0.75:
            q[2:4] = 80, 92
        bt = person(canvas, x, q, thief)
        hx, hy = bt["near_hand"] if u > meet else at["near_hand"]
        canvas.rect(hx - 0.1, hy - 0.17, hx + 0.1, hy - 0.02, bag)
        canvas.line([(hx - 0.06, hy - 0.03), (hx, hy + 0.02), (hx + 0.06, hy - 0.03)], 0.025, bag)

    return Act(draw)


def car_crash(rng: np.random.Generator, wardrobe: Wardrobe) -> Act:
    """Two cars run into each other: they rear up, glass and dust fly, smoke rises from the bonnets."""
    a, b, hit = wardrobe.colour(), wardrobe.colour(), between(rng, 0.25, 0.42)
    bits, dust = rng.uniform(-1, 1, (26, 3)), Stream(rng, 22, 1.4)
    ratio = between(rng, -0.05, 0.05)

    def draw(canvas: Canvas, u: float, t: float) -> None:
        apart = 0.48 - 0.22 * after(u, 0, hit)
        k = after(u, hit, 1.0)
        back = 0.06 * ease(4 * k)
        rear = 0.34 * np.sin(np.pi * min(1.0, 3.2 * k)) + 0.12 * min(1.0, 3 * k)
        car_body(canvas, ratio - apart - back, a, 1, apart / 0.085, rear)
        car_body(canvas, ratio + apart + back, b, -1, apart / 0.085, 0.8 * rear)
        if k == 0:
            return
        out = 1 - (1 - k) ** 2
        for dx, dy, shade in bits:
            y = 0.24 + (0.5 + 0.45 * dy) * 2.2 * out * (1 - k) - 0.2 * k
            if y > 0:
                canvas.disc(ratio + 0.5 * dx * out, y, 0.028, (0.5 + 0.4 * shade,) * 3)
        age, x, y = plume(dust, t, 0.75, 0.05, 0.2)
        born = (age * dust.life < (u - hit) * 2.4) * (1 - age)
        canvas.puff(ratio + x, 0.25 + y, 0.07 + 0.08 * age, (0.8, 0.79, 0.77), 0.6 * born)
        canvas.glow([ratio], [0.3], [0.16], (1.0, 0.9, 0.7), [1.6 * max(0.0, 1 - 7 * k)])

    return Act(draw)
