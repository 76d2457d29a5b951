"""Configuration -> method: backbones, then features, then the method's own parts (`FewShotMethod.from_config`)."""

from pathlib import Path

import torch
from torch import nn

from fsar_cli.config import Config, ModelConfig
from fsar_cli.core.backbones.backbone import Backbone, MapShape
from fsar_cli.core.backbones.build import build_backbone
from fsar_cli.core.backbones.seen import SeenClasses, seen_classes
from fsar_cli.core.features import Features, GlobalFeatures, KeyRegionFeatures
from fsar_cli.core.layers.policy import PatchPolicy
from fsar_cli.core.method import FewShotMethod
from fsar_cli.core.methods import METHODS
from fsar_cli.core.preparation import Preparation
from fsar_cli.core.regions import KeyRegionSelector, Selector
from fsar_cli.core.relation import FrameDifference, Relation
from fsar_cli.errors import UsageError, counted, did_you_mean
from fsar_cli.recipes import Normalization, normalization_of, recipe_of

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
        made = method.from_config(config, _features(config, method, pretrained))
    root, whiten = config.model.match.root, config.model.match.whiten != "none"
    made.preparation = Preparation(made.kept_features, made.features.dim, root=root, whiten=whiten)
    return made


def normalization(model: ModelConfig) -> Normalization | None:
    """What frames are normalised by, as `model.normalize` and the recipe of the weights say; None: by nothing."""
    return normalization_of(model.backbone, model.weights, model.normalize)


def remark_on_weights(model: ModelConfig) -> str:
    """What the user of a file of weights may not know; empty where there is nothing to say."""
    if model.weights in ("demo", "none") or model.normalize is not None or recipe_of(model.backbone, model.weights):
        return ""
    hint = "model.normalize=true for weights that were trained so, as ImageNet's; =false to leave out this line"
    return f"frames are not normalised for the weights of {model.weights}: {hint}"


def seen_by_weights(model: ModelConfig) -> list[SeenClasses]:
    """What the weights that a method starts with have seen, those of the local backbone, too.

    Raises:
        DataError: a list of classes beside them cannot be read.
    """
    local = model.local_weights if model.selects_regions else None
    return [seen_classes(model.backbone, _place(weights)) for weights in (model.weights, local) if weights]


def _place(weights: str) -> str:
    return str(DEMO_WEIGHTS) if weights == "demo" else weights


def _backbone(model: ModelConfig, weights: str, pretrained: bool) -> Backbone:
    return build_backbone(model.backbone, _place(weights) if pretrained else "none")


def _features(config: Config, method: type[FewShotMethod], pretrained: bool) -> Features:
    model, size = config.model, config.clip.size
    freezing = {"freeze_backbone": model.freeze_backbone, "freeze_batchnorm": model.freeze_batchnorm}
    backbone = _backbone(model, model.weights, pretrained)
    shape = backbone.shape(config.clip.frames, size)  # refuses an input the network cannot take
    _check_steps(config, shape.steps)
    if not model.selects_regions:
        features: Features = GlobalFeatures(method.around(backbone, size), **freezing)
    else:
        features = _with_regions(config, method, backbone, shape, pretrained, freezing)
    features.steps = shape.steps
    return features


def _check_steps(config: Config, steps: int) -> None:
    """What settings say of frames, for the steps that a network makes of them. Raises UsageError."""
    made = f"the backbone '{config.model.backbone}' makes {counted(steps, 'step')} of {config.clip.frames} frames"
    if steps < 2:
        raise UsageError(f"{made}, and methods need two or more", f"--set clip.frames={2 * config.clip.frames}")
    if max(cardinalities := config.model.match.cardinalities) > steps:
        fitting = [size for size in cardinalities if size <= steps] or [steps]
        raise UsageError(
            f"{made}, and model.match.cardinalities are {list(cardinalities)}",
            f"--set model.match.cardinalities={fitting}, or more clip.frames",
        )


def _with_regions(
    config: Config, method: type[FewShotMethod], backbone: Backbone, shape: MapShape, pretrained: bool,
    freezing: dict[str, bool],
) -> Features:  # fmt: skip
    model, region = config.model, config.model.region
    local = _backbone(model, model.local_weights or model.weights, pretrained)
    if local.side is None:  # else regions are resized to it
        for side in region.sides:
            local.shape(config.clip.frames, side)
    relation, selector = _selection(config, shape)
    return KeyRegionFeatures(
        method.around(backbone, config.clip.size),
        method.around(local, local.side or max(region.sides)),
        relation,
        selector,
        stop_gradient=region.stop_gradient,
        random_probability=region.random_probability,
        random_kind=region.random_kind,
        **freezing,
    )


def _selection(config: Config, shape: MapShape) -> tuple[nn.Module | None, Selector]:
    """What gives cell weights, if anything, and what chooses regions."""
    size, region = config.clip.size, config.model.region
    if region.selector == "adafocus":
        return None, PatchPolicy(size, region.sides, shape.channels, shape.rows)
    selector = KeyRegionSelector(size, region.sides, weights=region.weights, gain=region.gain, clamp=region.clamp)
    return _relation(config, shape), selector


def _relation(config: Config, shape: MapShape) -> nn.Module:
    if config.model.region.source == "difference":
        return FrameDifference()
    relation = config.model.relation
    return Relation(
        shape.channels,
        shape.steps,
        temporal=relation.temporal,
        motion=relation.motion,
        bias=relation.bias,
        residual=relation.residual,
    )
