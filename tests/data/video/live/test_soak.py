"""An hour of a stream that is lost every three minutes, at sixty times its speed: nothing grows.

FFmpeg keeps the first 5 MB of each connection for a while, so memory goes up and down by some of that.
"""

import ctypes
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from streams import http_server, live, paced, transport_chunks
from videos import make_video

from fsar_cli.data.video.live import source

SPEED = 60.0
MINUTES = 60


class FastClock:
    """The machine's clock, `SPEED` times as fast."""

    def time(self) -> float:
        return time.time() * SPEED

    def monotonic(self) -> float:
        return time.monotonic() * SPEED


def resident() -> float:
    """MiB of memory that this process needs, less what its allocator keeps for later."""
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_an_hour_of_a_stream_does_not_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    monkeypatch.setattr(source, "BACK_OFF", (0.02,))
    path = make_video(
        tmp_path / "a.mp4", frames=4500, fps=25, gop=25, content="motion", options={"preset": "ultrafast"}
    )
    chunks = transport_chunks(path)

    def programme(_: int) -> Iterator[bytes]:
        return paced(chunks, SPEED)

    memory, taken = [], 0
    settings = {"every": 0.2, "stall": 1200.0, "connect_timeout": 600.0, "staleness": 30.0, "clock": FastClock()}
    with http_server(programme) as address, live(address, **settings) as stream:
        begun = time.monotonic()
        while (minute := (time.monotonic() - begun) * SPEED / 60) < MINUTES:
            taken += len(stream.take(0.05))
            if minute >= len(memory):
                memory.append(resident())
        state = stream.state()
    settled = memory[MINUTES // 4 :]
    slope = float(np.polyfit(np.arange(len(settled)), settled, 1)[0]) * 60
    record_property("MiB an hour", slope)
    print(f"{state}; {taken} taken; {memory[0]:.1f} MiB at first, {memory[-1]:.1f} at last, {slope:+.2f} MiB an hour")
    assert state.reconnects >= 15
    assert state.frames > 0.9 * MINUTES * 60 * 25
    assert taken + state.drops.get("slow reader", 0) == pytest.approx(state.frames / 5, rel=0.01)
    assert max(settled) - min(settled) < 6
    assert slope < 4
