"""Frame tuples: which there are, and the linear map of concatenated frames."""

import math

import pytest
import torch
from core_parts import relative_error, seeded

from fsar_cli.core.layers.tuples import TupleLinear, frame_tuples, tuple_sums


@pytest.mark.parametrize(("frames", "cardinality"), [(8, 3), (5, 1), (4, 4)])
def test_tuples_are_all_the_ordered_ones(frames: int, cardinality: int) -> None:
    tuples = frame_tuples(frames, cardinality)
    assert tuples.shape == (math.comb(frames, cardinality), cardinality)
    assert len({tuple(t) for t in tuples.tolist()}) == len(tuples)
    assert (tuples[:, 1:] > tuples[:, :-1]).all()
    assert tuples.min() == 0 and tuples.max() == frames - 1


@pytest.mark.parametrize(("frames", "cardinality"), [(8, 3), (5, 1), (4, 4)])
def test_every_tuple_is_the_sum_of_its_frames_each_in_its_position(frames: int, cardinality: int) -> None:
    each = frames - cardinality + 1
    rows = [(position, frame) for position in range(cardinality) for frame in range(position, position + each)]
    sums = tuple_sums(frames, cardinality)
    assert sums.shape == (math.comb(frames, cardinality), len(rows))
    for line, chosen in zip(sums.tolist(), frame_tuples(frames, cardinality).tolist(), strict=True):
        assert [rows[i] for i, one in enumerate(line) if one] == list(enumerate(chosen))
        assert sum(line) == cardinality


@pytest.mark.parametrize("cardinality", [1, 2, 3])
def test_tuple_linear_equals_the_plain_layer_on_concatenated_frames_gradients_too(cardinality: int) -> None:
    layer = TupleLinear(8, cardinality, 64, 32)
    plain = torch.nn.Linear(cardinality * 64, 32)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 3, 8, 64, generator=seeded(0))
    concatenated = torch.stack([torch.cat([x[:, :, t] for t in tup], -1) for tup in frame_tuples(8, cardinality)], 2)
    assert layer(x).shape == (2, 3, math.comb(8, cardinality), 32)
    found, expected = layer(x), plain(concatenated)
    assert relative_error(found, expected) < 2e-6
    found.square().sum().backward()
    expected.square().sum().backward()
    assert relative_error(layer.weight.grad, plain.weight.grad) < 1e-5
    assert relative_error(layer.bias.grad, plain.bias.grad) < 1e-5


def test_only_weight_and_bias_are_saved() -> None:
    assert list(TupleLinear(4, 2, 5, 3).state_dict()) == ["weight", "bias"]
