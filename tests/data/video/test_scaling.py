"""Extraction of many videos: what a video costs, and the memory, do not grow with their number."""

import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from videos import make_video

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of processes in /proc")
FSAR = [sys.executable, "-c", "from fsar_cli.cli.app import main; main()", "extract-frames"]


def _peak(pid: int) -> int:
    """Most memory a process has held so far, in MiB; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024
    except (OSError, StopIteration):
        return 0


def _family(parent: int) -> list[int]:
    """A process and its children."""
    family = [parent]
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(entry.read_text().rsplit(")", 1)[1].split()[1]) == parent:
                family.append(int(entry.parent.name))
        except OSError:
            continue
    return family


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _extract(videos: Path, out: Path) -> tuple[float, int]:
    """(CPU seconds, most memory of one process in MiB) of a run with two workers."""
    before, peak, done = _cpu(), 0, threading.Event()
    process = subprocess.Popen([*FSAR, videos, out, "--short-side", "48", "--workers", "2", "--quiet"])
    try:
        while process.poll() is None:
            peak = max(peak, *map(_peak, _family(process.pid)))
            done.wait(0.2)
    finally:
        process.kill()
    assert process.wait() == 0
    return _cpu() - before, peak


def _many(folder: Path, video: Path, count: int) -> Path:
    for number in range(count):
        place = folder / f"class{number % 50:02d}" / f"{number:05d}.mp4"
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(video, place)
    return folder


@pytest.mark.slow
def test_cost_per_video_and_memory_are_flat(tmp_path: Path) -> None:
    video = make_video(tmp_path / "tiny.mp4", frames=8)
    counts = (100, 600, 2000)
    runs = [_extract(_many(tmp_path / f"v{n}", video, n), tmp_path / f"out{n}") for n in counts]
    (start, small), (middle, _), (end, large) = runs
    # Differences leave out what starting costs.
    first, later = (middle - start) / (counts[1] - counts[0]), (end - middle) / (counts[2] - counts[1])
    assert later < 1.5 * first, runs
    assert large < small + 40, runs
    again, _ = _extract(tmp_path / "v2000", tmp_path / "out2000")
    assert again < start + 2000 * first / 4, "a second run only looks"
