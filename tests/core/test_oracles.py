"""The plain forms of matching against the fast ones: the same numbers from the same parameters."""

import pytest
import torch
from core_parts import relative_error, seeded, small_config
from oracles.matching import (
    COMPARED,
    concatenated_tuples,
    cross_transformer_distance,
    hausdorff_distance,
    otam_distance,
    plain_scores,
)

from fsar_cli.core.build import build_method
from fsar_cli.core.layers.attention import CrossTransformer
from fsar_cli.core.method import Encoded, FewShotMethod, Scores

N, K, Q, T = 3, 2, 4, 4


def features(dim: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Support [N,K,T,D] and query [Q,T,D]."""
    x = torch.randn(N * K + Q, T, dim, generator=seeded(seed))
    return x[: N * K].unflatten(0, (N, K)), x[N * K :]


def fast(method: FewShotMethod, support: torch.Tensor, query: torch.Tensor) -> Scores:
    stored = method.embed(Encoded({"frames": support.flatten(0, 1)})).reshape(1, N, K)
    return method.match(stored, method.embed(Encoded({"frames": query})).reshape(1, Q))


def lively_norms(module: torch.nn.Module) -> None:
    for norm in (m for m in module.modules() if isinstance(m, torch.nn.LayerNorm)):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)


def gradients(method: FewShotMethod, scores: Scores) -> dict[str, torch.Tensor]:
    method.zero_grad(set_to_none=True)
    method.loss(scores, torch.tensor([[0, 1, 2, 0]])).backward()
    return {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", COMPARED)
@pytest.mark.parametrize("training", [False, True])
def test_every_plain_form_has_the_scores_and_gradients_of_the_method(name: str, training: bool, tiny: None) -> None:
    method = build_method(small_config(**{"model.method": name})).train(training)
    lively_norms(method)
    support, query = (x.requires_grad_() for x in features(method.features.dim))
    plain, ours = plain_scores(method, support, query), fast(method, support, query)
    assert plain.logits.shape == (1, Q, N)
    assert plain.parts.keys() == ours.parts.keys()
    for key, scores in ours.everything().items():
        assert relative_error(plain.everything()[key], scores) < 1e-5, key
    expected, found = gradients(method, ours), gradients(method, plain)
    assert expected.keys() == found.keys()
    for key, gradient in expected.items():
        if gradient.abs().max() > 1e-6:  # a key's bias cancels in the softmax but for rounding
            assert relative_error(found[key], gradient) < 1e-4, key


@pytest.mark.parametrize(
    "changes",
    [{"model.match.heads": "joint"}, {"model.match.temporal_weight": 0.0}, {"model.match.temporal_test_weight": 3.0}],
)
def test_settings_of_the_papers_method_reach_its_plain_form(changes: dict, tiny: None) -> None:
    method = build_method(small_config(**changes)).eval()
    support, query = features(method.features.dim)
    assert relative_error(plain_scores(method, support, query).logits, fast(method, support, query).logits) < 1e-5


def test_tuples_are_frames_side_by_side_in_order() -> None:
    frames = torch.arange(8.0).view(1, 4, 2)
    found = concatenated_tuples(frames, 3)
    assert found.shape == (1, 4, 6)
    assert found[0, 1].tolist() == [0, 1, 2, 3, 6, 7]  # frames 0, 1 and 3


def test_dropout_of_the_head_acts_in_training_only() -> None:
    head = CrossTransformer("h", 6, T, key_dim=8, dropout=0.5)
    support, query = features(6)
    kept = cross_transformer_distance(head.eval(), support, query)
    assert torch.equal(kept, cross_transformer_distance(head, support, query))
    assert not torch.allclose(kept, cross_transformer_distance(head.train(), support, query))


def test_hausdorff_of_known_videos() -> None:
    east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    one, both = torch.stack([east, east]), torch.stack([east, north])
    assert hausdorff_distance(one, both).item() == pytest.approx(1)  # only north has no near frame
    assert hausdorff_distance(one, both, "mean").item() == pytest.approx(0.5)
    assert hausdorff_distance(one, both, "dim").item() == pytest.approx(0.5)


def test_alignment_of_single_frames_is_by_hand() -> None:
    """One frame each: the distance, plus the zero columns; one path only."""
    query, video = torch.tensor([[[3.0, 0.0]]]), torch.tensor([[[0.0, 2.0]], [[1.0, 0.0]]])
    found = otam_distance(query, video)[0]
    assert found[0].item() == pytest.approx(2 * 1)
    assert found[1].item() == pytest.approx(2 * (1 - 3 / 3.01), rel=1e-4)
