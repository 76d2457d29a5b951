"""Spatially adaptive key-region selection (section 3.3, eq. 4-8): cell weights -> centre -> bilinear crop.

No parameters (unless the gain is learnt), differentiable, and usable alone: anything with one weight per map cell can
be cropped. Coordinates: pixels of the S x S input crop; pixel k of a region samples image pixel x_c - P/2 + k, so a
region covers the edges [x_c - P/2, x_c + P/2] and its box is that interval divided by S.

Regions of several sides P share what was selected, and each has the centre that eq. 4-7 give with its own P. The
distance from the middle is proportional to S - P there, before and after the clamp, so the centre for one side says
where it is for another: a smaller region reaches further out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsar_cli.core.layers.basics import at_least_float32

TANH_SATURATION = 3.0  # |x| where the slope of tanh has fallen below 1 %
# `l1` divides by at least this much: the rounding noise of a still video must not choose a region, nor a map of zeros
# turn the gradient into infinity.
LEAST_SUM = 1e-6


@dataclass
class Regions:
    """Key regions of frames, of the first side where there are several; the leading axes are those of the cells."""

    centres: Tensor
    """[...,2] (x, y) in pixels of the input crop."""
    boxes: Tensor
    """[...,4] xyxy in [0,1] of the input crop."""
    saturated: Tensor
    """[...] bool: at least one coordinate was clamped, and with `hard` has no gradient (hardly any with `tanh`)."""


def grid_offsets(
    rows: int,
    cols: int,
    input_side: int,
    region_side: int,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Vectors from the middle of the valid area to its grid points, one a map cell (eq. 4-5).

    Returns:
        [rows*cols,2] (x, y) in pixels, row by row; the valid area is [P/2, S-P/2] on both axes.
    """
    half = (input_side - region_side) / 2
    xs, ys = (
        torch.linspace(-half, half, n, device=device, dtype=dtype)
        if n > 1
        else torch.zeros(1, device=device, dtype=dtype)
        for n in (cols, rows)
    )
    return torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1).reshape(-1, 2)


def crop_regions(frames: Tensor, centres: Tensor, side: int) -> Tensor:
    """Cut a `side` x `side` region at fractional centres by bilinear interpolation (eq. 8).

    Args:
        frames: [B,C,S,S].
        centres: [B,2] (x, y) in pixels; gradients flow into them.

    Returns:
        [B,C,side,side] of the frames' type; zeros where a region leaves the frame.
    """
    exact = at_least_float32(frames)  # half precision would be off by up to half a pixel
    pixels = torch.arange(side, dtype=exact.dtype, device=centres.device) - (side - 1) / 2  # from the region's centre
    grid = 2 * (centres.to(exact.dtype).unsqueeze(-1) + pixels) / frames.shape[-1] - 1  # [B,2,P] in [-1,1]
    xs, ys = grid[:, 0].unsqueeze(1).expand(-1, side, -1), grid[:, 1].unsqueeze(2).expand(-1, -1, side)  # [B,P,P]
    crops = F.grid_sample(exact, torch.stack([xs, ys], -1), mode="bilinear", padding_mode="zeros", align_corners=False)
    return crops.to(frames.dtype)


class Selector(nn.Module):
    """Base of what chooses regions: their sides, and regions from centres."""

    def __init__(self, input_side: int, region_side: int | Sequence[int]) -> None:
        """
        Args:
            input_side: S in pixels.
            region_side: P in pixels, P < S, or several; boxes are those of the first.
        """
        super().__init__()
        self.input_side = input_side
        self.sides = (region_side,) if isinstance(region_side, int) else tuple(region_side)
        self.region_side = self.sides[0]

    @property
    def reach(self) -> float:
        """How far a centre may lie from the middle, on both axes, in pixels."""
        return (self.input_side - self.region_side) / 2

    def regions(self, centres: Tensor, saturated: Tensor | None = None) -> Regions:
        """The regions of given centres [...,2]."""
        reach = self.region_side / 2
        boxes = torch.cat([centres - reach, centres + reach], dim=-1) / self.input_side
        if saturated is None:
            saturated = torch.zeros(centres.shape[:-1], dtype=torch.bool, device=centres.device)
        return Regions(centres, boxes, saturated)

    def uniform(self, lead: tuple[int, ...], device: torch.device, generator: torch.Generator | None) -> Regions:
        """Regions whose centres are uniform over the valid area (`region.random_kind: uniform_centre`)."""
        spread = self.input_side - self.region_side
        return self.regions(self.region_side / 2 + spread * torch.rand(*lead, 2, device=device, generator=generator))

    def centres(self, regions: Regions, side: int) -> Tensor:
        """Centres [...,2] of the regions of another of the sides."""
        if side == self.region_side:
            return regions.centres
        middle = self.input_side / 2
        return middle + (regions.centres - middle) * ((self.input_side - side) / (2 * self.reach))


class KeyRegionSelector(Selector):
    """Cell weights -> key regions (eq. 6-7)."""

    def __init__(
        self,
        input_side: int,
        region_side: int | Sequence[int],
        *,
        weights: str = "raw",
        gain: float | str = 1.0,
        clamp: str = "hard",
    ) -> None:
        """
        Args:
            input_side, region_side: S and P in pixels, P < S; or several P.
            weights: `raw` (paper), `softmax` over the cells, or `l1`: divided by the sum of their magnitudes (of at
                least LEAST_SUM).
            gain: factor on the summed offset, or `learnt` (starts at 1).
            clamp: `hard` (paper), `straight_through` (hard, identity gradient) or `tanh`.
        """
        super().__init__(input_side, region_side)
        self.weights, self.clamp = weights, clamp
        self.gain = nn.Parameter(torch.ones(())) if gain == "learnt" else float(gain)

    def forward(self, cells: Tensor) -> Regions:
        """Cell weights [...,H,W] -> regions of the same leading axes; at least float32, whatever autocast says."""
        cells = at_least_float32(cells)
        rows, cols = cells.shape[-2:]
        offsets = grid_offsets(rows, cols, self.input_side, self.region_side, cells.device, cells.dtype)
        cell_weights = self._weigh(cells.flatten(-2)).unsqueeze(-1)  # [...,H*W,1]
        # Not a matrix product: in TF32 or bfloat16 that would move a centre by pixels.
        total = self.gain * (cell_weights * offsets).sum(-2)  # [...,2], eq. 6
        return self.regions(self.input_side / 2 + self._limit(total, self.reach), self._saturated(total, self.reach))

    def _weigh(self, cells: Tensor) -> Tensor:
        if self.weights == "softmax":
            return cells.softmax(-1)
        if self.weights == "l1":
            return cells / cells.abs().sum(-1, keepdim=True).clamp_min(LEAST_SUM)
        return cells

    def _limit(self, total: Tensor, half: float) -> Tensor:
        if self.clamp == "tanh":
            return half * torch.tanh(total / half)
        limited = total.clamp(-half, half)
        return total + (limited - total).detach() if self.clamp == "straight_through" else limited

    def _saturated(self, total: Tensor, half: float) -> Tensor:
        limit = half * TANH_SATURATION if self.clamp == "tanh" else half
        return (total.detach().abs() >= limit).any(-1)
