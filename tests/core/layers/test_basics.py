"""What every layer needs: dropout by a generator, and positions."""

import math

import pytest
import torch
from core_parts import seeded

from fsar_cli.core.layers.basics import AddPositions, dropout, position_encoding


def test_dropout_keeps_the_share_the_mean_and_the_generator() -> None:
    x = torch.full((200, 50), 3.0)
    dropped = dropout(x, 0.2, seeded(0))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.2, abs=0.02)
    assert torch.allclose(dropped[dropped > 0], torch.tensor(3.0 / 0.8))
    assert torch.equal(dropped, dropout(x, 0.2, seeded(0)))
    assert not torch.equal(dropped, dropout(x, 0.2, seeded(1)))


@pytest.mark.parametrize("dim", [6, 7, 1])
def test_position_encoding_is_the_sinusoid_formula(dim: int) -> None:
    found = position_encoding(5, dim)
    for t in range(5):
        for d in range(dim):
            angle = t / 10_000 ** (2 * (d // 2) / dim)
            assert found[t, d].item() == pytest.approx(math.cos(angle) if d % 2 else math.sin(angle), abs=1e-6)


def test_positions_are_added_then_dropped_in_training_and_never_saved() -> None:
    x, positions = torch.ones(2, 3, 6), AddPositions(5, 6, 0.5, 0.4)
    placed = x + 0.5 * position_encoding(5, 6)[:3]
    assert torch.equal(positions.eval()(x, seeded(0)), placed)
    assert torch.equal(positions.train()(x, seeded(0)), dropout(placed, 0.4, seeded(0)))
    assert positions.state_dict() == {}
