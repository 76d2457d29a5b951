"""Clips -> one feature vector per frame: the global branch, with or without the key-region branch (section 3.1).

Any method takes either, so the key region is plug-and-play: the method sees wider frame features, nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsar_cli.core.backbones.backbone import Backbone, ClipMaps
from fsar_cli.core.layers.basics import at_least_float32, without_autocast
from fsar_cli.core.regions import Regions, Selector, crop_regions


@dataclass
class FrameFeatures:
    """What the feature branches make of B videos."""

    frames: Tensor
    """[B,T,D] features of the frames: global, or global and local side by side."""
    maps: Tensor
    """[B,T,C,H,W] global maps."""
    local_maps: Tensor | None = None
    """[B,T,C',H',W'] maps of the key regions; of several sides: their mean, cell by cell, at the first one's size."""
    cells: Tensor | None = None
    """[B,T,H,W] cell weights of the relation; they chose the regions unless a training forward drew random ones. None
    where nothing weighs cells."""
    regions: Regions | None = None

    @property
    def mean_maps(self) -> Tensor:
        """[B,T,H,W] channel means of the global maps, before any relation."""
        return self.maps.detach().mean(2)

    def pooled(self, pool: Callable[[Tensor], Tensor]) -> Tensor:
        """[B,T,D,h,w]: the maps [B*T,C,H,W], and those of the regions, brought to one size, channels side by side.

        Args:
            pool: makes maps of any side into maps [...,h,w].
        """
        lead = self.maps.shape[:2]
        parts = [pool(m.flatten(0, 1)).unflatten(0, lead) for m in (self.maps, self.local_maps) if m is not None]
        return torch.cat(parts, 2)

    def joined(self) -> Tensor:
        """[B,T,D,H,W]: the global maps, and those of the regions brought to their size, channels side by side."""
        rows, columns = self.maps.shape[-2:]
        return self.pooled(lambda maps: F.adaptive_avg_pool2d(maps, (rows, columns)))


class Features(nn.Module):
    """Base of the feature branches: keeps what is frozen in evaluation mode."""

    global_backbone: ClipMaps
    dim: int
    """D of the frame features."""
    global_dim: int
    """How many of them are global; the rest is local."""
    steps: int
    """T of the clips that the methods are built for."""

    @property
    def remark(self) -> str:
        """What a user may not expect of them; empty where there is nothing to say."""
        return ""

    def __init__(self, *, freeze_backbone: bool = False, freeze_batchnorm: bool = False) -> None:
        super().__init__()
        self.freeze_backbone, self.freeze_batchnorm = freeze_backbone, freeze_batchnorm

    def backbones(self) -> list[Backbone]:
        """The backbones of this branch: the global one, then the local one."""
        return [m for m in self.modules() if isinstance(m, Backbone)]

    def forward(self, clips: Tensor, generator: torch.Generator | None = None) -> FrameFeatures:
        """Clips [B,F,3,S,S] -> features of the steps, with the regions they come from where any are selected."""
        return self.of_maps(self.global_backbone(clips), clips, generator)

    def of_maps(self, maps: Tensor, clips: Tensor, generator: torch.Generator | None = None) -> FrameFeatures:
        """The same behind the global backbone's maps [B,T,C,H,W] of the clips."""
        raise NotImplementedError

    @property
    def wrapped(self) -> bool:
        """Whether the method put a module of its own around the backbones (`FewShotMethod.around`)."""
        return not isinstance(self.global_backbone, Backbone)

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

    def __init__(self, backbone: ClipMaps, **freezing: bool) -> None:
        """
        Args:
            backbone: a `Backbone`, or a module around one with its `dim` and its form (`FewShotMethod.around`).
        """
        super().__init__(**freezing)
        self.global_backbone = backbone
        self.dim = self.global_dim = backbone.dim
        self.freeze()

    def of_maps(self, maps: Tensor, clips: Tensor, generator: torch.Generator | None = None) -> FrameFeatures:
        return FrameFeatures(maps.mean((3, 4)), maps)


class KeyRegionFeatures(Features):
    """The whole frame and its key region, each through a backbone of its own."""

    def __init__(
        self,
        global_backbone: ClipMaps,
        local_backbone: ClipMaps,
        relation: nn.Module | None,
        selector: Selector,
        *,
        stop_gradient: bool = True,
        random_probability: float = 0.5,
        random_kind: str = "mask",
        **freezing: bool,
    ) -> None:
        """
        Args:
            global_backbone, local_backbone: a `Backbone`, or a module around one, for whole frames and for regions.
            relation: maps [B,T,C,H,W] -> cell weights [B,T,H,W]; None: the selector reads the maps themselves.
            selector: cell weights, or maps -> regions. Where it has several sides, the local feature is the mean over
                them, so methods see features of the same width.
            stop_gradient: trick 1 of section 3.5: the local loss does not reach the global backbone.
            random_probability: trick 2: share of training forwards with random regions.
            random_kind: `mask` (cell weights U(0,1), where there are any) or `uniform_centre`.
        """
        super().__init__(**freezing)
        self.global_backbone, self.local_backbone = global_backbone, local_backbone
        self.relation, self.selector = relation, selector
        self.stop_gradient = stop_gradient
        self.random_probability, self.random_kind = random_probability, random_kind
        self.local_side = next((b.side for b in local_backbone.modules() if isinstance(b, Backbone)), None)
        self.global_dim = global_backbone.dim
        self.dim = global_backbone.dim + local_backbone.dim
        self.freeze()

    @property
    def remark(self) -> str:
        sides = [side for side in self.selector.sides if self.local_side not in (None, side)]
        listed = " and ".join(map(str, sides))
        return (
            f"key regions of {listed} px are resized to the {self.local_side} px that their network takes"
            if sides
            else ""
        )

    def of_maps(self, maps: Tensor, clips: Tensor, generator: torch.Generator | None = None) -> FrameFeatures:
        read = maps.detach() if self.stop_gradient else maps
        cells = self._cells(read)
        regions = self._regions(read if cells is None else cells, generator)
        local = [self._local(clips, regions, side) for side in self.selector.sides]  # [B,T,C',H',W'] each
        vectors = torch.cat([maps.mean((3, 4)), _mean([m.mean((3, 4)) for m in local])], dim=-1)
        local_maps = _mean([m if m.shape == local[0].shape else _resized(m, local[0]) for m in local])
        return FrameFeatures(vectors, maps, local_maps, cells, regions)

    def _local(self, clips: Tensor, regions: Regions, side: int) -> Tensor:
        """Maps [B,T,C',H',W'] of the regions of one side: all frames of a step are cropped at its centre, a tube."""
        centres = self.selector.centres(regions, side)  # [B,T,2]
        of_frames = centres.repeat_interleave(clips.shape[1] // centres.shape[1], 1)  # [B,F,2]
        crops = crop_regions(clips.flatten(0, 1), of_frames.flatten(0, 1), side)
        if self.local_side not in (None, side):
            crops = F.interpolate(crops, size=2 * (self.local_side,), mode="bilinear", antialias=True)
        maps: Tensor = self.local_backbone(crops.unflatten(0, clips.shape[:2]))
        return maps

    def _cells(self, maps: Tensor) -> Tensor | None:
        if self.relation is None:
            return None
        # In bfloat16 the sum of eq. 6 would move a centre by pixels: the relation is cheap, it stays in float32.
        with without_autocast(maps):
            cells: Tensor = self.relation(at_least_float32(maps))
        return cells

    def _regions(self, seen: Tensor, generator: torch.Generator | None) -> Regions:
        """Regions from what the selector sees: cell weights [B,T,H,W], or maps [B,T,C,H,W]."""
        if self.training and self._chance(generator) < self.random_probability:
            if self.random_kind == "uniform_centre" or self.relation is None:
                return self.selector.uniform(seen.shape[:2], seen.device, generator)
            seen = torch.rand(seen.shape, device=seen.device, generator=generator)
        regions: Regions = self.selector(seen)
        return regions

    @staticmethod
    def _chance(generator: torch.Generator | None) -> float:
        """U(0,1), known at once: a number drawn on a GPU would be waited for until all work before it is done.

        There the generator's state, which lies on the host, seeds the draw, and the generator moves on by one.
        """
        if generator is None or generator.device.type == "cpu":
            return torch.rand((), generator=generator).item()
        chance = Random(bytes(generator.get_state().tolist())).random()
        torch.rand((), device=generator.device, generator=generator)
        return chance


def _mean(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.stack(tensors).mean(0)


def _resized(maps: Tensor, like: Tensor) -> Tensor:
    rows, columns = like.shape[-2:]
    resized: Tensor = F.adaptive_avg_pool2d(maps.flatten(0, 1), (rows, columns)).unflatten(0, maps.shape[:2])
    return resized
