"""Forest plot: what is handed in is to be found in the picture."""

import warnings

import numpy as np
import pytest

from fsar_cli.render.forest import COLOURS, Mark, Panel, forest


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


def near(picture: np.ndarray, colour: str) -> np.ndarray:
    return np.abs(picture.astype(int) - rgb(colour)).max(-1) <= 12


def drawn(marks: list[Mark], **options) -> np.ndarray:
    scores = [Mark("one", 1, 0.5, 0.01, 0.04), Mark("two", 1, 0.6, 0.01, None)]
    return forest(
        Panel("accuracy", scores, 0.2, "chance"), Panel("difference", marks, 0.0, ""), "title", "o", **options
    )


def test_a_real_difference_has_the_colour_of_its_shots_and_another_none():
    picture = drawn([Mark("a − b", 1, 0.1, 0.01, 0.05)])
    half = picture.shape[1] // 2
    hollow = drawn([Mark("a − b", 1, 0.1, 0.01, 0.05, solid=False)])
    assert near(picture[:, half:], COLOURS[0]).sum() > 2 * near(hollow[:, half:], COLOURS[0]).sum()
    assert np.array_equal(picture[:, : half // 2], hollow[:, : half // 2])


def test_the_thin_line_is_as_much_longer_as_its_interval():
    marks = [Mark("x", 1, 0.2, 0.01, 0.02), Mark("x", 1, 0.2, 0.01, 0.10)]
    picture = drawn(marks)[:, 1100:]  # beside the headings and names
    lengths = [int(row.sum()) for row in near(picture, COLOURS[0])]
    longest = sorted({n for n in lengths if n > 10})
    assert longest[-1] / next(n for n in longest if n > 30) > 2.5


def test_rows_make_the_picture_higher_and_names_wider():
    one = drawn([Mark("a", 1, 0.1, 0.01, None)])
    many = drawn([Mark("a", 1 + i % 2, 0.1, 0.01, None) for i in range(30)])
    assert many.shape[0] > one.shape[0] + 20 * 40
    assert drawn([Mark("a" * 40, 1, 0.1, 0.01, None)]).shape[1] > one.shape[1] + 200
    assert drawn([Mark("a" * 4000, 1, 0.1, 0.01, None)]).shape[1] < one.shape[1] + 800


@pytest.mark.parametrize("name", ["a_$b^c$ $\\frac{$", "视频 [x]", "two\nlines", "", "%s {}"])
def test_any_name_and_degenerate_numbers(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = drawn([Mark(name, 1, 0.0, 0.0, None, False), Mark(name, 7, 1.0, 0.0, 0.0)], left_out=3)
    assert picture.dtype == np.uint8 and picture.ndim == 3
    assert np.all(picture[:, -8:] == 255) and np.all(picture[:, :8] == 255), "nothing is cut at the margin"
