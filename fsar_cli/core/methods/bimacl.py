"""BiMACL: frames enhanced by what moves in them, matched by TRX's cross-transformer, with contrastive learning.

    Guo et al., Bi-directional Motion Attention with Contrastive Learning for Few-shot Action Recognition, ICASSP 2024.

Two heads see the enhanced frames: the cross-transformer, and tuples in a learned space (`NearestTuples`). In training
the second contrasts, for each query and class, the distance to the nearest tuples of the class with the distance to
tuples of other classes that have nothing to do with it (`contrast`): loss = CE(main) + 0.05 CE(contrast). The
prediction is main + 0.05 nearest.

Differs from the authors' code:
- They compare tuples by Euclidean distance, but choose, score and train with it as with the cosine similarity that
  stands beside it in comments: the farthest tuple of a class counts as its nearest, and a large distance speaks for a
  class. Here small distances do.
- They keep the second head in plain lists, so that no optimiser sees it, no checkpoint holds it and its dropout stays
  on at test. Here it is trained and saved, and there is no dropout at test.
- They count unrelated tuples over all queries of the episode together, with five classes written in, mix shots and
  tuples in the mean over shots, and skip an episode that is left without unrelated tuples. Here each query has its own,
  any number of classes will do, and the least related ones are always left.
- Their recipe has lr 2e-4 and 2 queries a class; the rest is TRX's.
- With key regions, the region's map is brought to the size of the frame's, and lies beside it in the channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsar_cli.config import Config
from fsar_cli.core.features import Features, FrameFeatures
from fsar_cli.core.layers.attention import CrossTransformer
from fsar_cli.core.layers.basics import added, at_least_float32, dropout
from fsar_cli.core.layers.nearest import NearestTuples, distances
from fsar_cli.core.losses import episode_cross_entropy
from fsar_cli.core.method import MAPS, Encoded, FewShotMethod, Pairs, Scores

SMALLEST = 1e-12  # sum of two distances, where all tuples are equal


class BiMACL(FewShotMethod):
    """Frames that attend to motion in both directions of time, matched by frame tuples."""

    paper = "Guo et al., ICASSP 2024"
    kept_features = (MAPS,)

    def __init__(
        self,
        features: Features,
        motion: "MotionAttention",
        head: CrossTransformer,
        nearest: NearestTuples,
        nearest_weight: float = 0.05,
    ) -> None:
        """
        Args:
            nearest_weight: of the second head, in the loss and in the prediction.
        """
        super().__init__(features)
        self.motion, self.head, self.nearest, self.nearest_weight = motion, head, nearest, nearest_weight

    @classmethod
    def from_config(cls, config: Config, features: Features) -> "BiMACL":
        dim, match = features.dim, config.model.match
        return cls(
            features,
            MotionAttention(dim, dropout=match.dropout),
            CrossTransformer.from_config(config, features.steps, "main", dim),
            NearestTuples.from_config(config, features.steps, "nearest", dim, match.key_dim),
        )

    def keep(self, features: FrameFeatures) -> dict[str, Tensor]:
        return {MAPS: features.joined()}

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        frames = self.motion(described[MAPS], generator)  # [B,T,D]
        return Encoded(self.head.encode(frames, generator) | self.nearest.encode(frames, generator))

    def match(self, support: Encoded, query: Encoded, classes: Tensor | None = None, pairs: Pairs = None) -> Scores:
        main, nearest = -self.head.distance(support, query), -self.nearest.distance(support, query)
        parts = {"main": main, "nearest": nearest}
        if self.training:
            cards = list(zip(self.nearest.tuples(support), self.nearest.tuples(query), strict=True))
            parts["contrast"] = added(contrast(*tuples) for tuples in cards) / len(cards)
        return Scores(main + self.nearest_weight * nearest, parts)

    def loss(self, scores: Scores, labels: Tensor, reduction: str = "sum", classes: Tensor | None = None) -> Tensor:
        """Two cross-entropies; outside training, where nothing is contrasted, the second is of the nearest tuples."""
        second = scores.parts.get("contrast", scores.parts["nearest"])
        main, extra = (episode_cross_entropy(x, labels, reduction) for x in (scores.parts["main"], second))
        return main + self.nearest_weight * extra


def contrast(support: Tensor, query: Tensor) -> Tensor:
    """How near a query is to a class, beside how near to unrelated tuples of the other classes.

    Args:
        support: tuples [E,N,K,L,D].
        query: tuples [E,Q,L,D].

    Returns:
        -near / (near + far / (N-1)), [E,Q,N] in (-1,0). near: mean over the query's tuples of the distance to the
        nearest tuple of the class; far: mean distance between the query's tuples and the unrelated ones.
    """
    way, queries = support.shape[1], query.shape[1]
    flat = support.flatten(1, 3)  # [E,N*K*L,D]
    distance = distances(query.flatten(1, 2), flat).unflatten(1, (queries, -1))  # [E,Q,L,N*K*L]
    grouped = distance.unflatten(3, support.shape[1:4])  # [E,Q,L,N,K,L]
    near: Tensor = grouped.amin((4, 5)).mean(2)  # [E,Q,N]
    unrelated = _unrelated(grouped.detach(), distances(flat.detach(), flat.detach())).to(distance.dtype)
    far = torch.einsum("eqnm,eqm->eqn", unrelated, distance.mean(2)) / unrelated.sum(-1)
    return -near / (near + far / (way - 1)).clamp_min(SMALLEST)


def _unrelated(grouped: Tensor, among: Tensor) -> Tensor:
    """Which tuples of other classes have little to do with what a query finds in a class.

    A tuple is related to a query's tuple if it is nearer to the nearest tuple of the class than the query's tuple is to
    the class, its nearest of each shot averaged. Unrelated are those which are related to fewer of the query's tuples
    than the related ones of their class are on average, and in any case the least related ones.

    Args:
        grouped: [E,Q,L,N,K,L] from the query's tuples to the support's.
        among: [E,N*K*L,N*K*L] among the support's tuples.

    Returns:
        bool [E,Q,N,N*K*L].
    """
    episodes, queries, tuples, way = grouped.shape[:4]
    inside = grouped.flatten(4)  # [E,Q,L,N,K*L]
    each = inside.shape[4]
    nearest = inside.argmin(4) + each * torch.arange(way, device=among.device)  # [E,Q,L,N], positions among N*K*L
    reach = grouped.amin(5).mean(4)  # [E,Q,L,N]
    rows = among.gather(1, nearest.flatten(1).unsqueeze(2).expand(-1, -1, way * each))  # [E,Q*L*N,N*K*L]
    related = (rows.view(episodes, queries, tuples, way, way, each) < reach[..., None, None]).sum(2)  # [E,Q,N,N,K*L]
    usual = related.sum(-1, keepdim=True) / (related > 0).sum(-1, keepdim=True).clamp_min(1)
    other = ~torch.eye(way, dtype=torch.bool, device=among.device)
    unrelated = (related < usual) | (related == related.amin(-1, keepdim=True))
    return (unrelated & other.unsqueeze(-1)).flatten(3)


class MotionAttention(nn.Module):
    """Frames attend to what moves in them, forward and backward in time.

    A map is reduced to half its channels. The motion of a frame is the difference to the next frame, and to the one
    before, each seen at three scales. In each direction the cells of a frame attend to one another by the likeness of
    their motion, and gather values from the map after a convolution over time, one filter a channel. This is added to
    the map.

    Only the mean of the result over its cells is needed. It is linear in the values, so the attention of all cells is
    averaged first, and each frame gathers one vector instead of a map: from itself and its two neighbours, where the
    filters then weigh them.
    """

    def __init__(self, channels: int, *, reduction: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.dropout = dropout
        self.reduce = nn.Sequential(nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner))
        self.transform = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.half_scale, self.full_scale = (
            nn.Sequential(nn.Conv2d(inner, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner)) for _ in range(2)
        )
        self.expand = nn.Conv2d(inner, inner, 1, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        self.over_time = nn.Conv1d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))  # attention fades in

    def forward(self, maps: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Maps [B,T,C,H,W] -> frame features [B,T,C]."""
        forward, backward = (self._attention(motion, generator) for motion in self.motions(maps))
        return maps.mean((3, 4)) + self.gamma * self._gathered(maps.flatten(3), (forward + backward) / 2)

    def motions(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [B,T,C,H,W] -> the motion of each frame towards the next and towards the last: [B,T,C/2,H,W] each.

        The other frame goes through a convolution, this one is taken from it. Where there is no other, motion is zero.
        """
        lead = maps.shape[:2]
        reduced = self.reduce(maps.flatten(0, 1))
        transformed, reduced = self.transform(reduced).unflatten(0, lead), reduced.unflatten(0, lead)
        forward, backward = transformed[:, 1:] - reduced[:, :-1], transformed[:, :-1] - reduced[:, 1:]
        return F.pad(forward, (0, 0) * 3 + (0, 1)), F.pad(backward, (0, 0) * 3 + (1, 0))

    def _attention(self, motion: Tensor, generator: torch.Generator | None) -> Tensor:
        """Motion [B,T,C/2,H,W] -> how much a frame's cells attend to each, on average: [B,T,H*W]."""
        x = self._scales(motion.flatten(0, 1)).flatten(2).unflatten(0, motion.shape[:2])  # [B,T,C/2,H*W]
        with torch.autocast(x.device.type, enabled=False):
            x = at_least_float32(x)
            attention: Tensor = ((x.transpose(2, 3) @ x) * x.shape[2] ** -0.5).softmax(-1)
        if self.training and self.dropout:
            attention = dropout(attention, self.dropout, generator)
        return attention.mean(2)

    def _scales(self, motion: Tensor) -> Tensor:
        """[B*T,C/2,H,W] -> the same shape: as it is, through a convolution, and through one at half the resolution."""
        small = F.avg_pool2d(motion, [min(2, side) for side in motion.shape[2:]])  # a map of one cell has no half
        small = F.interpolate(self.half_scale(small), motion.shape[2:])
        scales: Tensor = self.expand((motion + small + self.full_scale(motion)) / 3)
        return scales

    def _gathered(self, cells: Tensor, attention: Tensor) -> Tensor:
        """Cells [B,T,C,P] attended to as [B,T,P], after the convolution over time: [B,T,C]."""
        around = F.pad(attention, (0, 0, 1, 1))  # frame t of the clip stands at t + 1
        # Frame s is gathered from by frames s+1, s and s-1, which see it before, at and after their own time.
        seen_by = torch.stack([around[:, 2:], attention, around[:, :-2]], dim=-1)  # [B,T,P,3]
        before, own, after = (cells @ seen_by.to(cells.dtype)).unbind(-1)  # [B,T,C] each
        first, second, third = self.over_time.weight.squeeze(1).unbind(-1)
        gathered = own * second
        gathered = gathered + F.pad(before[:, :-1] * first, (0, 0, 1, 0))
        return gathered + F.pad(after[:, 1:] * third, (0, 0, 0, 1))
