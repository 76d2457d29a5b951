"""Networks of images that timm has: vision transformers (DINOv2 and v3, CLIP, SigLIP, EVA) and convolutional ones.

Whatever has `forward_intermediates` gives the map of its last block, after its last norm: without prefix tokens, before
any pooling.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fsar_cli.core.backbones.backbone import FrameBackbone
from fsar_cli.core.backbones.weights import cannot_get, load_backbone, refuse_words
from fsar_cli.core.layers.checkpointing import NORMS
from fsar_cli.errors import UsageError, is_out_of_memory
from fsar_cli.extras import TIMM, extra, first_line, timm_config

NEAR = 64  # pixels around a side that does not fit, in which others are looked for


class TimmMaps(nn.Module):
    """A network of timm up to its last map."""

    network: Any  # timm finds its methods by name

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        if hasattr(network, "prune_intermediate_layers"):  # what follows the map is neither kept nor trained
            self.network.prune_intermediate_layers(1, prune_norm=False, prune_head=True)

    def forward(self, frames: Tensor) -> Tensor:
        """[B,3,h,w] -> [B,C,H,W]."""
        maps: list[Tensor] = self.network.forward_intermediates(
            frames, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True
        )
        return maps[0]


class TimmBackbone(FrameBackbone):
    """A network of timm. It has one stage: what comes before the last map is timm's own."""

    trunk: TimmMaps

    def __init__(self, network: nn.Module, name: str, side: int | None) -> None:
        """
        Args:
            side: the one that it takes; None: all that its patches divide.
        """
        super().__init__(TimmMaps(network), 0, name)
        self.side, self.library = side, f"timm {extra('timm', name).__version__}"
        # Batch norms would count a block's second run, too: there the trunk is one block, which this project runs.
        self.by_blocks = not any(isinstance(m, NORMS) for m in network.modules()) and _checkpoints(network, False)

    def _run(self, x: Tensor) -> Tensor:
        if not (self.by_blocks and self.checkpointing and self.training and torch.is_grad_enabled()):
            return super()._run(x)
        _checkpoints(self.trunk.network, True)
        try:
            maps: Tensor = self.trunk(x)
            return maps
        finally:
            _checkpoints(self.trunk.network, False)

    def _meta(self, frames: int, side: int) -> torch.Size:
        try:
            return super()._meta(frames, side)
        except (AssertionError, RuntimeError) as error:
            fitting = [near for step in (-1, 1) if (near := self._nearest(side, step))]
            if not fitting:
                raise UsageError(
                    f"the backbone '{self.name}' gives no map of its last block: {first_line(error)}",
                    "take a vision transformer or a ConvNeXt, as timm:vit_small_patch14_dinov2",
                ) from error
            raise UsageError(
                f"the backbone '{self.name}' does not take {side} x {side} pixels: its patches must divide the side",
                f"set clip.size, or model.region.side, to {' or '.join(map(str, fitting))}",
            ) from error

    def _nearest(self, side: int, step: int) -> int | None:
        """The next side that fits, upwards (`step` 1) or downwards (-1)."""
        for near in range(side + step, max(0, side + step * (NEAR + 1)), step):
            try:
                super()._meta(1, near)
                return near
            except (AssertionError, RuntimeError):
                continue
        return None


def timm_backbone(name: str, weights: str | Path) -> TimmBackbone:
    """Make a backbone.

    Args:
        name: `timm:NAME` or `timm:NAME.TAG`.
        weights: `pretrained` (timm's, downloaded once), `none`, or a path to a state dict of the network, as of
            `image_backbone`.

    Raises:
        UsageError: timm is not there, does not know the name or has no weights for it; the network gives no map.
        DataError: weights that cannot be had or belong to another network.
    """
    config = timm_config(name)
    refuse_words(name, str(weights), ["pretrained"] if config.has_weights else [])
    network, dynamic = _network(name, str(weights) == "pretrained")
    side = config.input_size[-1]
    backbone = TimmBackbone(network, name, None if dynamic or not config.fixed_input_size else side)
    if str(weights) not in ("pretrained", "none"):
        load_backbone(backbone.trunk.network, name, Path(weights))
    backbone.dim = backbone.shape(1, side).channels
    return backbone


def _network(name: str, pretrained: bool) -> tuple[nn.Module, bool]:
    """timm's network, and whether it takes inputs of several sides because it was told so."""
    try:
        return _made(name, pretrained, dynamic_img_size=True), True
    except TypeError:  # it does not know the word
        return _made(name, pretrained), False


def _made(name: str, pretrained: bool, **options: Any) -> nn.Module:
    make = extra("timm", name).create_model
    try:
        network: nn.Module = make(name.removeprefix(TIMM), pretrained=pretrained, num_classes=0, **options)
        return network
    except TypeError:
        raise
    except Exception as error:  # the hub's and the network's are of many kinds
        if not pretrained or is_out_of_memory(error):
            raise
        raise cannot_get(name, error) from error


def _checkpoints(network: Any, on: bool) -> bool:
    """Have timm run blocks again in the backward pass, or not; whether the network can."""
    try:
        network.set_grad_checkpointing(on)
    except (AttributeError, AssertionError):
        return False
    return True
