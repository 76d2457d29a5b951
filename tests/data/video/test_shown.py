"""What a container says about its pictures is obeyed as `ffmpeg` does, and by all three kinds of store alike."""

import struct
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageOps
from stores import stored
from videos import draw_counter, draw_motion, frames_at, make_video, read_counter
from zoo import RECORDERS

from fsar_cli.data.store.frames import KINDS
from fsar_cli.data.video import iter_frames, probe
from fsar_cli.errors import DataError

WIDTH, HEIGHT = 64, 48


def _packed(container, stream, index: int) -> None:
    picture = av.VideoFrame.from_ndarray(draw_counter(index, stream.width, stream.height), format="rgb24")
    container.mux(stream.encode(picture))


def _several(path: Path, *streams: tuple[int, int, int], frames: int = 6) -> Path:
    """Streams of (first number, width, disposition); all are encoded at the same rate."""
    with av.open(str(path), "w") as container:
        made = []
        for first, width, disposition in streams:
            stream = container.add_stream("mjpeg" if disposition == COVER else "mpeg4", rate=10)
            stream.width, stream.height = width, HEIGHT
            stream.pix_fmt = "yuvj420p" if disposition == COVER else "yuv420p"
            stream.disposition = disposition
            made.append((stream, first))
        for index in range(frames):
            for stream, first in made:
                if index == 0 or stream.disposition != COVER:
                    _packed(container, stream, first + index)
        for stream, _ in made:
            container.mux(stream.encode(None))
    return path


PLAIN, DEFAULT, COVER = 0, int(av.stream.Disposition.default), int(av.stream.Disposition.attached_pic)


@pytest.mark.parametrize(
    ("suffix", "streams", "chosen"),
    [
        ("mp4", [(100, 32, PLAIN), (200, 64, DEFAULT)], 1),
        ("mp4", [(100, 96, PLAIN), (200, 64, DEFAULT)], 1),
        ("mkv", [(100, 96, PLAIN), (200, 64, DEFAULT)], 1),
        ("mkv", [(100, 32, DEFAULT), (200, 64, DEFAULT), (300, 64, DEFAULT)], 1),
        ("avi", [(100, 32, PLAIN), (200, 64, PLAIN)], 1),
        ("ts", [(100, 64, PLAIN), (200, 64, PLAIN)], 0),
        ("mp4", [(100, 96, COVER), (200, 64, PLAIN)], 1),
    ],
)
def test_the_stream_is_the_default_one_then_the_largest_then_the_first(
    tmp_path: Path, suffix: str, streams: list, chosen: int
) -> None:
    path = _several(tmp_path / f"a.{suffix}", *streams)
    numbers = [read_counter(picture) for _, picture in iter_frames(path)]
    assert numbers == [streams[chosen][0] + index for index in range(6)]
    assert probe(path).width == streams[chosen][1]


