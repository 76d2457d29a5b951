"""The loss of one training episode, and what it depends on.

Nothing here waits for a GPU: what is needed on the host (losses, figures) is read later, by the trainer.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from fsar_cli.config import Config
from fsar_cli.core.build import normalization
from fsar_cli.core.layers.checkpointing import NORMS
from fsar_cli.core.method import Encoded, FewShotMethod
from fsar_cli.data.clips import EpisodeBatch
from fsar_cli.data.transforms import to_float
from fsar_cli.engine.device import autocast
from fsar_cli.engine.frozen import DescribedEpisode


def step_seed(seed: int, index: int) -> int:
    """Seed of the generator of episode `index`, the source of dropout and random regions."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> 1)


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
            support, query = _halves(method.embed(method.prepare(described), generator), way * shot)
        else:
            way, shot, queries = batch.way, batch.shot, batch.queries
            clips = batch.clips.to(device).cut()
            support, query = _encode(method, to_float(clips, normalization(config.model)), way * shot, generator)
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
