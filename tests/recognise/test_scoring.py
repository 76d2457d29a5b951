"""Scores against plain loops, and what must not matter to them."""

import numpy as np
import pytest
import torch
from own_videos import encoder_of, features, tiny

from fsar_cli.core.method import FRAMES, Encoded
from fsar_cli.recognise.encoder import Encoder
from fsar_cli.recognise.scoring import PAIRS_A_CALL, Scorer

LABELS = np.array([0, 1, 0, 2, 1, 0])


@pytest.fixture(scope="module", params=["cosine", "euclidean", "trx"])
def encoder(request) -> Encoder:
    if request.param == "trx":
        return encoder_of(tiny(**{"model.method": "trx"}))
    return encoder_of(tiny(**{"model.match.metric": request.param}))


def some(encoder: Encoder, count: int, seed: int) -> Encoded:
    steps = 1 if encoder.config.model.method == "prototype" else 4
    return features(count, encoder.method.features.dim, steps, seed)


@torch.inference_mode()
def logit(encoder: Encoder, examples: Encoded, query: Encoded) -> float:
    """Of one query against one class."""
    support, asked = encoder.embed(examples), encoder.embed(query)
    scores = encoder.method.match(support.reshape(1, 1, len(support)), asked.reshape(1, 1))
    return float(scores.logits)


def slow(encoder: Encoder, examples: Encoded, labels, normal: Encoded | None, query: Encoded):
    """Scores [B,C] and nearest [B], one logit after the other."""
    scores, nearest = [], []
    for row in range(len(query)):
        one = query.take(torch.tensor([row]))
        of = [logit(encoder, examples.take(torch.tensor(np.flatnonzero(labels == c))), one)
              for c in range(max(labels) + 1)]  # fmt: skip
        less = 0.0
        if normal is not None:
            less = max(logit(encoder, normal.take(torch.tensor([i])), one) for i in range(len(normal)))
        best = int(np.argmax(of))
        members = np.flatnonzero(labels == best)
        alone = [logit(encoder, examples.take(torch.tensor([i])), one) for i in members.tolist()]
        scores.append([value - less for value in of])
        nearest.append(int(members[int(np.argmax(alone))]))
    return np.array(scores), nearest


def near(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * max(1.0, float(np.nanmax(np.abs(b)))))


@pytest.mark.parametrize("normals", [0, 1, 5])
def test_scores_are_those_of_a_plain_loop(encoder: Encoder, normals: int) -> None:
    examples, query = some(encoder, 6, 1), some(encoder, 7, 2)
    normal = some(encoder, normals, 3) if normals else None
    scores, nearest = Scorer(encoder, examples, LABELS, normal)(query)
    expected, expected_nearest = slow(encoder, examples, LABELS, normal, query)
    near(scores, expected)
    assert nearest.tolist() == expected_nearest and scores.dtype == np.float32


@pytest.mark.parametrize("sizes", [(1, 2), (4, 2, 1), (5, 5), (3, 2, 1)])
def test_classes_of_unequal_numbers_count_each_example_alike(encoder: Encoder, sizes) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    examples, query = some(encoder, len(labels), 4), some(encoder, 3, 5)
    scores, _ = Scorer(encoder, examples, labels, None)(query)
    near(scores, slow(encoder, examples, labels, None, query)[0])


def test_where_that_would_cost_too_much_they_count_nearly_alike(encoder: Encoder) -> None:
    labels = np.repeat([0, 1], [7, 5])
    places = Scorer(encoder, some(encoder, 12, 6), labels, None)._support(np.ones(12, bool))
    assert places.shape == (2, 21)
    for row in places:
        counts = np.unique(row, return_counts=True)[1]
        assert counts.max() - counts.min() <= 1 and counts.min() >= 3


def test_the_order_of_examples_and_of_classes_does_not_matter(encoder: Encoder) -> None:
    examples, query, normal = some(encoder, 6, 1), some(encoder, 5, 2), some(encoder, 4, 3)
    scores, nearest = Scorer(encoder, examples, LABELS, normal)(query)
    order, classes = np.array([4, 2, 0, 5, 1, 3]), np.array([2, 0, 1])  # class c becomes classes[c]
    other = Scorer(encoder, examples.take(torch.from_numpy(order)), classes[LABELS[order]], normal)
    moved, moved_nearest = other(query)
    near(moved[:, classes], scores)
    assert order[moved_nearest].tolist() == nearest.tolist()
    near(Scorer(encoder, examples, LABELS, normal.take(torch.tensor([3, 1, 0, 2])))(query)[0], scores)


def test_windows_are_scored_for_themselves(encoder: Encoder, monkeypatch) -> None:
    examples, query, normal = some(encoder, 6, 1), some(encoder, 9, 2), some(encoder, 4, 3)
    scorer = Scorer(encoder, examples, LABELS, normal)
    scores, nearest = scorer(query)
    monkeypatch.setattr("fsar_cli.recognise.scoring.PAIRS_A_CALL", 12)
    pairs, again = scorer(query)
    near(pairs, scores)
    assert again.tolist() == nearest.tolist() and PAIRS_A_CALL > 12


def test_an_example_left_out_scores_as_if_it_had_never_been_there(encoder: Encoder) -> None:
    examples, normal = some(encoder, 6, 1), some(encoder, 4, 3)
    left_out = Scorer(encoder, examples, LABELS, normal).left_out([""] * 6)
    for i in range(6):
        kept = np.flatnonzero(np.arange(6) != i)
        if LABELS[i] not in LABELS[kept]:
            assert np.isnan(left_out[i]).all()
            continue
        without = Scorer(encoder, examples.take(torch.from_numpy(kept)), LABELS[kept], normal)
        near(left_out[i], without(examples.take(torch.tensor([i])))[0][0])


def test_one_example_a_class_leaves_nothing_to_say(encoder: Encoder) -> None:
    left_out = Scorer(encoder, some(encoder, 3, 1), [0, 1, 2], None).left_out([""] * 3)
    assert np.isnan(left_out).all()


def test_examples_of_ones_own_group_and_class_are_left_out_with_it(encoder: Encoder) -> None:
    examples, groups = some(encoder, 6, 1), ["film", "film", "film", "", "x", "street"]
    scorer = Scorer(encoder, examples, LABELS, None)
    left_out = scorer.left_out(groups)
    alone = examples.take(torch.tensor([0]))
    kept = np.array([1, 3, 4, 5])  # 2 is of its class and film; 1, of another class, stays
    near(left_out[0], Scorer(encoder, examples.take(torch.from_numpy(kept)), LABELS[kept], None)(alone)[0][0])
    assert not np.isnan(left_out[1]).any()
    same = scorer.left_out(["film"] * 6)  # where all of a class are of the group, they stay: better than nothing
    near(same, scorer.left_out([""] * 6))


def test_normal_windows_shift_all_classes_alike(encoder: Encoder) -> None:
    examples, query, normal = some(encoder, 6, 1), some(encoder, 5, 2), some(encoder, 4, 3)
    plain, less = (Scorer(encoder, examples, LABELS, n)(query)[0] for n in (None, normal))
    shifts = plain - less
    near(shifts, np.broadcast_to(shifts[:, :1], shifts.shape))


def test_a_window_like_a_normal_one_scores_at_most_nothing() -> None:
    encoder = encoder_of(tiny(**{"model.match.metric": "cosine"}))
    normal = features(3, encoder.method.features.dim, seed=3)
    scores, _ = Scorer(encoder, some(encoder, 6, 1), LABELS, normal)(Encoded({FRAMES: 2 * normal[FRAMES]}))
    assert (scores <= 1e-6).all()
