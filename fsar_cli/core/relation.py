"""Spatio-temporal relation of feature maps over long and short range (section 3.2, eq. 1-3).

    Xiao et al., Anomalous Action Recognition with Spatio-Temporal Key Region Enhancement and Few-Shot Learning, 2025.

Both modules end in a gate per map cell that multiplies the map; the two gated maps are added and averaged over channels
to one weight per cell. The mean over channels commutes with a gate that has none, so only the mean map is gated here.
"""

import torch
from torch import Tensor, nn

from fsar_cli.core.layers.basics import check_frames


class TemporalRelation(nn.Module):
    """Long range (eq. 1-2): a full T x T mix of the frames' mean maps, then one 3x3x3 convolution.

    The number of frames is baked into the weights of eq. 1.
    """

    def __init__(self, frames: int, bias: bool = False) -> None:
        super().__init__()
        self.mix = nn.Conv2d(frames, frames, kernel_size=1, bias=bias)
        self.conv = nn.Conv3d(1, 1, kernel_size=3, padding=1, bias=bias)

    def forward(self, mean: Tensor) -> Tensor:
        """Channel means [B,T,H,W] -> gate in (0,1) [B,T,H,W].

        Raises:
            UsageError: clips of another T.
        """
        check_frames("the temporal relation (eq. 1)", self.mix.in_channels, mean.shape[1])
        mixed = self.mix(mean).unsqueeze(1)  # [B,1,T,H,W]
        return torch.sigmoid(self.conv(mixed).squeeze(1))


class MotionRelation(nn.Module):
    """Short range (eq. 3): the encoded next frame minus this frame, both reduced to one channel."""

    def __init__(self, channels: int, bias: bool = False) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, 1, kernel_size=1, bias=bias)
        self.encode = nn.Conv2d(1, 1, kernel_size=3, padding=1, bias=bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B,T,C,H,W] -> gate in (0,1) [B,T,H,W]; the last frame has no successor, its gate is sigmoid(0)."""
        reduced = self.reduce(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])  # [B,T,1,H,W]
        following = self.encode(reduced[:, 1:].flatten(0, 1)).unflatten(0, reduced[:, 1:].shape[:2])
        difference = (following - reduced[:, :-1]).squeeze(2)  # [B,T-1,H,W]
        return torch.sigmoid(torch.cat([difference, torch.zeros_like(reduced[:, 0])], dim=1))


class Relation(nn.Module):
    """Maps -> one weight per cell, from either relation, both, or none (the plain channel mean: Table 2, row 2)."""

    def __init__(
        self,
        channels: int,
        frames: int,
        *,
        temporal: bool = True,
        motion: bool = True,
        bias: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.temporal = TemporalRelation(frames, bias) if temporal else None
        self.motion = MotionRelation(channels, bias) if motion else None
        self.residual = residual

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B,T,C,H,W] -> cell weights u [B,T,H,W]."""
        mean = maps.mean(2)
        gates = [] if self.temporal is None else [self.temporal(mean)]
        if self.motion is not None:
            gates.append(self.motion(maps))
        if not gates:
            return mean
        gate: Tensor = sum(gates) + (1.0 if self.residual else 0.0)
        return mean * gate


class FrameDifference(nn.Module):
    """Cell weights without parameters: the channel mean of the squared change to the neighbouring frames.

    An alternative to `Relation` for fixed cameras (`region.source: difference`), not in the paper.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B,T,C,H,W] -> cell weights [B,T,H,W]; the first and last frame have one neighbour, the others two."""
        change = (maps[:, 1:] - maps[:, :-1]).square().mean(2)  # [B,T-1,H,W]
        before = torch.cat([change[:, :1], change], dim=1)
        after = torch.cat([change, change[:, -1:]], dim=1)
        return (before + after) / 2
