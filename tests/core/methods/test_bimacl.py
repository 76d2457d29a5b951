"""BiMACL against plain references: motion attention map by map, contrast tuple by tuple, and what is trained."""

import pytest
import torch
import torch.nn.functional as F
from core_parts import FRAMES, filled, normal, random_clips, relative_error, seeded, small_config, split_episode
from torch import Tensor

from fsar_cli.core.build import build_method
from fsar_cli.core.features import FrameFeatures
from fsar_cli.core.layers.nearest import nearest_distance
from fsar_cli.core.method import Encoded
from fsar_cli.core.methods.bimacl import BiMACL, MotionAttention, contrast

LABELS = torch.tensor([[0, 1, 1]])


@pytest.fixture
def method(tiny: None) -> BiMACL:
    built = build_method(small_config(**{"model.method": "bimacl"}))
    assert isinstance(built, BiMACL)
    return filled(built)


# Motion attention


def normalise(norm: torch.nn.BatchNorm2d, x: Tensor) -> Tensor:
    """x [B,C,H,W], by the statistics of x in training, else by those kept."""
    if norm.training:
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    else:
        mean, variance = norm.running_mean.double(), norm.running_var.double()
    shape = (1, -1, 1, 1)
    scaled = (x - mean.view(shape)) / (variance.view(shape) + norm.eps).sqrt()
    return scaled * norm.weight.double().view(shape) + norm.bias.double().view(shape)


