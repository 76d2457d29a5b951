"""Files that end too early: found where the container can tell, and never where nothing is missing."""

import random
from pathlib import Path

import av
import numpy as np
import pytest
from videos import draw_noise, make_video, packets

from fsar_cli.data.video import count_frames, iter_frames
from fsar_cli.errors import DataError

KINDS = {
    "header_first.mp4": {"muxer": {"movflags": "faststart"}},
    "fragmented.mp4": {"muxer": {"movflags": "frag_keyframe+empty_moov"}},
    "quicktime.mov": {"muxer": {"movflags": "faststart"}},
    "plain.avi": {"codec": "mpeg4"},
    "sound.mkv": {"audio": True},
    "cues_first.mkv": {"muxer": {"reserve_index_space": "2000"}},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "plain.flv": {"codec": "flv"},
    "plain.ts": {},
    "disc.m2ts": {"muxer": {"mpegts_m2ts_mode": "1"}},
}

PACKETS = {".ts": 188, ".m2ts": 192}
"""A cut between two packets of a transport stream cannot be known."""


def _make(folder: Path, name: str, **options) -> Path:
    return make_video(folder / name, **{"frames": 50, "content": "noise", **KINDS.get(name, {}), **options})


def _cut(path: Path, size: int) -> Path:
    cut = path.with_name(f"cut_{path.name}")
    cut.write_bytes(path.read_bytes()[:size])
    return cut


@pytest.mark.parametrize("name", KINDS)
def test_a_whole_file_is_whole_and_a_cut_is_named_after_the_last_good_frame(tmp_path: Path, name: str) -> None:
    path = _make(tmp_path, name)
    assert count_frames(path) == 50
    for share in (0.3, 0.5, 0.95):
        size, packet, seen = int(path.stat().st_size * share), PACKETS.get(path.suffix, 1), 0
        with pytest.raises(DataError, match=r"is cut off: .* are there") as caught:
            for _ in iter_frames(_cut(path, size // packet * packet + packet // 2)):
                seen += 1
        assert 0 < seen < (50 if share < 0.9 else 51)
        assert f"its first {seen} frames decode" in caught.value.message


@pytest.mark.parametrize("name", ["sound.mkv", "vp9.webm", "plain.flv", "plain.ts", "header_first.mp4", "plain.avi"])
def test_no_cut_passes_for_the_whole(tmp_path: Path, name: str) -> None:
    path = _make(tmp_path, name, frames=20, width=32, height=24)
    whole, data = count_frames(path), path.read_bytes()
    for size in random.Random(0).sample(range(len(data)), 30):
        cut = _cut(path, size)
        try:
            assert count_frames(cut) == whole, f"{size} of {len(data)} bytes"
        except DataError as error:
            assert str(cut) in error.message
        except AssertionError:
            # What the module says cannot be known: a transport stream cut between two packets.
            assert name == "plain.ts", f"{size} of {len(data)} bytes"
            assert size % 188 == 0


def _live(path: Path, kind: str, **options: str) -> Path:
    """A recording onto a stream that cannot go back: no lengths, no index, no duration."""

    class OneWay:
        def __init__(self) -> None:
            self.data = bytearray()

        def write(self, data: bytes) -> int:
            self.data += data
            return len(data)

    out = OneWay()
    with av.open(out, "w", format=kind, options=options) as container:
        stream = container.add_stream("libvpx" if kind == "webm" else "flv" if kind == "flv" else "libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", 12
        for index in range(50):
            frame = av.VideoFrame.from_ndarray(draw_noise(index, 64, 48), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    path.write_bytes(out.data)
    return path


LIVE = {
    "matroska": ("matroska", {}),
    "matroska clusters without length": ("matroska", {"live": "1"}),
    "webm": ("webm", {"live": "1"}),
    "flv": ("flv", {"flvflags": "no_duration_filesize"}),
    "mp4": ("mp4", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
    "mpegts": ("mpegts", {}),
}


@pytest.mark.parametrize("name", LIVE)
def test_a_live_recording_is_whole_and_one_that_stopped_in_a_frame_is_cut_off(tmp_path: Path, name: str) -> None:
    kind, options = LIVE[name]
    path = _live(tmp_path / "live.video", kind, **options)
    with av.open(str(path)) as container:
        unknown = not container.streams.video[0].duration
    assert kind in ("mpegts", "mp4") or unknown, "its length is not written anywhere"
    assert count_frames(path) == 50
    position, size = packets(path)[30]
    with pytest.raises(DataError, match="is cut off"):
        count_frames(_cut(path, position + size // 2 + 7))


def test_a_flv_is_known_by_its_header_and_a_fragment_by_its_length(tmp_path: Path) -> None:
    """A cut between two tags; a cut in the head of a fragment, of which no sample is known then."""
    path = _make(tmp_path, "plain.flv")
    with pytest.raises(DataError, match="is cut off"):
        count_frames(_cut(path, packets(path)[30][0]))
    path = _make(tmp_path, "fragmented.mp4")
    with pytest.raises(DataError, match="is cut off"):
        count_frames(_cut(path, path.read_bytes().rindex(b"moof") + 20))


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_lost_index_alone_is_no_loss(tmp_path: Path, suffix: str) -> None:
    muxer = {"mkv": {}, "mp4": {"movflags": "frag_keyframe+empty_moov"}}[suffix]
    path = make_video(tmp_path / f"a.{suffix}", frames=30, muxer=muxer)
    assert count_frames(_cut(path, path.stat().st_size - 5)) == 30


def test_something_behind_the_end_is_no_loss(tmp_path: Path) -> None:
    for name in ("plain.ts", "plain.flv", "sound.mkv", "plain.avi"):
        path = _make(tmp_path, name)
        with path.open("ab") as file:
            file.write(bytes(np.random.default_rng(0).integers(0, 71, 1000, dtype=np.uint8)))
        assert count_frames(path) == 50, name


def test_wrong_lengths_in_real_clips_are_no_loss(shared: Path) -> None:
    """Ten of these 120 AVI files name a list of frames twice as long as the file, and are whole."""
    paths = sorted((shared / "data/ut_interaction").glob("*/*.avi"))
    named = {path: count_frames(path, threads=1) for path in paths if path.stem in ("set1_38_seq07", "set2_55_seq20")}
    assert len(named) == 2
    assert all(count > 50 for count in named.values())


def test_an_avi_whose_header_counts_fields_is_whole_as_long_as_its_index_is_there(tmp_path: Path) -> None:
    """As remuxed H.264 has it: twice the frames."""
    path = _make(tmp_path, "plain.avi")
    data = bytearray(path.read_bytes())
    length = data.index(b"strh") + 40
    data[length : length + 4] = (100).to_bytes(4, "little")
    path.write_bytes(data)
    assert count_frames(path) == 50
    assert count_frames(_cut(path, data.index(b"idx1") + 20)) == 50, "all frames lie before an index that begins"
    with pytest.raises(DataError, match="50 of 100 frames are there"):
        count_frames(_cut(path, data.index(b"idx1")))
    with pytest.raises(DataError, match="of 100 frames are there"):
        count_frames(_cut(path, len(data) // 2))
