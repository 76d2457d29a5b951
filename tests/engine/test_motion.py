"""Motion shares and hit rates on pictures whose answer is known."""

import pytest
import torch

from fsar_cli.engine.motion import (
    RegionMeter,
    boxes_around,
    energy_inside,
    motion_centroid,
    motion_energy,
    region_statistics,
)
from fsar_cli.tools.demo.hits import centre_inside, compare_regions, intersection_over_union


def blinking(x: int, y: int, side: int = 40, frames: int = 3, size: int = 8) -> torch.Tensor:
    """A square at (x, y) that is white in every other frame, on noise too weak to count."""
    clips = torch.randint(100, 108, (1, frames, side, side, 3), dtype=torch.uint8)
    clips[:, :, y : y + size, x : x + size] = 100
    clips[:, ::2, y : y + size, x : x + size] = 255
    return clips


def test_energy_is_where_the_square_blinks_and_nowhere_else():
    energy = motion_energy(blinking(4, 20))
    inside = energy[..., 20:28, 4:12]
    assert inside.min() > 0.5
    assert energy.sum() == pytest.approx(float(inside.sum()))
    assert motion_energy(torch.full((1, 3, 8, 8, 3), 7, dtype=torch.uint8)).sum() == 0


def test_the_share_inside_a_box_is_the_share_of_its_pixels():
    energy = motion_energy(blinking(4, 20))
    left_half = torch.tensor([0.0, 0.0, 8 / 40, 1.0]).expand(1, 3, 4)
    assert energy_inside(energy, left_half).item() == pytest.approx(0.5, abs=1e-6)
    below = torch.tensor([0.0, 24 / 40, 1.0, 1.0]).expand(1, 3, 4)
    assert energy_inside(energy, below).item() == pytest.approx(0.5, abs=1e-6)


def test_the_centroid_is_the_middle_of_the_square():
    centre = motion_centroid(motion_energy(blinking(4, 20)))
    torch.testing.assert_close(centre, torch.tensor([8 / 40, 24 / 40]).expand(1, 3, 2))
    still = motion_centroid(torch.zeros(1, 2, 8, 8))
    torch.testing.assert_close(still, torch.full((1, 2, 2), 0.5))


def test_boxes_stay_inside_the_frame():
    boxes = boxes_around(torch.tensor([[0.0, 1.0], [0.5, 0.5]]), 0.4)
    torch.testing.assert_close(boxes, torch.tensor([[0.0, 0.6, 0.4, 1.0], [0.3, 0.3, 0.7, 0.7]]))


def test_statistics_rank_oracle_region_and_centre_on_a_corner_square():
    clips = blinking(0, 0)
    boxes = boxes_around(torch.tensor([0.1, 0.1]).expand(1, 3, 2), 0.3)
    found = region_statistics(clips, boxes, torch.tensor([[True, False, False]]))
    assert found.motion_region == found.motion_oracle == pytest.approx(1)
    assert found.motion_centre == 0
    assert found.saturated == pytest.approx(1 / 3)
    assert found.offset == pytest.approx(0.35 * 2**0.5, abs=1e-6)


@pytest.mark.parametrize("group", [1, 3, 8])
def test_statistics_do_not_depend_on_how_videos_are_grouped(group):
    """Half of them stand still: their regions count, their motion, of which there is none, does not."""
    still = torch.full((1, 3, 40, 40, 3), 100, dtype=torch.uint8)
    clips = torch.cat([still, still, blinking(0, 0), still, blinking(8, 0), blinking(30, 30), still, blinking(0, 4)])
    boxes = boxes_around(torch.rand(8, 3, 2, generator=torch.Generator().manual_seed(1)), 0.3)
    saturated = torch.arange(24).reshape(8, 3) % 5 == 0
    boxes[2], boxes[4], boxes[5] = (torch.tensor(box) for box in ([0, 0, 0.3, 0.3], [0, 0, 0.3, 0.3], [0, 0, 0.3, 0.3]))
    boxes[7] = torch.tensor([0.0, 0.1, 0.3, 0.2])
    meter = RegionMeter()
    for start in range(0, 8, group):
        part = slice(start, start + group)
        meter.add(clips[part], boxes[part], saturated[part])
    found, whole = meter.result(), region_statistics(clips, boxes, saturated)
    assert vars(found) == pytest.approx(vars(whole), abs=1e-6)
    one_by_one = [region_statistics(clips[i : i + 1], boxes[i : i + 1], saturated[i : i + 1]) for i in range(8)]
    assert found.motion_region == pytest.approx(sum(one_by_one[i].motion_region for i in (2, 4, 5, 7)) / 4)
    assert found.offset == pytest.approx(sum(one.offset for one in one_by_one) / 8)
    assert found.videos == 8


def test_without_motion_its_shares_are_zero_and_without_videos_there_is_nothing():
    assert RegionMeter().result() is None
    still, boxes = torch.zeros(2, 3, 8, 8, 3, dtype=torch.uint8), torch.tensor([0.0, 0, 0.5, 0.5]).expand(2, 3, 4)
    found = region_statistics(still, boxes, torch.ones(2, 3, dtype=torch.bool))
    assert (found.motion_region, found.motion_oracle, found.saturated) == (0, 0, 1)


def test_hits_and_overlap_of_known_boxes():
    region = torch.tensor([0.0, 0.0, 0.5, 0.5])
    inside, outside = torch.tensor([0.1, 0.1, 0.3, 0.3]), torch.tensor([0.6, 0.1, 0.8, 0.3])
    assert centre_inside(region, inside)
    assert not centre_inside(region, outside)
    assert intersection_over_union(region, inside).item() == pytest.approx(0.04 / 0.25)
    assert intersection_over_union(region, outside).item() == 0
    assert intersection_over_union(region, region).item() == pytest.approx(1)


def test_comparison_tells_a_region_on_the_actor_from_a_centre_crop():
    actors = torch.tensor([0.05, 0.05, 0.15, 0.15]).expand(50, 4, 4)
    regions = boxes_around(torch.full((50, 4, 2), 0.2), 0.4)
    found = compare_regions(regions, actors)
    assert found["key region"].hit == 1
    assert found["centre crop"].hit == 0
    assert 0.02 < found["random crop"].hit < 0.5
    assert found["key region"].iou == pytest.approx(0.01 / 0.16, abs=1e-5)
