"""On what a benchmark runs, and what its sections share: device, sizes, a folder that goes away.

The published sizes, and smaller ones for a quick look; smaller again without a GPU.
"""

import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from oracles.matching import COMPARED

from bench.testset import SyntheticSet, make_set
from bench.timing import Repeats
from fsar_cli.config import Config
from fsar_cli.core.build import build_method
from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.data.splits import Splits
from fsar_cli.engine.bank import FRAMES_PER_BATCH
from fsar_cli.engine.device import place
from fsar_cli.reporting import SILENT, Reporter
from fsar_cli.settings import resolve

REGION_SHARE, SHORT_SIDE_SHARE = 128 / 224, 256 / 224
"""Of the input side: the paper's key region and short side."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of all sections; each row of the report repeats those that matter to it."""

    backbone: str = "resnet50"
    side: int = 224
    videos: int = 1292
    """Test videos: those of HMDB51's 10 test classes."""
    classes: int = 10
    episodes: int = 10_000
    way: int = 5
    shot: int = 5
    reference_episodes: int = 20
    """Episodes whose videos are encoded anew, to extrapolate from."""
    methods: tuple[str, ...] = COMPARED
    extracted: int = 160
    """Videos of the extraction; made of few distinct ones."""
    encoded_frames: int = FRAMES_PER_BATCH["cuda"]
    """Frames a batch of the encoder, as the bank has them, or fewer."""
    train_shape: tuple[int, int, int] = (5, 5, 3)
    """Way, shot and queries a class of a training episode."""
    train_side: int = 224
    train_episodes: int = 40
    """Episodes of the training run that reads from the store."""
    scaling_episodes: tuple[int, ...] = (2500, 5000, 10_000)
    scaling_videos: tuple[int, ...] = (323, 646, 1292)
    head_dim: int = 2048
    head_queries: int = 15
    repeats: Repeats = Repeats()  # noqa: RUF009 (it is frozen)
    assignments: tuple[str, ...] = ()
    """Settings in place of those made here, as `--set` takes them."""
    seed: int = 0

    def config(self, method: str, **changes: Any) -> Config:
        """The configuration of a method at these sizes: random weights, which cost what trained ones do."""
        side = changes.get("clip.size", self.side)
        values = {
            "clip.size": side, "clip.short_side": round(side * SHORT_SIDE_SHARE), "model.method": method,
            "model.region.side": round(side * REGION_SHARE), "model.backbone": self.backbone, "model.weights": "none",
            "model.normalize": True, "train.seed": self.seed, "train.val_every": 0,
        }  # fmt: skip
        return resolve(base=values | changes, assignments=list(self.assignments), environ={}).config


def choose_sizes(device: torch.device, quick: bool) -> Sizes:
    """The sizes for a device."""
    sizes = Sizes()
    if device.type == "cpu":
        sizes = replace(
            sizes, encoded_frames=FRAMES_PER_BATCH["cpu"], train_shape=(5, 1, 1), train_side=112, train_episodes=6,
            scaling_episodes=(1000, 2000, 4000), repeats=Repeats(least=3, most=9, seconds=10.0),
        )  # fmt: skip
    if quick:
        sizes = replace(
            sizes, backbone="resnet18", side=112, train_side=112, videos=60, episodes=200, reference_episodes=2,
            extracted=16, encoded_frames=16, train_episodes=4, scaling_episodes=(50, 100, 200),
            scaling_videos=(15, 30, 60), repeats=Repeats(least=1, most=4, seconds=0.5),
        )  # fmt: skip
    return replace(sizes, train_side=64, train_shape=(3, 1, 1)) if quick and device.type == "cpu" else sizes


@dataclass
class Workbench:
    """One benchmark at work."""

    device: torch.device
    sizes: Sizes
    folder: Path
    """For everything written; whoever made it removes it."""
    reporter: Reporter = SILENT

    def method(self, config: Config) -> FewShotMethod:
        """A method with random weights on the device, as training and evaluation place it."""
        return place(build_method(config, seed=self.sizes.seed), self.device, config.train.channels_last)

    @cached_property
    def test_set(self) -> SyntheticSet:
        """The test videos; made when first asked for."""
        sizes = self.sizes
        side = sizes.config(sizes.methods[0]).clip.short_side
        return self.make_set("test", {"test": (sizes.classes, sizes.videos)}, side)

    def make_set(self, name: str, videos: dict[str, tuple[int, int]], short_side: int) -> SyntheticSet:
        """A synthetic set in the folder."""
        return make_set(self.scratch(name), videos, short_side, self.sizes.seed, self.reporter)

    def sampler(self, splits: Splits) -> EpisodeSampler:
        """Test episodes, one query a class."""
        sizes = self.sizes
        return EpisodeSampler(splits, "test", way=sizes.way, shot=sizes.shot, queries=1, seed=sizes.seed)

    def scratch(self, name: str) -> Path:
        """An empty folder, in place of an earlier one of that name."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path
