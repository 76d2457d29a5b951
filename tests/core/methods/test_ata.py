"""ATA: scores and loss against float64 loops, adaptation against torch's Adam, one episode at a time."""

import math

import pytest
import torch
from core_parts import relative_error, seeded, small_config
from torch import Tensor

from fsar_cli.core.features import Features
from fsar_cli.core.method import Encoded
from fsar_cli.core.methods.ata import (
    ATA,
    adapt,
    appearance_score,
    prototype_loss,
    similarity_gradient,
    temporal_score,
)

T, D = 4, 12


def unit_frames(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Frames of unit length [*shape,T,D], none negative, as features of a network are."""
    frames = torch.randn(*shape, T, D, generator=seeded(seed), dtype=torch.float64).relu() + 0.01
    return (frames / frames.norm(dim=-1, keepdim=True)).to(dtype)


def method(classes: int | None = None, dropout: float = 0.5) -> ATA:
    features = Features()
    features.steps = T
    features.dim = D
    torch.manual_seed(0)
    changes = {"clip.frames": T, "model.classes": classes, "model.ata.dropout": dropout}
    built = ATA.from_config(small_config(**changes), features)
    if built.classifier is not None:
        torch.nn.init.normal_(built.classifier.weight, generator=seeded(9))
    return built


def slow_appearance(similarity: Tensor) -> float:
    """[T,T'] of one video and one prototype."""
    return sum(math.log(sum(math.exp(s) for s in row)) for row in similarity.tolist()) / len(similarity)


def slow_temporal(similarity: Tensor) -> float:
    frames, total = len(similarity), 0.0
    for t, row in enumerate(similarity.tolist()):
        whole = sum(math.exp(s) for s in row)
        distances = [abs(t - u) / frames / math.sqrt(2 / 64) for u in range(len(row))]
        prior = [math.exp(-(d**2) / 2) / math.sqrt(2 * math.pi) for d in distances]
        for s, p in zip(row, prior, strict=True):
            share = math.exp(s) / whole
            total += share * math.log(share / (p / sum(prior)))
    return 2 - total / frames


def slow_entropies(similarity: Tensor) -> tuple[float, float]:
    """Mean entropy of the frames' shares, and entropy of their mean."""
    shares = [[math.exp(s) / sum(math.exp(o) for o in row) for s in row] for row in similarity.tolist()]
    mean = [sum(column) / len(shares) for column in zip(*shares, strict=True)]
    return sum(-p * math.log(p) for row in shares for p in row) / len(shares), -sum(p * math.log(p) for p in mean)


def test_scores_are_those_of_loops_over_videos_and_classes():
    similarity = 3 * torch.randn(2, 3, T, 5, T, generator=seeded(1), dtype=torch.float64)
    appearance, temporal = appearance_score(similarity), temporal_score(similarity)
    for e in range(2):
        for q in range(3):
            for n in range(5):
                assert appearance[e, q, n].item() == pytest.approx(slow_appearance(similarity[e, q, :, n]))
                assert temporal[e, q, n].item() == pytest.approx(slow_temporal(similarity[e, q, :, n]))


@pytest.mark.parametrize(("way", "shot"), [(2, 1), (4, 3)])
def test_the_gradient_of_adaptation_is_that_of_its_loss_by_autograd(way, shot):
    videos = way * shot
    similarity = 3 * torch.randn(2, T, way, videos, T, generator=seeded(6), dtype=torch.float64)  # [E,T',N,M,T]
    similarity.requires_grad_()
    truth = torch.arange(way).repeat_interleave(shot)
    loss = sum(prototype_loss(episode.permute(2, 3, 1, 0), truth, temporal=0) for episode in similarity)
    (expected,) = torch.autograd.grad(loss, similarity)
    assert relative_error(similarity_gradient(similarity.detach()), expected) < 1e-12


def slow_adaptation(support: Tensor, steps: int, lr: float) -> tuple[Tensor, Tensor]:
    """One episode [N,K,T,D]: the loss as the paper writes it, by autograd, and torch's Adam."""
    prototypes = support.mean(1).clone().requires_grad_()
    scale = torch.tensor(10.0, dtype=support.dtype, requires_grad=True)
    optimizer = torch.optim.Adam([prototypes, scale], lr=lr)
    for _ in range(steps):
        losses = []
        for n, shots in enumerate(support):
            for video in shots:
                similarity = scale * torch.einsum("td,nud->ntu", video, prototypes)
                appearance = torch.stack([s.exp().sum(1).log().mean() for s in similarity])
                shares = similarity[n].softmax(1)
                conditional = -(shares * shares.log()).sum(1).mean()
                marginal = -(shares.mean(0) * shares.mean(0).log()).sum()
                losses.append(-appearance.log_softmax(0)[n] + 0.1 * conditional - marginal)
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        optimizer.step()
    return prototypes.detach(), scale.detach()


@pytest.mark.parametrize(("way", "shot"), [(2, 1), (4, 3)])
def test_adaptation_takes_the_steps_of_torch_in_every_episode(way, shot):
    support = unit_frames(2, way, shot)
    prototypes, scales = adapt(support, 10.0, steps=10, lr=1e-2)
    for e in range(2):
        expected, scale = slow_adaptation(support[e], 10, 1e-2)
        assert (prototypes[e] - expected).abs().max() < 1e-9
        assert scales[e].item() == pytest.approx(scale.item(), rel=1e-9)
    assert (prototypes - support.mean(2)).abs().max() > 0.05  # and these steps go somewhere


def test_float32_adapts_as_float64_does():
    support, query = unit_frames(4, 5, 5), unit_frames(4, 5, seed=1)
    logits = []
    for dtype in (torch.float64, torch.float32):
        both = Encoded({"frames": support.to(dtype)}, 3), Encoded({"frames": query.to(dtype)}, 2)
        logits.append(method().eval().match(*both).logits)
    assert relative_error(logits[1], logits[0]) < 1e-4


def test_adaptation_needs_no_graph_and_leaves_the_support_as_it_was():
    support = unit_frames(2, 3, 2, dtype=torch.float32)
    before = support.clone()
    with torch.inference_mode():
        inside, _ = adapt(support.clone(), 10.0, steps=5, lr=1e-3)
    outside, _ = adapt(support.requires_grad_(), 10.0, steps=5, lr=1e-3)
    assert torch.equal(inside, outside) and not outside.requires_grad
    assert torch.equal(support.detach(), before)
    prototypes, scales = adapt(support, 10.0, steps=0, lr=1e-3)
    assert torch.equal(prototypes, support.mean(2)) and scales.tolist() == [10.0, 10.0]


def test_the_loss_of_training_is_that_of_loops_over_videos():
    similarity = torch.randn(6, T, 4, T, generator=seeded(3), dtype=torch.float64)
    truth, total = torch.tensor([0, 3, 1, 1, 2, 3]), 0.0
    for video, c in zip(similarity, truth.tolist(), strict=True):
        appearance = [slow_appearance(video[:, n]) for n in range(4)]
        conditional, marginal = slow_entropies(video[:, c])
        total += math.log(sum(map(math.exp, appearance))) - appearance[c]
        total += 0.1 * conditional - 1.0 * marginal - 0.05 * slow_temporal(video[:, c])
    assert prototype_loss(similarity, truth).item() == pytest.approx(total / 6)


def training_scores(built: ATA):
    videos = torch.randn(8, T, D, generator=seeded(4))
    encoded = built.train().embed(Encoded({"frames": videos}), seeded(0))
    return built.match(encoded.take(torch.arange(6).view(1, 3, 2)), encoded.take(torch.tensor([[6, 7]])))


def test_every_clip_of_an_episode_is_classified_among_the_training_classes():
    built = method(classes=7, dropout=0.0)
    scores, labels, classes = training_scores(built), torch.tensor([[2, 0]]), torch.tensor([[5, 1, 6]])
    videos = torch.randn(8, T, D, generator=seeded(4))
    similarity = torch.einsum("vtd,cud->vtcu", videos, built.classifier.weight.unflatten(0, (7, T)))
    expected = prototype_loss(similarity, torch.tensor([5, 5, 1, 1, 6, 6, 6, 5]))
    assert built.loss(scores, labels, "mean", classes).item() == pytest.approx(expected.item(), rel=1e-5)
    assert built.loss(scores, labels, "sum", classes).item() == pytest.approx(2 * expected.item(), rel=1e-5)
    assert built.loss(scores, labels, "mean", classes.flip(1)) != built.loss(scores, labels, "mean", classes)


def test_without_classes_the_queries_are_told_apart_by_their_appearance():
    scores, labels = training_scores(method()), torch.tensor([[2, 0]])
    assert scores.extras == {}
    loss = method().loss(scores, labels, "mean", torch.tensor([[5, 1, 6]]))
    shares = scores.parts["appearance"][0].softmax(-1)
    assert loss.item() == pytest.approx(-(shares[0, 2].log() + shares[1, 0].log()).item() / 2, rel=1e-5)


def test_dropout_and_the_classifier_belong_to_training_alone():
    built, described = method(classes=7), Encoded({"frames": torch.randn(2, T, D, generator=seeded(5))})
    first, second = (built.train().embed(described, seeded(s))["similarity"] for s in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(built.embed(described, seeded(0))["similarity"], first)
    assert "similarity" not in built.eval().embed(described)
