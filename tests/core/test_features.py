"""Feature branches: the flow of section 3.1, the first two training tricks, freezing."""

import pytest
import torch
from core_parts import FRAMES, SIDE, SIZE, random_clips, seeded, tiny_backbone

from fsar_cli.core.features import GlobalFeatures, KeyRegionFeatures
from fsar_cli.core.regions import KeyRegionSelector, crop_regions
from fsar_cli.core.relation import Relation

DRAWS = 200


def make_features(sides: object = SIDE, **options: object) -> KeyRegionFeatures:
    torch.manual_seed(0)
    networks = tiny_backbone(), tiny_backbone(), Relation(10, FRAMES)
    selector = KeyRegionSelector(SIZE, sides, gain=0.2)
    return KeyRegionFeatures(*networks, selector, **({"random_probability": 0.0} | options))


def largest_gradient(module: torch.nn.Module) -> float:
    return max((float(p.grad.abs().max()) for p in module.parameters() if p.grad is not None), default=0.0)


# Section 3.1


def test_global_features_are_the_pooled_map() -> None:
    features, clips = GlobalFeatures(tiny_backbone()).eval(), random_clips(2)
    found = features(clips)
    assert features.dim == features.global_dim == 10
    for b in range(2):
        maps = features.global_backbone(clips[b : b + 1])[0]
        assert torch.allclose(found.frames[b], maps.mean((2, 3)), atol=1e-6)
        assert torch.allclose(found.mean_maps[b], maps.mean(1), atol=1e-6)
    assert found.regions is None and found.cells is None


def test_key_region_features_are_global_and_local_side_by_side() -> None:
    """The flow of section 3.1, one step after the other, one video at a time."""
    features, clips = make_features().eval(), random_clips(2)
    found = features(clips)
    assert (features.dim, features.global_dim) == (20, 10)
    for b in range(2):
        maps = features.global_backbone(clips[b : b + 1])[0]
        cells = features.relation(maps.unsqueeze(0))[0]
        regions = features.selector(cells)
        crops = crop_regions(clips[b], regions.centres, SIDE).unsqueeze(0)
        local = features.local_backbone(crops)[0].mean((2, 3))
        assert torch.allclose(found.frames[b], torch.cat([maps.mean((2, 3)), local], -1), atol=1e-5)
        assert torch.allclose(found.regions.centres[b], regions.centres, atol=1e-4)
        assert torch.allclose(found.cells[b], cells, atol=1e-6)


def test_autocast_leaves_the_relation_and_the_region_in_float32() -> None:
    """Given the same map, bfloat16 autocast chooses the very same regions."""
    features, maps = make_features().eval(), torch.rand(2, FRAMES, 10, 4, 4, generator=seeded(1))
    expected = features.selector(features._cells(maps))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = features.selector(features._cells(maps))
    assert torch.equal(found.centres, expected.centres)


# Several sides


def test_the_local_feature_of_several_sides_is_the_mean_of_theirs() -> None:
    clips, sides = random_clips(2), (SIDE, 24, 20)
    found = make_features(sides).eval()(clips)
    alone = [make_features(side).eval()(clips) for side in sides]
    assert torch.allclose(found.frames, sum(f.frames for f in alone) / 3, atol=1e-5)
    assert not torch.allclose(found.frames, alone[0].frames, atol=1e-4)
    assert torch.equal(found.regions.boxes, alone[0].regions.boxes) and torch.equal(found.cells, alone[0].cells)


def test_local_maps_of_several_sides_are_averaged_at_the_size_of_the_first() -> None:
    clips = random_clips(2)
    found, first, second = (make_features(sides).eval()(clips).local_maps for sides in ((16, 24), 16, 24))
    assert first.shape[3:] == (2, 2) and second.shape[3:] == (3, 3)
    expected = (first[0, 1] + torch.nn.functional.adaptive_avg_pool2d(second[0, 1], 2)) / 2
    assert torch.allclose(found[0, 1], expected, atol=1e-5)


def test_a_list_of_one_side_is_that_side() -> None:
    clips = random_clips(2)
    found, expected = make_features([SIDE]).eval()(clips), make_features(SIDE).eval()(clips)
    assert torch.equal(found.frames, expected.frames) and torch.equal(found.local_maps, expected.local_maps)


# What methods may keep


