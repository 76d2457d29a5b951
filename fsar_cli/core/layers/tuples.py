"""Ordered tuples of frames and linear maps of them (the representation of TRX, used by section 3.4).

    Perrett et al., Temporal-Relational CrossTransformers for Few-Shot Action Recognition, CVPR 2021.

A linear map of c concatenated frames is the sum of c linear maps of single frames, one for each position in the tuple.
In an ordered tuple of T frames, position a can only hold frames a .. T-c+a. So there are R = c (T-c+1) projected
frames, and every one of the L = T choose c tuples is the sum of c of them: with T=8, 14 instead of 28*2 for pairs and
18 instead of 56*3 for triples.
"""

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def frame_tuples(frames: int, cardinality: int) -> Tensor:
    """All ordered tuples of `cardinality` frames: int64 [L,c], L = frames choose cardinality."""
    return torch.tensor(list(combinations(range(frames), cardinality)), dtype=torch.int64).reshape(-1, cardinality)


def tuple_sums(frames: int, cardinality: int) -> Tensor:
    """The matrix [L,R] of zeros and ones that adds projected frames up to tuples.

    Row R of position a and frame t is a (T-c+1) + t - a, the order of `TupleLinear.project`.
    """
    tuples, each = frame_tuples(frames, cardinality), frames - cardinality + 1
    positions = torch.arange(cardinality)
    columns = positions * each + tuples - positions  # [L,c]
    return torch.zeros(len(tuples), cardinality * each).scatter_(1, columns, 1.0)


class TupleLinear(nn.Module):
    """`nn.Linear` on every concatenated tuple of frames, computed frame by frame.

    Parameters have the shapes of the plain layer: weight [D_out, c*D_in], bias [D_out].
    """

    sums: Tensor

    def __init__(self, frames: int, cardinality: int, in_dim: int, out_dim: int) -> None:
        super().__init__()
        plain = nn.Linear(cardinality * in_dim, out_dim)  # for its shapes and initialisation
        self.weight, self.bias = plain.weight, plain.bias
        self.cardinality, self.each = cardinality, frames - cardinality + 1
        self.register_buffer("sums", tuple_sums(frames, cardinality), persistent=False)

    def project(self, frames: Tensor) -> Tensor:
        """[...,T,D_in] -> projected frames [...,R,D_out]; those of the first position carry the bias."""
        weights = self.weight.unflatten(1, (self.cardinality, -1)).unbind(1)
        return torch.cat(
            [
                F.linear(frames[..., a : a + self.each, :], weight, self.bias if a == 0 else None)
                for a, weight in enumerate(weights)
            ],
            dim=-2,
        )

    def forward(self, frames: Tensor) -> Tensor:
        """[...,T,D_in] -> [...,L,D_out]."""
        projected = self.project(frames)
        return self.sums.to(projected.dtype) @ projected
