"""Key-region selection: eq. 4-8 against loops, directions, clamping and its gradients, precision."""

import math

import numpy as np
import pytest
import torch
from core_parts import relative_error, seeded

from fsar_cli.core.regions import KeyRegionSelector, crop_regions, grid_offsets

S, P = 40, 16
MIDDLE, HALF = S / 2, (S - P) / 2
ROWS, COLS = 3, 5  # not square: a swap of x and y is seen
WEIGHTS, CLAMPS = ("raw", "softmax", "l1"), ("hard", "straight_through", "tanh")


def make_cells(frames: int = 64, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(frames, ROWS, COLS, generator=seeded(3))


def hot_cell(row: int, col: int, value: float = 0.5) -> torch.Tensor:
    cells = torch.zeros(ROWS, COLS)
    cells[row, col] = value
    return cells


def slow_centre(cells: np.ndarray, weights: str, gain: float, clamp: str) -> tuple[float, float]:
    """Eq. 4-7 for one frame, one cell at a time."""
    low, high = P / 2, S - P / 2
    flat = cells.reshape(-1)
    if weights == "softmax":
        cells = np.exp(cells) / sum(math.exp(u) for u in flat)
    if weights == "l1":
        cells = cells / sum(abs(u) for u in flat)
    total_x = total_y = 0.0
    for k in range(ROWS):
        for j in range(COLS):
            x = low + j / (COLS - 1) * (high - low)
            y = low + k / (ROWS - 1) * (high - low)
            total_x += gain * cells[k, j] * (x - MIDDLE)
            total_y += gain * cells[k, j] * (y - MIDDLE)
    if clamp == "tanh":
        return MIDDLE + HALF * math.tanh(total_x / HALF), MIDDLE + HALF * math.tanh(total_y / HALF)
    return min(max(MIDDLE + total_x, low), high), min(max(MIDDLE + total_y, low), high)


def slow_crop(image: np.ndarray, x_c: float, y_c: float, side: int) -> np.ndarray:
    """Eq. 8 written out: four neighbours, four products; zero outside the image."""
    height, width = image.shape[-2:]
    crop = np.zeros((*image.shape[:-2], side, side))
    for r, c in np.ndindex(side, side):
        x, y = x_c - side / 2 + c, y_c - side / 2 + r
        x0, y0 = math.floor(x), math.floor(y)
        for dx, dy in ((0, 0), (0, 1), (1, 0), (1, 1)):
            share_x = x0 - x + 1 if dx == 0 else x - x0
            share_y = y0 - y + 1 if dy == 0 else y - y0
            if 0 <= x0 + dx < width and 0 <= y0 + dy < height:
                crop[..., r, c] += image[..., y0 + dy, x0 + dx] * share_x * share_y
    return crop


# Grid, eq. 4-5


def test_the_papers_grid_has_7_by_7_points_16_pixels_apart() -> None:
    grid = grid_offsets(7, 7, 224, 128).reshape(7, 7, 2)
    assert grid[0, 0].tolist() == [-48, -48]
    assert grid[6, 6].tolist() == [48, 48]
    assert torch.equal(grid[1:, :, 1] - grid[:-1, :, 1], torch.full((6, 7), 16.0))
    assert torch.equal(grid[:, 1:, 0] - grid[:, :-1, 0], torch.full((7, 6), 16.0))


def test_grid_points_run_along_x_first() -> None:
    grid = grid_offsets(ROWS, COLS, S, P)
    assert grid[:COLS, 0].tolist() == [-12, -6, 0, 6, 12]
    assert grid[:COLS, 1].tolist() == [-12] * COLS
    assert grid[::COLS, 1].tolist() == [-12, 0, 12]


def test_a_map_of_one_cell_cannot_move_the_region() -> None:
    assert grid_offsets(1, 1, S, P).tolist() == [[0, 0]]
    assert KeyRegionSelector(S, P)(torch.full((2, 1, 1), 7.0)).centres.tolist() == [[MIDDLE, MIDDLE]] * 2


def test_two_cells_a_side_are_the_corners_of_the_valid_area() -> None:
    assert grid_offsets(2, 2, S, P).tolist() == [[-HALF, -HALF], [HALF, -HALF], [-HALF, HALF], [HALF, HALF]]


# Centre, eq. 6-7


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("clamp", CLAMPS)
@pytest.mark.parametrize("gain", [1.0, 3.0])
def test_centres_are_equations_4_to_7(weights: str, clamp: str, gain: float) -> None:
    cells = make_cells(scale=0.5)
    found = KeyRegionSelector(S, P, weights=weights, clamp=clamp, gain=gain)(cells).centres
    expected = [slow_centre(c, weights, gain, clamp) for c in cells.double().numpy()]
    assert relative_error(found, torch.tensor(expected, dtype=torch.float64)) < 1e-6


def test_double_precision_is_kept_to_the_last_digit() -> None:
    cells = make_cells(scale=0.1).double()
    expected = torch.tensor([slow_centre(c, "raw", 1.0, "hard") for c in cells.numpy()], dtype=torch.float64)
    found = KeyRegionSelector(S, P)(cells).centres
    assert found.dtype == torch.float64
    assert relative_error(found, expected) < 1e-14


def test_grid_points_are_as_precise_as_the_cells() -> None:
    """Steps of 24 / 7 and 24 / 5 pixels, which no float has exactly."""
    cells = torch.zeros(8, 6, dtype=torch.float64)
    cells[2, 4] = 1.0
    x, y = KeyRegionSelector(S, P)(cells).centres.tolist()
    assert (x, y) == pytest.approx((MIDDLE - HALF + 4 * 24 / 5, MIDDLE - HALF + 2 * 24 / 7), rel=1e-15)


def test_the_region_moves_towards_the_hot_cell() -> None:
    """Top right corner of a map that is wider than high: x grows, y falls; then left, middle row: x falls, y stays."""
    x, y = KeyRegionSelector(S, P)(hot_cell(0, COLS - 1)).centres.tolist()
    assert x > MIDDLE > y
    x, y = KeyRegionSelector(S, P)(hot_cell(1, 0)).centres.tolist()
    assert x < MIDDLE and y == pytest.approx(MIDDLE, abs=1e-5)


@pytest.mark.parametrize("clamp", CLAMPS)
def test_boxes_stay_in_the_unit_square_around_their_centres(clamp: str) -> None:
    regions = KeyRegionSelector(S, P, clamp=clamp)(make_cells(scale=30.0))
    assert regions.saturated.any()
    assert regions.boxes.min() >= 0 and regions.boxes.max() <= 1
    sides = regions.boxes[:, 2:] - regions.boxes[:, :2]
    assert torch.allclose(sides, torch.full_like(sides, P / S), atol=1e-6)
    assert torch.allclose((regions.boxes[:, 2:] + regions.boxes[:, :2]) / 2, regions.centres / S, atol=1e-6)


def test_gain_scales_before_the_clamp() -> None:
    cells = make_cells(scale=0.3)
    gained, plain = KeyRegionSelector(S, P, gain=4.0)(cells), KeyRegionSelector(S, P)(4 * cells)
    assert torch.allclose(gained.centres, plain.centres, atol=1e-5)
    assert torch.equal(gained.saturated, plain.saturated)
    assert gained.saturated.any() and not gained.saturated.all()


def test_a_learnt_gain_starts_at_one_and_learns() -> None:
    cells = make_cells(scale=0.1)
    select = KeyRegionSelector(S, P, gain="learnt")
    centres = select(cells).centres
    assert torch.equal(centres, KeyRegionSelector(S, P)(cells).centres)
    centres.square().sum().backward()
    assert select.gain.grad.abs() > 0
    assert list(select.state_dict()) == ["gain"]
    assert not list(KeyRegionSelector(S, P, gain=2.0).parameters())


# Saturation


def gradients_per_axis(select: KeyRegionSelector, cells: torch.Tensor) -> torch.Tensor:
    """Largest gradient magnitude of x and of y of each frame's centre: [B,2]."""
    cells = cells.clone().requires_grad_()
    centres = select(cells).centres
    axes = [torch.autograd.grad(centres[:, a].sum(), cells, retain_graph=True)[0] for a in (0, 1)]
    return torch.stack([g.abs().amax((1, 2)) for g in axes], dim=-1)


def test_saturated_means_no_gradient_through_the_hard_clamp() -> None:
    select, cells = KeyRegionSelector(S, P), make_cells(scale=0.4)
    saturated = select(cells).saturated
    assert 0.2 < saturated.float().mean() < 0.9
    assert torch.equal(saturated, (gradients_per_axis(select, cells) == 0).any(-1))


@pytest.mark.parametrize("corner", [(0, 0), (ROWS - 1, COLS - 1)])
def test_a_centre_just_on_the_border_has_no_gradient_and_counts_as_saturated(corner: tuple[int, int]) -> None:
    select, cells = KeyRegionSelector(S, P), hot_cell(*corner, value=1.0).unsqueeze(0)
    regions = select(cells)
    assert ((regions.centres - MIDDLE).abs() == HALF).all() and regions.saturated.all()
    assert gradients_per_axis(select, cells).tolist() == [[0, 0]]
    cells *= 1 - 1e-6
    assert not select(cells).saturated.any() and (gradients_per_axis(select, cells) > 0).all()


def test_straight_through_has_the_hard_centres_and_the_unclamped_gradient() -> None:
    cells = make_cells(scale=5.0)
    hard, through = (KeyRegionSelector(S, P, clamp=c) for c in ("hard", "straight_through"))
    assert torch.allclose(through(cells).centres, hard(cells).centres, atol=1e-5)
    assert torch.equal(through(cells).saturated, hard(cells).saturated)
    assert torch.allclose(gradients_per_axis(through, cells), torch.full((len(cells), 2), HALF))


def test_tanh_never_reaches_the_border_and_never_loses_its_gradient() -> None:
    select, cells = KeyRegionSelector(S, P, clamp="tanh"), make_cells(scale=0.6)
    regions = select(cells)
    assert ((regions.centres - MIDDLE).abs() < HALF).all()
    assert (gradients_per_axis(select, cells) > 0).all()


def test_tanh_counts_as_saturated_where_its_slope_is_below_one_per_cent() -> None:
    select, cells = KeyRegionSelector(S, P, clamp="tanh"), make_cells(256, scale=1.5)
    slope = gradients_per_axis(select, cells) / HALF
    saturated = select(cells).saturated
    assert 0.1 < saturated.float().mean() < 0.9
    assert torch.equal(saturated, (slope < 0.00987).any(-1))


def test_a_still_video_gives_the_middle_and_finite_gradients() -> None:
    """Zero cells (and rounding noise instead of zeros) with `l1`, whose denominator could be zero."""
    select = KeyRegionSelector(S, P, weights="l1")
    cells = torch.zeros(2, ROWS, COLS, requires_grad=True)
    centres = select(cells).centres
    assert centres.tolist() == [[MIDDLE, MIDDLE]] * 2
    centres.sum().backward()
    assert cells.grad.isfinite().all()
    assert torch.allclose(select(hot_cell(0, 0, 1e-13)).centres, torch.tensor([MIDDLE, MIDDLE]), atol=1e-4)


def test_by_their_share_of_the_sum_weak_maps_move_a_region_as_far_as_strong_ones() -> None:
    select, cells = KeyRegionSelector(S, P, weights="l1"), make_cells()
    assert torch.allclose(select(1e-6 * cells).centres, select(cells).centres, atol=1e-4)


# Several sides


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("clamp", CLAMPS)
def test_each_of_several_sides_has_the_centre_that_the_equations_give_for_it_alone(weights: str, clamp: str) -> None:
    cells, sides, options = make_cells(scale=0.5), (P, 10, 24), {"weights": weights, "clamp": clamp, "gain": 1.7}
    select = KeyRegionSelector(S, sides, **options)
    regions = select(cells)
    for side in sides:
        alone = KeyRegionSelector(S, side, **options)(cells)
        assert relative_error(select.centres(regions, side), alone.centres.double()) < 1e-6
        assert torch.equal(regions.saturated, alone.saturated)


def test_boxes_are_those_of_the_first_side() -> None:
    cells = make_cells(scale=0.2)
    first, other = KeyRegionSelector(S, (24, 10))(cells), KeyRegionSelector(S, (10, 24))(cells)
    assert torch.equal(first.boxes, KeyRegionSelector(S, 24)(cells).boxes)
    assert torch.equal(other.boxes, KeyRegionSelector(S, 10)(cells).boxes)


def test_random_regions_fill_the_valid_area_of_each_side_and_follow_the_generator() -> None:
    select = KeyRegionSelector(S, (P, 10, 24))
    regions = select.uniform((1000,), torch.device("cpu"), seeded(5))
    again = KeyRegionSelector(S, P).uniform((1000,), torch.device("cpu"), seeded(5))
    assert torch.equal(regions.centres, again.centres)
    assert not regions.saturated.any()
    for side in select.sides:
        centres = select.centres(regions, side)
        assert centres.min() >= side / 2 - 1e-4 and centres.max() <= S - side / 2 + 1e-4
        assert (centres.amax(0) - centres.amin(0) > 0.95 * (S - side)).all()


def test_random_regions_have_the_axes_asked_for_and_a_mark_each() -> None:
    regions = KeyRegionSelector(S, P).uniform((3, 4), torch.device("cpu"), seeded(5))
    assert regions.centres.shape == (3, 4, 2) and regions.boxes.shape == (3, 4, 4)
    assert regions.saturated.shape == (3, 4) and regions.saturated.dtype == torch.bool


def test_gradients_reach_the_cells_through_every_side() -> None:
    select = KeyRegionSelector(S, (P, 10))
    for side in select.sides:
        cells = make_cells(scale=0.05).requires_grad_()
        select.centres(select(cells), side).square().sum().backward()
        assert (cells.grad.abs().amax((1, 2)) > 0).all()


# Crop, eq. 8


@pytest.mark.parametrize("side", [16, 15])
def test_crops_are_equation_8_at_fractional_centres(side: int) -> None:
    image = torch.rand(6, 2, S, S, generator=seeded(7))
    low, high = side / 2, S - side / 2
    centres = low + (high - low) * torch.rand(6, 2, generator=seeded(8))
    expected = [slow_crop(i, x, y, side) for i, (x, y) in zip(image.double().numpy(), centres.tolist(), strict=True)]
    assert relative_error(crop_regions(image, centres, side), np.stack(expected)) < 2e-5


def test_crops_at_integer_centres_are_slices_and_x_is_the_column() -> None:
    image = torch.rand(1, 3, 224, 224, generator=seeded(9))
    for x, y in ((64, 64), (160, 160), (64, 160), (70, 131), (112, 90)):
        crop = crop_regions(image, torch.tensor([[float(x), float(y)]]), 128)
        assert torch.allclose(crop, image[:, :, y - 64 : y + 64, x - 64 : x + 64], atol=2e-5)


def test_crops_outside_the_frame_are_zero_there() -> None:
    image = torch.ones(1, 1, S, S)
    expected = slow_crop(image[0].double().numpy(), 3.25, 37.5, P)
    assert relative_error(crop_regions(image, torch.tensor([[3.25, 37.5]]), P)[0], expected) < 2e-5
    assert expected[0, :, :4].max() == 0


def test_the_crop_has_the_gradient_of_its_centre() -> None:
    image = torch.rand(2, 1, 12, 12, generator=seeded(10), dtype=torch.float64)
    centres = torch.tensor([[5.3, 6.6], [6.2, 5.7]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: crop_regions(image, c, 6), centres)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_centres_may_be_of_another_type_than_the_frames(dtype: torch.dtype) -> None:
    image = torch.rand(1, 2, S, S, generator=seeded(14))
    centres = torch.tensor([[18.25, 21.5]])  # exact in half precision, too
    crops = crop_regions(image, centres.to(dtype), P)
    assert crops.dtype == image.dtype and torch.equal(crops, crop_regions(image, centres, P))


# Precision and place


def test_bfloat16_autocast_moves_neither_centres_nor_crops() -> None:
    select, cells = KeyRegionSelector(224, 128), torch.rand(8, 7, 7, generator=seeded(11)) / 10
    frames = torch.rand(8, 3, 224, 224, generator=seeded(12))
    exact = select(cells).centres
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(select(cells).centres, exact)
        crops = crop_regions(frames, exact, 128)
    assert torch.equal(crops, crop_regions(frames, exact, 128))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_frames_in_half_precision_are_cropped_at_the_exact_place(dtype: torch.dtype) -> None:
    frames = torch.rand(2, 3, 224, 224, generator=seeded(13)).to(dtype)
    centres = torch.tensor([[70.3, 150.8], [111.6, 90.2]])
    crops = crop_regions(frames, centres, 128)
    assert crops.dtype == dtype
    assert torch.equal(crops, crop_regions(frames.float(), centres, 128).to(dtype))


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("clamp", CLAMPS)
def test_everything_is_made_on_the_device_of_the_cells(weights: str, clamp: str) -> None:
    """On the device `meta`, which refuses to mix with another."""
    device = torch.device("meta")
    select = KeyRegionSelector(S, (P, 10), weights=weights, clamp=clamp)
    cells, frames = torch.empty(2, ROWS, COLS, device=device), torch.empty(2, 3, S, S, device=device)
    for regions in (select(cells), select.uniform((2,), device, None)):
        assert {regions.centres.device, regions.boxes.device, regions.saturated.device} == {device}
        assert crop_regions(frames, select.centres(regions, 10), 10).device == device
    single = grid_offsets(1, 4, S, P, device)
    assert single.device == device and single.shape == (4, 2)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_any_leading_axes_may_be_selected(weights: str) -> None:
    cells = make_cells(12)
    select = KeyRegionSelector(S, P, weights=weights)
    regions = select(cells.view(3, 4, ROWS, COLS))
    assert regions.centres.shape == (3, 4, 2) and regions.boxes.shape == (3, 4, 4) and regions.saturated.shape == (3, 4)
    assert torch.equal(regions.centres.view(12, 2), select(cells).centres)
    assert torch.equal(select(cells[5]).centres, select(cells).centres[5])
