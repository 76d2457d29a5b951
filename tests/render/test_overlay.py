"""Geometry of what is drawn: which pixels change, by how much, and where boxes land."""

import numpy as np
import pytest

from fsar_cli.render.overlay import RED, blend_heat, draw_box, heat_colours, to_input, to_source

GREY = 128


def _plain(height: int = 60, width: int = 80) -> np.ndarray:
    return np.full((height, width, 3), GREY, np.uint8)


def test_to_source_maps_the_corners_of_the_crop() -> None:
    crop = (100.0, 20.0, 300.0, 120.0)
    assert np.array_equal(to_source([0, 0, 1, 1], crop), crop)
    assert np.array_equal(to_source([0.25, 0.5, 0.75, 1], crop), [150, 70, 250, 120])


def test_to_source_and_to_input_undo_each_other() -> None:
    rng = np.random.default_rng(0)
    boxes, crop = rng.random((3, 8, 4)), (-3.5, 7.25, 411.75, 300.5)
    assert to_source(boxes, crop).shape == (3, 8, 4)
    assert np.allclose(to_input(to_source(boxes, crop), crop), boxes)


def test_outline_is_where_the_box_is() -> None:
    frame = _plain()
    drawn = draw_box(frame, (20, 10, 60, 40), width=2)
    for y, x in ((10, 30), (9, 30), (39, 30), (40, 30), (25, 19), (25, 20), (25, 59), (25, 60), (9, 19), (40, 60)):
        assert tuple(drawn[y, x]) == RED, (y, x)
    changed = np.any(drawn != frame, axis=2)
    expected = np.zeros_like(changed)
    expected[8:42, 18:62] = True  # the line reaches one pixel out of the box, its dark rim one more
    expected[12:38, 22:58] = False
    assert np.array_equal(changed, expected)
    assert np.all(frame == GREY), "the frame itself is not touched"


def test_a_fractional_edge_is_shared_between_two_pixels() -> None:
    black = np.zeros((60, 80, 3), np.uint8)
    drawn = draw_box(black, (20.25, 10, 60, 40), colour=(200, 200, 200), width=1)
    column = drawn[25, :, 0].astype(int)
    assert (column[19], column[20]) == (50, 150), "the line spans 19.75 to 20.75"
    assert column[18] == column[21] == 0


@pytest.mark.parametrize("box", [(-30, -20, 20, 15), (-50, -50, 500, 500), (70, 50, 90, 70), (200, 200, 300, 300)])
def test_a_box_that_leaves_the_frame_is_cut(box: tuple[float, ...]) -> None:
    large = np.full((700, 700, 3), GREY, np.uint8)
    expected = draw_box(large, np.array(box) + 100, width=2)[100:160, 100:180]
    assert np.array_equal(draw_box(_plain(), box, width=2), expected)


def test_tiny_and_turned_boxes() -> None:
    dot = draw_box(_plain(), (40, 30, 40, 30), width=2)
    assert tuple(dot[30, 40]) == tuple(dot[29, 39]) == RED
    assert np.array_equal(draw_box(_plain(), (60, 40, 20, 10)), draw_box(_plain(), (20, 10, 60, 40)))


@pytest.mark.parametrize(("height", "width"), [(48, 64), (240, 320), (1080, 1920)])
def test_label_is_legible_and_leaves_the_region_free(height: int, width: int) -> None:
    frame = np.full((height, width, 3), GREY, np.uint8)
    box = np.array([0.3, 0.4, 0.7, 0.7]) * [width, height, width, height]
    bare, labelled = draw_box(frame, box), draw_box(frame, box, label="kick")
    tab = np.any(bare != labelled, axis=2)
    rows = np.flatnonzero(tab.any(axis=1))
    assert 11 <= len(rows) <= height / 4
    inside = tab[int(box[1]) + 6 : int(box[3]) - 6, int(box[0]) + 6 : int(box[2]) - 6]
    assert not inside.any()
    # White strokes on the colour: both are there, pure or nearly so.
    colours = labelled[tab].astype(int)
    assert np.abs(colours - 255).sum(axis=1).min() < 150
    assert np.abs(colours - RED).sum(axis=1).min() == 0


@pytest.mark.parametrize("box", [(0, 0, 80, 60), (70, 0, 80, 20), (0, 45, 10, 60)])
def test_label_stays_in_the_frame(box: tuple[float, ...]) -> None:
    """Compared with a picture that is larger: the same number of white pixels are to be seen."""
    white = [np.sum(np.all(draw_box(_plain(), b, label="kick") > 200, axis=2)) for b in (box, (20, 25, 60, 50))]
    assert white[0] == white[1] > 5


def test_heat_touches_only_its_rectangle() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    drawn = blend_heat(frame, rng.random((7, 7)), (10.4, 5.6, 50.4, 45.6))
    mask = np.zeros((60, 80), bool)
    mask[6:46, 10:50] = True  # pixels whose centre lies inside: 6.5 > 5.6 and not 5.5, 10.5 > 10.4
    assert np.array_equal(drawn[~mask], frame[~mask])
    assert np.any(drawn[mask] != frame[mask], axis=1).mean() > 0.99


def test_heat_is_bilinear_between_cell_centres() -> None:
    """Against interpolation written out pixel by pixel; opaque, so that colours can be compared."""
    heat, (x0, y0, x1, y1) = np.random.default_rng(1).random((3, 4)), (4.0, 2.0, 44.0, 32.0)
    drawn = blend_heat(_plain(), heat, (x0, y0, x1, y1), alpha=1)
    for y, x in ((2, 4), (17, 24), (31, 43), (10, 9), (20, 40)):
        v = np.clip((y + 0.5 - y0) / (y1 - y0) * 3 - 0.5, 0, 2)
        u = np.clip((x + 0.5 - x0) / (x1 - x0) * 4 - 0.5, 0, 3)
        top, left = min(int(v), 1), min(int(u), 2)
        a, b = v - top, u - left
        value = (1 - a) * ((1 - b) * heat[top, left] + b * heat[top, left + 1])
        value += a * ((1 - b) * heat[top + 1, left] + b * heat[top + 1, left + 1])
        assert np.abs(drawn[y, x].astype(int) - heat_colours(value)).max() <= 1


def test_heat_extremes() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    grey = frame @ np.array([0.299, 0.587, 0.114])
    assert np.allclose(blend_heat(frame, np.ones((7, 7)), alpha=0), grey[..., None], atol=1)
    assert np.all(blend_heat(frame, np.full((1, 1), 5.0), alpha=1) == heat_colours(1.0)), "values are clipped"
    assert np.array_equal(blend_heat(frame, np.ones((7, 7)), (200, 200, 300, 300)), frame)
    assert np.array_equal(blend_heat(frame, np.ones((7, 7)), (10, 10, 10, 30)), frame), "an empty rectangle"


def test_heat_that_reaches_beyond_the_frame() -> None:
    heat, large = np.random.default_rng(2).random((7, 7)), np.full((160, 180, 3), GREY, np.uint8)
    expected = blend_heat(large, heat, (30, 40, 150, 130))[50:110, 50:130]
    assert np.array_equal(blend_heat(_plain(), heat, (-20, -10, 100, 80)), expected)


def test_heat_colours_grow_in_lightness() -> None:
    lightness = heat_colours(np.linspace(0, 1, 50)) @ np.array([0.299, 0.587, 0.114])
    assert np.all(np.diff(lightness) > 0)
    assert lightness[-1] - lightness[0] > 200
