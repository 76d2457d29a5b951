"""The most memory that a piece of work took: of the GPU, or of this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Peak:
    """Filled when the block ends."""

    bytes: int | None = None
    """None where the system does not tell."""


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure the largest memory in use within the block: allocated on the GPU, or resident on the machine."""
    found = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield found
        found.bytes = torch.cuda.max_memory_allocated(device)
        return
    known = _reset()
    yield found
    found.bytes = _highest() if known else None


def _reset() -> bool:
    """Forget the highest mark so far."""
    try:
        RESET.write_text("5", encoding="ascii")
    except OSError:  # not Linux, or not allowed here
        return False
    return True


def _highest() -> int | None:
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), None)
