"""Bidirectional mean Hausdorff distance (eq. 11) against loops, and its invariances."""

import math

import numpy as np
import pytest
import torch
from core_parts import relative_error, seeded

from fsar_cli.core import alignment

E, Q, N, K, T, D = 2, 3, 4, 2, 5, 6


def hausdorff(query: torch.Tensor, support: torch.Tensor, reduction: str = "sum") -> torch.Tensor:
    """Query [E,Q,T,D], support [E,N,K,T,D] -> mean distance to the shots of each class [E,Q,N]."""
    pairs = alignment.hausdorff(query, support.flatten(1, 2), reduction)
    return pairs.unflatten(-1, support.shape[1:3]).mean(-1)


def make_videos(*lead: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*lead, T, D, generator=seeded(seed))


def cosine_distance(a: np.ndarray, b: np.ndarray) -> float:
    return 1 - float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def slow_hausdorff(query: np.ndarray, support: np.ndarray) -> float:
    forth = sum(min(cosine_distance(q, s) for s in support) for q in query)
    back = sum(min(cosine_distance(q, s) for q in query) for s in support)
    return forth + back


def test_hausdorff_is_equation_11_averaged_over_shots() -> None:
    query, support = make_videos(E, Q), make_videos(E, N, K, seed=1)
    found = hausdorff(query, support)
    assert found.shape == (E, Q, N)
    for e, q, n in np.ndindex(E, Q, N):
        shots = [slow_hausdorff(query[e, q].double().numpy(), support[e, n, k].double().numpy()) for k in range(K)]
        assert found[e, q, n].item() == pytest.approx(sum(shots) / K, rel=1e-5)


def test_reductions_differ_by_the_number_of_frames_or_dimensions() -> None:
    query, support = make_videos(E, Q), make_videos(E, N, K, seed=1)
    total = hausdorff(query, support)
    assert torch.allclose(hausdorff(query, support, "mean"), total / T)
    assert torch.allclose(hausdorff(query, support, "dim"), total / D)


def test_videos_of_different_lengths_are_compared() -> None:
    query, support = make_videos(1, 1), torch.randn(1, 1, 1, 3, D, generator=seeded(4))
    expected = slow_hausdorff(query[0, 0].double().numpy(), support[0, 0, 0].double().numpy())
    assert hausdorff(query, support).item() == pytest.approx(expected, rel=1e-5)


def test_the_distance_is_zero_to_itself_symmetric_and_at_most_four_a_frame() -> None:
    a, b = make_videos(1, 1), make_videos(1, 1, seed=1)
    assert hausdorff(a, a.unsqueeze(2)).item() == pytest.approx(0, abs=1e-5)
    assert hausdorff(a, b.unsqueeze(2)).item() == pytest.approx(hausdorff(b, a.unsqueeze(2)).item(), rel=1e-5)
    constant = a[:, :, :1].expand(-1, -1, T, -1)
    assert hausdorff(constant, -constant.unsqueeze(2)).item() == pytest.approx(4 * T, rel=1e-5)


def test_frames_are_a_set_and_their_length_does_not_count() -> None:
    query, support = make_videos(E, Q), make_videos(E, N, K, seed=1)
    expected = hausdorff(query, support)
    assert torch.allclose(hausdorff(query.flip(2), support), expected, atol=1e-5)
    scales = torch.rand(E, Q, T, 1, generator=seeded(2)) + 0.5
    assert torch.allclose(hausdorff(scales * query, support), expected, atol=1e-5)


def test_black_videos_give_numbers_and_finite_gradients() -> None:
    query = torch.zeros(1, 1, T, D, requires_grad=True)
    distance = hausdorff(query, make_videos(1, 1, 1))
    assert distance.item() == pytest.approx(2 * T)
    distance.sum().backward()
    assert query.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_features_kept_in_half_precision_are_compared_in_full(dtype: torch.dtype) -> None:
    """Close videos, whose distance is smaller than the step of a half-precision cosine near one; and a black one."""
    base = torch.rand(1, 1, 1, D, generator=seeded(5)) + 1
    query = (base + 0.02 * make_videos(1, 4)).to(dtype)
    query[0, 3] = 0
    support = (base + 0.02 * make_videos(1, 3, seed=1)).unsqueeze(2).to(dtype)
    expected = hausdorff(query.double(), support.double())
    assert expected[:, :3].max() < 0.05
    assert relative_error(hausdorff(query, support)[:, :3], expected[:, :3]) < 1e-3
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(hausdorff(query.float(), support.float()), hausdorff(query, support))
