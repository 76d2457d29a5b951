"""What the tests of killed writes let be done, in the children of `killing.Forge`: each begins, or goes on."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from own_videos import BrightnessRecognizer

from fsar_cli.config import ExtractConfig, load
from fsar_cli.data.splits import Splits
from fsar_cli.data.store.extraction import extract
from fsar_cli.data.store.sources import find_videos
from fsar_cli.engine.results import ShotResult, kept_result
from fsar_cli.engine.runs import Run, create_run
from fsar_cli.engine.tensorfile import read_tensors, write_tensors
from fsar_cli.engine.train import Trainer
from fsar_cli.files import Cache
from fsar_cli.recognise.calibration import AlarmLevel
from fsar_cli.recognise.events import EventRule
from fsar_cli.recognise.outputs import write_activitynet, write_csv
from fsar_cli.recognise.scan import scan_files
from fsar_cli.recognise.supportfile import read_support

CPU = torch.device("cpu")
LEVEL = AlarmLevel(EventRule(threshold=0.4, release=0.3, agree=2, among=2, merge=0.0), 1.0, 0, 1.0)
WAY, SHOT = 2, 1


def store(videos: str, out: str, kind: str) -> None:
    """A frame store of a kind."""
    found = extract(find_videos([Path(videos)]).sources, Path(out), ExtractConfig(short_side=24, store=kind))
    assert not found.failed and found.done + found.skipped == 2


def entry(folder: str) -> None:
    """An entry of the cache of features."""

    def make(place: Path) -> None:
        write_tensors(place, 4, [{"a": torch.ones(2, 3)}, {"a": torch.zeros(2, 3)}])

    read = Cache(Path(folder)).read("key", make, read_tensors)
    assert read["a"].sum() == 6


def result(folder: str) -> None:
    """A kept result."""
    right, confusion = np.array([[True, False]] * 3), np.eye(2, dtype=np.int64)
    found = ShotResult(WAY, SHOT, 1, right, {"spatial": 0.5}, ("a", "b"), confusion, "digest", 1.0)
    sampler = SimpleNamespace(way=WAY, shot=SHOT, queries=1, classes=("a", "b"))
    kept = kept_result(Cache(Path(folder)), "key", sampler, lambda: found)
    assert kept.accuracy == found.accuracy and (kept.confusion == confusion).all()


def support(source: str, target: str) -> None:
    """A support file, in the place of another one."""
    read_support(Path(source)).write(Path(target))


def splits(source: str, target: str) -> None:
    """A split file, in the place of another one."""
    Splits.read(Path(source)).write(Path(target))


def run(config: str, folder: str) -> None:
    """A run that is made, where it is not there already."""
    settings = load(Path(config).read_bytes(), config)
    if not Run(Path(folder)).config_file.exists():
        create_run(settings, Path(folder))


def training(config: str, folder: str) -> None:
    """A run that is trained to its end, or from its last checkpoint on."""
    settings, run, resumed = load(Path(config).read_bytes(), config), Run(Path(folder)), False
    if run.state_file.exists():
        resumed = True
    elif run.config_file.exists():
        run = Run(Path(folder))
    else:
        run = create_run(settings, Path(folder))
    trainer = Trainer(settings, run, CPU, pretrained=not resumed)
    if resumed:
        trainer.resume()
    trainer.run()


def scan(video: str, folder: str) -> None:
    """A scan of a film, gone on with, and its tables."""
    os.makedirs(folder, exist_ok=True)
    found = scan_files(BrightnessRecognizer(), [Path(video)], Path(folder), LEVEL, resume=True)
    write_csv(Path(folder) / "events.csv", found.events)
    write_activitynet(Path(folder) / "events.json", found.events)
