"""The one place where names, sizes and parts meet: configuration -> method."""

from collections.abc import Callable
from pathlib import Path

import torch

from fsar_cli.config import Config, ModelConfig
from fsar_cli.core.backbones.image import Backbone, build_backbone
from fsar_cli.core.enrichment import FrameEnrichment, PatchEnrichment
from fsar_cli.core.features import Features, GlobalFeatures, KeyRegionFeatures
from fsar_cli.core.layers.attention import CrossTransformer
from fsar_cli.core.layers.nearest import NearestTuples
from fsar_cli.core.layers.policy import PatchPolicy
from fsar_cli.core.method import FewShotMethod
from fsar_cli.core.methods import METHODS
from fsar_cli.core.methods.arn import ARN
from fsar_cli.core.methods.ata import ATA
from fsar_cli.core.methods.bimacl import BiMACL
from fsar_cli.core.methods.bimhm import BiMHM
from fsar_cli.core.methods.hyrsm import HyRSM
from fsar_cli.core.methods.keyregion import KeyRegion
from fsar_cli.core.methods.molo import MoLo
from fsar_cli.core.methods.otam import OTAM
from fsar_cli.core.methods.prototype import Prototype
from fsar_cli.core.methods.sloshnet import CARDINALITIES, SloshNet
from fsar_cli.core.methods.strm import PATCH_SIDE, STRM
from fsar_cli.core.methods.trx import TRX
from fsar_cli.core.motion_attention import MotionAttention
from fsar_cli.core.regions import KeyRegionSelector, Selector
from fsar_cli.core.relation import Difference, Relation
from fsar_cli.core.stages import FusedBackbone
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
        return BUILDERS[config.model.method](config, _features(config, pretrained))


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
    if not model.selects_regions:
        return GlobalFeatures(_fused(config, backbone, config.clip.size), **freezing)
    local = _backbone(model, model.local_weights or model.weights, pretrained)
    local.map_side(min(model.region.sides))
    return KeyRegionFeatures(
        _fused(config, backbone, config.clip.size),
        _fused(config, local, max(model.region.sides)),
        *_selection(config, backbone),
        stop_gradient=model.region.stop_gradient,
        random_probability=model.region.random_probability,
        random_kind=model.region.random_kind,
        **freezing,
    )


def _fused(config: Config, backbone: Backbone, side: int) -> torch.nn.Module:
    """The backbone, with the fusion of its stages where the method wants one."""
    return FusedBackbone(backbone, side) if METHODS[config.model.method].fuses_stages else backbone


def _selection(config: Config, backbone: Backbone) -> tuple[torch.nn.Module | None, Selector]:
    """What gives cell weights, if anything, and what chooses regions."""
    size, region = config.clip.size, config.model.region
    if region.selector == "adafocus":
        return None, PatchPolicy(size, region.sides, backbone.dim, backbone.map_side(size))
    selector = KeyRegionSelector(size, region.sides, weights=region.weights, gain=region.gain, clamp=region.clamp)
    return _relation(config, backbone.dim), selector


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


def _cross_transformer(
    config: Config, name: str, dim: int, cardinalities: tuple[int, ...] | None = None
) -> CrossTransformer:
    match = config.model.match
    return CrossTransformer(
        name,
        dim,
        config.clip.frames,
        cardinalities=cardinalities or match.cardinalities,
        key_dim=match.key_dim,
        dropout=match.dropout,
        position_scale=match.position_scale,
    )


def _nearest_tuples(config: Config, name: str, dim: int, out_dim: int) -> NearestTuples:
    match = config.model.match
    return NearestTuples(
        name,
        dim,
        config.clip.frames,
        out_dim=out_dim,
        cardinalities=match.cardinalities,
        dropout=match.dropout,
    )


def _keyregion(config: Config, features: Features) -> KeyRegion:
    match, dims = config.model.match, {"global": features.global_dim, "local": features.dim - features.global_dim}
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


def _trx(config: Config, features: Features) -> TRX:
    return TRX(features, _cross_transformer(config, "trx", features.dim))


def _strm(config: Config, features: Features) -> STRM:
    dim, frames, match = features.dim, config.clip.frames, config.model.match
    shared = {"position_scale": match.position_scale, "dropout": match.dropout}
    return STRM(
        features,
        PatchEnrichment(PATCH_SIDE**2, dim, **shared),
        FrameEnrichment(frames, dim, **shared),
        _cross_transformer(config, "main", dim),
        _nearest_tuples(config, "similarity", dim, dim // 2),
    )


def _bimacl(config: Config, features: Features) -> BiMACL:
    dim, match = features.dim, config.model.match
    return BiMACL(
        features,
        MotionAttention(dim, dropout=match.dropout),
        _cross_transformer(config, "main", dim),
        _nearest_tuples(config, "nearest", dim, match.key_dim),
    )


def _sloshnet(config: Config, features: Features) -> SloshNet:
    return SloshNet(features, _cross_transformer(config, "frames", features.dim, CARDINALITIES))


def _arn(config: Config, features: Features) -> ARN:
    return ARN(features, config.model.arn.channels, config.model.arn.alignment)


def _bimhm(config: Config, features: Features) -> BiMHM:
    return BiMHM(features, config.model.match.hausdorff)


def _ata(config: Config, features: Features) -> ATA:
    ata, model = config.model.ata, config.model
    return ATA(features, config.clip.frames, model.classes, steps=ata.steps, lr=ata.lr, dropout=ata.dropout)


def _class_weight(config: Config) -> dict[str, float]:
    weight = config.model.class_weight
    return {} if weight is None else {"class_weight": weight}


def _hyrsm(config: Config, features: Features) -> HyRSM:
    return HyRSM(features, config.clip.frames, config.model.classes, **_class_weight(config))


def _molo(config: Config, features: Features) -> MoLo:
    return MoLo(features, config.clip.frames, config.model.classes, **_class_weight(config))


BUILDERS: dict[str, Callable[[Config, Features], FewShotMethod]] = {
    "keyregion": _keyregion,
    "trx": _trx,
    "otam": lambda config, features: OTAM(features),
    "bimhm": _bimhm,
    "strm": _strm,
    "bimacl": _bimacl,
    "ata": _ata,
    "hyrsm": _hyrsm,
    "molo": _molo,
    "sloshnet": _sloshnet,
    "arn": _arn,
    "prototype": lambda config, features: Prototype(features),
}
"""From configuration and feature branches to each method of METHODS."""
