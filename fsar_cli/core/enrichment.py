"""Patches of a frame that see one another, and frames of a clip that do (STRM).

    Thatipelli et al., Spatio-temporal Relation Modeling for Few-shot Action Recognition, CVPR 2022.

Both work within one video and keep the shape of what they are given.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsar_cli.core.encoded import at_least_float32, check_frames
from fsar_cli.core.layers.attention import dropout
from fsar_cli.core.layers.tuples import position_encoding


class Positioned(nn.Module):
    """Base: adds the position encoding of TRX to tokens [...,P,D], then dropout in training."""

    def __init__(self, tokens: int, dim: int, position_scale: float, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.register_buffer("position", position_scale * position_encoding(tokens, dim), persistent=False)

    def placed(self, tokens: Tensor, generator: torch.Generator | None) -> Tensor:
        """Tokens [...,P,D] with their positions."""
        x = tokens + self.position.to(tokens.dtype)
        return dropout(x, self.dropout, generator) if self.training and self.dropout else x


class PatchEnrichment(Positioned):
    """Self-attention among the patches of a frame (one head, as wide as the feature), then a map of each patch."""

    def __init__(self, patches: int, dim: int, *, position_scale: float = 0.1, dropout: float = 0.1) -> None:
        super().__init__(patches, dim, position_scale, dropout)
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.gamma = nn.Parameter(torch.zeros(1))  # attention fades in
        half = dim // 2
        self.mix = nn.Sequential(
            nn.Linear(dim, half), nn.ReLU(), nn.Linear(half, half), nn.ReLU(), nn.Linear(half, dim)
        )

    def forward(self, patches: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Patches [...,P,D] of frames [...] -> [...,P,D]."""
        x = self.placed(patches, generator)
        query, key = at_least_float32(self.query(x)), at_least_float32(self.key(x))
        with torch.autocast(x.device.type, enabled=False):
            attention = (query @ key.transpose(-1, -2)).softmax(-1)  # not divided by a root of D, as in the paper
        x = x + self.gamma * (attention.to(x.dtype) @ self.value(x))
        return x + self.mix(x)


class FrameEnrichment(Positioned):
    """A map over the frames of each channel, then one over the channels of each frame."""

    def __init__(self, frames: int, dim: int, *, position_scale: float = 0.1, dropout: float = 0.1) -> None:
        super().__init__(frames, dim, position_scale, dropout)
        self.over_frames = nn.Sequential(nn.Linear(frames, frames), nn.ReLU(), nn.Linear(frames, frames))
        self.over_channels = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))

    def forward(self, frames: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Frames [...,T,D] -> [...,T,D].

        Raises:
            UsageError: clips of another T.
        """
        check_frames("the frame enrichment", len(self.position), frames.shape[-2])
        x = self.placed(frames, generator)
        x = x + self.over_frames(x.transpose(-1, -2)).transpose(-1, -2)
        return x + self.over_channels(x)


def patches_of(maps: Tensor, side: int) -> Tensor:
    """Maps [B,C,H,W] -> the largest values in a grid of `side` x `side` cells: [B,C,side,side]."""
    return F.adaptive_max_pool2d(maps, side)
