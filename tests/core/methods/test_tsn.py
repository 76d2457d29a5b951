"""TSN: frame by frame in float64 loops."""

import math

import pytest
import torch
from core_parts import random_index, seeded
from torch import Tensor

from fsar_cli.core.features import Features
from fsar_cli.core.method import FRAMES, Encoded
from fsar_cli.core.methods.tsn import TSN

T, D = 4, 6


def slow_score(query: list[list[float]], shots: list[list[list[float]]]) -> float:
    """Mean over shots and frames of the cosine of the frames at the same places."""

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    cosines = [cosine(a, b) for shot in shots for a, b in zip(query, shot, strict=True)]
    return sum(cosines) / len(cosines)


def logits(frames: Tensor, support: Tensor, query: Tensor) -> Tensor:
    method = TSN(Features())
    bank = method.embed(Encoded({FRAMES: frames}))
    return method.match(bank.take(support), bank.take(query)).logits


@pytest.mark.parametrize("shot", [1, 3])
def test_scores_are_those_of_loops_over_shots_and_frames(shot: int) -> None:
    frames = torch.randn(14, T, D, generator=seeded(0), dtype=torch.float64)
    support, query = random_index(2, 3, shot, 4, 14)
    found, numbers = logits(frames, support, query), frames.tolist()
    for e in range(2):
        for q in range(4):
            for n in range(3):
                shots = [numbers[v] for v in support[e, n].tolist()]
                expected = slow_score(numbers[query[e, q]], shots) - 1
                assert found[e, q, n].item() == pytest.approx(expected, abs=1e-12)


def test_a_black_frame_is_like_no_other() -> None:
    frames = torch.randn(2, T, D, generator=seeded(2))
    frames[1, 1:] = 0
    expected = torch.cosine_similarity(frames[0, 0], frames[1, 0], dim=0) / T - 1
    torch.testing.assert_close(logits(frames, torch.tensor([[[0]]]), torch.tensor([[1]])).squeeze(), expected)
