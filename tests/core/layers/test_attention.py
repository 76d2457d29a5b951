"""The temporal cross-transformer: one call against the plain form with its loops over classes and tuples (eq. 9-10)."""

import itertools
import math

import pytest
import torch
from core_parts import random_index, relative_error, seeded, small_config
from oracles.matching import cross_transformer_distance

from fsar_cli.config import Config
from fsar_cli.core.layers.attention import CrossTransformer, plain_distance
from fsar_cli.core.layers.basics import position_encoding
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


def test_the_plain_equation_is_softmax_of_qk_times_v() -> None:
    """One query tuple and two tuples of one class, by hand."""
    query_key, query_value = torch.tensor([2.0, 0.0]).view(1, 1, 1, 2), torch.tensor([1.0, 5.0]).view(1, 1, 1, 2)
    keys, values = torch.tensor([[1.0, 3.0], [0.0, 7.0]]), torch.tensor([[4.0, 0.0], [0.0, 2.0]])
    share = 1 / (1 + math.exp(-2 / math.sqrt(2)))
    expected = (1 - 4 * share) ** 2 + (5 - 2 * (1 - share)) ** 2
    found = plain_distance(query_key, query_value, keys.view(1, 1, 2, 2), values.view(1, 1, 2, 2))
    assert found.shape == (1, 1, 1) and found.item() == pytest.approx(expected)


def test_the_plain_equation_is_that_of_every_query_and_class() -> None:
    """Against one tuple after the other; sizes that all differ, so that no axis passes for another."""
    episodes, queries, way, tuples, known, dim = 2, 3, 4, 5, 6, 7
    query_key, query_value = torch.randn(2, episodes, queries, tuples, dim, generator=seeded(2)).double()
    support_key, support_value = torch.randn(2, episodes, way, known, dim, generator=seeded(3)).double()
    found = plain_distance(query_key, query_value, support_key, support_value)
    assert found.shape == (episodes, queries, way)
    for e, q, n in itertools.product(range(episodes), range(queries), range(way)):
        total = 0.0
        for key, value in zip(query_key[e, q], query_value[e, q], strict=True):
            shares = [math.exp(float(key @ other) / math.sqrt(dim)) for other in support_key[e, n]]
            attended = sum(s * v for s, v in zip(shares, support_value[e, n], strict=True)) / sum(shares)
            total += sum((a - b) ** 2 for a, b in zip(value.tolist(), attended.tolist(), strict=True))
        assert found[e, q, n].item() == pytest.approx(total / tuples, rel=1e-12)


@pytest.mark.parametrize("cardinalities", [(1,), (2, 3), (5,)])
def test_inner_products_give_distances_and_gradients_of_the_plain_form(cardinalities: tuple[int, ...]) -> None:
    transformer, frames = head(cardinalities=cardinalities).double(), features(12).double().requires_grad_()
    support, query = random_index(1, 3, 2, 4, 12)
    inputs = [frames, *transformer.parameters()]
    found = distances(transformer, frames, support, query)[0]
    expected = cross_transformer_distance(transformer, frames[support[0]], frames[query[0]])
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
        exact, frames = transformer.double(), frames.double()
        episodes = zip(support, query, strict=True)
        expected = torch.stack([cross_transformer_distance(exact, frames[s], frames[q]) for s, q in episodes])
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


def test_half_precision_is_matched_in_float32() -> None:
    """Whatever precision the parameters and the features have; autocast changes nothing either."""
    transformer, (support, query) = head().bfloat16(), random_index(1, 3, 2, 4, 12)
    encoded = Encoded(transformer.encode(features(12).bfloat16()))
    exact = Encoded({name: tensor.float() for name, tensor in encoded.tensors.items()})
    expected = transformer.float().distance(exact.take(support), exact.take(query))
    transformer.bfloat16()
    assert torch.equal(transformer.distance(encoded.take(support), encoded.take(query)), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(transformer.distance(exact.take(support), exact.take(query)), expected)
    assert expected.dtype == torch.float32


def test_a_cross_transformer_is_built_as_the_configuration_says() -> None:
    changes = {"cardinalities": [1, 3], "key_dim": 7, "dropout": 0.25, "position_scale": 0.5}
    config = small_config(**{f"model.match.{name}": value for name, value in changes.items()})
    found = CrossTransformer.from_config(config, T, "global", D)
    assert (found.name, found.frames, list(found.cards)) == ("global", T, ["card1", "card3"])
    assert {card.key.weight.shape for card in found.cards.values()} == {(7, D), (7, 3 * D)}
    assert {card.value.weight.shape for card in found.cards.values()} == {(7, D), (7, 3 * D)}
    assert found.positions.dropout == 0.25
    assert torch.equal(found.positions.encoding, 0.5 * position_encoding(T, D))
    own = CrossTransformer.from_config(config, T, "global", D, cardinalities=(2,))
    assert list(own.cards) == ["card2"]


def test_what_is_not_said_is_as_the_configuration_has_it() -> None:
    found = [CrossTransformer("own", D, T), CrossTransformer.from_config(Config(), T, "own", D)]
    own, configured = ({name: tensor.shape for name, tensor in head.state_dict().items()} for head in found)
    assert own == configured
    own, configured = (head.positions for head in found)
    assert own.dropout == configured.dropout and torch.equal(own.encoding, configured.encoding)


def test_clips_of_another_length_are_refused() -> None:
    with pytest.raises(UsageError, match="the cross-transformer was built for clips of 5 frames, not 4") as caught:
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
