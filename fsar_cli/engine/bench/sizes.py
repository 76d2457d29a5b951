"""On what a benchmark runs: the published sizes, and smaller ones for a quick look, smaller again without a GPU."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from fsar_cli.config import Config
from fsar_cli.core.backbones.image import backbone_names
from fsar_cli.engine.bank import FRAMES_PER_BATCH
from fsar_cli.engine.bench.plain import COMPARED
from fsar_cli.engine.bench.timing import Repeats
from fsar_cli.errors import UsageError, did_you_mean
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
    reference_episodes: int = 50
    """Episodes whose videos are encoded anew, to extrapolate from."""
    reference_others: int = 50
    """The same for a method with features of its own that comes after another."""
    encoded_share: float = 1.0
    """Of the test videos that such a method encodes. The others show the same pictures again, so they take copies of
    the features, and the time is scaled."""
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
    repeats: Repeats = field(default_factory=Repeats)
    ceiling_repeats: Repeats = field(default_factory=lambda: Repeats(most=20, seconds=1.0))
    """Of each product and copy that tells what the machine can do."""
    assignments: tuple[str, ...] = ()
    """Settings in place of those made here, as `--set` takes them."""
    seed: int = 0

    @property
    def distinct(self) -> int:
        """Test videos that differ: as many as the thriftiest method encodes."""
        return max(1, round(self.videos * self.encoded_share))

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
    """The sizes for a device; `given` replaces fields, None leaves them.

    Raises:
        UsageError: an unknown backbone or setting, or a method without a plain form.
    """
    sizes = Sizes() if device.type == "cuda" else _for_cpu()
    if quick:
        sizes = _quick(sizes, device)
    changes = {name: value for name, value in given.items() if value is not None}
    if "side" in changes:
        changes["train_side"] = changes["side"]
    if "episodes" in changes:
        count = changes["episodes"]
        changes["scaling_episodes"] = tuple(max(1, count // part) for part in (4, 2, 1))
    sizes = replace(sizes, **changes)
    if sizes.backbone not in backbone_names():
        hint = did_you_mean(sizes.backbone, backbone_names()) or "for example resnet50"
        raise UsageError(f"unknown backbone '{sizes.backbone}'", hint)
    for method in sizes.methods:
        if method not in COMPARED:
            hint = did_you_mean(method, COMPARED) or f"those that can: {', '.join(COMPARED)}"
            raise UsageError(f"no method '{method}' that could be compared with a plain form", hint)
    sizes.config(sizes.methods[0])  # refuses settings that are unknown or contradict each other
    return sizes


def _for_cpu() -> Sizes:
    return replace(
        Sizes(), reference_others=10, encoded_share=0.25, encoded_frames=FRAMES_PER_BATCH["cpu"], train_shape=(5, 1, 1),
        train_side=112, train_episodes=6, scaling_episodes=(1000, 2000, 4000),
        repeats=Repeats(least=3, most=9, seconds=10.0),
    )  # fmt: skip


def _quick(sizes: Sizes, device: torch.device) -> Sizes:
    smaller = replace(
        sizes, backbone="resnet18", side=112, train_side=112, videos=60, episodes=200, reference_episodes=2,
        reference_others=1, extracted=16, clips=60, encoded_frames=16, train_episodes=4,
        scaling_episodes=(50, 100, 200), scaling_videos=(15, 30, 60), repeats=Repeats(least=1, most=4, seconds=0.5),
        ceiling_repeats=Repeats(most=20, seconds=0.1),
    )  # fmt: skip
    if device.type == "cuda":
        return replace(smaller, encoded_share=1.0)
    return replace(smaller, encoded_share=0.5, train_side=64, train_shape=(3, 1, 1))
