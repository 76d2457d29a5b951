"""Resident memory over hours of simulated time, its slope, and a leak to see that it would be found."""

import ctypes
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

KNOWN = Path("/proc/self/statm").exists()
EVERY = 0.05  # hours between two looks
LEAK_MIB = 8.0  # an hour


def resident() -> float:
    """MiB that this process has, less what its allocator keeps for later."""
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass
class MemoryOverTime:
    """Is shown the simulated time, and looks at the memory now and then.

    Args:
        leaks: plant a leak of `LEAK_MIB` an hour.
    """

    leaks: bool = False
    points: list[tuple[float, float]] = field(default_factory=list)
    """(hours, MiB)"""
    _leaked: list[bytearray] = field(default_factory=list)

    def at(self, hours: float) -> None:
        """The simulated time; it only grows."""
        if self.points and hours < self.points[-1][0] + EVERY:
            return
        if self.leaks:
            self._leaked.append(bytearray(np.random.default_rng(0).bytes(round(LEAK_MIB * EVERY * 2**20))))
        self.points.append((hours, resident()))

    def slope(self, warm: float) -> float:
        """MiB an hour, without the first `warm` hours."""
        hours, mib = np.array([point for point in self.points if point[0] >= warm]).T
        return float(np.polyfit(hours, mib, 1)[0])

    def words(self, warm: float) -> str:
        return f"{self.slope(warm):+.2f} MiB an hour, {self.points[-1][1]:.0f} MiB after {self.points[-1][0]:.1f} hours"
