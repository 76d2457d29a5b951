"""What a folder holds: video trees, frame stores, ids, class folders."""

import os
from pathlib import Path

import pytest
from trees import touch

from fsar_cli.data.naming import match_folders
from fsar_cli.data.splits.tree import scan_tree
from fsar_cli.data.store.records import Record, write_manifest
from fsar_cli.errors import DataError


def test_video_tree(tmp_path):
    names = ["b c/2.MP4", "b c/1.avi", "a/x, (1) [y]; !&'.webm", "a/été.mkv", "a/notes.txt", "a/.hidden.mp4", "top.mp4"]
    tree = scan_tree(touch(tmp_path, *names, "empty/readme.md", ".git/clip.mp4"))
    assert tree.kind == "videos"
    assert tree.classes == {"a": ("a/x, (1) [y]; !&'", "a/été"), "b c": ("b c/1", "b c/2")}
    assert tree.ids == {"a/x, (1) [y]; !&'", "a/été", "b c/1", "b c/2"}


def test_files_that_share_a_stem_keep_their_extension(tmp_path):
    tree = scan_tree(touch(tmp_path, "a/x.avi", "a/x.mp4", "a/y.avi", "a/x.y.avi", "b/x.avi"))
    assert tree.classes == {"a": ("a/x.avi", "a/x.mp4", "a/x.y", "a/y"), "b": ("b/x",)}


def test_frame_store_with_and_without_manifest_has_the_ids_of_its_videos(tmp_path):
    videos = scan_tree(touch(tmp_path / "v", "a/1.avi", "a/2.avi", "b/1.mp4"))
    store = touch(tmp_path / "f", "a/1/00000001.jpg", "a/2/00000001.jpg", "b/1/00000001.jpg", "b/half/x.part")
    frames = scan_tree(store)
    assert frames.kind == "frames"
    assert (frames.classes, frames.digest) == (videos.classes, videos.digest)


def test_the_manifest_of_a_store_says_what_is_finished(tmp_path):
    store = touch(tmp_path, "a/1/00000001.jpg", "a/unfinished/00000001.jpg", "b/x, y/00000001.jpg")
    rest = ("a.avi", 64, 48, 25.0, 9, 64, 48, 25.0, 9, 0.36)
    write_manifest(store, [Record("a/1", "a", *rest), Record("b/x, y", "b", *rest)])
    tree = scan_tree(store)
    assert (tree.kind, tree.classes) == ("frames", {"a": ("a/1",), "b": ("b/x, y",)})


def test_a_manifest_of_something_else_is_passed_over(tmp_path):
    touch(tmp_path, "a/1.avi")
    (tmp_path / "manifest.csv").write_text("path,class,frames\na/1.avi,a,12\n")
    assert scan_tree(tmp_path).ids == {"a/1"}


def test_digest_tells_ids_apart(tmp_path):
    one, two = (scan_tree(touch(tmp_path / name, f"a/{name}.avi")) for name in "xy")
    assert one.digest != two.digest


def test_the_same_spelling_wins_and_ambiguity_is_refused():
    assert match_folders(["a_b", "gone"], ["a b", "a_b", "c"]) == {"a_b": "a_b"}
    assert match_folders(["a b"], ["A_B"]) == {"a b": "A_B"}
    with pytest.raises(DataError, match="the class 'a_b' could be the folder 'A_b' or 'a b'"):
        match_folders(["a_b"], ["a b", "A_b"])


def test_folders_without_videos_are_refused(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        scan_tree(tmp_path / "none")
    with pytest.raises(DataError, match="no video in") as error:
        scan_tree(touch(tmp_path, "a/readme.txt"))
    assert "CLASS/VIDEO" in error.value.hint


def test_a_flat_folder_is_one_class_of_its_own_name(tmp_path, monkeypatch):
    root = touch(tmp_path / "20bn videos", "1.webm", "2.WEBM", "2.mp4", "x.txt", ".3.webm", "notes/a.txt")
    ids = ("20bn videos/1", "20bn videos/2.WEBM", "20bn videos/2.mp4")
    tree = scan_tree(root)
    assert (tree.kind, tree.flat, tree.classes) == ("videos", True, {"20bn videos": ids})
    assert tree.files == dict(zip(ids, (root / name for name in ("1.webm", "2.WEBM", "2.mp4")), strict=True))
    monkeypatch.chdir(root)
    for spelling in (Path("."), Path("../20bn videos"), Path("notes/..")):
        assert scan_tree(spelling).classes == {"20bn videos": ids}
    touch(root, "kick/1.webm")
    assert (scan_tree(root).flat, scan_tree(root).classes) == (False, {"kick": ("kick/1",)})


def test_a_broken_file_name_is_shown(tmp_path):
    (tmp_path / "a").mkdir()
    try:
        open(os.fsencode(tmp_path) + b"/a/caf\xe9.avi", "w").close()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(DataError, match=r"a/caf\\udce9 is not valid UTF-8"):
        scan_tree(tmp_path)


def test_clips_of_one_video_are_known_by_it_and_those_of_a_video_each_are_not(tmp_path):
    rest = (64, 48, 25.0, 9, 64, 48, 25.0, 9, 0.36)
    clips = [Record("a/1", "a", "v/a/day.mp4", *rest), Record("b/2", "b", "v/b/day.mp4", *rest)]
    write_manifest(touch(tmp_path, "a/1/00000001.jpg", "b/2/00000001.jpg", "b/3/00000001.jpg"), clips)
    assert scan_tree(tmp_path).cut_from() == {}
    write_manifest(tmp_path, [*clips, Record("b/3", "b", "v/a/day.mp4", *rest)])
    assert scan_tree(tmp_path).cut_from() == {"a/1": "a/day.mp4", "b/2": "b/day.mp4", "b/3": "a/day.mp4"}


def test_a_tree_of_videos_is_cut_from_nothing_and_told_in_words(tmp_path):
    tree = scan_tree(touch(tmp_path, "a/1.mp4", "a/2.mp4", "b/1.mp4"))
    assert tree.cut_from() == {} and not tree.is_store
    assert str(tree) == f"2 classes, 3 videos, ids {tree.digest}"
