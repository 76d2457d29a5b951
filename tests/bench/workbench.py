"""On what a benchmark runs, and what its sections share: device, sizes, a folder that goes away, measured ceilings.

The published sizes, and smaller ones for a quick look; smaller again without a GPU.
"""

import shutil
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from oracles.matching import COMPARED

from bench.testset import SyntheticSet, make_set
from bench.timing import Repeats, copy_bandwidth, product_ceiling
from fsar_cli.config import Config
from fsar_cli.core.build import build_method
from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.data.splits import Splits
from fsar_cli.engine.bank import FRAMES_PER_BATCH
from fsar_cli.engine.device import place
from fsar_cli.files import Cache
from fsar_cli.reporting import SILENT, Reporter
from fsar_cli.settings import resolve

REGION_SHARE, SHORT_SIDE_SHARE = 128 / 224, 256 / 224
"""Of the input side: the paper's key region and short side."""
TYPES = {"cpu": (torch.float32, torch.bfloat16), "cuda": (torch.float32, torch.bfloat16, torch.float16)}
"""What is computed in on each kind of device."""


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
    clips: int = 240
    """Clips that the loader reads."""
    encoded_frames: int = FRAMES_PER_BATCH["cuda"]
    """Frames a batch of the encoder, as the bank has them, or fewer."""
    train_shape: tuple[int, int, int] = (5, 5, 3)
    """Way, shot and queries a class of a training episode."""
    train_side: int = 224
    train_episodes: int = 40
    """Episodes of the training run that reads from the store."""
    scaling_episodes: tuple[int, ...] = (2500, 5000, 10_000)
    scaling_videos: tuple[int, ...] = (323, 646, 1292)
    scaling_backbone: str = "resnet18"
    scaling_side: int = 64
    head_dim: int = 2048
    head_queries: int = 15
    repeats: Repeats = Repeats()  # noqa: RUF009 (it is frozen)
    ceiling_repeats: Repeats = Repeats(most=20, seconds=1.0)  # noqa: RUF009
    """Of each product and copy that tells what the machine can do."""
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


def choose_sizes(device: torch.device, quick: bool, **given: Any) -> Sizes:
    """The sizes for a device; `given` replaces fields, None leaves them."""
    sizes = Sizes()
    if device.type == "cpu":
        sizes = replace(
            sizes, encoded_frames=FRAMES_PER_BATCH["cpu"], train_shape=(5, 1, 1), train_side=112, train_episodes=6,
            scaling_episodes=(1000, 2000, 4000), repeats=Repeats(least=3, most=9, seconds=10.0),
        )  # fmt: skip
    if quick:
        sizes = replace(
            sizes, backbone="resnet18", side=112, train_side=112, videos=60, episodes=200, reference_episodes=2,
            extracted=16, clips=60, encoded_frames=16, train_episodes=4, scaling_episodes=(50, 100, 200),
            scaling_videos=(15, 30, 60), repeats=Repeats(least=1, most=4, seconds=0.5),
            ceiling_repeats=Repeats(most=20, seconds=0.1),
        )  # fmt: skip
    if quick and device.type == "cpu":
        sizes = replace(sizes, train_side=64, train_shape=(3, 1, 1))
    changes = {name: value for name, value in given.items() if value is not None}
    if "side" in changes:
        changes["train_side"] = changes["side"]
    return replace(sizes, **changes)


@dataclass
class Workbench:
    """One benchmark at work."""

    device: torch.device
    sizes: Sizes
    folder: Path
    """For everything written; whoever made it removes it."""
    reporter: Reporter = SILENT
    ceilings: dict[str, float] = field(default_factory=dict)
    """FLOP/s by type and `copy` bytes/s, as far as they were asked for."""

    def share(self, flops: int, seconds: float, dtype: torch.dtype) -> float:
        """Of the FLOP/s of the fastest matrix product of a type; those are measured when first asked for."""
        if not self.ceilings:
            self.reporter.log("measuring what matrix products and copies reach here")
            repeats = self.sizes.ceiling_repeats
            for kind in TYPES[self.device.type]:
                self.ceilings[type_name(kind)] = product_ceiling(self.device, kind, repeats)
            self.ceilings["copy"] = copy_bandwidth(self.device, repeats)
        return flops / seconds / self.ceilings[type_name(dtype)]

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

    @cached_property
    def cache(self) -> Cache:
        """A cache of features of the benchmark's own."""
        return Cache(self.folder / "features")

    def scratch(self, name: str) -> Path:
        """An empty folder, in place of an earlier one of that name."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path


def type_name(dtype: torch.dtype) -> str:
    """`float32` of torch.float32."""
    return str(dtype).removeprefix("torch.")
