"""Ordered tuples of frames and linear maps of them (the representation of TRX, used by section 3.4).

    Perrett et al., Temporal-Relational CrossTransformers for Few-Shot Action Recognition, CVPR 2021.

A linear map of c concatenated frames is the sum of c linear maps of single frames, so each frame is projected once per
position and the tuples are gathered and added: for T=8 and c=2,3 that is 40 projections instead of 28*2 + 56*3 = 224.
"""

import math
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def frame_tuples(frames: int, cardinality: int) -> Tensor:
    """All ordered tuples of `cardinality` frames: int64 [L,c], L = frames choose cardinality."""
    return torch.tensor(list(combinations(range(frames), cardinality)), dtype=torch.int64).reshape(-1, cardinality)


def position_encoding(frames: int, dim: int) -> Tensor:
    """Sinusoidal position encoding [T,D] (Vaswani et al., 2017): sine on even features, cosine on odd ones."""
    rates = torch.exp(torch.arange(0, dim, 2, dtype=torch.float64) * (-math.log(10_000.0) / dim))
    angles = torch.arange(frames, dtype=torch.float64).unsqueeze(1) * rates  # [T, ceil(D/2)]
    return torch.stack([angles.sin(), angles.cos()], dim=-1).reshape(frames, -1)[:, :dim].float()


class TupleLinear(nn.Module):
    """`nn.Linear` on every concatenated tuple of frames, computed frame by frame.

    Parameters have the shapes of the plain layer: weight [D_out, c*D_in], bias [D_out].
    """

    def __init__(self, frames: int, cardinality: int, in_dim: int, out_dim: int) -> None:
        super().__init__()
        plain = nn.Linear(cardinality * in_dim, out_dim)  # for its shapes and initialisation
        self.weight, self.bias = plain.weight, plain.bias
        self.cardinality = cardinality
        self.register_buffer("tuples", frame_tuples(frames, cardinality), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """[...,T,D_in] -> [...,L,D_out]."""
        per_position = self.weight.unflatten(1, (self.cardinality, -1)).transpose(0, 1)  # [c,D_out,D_in]
        projected = F.linear(frames, per_position.flatten(0, 1)).unflatten(
            -1, (self.cardinality, -1)
        )  # [...,T,c,D_out]
        positions = (projected[..., i, :].index_select(-2, self.tuples[:, i]) for i in range(self.cardinality))
        return sum(positions) + self.bias
