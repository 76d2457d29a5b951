"""What an extraction reads and how it names it."""

from pathlib import Path

import pytest

from fsar_cli.data.store.sources import find_videos
from fsar_cli.errors import DataError, UsageError


def _touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def _ids(*inputs: Path) -> list[str]:
    return [source.id for source in find_videos(inputs).sources]


def test_tree(tmp_path: Path) -> None:
    root = _touch(tmp_path, "kick/b.AVI", "kick/a (1).mp4", "Ärger/x.y.WebM")
    found = find_videos([root])
    assert [(s.id, s.label, s.path) for s in found.sources] == [
        ("kick/a (1)", "kick", root / "kick/a (1).mp4"),
        ("kick/b", "kick", root / "kick/b.AVI"),
        ("Ärger/x.y", "Ärger", root / "Ärger/x.y.WebM"),
    ]
    assert found.left_out() == ""


def test_left_out_files_are_counted_and_said(tmp_path: Path) -> None:
    _touch(tmp_path, "kick/a.mp4", "kick/.b.mp4", ".git/c.mp4", "kick/notes.txt", "readme.md")
    _touch(tmp_path, "top.mp4", "kick/part/deep.mp4")
    found = find_videos([tmp_path])
    assert [source.id for source in found.sources] == ["kick/a"]
    assert (found.hidden, len(found.not_video), len(found.misplaced)) == (2, 2, 2)
    assert found.left_out().startswith(
        "left out: 2 hidden, 2 without a video suffix (notes.txt, readme.md), 2 not at class/video (such as "
    )


def test_of_many_files_without_a_video_suffix_one_of_each_of_the_first_kinds_is_named(tmp_path: Path) -> None:
    _touch(tmp_path, "a/v.dav", *(f"a/{n}.idx" for n in range(9)), "a/b.SUB", "a/c.xml", "a/d.zip")
    left_out = find_videos([tmp_path]).left_out()
    assert left_out == "left out: 12 without a video suffix (0.idx, b.SUB, c.xml, ...)"


def test_a_folder_of_videos_alone_is_one_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _touch(tmp_path / "my videos [1]", "b.mp4", "a.AVI", "notes.txt", ".c.mp4")
    found = find_videos([root])
    assert [(s.id, s.label) for s in found.sources] == [
        ("my videos [1]/a", "my videos [1]"),
        ("my videos [1]/b", "my videos [1]"),
    ]
    assert (found.hidden, len(found.not_video), found.misplaced) == (1, 1, [])
    monkeypatch.chdir(root)
    assert _ids(Path(".")) == ["my videos [1]/a", "my videos [1]/b"]
    _touch(root, "deep/er/d.mp4")
    with pytest.raises(DataError, match="3 not at class/video"):
        _ids(root)
    _touch(root, "kick/k.mp4")
    assert _ids(root) == ["kick/k"]


def test_a_flat_folder_beside_a_tree(tmp_path: Path) -> None:
    _touch(tmp_path, "tree/kick/a.mp4", "tree/top.mp4", "flat/b.mp4")
    found = find_videos([tmp_path / "tree", tmp_path / "flat"])
    assert [source.id for source in found.sources] == ["flat/b", "kick/a"]
    assert [path.name for path in found.misplaced] == ["top.mp4"]


def test_a_shared_stem_keeps_the_suffix(tmp_path: Path) -> None:
    _touch(tmp_path, "kick/a.avi", "kick/a.mp4", "kick/b.mp4", "push/a.avi")
    assert _ids(tmp_path) == ["kick/a.avi", "kick/a.mp4", "kick/b", "push/a"]


def test_lists(tmp_path: Path) -> None:
    _touch(tmp_path, "v/kick/a b.mp4", "v/push/c.mp4")
    (tmp_path / "list.txt").write_text("# comment\n\nv/kick/a b.mp4\nv/push/c.mp4\nv/push/missing.mp4\n")
    (tmp_path / "list.csv").write_text(f'class,path\nfight,"{tmp_path}/v/kick/a b.mp4"\n,v/push/c.mp4\n')
    assert _ids(tmp_path / "list.txt") == ["kick/a b", "push/c", "push/missing"]
    assert _ids(tmp_path / "list.csv") == ["fight/a b", "push/c"]


def test_files_and_trees_mix_and_repeats_count_once(tmp_path: Path) -> None:
    _touch(tmp_path, "v/kick/a.mp4", "other/odd.bin")
    names = ("v", "v/kick/a.mp4", "v/../v/kick/a.mp4", "other/odd.bin")
    assert _ids(*(tmp_path / name for name in names)) == ["kick/a", "other/odd"]


def test_two_videos_with_one_id(tmp_path: Path) -> None:
    _touch(tmp_path, "one/kick/a.mp4", "two/kick/a.mp4")
    with pytest.raises(UsageError, match=r"one/kick/a.mp4 and .*two/kick/a.mp4 would both be 'kick/a.mp4'"):
        _ids(tmp_path / "one", tmp_path / "two")


def test_one_video_in_two_classes(tmp_path: Path) -> None:
    _touch(tmp_path, "v/kick/a.mp4")
    (tmp_path / "list.csv").write_text("path,class\nv/kick/a.mp4,push\n")
    with pytest.raises(UsageError, match="is listed as 'kick' and as 'push'"):
        _ids(tmp_path / "v", tmp_path / "list.csv")


@pytest.mark.parametrize("label", ["a/b", "..", ".hidden"])
def test_a_class_stays_a_folder_of_the_store(tmp_path: Path, label: str) -> None:
    _touch(tmp_path, "v/kick/a.mp4")
    (tmp_path / "list.csv").write_text(f"path,class\nv/kick/a.mp4,{label}\n")
    with pytest.raises(UsageError, match="cannot be the name of a class"):
        _ids(tmp_path / "list.csv")


def test_nothing_to_read(tmp_path: Path) -> None:
    _touch(tmp_path, "kick/notes.txt", "none.csv")
    with pytest.raises(DataError, match=r"no videos in .*; left out: 2 without a video suffix"):
        _ids(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        _ids(tmp_path / "absent")
    with pytest.raises(UsageError, match="no column 'path'"):
        _ids(tmp_path / "none.csv")
