"""The one place where names, sizes and parts meet: configuration -> method."""

from pathlib import Path

import torch

from fsar_cli.config import Config, ModelConfig
from fsar_cli.core.attention import CrossTransformer
from fsar_cli.core.backbone import Backbone, build_backbone
from fsar_cli.core.features import Features, GlobalFeatures, KeyRegionFeatures
from fsar_cli.core.methods import METHODS
from fsar_cli.core.methods.base import FewShotMethod
from fsar_cli.core.methods.keyregion import KeyRegion
from fsar_cli.core.methods.trx import TRX
from fsar_cli.core.regions import KeyRegionSelector
from fsar_cli.core.relation import Difference, Relation
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _method(config, _features(config, pretrained))


def normalizes(model: ModelConfig) -> bool:
    """Whether frames get ImageNet's mean and standard deviation (default: with ImageNet weights)."""
    return model.weights == "imagenet" if model.normalize is None else model.normalize


def _backbone(model: ModelConfig, weights: str, pretrained: bool) -> Backbone:
    chosen = str(DEMO_WEIGHTS) if weights == "demo" else weights
    return build_backbone(model.backbone, chosen if pretrained else "none")


def _features(config: Config, pretrained: bool) -> Features:
    model = config.model
    freezing = {"freeze_backbone": model.freeze_backbone, "freeze_batchnorm": model.freeze_batchnorm}
    backbone = _backbone(model, model.weights, pretrained)
    backbone.map_side(config.clip.size)  # refuses an input the network cannot take
    if model.method != "keyregion" or not model.region.enabled:
        return GlobalFeatures(backbone, **freezing)
    local = _backbone(model, model.local_weights or model.weights, pretrained)
    local.map_side(model.region.side)
    return KeyRegionFeatures(
        backbone,
        local,
        _relation(config, backbone.dim),
        KeyRegionSelector(
            config.clip.size,
            model.region.side,
            weights=model.region.weights,
            gain=model.region.gain,
            clamp=model.region.clamp,
        ),
        stop_gradient=model.region.stop_gradient,
        random_probability=model.region.random_probability,
        random_kind=model.region.random_kind,
        **freezing,
    )


def _relation(config: Config, channels: int) -> torch.nn.Module:
    if config.model.region.source == "difference":
        return Difference()
    relation = config.model.relation
    return Relation(
        channels,
        config.clip.frames,
        temporal=relation.temporal,
        motion=relation.motion,
        bias=relation.bias,
        residual=relation.residual,
    )


def _cross_transformer(config: Config, name: str, dim: int) -> CrossTransformer:
    match = config.model.match
    return CrossTransformer(
        name,
        dim,
        config.clip.frames,
        cardinalities=match.cardinalities,
        key_dim=match.key_dim,
        dropout=match.dropout,
        position_scale=match.position_scale,
    )


def _method(config: Config, features: Features) -> FewShotMethod:
    method, match = METHODS[config.model.method], config.model.match
    if method is TRX:
        return TRX(features, _cross_transformer(config, "trx", features.dim))
    if method is not KeyRegion:
        return method(features)
    dims = {"global": features.global_dim, "local": features.dim - features.global_dim}
    halves = [part for part, dim in dims.items() if dim]
    parts = halves if match.heads == "split" else ["joint"]
    wanted = halves if match.auxiliary and len(halves) == 2 else []
    return KeyRegion(
        features,
        {p: _cross_transformer(config, p, dims.get(p, features.dim)) for p in parts},
        {p: _cross_transformer(config, f"auxiliary_{p}", dims[p]) for p in wanted},
        temporal_weight=match.temporal_weight,
        temporal_test_weight=match.temporal_test_weight,
        hausdorff_reduction=match.hausdorff,
    )
