"""Small real videos for tests, whose pictures tell which frame they are.

`make_video` draws the frame number as a 4 x 3 grid of black and white blocks (12 bits, the highest bit top left), which
survives lossy coding, scaling and 4:2:0 colour; `read_counter` reads it back from any upright picture.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from fsar_cli.data.video import iter_frames

COLUMNS, ROWS = 4, 3
MILLISECONDS = Fraction(1, 1000)


def draw_counter(index: int, width: int, height: int) -> np.ndarray:
    """The picture of frame `index` < 4096: uint8 RGB [height, width, 3]."""
    bits = [(index >> (COLUMNS * ROWS - 1 - bit)) & 1 for bit in range(COLUMNS * ROWS)]
    grid = np.array(bits, np.uint8).reshape(ROWS, COLUMNS) * 215 + 20
    rows = np.arange(height) * ROWS // height
    columns = np.arange(width) * COLUMNS // width
    return np.repeat(grid[rows][:, columns, None], 3, axis=2)


def read_counter(picture: np.ndarray) -> int:
    """The frame number drawn in a picture [H, W, 3] of any size from about 24 x 18 on."""
    height, width = picture.shape[:2]
    index = 0
    for row in range(ROWS):
        for column in range(COLUMNS):
            y, x = int((row + 0.5) * height / ROWS), int((column + 0.5) * width / COLUMNS)
            index = index * 2 + int(picture[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].mean() > 128)
    return index


def draw_motion(index: int, width: int, height: int) -> np.ndarray:
    """A bright square that travels to the right over a gradient; uint8 RGB [height, width, 3]."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 1] = np.linspace(30, 120, width, dtype=np.uint8)
    picture[..., 2] = np.linspace(120, 30, height, dtype=np.uint8)[:, None]
    side = max(2, min(width, height) // 4)
    x, y = index * 2 % max(1, width - side), (height - side) // 2
    picture[y : y + side, x : x + side] = (240, 220, 60)
    return picture


def draw_noise(index: int, width: int, height: int) -> np.ndarray:
    """Independent noise, hard to compress; uint8 RGB [height, width, 3]."""
    return np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)


DRAW = {"counter": draw_counter, "motion": draw_motion, "noise": draw_noise}


def _add_audio(container):
    stream = container.add_stream("aac", rate=16000)
    stream.layout = "mono"
    return stream


def _encode_silence(container, stream, seconds: float) -> None:
    for start in range(0, max(1024, int(seconds * 16000)), 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def make_video(
    path: Path,
    frames: int = 30,
    width: int = 64,
    height: int = 48,
    fps: int | Fraction = 30,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    pts: Sequence[int] | None = None,
    audio: bool = False,
    content: str = "counter",
    first: int = 0,
    gop: int | None = 12,
    bframes: int | None = None,
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
) -> Path:
    """Encode a video and return its path; the container follows from the suffix, missing folders are made.

    Args:
        width, height: displayed size. Sizes must suit the pixel format: odd ones need e.g. yuv444p.
        rotation: degrees counter-clockwise that a player must turn the stored picture (0, 90, 180, 270); the picture is
            stored turned the other way, so that a reader who obeys sees it upright.
        pts: milliseconds of each frame (variable frame rate, late start); overrides `fps` and `frames`.
        content: `counter` (frame number, starting at `first`), `motion` or `noise`.
        gop, bframes: distance of key frames and number of B-frames; None leaves the codec's own.
        muxer: options of the container, e.g. {"movflags": "faststart"}.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    turned = rotation % 180 != 0
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height = (height, width) if turned else (width, height)
        stream.pix_fmt = pix_fmt
        if gop is not None:
            stream.gop_size = gop
        if bframes is not None:
            stream.codec_context.max_b_frames = bframes
        if pts is not None:
            stream.time_base = stream.codec_context.time_base = MILLISECONDS
        sound = _add_audio(container) if audio else None
        if rotation:
            stream.set_display_rotation(rotation)
        for index in range(len(pts) if pts is not None else frames):
            picture = np.rot90(DRAW[content](first + index, width, height), -rotation // 90)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if pts is not None:
                frame.pts, frame.time_base = pts[index], MILLISECONDS
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _encode_silence(container, sound, frames / float(fps))
    return path


def frames_at(path: Path, indices: Sequence[int], short_side: int | None = None) -> np.ndarray:
    """The pictures with these indices, from decoding all: uint8 RGB [T, h, w, 3]."""
    return np.stack([picture for _, picture in iter_frames(path, short_side)])[list(indices)]


def make_audio(path: Path, seconds: float = 0.5) -> Path:
    """A file with sound and no picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        _encode_silence(container, _add_audio(container), seconds)
    return path


def packets(path: Path) -> list[tuple[int, int]]:
    """(position, bytes) of each packet of pictures, in the order of the file."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def zero(path: Path, start: int, stop: int) -> Path:
    """Overwrite the packets start..stop with zeros."""
    data = bytearray(path.read_bytes())
    for position, size in packets(path)[start:stop]:
        data[position : position + size] = bytes(size)
    path.write_bytes(data)
    return path


def truncate(path: Path, share: float) -> Path:
    """Cut a file to a share of its bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path
