"""Seconds, arithmetic and memory of a piece of work.

Two forms of the same work are timed in turn (A B A B ...), so that whatever else the machine does meets both.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

Work = Callable[[], object]
Clock = Callable[[], float]
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


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


def once(work: Work, device: torch.device, clock: Clock = time.perf_counter) -> float:
    """Seconds of one run, with the device's queue emptied before and after."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - started


def in_turn(
    forms: Mapping[str, Work], device: torch.device, repeats: Repeats, clock: Clock = time.perf_counter
) -> dict[str, Timing]:
    """Time several forms of the same work, a round of all of them at a time."""
    for _ in range(repeats.warmup):
        for work in forms.values():
            once(work, device, clock)
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    started, rounds = clock(), 0
    while rounds < repeats.least or (rounds < repeats.most and clock() - started < repeats.seconds):
        for name, work in forms.items():
            seconds[name].append(once(work, device, clock))
        rounds += 1
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def flops_of(work: Work) -> int:
    """Floating-point operations of the matrix products and convolutions of a run of `work` (which must not be in
    inference mode, where torch does not take layers apart)."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def peak_memory(work: Work, device: torch.device) -> int | None:
    """The most bytes in use while `work` runs: allocated on the GPU, or resident; None where it is not told."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device)
    try:
        RESET.write_text("5", encoding="ascii")  # forget the highest mark so far
    except OSError:  # not Linux, or not allowed here
        return None
    work()
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), None)
