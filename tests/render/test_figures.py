"""Figures: everything handed in is to be found in the picture, at its place."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fsar_cli.render.figures import COLUMNS, Strip, contact_sheet, heat_figure, save_png, shorten, strips, unit_range

RED = (230, 57, 70)


def _frames(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frame t is uniformly grey, a little lighter each; a green block marks the box (16, 12, 48, 36)."""
    frames = []
    for t in range(count):
        frame = np.full((height, width, 3), 60 + 8 * t, np.uint8)
        frame[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = (0, 100 + 8 * t, 0)
        frames.append(frame)
    return frames


def _boxes(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.array([[width / 4, height / 4, 3 * width / 4, 3 * height / 4]] * count)


def _near(image: np.ndarray, colour: tuple[int, int, int], tolerance: int = 3) -> np.ndarray:
    return np.abs(image.astype(int) - colour).max(axis=2) <= tolerance


def _extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of the pixels that are set; a few in a line are the edge of a letter."""
    rows, columns = (np.flatnonzero(mask.sum(axis) > 20) for axis in (1, 0))
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


@pytest.mark.parametrize("size", [(48, 64), (64, 48), (1080, 1920)])
def test_contact_sheet_shows_each_frame_above_its_region(size: tuple[int, int]) -> None:
    sheet = contact_sheet(_frames(4, *size), _boxes(4, *size), [0.0, 0.5, 1.0, 1.5], "four")
    lefts = []
    for t in range(4):
        top, bottom, left, right = _extent(_near(sheet, (60 + 8 * t,) * 3, 1))
        assert (bottom - top) / (right - left) == pytest.approx(size[0] / size[1], rel=0.06), "the whole frame"
        green = _near(sheet, (0, 100 + 8 * t, 0))
        green[:bottom] = False
        region = _extent(green)
        assert region[2:] == pytest.approx((left, right), abs=8), "below it"
        share = green[region[0] : region[1], region[2] : region[3]].mean()
        assert share > 0.95, "the region fills its cell"
        lefts.append(left)
    assert lefts == sorted(lefts)


def test_contact_sheet_outlines_the_region_where_it_is() -> None:
    sheet = contact_sheet(_frames(1), _boxes(1), [0], "")
    top, _, left, right = _extent(_near(sheet, (60, 60, 60), 1))
    scale, outline = (right - left) / 64, _extent(_near(sheet, RED, 4))
    expected = (top + 12 * scale, top + 36 * scale, left + 16 * scale, left + 48 * scale)
    assert outline == pytest.approx(expected, abs=4)


def test_more_frames_than_columns_continue_below() -> None:
    one = contact_sheet(_frames(COLUMNS), _boxes(COLUMNS), range(COLUMNS), "x")
    two = contact_sheet(_frames(COLUMNS + 3), _boxes(COLUMNS + 3), range(COLUMNS + 3), "x")
    assert two.shape[1] == one.shape[1]
    assert 1.6 * one.shape[0] < two.shape[0] < 2 * one.shape[0]
    last = COLUMNS + 2
    assert _near(two, (0, 100 + 8 * last, 0))[one.shape[0] :].any()


def test_a_region_beyond_the_edge_is_cut_to_the_frame() -> None:
    def sheet(*box: float) -> np.ndarray:
        return contact_sheet(_frames(1), np.array([box]), [0], "")

    cut, whole = sheet(-32, -24, 32, 24), sheet(0, 0, 32, 24)
    assert cut.shape == whole.shape
    assert _near(cut, (0, 100, 0)).sum() == pytest.approx(_near(whole, (0, 100, 0)).sum(), rel=0.1)
    assert sheet(100, 100, 120, 120).shape[2] == 3, "nothing of it is inside"


def test_heat_figure_places_maps_on_the_crop_only() -> None:
    """The left half of the picture is outside the crop and stays grey; one frame is hot before, the other after."""
    frames = [np.full((48, 64, 3), 200, np.uint8)] * 2
    before, after = np.zeros((2, 7, 7)), np.zeros((2, 7, 7))
    before[0], after[1] = 1, 1
    figure = heat_figure(frames, before, after, (32, 0, 64, 48), np.array([[20.0, 12.0, 44.0, 36.0]] * 2), [0, 1])
    grey = _near(figure, (200, 200, 200), 1)
    columns = np.flatnonzero(grey.sum(0) > 0.6 * grey.sum(0).max())
    rows = np.flatnonzero(grey[:, columns[3]])
    bands = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    assert len(bands) == 3, "region, before, after"
    starts = [columns[0], columns[1:][np.diff(columns) > 5][-1]]
    wide = len(bands[1]) * 64 / 48

    def colour(band: int, t: int) -> np.ndarray:
        return figure[int(np.mean(bands[band])), int(starts[t] + 0.75 * wide)].astype(int)

    assert colour(1, 0).sum() > colour(1, 1).sum() + 200 and colour(2, 1).sum() > colour(2, 0).sum() + 200
    assert (colour(1, 0) == colour(2, 1)).all()
    for band in (1, 2):
        line = grey[int(np.mean(bands[band])), int(starts[0]) : int(starts[0] + wide)]
        assert line.mean() == pytest.approx(0.5, abs=0.03), "half of it is grey"


def test_rows_share_one_scale() -> None:
    maps = np.array([[[2.0, 4.0]], [[6.0, 10.0]]])
    assert np.array_equal(unit_range(maps), [[[0.0, 0.25]], [[0.5, 1.0]]])
    assert np.array_equal(unit_range(np.full((2, 3, 3), 7.0)), np.zeros((2, 3, 3)))
    assert np.all(np.isfinite(unit_range(np.array([[[np.nan, 1.0]]]))))


def test_one_value_for_each_frame() -> None:
    with pytest.raises(ValueError, match="3 frames and 2 seconds"):
        contact_sheet(_frames(3), _boxes(3), [0, 1], "")
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([], np.zeros((0, 4)), [], "")


def test_strips_show_every_clip_with_its_own_boxes() -> None:
    frames = np.stack(_frames(6, 48, 48))
    box = np.array([[0.25, 0.25, 0.75, 0.75]] * 6)
    plain, red = Strip("kick", frames[:2]), Strip("a very long name of a class, $x_1$ [y]", frames, box, box / 2)
    assert not _near(strips([plain], "t"), RED).any()
    both = strips([plain, red], "t", columns=4)
    assert _near(both, RED).any()
    without = strips([plain, Strip(red.name, frames, box)], "t", columns=4)
    assert _near(both, (255, 255, 255)).sum() > _near(without, (255, 255, 255)).sum(), "actors in white"
    top = _extent(_near(both, RED))[0]
    assert _near(both, (60, 60, 60), 1)[:top].sum() > 1000, "the other clip stands above"
    shown = [_near(both, (60 + 8 * t,) * 3, 1)[top:].sum() > 1000 for t in range(6)]
    assert shown == [True, False, True, True, False, True]
    with pytest.raises(ValueError, match="no clip"):
        strips([], "t")


@pytest.mark.parametrize("title", ["", "a long title " * 40, "Ünïcode [brackets] & 视频", "two\nlines $\\frac{$ _x_"])
def test_any_title(title: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        arguments = (_frames(1), np.ones((1, 7, 7)), np.ones((1, 7, 7)), (0, 0, 64, 48), _boxes(1), [0])
        plain, titled = heat_figure(*arguments), heat_figure(*arguments, title)
    assert titled.shape == plain.shape, "a title never changes the size"
    assert np.any(titled[:40] != plain[:40]) == bool(title)
    assert np.all(titled[:, -3:] == 255) and np.all(titled[:, :3] == 255), "the margin stays free"


def test_long_texts_lose_their_middle() -> None:
    assert shorten("short\ntext", 12) == "short text"
    assert shorten("0123456789abcdef", 10) == "0123…bcdef"


def test_png_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    path = tmp_path / f"{'n' * 240}.png"
    save_png(image, path)
    assert np.array_equal(np.asarray(Image.open(path)), image)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError, match=r"absent/a\.png"):
        save_png(image, tmp_path / "absent" / "a.png")


def test_a_failed_png_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*a\.png"):
        save_png(np.zeros((4, 4, 3), np.uint8), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
