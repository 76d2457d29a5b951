"""The temporal cross-transformer (TRM) over classes, shots, tuples and episodes in one call (TRX; eq. 9-10).

Every tuple of a query attends to all tuples of all shots of one class; the squared distance between the query's tuple
values and what it attended to, averaged over tuples, is the distance to that class. Keys and values depend on one video
alone, so `encode` computes them once per video and `distance` matches any number of episodes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsar_cli.core.encoded import Encoded, at_least_float32, check_frames
from fsar_cli.core.tuples import TupleLinear, position_encoding


def dropout(x: Tensor, probability: float, generator: torch.Generator | None) -> Tensor:
    """Inverted dropout whose randomness is passed in."""
    kept = torch.rand(x.shape, device=x.device, generator=generator) >= probability
    return x * kept.to(x.dtype) / (1 - probability)


def tuple_distance(support_keys: Tensor, support_values: Tensor, query_keys: Tensor, query_values: Tensor) -> Tensor:
    """Distance of queries to classes after cross-attention.

    Args:
        support_keys, support_values: [E,N,K,L,D].
        query_keys, query_values: [E,Q,L,D].

    Returns:
        [E,Q,N]: squared distance summed over the value dimension, averaged over tuples.
    """
    episodes, queries, tuples, _ = query_keys.shape
    way = support_keys.shape[1]
    keys, values = support_keys.flatten(2, 3), support_values.flatten(2, 3)  # [E,N,K*L,D]
    asked = query_keys.flatten(1, 2).unsqueeze(1).expand(-1, way, -1, -1)  # [E,N,Q*L,D]
    attended = F.scaled_dot_product_attention(asked, keys, values)  # [E,N,Q*L,D]
    difference = at_least_float32(query_values.flatten(1, 2).unsqueeze(1) - attended)
    squared = difference.square().sum(-1)  # [E,N,Q*L]
    return squared.view(episodes, way, queries, tuples).mean(-1).transpose(1, 2)


class TupleAttention(nn.Module):
    """The maps of one cardinality: keys (with layer norm) and values of tuples, shared by support and query."""

    def __init__(self, frames: int, cardinality: int, dim: int, key_dim: int) -> None:
        super().__init__()
        self.key = TupleLinear(frames, cardinality, dim, key_dim)
        self.value = TupleLinear(frames, cardinality, dim, key_dim)
        self.key_norm = nn.LayerNorm(key_dim)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Frames [...,T,D] -> keys, values [...,L,D_k]."""
        return self.key_norm(self.key(frames)), self.value(frames)


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
        self.name, self.frames, self.dropout = name, frames, dropout
        self.cards = nn.ModuleDict({f"card{c}": TupleAttention(frames, c, dim, key_dim) for c in cardinalities})
        self.register_buffer("position", position_scale * position_encoding(frames, dim), persistent=False)

    def encode(self, frames: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Frame features [B,T,D] -> keys and values [B,L,D_k] of each cardinality, ready for `Encoded`.

        Raises:
            UsageError: clips of another T.
        """
        check_frames("the cross-transformer", self.frames, frames.shape[1])
        x = frames + self.position.to(frames.dtype)
        if self.training and self.dropout:
            x = dropout(x, self.dropout, generator)
        tensors = {}
        for card, attention in self.cards.items():
            tensors[f"{self.name}.{card}.key"], tensors[f"{self.name}.{card}.value"] = attention(x)
        return tensors

    def distance(self, support: Encoded, query: Encoded) -> Tensor:
        """Support [E,N,K], query [E,Q] -> distance [E,Q,N]."""
        total = 0.0
        for card in self.cards:
            key, value = f"{self.name}.{card}.key", f"{self.name}.{card}.value"
            total = total + tuple_distance(support[key], support[value], query[key], query[value])
        return total / len(self.cards)
