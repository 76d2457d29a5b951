"""How much of a video's motion its key regions hold: a label-free figure logged on every run.

Motion energy is the absolute difference of grey values between neighbouring sampled frames where it exceeds 4 % of the
range, so that sensor noise does not count. Shares are compared with a centre crop, a random crop and an oracle (a
region centred on the motion's centroid) of the same size.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

THRESHOLD = 0.04


def motion_energy(clips: Tensor) -> Tensor:
    """Mean thresholded difference of each frame to its neighbours.

    Args:
        clips: uint8 [B,T,S,S,3].

    Returns:
        float32 [B,T,S,S], >= 0.
    """
    grey = clips.float().mean(-1) / 255
    change = (grey[:, 1:] - grey[:, :-1]).abs()  # [B,T-1,S,S]
    change = change * (change > THRESHOLD)
    before, after = torch.cat([change[:, :1], change], 1), torch.cat([change, change[:, -1:]], 1)
    return (before + after) / 2


def energy_inside(energy: Tensor, boxes: Tensor) -> Tensor:
    """Share of each video's energy inside its boxes.

    Args:
        energy: [B,T,S,S].
        boxes: [B,T,4] xyxy in [0,1].

    Returns:
        [B] in [0,1]; NaN for a video without motion.
    """
    side = energy.shape[-1]
    centres = (torch.arange(side, device=energy.device) + 0.5) / side
    columns = (centres >= boxes[..., 0:1]) & (centres < boxes[..., 2:3])  # [B,T,S]
    rows = (centres >= boxes[..., 1:2]) & (centres < boxes[..., 3:4])
    inside = torch.einsum("bthw,bth,btw->b", energy, rows.to(energy.dtype), columns.to(energy.dtype))
    return inside / energy.sum((1, 2, 3))


def boxes_around(centres: Tensor, share: float) -> Tensor:
    """Boxes [...,4] of side `share` around centres [...,2] in [0,1], moved inside the frame."""
    centres = centres.clamp(share / 2, 1 - share / 2)
    return torch.cat([centres - share / 2, centres + share / 2], -1)


def motion_centroid(energy: Tensor) -> Tensor:
    """Centre of the energy of each frame, [B,T,2] (x, y) in [0,1]; the middle where nothing moves."""
    side = energy.shape[-1]
    place = (torch.arange(side, device=energy.device) + 0.5) / side
    total = energy.sum((-2, -1))
    sums = torch.stack([(energy.sum(-2) * place).sum(-1), (energy.sum(-1) * place).sum(-1)], -1)
    return torch.where(total.unsqueeze(-1) > 0, sums / total.unsqueeze(-1).clamp_min(1e-12), 0.5)


@dataclass(frozen=True)
class RegionStatistics:
    """Means over videos; shares in [0,1]."""

    saturated: float
    """Share of frames whose centre was clamped."""
    offset: float
    """Mean distance of the region's centre from the frame's, in sides of the crop."""
    motion_region: float
    motion_centre: float
    motion_random: float
    motion_oracle: float
    videos: int

    @classmethod
    def mean(cls, parts: "list[RegionStatistics]") -> "RegionStatistics":
        """Pool statistics of several groups of videos."""
        total = sum(p.videos for p in parts)
        names = [f.name for f in fields(cls) if f.name != "videos"]
        return cls(**{n: sum(getattr(p, n) * p.videos for p in parts) / max(total, 1) for n in names}, videos=total)


def region_statistics(clips: Tensor, boxes: Tensor, saturated: Tensor) -> RegionStatistics:
    """Statistics of a group of videos.

    Args:
        clips: uint8 [B,T,S,S,3].
        boxes: [B,T,4] key regions.
        saturated: bool [B,T].
    """
    energy, boxes = motion_energy(clips), boxes.float()
    share = float((boxes[..., 2] - boxes[..., 0]).mean())
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    generator = torch.Generator().manual_seed(0)
    anywhere = share / 2 + (1 - share) * torch.rand(*centres.shape, generator=generator).to(centres.device)
    candidates = {
        "motion_region": boxes,
        "motion_centre": boxes_around(torch.full_like(centres, 0.5), share),
        "motion_random": boxes_around(anywhere, share),
        "motion_oracle": boxes_around(motion_centroid(energy), share),
    }
    moving = energy.sum((1, 2, 3)) > 0
    shares = {n: float(energy_inside(energy, b)[moving].mean()) if moving.any() else 0.0 for n, b in candidates.items()}
    offset = float((centres - 0.5).norm(dim=-1).mean())
    return RegionStatistics(float(saturated.float().mean()), offset, **shares, videos=len(clips))
