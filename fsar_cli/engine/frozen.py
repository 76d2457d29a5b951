"""Training the heads alone: the backbones see `train.views` augmented clips of each training video once, before.

An episode then costs the heads' forward and backward and no decoding; the price is that augmentation is drawn from a
fixed number of views. Everything in `features` stands still, the relation module too, whose gradients would come
through the local backbone.
"""

from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch

from fsar_cli.config import Config
from fsar_cli.core.method import Encoded, FewShotMethod
from fsar_cli.data.clips import AugmentedClips, ClipReader
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.engine.bank import describe_clips
from fsar_cli.engine.device import send
from fsar_cli.files import Cache
from fsar_cli.ranks import ALONE, Ranks
from fsar_cli.reporting import Reporter


@dataclass
class DescribedEpisode:
    """One training episode as the backbones' features."""

    index: int
    support: Encoded
    """[N,K]."""
    query: Encoded
    """[N,Q]; the class of query [n,q] is n."""
    classes: torch.Tensor
    """int64 [N]: which of the training classes are the episode's."""


def freeze_features(method: FewShotMethod, reporter: Reporter) -> None:
    """Take the parameters of the feature branches out of training."""
    backbones = {id(p) for backbone in method.features.backbones() for p in backbone.parameters()}
    if any(id(p) not in backbones for p in method.features.parameters()):
        if method.features.wrapped:
            reporter.warn("train.views: the fusion of stages keeps its weights, random ones without a checkpoint")
        else:
            reporter.warn("train.views: the relation module keeps its weights too; region.source=difference has none")
    method.features.requires_grad_(False)


class FrozenFeatures:
    """Described episodes of a sampler; which view of a video an episode sees is drawn from (seed, index)."""

    def __init__(
        self,
        method: FewShotMethod,
        reader: ClipReader,
        sampler: EpisodeSampler,
        device: torch.device,
        config: Config,
        reporter: Reporter,
        cache: Cache | None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.sampler, self.device = sampler, device
        self.views, self.seed = config.train.views, config.train.seed
        clips = AugmentedClips(reader, sampler.videos, self.views, self.seed)
        self.features = describe_clips(method, clips, device, config, reporter, cache, ranks).encoded

    def __call__(self, index: int) -> DescribedEpisode:
        episode = self.sampler(index)
        rng = np.random.default_rng([self.seed, crc32(b"views"), index])
        classes = send(torch.from_numpy(episode.classes), self.device)
        return DescribedEpisode(index, self._take(episode.support, rng), self._take(episode.query, rng), classes)

    def _take(self, videos: np.ndarray, rng: np.random.Generator) -> Encoded:
        positions = videos * self.views + rng.integers(0, self.views, videos.shape)
        picked = self.features.take(torch.from_numpy(positions))
        return Encoded({name: send(tensor, self.device) for name, tensor in picked.tensors.items()}, picked.lead)
