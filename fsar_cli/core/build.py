"""Configuration -> method: backbones, then features, then the method's own parts (`FewShotMethod.from_config`)."""

from pathlib import Path

import torch
from torch import nn

from fsar_cli.config import Config, ModelConfig
from fsar_cli.core.backbones.image import Backbone, build_backbone
from fsar_cli.core.features import Features, GlobalFeatures, KeyRegionFeatures
from fsar_cli.core.layers.policy import PatchPolicy
from fsar_cli.core.method import FewShotMethod
from fsar_cli.core.methods import METHODS
from fsar_cli.core.regions import KeyRegionSelector, Selector
from fsar_cli.core.relation import FrameDifference, Relation
from fsar_cli.errors import UsageError, did_you_mean

DEMO_WEIGHTS = Path(__file__).parent.parent / "presets" / "demo.safetensors"


def build_method(config: Config, *, pretrained: bool = True, seed: int = 0) -> FewShotMethod:
    """Make the method of a configuration, on the CPU, in training mode.

    Args:
        pretrained: load `model.weights`; False where a checkpoint follows.
        seed: of the initial weights; the global random state is left as it was.

    Raises:
        UsageError: unknown method or backbone, settings that contradict each other, or inputs too small for the
            backbone.
        DataError: weights that cannot be read.
    """
    if config.model.method not in METHODS:
        hint = did_you_mean(config.model.method, METHODS) or f"methods: {', '.join(METHODS)}"
        raise UsageError(f"unknown method '{config.model.method}'", hint)
    method = METHODS[config.model.method]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return method.from_config(config, _features(config, method, pretrained))


def normalizes(model: ModelConfig) -> bool:
    """Whether frames get ImageNet's mean and standard deviation (default: with ImageNet weights)."""
    return model.weights == "imagenet" if model.normalize is None else model.normalize


def remark_on_weights(model: ModelConfig) -> str:
    """What the user of a file of weights may not know; empty where there is nothing to say."""
    if model.weights in ("imagenet", "demo", "none") or model.normalize is not None:
        return ""
    hint = "model.normalize=true for weights that were trained so, as ImageNet's; =false to leave out this line"
    return f"frames are not normalised for the weights of {model.weights}: {hint}"


def _backbone(model: ModelConfig, weights: str, pretrained: bool) -> Backbone:
    chosen = str(DEMO_WEIGHTS) if weights == "demo" else weights
    return build_backbone(model.backbone, chosen if pretrained else "none")


def _features(config: Config, method: type[FewShotMethod], pretrained: bool) -> Features:
    model, region, size = config.model, config.model.region, config.clip.size
    freezing = {"freeze_backbone": model.freeze_backbone, "freeze_batchnorm": model.freeze_batchnorm}
    backbone = _backbone(model, model.weights, pretrained)
    backbone.map_side(size)  # refuses an input the network cannot take
    if not model.selects_regions:
        return GlobalFeatures(method.around(backbone, size), **freezing)
    local = _backbone(model, model.local_weights or model.weights, pretrained)
    local.map_side(min(region.sides))
    return KeyRegionFeatures(
        method.around(backbone, size),
        method.around(local, max(region.sides)),
        *_selection(config, backbone),
        stop_gradient=region.stop_gradient,
        random_probability=region.random_probability,
        random_kind=region.random_kind,
        **freezing,
    )


def _selection(config: Config, backbone: Backbone) -> tuple[nn.Module | None, Selector]:
    """What gives cell weights, if anything, and what chooses regions."""
    size, region = config.clip.size, config.model.region
    if region.selector == "adafocus":
        return None, PatchPolicy(size, region.sides, backbone.dim, backbone.map_side(size))
    selector = KeyRegionSelector(size, region.sides, weights=region.weights, gain=region.gain, clamp=region.clamp)
    return _relation(config, backbone.dim), selector


def _relation(config: Config, channels: int) -> nn.Module:
    if config.model.region.source == "difference":
        return FrameDifference()
    relation = config.model.relation
    return Relation(
        channels,
        config.clip.frames,
        temporal=relation.temporal,
        motion=relation.motion,
        bias=relation.bias,
        residual=relation.residual,
    )
