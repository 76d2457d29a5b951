"""Backbones: any torchvision classification network that ends in a feature map, whatever the side of its input.

The only user of torchvision in the core.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import torch
import torchvision
from torch import Tensor, nn
from torchvision.ops import Permute

from fsar_cli.core.backbones.weights import HEADS, imagenet_network, load_backbone
from fsar_cli.core.layers.checkpointing import checkpointed
from fsar_cli.errors import UsageError, did_you_mean

# Networks whose weights expect inputs of mean 0.5 and deviation 0.5: torchvision rescales ImageNet's inside forward().
RESCALED = ("googlenet", "inception_v3")
# Vision transformers whose tokens or windows fit one side of input only.
ONE_SIDE = ("vit", "maxvit")
LARGE = 512  # pixels a side that are enough for any network

Result = TypeVar("Result")


class Rescale(nn.Module):
    """Inputs normalised with ImageNet's mean and deviation -> normalised with 0.5 and 0.5."""

    def __init__(self) -> None:
        super().__init__()
        mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        self.register_buffer("scale", (deviation / 0.5).view(3, 1, 1), persistent=False)
        self.register_buffer("shift", ((mean - 0.5) / 0.5).view(3, 1, 1), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """[B,3,h,w] -> [B,3,h,w]."""
        return frames * self.scale + self.shift


@dataclass(frozen=True)
class Stage:
    """The last map of one resolution."""

    end: int
    """Parts of the trunk (`parts`) that have run when it is there."""
    channels: int
    side: int


class Backbone(nn.Module):
    """Frames -> feature map; the vector of a frame is the mean of its map (global average pooling)."""

    def __init__(self, trunk: nn.Module, dim: int, name: str = "") -> None:
        """
        Args:
            trunk: module that maps [B,3,h,w] to [B,C,H,W].
            dim: C.
        """
        super().__init__()
        self.trunk, self.dim, self.name = trunk, dim, name
        self.checkpointing = False
        """Training keeps the inputs of blocks only and runs them again in the backward pass (`checkpointing`)."""
        self.compiled: Callable[[Tensor], Tensor] | None = None
        """The trunk as a compiler made it, for training only; None: there is none."""
        self.folded: Callable[[Tensor], Tensor] | None = None
        """The trunk with folded batch norms, for evaluation only (`engine.device.folded`); None: there is none."""

    def forward(self, frames: Tensor) -> Tensor:
        """[B,3,h,w] -> map [B,C,H,W]."""
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return checkpointed(self.trunk, frames)
        if self.compiled is not None and torch.is_grad_enabled():
            return self.compiled(frames)
        if self.folded is not None and not self.training and not torch.is_grad_enabled():
            return self.folded(frames)
        return self.trunk(frames)

    def map_side(self, input_side: int) -> int:
        """Cells along one side of the map of a square input of `input_side` pixels.

        Raises:
            UsageError: an input too small for the network.
        """
        return self._tried(input_side, lambda frame: self(frame).shape[-1])

    def stages(self, input_side: int, count: int = 4) -> list[Stage]:
        """The last `count` stages of the trunk (fewer where it has fewer), found with a square input.

        A stage ends where the side of the map falls by a quarter or more; a convolution without padding, which takes
        off a cell or two, ends none.

        Raises:
            UsageError: an input too small for the network.
        """
        ends = self._tried(input_side, self._ends)
        last = [stage for stage, following in pairwise(ends) if 4 * following.side <= 3 * stage.side]
        return [*last, ends[-1]][-count:]

    def _ends(self, x: Tensor) -> list[Stage]:
        """[B,3,h,w] -> the map at the end of every part of the trunk, where it is one."""
        return [
            Stage(end, *self._plain(x, end).shape[1:3])
            for end, part in enumerate(parts(self.trunk), 1)
            if (x := part(x)).ndim == 4
        ]

    def maps(self, frames: Tensor, stages: Sequence[Stage]) -> list[Tensor]:
        """[B,3,h,w] -> the maps [B,C,H,W] at the ends of `stages`, which may have been found with another input side.

        What a compiler made of the trunk gives the last map alone; it has no part in this.
        """
        steps, x, start, maps = parts(self.trunk), frames, 0, []
        thrifty = self.checkpointing and self.training and torch.is_grad_enabled()
        for stage in stages:
            segment = nn.Sequential(*steps[start : stage.end])
            x = checkpointed(segment, x) if thrifty else segment(x)
            maps.append(self._plain(x, stage.end))
            start = stage.end
        return maps

    def _plain(self, x: Tensor, end: int) -> Tensor:
        """What is there after `end` parts, as a map [B,C,H,W]; Swin transformers work on [B,H,W,C] up to their end."""
        steps = parts(self.trunk)
        return steps[-1](x) if isinstance(steps[-1], Permute) and end < len(steps) else x

    def _tried(self, side: int, run: Callable[[Tensor], Result]) -> Result:
        """What `run` makes of a black frame in evaluation mode; the network is left as it was.

        Raises:
            UsageError: it fails, but does not with a frame that is large enough for any network.
        """
        modes = {module: module.training for module in self.modules()}
        black = next(self.parameters()).new_zeros(1, 3, side, side)
        try:
            self.eval()
            with torch.no_grad():
                return run(black)
        except RuntimeError as error:
            with torch.no_grad():
                run(black.new_zeros(1, 3, LARGE, LARGE))  # a fault other than the size comes through here
            raise UsageError(
                f"{side} x {side} pixels are too few for the backbone '{self.name}'",
                "make clip.size or model.region.side larger, or use another model.backbone",
            ) from error
        finally:
            for module, mode in modes.items():
                module.training = mode


def parts(trunk: nn.Module) -> list[nn.Module]:
    """A trunk as modules that run one after the other, all sequences inside it taken apart."""
    if type(trunk).forward is not nn.Sequential.forward:
        return [trunk]
    return [part for module in trunk for part in parts(module)]


def backbone_names() -> list[str]:
    """The torchvision classification networks that end in a map."""
    return [n for n in torchvision.models.list_models(module=torchvision.models) if not n.startswith(ONE_SIDE)]


def build_backbone(name: str, weights: str | Path) -> Backbone:
    """Make a backbone.

    Args:
        name: a torchvision classification network, for example `resnet50`.
        weights: `imagenet` (torchvision's default weights, downloaded once), `none`, or a path to a state dict of the
            network (.pth, .pt or .safetensors; with or without classifier, any float type, below any other names).

    Raises:
        UsageError: unknown network, or a vision transformer for inputs of one side.
        DataError: weights that cannot be read or belong to another network.
    """
    if name.startswith(ONE_SIDE):
        raise UsageError(
            f"backbone '{name}' does not map frames and regions of any side to a feature map",
            "use a convolutional network or a Swin transformer: resnet50, swin_t",
        )
    if name not in backbone_names():
        raise UsageError(f"unknown backbone '{name}'", did_you_mean(name, backbone_names()) or "for example resnet50")
    # Without weights these two warn about their slow initialisation unless it is asked for by name.
    chosen = {"init_weights": True} if name in RESCALED and str(weights) != "imagenet" else {}
    if str(weights) == "imagenet":
        network = imagenet_network(name, **chosen)
    else:
        network = torchvision.models.get_model(name, weights=None, **chosen)
    if str(weights) not in ("imagenet", "none"):
        load_backbone(network, name, Path(weights))
    trunk = _trunk(network, name)
    with torch.no_grad():
        features = trunk.eval()(torch.zeros(1, 3, 96, 96))
    return Backbone(trunk.train(), features.shape[1], name)


def _trunk(network: nn.Module, name: str) -> nn.Module:
    """Everything before pooling and classifier."""
    if isinstance(network, torchvision.models.DenseNet):  # its last ReLU is a function call in forward()
        return nn.Sequential(network.features, nn.ReLU())
    if isinstance(network, torchvision.models.SwinTransformer):  # channels last until its own permutation
        return nn.Sequential(network.features, network.norm, network.permute)
    if hasattr(network, "features"):
        return network.features
    rescale = [Rescale()] if name in RESCALED else []
    return nn.Sequential(*rescale, *[part for key, part in network.named_children() if key not in HEADS])
