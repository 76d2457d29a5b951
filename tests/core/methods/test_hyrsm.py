"""HyRSM: each query's task written out in float64 loops, from the frames on."""

import math

import pytest
import torch
from core_parts import relative_error, seeded, small_config
from oracles.matching import hausdorff_distance
from torch import Tensor

from fsar_cli.core.features import Features
from fsar_cli.core.method import Encoded
from fsar_cli.core.methods.hyrsm import HyRSM
from fsar_cli.errors import UsageError

T, D, WAY, SHOT, QUERIES = 4, 16, 3, 2, 2


def method(classes: int | None = None, dim: int = D, class_weight: float | None = None) -> HyRSM:
    features = Features()
    features.steps = T
    features.dim = dim
    torch.manual_seed(0)
    changes = {"clip.frames": T, "model.classes": classes, "model.class_weight": class_weight}
    built = HyRSM.from_config(small_config(**changes), features)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.3 * torch.randn(parameter.shape)
    return built.double()


def videos(count: int, dim: int = D, seed: int = 0) -> Tensor:
    return torch.randn(count, T, dim, generator=seeded(seed), dtype=torch.float64)


def slow_attention(rows: Tensor, weight: Tensor, heads: int = 8) -> Tensor:
    """Rows [L,D] attend to one another, head by head and row by row."""
    query, key, value = (rows @ part.T for part in weight.chunk(3))
    width, found = query.shape[1] // heads, torch.zeros_like(query)
    for h in range(heads):
        some = slice(h * width, (h + 1) * width)
        for i in range(len(rows)):
            logits = [float(query[i, some] @ key[j, some]) / math.sqrt(width) for j in range(len(rows))]
            whole = sum(math.exp(x) for x in logits)
            found[i, some] = sum(math.exp(x) / whole * value[j, some] for j, x in enumerate(logits))
    return found


def slow_logit(built: HyRSM, support: Tensor, query: Tensor) -> Tensor:
    """Logits [N] of one query [T,D] in its own task with support [N,K,T,D]; nothing is computed beforehand."""

    def within(frames: Tensor) -> Tensor:
        x, layer = frames + built.positions.encoding.double(), built.within
        found = slow_attention(layer.norm(x), layer.project.weight) @ layer.out.weight.T + layer.out.bias
        return (x + found).relu()

    own = within(query)
    classes = [torch.stack([within(video) for video in shots]).mean(0) for shots in support]
    tokens, across = torch.stack([frames.mean(0) for frames in (*classes, own)]), built.across
    found = slow_attention(tokens, across.project.weight) @ across.out.weight.T + across.out.bias
    found = across.norm(found + tokens).relu()

    def joined(frames: Tensor, context: Tensor) -> Tensor:
        return torch.stack([across.join(torch.cat([frame, context])) for frame in frames])

    mine = joined(own, found[-1])
    return torch.tensor([-hausdorff_distance(mine, joined(c, found[n])) for n, c in enumerate(classes)])


@torch.no_grad()
@pytest.mark.parametrize("dim", [D, 20])
def test_each_query_is_matched_in_a_task_of_its_own(dim):
    built, episodes = method(dim=dim).eval(), 2
    frames = videos(episodes * (WAY * SHOT + QUERIES), dim)
    bank = built.embed(Encoded({"frames": frames}))
    support = torch.arange(episodes * WAY * SHOT).view(episodes, WAY, SHOT)
    query = torch.arange(support.numel(), len(frames)).view(episodes, QUERIES)
    logits = built.match(bank.take(support), bank.take(query)).logits
    for e in range(episodes):
        for q in range(QUERIES):
            expected = slow_logit(built, frames[support[e]], frames[query[e, q]])
            assert relative_error(logits[e, q], expected) < 1e-6


def test_all_frames_of_the_episode_are_classified():
    built = method(classes=6, class_weight=0.25).train()
    encoded = built.embed(Encoded({"frames": videos(8)}), seeded(0))
    scores = built.match(encoded.take(torch.arange(6).view(1, 3, 2)), encoded.take(torch.tensor([[6, 7]])))
    labels, classes = torch.tensor([[1, 1]]), torch.tensor([[4, 0, 5]])
    truth, total = [4, 4, 0, 0, 5, 5, 0, 0], 0.0
    for video, c in zip(encoded["class_scores"], truth, strict=True):
        for frame in video.tolist():
            total += (math.log(sum(map(math.exp, frame))) - frame[c]) / (8 * T)
    plain = -sum(scores.logits[0, q].log_softmax(0)[1].item() for q in range(2))
    assert built.loss(scores, labels, "mean", classes).item() == pytest.approx(plain / 2 + 0.25 * total)
    assert built.loss(scores, labels, "sum", classes).item() == pytest.approx(plain + 0.25 * 2 * total)
    assert built.loss(scores, labels, "sum").item() == pytest.approx(plain)


def test_in_training_the_generator_drops_and_in_evaluation_nothing_does():
    built, described = method(classes=6), Encoded({"frames": videos(2)})
    first, again, other = (built.train().embed(described, seeded(s))["frames"] for s in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    built.eval()
    assert torch.equal(built.embed(described, seeded(0))["frames"], built.embed(described, seeded(1))["frames"])
    assert "class_scores" not in built.embed(described)


def test_clips_of_another_length_are_refused():
    with pytest.raises(UsageError, match="HyRSM was built for clips of 4 frames, not 5"):
        method().embed(Encoded({"frames": torch.zeros(1, 5, D, dtype=torch.float64)}))
