"""Backbones by name: networks of images and of video, each in a file of its own."""

from pathlib import Path

from fsar_cli.core.backbones.backbone import Backbone
from fsar_cli.core.backbones.hf_video import hf_backbone
from fsar_cli.core.backbones.image import ONE_SIDE, image_backbone, image_names
from fsar_cli.core.backbones.timm_image import timm_backbone
from fsar_cli.core.backbones.video import video_backbone
from fsar_cli.errors import UsageError, did_you_mean
from fsar_cli.extras import HF, TIMM
from fsar_cli.recipes import VIDEO_RECIPES


def backbone_names() -> list[str]:
    """All that can be named in a word, without a library's name before it (`timm:`, `hf:`)."""
    return [*image_names(), *VIDEO_RECIPES]


def build_backbone(name: str, weights: str | Path) -> Backbone:
    """Make a backbone, on the CPU, in training mode.

    Raises:
        UsageError: unknown network, or weights of another; a library that is not there.
        DataError: weights that cannot be read or belong to another network.
    """
    if name in VIDEO_RECIPES:
        return video_backbone(name, weights)
    if name.startswith(TIMM):
        return timm_backbone(name, weights)
    if name.startswith(HF):
        return hf_backbone(name, weights)
    if name in image_names() or name.startswith(ONE_SIDE):
        return image_backbone(name, weights)
    known = backbone_names()
    raise UsageError(f"unknown backbone '{name}'", did_you_mean(name, known) or "for example resnet50 or r2plus1d_18")