def _turned(path: Path, transposed: bool, across: bool, over: bool) -> Path:
    """A counter that is upright after these steps; its display matrix says so."""
    matrix = [[0, -1 if over else 1], [-1 if across else 1, 0]] if transposed else None
    (a, b), (c, d) = matrix or [[-1 if across else 1, 0], [0, -1 if over else 1]]
    one = 1 << 16
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height = (HEIGHT, WIDTH) if transposed else (WIDTH, HEIGHT)
        stream.pix_fmt = "yuv420p"
        stream.set_display_matrix([a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30])
        for index in range(4):
            stored_so = draw_counter(1000 + index, WIDTH, HEIGHT)[:: -1 if over else 1, :: -1 if across else 1]
            stored_so = np.ascontiguousarray(stored_so.swapaxes(0, 1) if transposed else stored_so)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(stored_so, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def _exif(path: Path, orientation: int) -> Path:
    """Motion JPEG whose pictures say in their EXIF how they are held."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        for index in range(3):
            packet = av.Packet(_jpeg(index, orientation))
            packet.stream, packet.pts, packet.dts, packet.is_keyframe = stream, index, index, True
            container.mux(packet)
    return path


def _jpeg(index: int, orientation: int) -> bytes:
    image, data = Image.fromarray(draw_motion(index, WIDTH, HEIGHT)), BytesIO()
    exif = image.getexif()
    exif[274] = orientation
    image.save(data, "JPEG", quality=95, exif=exif)
    return data.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_of_a_jpeg_are_set_upright(tmp_path: Path, orientation: int) -> None:
    path = _exif(tmp_path / "a.avi", orientation)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(_jpeg(2, orientation)))), float)
    picture = frames_at(path, [2])[0]
    assert picture.shape == upright.shape and np.abs(picture - upright).mean() < 1
    assert (probe(path).height, probe(path).width) == upright.shape[:2]


def _matroska_crop(path: Path, edge: bytes) -> Path:
    """8 pixels off an edge, by PixelCrop in the place of an element of the same length (DisplayUnit)."""
    make_video(path, frames=6, content="motion")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"\x54\xb2\x81\x04", b"\x54" + edge + b"\x81\x08", 1))
    return path


def _clean_aperture(path: Path) -> Path:
    """48 x 36 of 64 x 48, 4 right and 2 above of the middle: `clap` at the end of the description of the pictures."""
    make_video(path, frames=6, content="motion", codec="mjpeg", pix_fmt="yuvj420p", muxer={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    box = struct.pack(">I4s8i", 40, b"clap", 48, 1, 36, 1, 4, 1, -2, 1)
    starts = [data.index(name) - 4 for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")]
    offsets = data.index(b"stco") + 12
    entry = starts[-1] + 16
    for start in [*starts, entry]:
        struct.pack_into(">I", data, start, struct.unpack_from(">I", data, start)[0] + len(box))
    for chunk in range(struct.unpack_from(">I", data, offsets - 4)[0]):
        place = offsets + 4 * chunk
        struct.pack_into(">I", data, place, struct.unpack_from(">I", data, place)[0] + len(box))
    end = entry + struct.unpack_from(">I", data, entry)[0] - len(box)
    data[end:end] = box
    path.write_bytes(data)
    return path


CROPS = {
    "top.mkv": (lambda path: _matroska_crop(path, b"\xbb"), np.s_[8:, :]),
    "bottom.mkv": (lambda path: _matroska_crop(path, b"\xaa"), np.s_[:-8, :]),
    "left.mkv": (lambda path: _matroska_crop(path, b"\xcc"), np.s_[:, 8:]),
    "right.mkv": (lambda path: _matroska_crop(path, b"\xdd"), np.s_[:, :-8]),
    "clap.mov": (_clean_aperture, np.s_[4:40, 12:60]),
}


@pytest.mark.parametrize("name", CROPS)
def test_pictures_are_cut_to_what_the_container_wants_shown(tmp_path: Path, name: str) -> None:
    make, part = CROPS[name]
    path = make(tmp_path / name)
    with av.open(str(path)) as container:
        whole = [frame.to_ndarray(format="rgb24")[part].astype(float) for frame in container.decode(video=0)]
    pictures, late = ([picture for _, picture in iter_frames(path, start=start)] for start in (0, 0.1))
    assert len(pictures) == 6 and all(a.shape == b.shape for a, b in zip(pictures, whole, strict=True))
    assert all(np.abs(a - b).mean() < 3 for a, b in zip(pictures, whole, strict=True))
    assert (probe(path).height, probe(path).width) == pictures[0].shape[:2]
    assert np.array_equal(pictures[3:], late), "also where decoding begins within the video"


@pytest.mark.parametrize("short_side", [None, 36, 24])
def test_a_frame_marked_as_interlaced_is_scaled_like_any_other(tmp_path: Path, short_side: int | None) -> None:
    pictures = []
    for name, fields in (("whole", ""), ("fields", "tff=1:")):
        options = {"x264-params": f"{fields}qp=0"}
        path = make_video(tmp_path / f"{name}.mp4", frames=2, content="noise", options=options)
        pictures.append(next(iter_frames(path, short_side))[1])
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    assert np.array_equal(*pictures)


def test_colours_that_swscale_cannot_read_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.colorspace = 8  # YCgCo
        _packed(container, stream, 1)
        container.mux(stream.encode(None))
    with pytest.raises(DataError, match=r"a\.mkv: has pictures whose colours cannot be read \(Operation not supp"):
        next(iter_frames(path))


def _palette(path: Path) -> None:
    """Pictures of indices into a table of colours, the eighth of which is red."""
    colours = np.tile(np.arange(256, dtype=np.uint8)[:, None], (1, 4))
    colours[:, 0], colours[7] = 255, (255, 200, 30, 30)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "pal8"
        for _ in range(3):
            indices = np.full((HEIGHT, WIDTH), 7, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray((indices, colours), format="pal8")))
        container.mux(stream.encode(None))


SPECIAL: dict[str, Callable[[Path], object]] = {
    **{
        f"turned {''.join('01'[bit] for bit in bits)}.mp4": lambda path, bits=bits: _turned(path, *bits)
        for bits in np.ndindex(2, 2, 2)
    },
    "exif.avi": lambda path: _exif(path, 5),
    "preview.mp4": lambda path: _several(path, (100, 32, PLAIN), (200, 64, DEFAULT)),
    "fields.mp4": lambda path: make_video(path, frames=6, options={"x264-params": "tff=1"}),
    "palette.mov": _palette,
    "alpha.mov": lambda path: make_video(path, frames=6, codec="prores_ks", pix_fmt="yuva444p10le"),
    "bt2020.mp4": lambda path: make_video(path, frames=6, pix_fmt="yuv420p10le", options={"colorspace": "bt2020nc"}),
    "oblong.mp4": lambda path: make_video(path, frames=6, options={"aspect": str(Fraction(2))}),
    **{name: make for name, (make, _) in CROPS.items()},
    **{f"raw.{suffix}": lambda path, how=how: make_video(path, frames=14, **how) for suffix, how in RECORDERS.items()},
}


def test_all_kinds_of_store_show_the_same(tmp_path: Path) -> None:
    for name, make in SPECIAL.items():
        (tmp_path / "all/a").mkdir(parents=True, exist_ok=True)
        make(tmp_path / "all/a" / name)
    files, packed, videos = (stored(tmp_path / "all", tmp_path / kind, kind, quality=95) for kind in KINDS)
    assert len(files) == len(SPECIAL) and files.ids == packed.ids == videos.ids
    for clip in files.ids:
        every = range(files.count(clip))
        record, pictures = files.record(clip), files.read(clip, every)
        for other in (packed, videos):
            same = other.record(clip)
            assert (same.width, same.height, same.frames) == (record.width, record.height, record.frames), clip
            assert np.array_equal(other.seconds(clip), files.seconds(clip)), clip
        assert np.array_equal(packed.read(clip, every), pictures), clip
        assert np.abs(videos.read(clip, every).astype(float) - pictures).mean() < 6, clip  # they were no JPEGs
        if "palette" in clip:
            assert np.abs(pictures.astype(int) - (200, 30, 30)).max() < 4
        if "turned" in clip:
            assert [read_counter(picture) for picture in pictures] == [1000, 1001, 1002, 1003], clip
