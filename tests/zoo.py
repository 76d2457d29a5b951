"""A mixed folder of bad and odd videos: every kind that downloads, cameras and file systems have been seen to leave.

`EXHIBITS` is the table: how each file is made and what must become of it, either frames (a number, or the least and
the most where the decoder may conceal damage) or a reason. `make_zoo` builds it as class/video folders.
"""

import os
import random
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from PIL import Image
from videos import draw_counter, make_audio, make_video, packets, truncate, zero

FRAMES = 24
NOT_READABLE, CUT, NO_FRAME = "not a readable video", "is cut off", "no frame could be decoded"
NO_HEAD = f"{NOT_READABLE}|no video stream"


@dataclass(frozen=True)
class Exhibit:
    """One file of the zoo and what must become of it."""

    place: str
    """class/name; may hold bytes that are not UTF-8, as surrogates."""
    make: Callable[[Path], object]
    frames: int | tuple[int, int] | None = None
    """Frames that are read; None: it is refused."""
    reason: str = ""
    """What the refusal matches (a regular expression)."""
    counted: bool = True
    """Whether the frames show their numbers 0, 1, 2, ..."""


def _video(**options) -> Callable[[Path], object]:
    return lambda path: make_video(path, **{"frames": FRAMES, **options})


def _disguised(suffix: str, **options) -> Callable[[Path], object]:
    """A video of another container under this name."""
    return lambda path: os.replace(make_video(path.with_suffix(suffix), **{"frames": FRAMES, **options}), path)


