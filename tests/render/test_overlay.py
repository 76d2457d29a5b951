"""Geometry of what is drawn: which pixels change, by how much, and where boxes land."""

import numpy as np
import pytest

from fsar_cli.render.overlay import RED, draw_box, to_input, to_source

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
