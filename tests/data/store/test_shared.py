"""Frames in shared memory: the store's pixels, each decoded once by whoever is first, and nothing left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from stores import stored
from videos import make_video

from fsar_cli.config import ClipConfig
from fsar_cli.data.clips import ClipReader, TrainingEpisodes, episode_loader
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.data.sampling import reachable_indices
from fsar_cli.data.splits.making import make
from fsar_cli.data.splits.tree import scan_tree
from fsar_cli.data.store import shared as shared_module
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.shared import AVAILABLE, SharedFrames, bytes_of, lay_out, share_frames
from fsar_cli.errors import DataError
from fsar_cli.reporting import Silent

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="no memory without a file on this system")

CLIP = ClipConfig(frames=4, size=32, short_side=40, jitter=2)
LISTS = {"train": ["fall", "kick"], "val": [], "test": ["wave"]}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of three sizes."""
    root = tmp_path_factory.mktemp("shared")
    for c, label in enumerate(("fall", "kick", "wave")):
        for v, (width, height) in enumerate(((64, 48), (48, 64), (90, 44))):
            make_video(root / "videos" / label / f"{label}_{v}.mp4", frames=30 + v, first=50 * c + 9 * v,
                       width=width, height=height)  # fmt: skip
    return root


def frames(root: Path, kind: str = "files") -> FrameStore:
    """The store of a kind, made when it is first asked for."""
    place = root / f"frames-{kind}"
    return FrameStore(place) if place.exists() else stored(root / "videos", place, kind, short_side=44)


def shared_of(store: FrameStore, limit: float = float("inf")) -> SharedFrames:
    return SharedFrames(store, lay_out(store, store.ids, CLIP, limit), (CLIP.short_side, CLIP.interpolation))


@pytest.mark.parametrize("kind", ["files", "packed", "videos"])
def test_frames_are_those_of_the_store_when_they_come_and_when_they_are_there(root: Path, kind: str) -> None:
    store = frames(root, kind)
    shared, rng = shared_of(store), np.random.default_rng(0)
    for _ in range(2):
        for video in store.ids:
            known = reachable_indices(store.count(video), CLIP.frames, CLIP.jitter)
            indices = rng.choice(known, 6)  # unordered, some twice
            np.testing.assert_array_equal(shared.read(video, indices), store.read(video, indices, 40))
    assert 0 < shared.filled < sum(store.count(video) for video in store.ids)


def test_what_there_is_no_room_for_is_read_all_the_same(root: Path) -> None:
    store = frames(root)
    shared = shared_of(store, limit=200_000)
    assert 0 < len(shared.rooms) < len(store.ids)
    assert bytes_of(shared.rooms) <= 200_000
    for video in store.ids:
        np.testing.assert_array_equal(shared.read(video, [15, 2]), store.read(video, [15, 2], 40))
    known = set(reachable_indices(30, CLIP.frames, CLIP.jitter).tolist())
    video, unknown = next(iter(shared.rooms)), next(i for i in range(30) if i not in known)
    np.testing.assert_array_equal(shared.read(video, [0, unknown]), store.read(video, [0, unknown], 40))
    with pytest.raises(DataError, match="no video 'kick/none'"):
        shared.read("kick/none", [0])
    with pytest.raises(DataError, match="has no frame 400"):
        shared.read(video, [400])


def test_a_frame_is_decoded_once_by_whichever_loader_process_is_first(root: Path, tmp_path: Path) -> None:
    """When the pictures are gone, all processes and a second round live from memory."""
    store = frames(root)
    folder = tmp_path / "frames"
    folder.symlink_to(store.root)
    sampler = EpisodeSampler(make("arn", scan_tree(folder), lists=LISTS).splits, "train", way=2, shot=2, queries=1)
    reader = ClipReader(FrameStore(folder), CLIP)
    rooms = lay_out(reader.store, sampler.videos, CLIP)
    reader.shared = SharedFrames(reader.store, rooms, (CLIP.short_side, CLIP.interpolation))
    episodes = TrainingEpisodes(reader, sampler, seed=0)
    plain = TrainingEpisodes(ClipReader(FrameStore(folder), CLIP), sampler, seed=0)
    expected = [plain[i].clips.cut() for i in range(30)]
    first = [batch.clips.cut() for batch in episode_loader(episodes, range(30), 2, False)]
    filled = reader.shared.filled
    assert 0 < filled <= len(reader.shared._there)
    reader.store.read = None  # forked processes inherit that nothing can be read any more
    again = [batch.clips.cut() for batch in episode_loader(episodes, range(30), 2, False)]
    here = [episodes[i].clips.cut() for i in range(30)]
    assert all(torch.equal(a, b) for found in (first, again, here) for a, b in zip(found, expected, strict=True))
    assert reader.shared.filled == filled


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_that_fill_the_same_frames_at_once_fill_them_for_all(root: Path, method: str) -> None:
    store = frames(root)
    shared, context = shared_of(store), multiprocessing.get_context(method)
    indices = reachable_indices(30, CLIP.frames, CLIP.jitter).tolist()
    helpers = [context.Process(target=shared.read, args=("fall/fall_0", indices)) for _ in range(2)]
    for helper in helpers:
        helper.start()
    for helper in helpers:
        helper.join()
    assert [helper.exitcode for helper in helpers] == [0, 0]
    assert shared.filled == len(indices)
    expected = store.read("fall/fall_0", indices, 40)
    shared.store = None
    np.testing.assert_array_equal(shared.read("fall/fall_0", indices), expected)


