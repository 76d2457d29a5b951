"""Matching as it is customary: an episode at a time, tuples concatenated, classes and queries in Python loops.

The same numbers as `core`, from the same parameters, in the form that public code has (Perrett et al. for TRX and OTAM,
Wang et al. for the Hausdorff metric); written anew. It is what the benchmark compares with, and the slow path that
tests hold the fast ones against.

Letters as in `core/method.py`; there is no axis of episodes.
"""

import math
from collections.abc import Callable
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from fsar_cli.core.layers.attention import CrossTransformer
from fsar_cli.core.method import FewShotMethod, Scores
from fsar_cli.core.methods import METHODS
from fsar_cli.core.methods.bimhm import BiMHM
from fsar_cli.core.methods.keyregion import KeyRegion
from fsar_cli.core.methods.otam import OTAM
from fsar_cli.core.methods.trx import TRX

SMOOTHING, EPSILON = 0.1, 0.01
"""OTAM: lambda of the soft minimum, and what is added to the product of two lengths."""


def concatenated_tuples(frames: Tensor, cardinality: int) -> Tensor:
    """[B,T,D] -> [B,L,c*D]."""
    chosen = combinations(range(frames.shape[1]), cardinality)
    return torch.stack([torch.cat([frames[:, t] for t in one], dim=-1) for one in chosen], dim=1)


def cross_transformer_distance(head: CrossTransformer, support: Tensor, query: Tensor) -> Tensor:
    """Distance of queries to classes (TRX; eq. 9-10): support [N,K,T,D], query [Q,T,D] -> [Q,N]."""
    parameters = dict(head.named_parameters())
    cardinalities = [int(name.removeprefix("card")) for name in head.cards]
    support, query = (x + head.positions.encoding.to(x.dtype) for x in (support, query))
    if head.training and head.positions.dropout:
        support, query = (F.dropout(x, head.positions.dropout) for x in (support, query))
    found = []
    for cardinality in cardinalities:
        part = {
            n.removeprefix(f"cards.card{cardinality}."): p for n, p in parameters.items() if f"card{cardinality}." in n
        }
        asked_keys, asked_values = _keys_and_values(part, concatenated_tuples(query, cardinality))
        keys, values = _keys_and_values(part, concatenated_tuples(support.flatten(0, 1), cardinality))
        keys, values = (x.unflatten(0, support.shape[:2]).flatten(1, 2) for x in (keys, values))  # [N,K*L,D_k]
        classes = [_class_distance(asked_keys, asked_values, k, v) for k, v in zip(keys, values, strict=True)]
        found.append(torch.stack(classes, dim=-1))
    return torch.stack(found).mean(0)


def _keys_and_values(part: dict[str, Tensor], tuples: Tensor) -> tuple[Tensor, Tensor]:
    keys = F.linear(tuples, part["key.weight"], part["key.bias"])
    keys = F.layer_norm(keys, keys.shape[-1:], part["key_norm.weight"], part["key_norm.bias"])
    return keys, F.linear(tuples, part["value.weight"], part["value.bias"])


