"""The parts of a training step: whose episodes, which optimiser, and the loss of one episode."""

import numpy as np
import torch
from torch import Tensor, nn

from fsar_cli.config import Config, OptimConfig
from fsar_cli.core.build import normalizes
from fsar_cli.core.encoded import Encoded
from fsar_cli.core.methods.base import FewShotMethod
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
    """The optimiser of a configuration over the parameters that are trained."""
    parameters = [p for p in method.parameters() if p.requires_grad]
    if not parameters:
        raise DataError(
            "nothing to train: the method has no parameters of its own and the backbone is frozen",
            "evaluate it with `fsar eval --untrained`, or set model.freeze_backbone=false",
        )
    if config.name == "sgd":
        return torch.optim.SGD(parameters, config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(parameters, config.lr, weight_decay=config.weight_decay)


def episode_loss(
    method: FewShotMethod,
    batch: EpisodeBatch | DescribedEpisode,
    config: Config,
    device: torch.device,
    generator: torch.Generator | None,
) -> tuple[Tensor, float, list[tuple[Tensor, Encoded]]]:
    """Loss and accuracy of one episode.

    Support and query are encoded apart, so batch normalisation sees the two batches it sees at TRX's authors.

    Returns:
        loss, accuracy, and [(uint8 clips, Encoded)] of support and query for the statistics of regions; empty where
        the features were described before.
    """
    way, shot, queries = *batch.support.shape[:2], batch.query.shape[1]
    seen: list[tuple[Tensor, Encoded]] = []
    with autocast(device, config.train.amp):
        if isinstance(batch, DescribedEpisode):
            parts = [method.embed(part.reshape(-1), generator) for part in (batch.support, batch.query)]
        else:
            seen = [_encode(method, part, config, device, generator) for part in (batch.support, batch.query)]
            parts = [encoded for _, encoded in seen]
        scores = method.match(parts[0].reshape(1, way, shot), parts[1].reshape(1, way * queries))
    labels = torch.arange(way, device=device).repeat_interleave(queries).unsqueeze(0)  # [1,N*Q]
    scores.logits, scores.parts = scores.logits.float(), {name: part.float() for name, part in scores.parts.items()}
    loss = method.loss(scores, labels, config.train.loss_reduction)
    accuracy = (scores.logits.argmax(-1) == labels).float().mean()
    return loss, float(accuracy), seen


def _encode(
    method: FewShotMethod, clips: Tensor, config: Config, device: torch.device, generator: torch.Generator | None
) -> tuple[Tensor, Encoded]:
    pixels = clips.flatten(0, 1).to(device, non_blocking=True)
    return pixels, method.encode(to_float(pixels, normalizes(config.model)), generator)
