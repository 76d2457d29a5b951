"""STRM against loops written from the recipe: patches, enrichments, nearest tuples, and what is trained."""

import math
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from core_parts import FRAMES, filled, normal, random_clips, relative_error, seeded, small_config, split_episode
from torch import Tensor

from fsar_cli.core.build import build_method
from fsar_cli.core.features import FrameFeatures
from fsar_cli.core.layers.basics import position_encoding
from fsar_cli.core.layers.nearest import NearestTuples, distances, nearest_distance
from fsar_cli.core.method import Encoded
from fsar_cli.core.methods.strm import STRM, FrameEnrichment, PatchEnrichment
from fsar_cli.errors import UsageError

SLOW = 1e-5  # of the largest number: float32 beside float64 loops
LABELS = torch.tensor([[0, 1, 1]])


@pytest.fixture
def method(tiny: None) -> STRM:
    built = build_method(small_config(**{"model.method": "strm"}))
    assert isinstance(built, STRM)
    return filled(built)


# Slow references, one number or one vector at a time, in float64


def linear(layer: torch.nn.Linear, x: Tensor) -> Tensor:
    return layer.weight.double() @ x + layer.bias.double()


def slow_patches(module: PatchEnrichment, patches: Tensor) -> Tensor:
    """Patches [P,D] of one frame."""
    x = (patches + 0.1 * position_encoding(*patches.shape)).double()
    result = []
    for own in x:
        energies = [(linear(module.query, own) @ linear(module.key, other)).item() for other in x]
        total = sum(math.exp(e - max(energies)) for e in energies)
        seen = sum(
            math.exp(e - max(energies)) / total * linear(module.value, other)
            for e, other in zip(energies, x, strict=True)
        )
        out = module.gamma.double() * seen + own
        first, second, third = module.mix[0], module.mix[2], module.mix[4]
        result.append(out + linear(third, linear(second, linear(first, out).clamp(min=0)).clamp(min=0)))
    return torch.stack(result)


def slow_frames(module: FrameEnrichment, frames: Tensor) -> Tensor:
    """Frames [T,D] of one clip."""
    x = (frames + 0.1 * position_encoding(*frames.shape)).double()
    over, channels = module.over_frames, module.over_channels
    columns = [x[:, d] + linear(over[2], linear(over[0], x[:, d]).clamp(min=0)) for d in range(x.shape[1])]
    mixed = torch.stack(columns, dim=1)
    return torch.stack([row + linear(channels[2], linear(channels[0], row).clamp(min=0)) for row in mixed])


def slow_similarity(head: NearestTuples, support: Tensor, query: Tensor) -> Tensor:
    """Frames [N,K,T,D] and [Q,T,D] -> distances [Q,N]."""
    result = torch.zeros(len(query), len(support), dtype=torch.float64)
    for card, layer in head.cards.items():
        size = int(card.removeprefix("card"))
        space = lambda frames: [  # noqa: E731
            linear(layer, torch.cat([frames[i].double() for i in chosen])).clamp(min=0)  # noqa: B023
            for chosen in combinations(range(len(frames)), size)  # noqa: B023
        ]
        for q, video in enumerate(query):
            for n, shots in enumerate(support):
                tuples = [t for shot in shots for t in space(shot)]
                nearest = [min((t - other).norm().item() for other in tuples) for t in space(video)]
                result[q, n] += sum(nearest) / len(nearest) / len(head.cards)
    return result


