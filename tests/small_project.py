"""A small project that trains in seconds: frame store, split file and configuration."""

from pathlib import Path

import torch
from videos import make_video

from fsar_cli.config import Config, ExtractConfig
from fsar_cli.core.build import build_method
from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.clips import ClipReader, EpisodeBatch, TrainingEpisodes
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.data.splits import Splits
from fsar_cli.data.splits.making import make
from fsar_cli.data.splits.tree import scan_tree
from fsar_cli.data.store.extraction import extract
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.sources import find_videos
from fsar_cli.engine.bank import Bank, encode_videos
from fsar_cli.engine.setup import training_sampler
from fsar_cli.reporting import Silent
from fsar_cli.settings import resolve

CLASSES = {"train": ("climb", "fall", "wave"), "val": ("jump", "sit"), "test": ("kick", "push", "throw")}


def make_project(root: Path) -> Path:
    """videos/, frames/ (short side 36) and splits.csv of 8 classes x 4 videos."""
    names = [name for split in CLASSES.values() for name in split]
    for c, name in enumerate(names):
        for v in range(4):
            path = root / "videos" / name / f"{name}_{v}.mp4"
            make_video(path, frames=10 + v, content="motion" if v % 2 else "counter", first=31 * c + 7 * v)
    extract(find_videos([root / "videos"]).sources, root / "frames", ExtractConfig(short_side=36))
    lists = {split: list(names) for split, names in CLASSES.items()}
    make("arn", scan_tree(root / "frames"), lists=lists).splits.write(root / "splits.csv")
    return root


def small(project: Path, **changes: object) -> Config:
    """A configuration of the project that trains in a second; dotted keys as `small(project, **{"optim.lr": 1})`."""
    values = {
        "data.name": "small", "data.videos": project / "videos", "data.frames": project / "frames",
        "data.splits": project / "splits.csv", "clip.frames": 4, "clip.size": 32, "clip.short_side": 36,
        "episode.way": 3, "episode.shot": 2, "episode.queries": 1, "model.backbone": "mobilenet_v3_small",
        "model.weights": "none", "model.region.side": 16, "model.match.key_dim": 8, "optim.accumulate": 2,
        "optim.lr": 1e-3, "train.iterations": 6, "train.workers": 0, "train.val_every": 3, "train.val_episodes": 10,
        "train.log_every": 2, "train.checkpoint_every": 2, "eval.way": 3, "eval.shots": (1, 2), "eval.episodes": 40,
    }  # fmt: skip
    return resolve(base=values | changes, environ={}).config


class Listener(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warnings: list[str] = []

    def log(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def reader_of(config: Config) -> ClipReader:
    """Of the configuration's frame store."""
    return ClipReader(FrameStore(config.data.frames), config.clip)


def sampler_of(config: Config, way: int = 3, shot: int = 2, queries: int = 1) -> EpisodeSampler:
    """Test episodes."""
    return EpisodeSampler(Splits.read(config.data.splits), "test", way=way, shot=shot, queries=queries)


def bank_of(method: FewShotMethod, config: Config, videos: tuple[str, ...]) -> Bank:
    """Those videos encoded once, on the CPU."""
    return encode_videos(method, reader_of(config), videos, torch.device("cpu"), config)


def episode_of(config: Config, index: int = 0) -> EpisodeBatch:
    """A training episode."""
    return TrainingEpisodes(reader_of(config), training_sampler(config, Splits.read(config.data.splits)), 0)[index]


def lively(config: Config) -> FewShotMethod:
    """The method of a configuration in evaluation mode, with batch statistics that tell clips apart.

    With the statistics of initialisation the features of a deep random network vanish, and predictions are rounding.
    """
    method, clip = build_method(config).train(), config.clip
    generator = torch.Generator().manual_seed(0)
    for module in method.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain average of what it sees
    with torch.no_grad():
        for _ in range(10):
            method.encode(torch.rand(4, clip.frames, 3, clip.size, clip.size, generator=generator), generator)
    return method.eval()
