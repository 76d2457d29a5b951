"""Networks of images: any torchvision classification network that ends in a map, whatever the side of its input."""

from functools import partial
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from fsar_cli.core.backbones.backbone import FrameBackbone
from fsar_cli.core.backbones.weights import HEADS, pretrained_network
from fsar_cli.errors import UsageError

# Networks whose weights expect inputs of mean 0.5 and deviation 0.5: torchvision rescales ImageNet's inside forward().
RESCALED = ("googlenet", "inception_v3")
# Vision transformers whose tokens or windows fit one side of input only.
ONE_SIDE = ("vit", "maxvit")
SIDE = 96  # pixels that are enough for the width of any


class Rescale(nn.Module):
    """Inputs normalised with ImageNet's mean and deviation -> normalised with 0.5 and 0.5."""

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        self.register_buffer("scale", (deviation / 0.5).view(3, 1, 1), persistent=False)
        self.register_buffer("shift", ((mean - 0.5) / 0.5).view(3, 1, 1), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """[B,3,h,w] -> [B,3,h,w]."""
        return frames * self.scale + self.shift


def image_names() -> list[str]:
    """The torchvision classification networks that end in a map."""
    return [n for n in torchvision.models.list_models(module=torchvision.models) if not n.startswith(ONE_SIDE)]


def image_backbone(name: str, weights: str | Path) -> FrameBackbone:
    """Make a backbone.

    Args:
        name: a torchvision classification network, for example `resnet50`.
        weights: `imagenet` (torchvision's default weights, downloaded once), `none`, or a path to a state dict of the
            network (.pth, .pt or .safetensors; with or without classifier, any float type, below any other names).

    Raises:
        UsageError: a vision transformer for inputs of one side, or weights of other networks.
        DataError: weights that cannot be read or belong to another network.
    """
    if name.startswith(ONE_SIDE):
        raise UsageError(
            f"backbone '{name}' does not map frames and regions of any side to a feature map",
            "use resnet50, swin_t or, with the extra timm, a vision transformer of it: timm:vit_base_patch16_224",
        )
    # Without weights these two warn about their slow initialisation unless it is asked for by name.
    chosen = {"init_weights": True} if name in RESCALED and str(weights) != "imagenet" else {}
    make = partial(torchvision.models.get_model, name, weights=None)
    network = pretrained_network(name, weights, make, **chosen)
    backbone = FrameBackbone(_trunk(network, name), 0, name)
    backbone.dim = backbone.shape(1, SIDE).channels
    return backbone


def _trunk(network: nn.Module, name: str) -> nn.Module:
    """Everything before pooling and classifier."""
    if isinstance(network, torchvision.models.DenseNet):  # its last ReLU is a function call in forward()
        return nn.Sequential(network.features, nn.ReLU())
    if isinstance(network, torchvision.models.SwinTransformer):  # channels last until its own permutation
        return nn.Sequential(network.features, network.norm, network.permute)
    if isinstance(features := getattr(network, "features", None), nn.Module):
        return features
    rescale = [Rescale()] if name in RESCALED else []
    return nn.Sequential(*rescale, *[part for key, part in network.named_children() if key not in HEADS])
