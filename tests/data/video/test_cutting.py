"""Stretches of a video: the same frames, pixels and times as a decode from the start gives, and quickly."""

import random
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from videos import make_video, packets, read_counter, truncate, zero

from fsar_cli.data.video import cutting, iter_frames
from fsar_cli.errors import DataError

OPEN = {"x264-params": "open-gop=1:b-pyramid=normal:scenecut=0"}
UNEVEN = [700 + at for at in accumulate(20 + i * i % 37 for i in range(160))]
QUICK = {
    "bframes.mp4": {"bframes": 3, "gop": 24},
    "fragments.mp4": {"bframes": 3, "gop": 24, "muxer": {"movflags": "frag_keyframe+empty_moov"}},
    "open.mkv": {"bframes": 3, "gop": 24, "options": OPEN},
    "open.ts": {"bframes": 3, "gop": 24, "options": OPEN},
    "uneven_late.mp4": {"bframes": 2, "gop": 24, "pts": UNEVEN},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "turned.mov": {"bframes": 3, "gop": 24, "rotation": 90, "width": 96},
    "intra.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "interlaced.ts": {"codec": "mpeg2video", "bframes": 2},
}
"""Files in which a stretch far from the start is found by seeking."""
SLOW = {
    "bframes.avi": {"codec": "mpeg4", "bframes": 2, "options": {"mpeg4_unpack_bframes": "0"}},
    "one_group.mp4": {"gop": 1000},
    "refresh.mkv": {"gop": 24, "options": {"x264-params": "intra-refresh=1:bframes=3"}},
    "program.mpg": {"codec": "mpeg2video", "bframes": 2},
    "picture.gif": {"codec": "gif", "pix_fmt": "rgb8"},
}
"""Files in which the index may not be believed, or there is none: whatever way is taken, the result is the same."""


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many times a file was decoded from its start since the last call."""
    calls = []
    honest = cutting.timed_frames

    def counted(*arguments):
        calls.append(1)
        return honest(*arguments)

    def since() -> int:
        number = len(calls)
        calls.clear()
        return number

    monkeypatch.setattr(cutting, "timed_frames", counted)
    return since


def _assert_same(path: Path, everything: list, start: float, end: float | None, **options) -> None:
    wanted = [(s, p) for s, p in everything if start <= s and (end is None or s < end)]
    got = list(iter_frames(path, start=start, end=end, **options))
    assert [s for s, _ in got] == [s for s, _ in wanted], (start, end)
    assert all(np.array_equal(mine, his) for (_, mine), (_, his) in zip(got, wanted, strict=True)), (start, end)


def _stretches(times: list[float]) -> Iterator[tuple[float, float | None]]:
    """Ends on a frame, just beside one and anywhere; the first frames, the last ones, and past the end."""
    middle = len(times) // 2
    yield from [(times[middle], times[middle + 9]), (times[middle] + 1e-9, times[middle + 1] + 1e-9)]
    yield from [(times[110] - 1e-9, times[110] + 1e-9), (times[-1], times[-1] + 50), (times[-30], None)]
    yield from [(times[1], times[3]), (0.0, times[2]), (times[24], times[50])]
    rng = random.Random(len(times))
    for start in (rng.uniform(0, times[-2]) for _ in range(2)):
        yield start, start + rng.uniform(0.1, 1)


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_a_stretch_is_what_a_whole_decode_gives(tmp_path: Path, decodes, name: str) -> None:
    path = make_video(tmp_path / name, frames=160, content="motion", **{**QUICK, **SLOW}[name])
    everything = list(iter_frames(path))
    times = [seconds for seconds, _ in everything]
    assert len(times) == 160
    for start, end in _stretches(times):
        _assert_same(path, everything, start, end)
    decodes()
    _assert_same(path, everything, times[110], times[120], threads=1)
    if name in QUICK:
        assert decodes() == 0, "it was found by seeking"
    if path.suffix in (".mkv", ".webm") and name in QUICK:
        _assert_same(path, everything, times[-20], None)
        assert decodes() == 0, "to the last frame"


def test_packed_bframes(shared: Path) -> None:
    path = min((shared / "data/ut_interaction/kick").glob("*.avi"))
    everything = list(iter_frames(path, 64))
    times = [seconds for seconds, _ in everything]
    for start, end in [(times[30], times[50]), (times[7] + 0.01, times[9]), (times[-4], None)]:
        _assert_same(path, everything, start, end, short_side=64)


def _copied(source: Path, target: Path, shift: int = 0, after: float = 0.0) -> Path:
    """The packets of a video from `after` on, all stamps moved by `shift` ticks."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None and packet.pts * packet.time_base >= after:
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                new.mux(packet)
    return target