def test_joined_maps_are_global_and_local_side_by_side_at_the_global_size() -> None:
    found = make_features().eval()(random_clips(2))
    joined = found.joined()
    assert joined.shape == (2, FRAMES, 20, 4, 4)
    assert torch.allclose(joined[:, :, :10], found.maps, atol=1e-6)
    doubled = found.local_maps.repeat_interleave(2, 3).repeat_interleave(2, 4)  # 2 x 2 cells become 4 x 4
    assert torch.allclose(joined[:, :, 10:], doubled, atol=1e-6)
    plain = GlobalFeatures(tiny_backbone()).eval()(random_clips(2))
    assert torch.allclose(plain.joined(), plain.maps, atol=1e-6)


# Trick 1: stop gradient


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_the_local_loss_teaches_the_relation_and_spares_the_global_backbone_where_asked(stop_gradient: bool) -> None:
    features = make_features(stop_gradient=stop_gradient).eval()
    found = features(random_clips(2))
    assert not found.regions.saturated.all()
    found.frames[..., features.global_dim :].square().sum().backward()
    assert largest_gradient(features.relation) > 0
    assert largest_gradient(features.local_backbone) > 0
    assert (largest_gradient(features.global_backbone) > 0) is (not stop_gradient)


def test_the_global_loss_teaches_the_global_backbone_alone() -> None:
    features = make_features().eval()
    features(random_clips(2)).frames[..., : features.global_dim].square().sum().backward()
    assert largest_gradient(features.global_backbone) > 0
    assert largest_gradient(features.relation) == largest_gradient(features.local_backbone) == 0


# Trick 2: random regions


def count_random_forwards(features: KeyRegionFeatures, generator: torch.Generator) -> float:
    cells = torch.rand(1, FRAMES, 4, 4, generator=seeded(2))
    chosen = features.selector(cells).centres
    random = [not torch.equal(features._regions(cells, generator).centres, chosen) for _ in range(DRAWS)]
    return sum(random) / DRAWS


@pytest.mark.parametrize("kind", ["mask", "uniform_centre"])
@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_regions_are_random_in_the_asked_share_of_training_alone(kind: str, probability: float) -> None:
    features = make_features(random_probability=probability, random_kind=kind)
    tolerance = 0.0 if probability in (0, 1) else 0.12  # over three standard deviations
    assert abs(count_random_forwards(features.train(), seeded(3)) - probability) <= tolerance
    assert count_random_forwards(features.eval(), seeded(3)) == 0


@pytest.mark.parametrize("kind", ["mask", "uniform_centre"])
def test_random_regions_follow_the_generator_and_differ_between_frames(kind: str) -> None:
    features, clips = make_features(random_probability=1.0, random_kind=kind).train(), random_clips(2)
    first, again, other = (features(clips, seeded(s)).regions.centres for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(first.flatten(0, 1).unique(dim=0)) == 2 * FRAMES


def test_a_random_region_teaches_nothing_to_the_relation() -> None:
    features = make_features(random_probability=1.0).train()
    features(random_clips(2), seeded(0)).frames.square().sum().backward()
    assert largest_gradient(features.relation) == 0
    assert largest_gradient(features.local_backbone) > 0


# Freezing


def batch_statistics(features: torch.nn.Module) -> list[torch.Tensor]:
    return [b.clone() for n, b in features.named_buffers() if "running" in n]


def train_once(features: KeyRegionFeatures) -> None:
    features(random_clips(2), seeded(0)).frames.square().sum().backward()


def same(before: list[torch.Tensor], after: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_frozen_backbone_has_no_gradients_and_its_statistics_rest() -> None:
    """From construction on, not only after the first train()."""
    features = make_features(freeze_backbone=True)
    for _ in range(2):
        before = batch_statistics(features)
        train_once(features)
        assert same(before, batch_statistics(features))
        features.train()
    assert all(p.grad is None for b in features.backbones() for p in b.parameters())
    assert largest_gradient(features.relation) > 0
    assert features.training and not features.local_backbone.training


def test_frozen_batch_norm_keeps_its_statistics_while_the_backbone_learns() -> None:
    features = make_features(freeze_batchnorm=True)
    for _ in range(2):
        before = batch_statistics(features)
        train_once(features)
        assert same(before, batch_statistics(features))
        features.train()
    assert all(p.grad is not None for b in features.backbones() for p in b.parameters())


def test_without_freezing_statistics_move_in_training_and_rest_in_evaluation() -> None:
    features = make_features()
    before = batch_statistics(features)
    train_once(features)
    assert not same(before, batch_statistics(features))
    before = batch_statistics(features.eval())
    train_once(features)
    assert same(before, batch_statistics(features))


def test_measuring_the_map_thaws_nothing() -> None:
    features = make_features(freeze_batchnorm=True)
    modes = [m.training for m in features.modules()]
    assert features.global_backbone.shape(FRAMES, SIZE) == (FRAMES, 10, 4, 4)
    assert [m.training for m in features.modules()] == modes
