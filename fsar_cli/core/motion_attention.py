"""Frames attend to what moves in them, forward and backward in time (BiMACL).

    Guo et al., Bi-directional Motion Attention with Contrastive Learning for Few-shot Action Recognition, ICASSP 2024.

A map is reduced to half its channels. The motion of a frame is the difference to the next frame, and to the one before,
each seen at three scales. In each direction the cells of a frame attend to one another by the likeness of their motion,
and gather values from the map after a convolution over time, one filter a channel. This is added to the map.

Only the mean of the result over its cells is needed. It is linear in the values, so the attention of all cells is
averaged first, and each frame gathers one vector instead of a map: from itself and its two neighbours, where the
filters then weigh them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsar_cli.core.encoded import at_least_float32
from fsar_cli.core.layers.attention import dropout


class MotionAttention(nn.Module):
    """Maps of clips -> frame features, the mean of each map and of what its motion attends to."""

    def __init__(self, channels: int, *, reduction: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.dropout = dropout
        self.reduce = nn.Sequential(nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner))
        self.transform = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.half_scale, self.full_scale = (
            nn.Sequential(nn.Conv2d(inner, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner)) for _ in range(2)
        )
        self.expand = nn.Conv2d(inner, inner, 1, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        self.over_time = nn.Conv1d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))  # attention fades in

    def forward(self, maps: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Maps [B,T,C,H,W] -> frame features [B,T,C]."""
        forward, backward = (self._attention(motion, generator) for motion in self.motions(maps))
        return maps.mean((3, 4)) + self.gamma * self._gathered(maps.flatten(3), (forward + backward) / 2)

    def motions(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [B,T,C,H,W] -> the motion of each frame towards the next and towards the last: [B,T,C/2,H,W] each.

        The other frame goes through a convolution, this one is taken from it. Where there is no other, motion is zero.
        """
        lead = maps.shape[:2]
        reduced = self.reduce(maps.flatten(0, 1))
        transformed, reduced = self.transform(reduced).unflatten(0, lead), reduced.unflatten(0, lead)
        forward, backward = transformed[:, 1:] - reduced[:, :-1], transformed[:, :-1] - reduced[:, 1:]
        return F.pad(forward, (0, 0) * 3 + (0, 1)), F.pad(backward, (0, 0) * 3 + (1, 0))

    def _attention(self, motion: Tensor, generator: torch.Generator | None) -> Tensor:
        """Motion [B,T,C/2,H,W] -> how much a frame's cells attend to each, on average: [B,T,H*W]."""
        x = self._scales(motion.flatten(0, 1)).flatten(2).unflatten(0, motion.shape[:2])  # [B,T,C/2,H*W]
        with torch.autocast(x.device.type, enabled=False):
            x = at_least_float32(x)
            attention = ((x.transpose(2, 3) @ x) * x.shape[2] ** -0.5).softmax(-1)
        if self.training and self.dropout:
            attention = dropout(attention, self.dropout, generator)
        return attention.mean(2)

    def _scales(self, motion: Tensor) -> Tensor:
        """[B*T,C/2,H,W] -> the same shape: as it is, through a convolution, and through one at half the resolution."""
        small = F.avg_pool2d(motion, [min(2, side) for side in motion.shape[2:]])  # a map of one cell has no half
        small = F.interpolate(self.half_scale(small), motion.shape[2:])
        return self.expand((motion + small + self.full_scale(motion)) / 3)

    def _gathered(self, cells: Tensor, attention: Tensor) -> Tensor:
        """Cells [B,T,C,P] attended to as [B,T,P], after the convolution over time: [B,T,C]."""
        around = F.pad(attention, (0, 0, 1, 1))  # frame t of the clip stands at t + 1
        # Frame s is gathered from by frames s+1, s and s-1, which see it before, at and after their own time.
        seen_by = torch.stack([around[:, 2:], attention, around[:, :-2]], dim=-1)  # [B,T,P,3]
        before, own, after = (cells @ seen_by.to(cells.dtype)).unbind(-1)  # [B,T,C] each
        first, second, third = self.over_time.weight.squeeze(1).unbind(-1)
        gathered = own * second
        gathered = gathered + F.pad(before[:, :-1] * first, (0, 0, 1, 0))
        return gathered + F.pad(after[:, 1:] * third, (0, 0, 0, 1))
