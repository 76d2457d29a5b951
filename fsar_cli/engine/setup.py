"""What a training run is made of: whose episodes, the method on its device, the optimiser; and what that will take."""

import torch
from torch import nn

from fsar_cli.config import Config, OptimConfig
from fsar_cli.core.build import build_method, remark_on_weights
from fsar_cli.core.method import FewShotMethod
from fsar_cli.core.methods import METHODS
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.data.splits import Splits
from fsar_cli.engine.compiling import compile_backbones
from fsar_cli.engine.device import place
from fsar_cli.engine.frozen import freeze_features
from fsar_cli.engine.memory import CPU, GIB, fit_memory, plan_memory
from fsar_cli.engine.whitening import check_trainable
from fsar_cli.errors import DataError, UsageError, counted
from fsar_cli.ranks import ALONE, Ranks
from fsar_cli.reporting import Reporter


def training_sampler(config: Config, splits: Splits) -> EpisodeSampler:
    """The training episodes of a configuration."""
    episode = config.episode
    return EpisodeSampler(
        splits, "train", way=episode.way, shot=episode.shot, queries=episode.queries, seed=config.train.seed,
        group_disjoint=episode.group_disjoint,
    )  # fmt: skip


def with_classes(config: Config, sampler: EpisodeSampler) -> Config:
    """The configuration with `model.classes`, where its method classifies: the training classes of the sampler.

    Raises:
        DataError: another number is set, as in a run whose split file has changed.
    """
    model, count = config.model, len(sampler.classes)
    if model.method not in METHODS or not METHODS[model.method].classifies:
        return config
    if model.classes not in (None, count):
        raise DataError(
            f"{config.data.splits} has {count} training classes, but model.classes is {model.classes}",
            "a classifier belongs to its classes: use the split file it was trained with, or start a new run",
        )
    return config.model_copy(update={"model": model.model_copy(update={"classes": count})})


def validation_sampler(config: Config, splits: Splits, reporter: Reporter) -> EpisodeSampler | None:
    """The validation episodes, with fewer ways where val has fewer classes; None where there can be none."""
    train, episode, classes = config.train, config.episode, splits.classes("val")
    if not train.val_every:
        return None
    if len(classes) < 2:
        reporter.warn(f"no validation: the split file has {len(classes)} val classes; the last weights are kept")
        return None
    way = min(episode.way, len(classes))
    if way < episode.way:
        reporter.log(f"validation is {way}-way: the val split has {len(classes)} classes")
    return EpisodeSampler(
        splits, "val", way=way, shot=episode.shot, queries=1, seed=train.seed, group_disjoint=episode.group_disjoint
    )


def check_shared(config: Config, device: torch.device, ranks: Ranks, reporter: Reporter) -> None:
    """Whether several processes can train it. Raises UsageError: batch norms cannot be normalised together."""
    steps, world = config.optim.accumulate, ranks.world
    if world > steps:
        reporter.warn(f"{world - steps} of {world} processes have no episode to train on: an optimiser step takes"
                      f" {counted(steps, 'episode')} (optim.accumulate)")  # fmt: skip
    if not config.train.sync_batchnorm or ranks.alone:
        return
    if device.type != "cuda":
        raise UsageError("train.sync_batchnorm needs GPUs", "--set train.sync_batchnorm=false, or --device cuda")
    if steps % world or config.train.iterations % world:
        raise UsageError(
            f"train.sync_batchnorm takes an episode of every process at a time, and optim.accumulate {steps} or"
            f" train.iterations {config.train.iterations} is no multiple of {world}",
            "choose multiples, or --set train.sync_batchnorm=false",
        )


def trainable_method(
    config: Config, device: torch.device, reporter: Reporter, pretrained: bool, ranks: Ranks = ALONE
) -> FewShotMethod:
    """The method of a configuration on its device, in training mode: frozen, made to fit and compiled as it asks."""
    train = config.train
    if pretrained and (remark := remark_on_weights(config.model)):
        reporter.log(remark)
    method = build_method(config, pretrained=pretrained, seed=train.seed)
    check_trainable(method, config)
    if train.views:
        freeze_features(method, reporter)  # which says the remark as it encodes
    elif method.features.remark:
        reporter.log(method.features.remark)
    if train.sync_batchnorm and not ranks.alone:
        nn.SyncBatchNorm.convert_sync_batchnorm(method)
    if train.memory_budget is not None:
        fit_memory(method, config, device, reporter)
    place(method, device, train.channels_last).train()
    if train.compile and not train.views:
        compile_backbones(method, config, device, reporter)
    return method


def build_optimizer(method: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """The optimiser of a configuration over the parameters that are trained, where they are now."""
    parameters = [p for p in method.parameters() if p.requires_grad]
    if not parameters:
        raise DataError(
            "nothing to train: the method has no parameters of its own and the backbone is frozen",
            "evaluate it with `fsar eval --untrained`, or set model.freeze_backbone=false",
        )
    # One kernel for all parameters; on a CPU it makes Adam three times as fast, and SGD no faster.
    fused = {"fused": True} if parameters[0].device.type == "cuda" or config.name != "sgd" else {}
    if config.name == "sgd":
        decay, momentum = config.weight_decay, config.momentum
        return torch.optim.SGD(parameters, config.lr, momentum=momentum, weight_decay=decay, **fused)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(parameters, config.lr, weight_decay=config.weight_decay, **fused)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict) -> None:
    """Take over what an optimiser has gathered; its settings stay those of the configuration and of this device."""
    settings = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    groups = [saved | own for saved, own in zip(state["param_groups"], settings, strict=True)]
    optimizer.load_state_dict(state | {"param_groups": groups})


def plan(config: Config, device: torch.device = CPU) -> dict[str, object]:
    """What `fsar train` would do with this configuration; reads the split file, writes nothing.

    Raises:
        DataError, UsageError: whatever would stop the training before its first episode.
    """
    episode, splits = config.episode, Splits.read(config.data.splits)
    sampler = training_sampler(config, splits)
    config = with_classes(config, sampler)
    method = build_method(config, pretrained=False)
    check_trainable(method, config)
    chosen = plan_memory(method, config, device, config.train.memory_budget)
    gib = {name: round(getattr(chosen.memory, name) / GIB, 2) for name in (*vars(chosen.memory), "total")}
    return {
        "method": config.model.label,
        "backbone": config.model.backbone,
        "parameters": sum(p.numel() for p in method.parameters()),
        "trained_parameters": sum(p.numel() for p in method.parameters() if p.requires_grad),
        "train_classes": len(sampler.classes),
        "train_videos": len(sampler.videos),
        "val_classes": len(splits.classes("val")),
        "episode": f"{episode.way}-way {episode.shot}-shot, {counted(episode.queries, 'query')} a class",
        "clips_per_episode": episode.way * (episode.shot + episode.queries),
        "episodes": config.train.iterations,
        "optimiser_steps": config.train.iterations // config.optim.accumulate,
        "memory_plan": str(chosen),
        **{f"{name}_gib": value for name, value in gib.items()},
        "first_100_episodes_digest": sampler.digest(min(100, config.train.iterations)),
    }
