"""Seconds, arithmetic and memory of a piece of work, and what the machine reaches at best.

Two forms of the same work are timed in turn (A B A B ...), so that whatever else the machine does meets both. The
ceiling is not a data sheet's: it is the fastest matrix product of torch on this machine, now, with these threads.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

Work = Callable[[], object]
Clock = Callable[[], float]
# Sides of the products: square ones, and those of a cross-transformer (tuples of an episode x key_dim, x 3 frames).
SHAPES = {
    "cpu": ((1024, 1024, 1024), (2048, 2048, 2048), (3360, 1152, 6144)),
    "cuda": ((4096, 4096, 4096), (8192, 8192, 8192), (3360, 1152, 6144)),
}
COPIED = {"cpu": 2**28, "cuda": 2**30}
"""Bytes of a copy: more than the caches hold."""
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


def product_ceiling(device: torch.device, dtype: torch.dtype, repeats: Repeats) -> float:
    """FLOP/s of the fastest of some matrix products, at its best repeat."""
    rates = []
    for rows, columns, inner in SHAPES[device.type]:
        a, b = (torch.rand(shape, device=device).to(dtype) for shape in ((rows, inner), (inner, columns)))
        timing = in_turn({"product": lambda a=a, b=b: a @ b}, device, repeats)["product"]
        rates.append(2 * rows * columns * inner / min(timing.seconds))
    return max(rates)


def copy_bandwidth(device: torch.device, repeats: Repeats) -> float:
    """Bytes/s of copying a large tensor, reading and writing counted."""
    source = torch.ones(COPIED[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    timing = in_turn({"copy": lambda: target.copy_(source)}, device, repeats)["copy"]
    return 2 * source.numel() / min(timing.seconds)


@dataclass
class Peak:
    """The most memory in use within a block; filled when the block ends."""

    bytes: int | None = None
    """None where the system does not tell."""


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure the largest memory in use within the block: allocated on the GPU, or resident on the machine."""
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated(device)
        return
    try:
        RESET.write_text("5", encoding="ascii")  # forget the highest mark so far
    except OSError:  # not Linux, or not allowed here
        yield peak
        return
    yield peak
    lines = STATUS.read_text(encoding="ascii").splitlines()
    peak.bytes = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), None)
