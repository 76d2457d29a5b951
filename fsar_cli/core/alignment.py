"""Distances between two videos as sets of frames.

Bidirectional mean Hausdorff (Bi-MHM): Wang et al., Hybrid Relation Guided Set Matching, CVPR 2022; eq. 11 here.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fsar_cli.core.encoded import at_least_float32


def hausdorff(query: Tensor, support: Tensor, reduction: str = "sum") -> Tensor:
    """Bidirectional Hausdorff distance with cosine distance between frames, mean over shots (eq. 11).

    Every frame of one video finds its nearest frame in the other, in both directions.

    Args:
        query: [E,Q,T,D].
        support: [E,N,K,T,D].
        reduction: `sum` over frames, `mean` over frames, or `dim`: the sum divided by D (the paper's 1/d).

    Returns:
        [E,Q,N], in [0, 4T] with `sum`.
    """
    (episodes, queries, frames, dim), (_, way, shot, support_frames, _) = query.shape, support.shape
    with torch.autocast(query.device.type, enabled=False):  # in bfloat16 one minus a cosine near one keeps two digits
        q = F.normalize(at_least_float32(query), dim=-1).flatten(1, 2)
        s = F.normalize(at_least_float32(support), dim=-1).flatten(1, 3)
        cosine = (q @ s.transpose(1, 2)).view(episodes, queries, frames, way, shot, support_frames)
    nearest = 1 - cosine.amax(-1)  # [E,Q,T,N,K]
    nearest_back = 1 - cosine.amax(2)  # [E,Q,N,K,T]
    if reduction == "mean":
        return (nearest.mean(2) + nearest_back.mean(-1)).mean(-1)
    total = (nearest.sum(2) + nearest_back.sum(-1)).mean(-1)
    return total / dim if reduction == "dim" else total
