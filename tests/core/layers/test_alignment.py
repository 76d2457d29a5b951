"""Bidirectional mean Hausdorff distance (eq. 11) and OTAM against loops, and what they do not depend on."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from core_parts import relative_error, seeded
from oracles.matching import hausdorff_distance, otam_distance

from fsar_cli.core.layers import alignment

E, Q, N, K, T, D = 2, 3, 4, 2, 5, 6


def hausdorff(query: torch.Tensor, support: torch.Tensor, reduction: str = "sum") -> torch.Tensor:
    """Query [E,Q,T,D], support [E,N,K,T,D] -> mean distance to the shots of each class [E,Q,N]."""
    pairs = alignment.hausdorff(query, support.flatten(1, 2), reduction)
    return pairs.unflatten(-1, support.shape[1:3]).mean(-1)


def make_videos(*lead: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*lead, T, D, generator=seeded(seed))


def test_hausdorff_is_equation_11_averaged_over_shots() -> None:
    query, support = make_videos(E, Q), make_videos(E, N, K, seed=1)
    found = hausdorff(query, support)
    assert found.shape == (E, Q, N)
    for e, q, n in np.ndindex(E, Q, N):
        shots = [hausdorff_distance(query[e, q].double(), shot).item() for shot in support[e, n].double()]
        assert found[e, q, n].item() == pytest.approx(sum(shots) / K, rel=1e-5)


def test_reductions_differ_by_the_number_of_frames_or_dimensions() -> None:
    query, support = make_videos(E, Q), make_videos(E, N, K, seed=1)
    total = hausdorff(query, support)
    assert torch.allclose(hausdorff(query, support, "mean"), total / T)
    assert torch.allclose(hausdorff(query, support, "dim"), total / D)


def test_videos_of_different_lengths_are_compared() -> None:
    query, support = make_videos(1, 1), torch.randn(1, 1, 1, 3, D, generator=seeded(4))
    assert relative_error(hausdorff(query, support), hausdorff_distance(query[0, 0], support[0, 0, 0])) < 1e-5


def test_the_length_of_frames_does_not_count() -> None:
    query, support = make_videos(E, Q), make_videos(E, N, K, seed=1)
    expected = hausdorff(query, support)
    for scale in (1e-8, 1e8):  # untrained networks give features as short as that
        assert torch.allclose(hausdorff(scale * query, scale * support), expected, atol=1e-5)


def test_a_black_frame_is_like_no_other() -> None:
    assert hausdorff(torch.zeros(1, 1, T, D), make_videos(1, 1, 1)).item() == pytest.approx(2 * T)


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


# OTAM


def otam(query: torch.Tensor, support: torch.Tensor, **options: float) -> torch.Tensor:
    """Query [E,Q,T,D], support [E,N,K,T,D] -> distance to each of the videos [E,Q,N,K]."""
    return alignment.otam(query, support.flatten(1, 2), **options).unflatten(-1, support.shape[1:3])


@pytest.mark.parametrize(("frames", "others"), [(5, 5), (8, 3), (3, 8), (1, 4), (4, 1), (1, 1)])
@pytest.mark.parametrize("smoothing", [0.1, 1.0])
def test_otam_is_its_plain_recursion_cell_by_cell(frames: int, others: int, smoothing: float) -> None:
    query = torch.randn(E, Q, frames, D, generator=seeded(0))
    support = torch.randn(E, N, K, others, D, generator=seeded(1))
    found = otam(query, support, smoothing=smoothing)
    assert found.shape == (E, Q, N, K)
    for e in range(E):
        expected = otam_distance(query[e].double(), support[e].flatten(0, 1).double(), smoothing)
        assert relative_error(found[e].flatten(1), expected) < 1e-5


def all_paths(rows: int, columns: int) -> Iterator[list[tuple[int, int]]]:
    """Every way from the first to the last cell of the padded grid by OTAM's steps."""

    def onwards(path: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
        row, column = path[-1]
        if path[-1] == (rows - 1, columns - 1):
            yield path
        if column < columns - 1:
            yield from onwards([*path, (row, column + 1)])
        if column < columns - 1 and row < rows - 1:
            yield from onwards([*path, (row + 1, column + 1)])
        if column in (1, columns - 1) and row < rows - 1:
            yield from onwards([*path, (row + 1, column)])

    for row in range(rows):  # nothing is spent in the first column
        yield from onwards([(row, 0)])


@pytest.mark.parametrize("smoothing", [0.1, 1e-4])
def test_otam_is_the_soft_minimum_over_all_paths_and_without_smoothing_the_shortest(smoothing: float) -> None:
    distance = torch.rand(4, 3, generator=seeded(0), dtype=torch.float64)
    padded = np.pad(distance.numpy(), ((0, 0), (1, 1)))
    lengths = [sum(padded[cell] for cell in path) for path in all_paths(4, 5)]
    # The first row's start counts once, all others twice: they are entered from the left and from above.
    found = -smoothing * alignment.soft_paths(-distance.T / smoothing).item()
    expected = -smoothing * (-torch.tensor(lengths) / smoothing).logsumexp(0).item()
    assert found == pytest.approx(expected, rel=1e-9)
    if smoothing < 0.01:
        assert found == pytest.approx(min(lengths), abs=1e-3)


def test_paths_whose_exponentials_vanish_keep_their_cost_and_gradients() -> None:
    """A sum of exp(-cost / lambda) would be zero in float32 from a cost of 0.11 on, and its gradient not a number."""
    query, support = make_videos(1, 2).requires_grad_(), -make_videos(1, 2, 1)
    found = otam(query, support, smoothing=1e-3)
    expected = otam_distance(query[0].double(), support[0, :, 0].double(), 1e-3)
    torch.testing.assert_close(found[0, ..., 0].double(), expected, rtol=1e-5, atol=0)
    found.sum().backward()
    assert query.grad.isfinite().all() and query.grad.abs().max() > 0


@pytest.mark.parametrize("still", [False, True])
def test_gradients_of_otam_are_its_slope_where_all_paths_are_equal_too(still: bool) -> None:
    query = torch.randn(1, 2, 3, 4, generator=seeded(0), dtype=torch.float64)
    support = torch.randn(1, 2, 4, 4, generator=seeded(1), dtype=torch.float64)
    if still:
        query, support = query[:, :, :1].expand(-1, -1, 3, -1), support[:, :, :1].expand(-1, -1, 4, -1)
    inputs = [video.clone().requires_grad_() for video in (query, support)]
    assert torch.autograd.gradcheck(alignment.otam, inputs)


@pytest.mark.parametrize("distance", [alignment.hausdorff, alignment.otam])
def test_the_distance_to_black_and_still_videos_has_finite_gradients(distance) -> None:
    still = torch.ones(1, 2, T, D)
    still[0, 1] = 0
    query, support = still.clone().requires_grad_(), still.clone().requires_grad_()
    found = distance(query, support)
    found.sum().backward()
    assert found.isfinite().all() and query.grad.isfinite().all() and support.grad.isfinite().all()


@pytest.mark.parametrize("distance", [alignment.hausdorff, alignment.otam])
def test_pairs_in_small_groups_are_all_pairs(distance, monkeypatch: pytest.MonkeyPatch) -> None:
    query, support = make_videos(E, 7), make_videos(E, 6, seed=1)
    whole = distance(query, support)
    for size in (1, 5000):  # a query at a time; a few, the last group smaller
        monkeypatch.setattr(alignment, "BYTES_OF_COSINES", {"cpu": size})
        assert torch.allclose(distance(query, support), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_otam_computes_in_float32_whatever_it_is_given(dtype: torch.dtype) -> None:
    query, support = make_videos(1, 4).to(dtype), make_videos(1, 3, 1, seed=1).to(dtype)
    found = otam(query, support)
    assert found.dtype == torch.float32
    assert relative_error(found, otam(query.double(), support.double())) < 1e-5
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(otam(query.float(), support.float()), found)
