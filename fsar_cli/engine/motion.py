"""How much of a video's motion its key regions hold: a label-free figure logged on every run.

Motion energy is the absolute difference of grey values between neighbouring sampled frames where it exceeds 4 % of the
range, so that sensor noise does not count. Shares are compared with a centre crop, a random crop and an oracle (a
region centred on the motion's centroid) of the same size.
"""

from collections.abc import Mapping
from dataclasses import dataclass

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


def boxes_around(centres: Tensor, share: float | Tensor) -> Tensor:
    """Boxes [...,4] of side `share` (a number or [...,1]) around centres [...,2] in [0,1], moved inside the frame."""
    half = torch.as_tensor(share / 2, device=centres.device)
    centres = centres.clamp(half, 1 - half)
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
    """Means over videos, each of which counts the same; the shares of motion over the videos in which anything moves
    (0 where none does)."""

    saturated: float
    """Share of frames whose centre was clamped."""
    offset: float
    """Mean distance of the region's centre from the frame's, in sides of the crop."""
    motion_region: float
    motion_centre: float
    motion_random: float
    motion_oracle: float
    videos: int


class RegionMeter:
    """Statistics of videos that come in groups; how they are grouped changes nothing."""

    def __init__(self) -> None:
        self._columns: dict[str, list[Tensor]] = {}  # of a value for each video
        self._generator = torch.Generator().manual_seed(0)
        self._passed = 0

    def add(self, clips: Tensor, boxes: Tensor, saturated: Tensor) -> None:
        """Measure the next videos; arguments as those of `measure`."""
        self.take(self.measure(clips, boxes, saturated))

    def pass_over(self, videos: int) -> None:
        """The next so many videos are measured elsewhere: leave them their share of the random draws."""
        self._passed += videos

    def take(self, values: Mapping[str, Tensor]) -> None:
        """The values of the next videos, as `measure` gives them here or elsewhere."""
        for name, column in values.items():
            self._columns.setdefault(name, []).append(column)

    def measure(self, clips: Tensor, boxes: Tensor, saturated: Tensor) -> dict[str, Tensor]:
        """[B] by name, on the CPU, of the next videos.

        Args:
            clips: uint8 [B,F,S,S,3].
            boxes: [B,T,4] key regions of the steps.
            saturated: bool [B,T].
        """
        frames, self._passed = self._passed * clips.shape[1], 0
        torch.rand(frames, 2, generator=self._generator)
        boxes = boxes.float().repeat_interleave(clips.shape[1] // boxes.shape[1], 1)  # of a step, for its frames
        energy = motion_energy(clips)
        share = (boxes[..., 2:3] - boxes[..., 0:1]).mean(1, keepdim=True)  # [B,1,1]
        centres = (boxes[..., :2] + boxes[..., 2:]) / 2
        uniform = torch.rand(*centres.shape, generator=self._generator).to(centres.device)
        candidates = {
            "motion_region": boxes,
            "motion_centre": boxes_around(torch.full_like(centres, 0.5), share),
            "motion_random": boxes_around(share / 2 + (1 - share) * uniform, share),
            "motion_oracle": boxes_around(motion_centroid(energy), share),
        }
        values = {name: energy_inside(energy, some) for name, some in candidates.items()}
        values |= {"saturated": saturated.float().mean(1), "offset": (centres - 0.5).norm(dim=-1).mean(1)}
        return {name: column.cpu() for name, column in values.items()}

    def result(self) -> RegionStatistics | None:
        """The means; None where nothing was added."""
        if not self._columns:
            return None
        columns = {name: torch.cat(parts).double() for name, parts in self._columns.items()}
        means = {name: float(column.nanmean().nan_to_num()) for name, column in columns.items()}  # NaN: nothing moves
        return RegionStatistics(**means, videos=len(columns["offset"]))


def region_statistics(clips: Tensor, boxes: Tensor, saturated: Tensor) -> RegionStatistics:
    """The statistics of one group of videos; arguments as those of `RegionMeter.add`."""
    meter = RegionMeter()
    meter.add(clips, boxes, saturated)
    return meter.result()
