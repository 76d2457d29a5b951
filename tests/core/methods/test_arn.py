"""ARN: second-order pooling, attention and its alignment, the relation network pair by pair."""

import math

import numpy as np
import pytest
import torch
from core_parts import FRAMES, random_clips, random_index, relative_error, seeded, small_config, split_episode
from torch import Tensor

from fsar_cli.core.build import build_method
from fsar_cli.core.method import Encoded
from fsar_cli.core.methods import arn
from fsar_cli.core.methods.arn import ARN, RelationNetwork, second_order

VIDEOS = 8
LABELS = torch.tensor([[0, 1]])

pytestmark = pytest.mark.usefixtures("tiny")


def make(**changes: object) -> ARN:
    return build_method(small_config(**{"model.method": "arn"} | changes))


def lively(method: ARN) -> ARN:
    """With attention and relation that depend on their input, and batch statistics unlike those of a new network."""
    generator = seeded(5)
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            if not name.startswith("features."):
                spread = 0.005 if "relation" in name else 0.05
                parameter += spread * torch.randn(parameter.shape, generator=generator)
        method.relation.score.weight *= 100
        for name, buffer in method.named_buffers():
            if name.endswith("running_var") and not name.startswith("features."):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return method


def episode(method: ARN, seed: int = 0) -> tuple[Encoded, Encoded]:
    return split_episode(method.encode(random_clips(VIDEOS), seeded(seed)), 3, 2)


# Second-order pooling


def slow_descriptor(features: np.ndarray) -> np.ndarray:
    """Features [R,N], one pair of channels and one place at a time."""
    channels, places = features.shape
    moments = np.zeros((channels, channels))
    for i, j, n in np.ndindex(channels, channels, places):
        moments[i, j] += features[i, n] * features[j, n] / places
    trace = sum(moments[i, i] for i in range(channels))
    return np.vectorize(lambda m: 2 / (1 + math.exp(-100 * m / trace)) - 1)(moments)


def test_a_descriptor_is_the_power_normalised_autocorrelation() -> None:
    features = torch.randn(3, 6, 10, generator=seeded(1), dtype=torch.float64)
    expected = np.stack([slow_descriptor(f) for f in features.numpy()])
    assert relative_error(second_order(features), torch.from_numpy(expected)) < 1e-12


def test_nothing_seen_gives_zeros_and_finite_gradients() -> None:
    features = torch.zeros(1, 4, 5, requires_grad=True)
    found = second_order(features)
    found.sum().backward()
    assert found.abs().max() == 0 and features.grad.isfinite().all()


