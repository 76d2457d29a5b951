"""Clips -> one feature vector per frame: the global branch, with or without the key-region branch (section 3.1).

Any method takes either, so the key region is plug-and-play: the method sees wider frame features, nothing else.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fsar_cli.core.backbone import Backbone
from fsar_cli.core.encoded import at_least_float32
from fsar_cli.core.regions import KeyRegionSelector, Regions, crop_regions


@dataclass
class FrameFeatures:
    """What the feature branches found in B videos."""

    frames: Tensor
    """[B,T,D] features of the frames: global, or global and local side by side."""
    mean_maps: Tensor
    """[B,T,H,W] channel means of the global maps, before any relation."""
    cells: Tensor | None = None
    """[B,T,H,W] cell weights of the relation; they chose the regions unless a training forward drew random ones."""
    regions: Regions | None = None


class Features(nn.Module):
    """Base of the feature branches: keeps what is frozen in evaluation mode."""

    dim: int
    """D of the frame features."""
    global_dim: int
    """How many of them are global; the rest is local."""

    def __init__(self, *, freeze_backbone: bool = False, freeze_batchnorm: bool = False) -> None:
        super().__init__()
        self.freeze_backbone, self.freeze_batchnorm = freeze_backbone, freeze_batchnorm

    def backbones(self) -> list[Backbone]:
        """The backbones of this branch."""
        return [m for m in self.children() if isinstance(m, Backbone)]

    def freeze(self) -> None:
        """Apply the freezing that was asked for; call once after construction."""
        if self.freeze_backbone:
            for backbone in self.backbones():
                backbone.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Features":
        super().train(mode)
        if self.freeze_backbone or self.freeze_batchnorm:
            for backbone in self.backbones():
                for module in backbone.modules():
                    if self.freeze_backbone or isinstance(module, nn.modules.batchnorm._BatchNorm):
                        module.eval()
        return self


class GlobalFeatures(Features):
    """The whole frame through one backbone."""

    def __init__(self, backbone: Backbone, **freezing: bool) -> None:
        super().__init__(**freezing)
        self.global_backbone = backbone
        self.dim = self.global_dim = backbone.dim
        self.freeze()

    def forward(self, clips: Tensor, generator: torch.Generator | None = None) -> FrameFeatures:
        """Clips [B,T,3,S,S] -> frame features."""
        maps = self.global_backbone(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])  # [B,T,C,H,W]
        return FrameFeatures(maps.mean((3, 4)), maps.detach().mean(2))


class KeyRegionFeatures(Features):
    """The whole frame and its key region, each through a backbone of its own."""

    def __init__(
        self,
        global_backbone: Backbone,
        local_backbone: Backbone,
        relation: nn.Module,
        selector: KeyRegionSelector,
        *,
        stop_gradient: bool = True,
        random_probability: float = 0.5,
        random_kind: str = "mask",
        **freezing: bool,
    ) -> None:
        """
        Args:
            relation: maps [B,T,C,H,W] -> cell weights [B,T,H,W].
            stop_gradient: trick 1 of section 3.5: the local loss does not reach the global backbone.
            random_probability: trick 2: share of training forwards with random regions.
            random_kind: `mask` (cell weights U(0,1)) or `uniform_centre`.
        """
        super().__init__(**freezing)
        self.global_backbone, self.local_backbone = global_backbone, local_backbone
        self.relation, self.selector = relation, selector
        self.stop_gradient = stop_gradient
        self.random_probability, self.random_kind = random_probability, random_kind
        self.global_dim = global_backbone.dim
        self.dim = global_backbone.dim + local_backbone.dim
        self.freeze()

    def forward(self, clips: Tensor, generator: torch.Generator | None = None) -> FrameFeatures:
        """Clips [B,T,3,S,S] -> frame features [B,T,D_g+D_l] with the regions they come from."""
        lead = clips.shape[:2]
        frames = clips.flatten(0, 1)
        maps = self.global_backbone(frames)  # [B*T,C,H,W]
        cells = self._cells((maps.detach() if self.stop_gradient else maps).unflatten(0, lead))
        regions = self._regions(cells, generator)
        crops = crop_regions(frames, regions.centres.flatten(0, 1), self.selector.region_side)
        local = self.local_backbone(crops).mean((2, 3))
        vectors = torch.cat([maps.mean((2, 3)), local], dim=-1).unflatten(0, lead)
        return FrameFeatures(vectors, maps.detach().mean(1).unflatten(0, lead), cells, regions)

    def _cells(self, maps: Tensor) -> Tensor:
        # In bfloat16 the sum of eq. 6 would move a centre by pixels: the relation is cheap, it stays in float32.
        with torch.autocast(maps.device.type, enabled=False):
            return self.relation(at_least_float32(maps))

    def _regions(self, cells: Tensor, generator: torch.Generator | None) -> Regions:
        if not (self.training and self._chance(generator) < self.random_probability):
            return self.selector(cells)
        if self.random_kind == "uniform_centre":
            return self.selector.uniform(cells.shape[:2], cells.device, generator)
        return self.selector(torch.rand(cells.shape, device=cells.device, generator=generator))

    @staticmethod
    def _chance(generator: torch.Generator | None) -> float:
        device = generator.device if generator is not None else "cpu"
        return torch.rand((), device=device, generator=generator).item()