def slow_maps(module: MotionAttention, maps: Tensor) -> Tensor:
    """Maps [B,T,C,H,W] -> enhanced maps [B,T,C,H,W]: whole maps, frame after frame, in float64."""
    module, maps = module.double(), maps.double()
    videos, frames, _, height, width = maps.shape
    reduced = normalise(module.reduce[1], module.reduce[0](maps.flatten(0, 1))).unflatten(0, (videos, frames))
    shifted = module.transform(reduced.flatten(0, 1)).view_as(reduced)
    motions = {1: torch.zeros_like(reduced), -1: torch.zeros_like(reduced)}
    for step, motion in motions.items():
        for t in range(frames):
            if 0 <= t + step < frames:
                motion[:, t] = shifted[:, t + step] - reduced[:, t]
    values = module.over_time(maps.permute(0, 3, 4, 2, 1).flatten(0, 2))  # the time series of each cell
    values = values.unflatten(0, (videos, height, width)).permute(0, 4, 3, 1, 2)  # [B,T,C,H,W]
    gathered = torch.zeros_like(maps)
    for motion in motions.values():
        x = motion.flatten(0, 1)
        half = x[:, :, : height // 2 * 2, : width // 2 * 2] if min(height, width) > 1 else x
        if min(height, width) > 1:
            half = (half[:, :, ::2] + half[:, :, 1::2]) / 2
            half = (half[..., ::2] + half[..., 1::2]) / 2
        half = normalise(module.half_scale[1], module.half_scale[0](half))
        rows = torch.arange(height) * half.shape[2] // height
        columns = torch.arange(width) * half.shape[3] // width
        full = normalise(module.full_scale[1], module.full_scale[0](x))
        x = module.expand((x + half[:, :, rows][..., columns] + full) / 3)
        x = x.unflatten(0, (videos, frames)).flatten(3)  # [B,T,C/2,cells]
        for b in range(videos):
            for t in range(frames):
                shares = (x[b, t].T @ x[b, t] / x.shape[2] ** 0.5).softmax(1)  # of each cell among all cells
                gathered[b, t] += (values[b, t].flatten(1) @ shares.T).unflatten(1, (height, width)) / 2
    return maps + module.gamma * gathered


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("height,width,frames", [(7, 5, 4), (3, 3, 1), (1, 1, 3)])
def test_frames_are_the_mean_of_the_enhanced_maps(training: bool, height: int, width: int, frames: int) -> None:
    module = filled(MotionAttention(6, dropout=0.0)).train(training)
    maps = normal(3, frames, 6, height, width, seed=8)
    with torch.no_grad():
        found = module(maps)
        expected = slow_maps(module, maps).mean((3, 4))
    assert found.shape == (3, frames, 6)
    assert relative_error(found - maps.mean((3, 4)), expected - maps.double().mean((3, 4))) < 1e-5


def test_gradients_are_those_of_the_enhanced_maps() -> None:
    module, maps = filled(MotionAttention(6, dropout=0.0)).double(), normal(2, 3, 6, 4, 4).double()
    weights = normal(2, 3, 6, seed=1).double()
    found = torch.autograd.grad((module(maps) * weights).sum(), [*module.parameters()])
    plain = torch.autograd.grad((slow_maps(module, maps).mean((3, 4)) * weights).sum(), [*module.parameters()])
    for (name, _), fast, slow in zip(module.named_parameters(), found, plain, strict=True):
        assert relative_error(fast, slow) < 1e-8, name


def test_motion_attention_fades_in_from_plain_averages() -> None:
    maps = normal(2, 3, 6, 5, 5)
    torch.testing.assert_close(MotionAttention(6)(maps, seeded(0)), maps.mean((3, 4)))


def test_dropout_of_attention_works_in_training_alone() -> None:
    module, maps = filled(MotionAttention(6, dropout=0.5)), normal(1, 3, 6, 4, 4)
    with torch.no_grad():
        assert torch.equal(module(maps, seeded(0)), module(maps, seeded(1)))
        module.train()
        assert torch.equal(module(maps, seeded(0)), module(maps, seeded(0)))
        assert not torch.equal(module(maps, seeded(0)), module(maps, seeded(1)))


# Contrast


def slow_contrast(support: Tensor, query: Tensor) -> Tensor:
    """Tuples [N,K,L,D] of the support and [L,D] of one query -> [N]."""
    gap = lambda a, b: (a - b).norm().item()  # noqa: E731
    logits = []
    for n, own in enumerate(support):
        members = own.flatten(0, 1)
        near = sum(min(gap(t, s) for s in members) for t in query) / len(query)
        reach = [sum(min(gap(t, s) for s in shot) for shot in own) / len(own) for t in query]
        found = [min(members, key=lambda s, t=t: gap(t, s)) for t in query]
        far = []
        for m, other in enumerate(support):
            if m != n:
                candidates = other.flatten(0, 1)
                related = [sum(gap(f, s) < r for f, r in zip(found, reach, strict=True)) for s in candidates]
                some = [r for r in related if r]
                usual = sum(some) / len(some) if some else 0
                far += [s for s, r in zip(candidates, related, strict=True) if r < usual or r == min(related)]
        away = sum(gap(t, s) for t in query for s in far) / len(query) / len(far)
        logits.append(-near / (near + away / (len(support) - 1)))
    return torch.tensor(logits, dtype=torch.float64)


@pytest.mark.parametrize("way,shot", [(2, 1), (4, 3)])
@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])  # of the classes: all, some or no tuples are related
def test_contrast_is_the_plain_loop(way: int, shot: int, spread: float) -> None:
    classes = spread * normal(2, way, 1, 1, 5, seed=3)
    support, query = classes + normal(2, way, shot, 4, 5), classes[:, 0, :, 0, None] + normal(2, 3, 4, 5, seed=1)
    found = contrast(support, query)
    for e in range(2):
        for q in range(3):
            assert relative_error(found[e, q], slow_contrast(support[e].double(), query[e, q].double())) < 1e-5


def test_unrelated_tuples_are_told_from_related_ones() -> None:
    """The query's tuples lie at 0, those of class A at 10: as near to these is B's tuple at 9, but not its at 100."""
    support = torch.tensor([[10.0, 10.0], [9.0, 100.0]]).view(1, 2, 1, 2, 1)
    query = torch.zeros(1, 1, 2, 1)
    near, far = 10.0, 100.0
    assert contrast(support, query)[0, 0, 0].item() == pytest.approx(-near / (near + far))


