"""What the machine gives: processor cores, memory, and a folder for what can be made anew."""

import os
from collections.abc import Iterator
from pathlib import Path


def cores(at_most: int | None = None) -> int:
    """Processor cores this process may use, or `at_most` where there are more."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, at_most or available)


def available_memory(root: Path = Path("/")) -> int:
    """Bytes of memory that could be taken now, by the machine and by the limits of the containers around this process.

    Args:
        root: where `proc` and `sys` are.
    """
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        machine = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux
        return 4 * 2**30
    return max(0, min([machine, *_left_in_groups(root)]))


def _left_in_groups(root: Path) -> Iterator[int]:
    """Bytes left in each control group with a limit: version 2 from the process's own up, and version 1."""
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in groups:
        _, kinds, name = line.split(":", 2)
        if kinds not in ("", "memory") and "memory" not in kinds.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("memory" if kinds else "")
        files = ("memory.limit_in_bytes", "memory.usage_in_bytes") if kinds else ("memory.max", "memory.current")
        # Inside a container the name may be one of the host's; what is mounted at the top is then the container's.
        place = top / name.lstrip("/")
        for folder in (place, *place.parents):
            yield from _left(folder, *files)
            if folder == top:
                break


def _left(folder: Path, limit: str, used: str) -> Iterator[int]:
    try:
        most, now = (folder / limit).read_text(encoding="ascii").strip(), int((folder / used).read_text())
        facts = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        return
    if most != "max":
        # Files that were read count as used until somebody needs the room.
        files = int(facts.get("total_inactive_file", facts.get("inactive_file", 0)))
        yield int(most) - now + files


def cache_folder(*parts: str) -> Path:
    """FSAR_CACHE, else `fsar` in XDG_CACHE_HOME, else ~/.cache/fsar; with `parts`, a folder in it, made by its user."""
    chosen, base = os.environ.get("FSAR_CACHE"), Path(os.environ.get("XDG_CACHE_HOME") or "")
    # The desktop standard has relative places ignored.
    folder = Path(chosen) if chosen else (base if base.is_absolute() else Path.home() / ".cache") / "fsar"
    return folder.joinpath(*parts)