def test_a_frame_that_failed_is_not_taken_for_one_that_is_there(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = shared_of(frames(root))
    with monkeypatch.context() as patch:
        patch.setattr(FrameStore, "read", lambda *_: (_ for _ in ()).throw(DataError("damaged")))
        with pytest.raises(DataError, match="damaged"):
            shared.read("kick/kick_0", [0, 15])
    assert shared.filled == 0
    np.testing.assert_array_equal(shared.read("kick/kick_0", [0]), shared.store.read("kick/kick_0", [0], 40))


def test_a_killed_process_leaves_nothing(root: Path, tmp_path: Path) -> None:
    store = frames(root)
    code = f"""
import time
from pathlib import Path
from fsar_cli.config import ClipConfig
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.shared import SharedFrames, lay_out
store = FrameStore(Path({str(store.root)!r}))
shared = SharedFrames(store, lay_out(store, store.ids, ClipConfig()), (256, "bilinear"))
shared.read("kick/kick_0", [0, 15])
print("full", flush=True)
time.sleep(60)
"""
    memory, before = Path("/dev/shm"), set(Path("/dev/shm").iterdir())
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    try:
        assert child.stdout.readline() == b"full\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    time.sleep(0.1)
    assert not any(tmp_path.iterdir())
    assert not [p for p in set(memory.iterdir()) - before if str(child.pid) in p.name or "fsar" in p.name]


class Listener(Silent):
    def __init__(self) -> None:
        self.details, self.warnings = [], []

    def detail(self, text: str) -> None:
        self.details.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def share(
    root: Path, monkeypatch: pytest.MonkeyPatch, setting: float | str, free: float, part: float = 0.5
) -> tuple[SharedFrames | None, Listener]:
    """`train.frame_cache=setting` on a machine with so many free bytes, of which `auto` may take a part."""
    monkeypatch.setattr(shared_module, "available_memory", lambda: int(free))
    store, listener = frames(root), Listener()
    return share_frames(store, store.ids, CLIP, setting, part, listener), listener


def test_auto_keeps_all_frames_or_none_and_a_number_as_many_as_fit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = frames(root)
    whole = bytes_of(lay_out(store, store.ids, CLIP))
    for part in (0.25, 0.5):
        shared, _ = share(root, monkeypatch, "auto", whole / part + 8, part)
        assert set(shared.rooms) == set(store.ids)
        shared, listener = share(root, monkeypatch, "auto", whole / part - 8, part)
        assert shared is None and "are not kept" in listener.details[0] and not listener.warnings
    shared, listener = share(root, monkeypatch, 0.5 * whole / 2**30, 1e12)
    assert 0 < len(shared.rooms) < len(store.ids) and not listener.warnings
    assert bytes_of(shared.rooms) <= 0.5 * whole
    shared, listener = share(root, monkeypatch, 64.0, whole / 2)
    assert bytes_of(shared.rooms) <= whole / 2 and "64 GiB asked for" in listener.warnings[0]
    assert share(root, monkeypatch, "off", 1e12)[0] is None


def test_without_such_memory_training_goes_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_module, "AVAILABLE", False)
    shared, listener = share(root, monkeypatch, "auto", 1e12)
    assert shared is None and not listener.warnings
    shared, listener = share(root, monkeypatch, 1.0, 1e12)
    assert shared is None and "train.frame_cache" in listener.warnings[0]


def test_memory_that_the_system_refuses_is_one_warning(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(shared_module, "SharedFrames", refuse)
    shared, listener = share(root, monkeypatch, "auto", 1e12)
    assert shared is None and "Cannot allocate memory" in listener.warnings[0]
