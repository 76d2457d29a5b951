"""One content in two splits, as a copy or a link, in trees of videos and in frame stores."""

import os
import shutil
from pathlib import Path

import pytest
from small_project import Listener
from stores import extracted
from trees import touch
from videos import make_video

from fsar_cli.data.splits import Splits, Video
from fsar_cli.data.splits import twins as module
from fsar_cli.data.splits.tree import Tree, scan_tree
from fsar_cli.data.splits.twins import END, accepts_twins, find_twins, refuse_twins
from fsar_cli.errors import DataError

WAYS = {
    "copy": shutil.copyfile,
    "hard link": os.link,
    "symbolic link": lambda old, new: os.symlink(os.path.relpath(old, new.parent), new),
}
TWINS = (("train", "walk/a"), ("test", "fall/x"))


def splits_of(tree: Tree, **header: str) -> Splits:
    """walk in train, the other classes in test."""
    classes = ((("train" if cls == "walk" else "test"), cls, ids) for cls, ids in tree.classes.items())
    return Splits(tuple((split, Video(cls, video)) for split, cls, ids in classes for video in ids), header)


def twins_of(tree: Tree) -> list:
    return find_twins(((split, video.id) for split, video in splits_of(tree).rows), tree)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Files of 9 bytes, each of another content."""
    for name in touch(tmp_path / "v", "walk/a.mp4", "walk/b.mp4", "fall/c.mp4").rglob("*.mp4"):
        name.write_bytes(f"content {name.stem}".encode())
    return tmp_path / "v"


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_is_there_twice_is_found(root: Path, way: str) -> None:
    assert twins_of(scan_tree(root)) == []
    WAYS[way](root / "walk/a.mp4", root / "fall/x.mp4")
    assert twins_of(scan_tree(root)) == [TWINS]


def test_twice_in_one_split_is_no_matter(root: Path) -> None:
    shutil.copyfile(root / "walk/a.mp4", root / "walk/x.mp4")
    assert twins_of(scan_tree(root)) == []


def test_a_class_that_is_a_link_to_another_is_all_twins(root: Path) -> None:
    (root / "jump").symlink_to("walk")
    assert twins_of(scan_tree(root)) == [(("train", f"walk/{n}"), ("test", f"jump/{n}")) for n in "ab"]


def test_files_of_one_size_that_end_alike_are_told_apart(root: Path) -> None:
    for name, first in (("walk/a.mp4", b"a"), ("fall/x.mp4", b"x")):
        (root / name).write_bytes(first + bytes(END))
    assert twins_of(scan_tree(root)) == []


def test_only_files_of_one_size_are_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, path in enumerate(sorted(root.rglob("*.mp4"))):
        path.write_bytes(bytes(10 + number))
    read = []
    monkeypatch.setattr(module, "_end", read.append)
    assert (twins_of(scan_tree(root)), read) == ([], [])


@pytest.mark.parametrize("kind", ["files", "videos"])
def test_a_store_remembers_what_its_clips_were_made_from(tmp_path: Path, kind: str) -> None:
    make_video(tmp_path / "v/walk/a.mp4", frames=3)
    make_video(tmp_path / "v/fall/y.mp4", frames=3, first=9)
    shutil.copyfile(tmp_path / "v/walk/a.mp4", tmp_path / "v/fall/x.mp4")
    assert not extracted(tmp_path / "v", tmp_path / "s", store=kind).failed
    shutil.rmtree(tmp_path / "v")
    assert twins_of(scan_tree(tmp_path / "s")) == [TWINS]


def test_twins_are_refused_by_name_unless_they_are_accepted(root: Path) -> None:
    shutil.copyfile(root / "walk/a.mp4", root / "fall/x.mp4")
    tree, listener = scan_tree(root), Listener()
    said = "1 video of the same content in two splits: train walk/a = test fall/x"
    with pytest.raises(DataError) as caught:
        refuse_twins(splits_of(tree), tree, False, listener)
    assert caught.value.message == said and "--allow-duplicates" in caught.value.hint
    taken = refuse_twins(splits_of(tree), tree, True, listener)
    assert accepts_twins(taken) and refuse_twins(taken, tree, False, listener) == taken
    published = splits_of(tree, protocol="hmdb51-arn")
    assert refuse_twins(published, tree, False, listener) == published
    assert listener.warnings == [said] * 3


def test_pictures_of_other_tools_are_not_compared(tmp_path: Path) -> None:
    tree = scan_tree(touch(tmp_path, "walk/a/00000001.jpg", "fall/x/00000001.jpg"))
    assert tree.kind == "frames" and not tree.is_store and twins_of(tree) == []


def test_a_list_without_twins_comes_back_as_it_is(root: Path) -> None:
    tree, listener = scan_tree(root), Listener()
    splits = splits_of(tree)
    assert refuse_twins(splits, tree, True, listener) is splits and listener.warnings == []


def test_a_file_that_is_gone_is_the_twin_of_none(root: Path) -> None:
    shutil.copyfile(root / "walk/a.mp4", root / "fall/x.mp4")
    tree = scan_tree(root)
    assert twins_of(tree) == [TWINS]
    (root / "walk/a.mp4").unlink()
    assert twins_of(tree) == []
