"""What the machine gives: processor cores, and a folder for what can be made anew."""

import os
from pathlib import Path


def cores(at_most: int | None = None) -> int:
    """Processor cores this process may use, or `at_most` where there are more."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, at_most or available)


def cache_folder(*parts: str) -> Path:
    """FSAR_CACHE, else `fsar` in XDG_CACHE_HOME, else ~/.cache/fsar; with `parts`, a folder in it, made by its user."""
    chosen, base = os.environ.get("FSAR_CACHE"), Path(os.environ.get("XDG_CACHE_HOME") or "")
    # The desktop standard has relative places ignored.
    folder = Path(chosen) if chosen else (base if base.is_absolute() else Path.home() / ".cache") / "fsar"
    return folder.joinpath(*parts)
