"""AdaFocus V2's patch policy: what it sees, where its patches may lie, and that it learns through the crop."""

import pytest
import torch
from core_parts import FRAMES, SIDE, SIZE, random_clips, relative_error, seeded, small_config
from torch import Tensor

from fsar_cli.core.build import build_method
from fsar_cli.core.features import KeyRegionFeatures
from fsar_cli.core.layers.policy import PatchPolicy
from fsar_cli.core.regions import crop_regions

S, P = 40, 16
MIDDLE, HALF = S / 2, (S - P) / 2
C, CELLS = 6, 5


def make(spread: float = 1.0, side: int | tuple[int, ...] = P) -> PatchPolicy:
    """A policy whose patches lie `spread` times as far apart as a new one's."""
    torch.manual_seed(0)
    policy = PatchPolicy(S, side, C, CELLS, hidden=16)
    with torch.no_grad():
        policy.place.weight *= spread
    return policy


def maps(videos: int = 3, seed: int = 1) -> Tensor:
    return torch.randn(videos, FRAMES, C, CELLS, CELLS, generator=seeded(seed))


def test_patches_stay_inside_whatever_the_policy_says() -> None:
    regions = make(spread=200.0)(maps(20))
    assert regions.centres.shape == (20, FRAMES, 2) and regions.boxes.shape == (20, FRAMES, 4)
    assert regions.boxes.min() >= 0 and regions.boxes.max() <= 1
    sides = regions.boxes[..., 2:] - regions.boxes[..., :2]
    assert torch.allclose(sides, torch.full_like(sides, P / S), atol=1e-6)
    assert (regions.centres - MIDDLE).abs().max() > 0.9 * HALF


def test_a_place_is_a_sigmoid_from_border_to_border() -> None:
    policy, x = make(spread=4.0).double(), maps().double()
    places: list[Tensor] = []
    policy.place.register_forward_hook(lambda module, args, out: places.append(out))
    centres = policy(x).centres
    assert relative_error(centres, P / 2 + (S - P) * torch.sigmoid(places[0])) < 1e-12


def test_saturated_is_where_the_slope_has_fallen_below_one_per_cent() -> None:
    policy = make(spread=20.0)
    places: list[Tensor] = []
    policy.place.register_forward_hook(lambda module, args, out: places.append(out))
    saturated = policy(maps(60)).saturated
    slope = torch.sigmoid(places[0]) * torch.sigmoid(-places[0]) * 4  # of its largest
    assert 0.05 < saturated.float().mean() < 0.95
    assert torch.equal(saturated, (slope < 0.00987).any(-1))


def test_a_patch_depends_on_its_frame_and_those_before_it() -> None:
    policy, x = make(spread=4.0), maps(1)
    before, changed = policy(x).centres, x.clone()
    changed[:, 2] += 1.0 + torch.rand(C, CELLS, CELLS, generator=seeded(2))
    moved = (policy(changed).centres - before).abs().amax((0, 2)) > 1e-4
    assert moved.tolist() == [False, False, True, True]


@pytest.mark.parametrize("training", [True, False])
def test_a_videos_patches_do_not_depend_on_its_neighbours(training: bool) -> None:
    policy, x = make(spread=4.0).train(training), maps()
    assert torch.allclose(policy(x[1:2]).centres, policy(x).centres[1:2], atol=1e-4)


def test_it_stays_float32_in_autocast_and_for_maps_in_half_precision() -> None:
    policy, x = make(spread=4.0), maps().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(policy(x).centres, policy(x.float()).centres)
    assert policy(x).centres.dtype == torch.float32


def test_patches_of_several_sides_have_the_same_place_in_their_valid_areas() -> None:
    policy, x = make(spread=4.0, side=(16, 24, 10)), maps()
    regions = policy(x)
    for side in (16, 24, 10):
        alone = make(spread=4.0, side=side)(x)
        assert torch.allclose(policy.centres(regions, side), alone.centres, atol=1e-4)
    assert torch.equal(regions.boxes, make(spread=4.0, side=16)(x).boxes)


def test_it_learns_through_the_crop_where_the_bright_spot_is() -> None:
    """On spots it has not seen: their centres lie in the patches, which they did not before."""
    policy = make()

    def scene(seed: int, videos: int) -> tuple[Tensor, Tensor]:
        spots = P / 2 + (S - P) * torch.rand(videos, FRAMES, 2, generator=seeded(seed))
        axis = torch.arange(S) + 0.5
        distance = (axis - spots[..., 0, None, None]) ** 2 + (axis[:, None] - spots[..., 1, None, None]) ** 2
        pictures = torch.exp(-distance / (2 * 6.0**2)).unsqueeze(2)  # [B,T,1,S,S]
        cells = torch.nn.functional.adaptive_avg_pool2d(pictures.flatten(0, 1), CELLS)
        return pictures, 4 * cells.unflatten(0, (videos, FRAMES)).expand(-1, -1, C, -1, -1)

    def brightness(pictures: Tensor, cells: Tensor) -> Tensor:
        return crop_regions(pictures.flatten(0, 1), policy(cells).centres.flatten(0, 1), P).mean()

    unseen = scene(999, 20)
    with torch.no_grad():
        before = brightness(*unseen).item()
    optimizer = torch.optim.Adam(policy.parameters(), 1e-2)
    for step in range(60):
        optimizer.zero_grad()
        (-brightness(*scene(step, 8))).backward()
        optimizer.step()
    assert all(p.grad.abs().max() > 0 for p in policy.parameters())
    with torch.no_grad():
        assert brightness(*unseen).item() > 1.3 * before


# In the feature branch


def features(**changes: object) -> KeyRegionFeatures:
    return build_method(small_config(**{"model.region.selector": "adafocus"} | changes)).features


@pytest.mark.usefixtures("tiny")
def test_it_takes_the_place_of_relation_and_selector() -> None:
    branch, clips = features().eval(), random_clips(2)
    found = branch(clips)
    assert isinstance(branch.selector, PatchPolicy) and branch.relation is None and found.cells is None
    expected = branch.selector(branch.global_backbone(clips))
    assert torch.equal(found.regions.centres, expected.centres)
    crops = crop_regions(clips.flatten(0, 1), expected.centres.flatten(0, 1), SIDE)
    local = branch.local_backbone(crops.unflatten(0, (2, FRAMES))).mean((3, 4))
    assert torch.allclose(found.frames[..., branch.global_dim :], local, atol=1e-5)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("stop_gradient", [True, False])
def test_the_local_loss_teaches_the_policy_and_spares_the_global_backbone_where_asked(stop_gradient: bool) -> None:
    branch = features(**{"model.region.stop_gradient": stop_gradient}).eval()
    branch(random_clips(2)).frames[..., branch.global_dim :].square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in branch.selector.parameters())
    reached = [p.grad is not None and p.grad.abs().max() > 0 for p in branch.global_backbone.parameters()]
    assert any(reached) is (not stop_gradient)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("kind", ["mask", "uniform_centre"])
def test_random_patches_are_uniform_whatever_the_kind(kind: str) -> None:
    branch = features(**{"model.region.random_probability": 1.0, "model.region.random_kind": kind}).train()
    centres = torch.cat([branch(random_clips(2), seeded(s)).regions.centres.flatten(0, 1) for s in range(12)])
    assert centres.min() < SIDE / 2 + 2 and centres.max() > SIZE - SIDE / 2 - 2
    assert 0.5 < centres.std() / ((SIZE - SIDE) / 12**0.5) < 1.5  # that of a uniform draw
