"""What the tests of ONNX files share: tiny backbones behind real names, short videos, runs and support files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from core_parts import tiny_backbone
from torch import nn
from videos import DRAW

from fsar_cli.core.backbones.backbone import ClipBackbone
from fsar_cli.data.video.writing import VideoWriter
from fsar_cli.engine.checkpoint import save_weights
from fsar_cli.engine.model import Model
from fsar_cli.engine.runs import create_run
from fsar_cli.recognise.encoder import Encoder
from fsar_cli.recognise.enrolment import enrol
from fsar_cli.recognise.examples import ExampleClip
from fsar_cli.settings import resolve

FPS, WIDTH, HEIGHT = 10, 64, 48
CPU = torch.device("cpu")
IMAGES, VIDEO = "mobilenet_v2", "r3d_18"


def tiny_of_video() -> ClipBackbone:
    """[B,3,F,h,w] -> [B,10,F/8,h/8,w/8], with batch norm, as r3d_18 halves."""
    trunk = nn.Sequential(
        nn.Conv3d(3, 8, 5, stride=4, padding=2, bias=False), nn.BatchNorm3d(8), nn.ReLU(inplace=True),
        nn.Conv3d(8, 10, 3, stride=2, padding=1, bias=False), nn.BatchNorm3d(10), nn.ReLU(inplace=True),
    )  # fmt: skip
    return ClipBackbone(trunk, 10, VIDEO, step=8)


@contextmanager
def tiny_networks() -> Iterator[None]:
    """Inside, two names of networks stand for tiny ones."""
    made = {IMAGES: tiny_backbone, VIDEO: tiny_of_video}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fsar_cli.core.build.build_backbone", lambda name, weights: made[name]())
        yield


def record(path: Path, *parts: tuple[str, int]) -> Path:
    """A video of parts one after the other: (what is drawn, frames)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, WIDTH, HEIGHT, FPS) as video:
        for what, frames in parts:
            for index in range(frames):
                video.write(DRAW[what](7 * index if what == "counter" else index, WIDTH, HEIGHT))
    return path


@dataclass(frozen=True)
class Place:
    """A folder with a run and a support file of it; videos are beside the folder."""

    folder: Path
    model: Model

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def support(self) -> Path:
        return self.folder / "support.fsar"


def make_place(folder: Path, videos: Path, seed: int = 0, stir: bool = True, **values: Any) -> Place:
    """A run with random weights, `stirred` or as the configuration has them, and a support file of two classes."""
    small = {"clip.frames": 4, "clip.size": 32, "clip.short_side": 36, "model.weights": "none", "model.region.side": 16,
             "model.region.gain": 0.2, "train.seed": seed, "model.match.cardinalities": [2],
             "model.match.key_dim": 12}  # fmt: skip
    config = resolve(base=small | values, environ={}).config
    run = create_run(config, folder / "run")
    method = Model(config).load()
    save_weights(stirred(method, seed) if stir else method, run.model_file)
    model = Model(config, run)
    clips = [
        ExampleClip(cls, f"{cls}/{i}.mp4", videos / cls / f"{i}.mp4") for cls in ("blocks", "snow") for i in (1, 2)
    ]
    made, failed = enrol(model, Encoder(model.load(), config, CPU), clips, [videos / "calm.mp4"], stride=0.5)
    assert not failed
    made.write(folder / "support.fsar")
    return Place(folder, model)


def stirred(method, seed: int):
    """Batch norms with statistics and scales such as training leaves, so that folding them has something to fold."""
    generator = torch.Generator().manual_seed(seed)
    for module in method.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            with torch.no_grad():
                module.running_mean.copy_(torch.rand(module.num_features, generator=generator) * 0.2 - 0.1)
                module.running_var.copy_(torch.rand(module.num_features, generator=generator) * 0.5 + 0.1)
                module.weight.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
                module.bias.copy_(torch.rand(module.num_features, generator=generator) * 0.4 - 0.2)
    return method


def make_videos(folder: Path) -> Path:
    """CLASS/1.mp4, calm.mp4 and joined.mp4, in which both classes happen."""
    for i, first in enumerate((12, 14), 1):
        record(folder / "blocks" / f"{i}.mp4", ("counter", first))
        record(folder / "snow" / f"{i}.mp4", ("noise", first))
    record(folder / "calm.mp4", ("motion", 160))
    record(folder / "joined.mp4", ("motion", 30), ("noise", 25), ("motion", 30), ("counter", 25), ("motion", 20))
    return folder


def alike(wanted: np.ndarray, given: np.ndarray, tolerance: float = 1e-4) -> bool:
    """Whether numbers differ by no more than a tolerance."""
    return wanted.shape == given.shape and bool(np.abs(wanted - given).max() <= tolerance)
