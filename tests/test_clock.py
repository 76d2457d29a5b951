"""A clock that is set back or forward by an hour in the middle: how long things took is measured by another one."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event as Flag

import numpy as np
import pandas as pd
import pytest
import torch
from long_memory import MemoryOverTime
from own_videos import BrightnessRecognizer, bright_film
from recognise.test_watch_memory import MadeUpCamera
from small_project import small
from stores import extracted

from fsar_cli.data.video.live import LiveFrame
from fsar_cli.engine.runs import Run, create_run, find_run
from fsar_cli.engine.train import Trainer
from fsar_cli.errors import UsageError
from fsar_cli.files import IN_USE_SECONDS, Cache, lock
from fsar_cli.recognise import watch as watching
from fsar_cli.recognise.calibration import AlarmLevel
from fsar_cli.recognise.events import EventRule
from fsar_cli.recognise.outputs import event_id
from fsar_cli.recognise.scan import scan_files

HOUR = 3600.0
LEVEL = AlarmLevel(EventRule(threshold=0.4, release=0.3, agree=2, among=2, merge=0.0), 1.0, 0, 1.0)
JUMPS = [-HOUR, HOUR]


@pytest.fixture
def clock(monkeypatch, request) -> None:
    """The system's clock jumps at every second look, there and back."""
    real, looks = time.time, [0]

    def jumping() -> float:
        looks[0] += 1
        return real() + (request.param if looks[0] % 2 else 0.0)

    monkeypatch.setattr(time, "time", jumping)


@pytest.mark.parametrize("clock", JUMPS, indirect=True)
def test_training_extraction_and_scans_take_as_long_as_they_take(clock, project, tmp_path: Path) -> None:
    began = time.monotonic()
    config = small(project, **{"model.method": "trx", "train.val_every": 0, "train.iterations": 4})
    trained = Trainer(config, create_run(config, tmp_path / "run"), torch.device("cpu")).run()
    stored = extracted(project / "videos/kick", tmp_path / "store")
    (tmp_path / "o").mkdir()
    scan = scan_files(BrightnessRecognizer(), [bright_film(tmp_path / "film.mp4")], tmp_path / "o", LEVEL)
    all_of_it = time.monotonic() - began
    assert 0 < trained.seconds < all_of_it and 0 < stored.seconds < all_of_it and 0 < scan.took < all_of_it
    assert pd.read_csv(tmp_path / "run/metrics.csv").seconds.between(0, all_of_it, inclusive="neither").all()


class SetCamera(MadeUpCamera):
    """A camera before a clock that jumps while the first event goes on, and back behind it."""

    jump = 0.0

    def __iter__(self) -> Iterator[LiveFrame]:
        for frame in super().__iter__():
            jump = self.jump if 20.6 < frame.seconds < 41.0 else 0.0
            yield frame._replace(wall=frame.wall + jump)


@pytest.mark.parametrize("jump", JUMPS)
def test_events_of_a_camera_are_the_same_but_for_their_clock_time(tmp_path: Path, monkeypatch, jump: float) -> None:
    found = {}
    for by in (0.0, jump):
        camera = SetCamera(0.02, MemoryOverTime())
        camera.jump = by
        monkeypatch.setattr(watching, "LiveSource", lambda *_, camera=camera, **__: camera)
        (folder := tmp_path / f"{by:g}").mkdir()
        said = []
        (watched,) = watching.watch(
            BrightnessRecognizer(), ["camera:0"], folder, LEVEL, stop=Flag(), say=said.append
        )  # fmt: skip
        found[by] = [(n.event.start, n.event.end, n.event.cls, n.event.score, n.event.cut) for n in watched.events]
        ids = [[event_id(named) for named in said if named.event.is_open is is_open] for is_open in (True, False)]
        assert sorted(ids[0]) == sorted(ids[1]), "what opens and what closes is one event"
        assert len(set(ids[1])) == len(ids[1]) > 3
    assert found[0.0] == found[jump]


def filled(cache: Cache, *keys: str) -> None:
    for key in keys:
        cache.get(key, lambda folder: (folder / "f").write_bytes(bytes(10)))


def test_an_entry_of_the_cache_that_lies_in_the_future_ages_from_now_on(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", limit=15)
    filled(cache, "a")
    os.utime(cache.folder / "a", (time.time() + 1000 * HOUR,) * 2)
    filled(cache, "b")
    assert (cache.folder / "a").stat().st_mtime <= time.time()
    for key in "ab":
        os.utime(cache.folder / key, (time.time() - IN_USE_SECONDS - 1,) * 2)
    filled(cache, "c")
    assert {path.name for path in cache.folder.iterdir() if path.is_dir()} == {"c"}


def test_a_lock_is_held_whatever_its_time_says(tmp_path: Path) -> None:
    with lock(tmp_path / "x.lock"):
        for name in ("x.lock", "x.holder"):
            os.utime(tmp_path / name, (time.time() - 1000 * HOUR,) * 2)
        with pytest.raises(UsageError, match="taken"), lock(tmp_path / "x.lock", busy=("taken", "")):
            pass


def test_the_newest_run_is_the_one_of_the_latest_time_and_is_named(fsar, tmp_path: Path) -> None:
    """After the clock was set back by an hour a new run is older than the last one: commands say which they take."""
    for name, age in (("before", 0.0), ("after", HOUR)):
        (file := tmp_path / "runs" / name / "model.safetensors").parent.mkdir(parents=True)
        file.touch()
        os.utime(file, (time.time() - age,) * 2)
    assert find_run(None, tmp_path / "runs").path.name == "before"
    (tmp_path / "runs/after/config.yaml").touch()
    assert find_run(tmp_path / "runs/after").path == Run(tmp_path / "runs/after").path
    assert np.isfinite(time.time())
