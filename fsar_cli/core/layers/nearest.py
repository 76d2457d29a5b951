"""Tuples of frames in a learned space, each compared with the nearest tuple of a class (STRM; used by BiMACL as well).

    Thatipelli et al., Spatio-temporal Relation Modeling for Few-shot Action Recognition, CVPR 2022.

Every tuple of every video is mapped once: c frames side by side, one linear layer, ReLU. The distance of a query to a
class is the mean, over the query's tuples, of the Euclidean distance to the nearest tuple of any of the class's shots.
That minimum runs over all shots together, so it is no mean of distances of two videos: it is taken episode by episode,
from products of the tuples as |a|^2 - 2ab + |b|^2.
"""

import torch
from torch import Tensor, nn

from fsar_cli.config import Config
from fsar_cli.core.layers.basics import added, at_least_float32, check_frames, dropout
from fsar_cli.core.layers.tuples import TupleLinear
from fsar_cli.core.method import Encoded

# A square of a distance below so many rounding errors of its terms is a zero.
ROUNDING = 32


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances of vectors [E,n,D] and [E,m,D], in float32 or better whatever the inputs: [E,n,m]."""
    a, b = _centred(a, b)
    with torch.autocast(a.device.type, enabled=False):
        own = _squared_length(a)
        return _root(own + _without_own(a, b), own)


def _centred(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors [E,n,D] and [E,m,D] minus one mean for each E, in float32 or better.

    Distances stay. But after a ReLU all vectors share much, which would cost digits when it is squared.
    """
    a, b = at_least_float32(a), at_least_float32(b)
    mean = b[:, :: max(1, b.shape[1] // 64)].detach().mean(1, keepdim=True)  # of some: it need not be exact
    return a - mean, b - mean


def _without_own(a: Tensor, b: Tensor) -> Tensor:
    """Centred [E,n,D] and [E,m,D] -> |b|^2 - 2ab: [E,n,m]."""
    return torch.baddbmm(_squared_length(b).transpose(1, 2), a, b.transpose(1, 2), alpha=-2)


def _squared_length(x: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)  # makes no temporary of the size of x
    return lengths.square()


def _root(squared: Tensor, own: Tensor) -> Tensor:
    """Squares of distances from vectors of squared length `own` -> distances; that of equals has gradient zero."""
    apart = squared > ROUNDING * torch.finfo(own.dtype).eps * own
    return torch.where(apart, squared, 1.0).sqrt() * apart


class NearestTuples(nn.Module):
    """Distances to the nearest tuples, for several cardinalities; the distance is their mean.

    Its tensors live in an `Encoded` under names that start with `name`.
    """

    def __init__(
        self,
        name: str,
        dim: int,
        frames: int,
        *,
        out_dim: int,
        cardinalities: tuple[int, ...] = (2, 3),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.name, self.frames, self.dropout = name, frames, dropout
        self.cards = nn.ModuleDict({f"card{c}": TupleLinear(frames, c, dim, out_dim) for c in cardinalities})

    @classmethod
    def from_config(cls, config: Config, steps: int, name: str, dim: int, out_dim: int) -> "NearestTuples":
        """With the cardinalities and the dropout of `model.match`."""
        match = config.model.match
        return cls(name, dim, steps, out_dim=out_dim, cardinalities=match.cardinalities, dropout=match.dropout)

    def encode(self, frames: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Frame features [B,T,D] -> the tuples [B,L,D_out] of each cardinality, by name, ready for `Encoded`.

        Raises:
            UsageError: clips of another T.
        """
        check_frames("the head of nearest tuples", self.frames, frames.shape[1])
        if self.training and self.dropout:
            frames = dropout(frames, self.dropout, generator)
        return {f"{self.name}.{card}": linear(frames).relu() for card, linear in self.cards.items()}

    def tuples(self, encoded: Encoded) -> list[Tensor]:
        """What `encode` made of the videos, for each cardinality: [...,L,D_out]."""
        return [encoded[f"{self.name}.{card}"] for card in self.cards]

    def distance(self, support: Encoded, query: Encoded) -> Tensor:
        """Support [E,N,K], query [E,Q] -> distance [E,Q,N]."""
        both = zip(self.tuples(support), self.tuples(query), strict=True)
        return added(nearest_distance(*tuples) for tuples in both) / len(self.cards)


def nearest_distance(support: Tensor, query: Tensor) -> Tensor:
    """Tuples [E,N,K,L,D] and [E,Q,L,D] -> mean distance of a query's tuples to their nearest of a class: [E,Q,N]."""
    way, (queries, tuples) = support.shape[1], query.shape[1:3]
    a, b = _centred(query.flatten(1, 2), support.flatten(1, 3))
    with torch.autocast(a.device.type, enabled=False):
        own = _squared_length(a)  # the same for all of the support: added to the smallest alone
        nearest = _root(own + _without_own(a, b).unflatten(2, (way, -1)).amin(-1), own)  # [E,Q*L,N]
        each: Tensor = nearest.unflatten(1, (queries, tuples))  # [E,Q,L,N]
        return each.mean(2)
