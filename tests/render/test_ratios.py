"""The chart of ratios: readable pixels, whatever the numbers."""

import numpy as np
import pytest
from PIL import Image

from fsar_cli.errors import DataError
from fsar_cli.render.ratios import BETTER, DPI, WIDTH, WORSE, Bar, draw_ratios

BARS = [
    Bar("head", "forward and backward", 3.0, "3.0x", "0.4 s against 1.2"),
    Bar("train", "slower", 0.2, "0.20x", "1 s against 0.2"),
    Bar("evaluate", "10,000 episodes, warm", 86_400.0, "86,400x", "1 s against 86,400"),
]


def draw(bars, path, title="fsar bench", lines=("one machine", "")) -> np.ndarray:
    draw_ratios(bars, path, title, lines)
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def pixels_of(picture: np.ndarray, colour: str) -> np.ndarray:
    """Columns of the pixels of a colour."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return np.nonzero((np.abs(picture - wanted) < 3).all(2))[1]


def test_bars_start_at_one_and_those_below_it_point_to_the_left(tmp_path) -> None:
    picture = draw(BARS, tmp_path / "a.png")
    assert picture.shape[1] == WIDTH * DPI
    better, worse = pixels_of(picture, BETTER), pixels_of(picture, WORSE)
    assert worse.max() <= better.min() + 3
    assert np.ptp(better) > np.ptp(worse) > 10


def test_length_is_proportional_to_the_logarithm(tmp_path) -> None:
    lengths = []
    for ratio in (10.0, 100.0):
        # The second bar, of the other colour, keeps the axis the same.
        picture = draw(
            [Bar("a", "b", ratio, ""), Bar("a", "c", 0.001, ""), Bar("a", "d", 1000.0, "")], tmp_path / "p.png"
        )
        top = picture[: picture.shape[0] // 2]
        rows = np.nonzero((np.abs(top - np.array([0x2F, 0x6F, 0x8F])) < 3).all(2).any(1))[0]
        lengths.append(np.ptp(pixels_of(picture[rows.min() : rows.min() + 10], BETTER)))
    assert lengths[1] == pytest.approx(2 * lengths[0], rel=0.05)


def test_more_rows_make_a_taller_picture_and_long_names_stay_inside(tmp_path) -> None:
    few, many = draw(BARS, tmp_path / "a.png"), draw(BARS * 5, tmp_path / "b.png")
    assert many.shape[0] > few.shape[0] + 5 * DPI * 0.2
    assert (many[:, -8:] == 255).all()  # no label is cut off at the right
    assert (many[:, :8] == 255).all()


def test_a_missing_folder_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match=r"no folder.*a\.png|a\.png"):
        draw(BARS, tmp_path / "no folder" / "a.png")


def test_small_print_that_is_too_long_is_cut_inside_the_picture(tmp_path) -> None:
    picture = draw(BARS, tmp_path / "a.png", lines=("a long command " * 40,))
    assert (picture[:, -8:] == 255).all()
