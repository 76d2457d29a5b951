"""The temporal cross-transformer (TRM) over classes, shots, tuples and episodes in one call (TRX; eq. 9-10).

Every tuple of a query attends to all tuples of all shots of one class; the squared distance between the query's tuple
value and what it attended to, averaged over tuples, is the distance to that class: `plain_distance`, as the equation
stands. `tuple_distance` gives the same numbers faster.

Keys and values of tuples are sums of projected frames (`tuples`), which depend on one video alone: `encode` computes
them once per video. All that a match needs of them is inner products, and those are sums as well:

    logits      <key_i, key_j> is the sum of c^2 products of projected frames
    distance    |v - sum_j a_j v_j|^2  =  |v|^2 - 2 sum_j a_j <v, v_j> + sum_jk a_j a_k <v_j, v_k>

so `tuple_distance` multiplies R projected frames instead of L tuples and adds up: 0.24 instead of 1.13 GMAC for a
5-way 5-shot episode at T=8 and D_k=1152. The layer norm of keys takes part: it subtracts a mean (linear), multiplies
each tuple by a number, and its bias adds a number to the logits of a support tuple (and one to all logits of a query
tuple, which the softmax does not see).
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from fsar_cli.config import Config
from fsar_cli.core.layers.basics import AddPositions, added, at_least_float32, check_frames, named
from fsar_cli.core.layers.tuples import TupleLinear
from fsar_cli.core.method import Encoded


def plain_distance(query_key: Tensor, query_value: Tensor, support_key: Tensor, support_value: Tensor) -> Tensor:
    """Eq. 9-10 as they stand: attention, then the squared distance to what was attended to.

    The tests hold `tuple_distance` equal to it; nothing else calls it.

    Args:
        query_key, query_value: of the queries' tuples, [E,Q,L,D_k].
        support_key, support_value: of the tuples of all shots of a class, [E,N,K*L,D_k].

    Returns:
        [E,Q,N].
    """
    query_key, query_value = query_key.unsqueeze(2), query_value.unsqueeze(2)  # [E,Q,1,L,D_k]
    support_key, support_value = support_key.unsqueeze(1), support_value.unsqueeze(1)  # [E,1,N,K*L,D_k]
    attention: Tensor = (query_key @ support_key.mT / query_key.shape[-1] ** 0.5).softmax(-1)  # [E,Q,N,L,K*L]
    attended = attention @ support_value  # [E,Q,N,L,D_k]
    return (query_value - attended).square().sum(-1).mean(-1)


@dataclass
class TupleParts:
    """Videos [...] as one cardinality sees them: tuples as sums of projected frames; R = c (T-c+1)."""

    key: Tensor
    """[...,c,T-c+1,D_k] projected frames of keys, centred over D_k, times the gain of the layer norm."""
    scale: Tensor
    """[...,L] the layer norm's factor of each tuple, times D_k^(-1/4)."""
    shift: Tensor
    """[...,L] what the layer norm's bias adds to the logits of a support tuple."""
    value: Tensor
    """[...,c,T-c+1,D_k] projected frames of values."""

    def float(self) -> "TupleParts":
        """In float32 or better."""
        return TupleParts(*(at_least_float32(getattr(self, field.name)) for field in fields(self)))


def tuple_distance(support: TupleParts, query: TupleParts, sums: Tensor) -> Tensor:
    """Distance of queries to classes after cross-attention, in float32 or better whatever the inputs.

    Args:
        support: videos [E,N,K].
        query: videos [E,Q].
        sums: [L,R], tuples as sums of projected frames (`tuples.tuple_sums`).

    Returns:
        [E,Q,N]: squared distance summed over the value dimension, averaged over tuples.
    """
    support, query = support.float(), query.float()
    with torch.autocast(query.key.device.type, enabled=False):
        sums = sums.to(query.key.dtype)
        return _distance_to_attended(_weights(support, query, sums), *_centred(support.value, query.value), sums)


def _weights(support: TupleParts, query: TupleParts, sums: Tensor) -> Tensor:
    """How much each projected frame of a class takes part in what a tuple of a query attends to: [E,N,Q*L,K*R]."""
    episodes, way, shot = support.scale.shape[:3]
    queries, (tuples, rows) = query.scale.shape[1], sums.shape
    products = _products(query.key.flatten(1, 3), support.key.flatten(1, 4))  # [E,Q*R,N*K*R]
    products = products.view(episodes, queries, rows, way * shot, rows) @ sums.T  # [E,Q,R,N*K,L]
    logits = (sums @ products.flatten(3)) * query.scale.unsqueeze(-1)  # [E,Q,L,N*K*L]
    scale, shift = (x.reshape(episodes, 1, 1, -1) for x in (support.scale, support.shift))
    attention = torch.addcmul(shift, logits, scale).view(episodes, queries * tuples, way, shot * tuples).softmax(-1)
    weights = attention.view(episodes, queries * tuples, way, shot, tuples) @ sums  # [E,Q*L,N,K,R]
    return weights.flatten(3).transpose(1, 2)


