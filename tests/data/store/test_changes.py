"""What becomes of a store when its sources are replaced, touched, moved, renamed or gone: alike in every kind."""

import os
import shutil
from pathlib import Path

import pytest
from small_project import Listener
from videos import make_video, read_counter

from fsar_cli.config import ExtractConfig
from fsar_cli.data.store.changes import stale
from fsar_cli.data.store.extraction import ExtractResult, extract
from fsar_cli.data.store.frames import KINDS, FrameStore
from fsar_cli.data.store.sources import find_videos
from fsar_cli.errors import DataError, UsageError

pytestmark = pytest.mark.parametrize("kind", KINDS)
OLD = 10**18  # a time, in ns, long before the tests


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """walk/a, walk/b, run/c of 4 frames that count from 0, 100, 200; new.mp4, from 300."""
    root = tmp_path_factory.mktemp("clips")
    for first, name in enumerate(("v/walk/a", "v/walk/b", "v/run/c", "new")):
        os.utime(make_video(root / f"{name}.mp4", frames=4, first=100 * first), ns=(OLD, OLD))
    return root


@pytest.fixture
def videos(clips: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return Path(shutil.copytree(clips, tmp_path / "clips")) / "v"


def filled(videos: Path, kind: str, listener: Listener | None = None, **arguments: bool) -> ExtractResult:
    """An extraction into the folder `store` beside them."""
    settings, sources = ExtractConfig(short_side=48, store=kind), find_videos([videos]).sources
    return extract(sources, videos.parent / "store", settings, 0, listener or Listener(), **arguments)


def store_of(videos: Path) -> FrameStore:
    return FrameStore(videos.parent / "store")


def first_frame(videos: Path, clip: str) -> int:
    return read_counter(store_of(videos).read(clip, [0])[0])


def replaced(videos: Path) -> None:
    os.replace(videos.parent / "new.mp4", videos / "walk/b.mp4")
    os.utime(videos / "walk/b.mp4", ns=(OLD + 10**10, OLD + 10**10))


def test_a_replaced_video_is_said_to_be_and_extracted_anew(videos: Path, kind: str) -> None:
    filled(videos, kind)
    assert first_frame(videos, "walk/b") == 100 and stale(videos.parent / "store") == {}
    before = {clip: store_of(videos).fingerprint(clip) for clip in store_of(videos).ids}
    replaced(videos)
    assert stale(videos.parent / "store") == {"walk/b": "changed"}
    result = filled(videos, kind, listener := Listener())
    assert (result.done, result.skipped) == (1, 2)
    assert listener.warnings == ["1 clip replaced, as the source has changed: walk/b"]
    assert [first_frame(videos, clip) for clip in ("walk/a", "walk/b", "run/c")] == [0, 300, 200]
    changed = [clip for clip in before if store_of(videos).fingerprint(clip) != before[clip]]
    assert changed == ["walk/b"] and stale(videos.parent / "store") == {}


def test_a_replaced_video_that_keeps_its_size_and_time_is_found_by_content(videos: Path, kind: str) -> None:
    filled(videos, kind)
    data = bytearray((videos / "walk/b.mp4").read_bytes())
    data[-1] ^= 1
    (videos / "walk/b.mp4").write_bytes(data)
    os.utime(videos / "walk/b.mp4", ns=(OLD, OLD))
    assert filled(videos, kind).done == 0
    assert filled(videos, kind, by_content=True).changes.replaced == ["walk/b"]


@pytest.mark.parametrize("way", ["touched", "written anew", "copied elsewhere", "moved elsewhere"])
def test_the_same_content_at_another_time_or_place_stays(videos: Path, kind: str, way: str) -> None:
    filled(videos, kind)
    before = store_of(videos).fingerprint("walk/b")
    if way == "touched":
        os.utime(videos / "walk/b.mp4")
    elif way == "written anew":
        (videos / "walk/b.mp4").write_bytes((videos / "walk/b.mp4").read_bytes())
    else:
        put = shutil.copytree if way.startswith("copied") else shutil.move
        videos = Path(put(videos, videos.parent / "elsewhere"))
    assert stale(videos.parent / "store") == {}
    result = filled(videos, kind, listener := Listener())
    assert (result.done, result.skipped, listener.warnings) == (0, 3, [])
    assert first_frame(videos, "walk/b") == 100
    if kind != "videos":  # which remembers the video's time to find it
        assert store_of(videos).fingerprint("walk/b") == before
    assert Path(store_of(videos).record("walk/b").source) == (videos / "walk/b.mp4").resolve()


def test_what_is_gone_stays_until_it_is_pruned(videos: Path, kind: str) -> None:
    filled(videos, kind)
    (videos / "run/c.mp4").unlink()
    assert stale(videos.parent / "store") == {"run/c": "gone"}
    filled(videos, kind, listener := Listener())
    assert listener.warnings == ["1 clip whose source is gone stay until --prune removes them: run/c"]
    assert "run/c" in store_of(videos)
    assert filled(videos, kind, prune=True).changes.gone == ["run/c"]
    assert store_of(videos).ids == ["walk/a", "walk/b"] and not (videos.parent / "store/run").exists()
    assert [first_frame(videos, clip) for clip in store_of(videos).ids] == [0, 100]
    assert filled(videos, kind, prune=True).changes.gone == []


def test_a_renamed_video_is_recognised(videos: Path, kind: str) -> None:
    filled(videos, kind)
    (videos / "run").rename(videos / "jog")
    result = filled(videos, kind, listener := Listener(), prune=True)
    assert result.changes.renamed == {"run/c": "jog/c"}
    assert listener.warnings[-1] == "1 of them under another name now: jog/c was run/c"
    assert store_of(videos).ids == ["jog/c", "walk/a", "walk/b"] and first_frame(videos, "jog/c") == 200


def test_where_no_source_is_left_the_store_does_without_them(videos: Path, kind: str) -> None:
    filled(videos, kind)
    videos.rename(videos.parent / "away")
    assert stale(videos.parent / "store") == {}


def test_another_video_of_the_same_name_is_refused_while_the_old_one_is_there(videos: Path, kind: str) -> None:
    filled(videos, kind)
    other = videos.parent / "other"
    make_video(other / "walk/b.mp4", frames=4, first=400)
    with pytest.raises(UsageError, match=r"'walk/b' is .*, and .* is another video"):
        extract(find_videos([other]).sources, videos.parent / "store", ExtractConfig(short_side=48, store=kind))
    assert first_frame(videos, "walk/b") == 100


def test_a_video_replaced_by_a_broken_one_leaves_no_old_frames(videos: Path, kind: str) -> None:
    filled(videos, kind)
    (videos / "walk/b.mp4").write_bytes(b"no video")
    result = filled(videos, kind)
    assert [path.name for path, _ in result.failed] == ["b.mp4"]
    assert store_of(videos).ids == ["run/c", "walk/a"]


def test_reading_notices_only_where_the_video_is_read(videos: Path, kind: str) -> None:
    filled(videos, kind)
    replaced(videos)
    if kind != "videos":
        assert first_frame(videos, "walk/b") == 100
        return
    with pytest.raises(DataError, match=r"b\.mp4: is not the file that was indexed") as caught:
        first_frame(videos, "walk/b")
    assert "run `fsar extract-frames` again" in caught.value.hint
