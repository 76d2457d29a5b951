"""The parts of a training step: whose episodes, which optimiser, and the loss of one episode.

Nothing here waits for a GPU: what is needed on the host (losses, figures) is read later, by the trainer.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from fsar_cli.config import Config, OptimConfig
from fsar_cli.core.build import normalizes
from fsar_cli.core.layers.checkpointing import NORMS
from fsar_cli.core.method import Encoded, FewShotMethod
from fsar_cli.core.methods import METHODS
from fsar_cli.data.clips import EpisodeBatch
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.data.splits import Splits
from fsar_cli.data.transforms import to_float
from fsar_cli.engine.device import autocast
from fsar_cli.engine.frozen import DescribedEpisode
from fsar_cli.errors import DataError
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
    model, found = config.model, len(sampler.classes)
    if model.method not in METHODS or not METHODS[model.method].classifies:
        return config
    if model.classes not in (None, found):
        raise DataError(
            f"{config.data.splits} has {found} training classes, but model.classes is {model.classes}",
            "a classifier belongs to its classes: use the split file it was trained with, or start a new run",
        )
    return config.model_copy(update={"model": model.model_copy(update={"classes": found})})


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


def step_seed(seed: int, index: int) -> int:
    """Seed of the generator of episode `index`, the source of dropout and random regions."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> 1)


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


@contextmanager
def statistics_kept(method: nn.Module) -> Iterator[None]:
    """What runs inside, to measure or to try, leaves batch statistics and gradients as they were."""
    before = {name: buffer.clone() for name, buffer in method.named_buffers()}
    try:
        yield
    finally:
        for name, buffer in method.named_buffers():
            buffer.copy_(before[name])
        method.zero_grad(set_to_none=True)


def together(method: FewShotMethod) -> bool:
    """Whether support and query are encoded in one call: faster, and for a small network much.

    Not where batch normalisation would see other batches than those of TRX's authors, nor with checkpointing, whose
    peak grows with the call. One call is one draw of the random regions of section 3.5, for the whole episode.
    """
    if any(isinstance(module, NORMS) and module.training for module in method.modules()):
        return False
    return not any(backbone.checkpointing for backbone in method.features.backbones())


def clips_per_call(method: FewShotMethod, config: Config) -> list[int]:
    """Clips of each call of `encode` in an episode."""
    parts = [config.episode.way * config.episode.shot, config.episode.way * config.episode.queries]
    return [sum(parts)] if together(method) else parts


def episode_loss(
    method: FewShotMethod,
    batch: EpisodeBatch | DescribedEpisode,
    config: Config,
    device: torch.device,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor, list[tuple[Tensor, Encoded]]]:
    """Loss and accuracy of one episode, on the device.

    Support and query are encoded apart, so batch normalisation sees the two batches it sees at TRX's authors; in one
    call where that makes no difference (`together`).

    Returns:
        loss, accuracy, and [(uint8 clips, Encoded)] of support and query for the statistics of regions; empty where
        the features were described before.
    """
    seen: list[tuple[Tensor, Encoded]] = []
    with autocast(device, config.train.amp):
        if isinstance(batch, DescribedEpisode):
            (way, shot), queries = batch.support.shape, batch.query.shape[1]
            described = Encoded.cat([batch.support.reshape(-1), batch.query.reshape(-1)])
            support, query = _halves(method.embed(described, generator), way * shot)
        else:
            way, shot, queries = batch.way, batch.shot, batch.queries
            clips = batch.clips.to(device).cut()
            support, query = _encode(method, to_float(clips, normalizes(config.model)), way * shot, generator)
            seen = [(clips[: way * shot], support), (clips[way * shot :], query)]
        classes = batch.classes.to(device, non_blocking=True).unsqueeze(0)  # [1,N]
        scores = method.match(support.reshape(1, way, shot), query.reshape(1, way * queries), classes)
    labels = (torch.arange(way * queries, device=device) // queries).unsqueeze(0)  # [1,N*Q]
    scores.logits, scores.parts = scores.logits.float(), {name: part.float() for name, part in scores.parts.items()}
    scores.extras = {name: extra.float() for name, extra in scores.extras.items()}
    loss = method.loss(scores, labels, config.train.loss_reduction, classes)
    accuracy = (scores.logits.detach().argmax(-1) == labels).float().mean()
    return loss, accuracy, seen


def _encode(
    method: FewShotMethod, clips: Tensor, support: int, generator: torch.Generator | None
) -> tuple[Encoded, Encoded]:
    """Clips [B,T,3,S,S], of which the first `support` are the support -> support and query encoded."""
    if together(method):
        return _halves(method.encode(clips, generator), support)
    return method.encode(clips[:support], generator), method.encode(clips[support:], generator)


def _halves(encoded: Encoded, support: int) -> tuple[Encoded, Encoded]:
    parts = (slice(None, support), slice(support, None))
    first, second = (Encoded({name: t[part] for name, t in encoded.tensors.items()}) for part in parts)
    return first, second