def test_an_edit_list_and_a_clock_that_starts_anywhere(tmp_path: Path, decodes) -> None:
    plain = make_video(tmp_path / "plain.mp4", frames=220, bframes=3, gop=24, content="motion")
    for target in (
        _copied(plain, tmp_path / "edit.mp4", after=3.37),
        _copied(plain, tmp_path / "late.mkv", shift=12345),
        _copied(plain, tmp_path / "late.ts", shift=15360 * 90),
    ):
        everything = list(iter_frames(target))
        times = [seconds for seconds, _ in everything]
        assert times[0] == 0
        decodes()
        for start in (times[60], times[80] + 0.001):
            _assert_same(target, everything, start, start + 0.5)
        assert decodes() == 0


def test_two_videos_in_one_stream_are_read_from_the_start(tmp_path: Path, decodes) -> None:
    """The clock is set back by a second and a half where the second begins: a stamp says nothing then."""
    sizes = ({"width": 64, "height": 48}, {"width": 128, "height": 72})
    parts = [
        make_video(tmp_path / f"{n}.ts", frames=200, gop=24, first=1000 * n, bframes=0, **size)
        for n, size in enumerate(sizes)
    ]
    parts[1] = _copied(parts[1], tmp_path / "shifted.ts", shift=5 * 90000)
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    everything = list(iter_frames(path))
    times = [seconds for seconds, _ in everything]
    decodes()
    for first in (150, 180, 230, 380):
        _assert_same(path, everything, times[first], times[first + 10])
    assert decodes() > 0
    assert {picture.shape for _, picture in everything} == {(48, 64, 3)}, "the size of the first frame"


def test_damage_and_cuts_are_met_as_in_a_whole_decode(tmp_path: Path) -> None:
    path = zero(make_video(tmp_path / "a.avi", frames=230, codec="mjpeg", pix_fmt="yuvj420p"), 200, 205)
    seen = [read_counter(picture) for _, picture in iter_frames(path, start=6.5, end=7)]
    assert seen == [*range(195, 200), *range(205, 210)]
    whole = make_video(tmp_path / "b.mp4", frames=300, bframes=0, gop=24, muxer={"movflags": "faststart"})
    truncate(whole, 0.7)
    assert [read_counter(p) for _, p in iter_frames(whole, start=4, end=5)] == list(range(120, 150))
    with pytest.raises(DataError, match="is cut off"):
        list(iter_frames(whole, start=4, end=9.9))
    lengthened = make_video(tmp_path / "c.avi", frames=300, codec="mjpeg", pix_fmt="yuvj420p")
    end = packets(lengthened)[200][0]
    lengthened.write_bytes(lengthened.read_bytes()[: end - 8])  # at the end of a packet: nothing else is amiss
    assert sum(1 for _ in iter_frames(lengthened, start=6, end=6.5)) == 15
    with pytest.raises(DataError, match="is cut off"):
        list(iter_frames(lengthened, start=6, end=9))


class _Packet(SimpleNamespace):
    """A packet whose decoding gives frames with these stamps."""

    def __init__(self, pts: int | None, *stamps: int, pos: int = 0, **fault) -> None:
        frames = [SimpleNamespace(**{"pts": s, "is_corrupt": False, "key_frame": s == 100, **fault}) for s in stamps]
        super().__init__(pts=pts, pos=pos, size=1, is_discard=False, is_corrupt=False, decode=lambda: frames)


