"""Which videos really decode, what is kept of that, and what happens when it is cut short."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from trees import touch
from videos import make_audio, make_video, truncate

from fsar_cli.cli.output import ConsoleReporter
from fsar_cli.config import ExtractConfig
from fsar_cli.data.checking import decoding, verdicts
from fsar_cli.data.checking.decoding import decode, look
from fsar_cli.data.checking.verdicts import Verdict, Verdicts
from fsar_cli.data.splits.tree import scan_tree
from fsar_cli.data.store.extraction import extract
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.loose import frame_name
from fsar_cli.data.store.sources import find_videos
from fsar_cli.errors import DataError, Interrupted

ODD = 'a, "b" [c]\n(d);&é'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good and bad videos of two classes."""
    root = tmp_path_factory.mktemp("made")
    make_video(root / "kick/good.mp4", frames=12)
    make_video(root / "kick/same.mp4", frames=9)
    make_video(root / "kick/same.avi", frames=5, codec="mpeg4")
    make_video(root / ODD / f"{ODD}.MP4", frames=3)
    truncate(make_video(root / ODD / "half.mp4", 40, content="noise", muxer={"movflags": "faststart"}), 0.7)
    (root / "kick/empty.mp4").touch()
    (root / "kick/garbage.mkv").write_bytes(b"no video at all" * 100)
    make_audio(root / "kick/sound.mp4")
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "videos, all [1]"))


COUNTS = {"kick/good": 12, "kick/same.mp4": 9, "kick/same.avi": 5, f"{ODD}/{ODD}": 3}
BAD = {f"{ODD}/half": "cut off", "kick/empty": "empty", "kick/garbage": "not a readable", "kick/sound": "no picture"}