def _distance_to_attended(weights: Tensor, support: Tensor, query: Tensor, sums: Tensor) -> Tensor:
    """[E,Q,N] from weights [E,N,Q*L,K*R] and projected frames of values: support [E,N,K*R,D_k], query [E,Q,R,D_k]."""
    (episodes, queries), way, tuples = query.shape[:2], support.shape[1], len(sums)
    across = _products(query.flatten(1, 2), support.flatten(1, 2)).unflatten(1, (queries, -1))  # [E,Q,R,N*K*R]
    across = (sums @ across).view(episodes, queries * tuples, way, -1).transpose(1, 2)  # [E,N,Q*L,K*R]
    among = _products(support, support)  # [E,N,K*R,K*R]
    squared = (weights * (weights @ among - 2 * across)).sum(-1)  # [E,N,Q*L]
    own = ((sums @ _products(query, query)) * sums).sum(-1).mean(-1)  # [E,Q]: mean of |v|^2 over tuples
    distance: Tensor = own.unsqueeze(-1) + squared.view(episodes, way, queries, tuples).mean(-1).transpose(1, 2)
    return distance


def _products(a: Tensor, b: Tensor) -> Tensor:
    return a @ b.transpose(-1, -2)


def _centred(support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
    """Values [E,N,K,c,T-c+1,D_k], [E,Q,c,T-c+1,D_k] -> [E,N,K*R,D_k], [E,Q,R,D_k], minus a mean for each position.

    All tuples move by the same vector and attention sums to one, so distances stay. But what all frames share, often
    most of a feature, is gone before it is squared; there it would cost digits.
    """
    mean = support[:, :, :1].detach().mean((1, 2, 4), keepdim=True)  # [E,1,1,c,1,D_k]; a shot of each class will do
    return (support - mean).flatten(2, 4), (query - mean[:, :, 0]).flatten(2, 3)


class TupleAttention(nn.Module):
    """The maps of one cardinality: keys (with layer norm) and values of tuples, shared by support and query."""

    def __init__(self, frames: int, cardinality: int, dim: int, key_dim: int) -> None:
        super().__init__()
        self.key = TupleLinear(frames, cardinality, dim, key_dim)
        self.value = TupleLinear(frames, cardinality, dim, key_dim)
        self.key_norm = nn.LayerNorm(key_dim)

    def forward(self, frames: Tensor) -> TupleParts:
        """Frames [...,T,D] of videos [...]."""
        keys, values = at_least_float32(self.key.project(frames)), self.value.project(frames)  # [...,R,D_k]
        norm, root = self.key_norm, keys.shape[-1] ** -0.25  # query and support each bring a root of 1/sqrt(D_k)
        with torch.autocast(frames.device.type, enabled=False):
            sums = self.key.sums.to(keys.dtype)
            keys = keys - keys.mean(-1, keepdim=True)
            variance = ((sums @ _products(keys, keys)) * sums).sum(-1) / keys.shape[-1]  # [...,L]
            scale = (variance + norm.eps).rsqrt() * root
            keys = keys * norm.weight
            shift = (keys @ norm.bias @ sums.T) * scale * root
        rows = (self.key.cardinality, self.key.each)
        return TupleParts(keys.unflatten(-2, rows), scale, shift, values.unflatten(-2, rows))


class CrossTransformer(nn.Module):
    """Cross-transformers of several cardinalities on one feature; the distance is their mean.

    Its tensors live in an `Encoded` under names that start with `name`, so several of them can share one.
    """

    def __init__(
        self,
        name: str,
        dim: int,
        frames: int,
        *,
        cardinalities: tuple[int, ...] = (2, 3),
        key_dim: int = 1152,
        dropout: float = 0.1,
        position_scale: float = 0.1,
    ) -> None:
        super().__init__()
        self.name, self.frames = name, frames
        self.cards = named({f"card{c}": TupleAttention(frames, c, dim, key_dim) for c in cardinalities})
        self.positions = AddPositions(frames, dim, position_scale, dropout)

    @classmethod
    def from_config(
        cls, config: Config, steps: int, name: str, dim: int, cardinalities: tuple[int, ...] | None = None
    ) -> "CrossTransformer":
        """As `model.match` has it; `cardinalities` are a method's own, if any."""
        match = config.model.match
        return cls(
            name,
            dim,
            steps,
            cardinalities=cardinalities or match.cardinalities,
            key_dim=match.key_dim,
            dropout=match.dropout,
            position_scale=match.position_scale,
        )

    def encode(self, frames: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Frame features [B,T,D] -> the `TupleParts` of each cardinality, by name, ready for `Encoded`.

        Raises:
            UsageError: clips of another T.
        """
        check_frames("the cross-transformer", self.frames, frames.shape[1])
        x = self.positions(frames, generator)
        tensors: dict[str, Tensor] = {}
        for card, attention in self.cards.items():
            parts = attention(x)
            tensors |= {f"{self.name}.{card}.{part.name}": getattr(parts, part.name) for part in fields(parts)}
        return tensors

    def distance(self, support: Encoded, query: Encoded) -> Tensor:
        """Support [E,N,K], query [E,Q] -> distance [E,Q,N]."""
        distances = [
            tuple_distance(self._parts(support, card), self._parts(query, card), attention.key.sums)
            for card, attention in self.cards.items()
        ]
        return added(distances) / len(self.cards)

    def _parts(self, encoded: Encoded, card: str) -> TupleParts:
        return TupleParts(*(encoded[f"{self.name}.{card}.{part.name}"] for part in fields(TupleParts)))
