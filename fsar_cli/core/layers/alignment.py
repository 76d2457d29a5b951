"""Distances between two videos from the cosines of their frames: as sets (Hausdorff) and as sequences (OTAM).

Bidirectional mean Hausdorff (Bi-MHM): Wang et al., Hybrid Relation Guided Set Matching, CVPR 2022; eq. 11 here.
Ordered temporal alignment (OTAM): Cao et al., Few-Shot Video Classification via Temporal Alignment, CVPR 2020.

Both take every pair of queries and support videos at once. The cosines of a group of pairs are laid out as
[T,Q,T',M], pairs last, so that a step along the frames is one operation on long rows.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from fsar_cli.core.layers.basics import at_least_float32

# Cosines computed at a time. On a CPU they and what is made of them stay in its cache; on a GPU they fill it.
BYTES_OF_COSINES = {"cpu": 4 * 2**20, "cuda": 256 * 2**20}
SHORTEST = 1e-12  # length of a frame's feature: a black frame has cosine 0 with all others


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

    def distance(products: Tensor, lengths: Tensor) -> Tensor:
        cosine = products / lengths
        nearest, nearest_back = 1 - cosine.amax(-2), 1 - cosine.amax(-4)  # [...,T,Q,M], [...,Q,T',M]
        if reduction == "mean":
            return nearest.mean(-3) + nearest_back.mean(-2)
        return nearest.sum(-3) + nearest_back.sum(-2)

    total = _of_pairs(at_least_float32(query), at_least_float32(support), distance)
    return total / query.shape[-1] if reduction == "dim" else total


def otam(query: Tensor, support: Tensor, smoothing: float = 0.1, epsilon: float = 0.01) -> Tensor:
    """Cost of the best ordered alignment of every pair of videos, query to support plus support to query.

    Args:
        query: [...,Q,T,D].
        support: [...,M,T',D].
        smoothing: lambda of the soft minimum over paths.
        epsilon: added to the product of two frames' lengths, by which their product is divided to give the cosine.

    Returns:
        [...,Q,M]; 0 to 2 (T + T') but for the soft minimum, which is lower the more paths are equally good.
    """

    def distance(products: Tensor, lengths: Tensor) -> Tensor:
        weights = (products / (lengths + epsilon) - 1) / smoothing  # [...,T,Q,T',M], -distance / lambda
        forth = soft_paths(weights.movedim((-2, -4), (0, 1)))
        back = soft_paths(weights.movedim((-4, -2), (0, 1)))
        return -smoothing * (forth + back)

    return _of_pairs(at_least_float32(query), at_least_float32(support), distance)


def soft_paths(weights: Tensor) -> Tensor:
    """Log of the summed exponentials of all of OTAM's paths through a grid of columns and rows.

    A path takes one cell of every column and goes on in its row or in the next; in the first column it may take
    several cells, one below the other. Before the first and behind the last column lies one of zeros that may be
    entered and left at any row: hence every start and end counts once for each way through it.

    Args:
        weights: [columns,rows,...] of the cells: -distance / lambda, so that -lambda times the result is the cost.

    Returns:
        [...].
    """
    twice = weights.new_full((), math.log(2))
    column = [weights[0, 0]]
    for cell in weights[0, 1:]:
        column.append(cell + torch.logaddexp(column[-1], twice))
    paths = torch.stack(column)
    for cells in weights[1:]:
        paths = cells + torch.cat([paths[:1], torch.logaddexp(paths[1:], paths[:-1])])
    return torch.logsumexp(torch.cat([paths[:-1] + twice, paths[-1:]]), 0)


def _of_pairs(query: Tensor, support: Tensor, distance: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Distances [...,Q,M] of videos [...,Q,T,D] and [...,M,T',D], some queries at a time.

    Args:
        distance: products of frames [...,T,q,T',M] and products of their lengths (broadcast to it) -> [...,q,M].
    """
    query, support = query.transpose(-3, -2), support.transpose(-3, -2)  # frames first
    shape, frames = support.shape[-3:-1], query.shape[-3]
    columns = support.flatten(-3, -2).transpose(-1, -2)  # [...,D,T'*M]
    others = _lengths(support)[..., None, None, :, :]
    size = columns[..., 0, :].numel() * frames * columns.element_size()
    step = max(1, BYTES_OF_COSINES[query.device.type] // size)
    groups = []
    for some in query.split(step, -2):
        with torch.autocast(query.device.type, enabled=False):  # bfloat16 would keep two digits of a cosine near one
            products = some.flatten(-3, -2) @ columns  # [...,T*q,T'*M]
        products = products.unflatten(-1, shape).unflatten(-3, (frames, -1))
        groups.append(distance(products, _lengths(some)[..., None, None] * others))
    return torch.cat(groups, -2)


def _lengths(frames: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(frames, dim=-1)
    return lengths.clamp_min(SHORTEST)
