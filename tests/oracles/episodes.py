"""Evaluating and training as it is customary: every episode reads and encodes all of its videos anew, in float32."""

import copy
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from fsar_cli.core.features import Features
from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.clips import ClipReader
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.data.transforms import to_float
from fsar_cli.recipes import IMAGENET
from oracles.matching import plain_scores

Module = TypeVar("Module", bound=nn.Module)


def in_customary_layout(module: Module) -> Module:
    """A copy with the weights of convolutions as torch makes them, not channels-last."""
    plain = copy.deepcopy(module)
    for part in plain.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.data = part.weight.data.contiguous(memory_format=torch.contiguous_format)
    return plain


class EpisodeClips(Dataset):
    """Episode index -> its deterministic clips as float32 [N,K,T,3,S,S] and [N,Q,T,3,S,S]."""

    def __init__(self, reader: ClipReader, sampler: EpisodeSampler, normalize: bool) -> None:
        self.reader, self.sampler, self.normalize = reader, sampler, normalize

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        episode = self.sampler(index)
        return self._clips(episode.support), self._clips(episode.query)

    def _clips(self, videos: np.ndarray) -> Tensor:
        clips = [self.reader.evaluation(self.sampler.videos[v]) for v in videos.reshape(-1)]
        floats = to_float(torch.from_numpy(np.stack(clips)), IMAGENET if self.normalize else None)
        return floats.contiguous().unflatten(0, videos.shape)


def plain_loader(episodes: EpisodeClips, count: int, workers: int, pin: bool) -> DataLoader:
    """The clips of the first episodes, loaded ahead by worker processes."""
    return DataLoader(episodes, num_workers=workers, pin_memory=pin, batch_size=None, sampler=list(range(count)))


def encode_episode(features: Features, support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
    """Frame features [N,K,T,D] and [N*Q,T,D] of float clips on the module's device; the class of query n*Q+q is n.

    Support and query pass the backbone apart, as they do in `engine.steps`.
    """
    stored = features(support.flatten(0, 1)).frames.unflatten(0, support.shape[:2])
    return stored, features(query.flatten(0, 1)).frames


@torch.no_grad()
def encode_plainly(features: Features, loader: DataLoader, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """`encode_episode` of one episode after the other, in evaluation mode."""
    for support, query in loader:
        yield encode_episode(features, support.to(device), query.to(device))


def train_plainly(
    method: FewShotMethod, support: Tensor, query: Tensor, device: torch.device, accumulate: int, reduction: str
) -> Tensor:
    """Forward and backward of one episode of float clips; returns the loss."""
    frames = encode_episode(method.features, support.to(device), query.to(device))
    scores = plain_scores(method, *frames)
    labels = torch.arange(len(support), device=device).repeat_interleave(query.shape[1]).unsqueeze(0)
    loss = method.loss(scores, labels, reduction)
    (loss / accumulate).backward()
    return loss.detach()


def plain_optimizer(method: nn.Module, lr: float) -> torch.optim.Optimizer:
    """SGD as torch gives it, one parameter after another."""
    return torch.optim.SGD(method.parameters(), lr, foreach=False)
