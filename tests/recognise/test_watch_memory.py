"""A day of a stream and of a file in bounded memory: hours that a camera and a reader make up, far faster than time."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event as Flag

import numpy as np
import pytest
from long_memory import KNOWN, LEAK_MIB, MemoryOverTime
from own_videos import BrightnessRecognizer
from videos import make_video

from fsar_cli.data.video.live import LiveFrame
from fsar_cli.data.video.live.board import StreamState
from fsar_cli.recognise import watch as watching
from fsar_cli.recognise.calibration import AlarmLevel
from fsar_cli.recognise.events import EventRule, ScoredWindow
from fsar_cli.recognise.scan import ScannedVideo, scan_files
from fsar_cli.recognise.watched import WatchedSource

LEVEL = AlarmLevel(EventRule(threshold=0.4, release=0.3, agree=2, among=2, merge=0.0), 1.0, 0, 1.0)
DAY, SHORT = 24.0, 0.75
WARM = {DAY: 3.0, SHORT: 0.25}
MOST_MIB = {DAY: 0.1, SHORT: 2.0}  # an hour; a short while tells less
SECONDS = 0.2  # from frame to frame, and from window to window
CASES = [(SHORT, False), (SHORT, True), pytest.param(DAY, False, marks=pytest.mark.slow)]

pytestmark = pytest.mark.skipif(not KNOWN, reason="the system does not tell how much is resident")


def is_bright(seconds: float) -> bool:
    """Two seconds of twenty."""
    return seconds % 20 < 2


class MadeUpCamera:
    """Five frames a second, with a gap an hour."""

    finite, name = True, "camera:0"

    def __init__(self, hours: float, memory: MemoryOverTime) -> None:
        dice = np.random.default_rng(0)
        self._dark, self._light = (dice.integers(0, 20, (32, 32, 3), np.uint8) + np.uint8(add) for add in (0, 200))
        self._hours, self._memory = hours, memory

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...

    def state(self) -> StreamState:
        return StreamState("live", 1, 5.0, 0.0, {}, 0.0, 0, "")

    def __iter__(self) -> Iterator[LiveFrame]:
        for number in range(round(self._hours * 18_000)):
            seconds = SECONDS * number
            self._memory.at(seconds / 3600)
            light = self._light if is_bright(seconds) else self._dark
            yield LiveFrame(seconds, light.copy(), 1e9 + seconds, number % 18_000 == 17_999)


class MadeUpReader(BrightnessRecognizer):
    """Windows of a file that is said to be so long."""

    def __init__(self, hours: float, memory: MemoryOverTime) -> None:
        super().__init__()
        self._hours, self._memory = hours, memory

    def windows(self, video: Path, start: float = 0.0, origin: float | None = None) -> Iterator[ScoredWindow]:
        for number in range(round(self._hours * 18_000)):
            seconds = round(SECONDS * number, 3)
            self._memory.at(seconds / 3600)
            scores = np.array([0.0, 0.8 if is_bright(seconds) else 0.1], np.float32)
            track = tuple((round(seconds + SECONDS * i, 3), (0.25, 0.25, 0.75, 0.75)) for i in range(4))
            yield ScoredWindow(seconds, seconds + 0.8, scores, 0, track)


def watched(folder: Path, hours: float, memory: MemoryOverTime, monkeypatch) -> WatchedSource:
    monkeypatch.setattr(watching, "LiveSource", lambda *a, **k: MadeUpCamera(hours, memory))
    return watching.watch(BrightnessRecognizer(), ["camera:0"], folder, LEVEL, stop=Flag(), windows=True)[0]


def scanned(folder: Path, hours: float, memory: MemoryOverTime, monkeypatch) -> ScannedVideo:
    film = make_video(folder / "film.mp4", frames=4)
    (result,) = scan_files(MadeUpReader(hours, memory), [film], folder, LEVEL).videos
    return result


@pytest.mark.parametrize("work", [watched, scanned])
@pytest.mark.parametrize(("hours", "leaks"), CASES)
def test_memory_stays_flat_for_hours_and_a_leak_would_be_seen(
    tmp_path: Path, monkeypatch, record_property, capsys, work, hours: float, leaks: bool
) -> None:
    memory = MemoryOverTime(leaks)
    found = work(tmp_path, hours, memory, monkeypatch)
    slope = memory.slope(WARM[hours])
    record_property("mib_an_hour", slope)
    with capsys.disabled():
        print(f"\n{work.__name__}{' with a leak' if leaks else ''}: {memory.words(WARM[hours])}")
    if leaks:
        assert slope > 0.5 * LEAK_MIB
        return
    assert slope < MOST_MIB[hours]
    assert found.windows > 0.99 * hours * 18_000
    bright = [named for named in found.events if named.event.cls == "bright"]
    assert len(bright) == pytest.approx(180 * hours, abs=5) and len(found.events) >= len(bright)
    assert all(1.0 < named.event.seconds < 4.0 for named in bright)
    if work is watched:
        assert found.passed_over == 0 and len(found.gaps) == int(hours)