def test_the_descriptor_is_exact_in_autocast() -> None:
    features = torch.rand(2, 8, 12, generator=seeded(2))
    expected = second_order(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(second_order(features), expected)


# Attention


def test_attention_is_a_number_for_each_frame_and_one_for_each_position() -> None:
    method = lively(make()).eval()
    features = torch.rand(2, 16, FRAMES, 3, 5, generator=seeded(4))
    temporal, spatial = method.temporal(features), method.spatial(features)
    assert temporal.shape == (2, 1, FRAMES, 1, 1) and spatial.shape == (2, 1, 1, 3, 5)
    for found in (temporal, spatial):
        assert found.min() > 0 and found.max() < 1 and found.std() > 0


def test_features_grow_by_both_attentions_before_they_are_pooled() -> None:
    method = lively(make()).double().eval()
    maps = torch.randn(2, FRAMES, 10, 4, 4, generator=seeded(6), dtype=torch.float64)
    found = method.embed(Encoded({"maps": maps}))["descriptor"]
    for b in range(2):
        features = torch.stack([method.reduce(frame.unsqueeze(0))[0] for frame in maps[b]], 1)  # [R,T,H,W]
        temporal, spatial = method.temporal(features.unsqueeze(0))[0, 0], method.spatial(features.unsqueeze(0))[0, 0]
        columns = [
            (features[:, t, y, x] * (1 + temporal[t, 0, 0]) * (1 + spatial[0, y, x])).detach().numpy()
            for t, y, x in np.ndindex(FRAMES, 4, 4)
        ]
        assert relative_error(found[b], torch.from_numpy(slow_descriptor(np.stack(columns, 1)))) < 1e-9


# Alignment


def test_misalignment_compares_shuffled_attention_with_the_attention_of_shuffled_frames() -> None:
    method = lively(make()).double().eval()
    features = torch.rand(3, 16, FRAMES, 4, 4, generator=seeded(8), dtype=torch.float64)
    temporal = method.temporal(features)
    found = method._misalignment(features, temporal, seeded(9))
    orders = torch.rand(3, FRAMES, generator=seeded(9)).argsort(1)
    assert any(order.tolist() != sorted(order.tolist()) for order in orders)
    for b, order in enumerate(orders.tolist()):
        again = method.temporal(torch.stack([features[b : b + 1, :, t] for t in order], 2))[0, 0, :, 0, 0]
        expected = sum((again[i] - temporal[b, 0, t, 0, 0]).item() ** 2 for i, t in enumerate(order)) / FRAMES
        assert found[b].item() == pytest.approx(expected, rel=1e-9) and expected > 1e-8


def test_training_draws_orders_from_its_generator_and_evaluation_none() -> None:
    method = lively(make()).train()
    first, again, other = (episode(method, s)[0]["alignment"] for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert "alignment" not in episode(method.eval())[0]
    assert "alignment" not in episode(make(**{"model.arn.alignment": 0.0}).train())[0]


def test_alignment_teaches_temporal_attention() -> None:
    """Descent on the alignment alone makes it smaller."""
    method = lively(make(**{"model.freeze_backbone": True})).train()
    optimizer, seen = torch.optim.Adam(method.temporal.parameters(), 1e-2), []
    for step in range(15):
        loss = torch.cat([e["alignment"].flatten() for e in episode(method, step)]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    assert sum(seen[-3:]) < 0.5 * sum(seen[:3])


# Comparison and loss


def test_a_score_is_the_relation_of_the_mean_descriptor_of_a_class_and_the_query() -> None:
    method = lively(make()).eval()
    support, query = random_index(2, 3, 2, 4, VIDEOS)[0], random_index(2, 3, 2, 2, VIDEOS)[1]
    with torch.no_grad():
        bank = method.encode(random_clips(VIDEOS))
        logits = method.match(bank.take(support), bank.take(query)).logits
        for e, q, n in np.ndindex(*logits.shape):
            mean = sum(bank["descriptor"][v] for v in support[e, n]) / 2
            pair = torch.stack([mean, bank["descriptor"][query[e, q]]]).unsqueeze(0)
            assert logits[e, q, n].item() == pytest.approx(method.relation(pair).item(), abs=1e-5)
    assert logits.std() > 1e-3


def test_evaluation_takes_a_few_pairs_at_a_time_and_training_all(monkeypatch: pytest.MonkeyPatch) -> None:
    method, sizes = lively(make()), []
    method.relation.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    monkeypatch.setitem(arn.PAIRS_AT_A_TIME, "cpu", 4)
    for training in (True, False):
        method.train(training)
        assert method.match(*episode(method)).logits.shape == (1, 2, 3)
    assert sizes == [6, 4, 2]


@pytest.mark.parametrize("channels", [16, 20, 64])
def test_the_relation_network_takes_descriptors_of_any_size(channels: int) -> None:
    scores = RelationNetwork(channels)(torch.rand(3, 2, channels, channels, generator=seeded(1)))
    assert scores.shape == (3,) and scores.isfinite().all()


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_loss_is_the_squared_error_of_the_relations_and_the_alignment(reduction: str) -> None:
    method = lively(make(**{"model.arn.alignment": 0.3})).train()
    support, query = episode(method)
    scores = method.match(support, query)
    expected = 0.0
    for q, label in enumerate(LABELS[0].tolist()):
        for n in range(3):
            expected += (1 / (1 + math.exp(-scores.logits[0, q, n].item())) - (n == label)) ** 2
    drift: Tensor = torch.cat([support["alignment"].flatten(), query["alignment"].flatten()])
    expected += 2 * 0.3 * sum(drift.tolist()) / 8
    found = method.loss(scores, LABELS, reduction).item()
    assert found == pytest.approx(expected / (2 if reduction == "mean" else 1), rel=1e-5)
    assert len(drift) == 8 and drift.min() > 0
