"""Seconds of a piece of work: the median of repeats after a warm-up, with the device's queue emptied around each.

Two forms of the same work are measured in turn (A B A B ...), so that whatever else the machine does meets both.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch

Work = Callable[[], object]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Timing:
    """Seconds of each repeat."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The figure that is reported."""
        return median(self.seconds)

    @property
    def spread(self) -> float:
        """(largest - smallest) / median."""
        return (max(self.seconds) - min(self.seconds)) / self.median if self.median else 0.0


@dataclass(frozen=True)
class Repeats:
    """How often: until `seconds` have passed, but at least `least` and at most `most` times; `warmup` more before."""

    least: int = 3
    most: int = 15
    seconds: float = 10.0
    warmup: int = 1


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def once(work: Work, device: torch.device, clock: Clock = time.perf_counter) -> float:
    """Seconds of one run."""
    synchronize(device)
    started = clock()
    work()
    synchronize(device)
    return clock() - started


def in_turn(
    forms: Mapping[str, Work], device: torch.device, repeats: Repeats, clock: Clock = time.perf_counter
) -> dict[str, Timing]:
    """Time several forms of the same work, a round of all of them at a time.

    Args:
        repeats: of rounds.
        clock: seconds; tests give their own.
    """
    for _ in range(repeats.warmup):
        for work in forms.values():
            once(work, device, clock)
    found: dict[str, list[float]] = {name: [] for name in forms}
    started, rounds = clock(), 0
    while rounds < repeats.least or (rounds < repeats.most and clock() - started < repeats.seconds):
        for name, work in forms.items():
            found[name].append(once(work, device, clock))
        rounds += 1
    return {name: Timing(tuple(seconds)) for name, seconds in found.items()}
