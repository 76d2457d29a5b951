"""Key regions of one video: how often its file is opened, and what the pictures are made of."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_project import lively, small
from videos import frames_at, make_video

from fsar_cli.config import Config
from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.sampling import even_indices
from fsar_cli.data.video import opening, probe
from fsar_cli.engine import visualize as drawing
from fsar_cli.engine.visualize import find_regions, visualize
from fsar_cli.errors import DataError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return small(tmp_path_factory.mktemp("none"))


@pytest.fixture(scope="module")
def method(config: Config) -> FewShotMethod:
    return lively(config)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one for every video file that is opened for reading."""
    honest, files = opening.av.open, []

    def counting(address: str, *mode: str, **options: object):
        files.extend([address] if not mode else [])
        return honest(address, *mode, **options)

    monkeypatch.setattr(opening.av, "open", counting)
    return files


def test_maps_that_are_no_numbers_are_not_drawn(config: Config, tmp_path: Path) -> None:
    wild = lively(config)
    with torch.no_grad():
        wild.features.global_backbone.trunk[0][0].weight.fill_(3e38)
    make_video(tmp_path / "a.mp4", frames=12)
    with pytest.raises(DataError, match="maps are NaN or infinite"):
        visualize(wild, config, tmp_path / "a.mp4", tmp_path / "out", CPU)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "window", "windows"), [("a.avi", 99.0, 1), ("a.avi", 0.5, 8), ("a.mp4", 0.5, 8), ("a.mkv", 0.5, 8)]
)
def test_a_file_is_opened_three_times_however_many_windows(
    method: FewShotMethod, config: Config, opened: list[str], tmp_path: Path, name: str, window: float, windows: int
) -> None:
    video = make_video(tmp_path / name, frames=40, fps=10, **({"codec": "mpeg4"} if name == "a.avi" else {}))
    made = visualize(method, config, video, tmp_path / "out", CPU, window=window, sheets=2)
    assert (made.windows, len(made.sheets)) == (windows, min(windows, 2))
    assert len(opened) == 3


@pytest.mark.parametrize(("promised", "readings"), [(80, 3), (None, 4), (60, 4), (2**32 - 1, 4)])
def test_a_header_that_is_wrong_costs_one_more_reading_and_changes_no_window(
    method, config, opened, tmp_path, monkeypatch, promised: int | None, readings: int
) -> None:
    video = make_video(tmp_path / "a.avi", frames=80, fps=10, codec="mpeg4")
    header = replace(probe(video), frames=promised, duration=None)
    opened.clear()
    monkeypatch.setattr(drawing, "probe", lambda path: replace(header, fps=probe(path).fps))
    made = visualize(method, config, video, tmp_path / "out", CPU, window=2.0, sheets=1)
    assert len(opened) == readings
    expected = [(start + even_indices(20, config.clip.frames)).tolist() for start in (0, 20, 40, 60)]
    windows = json.loads(made.regions.read_text())["windows"]
    assert [[frame["frame"] for frame in window] for window in windows] == expected
    for window in windows:
        assert [frame["seconds"] for frame in window] == pytest.approx([frame["frame"] / 10 for frame in window])


def test_frames_taken_as_they_come_give_the_regions_of_frames_read_one_window_at_a_time(
    method: FewShotMethod, config: Config, tmp_path: Path
) -> None:
    video = make_video(tmp_path / "a.avi", frames=15, fps=10, codec="mpeg4", content="motion", bframes=2)
    made = visualize(
        method, config, video, tmp_path / "out", CPU, window=0.3, sheets=1
    )  # three frames: some are sampled twice
    for window in json.loads(made.regions.read_text())["windows"]:
        indices = np.array([frame["frame"] for frame in window])
        frames = frames_at(video, indices, config.clip.short_side)
        alone = find_regions(method, config, CPU, probe(video), frames, indices, np.zeros(len(indices)))
        assert [frame["box"] for frame in window] == np.round(alone.boxes, 3).tolist()
        assert [frame["weights"] for frame in window] == np.round(alone.weights.astype(float), 6).tolist()
