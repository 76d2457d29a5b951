"""Self-attention within a set of vectors: the frames of a video, or the videos of a task (HyRSM, MoLo).

Vaswani et al., Attention Is All You Need, NeurIPS 2017.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsar_cli.core.layers.basics import dropout

HEADS = 8


def head_width(dim: int) -> int:
    """The width of all heads together, as near to `dim` as whole heads allow."""
    return HEADS * max(1, dim // HEADS)


def attend(projected: Tensor) -> Tensor:
    """Queries, keys and values of sets side by side [...,L,3*I] -> what each member attended to [...,L,I]."""
    query, key, value = projected.unflatten(-1, (3, HEADS, -1)).movedim((-3, -2), (0, -3))  # [...,HEADS,L,I/HEADS]
    return F.scaled_dot_product_attention(query, key, value).transpose(-3, -2).flatten(-2)


class SelfAttention(nn.Module):
    """x + attention of the normalised x."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        width = head_width(dim)
        self.norm = nn.LayerNorm(dim)
        self.project = nn.Linear(dim, 3 * width, bias=False)
        self.out = nn.Linear(width, dim)
        self.dropout = dropout

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """[...,L,D] -> [...,L,D]; dropout in training alone."""
        attended = self.out(attend(self.project(self.norm(x))))
        return x + (dropout(attended, self.dropout, generator) if self.training else attended)


class TransformerLayer(nn.Module):
    """Self-attention, then x + a layer of GELU units of it, which MoLo does not normalise."""

    def __init__(self, dim: int, dropout: float, unit_dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, dropout)
        self.widen, self.narrow = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.dropout = unit_dropout

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """[...,L,D] -> [...,L,D]; dropout in training alone."""
        x = self.attention(x, generator)
        units = self._dropped(F.gelu(self.widen(x)), generator)
        return x + self._dropped(self.narrow(units), generator)

    def _dropped(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        return dropout(x, self.dropout, generator) if self.training else x
