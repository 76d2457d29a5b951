"""Colours and places of pixels, against the exact picture worked out from the decoded planes in float64."""

from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
from videos import make_video

from fsar_cli.data.video import iter_frames, scaled_size
from fsar_cli.data.video.picture import FrameScaler

KINDS = {
    "plain": {},
    "bt709": {"options": {"colorspace": "bt709"}},
    "full": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "full bt709": {"codec": "libx264", "pix_fmt": "yuvj420p", "options": {"colorspace": "bt709"}},
    "10-bit": {"pix_fmt": "yuv420p10le"},
    "10-bit bt709": {"pix_fmt": "yuv420p10le", "options": {"colorspace": "bt709"}},
    "4:2:2": {"pix_fmt": "yuv422p"},
    "4:4:4": {"pix_fmt": "yuv444p"},
    "odd": {"width": 159, "height": 121},
    "turned": {"rotation": 90, "width": 120, "height": 160},
}
WEIGHTS = {"bt709": (0.2126, 0.0722), "bt601": (0.299, 0.114)}


def _make(folder: Path, name: str) -> Path:
    options = {"frames": 3, "width": 160, "height": 120, "codec": "ffv1", "content": "motion", **KINDS[name]}
    suffix = "mkv"
    if options.get("rotation"):
        options["codec"], suffix = "libx264", "mp4"  # Matroska keeps no rotation that PyAV writes
    return make_video(folder / f"{name.replace(':', '')}.{suffix}", **options)


@cache
def _bicubic(source: int, target: int) -> np.ndarray:
    """Weights [target, source] of a cubic filter (a = -0.6) that widens where it shrinks."""
    weights, wide = np.zeros((target, source)), max(1.0, source / target)
    for row in range(target):
        centre = (row + 0.5) * source / target - 0.5
        for place in range(int(centre - 2 * wide) - 1, int(centre + 2 * wide) + 2):
            d, a = abs(place - centre) / wide, -0.6
            near, far = (a + 2) * d**3 - (a + 3) * d**2 + 1, a * (d**3 - 5 * d**2 + 8 * d - 4)
            weights[row, min(max(place, 0), source - 1)] += near if d < 1 else far if d < 2 else 0
    return weights / weights.sum(1, keepdims=True)


def _exact(frame: av.VideoFrame, width: int, height: int, weights: tuple[float, float], full: bool) -> np.ndarray:
    """float64 RGB [height, width, 3] of a planar YUV frame."""
    deep = "10le" in frame.format.name
    planes = []
    for plane in frame.planes:
        data = np.frombuffer(plane, "<u2" if deep else "u1").reshape(plane.height, -1)[:, : plane.width] / (4**deep)
        planes.append(_bicubic(plane.height, height) @ data @ _bicubic(plane.width, width).T)
    y = planes[0] if full else (planes[0] - 16) * 255 / 219
    u, v = ((plane - 128) * (1 if full else 255 / 224) for plane in planes[1:])
    red, blue = weights
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    return np.clip(np.stack([r, (y - red * r - blue * b) / (1 - red - blue), b], -1), 0, 255)


def _psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


@pytest.mark.parametrize("short_side", [None, 75, 256])
@pytest.mark.parametrize("name", KINDS)
def test_pictures_are_right(tmp_path: Path, name: str, short_side: int | None) -> None:
    path = _make(tmp_path, name)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    width, height = scaled_size(frame.width, frame.height, short_side)
    turns = 1 if name == "turned" else 0
    matrix, other = ("bt709", "bt601") if "bt709" in name else ("bt601", "bt709")
    exact = np.rot90(_exact(frame, width, height, WEIGHTS[matrix], "full" in name), turns)
    picture = next(iter_frames(path, short_side))[1]
    assert picture.shape == exact.shape
    # What is left is the sharp edge of a colour, which has half the resolution.
    assert _psnr(picture, exact) > 34
    assert np.abs((picture - exact).mean((0, 1))).max() < 2.5
    assert np.median(np.abs(picture - exact)) <= 2
    wrong = np.rot90(_exact(frame, width, height, WEIGHTS[other], "full" in name), turns)
    assert _psnr(picture, exact) > _psnr(picture, wrong) + 2, "the matrix makes a difference"


def test_every_width_is_filled_to_its_edge(tmp_path: Path) -> None:
    """Vectorised converters work on blocks of columns, and some forget the rest."""
    path = make_video(tmp_path / "a.mkv", frames=2, width=160, height=120, content="motion", codec="ffv1")
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    for width in range(64, 82):
        picture = FrameScaler(path, None)
        picture._size = (width, 60)
        exact = _exact(frame, width, 60, WEIGHTS["bt601"], False)
        assert np.abs(picture(frame)[:, -17:] - exact[:, -17:]).max() < 12, width


def test_a_change_of_size_on_the_way_keeps_the_first(tmp_path: Path) -> None:
    small = make_video(tmp_path / "a.ts", frames=5)
    large = make_video(tmp_path / "b.ts", frames=5, width=128, height=96)
    both = tmp_path / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    assert {picture.shape for _, picture in iter_frames(both, 32)} == {(32, 43, 3)}