@pytest.mark.parametrize(
    ("packets", "stamps", "exact"),
    [
        ([_Packet(100), _Packet(120, 100), _Packet(110, 110, 120)], [100, 110, 120], True),
        ([_Packet(100), _Packet(80, 80, 100), _Packet(110, 110)], [100, 110], True),
        ([_Packet(100, 100), _Packet(110), _Packet(120, 120)], [100], False),
        ([_Packet(100, 100), _Packet(110, 110), _Packet(120)], [100, 110], False),
        ([_Packet(100, 100), _Packet(110, 110, 110)], [100, 110], False),
        ([_Packet(100, 100), _Packet(110), _Packet(110, 110, 110)], [100, 110], False),
        ([_Packet(100, 100), _Packet(120, 120), _Packet(110, 110)], [100, 120], False),
        ([_Packet(100, 100, is_corrupt=True)], [], False),
        ([_Packet(100, 100, key_frame=False)], [], False),
        ([_Packet(100, 100), _Packet(None, 110)], [100], False),
    ],
    ids=(
        *("reordered", "open group", "lost", "withheld", "twice", "same stamp", "backwards"),
        *("corrupt", "no key", "no stamp"),
    ),
)
def test_seeking_is_believed_while_every_packet_gives_its_frame(packets: list, stamps: list[int], exact: bool) -> None:
    container = SimpleNamespace(seek=lambda *_, **__: None, demux=lambda _: iter(packets))
    got, believed = [], True
    try:
        got.extend(frame.pts for frame in cutting._decoded(container, None, 0, packets[0], None))
    except cutting._Inexact:
        believed = False
    assert (got, believed) == (stamps, exact)


COUNT = range(0, 400, 10)


@pytest.mark.parametrize(
    ("stamps", "key", "exact"),
    [
        (COUNT, 250, True),
        (COUNT, 390, True),
        ([0, 30, 10, 20, 60, 40, 50, 90, 70, 80], 60, True),
        ([*COUNT, *range(300, 600, 10)], 500, False),
        ([*COUNT, 390, *range(400, 600, 10)], 500, False),
        ([*range(0, 100, 10), None, *range(110, 600, 10)], 500, False),
        ([*COUNT, *range(300, 600, 10)], 100, True),
    ],
    ids=["plain", "the last", "reordered", "set back", "repeated", "none", "set back later"],
)
def test_the_clock_before_the_stretch_must_run_forward(
    monkeypatch: pytest.MonkeyPatch, stamps: list, key: int, exact: bool
) -> None:
    packets = [_Packet(stamp, pos=place) for place, stamp in enumerate(stamps)]
    container = SimpleNamespace(demux=lambda _: iter(packets))
    monkeypatch.setattr(cutting, "open_video", lambda *_, **__: nullcontext((container, None)))
    first = max(place for place, stamp in enumerate(stamps) if stamp == key)
    walk = cutting._walk(Path("a.mkv"), packets[first])
    if not exact:
        with pytest.raises(cutting._Inexact):
            next(walk)
        return
    for packet in packets[first : first + 5]:
        assert next(walk) == (packet.pts, packet.pos, 1)


def test_a_lost_frame_after_the_seek_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "a.mp4", frames=200, gop=24)
    honest = cutting._decoded

    def lossy(*arguments):
        yield from (frame for number, frame in enumerate(honest(*arguments)) if number < 30)
        raise cutting._Inexact

    monkeypatch.setattr(cutting, "_decoded", lossy)
    assert [read_counter(p) for _, p in iter_frames(path, start=4, end=6)] == list(range(120, 180))


def test_the_index_of_keep_counts_from_the_stretch(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=200, gop=24)
    kept = [read_counter(p) for _, p in iter_frames(path, keep=lambda index, _: index % 10 == 0, start=4, end=5)]
    assert kept == [120, 130, 140]


def test_a_stretch_without_a_frame_is_refused_with_the_real_length(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=150, gop=24)
    with pytest.raises(DataError, match=r"has no frame between 7 s and 9 s; its last comes after 5\.0 s"):
        list(iter_frames(path, start=7, end=9))
    with pytest.raises(DataError, match=r"has no frame from 7 s on"):
        list(iter_frames(path, start=7))
    with pytest.raises(DataError, match=r"has no frame between 4\.001 s and 4\.002 s$"):
        list(iter_frames(path, start=4.001, end=4.002))
    with pytest.raises(DataError, match="no such file"):
        list(iter_frames(tmp_path / "absent.mp4", start=7))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_stretch_costs_its_own_length_and_a_group(
    tmp_path: Path, decodes, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = make_video(tmp_path / f"long.{suffix}", frames=1000, fps=10, gop=50)
    honest, decoded = cutting._decoded, []

    def counted(*arguments):
        for frame in honest(*arguments):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(cutting, "_decoded", counted)
    if suffix == "mp4":
        monkeypatch.setattr(cutting, "_walk", lambda *_: pytest.fail("an indexed file is read from the start"))
    assert [read_counter(p) for _, p in iter_frames(path, threads=1, start=80, end=85)] == list(range(800, 850))
    assert decodes() == 0
    assert len(decoded) <= 50 + 50 + 1
