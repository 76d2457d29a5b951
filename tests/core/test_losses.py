"""Losses on known numbers: cross-entropy of episodes, its two refinements, the total of eq. 12."""

import math

import pytest
import torch
from core_parts import seeded

from fsar_cli.core.losses import episode_cross_entropy, spatio_temporal_refined_loss, total_loss

LABELS = torch.tensor([[0, 2], [1, 1], [2, 0]])


def make_logits(seed: int = 0) -> torch.Tensor:
    return torch.randn(3, 2, 3, generator=seeded(seed))


def slow_cross_entropy(logits: torch.Tensor) -> float:
    """Summed over the queries of an episode, averaged over episodes."""
    total = 0.0
    for e in range(3):
        for q in range(2):
            row = logits[e, q].tolist()
            total -= math.log(math.exp(row[LABELS[e, q]]) / sum(math.exp(x) for x in row))
    return total / 3


def test_queries_are_summed_and_episodes_averaged() -> None:
    logits = make_logits()
    assert episode_cross_entropy(logits, LABELS).item() == pytest.approx(slow_cross_entropy(logits), rel=1e-6)


def test_mean_divides_by_the_number_of_queries() -> None:
    logits = make_logits()
    mean = episode_cross_entropy(logits, LABELS, "mean").item()
    assert mean == pytest.approx(slow_cross_entropy(logits) / 2, rel=1e-6)


def test_equal_logits_cost_the_logarithm_of_the_way() -> None:
    assert episode_cross_entropy(torch.zeros(1, 4, 5), torch.zeros(1, 4, dtype=torch.int64), "mean").item() == (
        pytest.approx(math.log(5))
    )


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_the_refined_loss_is_two_cross_entropies_not_one_of_summed_logits(weight: float) -> None:
    spatial, temporal = make_logits(1), make_logits(2)
    expected = slow_cross_entropy(spatial) + weight * slow_cross_entropy(temporal)
    found = spatio_temporal_refined_loss(spatial, temporal, LABELS, weight).item()
    assert found == pytest.approx(expected, rel=1e-6)
    assert abs(found - slow_cross_entropy(spatial + weight * temporal)) > 0.1
    halved = spatio_temporal_refined_loss(spatial, temporal, LABELS, weight, "mean").item()
    assert halved == pytest.approx(expected / 2, rel=1e-6)


def test_both_terms_weigh_the_same_unless_a_weight_is_given() -> None:
    """And queries are summed, as TRX does, unless their mean is asked for."""
    spatial, temporal = make_logits(1), make_logits(2)
    expected = slow_cross_entropy(spatial) + slow_cross_entropy(temporal)
    assert spatio_temporal_refined_loss(spatial, temporal, LABELS).item() == pytest.approx(expected, rel=1e-6)


def test_without_temporal_distance_or_weight_the_spatial_loss_remains() -> None:
    spatial, temporal = make_logits(1), make_logits(2)
    expected = slow_cross_entropy(spatial)
    assert spatio_temporal_refined_loss(spatial, None, LABELS).item() == pytest.approx(expected, rel=1e-6)
    assert spatio_temporal_refined_loss(spatial, temporal, LABELS, 0).item() == pytest.approx(expected, rel=1e-6)


def test_the_total_is_a_third_of_the_refined_and_the_two_auxiliary_losses() -> None:
    assert total_loss(torch.tensor(6.0), [torch.tensor(2.0), torch.tensor(1.0)]).item() == 3.0
    assert total_loss(torch.tensor(6.0), []).item() == 6.0
