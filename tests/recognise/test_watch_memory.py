"""Days of a stream in bounded memory: hours of a made-up camera, thousands of times as fast as time."""

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event as Flag

import numpy as np
import pytest
from own_videos import BrightnessRecognizer

from fsar_cli.data.video.live import LiveFrame
from fsar_cli.data.video.live.board import StreamState
from fsar_cli.recognise import watch as watching
from fsar_cli.recognise.calibration import AlarmLevel
from fsar_cli.recognise.events import EventRule

LEVEL = AlarmLevel(EventRule(threshold=0.4, release=0.3, agree=2, among=2, merge=0.0), 1.0, 0, 1.0)
HOURS, WARM = 3.0, 1.0
MOST_MIB = 2.0  # an hour; events themselves, some hundreds, are kept


def resident() -> float:
    """MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class MadeUpCamera:
    """Five frames a second; bright for two seconds of twenty, with a gap an hour."""

    finite, name = True, "camera:0"

    def __init__(self, *_: object, **__: object) -> None:
        dice = np.random.default_rng(0)
        self._dark, self._light = (dice.integers(0, 20, (32, 32, 3), np.uint8) + np.uint8(add) for add in (0, 200))
        self.memory: list[tuple[float, float]] = []

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...

    def state(self) -> StreamState:
        return StreamState("live", 1, 5.0, 0.0, {}, 0.0, 0, "")

    def __iter__(self) -> Iterator[LiveFrame]:
        for number in range(round(HOURS * 18_000)):
            seconds = 0.2 * number
            if number % 1_800 == 0:
                self.memory.append((seconds / 3600, resident()))
            light = self._light if seconds % 20 < 2 else self._dark
            yield LiveFrame(seconds, light.copy(), 1e9 + seconds, number % 18_000 == 17_999)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell how much is resident")
def test_memory_stays_flat_for_hours(tmp_path: Path, monkeypatch, record_property, capsys) -> None:
    cameras = []
    monkeypatch.setattr(watching, "LiveSource", lambda *a, **k: cameras.append(MadeUpCamera()) or cameras[-1])
    found = watching.watch(BrightnessRecognizer(), ["camera:0"], tmp_path, LEVEL, stop=Flag(), windows=True)[0]
    hours, mib = np.array([point for point in cameras[0].memory if point[0] >= WARM]).T
    slope = float(np.polyfit(hours, mib, 1)[0])
    record_property("mib_an_hour", slope)
    with capsys.disabled():
        print(f"\nresident memory: {slope:+.2f} MiB an hour of stream, {mib[-1]:.0f} MiB after {HOURS:g} hours")
    assert slope < MOST_MIB
    assert found.windows > 0.99 * HOURS * 18_000 and found.passed_over == 0 and len(found.gaps) == HOURS
    assert len([named for named in found.events if named.event.cls == "bright"]) == pytest.approx(180 * HOURS, abs=5)
