"""Figures: everything handed in is to be found in the picture, at its place."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fsar_cli.errors import DataError
from fsar_cli.render.figures import CELL, COLUMNS, contact_sheet, enlarge, heat_figure, save_png, unit_range
from fsar_cli.render.overlay import RED


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


@pytest.mark.parametrize("size", [(48, 64), (64, 48), (1080, 1920)])
def test_contact_sheet_shows_each_frame_above_its_region(size: tuple[int, int]) -> None:
    sheet = contact_sheet(_frames(4, *size), _boxes(4, *size), [0.0, 0.5, 1.0, 1.5], "four")
    pixel = CELL / (size[1] / 2)  # a source pixel in the enlarged region, whose edges blend with what lies around
    for t in range(4):
        frame_area, region_area = _near(sheet, (60 + 8 * t,) * 3, 1), _near(sheet, (0, 100 + 8 * t, 0))
        whole = np.flatnonzero(frame_area.sum(axis=1) > 0.9 * CELL)  # rows of the frame above and below its box
        columns = np.flatnonzero(frame_area[whole].all(axis=0))
        assert columns.max() - columns.min() == pytest.approx(CELL, abs=2)
        rows = np.flatnonzero((region_area[:, columns.min() : columns.max()].mean(axis=1)) > 0.85)
        assert len(rows) == pytest.approx(CELL * size[0] / size[1], abs=4 + 2.5 * pixel), "the region fills its cell"
        assert rows.min() > whole.max()


def test_contact_sheet_outlines_the_region_in_every_frame() -> None:
    sheet = contact_sheet(_frames(3), _boxes(3), [0, 1, 2], "")
    line = _near(sheet, RED, 2).sum()
    side, height = CELL / 2, CELL / 2 * 48 / 64
    assert line == pytest.approx(3 * 2 * (side + height) * 3, rel=0.15), "three outlines, three pixels wide"


def test_more_frames_than_columns_continue_below() -> None:
    one = contact_sheet(_frames(COLUMNS), _boxes(COLUMNS), range(COLUMNS), "x")
    two = contact_sheet(_frames(COLUMNS + 3), _boxes(COLUMNS + 3), range(COLUMNS + 3), "x")
    assert two.shape[1] == one.shape[1]
    assert 1.6 * one.shape[0] < two.shape[0] < 2 * one.shape[0]
    last = COLUMNS + 2
    assert _near(two, (0, 100 + 8 * last, 0))[one.shape[0] :].any()


def test_a_region_beyond_the_edge_is_cut_to_the_frame() -> None:
    frame = _frames(1)[0]
    assert np.array_equal(enlarge(frame, (-10, -10, 32, 24)), enlarge(frame, (0, 0, 32, 24)))
    assert enlarge(frame, (100, 100, 120, 120)).shape == (CELL, CELL, 3)


def test_heat_figure_places_maps_on_the_crop_only() -> None:
    frames = [np.full((48, 64, 3), 200, np.uint8)] * 2
    before, after = np.zeros((2, 7, 7)), np.zeros((2, 7, 7))
    before[0], after[1] = 1, 1  # hot in one frame, cold in the other
    crop, boxes = (8.0, 0.0, 56.0, 48.0), np.array([[20.0, 12.0, 44.0, 36.0]] * 2)
    figure = heat_figure(frames, before, after, crop, boxes, [0, 1])
    plain = _near(figure, (200, 200, 200), 1)
    left = np.flatnonzero(plain.any(axis=0)).min()
    scale, cell_height = CELL / 64, round(CELL * 48 / 64)
    rows = np.flatnonzero(plain[:, left + 3])
    tops = [rows[0], *rows[1:][np.diff(rows) > 1]]
    assert len(tops) == 3
    middle = cell_height // 2
    hot, cold = figure[tops[1] + middle, left + CELL // 2], figure[tops[2] + middle, left + CELL // 2]
    assert hot.astype(int).sum() > cold.astype(int).sum() + 200
    for top in tops[1:]:
        row = plain[top + middle, left : left + CELL]
        assert np.array_equal(np.flatnonzero(~row), np.arange(round(8 * scale), round(56 * scale)))


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


@pytest.mark.parametrize("title", ["", "a long title " * 40, "Ünïcode [brackets] & 视频"])
def test_any_title(title: str) -> None:
    plain = heat_figure(_frames(1), np.ones((1, 7, 7)), np.ones((1, 7, 7)), (0, 0, 64, 48), _boxes(1), [0])
    titled = heat_figure(_frames(1), np.ones((1, 7, 7)), np.ones((1, 7, 7)), (0, 0, 64, 48), _boxes(1), [0], title)
    assert titled.shape == plain.shape, "a title never changes the layout"
    assert np.any(titled[:60] != plain[:60]) == bool(title)
    assert np.all(titled[:, -20:] == 255), "the margin stays free"


def test_png_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    path = tmp_path / f"{'n' * 240}.png"
    save_png(image, path)
    assert np.array_equal(np.asarray(Image.open(path)), image)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(DataError, match="cannot be written"):
        save_png(image, tmp_path / "absent" / "a.png")


def test_a_failed_png_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def full(_: object, file: Path, **__: object) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DataError, match="No space left"):
        save_png(np.zeros((4, 4, 3), np.uint8), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
