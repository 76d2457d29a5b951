"""The time of a live source: stamps of one connection after the other -> seconds on one clock that only grows."""

import math
from collections import deque
from statistics import median_low
from typing import NamedTuple

JUMP = 10.0
"""Seconds by which stamps may run ahead of the time that went by; beyond, the clock of the source was set."""
FREEZE = 1.0
"""Seconds, and `SLOWER` usual steps, without a frame are a gap."""
SLOWER = 4
SHUFFLED = 4
"""Steps that a stamp may lie behind the newest without the clock having been set back."""
TICK = 0.001
"""Seconds after the frame before at which one with a repeated or shuffled stamp is shown."""


class Tick(NamedTuple):
    """When a frame is."""

    seconds: float
    """Since the source's first frame."""
    gap: bool
    """Whether footage is missing before it, or may be: a new connection, a freeze, a clock that was set."""
    missed: float
    """Seconds of footage that are missing before it."""


class StreamClock:
    """Within a connection the source's stamps tell the time; from one to the next, and where stamps jump, ours does."""

    def __init__(self) -> None:
        self._seconds: float | None = None
        self._stamp, self._offset, self._now = 0.0, 0.0, 0.0
        self._anchored = False
        self._steps: deque[float] = deque(maxlen=9)

    @property
    def step(self) -> float:
        """Usual seconds from frame to frame."""
        return median_low(self._steps) if self._steps else 0.04

    def reconnect(self) -> None:
        """What comes next has stamps of its own."""
        self._anchored = False

    def tick(self, stamp: float | None, now: float, trusted: bool = False) -> Tick:
        """The next frame.

        Args:
            stamp: its seconds by the source; None: one step after the frame before.
            now: seconds of our own clock, which grows.
            trusted: whether stamps may run ahead of our clock, as those of a file do.
        """
        if stamp is None:
            stamp = self._stamp + self.step if self._anchored else 0.0
        before, waited = self._seconds, max(now - self._now, self.step)
        delta = stamp - self._stamp
        if before is None:
            tick = self._anchor(0.0, stamp, Tick(0.0, False, 0.0))
        elif not self._anchored or self._was_set(delta, waited, trusted):
            tick = self._anchor(before + waited, stamp, Tick(before + waited, True, waited - self.step))
        elif delta <= 0:
            tick = Tick(before + TICK, False, 0.0)
        else:
            tick = self._go_on(before, stamp, delta)
        self._seconds, self._now = tick.seconds, now
        return tick

    def _was_set(self, delta: float, waited: float, trusted: bool) -> bool:
        return delta <= -SHUFFLED * self.step or (delta > waited + JUMP and not trusted)

    def _anchor(self, seconds: float, stamp: float, tick: Tick) -> Tick:
        self._offset, self._stamp, self._anchored = seconds - stamp, stamp, True
        return tick

    def _go_on(self, before: float, stamp: float, delta: float) -> Tick:
        seconds = max(self._offset + stamp, before + TICK)
        self._stamp = stamp
        self._steps.append(delta)
        freeze = delta > max(FREEZE, SLOWER * self.step)
        return Tick(seconds, freeze, delta - self.step if freeze else 0.0)


class TimeGrid:
    """Which frames a grid of times takes: the first at or after each of its times.

    Args:
        every: seconds of the grid, from 0 on; 0: every frame is taken.
    """

    def __init__(self, every: float) -> None:
        self._every, self._origin, self._next = every, 0.0, 0

    def takes(self, seconds: float, anew: bool = False) -> bool:
        """Whether it takes a frame.

        Args:
            seconds: of one source, growing.
            anew: whether the grid begins anew with this frame, as behind a gap.
        """
        if not self._every:
            return True
        if anew:
            self._origin, self._next = seconds, 0
        spare = 1e-6 * self._every  # times are sums of many steps
        number = math.floor((seconds - self._origin + spare) / self._every)
        if number < self._next:
            return False
        self._next = number + 1
        return True
