"""Spatio-temporal relation: eq. 1-3 against loops, and what each part may and may not see."""

import numpy as np
import pytest
import torch
from core_parts import relative_error, seeded

from fsar_cli.core.relation import FrameDifference, MotionRelation, Relation, TemporalRelation
from fsar_cli.errors import UsageError

B, T, C, H, W = 2, 4, 3, 3, 5  # H != W: a swap of rows and columns is seen


def make_maps(frames: int = T) -> torch.Tensor:
    return torch.randn(B, frames, C, H, W, generator=seeded(1))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def numbers(parameter: torch.Tensor | None) -> np.ndarray:
    return np.zeros(T) if parameter is None else parameter.detach().double().numpy()


def slow_temporal_gate(module: TemporalRelation, mean: np.ndarray) -> np.ndarray:
    """Eq. 1 and 2, one number at a time."""
    mix, mix_bias = numbers(module.mix.weight)[:, :, 0, 0], numbers(module.mix.bias)
    kernel, bias = numbers(module.conv.weight)[0, 0], numbers(module.conv.bias)[0]
    gate = np.zeros_like(mean)
    for b in range(B):
        mixed = np.zeros((T, H, W))
        for t in range(T):
            for c in range(T):
                mixed[t] += mix[t, c] * mean[b, c]
            mixed[t] += mix_bias[t]
        for t, h, w in np.ndindex(T, H, W):
            total = bias
            for x, y, z in np.ndindex(3, 3, 3):
                tt, hh, ww = t + x - 1, h + y - 1, w + z - 1
                if 0 <= tt < T and 0 <= hh < H and 0 <= ww < W:
                    total += kernel[x, y, z] * mixed[tt, hh, ww]
            gate[b, t, h, w] = sigmoid(total)
    return gate


def slow_motion_gate(module: MotionRelation, maps: np.ndarray) -> np.ndarray:
    """Eq. 3, one number at a time; the last frame gets a zero before the sigmoid."""
    reduce, reduce_bias = numbers(module.reduce.weight)[0, :, 0, 0], numbers(module.reduce.bias)[0]
    kernel, bias = numbers(module.encode.weight)[0, 0], numbers(module.encode.bias)[0]
    gate = np.full((B, T, H, W), 0.5)
    for b in range(B):
        reduced = np.array([sum(reduce[c] * maps[b, t, c] for c in range(C)) + reduce_bias for t in range(T)])
        for t, h, w in np.ndindex(T - 1, H, W):
            encoded = bias
            for i, j in np.ndindex(3, 3):
                hh, ww = h + i - 1, w + j - 1
                if 0 <= hh < H and 0 <= ww < W:
                    encoded += kernel[i, j] * reduced[t + 1, hh, ww]
            gate[b, t, h, w] = sigmoid(encoded - reduced[t, h, w])
    return gate


@pytest.mark.parametrize("bias", [False, True])
def test_temporal_gate_is_equations_1_and_2(bias: bool) -> None:
    module, mean = TemporalRelation(T, bias), make_maps().mean(2)
    assert relative_error(module(mean), slow_temporal_gate(module, mean.double().numpy())) < 1e-6


@pytest.mark.parametrize("bias", [False, True])
def test_motion_gate_is_equation_3(bias: bool) -> None:
    module, maps = MotionRelation(C, bias), make_maps()
    assert relative_error(module(maps), slow_motion_gate(module, maps.double().numpy())) < 1e-6


@pytest.mark.parametrize(("temporal", "motion", "residual"), [(1, 1, 0), (1, 0, 0), (0, 1, 0), (1, 1, 1), (0, 1, 1)])
def test_cell_weights_are_the_channel_mean_of_the_sum_of_the_gated_maps(
    temporal: bool, motion: bool, residual: bool
) -> None:
    relation, maps = Relation(C, T, temporal=temporal, motion=motion, residual=residual), make_maps()
    numbers_ = maps.double().numpy()
    gated = numbers_.copy() if residual else np.zeros_like(numbers_)
    if temporal:
        gated += numbers_ * slow_temporal_gate(relation.temporal, numbers_.mean(2))[:, :, None]
    if motion:
        gated += numbers_ * slow_motion_gate(relation.motion, numbers_)[:, :, None]
    assert relative_error(relation(maps), gated.mean(2)) < 1e-6


def test_without_both_relations_the_weights_are_the_plain_channel_mean() -> None:
    relation, maps = Relation(C, T, temporal=False, motion=False), make_maps()
    assert torch.equal(relation(maps), maps.mean(2))
    assert not list(relation.parameters())


def test_there_is_a_bias_only_where_asked_for() -> None:
    assert not [name for name, _ in Relation(C, T).named_parameters() if name.endswith("bias")]
    assert len([name for name, _ in Relation(C, T, bias=True).named_parameters() if name.endswith("bias")]) == 4


def test_the_number_of_frames_is_part_of_the_weights() -> None:
    with pytest.raises(UsageError, match=r"built for clips of 4 frames, not 6") as caught:
        Relation(C, T)(make_maps(frames=6))
    assert "clip.frames" in caught.value.hint


def test_motion_alone_takes_clips_of_any_length() -> None:
    assert Relation(C, T, temporal=False)(make_maps(frames=6)).shape == (B, 6, H, W)


def test_every_parameter_learns() -> None:
    relation = Relation(C, T, bias=True)
    (relation(make_maps()) * torch.randn(B, T, H, W, generator=seeded(2))).sum().backward()
    assert all(p.grad.abs().max() > 0 for p in relation.parameters())


def test_difference_is_the_mean_squared_change_to_the_neighbours() -> None:
    maps = make_maps().double().numpy()
    expected = np.zeros((B, T, H, W))
    for t in range(T):
        near = [n for n in (t - 1, t + 1) if 0 <= n < T]
        expected[:, t] = np.mean([((maps[:, t] - maps[:, n]) ** 2).mean(1) for n in near], axis=0)
    assert relative_error(FrameDifference()(torch.from_numpy(maps)), expected) < 1e-12