def spy(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are decoded from here on."""
    seen: list[Path] = []
    real = decoding.decode_file
    monkeypatch.setattr(decoding, "decode_file", lambda path: (seen.append(path), real(path))[1])
    return seen


def test_good_videos_are_counted_and_bad_ones_have_a_reason(made: Path, tmp_path: Path):
    root, tree = made, scan_tree(made)
    verdicts = decode(tree, tree.ids, tmp_path / "cache")
    assert {video: v.frames for video, v in verdicts.items() if not v.reason} == COUNTS
    reasons = {video: v.reason for video, v in verdicts.items() if v.reason}
    assert reasons.keys() == BAD.keys()
    for video, text in BAD.items():
        assert text in reasons[video] and str(root) not in reasons[video]


def test_the_files_are_those_of_the_tree(root: Path):
    tree, sources = scan_tree(touch(root, "kick/.hidden.mp4", "kick/notes.txt")), find_videos([root]).sources
    assert tree.files.keys() == tree.ids
    assert tree.files == {source.id: source.path for source in sources}


def test_the_second_run_decodes_nothing(root: Path, tmp_path: Path, monkeypatch):
    tree = scan_tree(root)
    first = decode(tree, tree.ids, tmp_path / "cache")
    seen = spy(monkeypatch)
    assert decode(tree, tree.ids, tmp_path / "cache") == first
    assert seen == []
    # Seen from elsewhere it is the same tree, and a copy is another.
    monkeypatch.chdir(tmp_path)
    relative = scan_tree(Path(root.name))
    assert decode(relative, relative.ids, tmp_path / "cache") == first
    assert seen == []
    twin = scan_tree(Path(shutil.copytree(root, tmp_path / "twin")))
    decode(twin, twin.ids, tmp_path / "cache")
    assert len(seen) == len(tree.ids) and len(list((tmp_path / "cache/decoded").iterdir())) == 2


def test_changed_videos_are_decoded_again(root: Path, tmp_path: Path, monkeypatch):
    tree = scan_tree(root)
    decode(tree, tree.ids, tmp_path / "cache")
    make_video(root / "kick/empty.mp4", frames=6)
    other = make_video(tmp_path / "other.mp4", frames=12, first=50).read_bytes()
    before = (root / "kick/good.mp4").stat()
    (root / "kick/good.mp4").write_bytes(other[: before.st_size].ljust(before.st_size, b"\0"))
    os.utime(root / "kick/good.mp4", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    seen = spy(monkeypatch)
    verdicts = decode(tree, tree.ids, tmp_path / "cache")
    assert sorted(seen) == [root / "kick/empty.mp4", root / "kick/good.mp4"]
    assert verdicts["kick/empty"] == Verdict(6)


def test_a_video_that_changes_while_it_is_decoded_is_decoded_again(root: Path, tmp_path: Path, monkeypatch):
    tree, real = scan_tree(root), decoding.decode_file

    def copied_meanwhile(path):
        verdict = real(path)
        make_video(path, frames=20)
        return verdict

    with monkeypatch.context() as patched:
        patched.setattr(decoding, "decode_file", copied_meanwhile)
        assert decode(tree, ["kick/empty"], tmp_path / "cache")["kick/empty"].reason
    assert decode(tree, ["kick/empty"], tmp_path / "cache")["kick/empty"] == Verdict(20)


def test_only_what_is_asked_for_is_decoded_and_twins_are_two_videos(root: Path, tmp_path: Path, monkeypatch):
    (root / "sit").mkdir()
    shutil.copy2(root / "kick/good.mp4", root / "sit/good.mp4")
    tree = scan_tree(root)
    seen = spy(monkeypatch)
    decode(tree, ["kick/good"], tmp_path / "cache")
    assert seen == [root / "kick/good.mp4"]
    with Verdicts(tmp_path / "cache", root) as kept:
        assert kept.get(root / "kick/good.mp4") == Verdict(12) and kept.get(root / "sit/good.mp4") is None


def test_a_torn_last_row_costs_that_video_only(root: Path, tmp_path: Path, monkeypatch):
    tree = scan_tree(root)
    decode(tree, tree.ids, tmp_path / "cache")
    (file,) = (tmp_path / "cache/decoded").iterdir()
    whole = file.read_bytes()
    last = whole.rstrip(b"\n").rindex(b"\n") + 1
    for cut in range(last, len(whole)):
        file.write_bytes(whole[:cut])
        with Verdicts(tmp_path / "cache", tree.root) as kept:
            known = [kept.get(path) is not None for path in tree.files.values()]
        assert sum(known) == len(tree.ids) - 1
    file.write_bytes(whole[: last + 9])
    seen = spy(monkeypatch)
    decode(tree, tree.ids, tmp_path / "cache")
    assert len(seen) == 1
    assert sorted(file.read_bytes().splitlines()) == sorted(whole.splitlines())


def test_results_of_other_versions_do_not_count(made: Path, tmp_path: Path, monkeypatch):
    tree = scan_tree(made)
    decode(tree, tree.ids, tmp_path / "cache")
    monkeypatch.setattr(verdicts, "version", lambda name: "0.1")
    seen = spy(monkeypatch)
    decode(tree, tree.ids, tmp_path / "cache")
    assert len(seen) == len(tree.ids)


def test_a_cache_that_cannot_be_written_is_said_and_done_without(made: Path, tmp_path: Path, capsys):
    (tmp_path / "cache").write_text("a file in the way")
    tree = scan_tree(made)
    verdicts = decode(tree, tree.ids, tmp_path / "cache", reporter=ConsoleReporter(quiet=True))
    assert {video for video, v in verdicts.items() if not v.reason} == COUNTS.keys()
    assert capsys.readouterr().err.count("will not be kept") == 1


def test_a_cache_that_one_may_only_read_is_read(root: Path, tmp_path: Path, monkeypatch):
    tree = scan_tree(root)
    first = decode(tree, tree.ids, tmp_path / "cache")
    seen = spy(monkeypatch)

    def refuse(*_: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(verdicts.os, "open", refuse)
    assert decode(tree, tree.ids, tmp_path / "cache") == first
    assert seen == []


def test_what_the_disk_refused_is_tried_again(root: Path, tmp_path: Path, monkeypatch):
    tree = scan_tree(root)
    real = Path.open

    def refuse(self, *arguments, **options):
        if self.name == "good.mp4":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refuse)
        verdict = decode(tree, tree.ids, tmp_path / "cache")["kick/good"]
    assert "Permission denied" in verdict.reason
    assert decode(tree, tree.ids, tmp_path / "cache")["kick/good"] == Verdict(12)


def test_a_video_that_is_gone_is_named(root: Path, tmp_path: Path):
    tree = scan_tree(root)
    (root / "kick/good.mp4").unlink()
    verdicts = decode(tree, tree.ids, tmp_path / "cache")
    assert "no such file" in verdicts["kick/good"].reason
    assert verdicts["kick/same.mp4"] == Verdict(9)


def die_over_good(path: Path) -> Verdict:
    if path.name == "good.mp4":
        os.kill(os.getpid(), signal.SIGKILL)
    return Verdict(1)


def test_a_worker_that_dies_is_the_verdict_on_its_video(root: Path, tmp_path: Path, monkeypatch):
    tree = scan_tree(root)
    with monkeypatch.context() as patched:
        patched.setattr(decoding, "decode_file", die_over_good)
        verdicts = decode(tree, tree.ids, tmp_path / "cache", workers=2)
    assert {video for video, v in verdicts.items() if v.reason} == {"kick/good"}
    assert verdicts["kick/good"].reason == "its worker process died (SIGKILL, perhaps out of memory)"
    seen = spy(monkeypatch)  # that is not held against the video
    assert decode(tree, tree.ids, tmp_path / "cache")["kick/good"] == Verdict(12)
    assert seen == [root / "kick/good.mp4"]


@pytest.mark.parametrize("after", [0, 3])
def test_ctrl_c_keeps_what_was_decoded(root: Path, tmp_path: Path, monkeypatch, after: int):
    tree, real, calls = scan_tree(root), decoding.decode_file, []

    def interrupted(path):
        if len(calls) == after:
            raise KeyboardInterrupt
        calls.append(path)
        return real(path)

    with monkeypatch.context() as patched:
        patched.setattr(decoding, "decode_file", interrupted)
        with pytest.raises(Interrupted, match=f"{after} of 8 videos were decoded") as error:
            decode(tree, tree.ids, tmp_path / "cache")
    assert "goes on from there" in error.value.hint
    seen = spy(monkeypatch)
    decode(tree, tree.ids, tmp_path / "cache")
    assert len(seen) == 8 - after and not set(seen) & set(calls)


def test_look_tells_frames_from_reasons(made: Path, tmp_path: Path):
    tree = scan_tree(made)
    assert look(tree, tree.ids, 8, None).frames is None and look(tree, tree.ids, 8, None).undecodable is None
    seen = look(tree, tree.ids, 8, tmp_path / "cache")
    assert seen.least == 8 and seen.frames == COUNTS and seen.undecodable.keys() == BAD.keys()


@pytest.fixture
def store(tree: Path, tmp_path: Path) -> Path:
    """12 videos of 12 to 17 frames as JPEG files."""
    extract(find_videos([tree]).sources, tmp_path / "store", ExtractConfig(short_side=36))
    return tmp_path / "store"


def test_a_store_knows_its_frames_without_decoding(store: Path, tmp_path: Path):
    tree, known = scan_tree(store), FrameStore(store)
    assert look(tree, tree.ids, 8, None).frames == {video: known.count(video) for video in known.ids}
    verdicts = decode(tree, tree.ids, tmp_path / "cache", workers=2)
    assert verdicts == {video: Verdict(known.count(video)) for video in known.ids}
    assert not (tmp_path / "cache").exists()


def test_damage_in_a_store_is_found(store: Path, tmp_path: Path):
    tree, known = scan_tree(store), FrameStore(store)
    decode(tree, tree.ids, tmp_path / "cache")
    last = frame_name(known.count("climb/climb_1") - 1)
    (store / "climb/climb_0" / frame_name(2)).unlink()
    (store / "climb/climb_1" / last).write_bytes((store / "climb/climb_1" / last).read_bytes()[:80])
    (store / "fall/fall_0/seconds.txt").write_text("0.0\n")
    shutil.rmtree(store / "kick/kick_2")
    verdicts = decode(tree, tree.ids, tmp_path / "cache")
    reasons = {video: verdict.reason for video, verdict in verdicts.items() if verdict.reason}
    assert reasons.keys() == {"climb/climb_0", "climb/climb_1", "fall/fall_0", "kick/kick_2"}
    assert "1 of its 12 frames are missing, the first is 00000003.jpg" in reasons["climb/climb_0"]
    assert last in reasons["climb/climb_1"]


def test_pictures_without_a_manifest_are_no_store(tmp_path: Path):
    tree = scan_tree(touch(tmp_path / "pictures", "kick/a/00000001.jpg"))
    assert look(tree, tree.ids, 8, None).frames is None
    with pytest.raises(DataError, match="is not a frame store"):
        decode(tree, tree.ids, tmp_path / "cache")


def test_a_video_too_large_for_memory_is_tried_again(root: Path, tmp_path: Path, monkeypatch):
    tree = scan_tree(root)

    def too_large(path: Path, threads: int) -> int:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(decoding, "count_frames", too_large)
        verdict = decode(tree, ["kick/good"], tmp_path / "cache")["kick/good"]
    assert verdict == Verdict(0, "its frames do not fit into memory", lasting=False)
    assert decode(tree, ["kick/good"], tmp_path / "cache")["kick/good"] == Verdict(12)


def test_a_disk_that_fills_up_costs_the_keeping_and_no_verdict(made: Path, tmp_path: Path, monkeypatch, capsys):
    tree, written = scan_tree(made), []

    def full(_: int, line: bytes) -> int:
        written.append(line)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(verdicts.os, "write", full)
        found = decode(tree, tree.ids, tmp_path / "cache", reporter=ConsoleReporter(quiet=True))
    assert {video: v.frames for video, v in found.items() if not v.reason} == COUNTS
    assert len(written) == 1 and "No space left on device; what is decoded from here" in capsys.readouterr().err
    with Verdicts(tmp_path / "cache", tree.root) as kept:
        assert not any(kept.get(path) for path in tree.files.values())


def test_lines_of_other_types_are_no_verdicts(root: Path, tmp_path: Path):
    tree, path = scan_tree(root), root / "kick/good.mp4"
    decode(tree, ["kick/good"], tmp_path / "cache")
    (file,) = (tmp_path / "cache/decoded").iterdir()
    good = file.read_bytes()
    for old, new in ((b', 12, ""', b', "12", ""'), (b', 12, ""', b", 12, null"), (b', 12, ""', b', true, ""')):
        file.write_bytes(good.replace(old, new))
        with Verdicts(tmp_path / "cache", root) as kept:
            assert kept.get(path) is None
    file.write_bytes(good)
    with Verdicts(tmp_path / "cache", root) as kept:
        assert kept.get(path) == Verdict(12)
