"""Networks of video that torchvision has: r3d_18, mc3_18, r2plus1d_18, s3d, MViT and Video Swin."""

from functools import partial
from pathlib import Path

import torchvision
from torch import Tensor, nn
from torchvision.models.video.mvit import MViT
from torchvision.models.video.s3d import S3D
from torchvision.models.video.swin_transformer import SwinTransformer3d
from torchvision.ops import Permute

from fsar_cli.core.backbones.backbone import ClipBackbone
from fsar_cli.core.backbones.i3d import I3D
from fsar_cli.core.backbones.weights import HEADS, pretrained_network
from fsar_cli.recipes import VIDEO_RECIPES

FRAMES, SIDE = 16, 224


class MViTMaps(nn.Module):
    """MViT up to its last norm, its tokens as maps; it has positions for one number of frames and one side."""

    def __init__(self, network: MViT) -> None:
        super().__init__()
        self.network = network
        del network.head

    def forward(self, clips: Tensor) -> Tensor:
        """[B,3,16,224,224] -> [B,C,8,7,7]."""
        network = self.network
        x = network.conv_proj(clips).flatten(2).transpose(1, 2)  # [B,T*H*W,C]
        x = network.pos_encoding(x)
        size = (network.pos_encoding.temporal_size, *network.pos_encoding.spatial_size)
        for block in network.blocks:
            x, size = block(x, size)
        tokens = network.norm(x)[:, 1:]  # without the class token
        maps: Tensor = tokens.transpose(1, 2).unflatten(2, size)
        return maps


def video_backbone(name: str, weights: str | Path) -> ClipBackbone:
    """Make a backbone.

    Args:
        name: one of VIDEO_RECIPES.
        weights: `kinetics400` (downloaded once; `kinetics400_imagenet22k` for swin3d_b, too), `none`, or a path to a
            state dict of the network, as of `image_backbone`. I3D takes a path or `none`.

    Raises:
        UsageError: weights of other networks.
        DataError: weights that cannot be read or belong to another network.
    """
    make = I3D if name == "i3d" else partial(torchvision.models.get_model, name, weights=None)
    network = pretrained_network(name, weights, make)
    # MViT is built for one size, that of its weights.
    only, side = (FRAMES, SIDE) if isinstance(network, MViT) else (None, None)
    backbone = ClipBackbone(_trunk(network), 0, name, step=VIDEO_RECIPES[name].step, only=only, side=side)
    backbone.dim = backbone.shape(FRAMES, SIDE).channels
    return backbone


def _trunk(network: nn.Module) -> nn.Module:
    """Everything before pooling and classifier."""
    if isinstance(network, I3D):
        return network
    if isinstance(network, MViT):
        return MViTMaps(network)
    if isinstance(network, SwinTransformer3d):  # channels last until its end
        parts = (network.patch_embed, network.pos_drop, network.features, network.norm)
        return nn.Sequential(*parts, Permute([0, 4, 1, 2, 3]))
    if isinstance(network, S3D):
        features: nn.Module = network.features
        return features
    return nn.Sequential(*[part for key, part in network.named_children() if key not in HEADS])
