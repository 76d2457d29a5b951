"""Small parts the tests of the core share: a tiny trunk, a small configuration, clips and episodes."""

from typing import Any

import torch
from torch import Tensor, nn

from fsar_cli.config import Config
from fsar_cli.core.backbones.backbone import FrameBackbone
from fsar_cli.core.method import Encoded
from fsar_cli.settings import resolve

FRAMES, SIZE, SIDE = 4, 32, 16  # T, S, P of the small configuration
SMALL = {
    "clip.frames": FRAMES,
    "clip.size": SIZE,
    "model.weights": "none",
    "model.region.side": SIDE,
    "model.region.gain": 0.2,  # keeps the centres of random networks inside the valid area
    "model.region.random_probability": 0.0,
    "model.match.key_dim": 12,
    "model.match.dropout": 0.0,
    "model.classes": 6,
    "model.arn.channels": 16,
}


def small_config(**changes: Any) -> Config:
    """The small configuration with dotted keys changed: `small_config(**{"model.region.side": 20})`."""
    return resolve(base=SMALL | changes, environ={}).config


def tiny_backbone(name: str = "tiny", weights: str = "none") -> FrameBackbone:
    """A trunk of two strided convolutions: [B,3,h,w] -> [B,10,h/8,w/8], with batch norm and in-place ReLU."""
    trunk = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=4, padding=2, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 10, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(10),
        nn.ReLU(inplace=True),
    )
    return FrameBackbone(trunk, 10, name)


def four_stages() -> FrameBackbone:
    """Like `tiny_backbone`, of four resolutions; widths double but for the last."""
    widths, layers = [3, 4, 8, 16, 20], []
    for i in range(4):
        layers += [
            nn.Conv2d(widths[i], widths[i + 1], 3, 2, 1, bias=False),
            nn.BatchNorm2d(widths[i + 1]),
            nn.ReLU(True),
        ]
    torch.manual_seed(0)
    return FrameBackbone(nn.Sequential(*layers), 20, "four")


def seeded(seed: int) -> torch.Generator:
    """A CPU generator."""
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Numbers of the standard normal distribution."""
    return torch.randn(*shape, generator=seeded(seed))


def filled(module: nn.Module) -> nn.Module:
    """Every parameter and statistic of the same random numbers each time, none where it may start from."""
    with torch.no_grad():
        for seed, (name, tensor) in enumerate(module.state_dict().items()):
            if tensor.is_floating_point():
                drawn = 0.4 * normal(*tensor.shape, seed=seed)
                tensor.copy_(1 + drawn.abs() if "var" in name else drawn)
    return module.eval()


def random_clips(videos: int, frames: int = FRAMES, size: int = SIZE, seed: int = 0) -> Tensor:
    """Clips [B,T,3,S,S]: coarse random patterns, so that neither their classes nor their frames look alike."""
    coarse = torch.rand(videos * frames, 3, 4, 4, generator=seeded(seed))
    fine = nn.functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    return fine.unflatten(0, (videos, frames))


def random_index(episodes: int, way: int, shot: int, queries: int, videos: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Positions of support [E,N,K] and query [E,Q] videos in a bank, all different within an episode."""
    orders = [torch.randperm(videos, generator=seeded(seed + e)) for e in range(episodes)]
    drawn = torch.stack(orders)[:, : way * shot + queries]
    return drawn[:, : way * shot].reshape(episodes, way, shot), drawn[:, way * shot :]


def split_episode(encoded: Encoded, way: int, shot: int) -> tuple[Encoded, Encoded]:
    """One encoded batch, support videos first -> support [1,N,K] and query [1,Q]."""
    index = torch.arange(len(encoded))
    return encoded.take(index[: way * shot].view(1, way, shot)), encoded.take(index[way * shot :].view(1, -1))


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected magnitude."""
    expected = torch.as_tensor(expected, dtype=torch.float64)
    difference = (found.detach().double().cpu() - expected.detach().cpu()).abs().max()
    return float(difference / expected.detach().abs().max().cpu().clamp_min(1e-300))
