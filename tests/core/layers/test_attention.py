"""The temporal cross-transformer: one call against a loop over episodes, queries, classes and tuples (eq. 9-10)."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from core_parts import random_index, relative_error, seeded

from fsar_cli.core.layers.attention import CrossTransformer, TupleAttention, plain_distance
from fsar_cli.core.method import Encoded
from fsar_cli.errors import UsageError

T, D = 5, 6


def head(**options: object) -> CrossTransformer:
    torch.manual_seed(0)
    transformer = CrossTransformer("head", D, T, **({"key_dim": 4, "dropout": 0.0} | options))
    for attention in transformer.cards.values():  # a norm that is not the identity
        torch.nn.init.normal_(attention.key_norm.weight)
        torch.nn.init.normal_(attention.key_norm.bias)
    return transformer.eval()


def features(videos: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(videos, T, D, generator=seeded(seed))


def distances(
    transformer: CrossTransformer, frames: torch.Tensor, support: torch.Tensor, query: torch.Tensor
) -> torch.Tensor:
    encoded = Encoded(transformer.encode(frames))
    return transformer.distance(encoded.take(support), encoded.take(query))


def slow_distance(transformer: CrossTransformer, query: np.ndarray, shots: list[np.ndarray]) -> float:
    """One query video against one class, in float64 and in the paper's order: positions, tuples, maps, attention."""
    weights = {name: p.detach().double().numpy() for name, p in transformer.named_parameters()}
    position = np.zeros((T, D))
    for t, d in np.ndindex(T, D):
        angle = t / 10_000 ** (2 * (d // 2) / D)
        position[t, d] = 0.1 * (math.cos(angle) if d % 2 else math.sin(angle))
    per_cardinality = []
    for cardinality in (2, 3):
        part = f"cards.card{cardinality}"

        def maps(video: np.ndarray, part: str = part, cardinality: int = cardinality) -> list:
            pairs = []
            for chosen in combinations(range(T), cardinality):
                x = np.concatenate([video[t] + position[t] for t in chosen])
                key = weights[f"{part}.key.weight"] @ x + weights[f"{part}.key.bias"]
                key = (key - key.mean()) / math.sqrt(key.var() + 1e-5)
                key = key * weights[f"{part}.key_norm.weight"] + weights[f"{part}.key_norm.bias"]
                pairs.append((key, weights[f"{part}.value.weight"] @ x + weights[f"{part}.value.bias"]))
            return pairs

        support = [pair for shot in shots for pair in maps(shot)]
        total = 0.0
        for key, value in maps(query):
            scores = [math.exp(key @ k / math.sqrt(len(key))) for k, _ in support]
            attended = sum(s * v for s, (_, v) in zip(scores, support, strict=True)) / sum(scores)
            total += ((value - attended) ** 2).sum()
        per_cardinality.append(total / len(maps(query)))
    return sum(per_cardinality) / 2


def test_distances_are_those_of_the_loop_over_episodes_queries_and_classes() -> None:
    transformer, frames = head(), features(12)
    support, query = random_index(2, 3, 2, 4, 12)
    found = distances(transformer, frames, support, query)
    numbers = frames.double().numpy()
    for e, q, n in np.ndindex(2, 4, 3):
        expected = slow_distance(transformer, numbers[query[e, q]], [numbers[v] for v in support[e, n]])
        assert found[e, q, n].item() == pytest.approx(expected, rel=1e-5)


def plain(card: TupleAttention, frames: torch.Tensor, support: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """[Q,N] of an episode by the equation as it stands, from frames [V,T,D] that have their positions."""
    keys, values = card.key_norm(card.key(frames)), card.value(frames)  # [V,L,D_k]
    shots = (x[support].flatten(1, 2).unsqueeze(0) for x in (keys, values))  # [1,N,K*L,D_k]
    return plain_distance(keys[query].unsqueeze(0), values[query].unsqueeze(0), *shots)[0]


def test_the_plain_equation_is_softmax_of_qk_times_v() -> None:
    """One query tuple and two tuples of one class, by hand."""
    query_key, query_value = torch.tensor([2.0, 0.0]).view(1, 1, 1, 2), torch.tensor([1.0, 5.0]).view(1, 1, 1, 2)
    keys, values = torch.tensor([[1.0, 3.0], [0.0, 7.0]]), torch.tensor([[4.0, 0.0], [0.0, 2.0]])
    share = 1 / (1 + math.exp(-2 / math.sqrt(2)))
    expected = (1 - 4 * share) ** 2 + (5 - 2 * (1 - share)) ** 2
    found = plain_distance(query_key, query_value, keys.view(1, 1, 2, 2), values.view(1, 1, 2, 2))
    assert found.shape == (1, 1, 1) and found.item() == pytest.approx(expected)


@pytest.mark.parametrize("cardinality", [1, 2, 3, 5])
def test_inner_products_give_distances_and_gradients_of_the_plain_formula(cardinality: int) -> None:
    transformer, frames = head(cardinalities=(cardinality,)).double(), features(12).double().requires_grad_()
    support, query = random_index(1, 3, 2, 4, 12)
    card = transformer.cards[f"card{cardinality}"]
    inputs = [frames, *card.parameters()]
    found = distances(transformer, frames, support, query)[0]
    expected = plain(card, frames + transformer.positions.encoding, support[0], query[0])
    assert relative_error(found, expected) < 1e-12
    outward = torch.randn(found.shape, generator=seeded(1)).double()
    for a, b in zip(*(torch.autograd.grad((d * outward).sum(), inputs) for d in (found, expected)), strict=True):
        assert (a - b).abs().max() <= 1e-12 * max(1.0, float(b.abs().max()))


@pytest.mark.parametrize("common", [0.0, 1.0, 100.0])
def test_what_all_frames_share_costs_no_digits(common: float) -> None:
    """Features of trained networks are alike: the distance is then a small difference of large numbers."""
    torch.manual_seed(0)
    transformer = CrossTransformer("head", 64, 8, key_dim=48, dropout=0.0).eval()
    frames = common + torch.rand(12, 8, 64, generator=seeded(0))
    support, query = random_index(2, 3, 2, 4, 12)
    with torch.no_grad():
        found = distances(transformer, frames, support, query)
        exact = transformer.double()
        cards = [[plain(c, frames.double() + exact.positions.encoding, s, q) for c in exact.cards.values()]
                 for s, q in zip(support, query, strict=True)]  # fmt: skip
    expected = torch.stack([sum(pair) / 2 for pair in cards])
    assert relative_error(found, expected) < 1e-5


def test_two_heads_add_up_to_the_distance_of_the_concatenated_attention() -> None:
    """Eq. 10: ||concat(S_g, S_l) - concat(q_g, q_l)||^2 is the sum over the halves."""
    torch.manual_seed(0)
    halves = [CrossTransformer(name, D, T, cardinalities=(2,), key_dim=4, dropout=0.0).eval() for name in ("g", "l")]
    frames, (support, query) = [features(9, seed) for seed in (0, 1)], random_index(1, 3, 2, 3, 9)
    separate = sum(distances(half, f, support, query)[0] for half, f in zip(halves, frames, strict=True))
    attended, own = [], []
    for half, f in zip(halves, frames, strict=True):
        card, x = half.cards["card2"], f + half.positions.encoding
        keys, values = card.key_norm(card.key(x)), card.value(x)
        logits = torch.einsum("qid,nkjd->qnikj", keys[query[0]], keys[support[0]]) / math.sqrt(keys.shape[-1])
        weights = logits.flatten(-2).softmax(-1).unflatten(-1, logits.shape[-2:])
        attended.append(torch.einsum("qnikj,nkjd->qnid", weights, values[support[0]]))
        own.append(values[query[0]].unsqueeze(1))
    joined = torch.cat(attended, -1) - torch.cat(own, -1)
    assert relative_error(separate, joined.square().sum(-1).mean(-1)) < 1e-5


def test_a_batch_of_episodes_is_the_episodes_one_by_one_and_so_are_queries() -> None:
    transformer, frames = head(), features(14)
    support, query = random_index(3, 3, 2, 5, 14)
    together = distances(transformer, frames, support, query)
    for e in range(3):
        assert torch.allclose(together[e], distances(transformer, frames, support[e : e + 1], query[e : e + 1])[0])
    for q in range(5):
        assert torch.allclose(together[:, q], distances(transformer, frames, support, query[:, q : q + 1])[:, 0])


def test_classes_do_not_see_one_another_and_shots_have_no_order() -> None:
    transformer, frames = head(), features(12)
    support, query = random_index(1, 3, 3, 3, 12)
    found = distances(transformer, frames, support, query)
    order = [2, 0, 1]
    assert torch.allclose(distances(transformer, frames, support[:, order], query), found[..., order])
    assert torch.allclose(distances(transformer, frames, support[:, :, order], query), found, rtol=1e-5)
    assert torch.allclose(distances(transformer, frames, support[:, 1:], query), found[..., 1:])


def test_the_order_of_frames_matters() -> None:
    transformer, frames = head(), features(8)
    support, query = random_index(1, 2, 2, 2, 8)
    reversed_ = frames.clone()
    reversed_[query.flatten()] = frames[query.flatten()].flip(1)
    found = distances(transformer, frames, support, query)
    assert (found - distances(transformer, reversed_, support, query)).abs().max() > 0.05 * found.mean()


def test_the_distance_is_the_mean_of_its_cardinalities() -> None:
    frames, (support, query) = features(8), random_index(1, 2, 2, 2, 8)
    both = head(cardinalities=(2, 3))
    single = []
    for cardinality in (2, 3):
        alone = head(cardinalities=(cardinality,))
        alone.load_state_dict({k: v for k, v in both.state_dict().items() if f"card{cardinality}" in k})
        single.append(distances(alone, frames, support, query))
    assert torch.allclose(distances(both, frames, support, query), (single[0] + single[1]) / 2)


def test_clips_of_another_length_are_refused() -> None:
    with pytest.raises(UsageError, match="built for clips of 5 frames, not 4") as caught:
        head().encode(torch.zeros(1, 4, D))
    assert "clip.frames" in caught.value.hint


def test_dropout_acts_in_training_only() -> None:
    transformer, frames = head(dropout=0.3), features(3)
    name = "head.card2.value"
    plain = transformer.encode(frames)[name]
    assert torch.equal(plain, transformer.encode(frames, seeded(0))[name])
    transformer.train()
    assert torch.equal(transformer.encode(frames, seeded(0))[name], transformer.encode(frames, seeded(0))[name])
    assert not torch.allclose(transformer.encode(frames, seeded(0))[name], plain)


def test_positions_are_added_to_frames_before_tuples_are_formed() -> None:
    frames = features(2)
    with_positions, without = head(position_scale=0.3), head(position_scale=0.0)
    shifted = frames + with_positions.positions.encoding
    assert with_positions.positions.encoding.abs().max().item() == pytest.approx(0.3)
    for name, tensor in with_positions.encode(frames).items():
        assert torch.allclose(tensor, without.encode(shifted)[name], atol=1e-6)
