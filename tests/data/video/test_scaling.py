"""Extraction of many videos: what a video costs, and the memory, do not grow with their number."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from videos import make_video

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts memory in units of 1 KiB")
MEASURED = """
import resource, subprocess, sys
run = "from fsar_cli.cli.app import main; main()"
subprocess.run([sys.executable, "-c", run, "extract-frames", *sys.argv[1:]], check=True)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024)
"""


def _extract(videos: Path, out: Path) -> tuple[float, float]:
    """(CPU seconds, most memory of one process in MiB) of a run with two workers."""
    options = ["--short-side", "48", "--workers", "2", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, videos, out, *options], capture_output=True, text=True, check=True
    )
    cpu, memory = done.stdout.splitlines()[-1].split()
    return float(cpu), float(memory)


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
