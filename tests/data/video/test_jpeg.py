"""One frame as JPEG and back: planes go in as RGB would, and every way of reading gives Pillow's pixels."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from videos import make_video

from fsar_cli.data.video import iter_frames
from fsar_cli.data.video.picture import Planes, from_jpeg, to_jpeg


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-9))


@pytest.mark.parametrize("size", [(96, 64), (97, 65), (43, 32)])
@pytest.mark.parametrize("side", [None, 33])
@pytest.mark.parametrize(("codec", "pix_fmt"), [("mpeg4", "yuv420p"), ("mjpeg", "yuvj420p")])
def test_planes_make_the_jpeg_of_the_picture(
    tmp_path: Path, size: tuple[int, int], side: int | None, codec: str, pix_fmt: str
) -> None:
    path, (width, height) = tmp_path / "a.mkv", size
    make_video(path, frames=3, width=width, height=height, content="motion", codec=codec, pix_fmt=pix_fmt)
    for (_, picture), (_, planes) in zip(iter_frames(path, side), iter_frames(path, side, planes=True), strict=True):
        assert isinstance(planes, Planes)
        assert planes.y.shape == picture.shape[:2]
        found = opened(to_jpeg(planes, 95))
        assert found.shape == picture.shape
        assert psnr(found, picture) > 30
        assert abs(found.mean() - picture.mean()) < 1
        border = np.ones(picture.shape[:2], bool)
        border[1:-2, 1:-2] = False
        assert np.abs(found[border].astype(int) - picture[border]).mean() < 6, (
            "the last row and column are the picture's"
        )


def test_the_same_planes_make_the_same_bytes_whatever_lies_behind_them() -> None:
    rng = np.random.default_rng(0)
    y, u, v = (rng.integers(0, 256, shape, np.uint8) for shape in ((33, 47), (17, 24), (17, 24)))
    backed = []
    for fill in (0, 255):
        wide = [np.full((p.shape[0], 64), fill, np.uint8) for p in (u, v)]
        for room, plane in zip(wide, (u, v), strict=True):
            room[:, :24] = plane
        padded = np.pad(y, ((0, 1), (0, 1)), mode="edge")[:33, :47]
        backed.append(to_jpeg(Planes(padded, *(room[:, :24] for room in wide)), 90))
    assert backed[0] == backed[1]


@pytest.mark.parametrize("how", [{"pix_fmt": "yuv444p"}, {"rotation": 90}])
def test_what_has_no_such_planes_comes_as_rgb(tmp_path: Path, how: dict) -> None:
    path = make_video(tmp_path / "a.mp4", frames=2, width=64, height=48, content="motion", **how)
    for (_, picture), (_, other) in zip(iter_frames(path), iter_frames(path, planes=True), strict=True):
        assert np.array_equal(picture, other)


@pytest.mark.parametrize("quality", [30, 90, 100])
def test_rgb_keeps_its_quality_and_every_way_of_reading_agrees_with_pillow(quality: int) -> None:
    y, x = np.mgrid[:70, :91]
    picture = np.stack([2 * x, 3 * y, 255 - x - y], -1).astype(np.uint8)
    data = to_jpeg(picture, quality)
    assert np.array_equal(from_jpeg(data, (91, 70)), opened(data))
    assert from_jpeg(data, (45, 35)).shape == (35, 45, 3)
    reference = BytesIO()
    Image.fromarray(picture).save(reference, "JPEG", quality=quality)
    assert psnr(opened(data), picture) == pytest.approx(psnr(opened(reference.getvalue()), picture), abs=0.5)


@pytest.mark.parametrize("damage", [b"", b"text", "half"])
def test_damaged_files_are_refused(damage: bytes | str) -> None:
    data = to_jpeg(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), 90)
    broken = data[: len(data) // 2] if damage == "half" else damage
    for size in ((64, 64), (32, 32)):
        with pytest.raises((ValueError, OSError)):
            from_jpeg(broken, size)


def test_grey_jpegs_of_others_are_read(tmp_path: Path) -> None:
    data = BytesIO()
    Image.fromarray(np.full((20, 30), 77, np.uint8)).save(data, "JPEG")
    assert (from_jpeg(data.getvalue(), (30, 20)) == 77).all()


def test_a_header_that_promises_more_pixels_than_are_safe_is_refused() -> None:
    data = bytearray(to_jpeg(np.zeros((16, 16, 3), np.uint8), 90))
    start = data.index(b"\xff\xc0") + 5  # height and width of the frame header
    data[start : start + 4] = (60_000).to_bytes(2) * 2
    with pytest.raises(ValueError, match="3600000000 pixels"):
        from_jpeg(bytes(data), (16, 16))
