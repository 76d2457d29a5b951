"""Root and whitening: the covariance in a slow loop, what whitening must do, and where methods take it."""

import numpy as np
import pytest
import torch
from core_parts import random_clips, small_config

from fsar_cli.core.build import build_method
from fsar_cli.core.method import FRAMES, Encoded
from fsar_cli.core.methods import METHODS
from fsar_cli.core.methods.prototype import VIDEO
from fsar_cli.core.preparation import Preparation, signed_root, whitening_matrix
from fsar_cli.errors import DataError


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def slow_whitening(vectors: np.ndarray, classes: list[str], shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    """Step by step: sums of outer products of what lies between a step and the mean of its class; then eigenvalues."""
    clips, steps, width = vectors.shape
    covariance, total = np.zeros((width, width)), np.zeros(width)
    for name in set(classes):
        members = [vectors[v, t] for v in range(clips) if classes[v] == name for t in range(steps)]
        mean = sum(members) / len(members)
        for member in members:
            covariance += np.outer(member - mean, member - mean) / (clips * steps)
            total += member / (clips * steps)
    covariance += shrinkage * np.trace(covariance) / width * np.eye(width)
    values, directions = np.linalg.eigh(covariance)
    return total, sum(np.outer(d, d) / np.sqrt(v) for v, d in zip(values, directions.T, strict=True))


@pytest.mark.parametrize(("clips", "steps", "width"), [(9, 1, 5), (4, 2, 12), (30, 3, 6)])
@pytest.mark.parametrize("shrinkage", [0.01, 1.0, 10.0])
def test_whitening_is_the_inverse_root_of_the_covariance_within_classes(clips, steps, width, shrinkage):
    vectors = drawn(clips, steps, width) * torch.linspace(0.1, 3, width) + drawn(width, seed=1)
    classes = ["walk", "run", "walk"] * 10
    mean, matrix = whitening_matrix(vectors, classes[:clips], shrinkage)
    expected_mean, expected = slow_whitening(vectors.numpy(), classes[:clips], shrinkage)
    np.testing.assert_allclose(mean, expected_mean, atol=1e-12)
    np.testing.assert_allclose(matrix, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_what_is_whitened_has_no_correlations_left_inside_its_classes():
    mixing, labels = drawn(6, 6, seed=2), torch.arange(600) % 3
    vectors = (drawn(600, 1, 6) @ mixing + 5 * drawn(3, 1, 6, seed=3)[labels]).double()
    mean, matrix = whitening_matrix(vectors, labels.tolist(), 1e-6)
    white = (vectors[:, 0] - mean) @ matrix
    within = torch.cat([white[labels == c] - white[labels == c].mean(0) for c in range(3)])
    torch.testing.assert_close(within.T @ within / 600, torch.eye(6).double(), atol=1e-3, rtol=0)
    assert float(white.mean(0).abs().max()) < 1e-9


def test_the_order_of_clips_and_the_names_of_classes_change_nothing():
    vectors, classes = drawn(12, 2, 7), ["a", "b", "c"] * 4
    mean, matrix = whitening_matrix(vectors, classes, 0.5)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    again = whitening_matrix(vectors[order], [classes[i].upper() for i in order], 0.5)
    torch.testing.assert_close(again[0], mean)
    torch.testing.assert_close(again[1], matrix)


def test_one_class_is_the_total_covariance_and_a_rotation_of_the_features_rotates_the_result():
    vectors = drawn(20, 1, 5)
    _, matrix = whitening_matrix(vectors, ["normal"] * 20, 0.1)
    centred = vectors[:, 0] - vectors[:, 0].mean(0)
    covariance = centred.T @ centred / 20
    covariance += 0.1 * covariance.diagonal().mean() * torch.eye(5)
    torch.testing.assert_close(matrix @ covariance @ matrix, torch.eye(5).double())
    rotation = torch.linalg.qr(drawn(5, 5, seed=4)).Q
    _, rotated = whitening_matrix(vectors @ rotation, ["normal"] * 20, 0.1)
    torch.testing.assert_close(rotated, rotation.T @ matrix @ rotation)


@pytest.mark.parametrize("classes", [["a", "b", "c"], ["a", "a", "a"]])
def test_clips_that_say_nothing_are_refused(classes):
    vectors = drawn(3, 1, 4) if len(set(classes)) == 3 else torch.ones(3, 1, 4)
    with pytest.raises(DataError, match="3 normal clips say nothing to whiten by"):
        whitening_matrix(vectors, classes, 1.0)


def test_the_root_keeps_the_sign_and_has_a_slope_everywhere():
    x = torch.tensor([-4.0, -1e-20, 0.0, 9.0], requires_grad=True)
    rooted = signed_root(x)
    torch.testing.assert_close(rooted, torch.tensor([-2.0, 0.0, 0.0, 3.0]), atol=2e-6, rtol=0)
    rooted.sum().backward()
    assert x.grad.isfinite().all() and x.grad[3] == pytest.approx(1 / 6)


def test_maps_are_whitened_cell_by_cell_by_the_covariance_of_their_steps():
    maps = drawn(8, 3, 5, 2, 2).float()
    preparation = Preparation(["maps"], 5, whiten=True)
    preparation.fit(preparation.vectors({"maps": maps}), ["x"] * 8, 1.0)
    mean, matrix = whitening_matrix(maps.mean((3, 4)), ["x"] * 8, 1.0)
    found = preparation({"maps": maps, "other": mean})
    expected = (maps.double()[4, 2, :, 1, 0] - mean) @ matrix
    torch.testing.assert_close(found["maps"][4, 2, :, 1, 0], expected.float(), atol=1e-5, rtol=1e-5)
    assert found["other"] is mean


def test_half_precision_is_whitened_in_float32():
    frames = drawn(8, 3, 5).float()
    preparation = Preparation([FRAMES], 5, whiten=True)
    preparation.fit(preparation.vectors({FRAMES: frames}), ["x"] * 8, 1e-3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = preparation({FRAMES: frames.bfloat16()})[FRAMES]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, preparation({FRAMES: frames.bfloat16().float()})[FRAMES])


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_rooted_and_whitened_features(name):
    changes = {"model.method": name, "model.backbone": "mobilenet_v3_small", "clip.size": 64, "clip.short_side": 64}
    plain = build_method(small_config(**changes)).eval()
    white = build_method(small_config(**changes, **{"model.match.root": True, "model.match.whiten": "train"})).eval()
    assert not white.preparation.fitted and plain.preparation.fitted
    clips = random_clips(6, size=64)
    with torch.no_grad():
        described = white.describe(clips)
        vectors = white.preparation.vectors(white.pooled(described).tensors)
        assert all(x.ndim == 3 and len(x) == 6 for x in vectors.values())
        white.preparation.fit(vectors, ["a", "a", "a", "b", "b", "b"], 1.0)
        assert white.preparation.fitted
        by_hand = white.embed(white.prepare(described)).tensors
        found, other = white.encode(clips).tensors, plain.encode(clips).tensors
    assert all(torch.equal(found[key], by_hand[key]) for key in by_hand)
    assert any(not torch.allclose(found[key], other[key]) for key in by_hand)


def test_a_prototype_takes_the_root_of_the_mean_of_its_steps():
    method = build_method(small_config(**{"model.method": "prototype", "model.match.root": True}))
    frames = drawn(2, 4, method.features.dim).float().abs()
    found = method.embed(method.prepare(Encoded({FRAMES: frames})))[VIDEO]
    torch.testing.assert_close(found, frames.mean(1).sqrt(), atol=1e-5, rtol=1e-5)


def test_the_cosine_of_prototypes_is_that_of_a_slow_loop():
    method = build_method(small_config(**{"model.method": "prototype", "model.match.metric": "cosine"}))
    support, query = drawn(2, 3, 4, 6), drawn(2, 5, 6, seed=1)
    found = method.match(Encoded({VIDEO: support}, 3), Encoded({VIDEO: query}, 2)).logits
    for e, q, n in np.ndindex(2, 5, 3):
        mean = support[e, n].numpy().mean(0)
        one = query[e, q].numpy()
        assert found[e, q, n] == pytest.approx(mean @ one / np.linalg.norm(mean) / np.linalg.norm(one))


def test_without_whitening_only_the_root_is_taken_and_an_error_brings_it_back():
    preparation = Preparation((FRAMES,), 6, root=True, whiten=True)
    preparation.fit({FRAMES: drawn(20, 3, 6)}, list(range(4)) * 5, 0.1)
    taken = {FRAMES: drawn(2, 3, 6, seed=1)}
    whitened = preparation(taken)[FRAMES]
    with pytest.raises(KeyError), preparation.without_whitening():
        assert torch.equal(preparation(taken)[FRAMES], signed_root(taken[FRAMES]))
        raise KeyError
    assert torch.equal(preparation(taken)[FRAMES], whitened)
    assert not torch.equal(whitened, signed_root(taken[FRAMES]))