def slow_grid(maps: Tensor, side: int) -> Tensor:
    """Map [C,H,W] -> [C,side,side]."""
    edges = [[(i * n // side, -(-(i + 1) * n // side)) for i in range(side)] for n in maps.shape[1:]]
    rows = [torch.stack([maps[:, a:b, c:d].amax((1, 2)) for c, d in edges[1]], -1) for a, b in edges[0]]
    return torch.stack(rows, 1)


# Parts


@pytest.mark.parametrize("height,width", [(7, 7), (3, 9), (1, 1)])
def test_patches_are_the_largest_values_in_a_grid(method: STRM, height: int, width: int) -> None:
    maps = normal(1, 3, 5, height, width)
    expected = torch.stack([slow_grid(one, 4).flatten(1) for one in maps[0]])
    assert torch.equal(method.keep(FrameFeatures(maps.mean((3, 4)), maps))["patches"][0], expected)


def test_patches_of_frame_and_region_lie_side_by_side(method: STRM) -> None:
    maps, local = normal(2, 3, 6, 7, 7), normal(2, 3, 5, 4, 4, seed=1)
    patches = method.keep(FrameFeatures(maps.mean((3, 4)), maps, local))["patches"]
    assert patches.shape == (2, 3, 11, 16)
    assert torch.equal(patches[1, 2, 6:, 9], local[1, 2, :, 2, 1])  # patch 9 is row 2, column 1
    assert torch.equal(patches[1, 2, :6, 9], slow_grid(maps[1, 2], 4)[:, 2, 1])


def test_patch_enrichment_is_the_plain_loop() -> None:
    module, patches = filled(PatchEnrichment(16, 6)), normal(2, 3, 16, 6, seed=2)
    found = module(patches)
    for b in range(2):
        for t in range(3):
            assert relative_error(found[b, t], slow_patches(module, patches[b, t])) < SLOW


def test_frame_enrichment_is_the_plain_loop() -> None:
    module, frames = filled(FrameEnrichment(5, 6)), normal(3, 5, 6, seed=2)
    found = module(frames)
    for b in range(3):
        assert relative_error(found[b], slow_frames(module, frames[b])) < SLOW


def test_attention_among_patches_fades_in_from_nothing() -> None:
    module, patches = PatchEnrichment(4, 6).eval(), normal(1, 4, 6)
    placed = patches + module.positions.encoding
    torch.testing.assert_close(module(patches), placed + module.mix(placed))


@pytest.mark.parametrize("shot,cardinalities", [(1, (2, 3)), (3, (1,)), (2, (2,))])
def test_similarity_is_the_plain_loop(shot: int, cardinalities: tuple[int, ...]) -> None:
    head = filled(NearestTuples("s", 6, 4, out_dim=5, cardinalities=cardinalities))
    videos = normal(3 * shot + 2, 4, 6)
    support, query = split_episode(Encoded(head.encode(videos)), 3, shot)
    expected = slow_similarity(head, videos[: 3 * shot].unflatten(0, (3, shot)), videos[3 * shot :])
    assert relative_error(head.distance(support, query)[0], expected) < 1e-4  # small ones are differences of large ones


def test_distances_keep_their_digits_far_from_the_origin() -> None:
    """All tuples share a part a thousand times as large as what tells them apart."""
    support, query = 1000 + normal(1, 3, 2, 6, 32), 1000 + normal(1, 2, 6, 32, seed=1)
    pairs = (query[:, :, :, None, None, None].double() - support[:, None, None].double()).norm(dim=-1)
    assert relative_error(nearest_distance(support, query), pairs.amin((4, 5)).mean(2)) < 1e-4
    plain = torch.cdist(query.flatten(1, 2).double(), support.flatten(1, 3).double())
    assert relative_error(distances(query.flatten(1, 2), support.flatten(1, 3)), plain) < 1e-4


@pytest.mark.parametrize("level,spread", [(0.0, 1.0), (10.0, 1.0), (0.0, 0.0), (1e4, 0.0)])
def test_equal_tuples_have_no_distance_and_no_gradient(level: float, spread: float) -> None:
    """Exactly none, although rounding leaves something of their squares."""
    support = (level + spread * normal(1, 2, 1, 28, 1024)).requires_grad_()
    distance = nearest_distance(support, support.detach()[:, 0].roll(1, 2))
    distance[0, 0, 0].backward()
    assert distance[0, 0, 0] == 0 and distance[0, 0, 1] >= 30 * spread
    assert support.grad.count_nonzero() == 0


def test_gradients_of_distances_are_those_of_the_plain_form() -> None:
    support, query = normal(2, 3, 2, 4, 5).double(), normal(2, 2, 4, 5, seed=1).double()
    fast, plain = support.clone().requires_grad_(), support.clone().requires_grad_()
    nearest_distance(fast, query)[0, 1].square().sum().backward()
    pairs = (query[:, :, :, None, None, None] - plain[:, None, None]).norm(dim=-1)
    pairs.amin((4, 5)).mean(2)[0, 1].square().sum().backward()
    assert relative_error(fast.grad, plain.grad) < 1e-10


# The method


def test_the_method_is_its_parts_in_order(method: STRM) -> None:
    maps = normal(5, FRAMES, 10, 7, 7).abs()
    found = FrameFeatures(maps.mean((3, 4)), maps)
    with torch.no_grad():
        support, query = split_episode(method.embed(Encoded(method.keep(found))), 2, 2)
        scores = method.match(support, query)
        enriched = method.patches(method.keep(found)["patches"].transpose(2, 3)).mean(2)
        for name, head, frames in (
            ("main", method.head, method.frames(enriched)),
            ("similarity", method.similarity, enriched),
        ):
            expected = -head.distance(*split_episode(Encoded(head.encode(frames)), 2, 2))
            assert relative_error(scores.parts[name], expected) < SLOW, name
    assert relative_error(scores.logits, scores.parts["main"] + 0.1 * scores.parts["similarity"]) < SLOW


def test_the_loss_is_two_cross_entropies(method: STRM) -> None:
    support, query = split_episode(method.encode(random_clips(7)), 2, 2)
    scores = method.match(support, query)
    plain = [F.cross_entropy(scores.parts[p][0], LABELS[0], reduction="sum") for p in ("main", "similarity")]
    torch.testing.assert_close(method.loss(scores, LABELS), plain[0] + 0.1 * plain[1])


def test_the_second_head_is_saved_and_learns_to_tell_classes_apart(method: STRM) -> None:
    """At the authors' it is neither: the loss alone of the second head goes down by training that head alone."""
    head = method.similarity
    assert {f"similarity.{name}" for name in head.state_dict()} <= set(method.state_dict())
    frames = normal(7, FRAMES, 10)
    optimizer, losses = torch.optim.SGD(head.parameters(), lr=0.05), []
    for _ in range(20):
        support, query = split_episode(Encoded(head.encode(frames)), 2, 2)
        losses.append(F.cross_entropy(-head.distance(support, query)[0], LABELS[0]))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("dropped", ["patches", "frames", "head", "similarity"])
def test_dropout_works_in_training_and_never_at_test(method: STRM, dropped: str) -> None:
    for name in ("patches", "frames", "head", "similarity"):
        part = getattr(method, name)
        getattr(part, "positions", part).dropout = 0.5 if name == dropped else 0.0
    described = Encoded({"patches": normal(2, FRAMES, 10, 16)})
    with torch.no_grad():
        still = [method.eval().embed(described, seeded(s)).tensors for s in (0, 1)]
        moved = [method.train().embed(described, seeded(s)).tensors for s in (0, 1)]
    assert all(torch.equal(still[0][key], still[1][key]) for key in still[0])
    changed = {key.partition(".")[0] for key in moved[0] if not torch.equal(moved[0][key], moved[1][key])}
    everything = {"main", "similarity"}
    assert changed == {"patches": everything, "frames": {"main"}, "head": {"main"}}.get(dropped, {"similarity"})


def test_clips_of_another_length_are_refused(method: STRM) -> None:
    with pytest.raises(UsageError, match=f"built for clips of {FRAMES} frames, not {FRAMES + 1}"):
        method.embed(Encoded({"patches": normal(1, FRAMES + 1, 10, 16)}))
    with pytest.raises(UsageError, match="nearest tuples was built for clips"):
        method.similarity.encode(normal(1, FRAMES + 1, 10))