def test_a_query_near_a_class_scores_higher_there() -> None:
    """At the authors' a large distance speaks for a class."""
    support = normal(1, 3, 2, 6, 16)
    query = support[:, :, 0] + 0.1 * normal(1, 3, 6, 16, seed=1)
    for logits in (contrast(support, query), -nearest_distance(support, query)):
        assert logits.argmax(-1).tolist() == [[0, 1, 2]]
    assert contrast(support, query).max() < 0 and contrast(support, query).min() > -1


def test_contrast_of_equal_tuples_is_finite() -> None:
    support = torch.ones(1, 3, 2, 4, 5, requires_grad=True)
    logits = contrast(support, torch.ones(1, 2, 4, 5))
    logits.sum().backward()
    assert logits.isfinite().all() and support.grad.isfinite().all()


# The method


def test_maps_of_regions_are_brought_to_the_size_of_the_frames(method: BiMACL) -> None:
    maps, local = normal(2, 3, 6, 4, 4), normal(2, 3, 5, 2, 2, seed=1)
    kept = method.keep(FrameFeatures(maps.mean((3, 4)), maps, local))["maps"]
    assert kept.shape == (2, 3, 11, 4, 4)
    assert torch.equal(kept[:, :, :6], maps)
    assert torch.equal(kept[:, :, 6:], local.repeat_interleave(2, 3).repeat_interleave(2, 4))


def test_both_heads_see_the_enhanced_frames(method: BiMACL) -> None:
    maps = normal(7, FRAMES, 10, 4, 4)
    with torch.no_grad():
        support, query = split_episode(method.embed(Encoded({"maps": maps})), 2, 2)
        scores = method.match(support, query)
        frames = slow_maps(method.motion, maps).mean((3, 4)).float()
        heads = {}
        for name, head in (("main", method.head), ("nearest", method.nearest)):
            heads[name] = -head.distance(*split_episode(Encoded(head.encode(frames)), 2, 2))
    assert set(scores.parts) == {"main", "nearest"}
    for name, logits in heads.items():
        assert relative_error(scores.parts[name], logits) < 1e-4
    assert relative_error(scores.logits, heads["main"] + 0.05 * heads["nearest"]) < 1e-4


def test_training_contrasts_and_learns_from_it(method: BiMACL) -> None:
    method.train()
    support, query = split_episode(method.encode(random_clips(7), seeded(0)), 2, 2)
    scores = method.match(support, query)
    cards = ("nearest.card2", "nearest.card3")
    expected = sum(contrast(support[c], query[c]) for c in cards) / 2
    torch.testing.assert_close(scores.parts["contrast"], expected)
    plain = [F.cross_entropy(scores.parts[p][0], LABELS[0], reduction="sum") for p in ("main", "contrast")]
    loss = method.loss(scores, LABELS)
    torch.testing.assert_close(loss, plain[0] + 0.05 * plain[1])
    loss.backward()
    assert all(p.grad.abs().max() > 0 for p in method.nearest.parameters())


def test_the_second_head_is_saved_and_learns_to_tell_classes_apart(method: BiMACL) -> None:
    """At the authors' it is neither."""
    head = method.nearest.train()
    assert {f"nearest.{name}" for name in head.state_dict()} <= set(method.state_dict())
    frames = normal(7, FRAMES, 10)
    optimizer, losses = torch.optim.SGD(head.parameters(), lr=0.5), []
    for _ in range(20):
        support, query = split_episode(Encoded(head.encode(frames)), 2, 2)
        both = zip(head.tuples(support), head.tuples(query), strict=True)
        losses.append(F.cross_entropy(sum(contrast(*one) for one in both)[0], LABELS[0]))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.02
