"""Distances between two videos as sets of frames.

Bidirectional mean Hausdorff (Bi-MHM): Wang et al., Hybrid Relation Guided Set Matching, CVPR 2022; eq. 11 here.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fsar_cli.core.encoded import at_least_float32


def hausdorff(query: Tensor, support: Tensor, reduction: str = "sum") -> Tensor:
    """Bidirectional Hausdorff distance of every pair of videos, with cosine distance between frames (eq. 11).

    Every frame of one video finds its nearest frame in the other, in both directions.

    Args:
        query: [...,Q,T,D].
        support: [...,M,T',D].
        reduction: `sum` over frames, `mean` over frames, or `dim`: the sum divided by D (the paper's 1/d).

    Returns:
        [...,Q,M], in [0, 2 (T + T')] with `sum`.
    """
    frames, dim = query.shape[-2:]
    with torch.autocast(query.device.type, enabled=False):  # in bfloat16 one minus a cosine near one keeps two digits
        q = F.normalize(at_least_float32(query), dim=-1).flatten(-3, -2)  # [...,Q*T,D]
        s = F.normalize(at_least_float32(support), dim=-1).flatten(-3, -2)
        cosine = q @ s.transpose(-1, -2)  # [...,Q*T,M*T']
    cosine = cosine.unflatten(-1, (support.shape[-3], -1)).unflatten(-3, (-1, frames))  # [...,Q,T,M,T']
    nearest, nearest_back = 1 - cosine.amax(-1), 1 - cosine.amax(-3)  # [...,Q,T,M], [...,Q,M,T']
    if reduction == "mean":
        return nearest.mean(-2) + nearest_back.mean(-1)
    total = nearest.sum(-2) + nearest_back.sum(-1)
    return total / dim if reduction == "dim" else total