def _bytes(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def _cut(share: float, **options) -> Callable[[Path], object]:
    """A video cut to a share of its bytes; above 1, so many bytes are cut off."""

    def make(path: Path) -> None:
        make_video(path, **{"frames": FRAMES, "content": "noise", **options})
        size = path.stat().st_size
        kept = size * share if share < 1 else size - share
        truncate(path, (kept // 188 * 188 + 94 if path.suffix == ".ts" else kept) / size)

    return make


KINDS = {
    "mp4": {},
    "faststart.mp4": {"muxer": {"movflags": "faststart"}},
    "fragmented.mp4": {"muxer": {"movflags": "frag_keyframe+empty_moov"}},
    "mov": {"muxer": {"movflags": "faststart"}},
    "avi": {"codec": "mpeg4"},
    "mkv": {},
    "webm": {"codec": "libvpx"},
    "ts": {},
    "flv": {"codec": "flv"},
}
# Of each kind: cut in its head, to half of its bytes, and its last 20 bytes lost.
CUTS: dict[str, list[str | int]] = {
    "mp4": [NOT_READABLE, NOT_READABLE, FRAMES],  # what is needed to read it comes last
    "faststart.mp4": [NO_HEAD, CUT, CUT],
    "fragmented.mp4": [NO_HEAD, CUT, FRAMES],  # an index behind the last picture
    "mov": [NO_HEAD, CUT, CUT],
    "avi": [NO_HEAD, CUT, FRAMES],
    "mkv": [NO_HEAD, CUT, FRAMES],
    "webm": [NO_HEAD, CUT, FRAMES],
    "ts": [f"{NO_HEAD}|{CUT}", CUT, CUT],
    "flv": [NO_HEAD, CUT, CUT],
}


def _cuts() -> Iterator[Exhibit]:
    shares = {"head": 0.003, "50": 0.5, "end": 20}
    for kind, outcomes in CUTS.items():
        for (label, share), outcome in zip(shares.items(), outcomes, strict=True):
            stem, _, suffix = kind.rpartition(".")
            place, refused = f"cut/{stem}{label}.{suffix}", isinstance(outcome, str)
            make = _cut(share, **KINDS[kind])
            yield Exhibit(place, make, None if refused else outcome, outcome if refused else "", counted=False)


def _zeroed(start: int, stop: int, frames: int = FRAMES) -> Callable[[Path], object]:
    """Motion JPEG whose frames start..stop are zeros."""
    return lambda path: zero(make_video(path, frames=frames, codec="mjpeg", pix_fmt="yuvj420p"), start, stop)


def _flipped(path: Path) -> None:
    """H.264 with 40 flipped bits after the first picture."""
    make_video(path, frames=FRAMES, content="noise")
    data, dice = bytearray(path.read_bytes()), random.Random(0)
    (first, size), *_, (last, length) = packets(path)
    for position in dice.sample(range(first + size, last + length), 40):
        data[position] ^= 1 << dice.randrange(8)
    path.write_bytes(data)


def _claims(side: int) -> Callable[[Path], object]:
    """An AVI of raw pictures 64 x 48 whose head says side x side."""

    def make(path: Path) -> None:
        make_video(path, frames=3, codec="rawvideo", pix_fmt="bgr24")
        data = bytearray(path.read_bytes())
        head = data.index(b"strf") + 12
        data[head : head + 8] = side.to_bytes(4, "little") * 2
        path.write_bytes(data)

    return make


def _backwards(path: Path) -> None:
    """Two recordings glued together: the clock is set back in the middle."""
    halves = [make_video(path.with_name(f"{half}.ts"), frames=12, first=12 * half) for half in (0, 1)]
    path.write_bytes(b"".join(half.read_bytes() for half in halves))
    for half in halves:
        half.unlink()


def _covered(path: Path) -> None:
    """A song with a cover picture."""
    cover = BytesIO()
    Image.new("RGB", (64, 48), (200, 30, 30)).save(cover, "JPEG")
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16000)
        sound.layout = "mono"
        picture = container.add_stream("mjpeg")
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuvj420p"
        picture.disposition = av.stream.Disposition.attached_pic
        for start in range(0, 16000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
        packet = av.Packet(cover.getvalue())
        packet.stream, packet.pts, packet.dts = picture, 0, 0
        container.mux(packet)


def _streams(path: Path, second: bool = False, aspect: Fraction | None = None, text: bool = False) -> None:
    """A counter with another picture stream, with oblong pixels, or with subtitles before it."""
    with av.open(str(path), "w") as container:
        words = container.add_mux_stream("subrip") if text else None
        streams = [container.add_stream("libx264", rate=30) for _ in range(1 + second)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            if aspect:
                stream.codec_context.sample_aspect_ratio = aspect
        if words is not None:
            packet = av.Packet(b"a line of text")
            packet.stream, packet.pts, packet.dts, packet.duration = words, 0, 0, 500
            packet.time_base = Fraction(1, 1000)
            container.mux(packet)
        for index in range(FRAMES):
            for offset, stream in enumerate(streams):
                frame = av.VideoFrame.from_ndarray(draw_counter(index + 1000 * offset, 64, 48), format="rgb24")
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))


def _picture(kind: str) -> bytes:
    data = BytesIO()
    Image.fromarray(draw_counter(5, 64, 48)).save(data, kind)
    return data.getvalue()


def _socket(path: Path) -> None:
    old = Path.cwd()
    os.chdir(path.parent)  # the address of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(path.name)
    finally:
        os.chdir(old)


def _forbidden() -> Iterator[Exhibit]:
    if os.geteuid():
        yield Exhibit(
            "access/forbidden.mp4",
            lambda p: make_video(p, frames=3).chmod(0),
            reason="cannot be read .Permission denied",
        )
    elif os.path.exists(secret := "/proc/sys/vm/compact_memory") and not os.access(secret, os.R_OK):
        # Even root may not read this one.
        yield Exhibit(
            "access/forbidden.mp4", lambda p: p.symlink_to(secret), reason="cannot be read .Permission denied"
        )


NAMES = [
    *("café composed", "cafe\u0301 decomposed", "\u202eright-to-left \u05e9\u05dc\u05d5\u05dd", "視頻 видео"),
    *("\U0001f468\u200d\U0001f469\u200d\U0001f467 family \U0001f3ac", "\U0001f3ac" * 61, "v" * 246),
    *("line\nbreak", "tab\tstop", "-leading dash", "--help", "'single' \"double\"", "[brackets] (and) {braces}"),
    *("%d %s %05d", "http: colon", "file:a", "back\\slash", "comma, semicolon;", "$HOME `ls` !& |", "*?", "#1"),
    *(" space around ", "trailing dot.", "a.b.c", "CON"),
]
BYTES = [b"caf\xe9 latin-1", b"\xff\xfe\x80 none"]


def _names() -> Iterator[Exhibit]:
    latin = [os.fsdecode(name) for name in BYTES] if sys.platform == "linux" else []
    for name in [*NAMES, *latin]:
        yield Exhibit(f"names/{name}.mp4", _video(frames=3), 3)


X265 = {"codec": "libx265", "options": {"x265-params": "log-level=none"}}
RECORDERS = {
    "h264": {"bframes": 3}, "264": {}, "hevc": X265, "265": X265, "mxf": {"codec": "mpeg2video", "fps": 25},
    "3g2": {"codec": "mpeg4"}, "f4v": {}, "y4m": {"codec": "wrapped_avframe"},
    "gif": {"codec": "gif", "pix_fmt": "rgb8"}, "mjpeg": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "m2v": {"codec": "mpeg2video"}, "nut": {"codec": "mpeg4"},
    "rm": {"codec": "rv20", "width": 176, "height": 144}, "vob": {"codec": "mpeg2video"}, "mts": {"bframes": 3},
    "m2ts": {}, "asf": {"codec": "wmv2"}, "ivf": {"codec": "libvpx"},
}  # fmt: skip
"""What surveillance recorders and their programs leave, by suffix; raw streams have neither index nor time stamps."""

EXHIBITS: list[Exhibit] = [
    Exhibit("junk/empty.mp4", _bytes(b""), reason=r"is empty \(0 bytes\)"),
    Exhibit("junk/one byte.mp4", _bytes(b"\0"), reason=NOT_READABLE),
    Exhibit("junk/zeros.avi", _bytes(bytes(10_000)), reason=NOT_READABLE),
    Exhibit("junk/noise.mp4", _bytes(random.Random(1).randbytes(50_000)), reason=NO_HEAD),
    Exhibit("junk/text.webm", _bytes(b"not a video\n" * 50), reason=NOT_READABLE),
    Exhibit("junk/page.mkv", _bytes(b"<!doctype html><title>404 Not Found</title>"), reason=NOT_READABLE),
    Exhibit("junk/photo.mp4", _bytes(_picture("JPEG")), reason="still picture"),
    Exhibit("junk/drawing.mp4", _bytes(_picture("PNG")), reason="still picture"),
    Exhibit("junk/sound.mp4", make_audio, reason="has sound but no picture"),
    Exhibit("junk/song.mp4", _covered, reason="has sound but no picture"),
    Exhibit("junk/huge.avi", _claims(16000), reason="declares pictures of 16000 x 16000; at most"),
    Exhibit("junk/beyond.avi", _claims(2**31 - 1), reason=NO_FRAME),  # more than the decoder itself would open
    *_cuts(),
    Exhibit("damaged/five frames.avi", _zeroed(10, 15), FRAMES - 5, counted=False),
    Exhibit("damaged/all frames.avi", _zeroed(0, FRAMES), reason=NO_FRAME),
    Exhibit("damaged/sixty frames.avi", _zeroed(20, 80, 90), reason=r"30 frames in a row do not decode \(after 20"),
    Exhibit("damaged/flipped bits.mp4", _flipped, (FRAMES // 2, FRAMES), counted=False),
    Exhibit("odd/one frame.mp4", _video(frames=1), 1),
    Exhibit("odd/variable rate.mp4", _video(pts=[20 * i + 3 * i * i for i in range(FRAMES)]), FRAMES),
    Exhibit("odd/late start.mkv", _video(pts=[60_000 + 40 * i for i in range(FRAMES)]), FRAMES),
    Exhibit("odd/gap.mp4", _video(pts=[0, 33, 66, 600_000, 600_033]), 5),
    Exhibit("odd/clock set back.ts", _backwards, FRAMES),
    Exhibit("odd/turned 90.mp4", _video(rotation=90), FRAMES),
    Exhibit("odd/turned 270.mp4", _video(rotation=270), FRAMES),
    Exhibit("odd/33x47.mkv", _video(width=33, height=47, codec="ffv1"), FRAMES),
    Exhibit("odd/34x480.mp4", _video(width=34, height=480), FRAMES),
    Exhibit("odd/10-bit.mkv", _video(pix_fmt="yuv420p10le"), FRAMES),
    Exhibit("odd/10-bit 4-2-2.mov", _video(codec="prores", pix_fmt="yuv422p10le"), FRAMES),
    Exhibit("odd/4-4-4.mp4", _video(pix_fmt="yuv444p"), FRAMES),
    Exhibit("odd/grey.mp4", _video(pix_fmt="gray"), FRAMES),
    Exhibit("odd/full range.avi", _video(codec="mjpeg", pix_fmt="yuvj420p"), FRAMES),
    Exhibit("odd/alpha.mov", _video(codec="qtrle", pix_fmt="argb"), FRAMES),
    Exhibit("odd/alpha.webm", _video(codec="libvpx-vp9", pix_fmt="yuva420p"), FRAMES),
    Exhibit("odd/gif.mp4", _disguised(".gif", codec="gif", pix_fmt="rgb8"), FRAMES),
    Exhibit("odd/avi inside.mp4", _disguised(".avi", codec="mpeg4"), FRAMES),
    Exhibit("odd/mp4 inside.avi", _disguised(".mp4"), FRAMES),
    Exhibit("odd/capitals.MP4", _disguised(".mp4"), FRAMES),
    Exhibit("odd/two pictures.mkv", lambda path: _streams(path, second=True), FRAMES),
    Exhibit("odd/oblong pixels.mp4", lambda path: _streams(path, aspect=Fraction(4, 3)), FRAMES),
    Exhibit("odd/subtitles.mkv", lambda path: _streams(path, text=True), FRAMES),
    Exhibit("odd/sound.mp4", _video(audio=True), FRAMES),
    Exhibit("odd/interlaced.mp4", _video(options={"x264-params": "tff=1"}), FRAMES),
    Exhibit("odd/one key frame.mp4", _video(gop=1000, bframes=3), FRAMES),
    Exhibit("odd/windows.wmv", _video(codec="wmv2"), FRAMES),
    Exhibit("odd/disc.mpg", _video(codec="mpeg2video"), FRAMES),
    Exhibit("odd/phone.3gp", _video(codec="mpeg4"), FRAMES),
    *(Exhibit(f"recorders/a.{suffix}", _video(**how), FRAMES) for suffix, how in RECORDERS.items()),
    Exhibit("recorders/disguised.dav", _disguised(".mpg", codec="mpeg2video"), FRAMES),
    Exhibit("odd/hevc.mp4", _video(codec="libx265", options={"x265-params": "log-level=none"}), FRAMES),
    Exhibit("access/broken link.mp4", lambda p: p.symlink_to("nowhere.mp4"), reason="no such file"),
    Exhibit("access/loop.mp4", lambda p: p.symlink_to(p.name), reason="cannot be read"),
    Exhibit("access/good link.mp4", lambda p: p.symlink_to("../odd/sound.mp4"), FRAMES),
    Exhibit("access/folder.mp4", lambda p: p.mkdir(), reason="is a folder"),
    Exhibit("access/link to folder.mp4", lambda p: p.symlink_to("../odd"), reason="is a folder"),
    Exhibit("access/pipe.mp4", os.mkfifo, reason="is a pipe, socket or device"),
    Exhibit("access/socket.mp4", _socket, reason="is a pipe, socket or device"),
    Exhibit("access/device.mp4", lambda p: p.symlink_to("/dev/zero"), reason="is a pipe, socket or device"),
    *_forbidden(),
    *_names(),
]

LEFT_OUT = {
    "hidden": ["odd/.hidden.mp4", ".cache/thumbnail.mp4"],
    "not_video": ["odd/notes.txt", "odd/animation.webp", "odd/poster.jpg", "odd/no suffix", "readme.md"],
    "misplaced": ["at the root.mp4", "odd/deeper/clip.mp4"],
}
"""Files that are no exhibits, by how the listing counts them."""


def make_zoo(root: Path) -> None:
    """Build every exhibit and every file that is left out, in a folder that does not exist yet."""
    for exhibit in EXHIBITS:
        path = root / exhibit.place
        path.parent.mkdir(parents=True, exist_ok=True)
        exhibit.make(path)
    for place in (place for places in LEFT_OUT.values() for place in places):
        (root / place).parent.mkdir(exist_ok=True)
        (root / place).write_bytes(b"left out")