def _class_distance(asked_keys: Tensor, asked_values: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Queries [Q,L,D_k] against the tuples [K*L,D_k] of one class -> [Q]."""
    scores = asked_keys @ keys.T / math.sqrt(keys.shape[-1])  # [Q,L,K*L]
    weights = torch.stack([one.softmax(-1) for one in scores])
    difference = asked_values - weights @ values
    return torch.linalg.vector_norm(difference, dim=(-2, -1)) ** 2 / difference.shape[1]


def hausdorff_distance(query: Tensor, support: Tensor, reduction: str = "sum") -> Tensor:
    """Bidirectional Hausdorff of a query [T,D] and a video [T',D] (eq. 11): a number."""
    distance = 1 - F.normalize(query, dim=-1) @ F.normalize(support, dim=-1).T
    forth, back = distance.min(1).values, distance.min(0).values
    if reduction == "mean":
        return forth.mean() + back.mean()
    return (forth.sum() + back.sum()) / (query.shape[-1] if reduction == "dim" else 1)


def otam_distance(query: Tensor, support: Tensor, smoothing: float = SMOOTHING) -> Tensor:
    """Ordered temporal alignment of queries [Q,T,D] and videos [M,T',D], both ways: [Q,M]."""
    products = torch.einsum("qtd,msd->qmts", query, support)
    lengths = torch.einsum("qt,ms->qmts", query.norm(dim=-1), support.norm(dim=-1))
    distance = 1 - products / (lengths + EPSILON)
    return _alignment(distance, smoothing) + _alignment(distance.transpose(-1, -2), smoothing)


def _alignment(distance: Tensor, smoothing: float) -> Tensor:
    """Cost of the best path through [Q,M,T,T'], cell by cell."""
    padded = F.pad(distance, (1, 1))  # a column of zeros at both ends
    rows, columns = padded.shape[-2:]
    cost = [[torch.zeros_like(padded[..., 0, 0])] * columns for _ in range(rows)]
    for column in range(1, columns):
        cost[0][column] = cost[0][column - 1] + padded[..., 0, column]
    for row in range(1, rows):
        for column in range(1, columns):
            before = [cost[row - 1][column - 1], cost[row][column - 1]]
            if column in (1, columns - 1):
                before.append(cost[row - 1][column])
            least = -smoothing * torch.stack([-c / smoothing for c in before]).logsumexp(0)
            cost[row][column] = padded[..., row, column] + least
    return cost[-1][-1]


def _trx(method: TRX, support: Tensor, query: Tensor) -> Scores:
    return Scores(-cross_transformer_distance(method.head, support, query).unsqueeze(0))


def _otam(method: OTAM, support: Tensor, query: Tensor) -> Scores:
    classes = [otam_distance(query, shots).mean(-1) for shots in support]
    return Scores(-torch.stack(classes, dim=-1).unsqueeze(0))


def _hausdorff(support: Tensor, query: Tensor, reduction: str) -> Tensor:
    """Mean over shots of every query and class: [Q,N]."""
    rows = [
        torch.stack(
            [torch.stack([hausdorff_distance(one, shot, reduction) for shot in shots]).mean() for shots in support]
        )
        for one in query
    ]
    return torch.stack(rows)


def _bimhm(method: BiMHM, support: Tensor, query: Tensor) -> Scores:
    return Scores(-_hausdorff(support, query, method.reduction).unsqueeze(0))


def _keyregion(method: KeyRegion, support: Tensor, query: Tensor) -> Scores:
    split = method.features.global_dim
    halves = {"joint": slice(None), "global": slice(split), "local": slice(split, None)}

    def score(heads: dict[str, CrossTransformer]) -> dict[str, Tensor]:
        cut = {part: (support[..., halves[part]], query[..., halves[part]]) for part in heads}
        return {part: -cross_transformer_distance(head, *cut[part]).unsqueeze(0) for part, head in heads.items()}

    spatial = sum(score(dict(method.heads.items())).values())
    parts, logits = {"spatial": spatial}, spatial
    if method.temporal_weight or method.temporal_test_weight:
        parts["temporal"] = -_hausdorff(support, query, method.hausdorff_reduction).unsqueeze(0)
        logits = spatial + method.temporal_test_weight * parts["temporal"]
    if method.training:
        parts |= {f"auxiliary_{part}": s for part, s in score(dict(method.auxiliary.items())).items()}
    return Scores(logits, parts)


FORMS: dict[type[FewShotMethod], Callable[[FewShotMethod, Tensor, Tensor], Scores]] = {
    TRX: _trx, OTAM: _otam, BiMHM: _bimhm, KeyRegion: _keyregion,
}  # fmt: skip


COMPARED = tuple(name for name, kind in METHODS.items() if kind in FORMS)
"""The methods that have a plain form."""


def plain_scores(method: FewShotMethod, support: Tensor, query: Tensor) -> Scores:
    """Scores [1,Q,N] of one episode of frame features, support [N,K,T,D] and query [Q,T,D], by a method of COMPARED."""
    return FORMS[type(method)](method, support, query)
