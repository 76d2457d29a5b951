"""Folders of pictures that other tools left, as sources of a store: what is found, in which order, what is linked."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stores import extracted
from trees import touch

from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.sources import find_videos
from fsar_cli.errors import DataError, UsageError

WALK = [f"{n:08d}.jpg" for n in (1, 2, 3)]


def draw(folder: Path, names: list[str], size: tuple[int, int] = (64, 48)) -> Path:
    """Grey pictures, each 20 brighter than the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names):
        Image.new("RGB", size, (20 * place,) * 3).save(folder / name, quality=95)
    return folder


def greys(store: FrameStore, clip: str) -> list[int]:
    return [round(p.mean() / 20) for p in store.read(clip, range(store.count(clip)))]


@pytest.mark.parametrize(
    ("names", "seconds"),
    [
        (WALK, [0, 0.04, 0.08]),
        (["0.jpg", "1.jpg", "2.jpg"], [0, 0.04, 0.08]),
        ([f"{n}.jpg" for n in range(8, 12)], [0, 0.04, 0.08, 0.12]),  # unpadded: 10 comes after 9
        (["img_00001.jpg", "img_00002.jpg"], [0, 0.04]),
        (["clip7_frame-1.jpeg", "clip7_frame-2.jpeg"], [0, 0.04]),
        (["001.JPG", "002.JPG", "005.JPG"], [0, 0.04, 0.16]),  # with a gap in numbers goes one in time
        (["1.png", "2.png"], [0, 0.04]),
    ],
    ids=lambda value: value[0] if isinstance(value[0], str) else "",
)
def test_frames_follow_their_numbers_whatever_the_numbering(tmp_path: Path, names: list[str], seconds: list) -> None:
    draw(tmp_path / "t/walk/a", names)
    assert not extracted(tmp_path / "t", tmp_path / "s", short_side=0).failed
    store = FrameStore(tmp_path / "s")
    assert greys(store, "walk/a") == list(range(len(names)))
    np.testing.assert_allclose(store.seconds("walk/a"), seconds, atol=1e-9)


@pytest.mark.parametrize(
    ("folder", "clip"),
    [
        ("t", "alone/t"),
        ("t/a", "t/a"),
        ("t/walk/a.x", "walk/a.x"),
        ("t/walk/a/rgb", "walk/a"),
        ("t/walk/a/b", "walk/a_b"),
        ("t/rawframes_val/walk/a", "walk/a"),
        ("t/train/walk/a", "walk/a"),
    ],
)
def test_pictures_may_lie_deeper_or_less_deep(tmp_path: Path, folder: str, clip: str) -> None:
    draw(tmp_path / folder, WALK)
    (source,) = find_videos([tmp_path / "t"]).sources
    assert (source.id, source.pictures) == (clip, True)


def test_what_is_no_frame_is_left_out_and_named(tmp_path: Path) -> None:
    clip = draw(tmp_path / "t/walk/a", WALK)
    touch(clip, "flow_x_00001.jpg", "flow_y_00001.jpg", ".hidden.jpg", "Thumbs.db", "note.txt")
    touch(tmp_path / "t", "walk/cover1.jpg", "labels.csv", "walk/a/flow/00001.jpg")
    found = find_videos([tmp_path / "t"])
    assert [source.id for source in found.sources] == ["walk/a"]
    assert "3 that are no frames (such as " in found.left_out()
    assert extracted(tmp_path / "t", tmp_path / "s").frames == 3


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda clip: (clip / WALK[1]).write_bytes(b"text"), "its picture 00000002.jpg is damaged (no picture)"),
        (lambda clip: (clip / WALK[1]).write_bytes(b""), "its picture 00000002.jpg is damaged (no picture)"),
        (lambda clip: [(clip / name).unlink() for name in WALK], "holds no numbered pictures (.jpg, .jpeg or .png)"),
        (lambda clip: draw(clip, ["00000002.png"]), "two pictures of one number, 00000002.jpg and 00000002.png"),
        (
            lambda clip: draw(clip, ["b1.jpg", "b2.jpg", "b3.jpg"]),
            "two series of pictures, such as 00000001.jpg and b1",
        ),
    ],
    ids=["no picture", "no bytes", "no pictures", "a number twice", "two series"],
)
def test_a_folder_that_is_no_video_is_named_and_the_others_finish(tmp_path: Path, spoil, reason: str) -> None:
    draw(tmp_path / "t/walk/a", WALK)
    spoil(draw(tmp_path / "t/walk/b", WALK))
    result = extracted(tmp_path / "t", tmp_path / "s")
    (path, said) = result.failed[0]
    assert (result.done, len(result.failed), path.name) == (1, 1, "b") and reason in said


def test_jpegs_that_fit_are_linked_and_others_made(tmp_path: Path) -> None:
    draw(tmp_path / "t/walk/a", WALK)
    draw(tmp_path / "t/walk/b", ["1.png"])
    extracted(tmp_path / "t", tmp_path / "s", short_side=0)
    for place, name in enumerate(WALK):
        assert os.path.samefile(tmp_path / "t/walk/a" / name, tmp_path / f"s/walk/a/{place + 1:08d}.jpg")
    assert Image.open(tmp_path / "s/walk/b/00000001.jpg").format == "JPEG"
    extracted(tmp_path / "t", tmp_path / "small", short_side=24)
    assert not os.path.samefile(tmp_path / "t/walk/a" / WALK[0], tmp_path / "small/walk/a/00000001.jpg")
    assert FrameStore(tmp_path / "small").read("walk/a", [0]).shape == (1, 24, 32, 3)
    extracted(tmp_path / "t", tmp_path / "packed", short_side=0, store="packed")
    assert greys(FrameStore(tmp_path / "packed"), "walk/a") == [0, 1, 2]


def test_where_a_file_has_no_second_name_its_path_is_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    draw(tmp_path / "t/walk/a", WALK)
    for store, way in (("s", "link"), ("copies", "symlink")):
        monkeypatch.setattr(os, way, refuse)
        extracted(tmp_path / "t", tmp_path / store, short_side=0)
        picture = tmp_path / store / "walk/a" / WALK[0]
        assert picture.is_symlink() == (store == "s") and picture.read_bytes()
        assert not picture.is_symlink() or picture.resolve() == tmp_path / "t/walk/a" / WALK[0]


@pytest.mark.parametrize("change", ["one rewritten", "one more", "all touched", "renamed in order"])
def test_a_folder_that_changes_is_noticed_by_what_is_in_it(tmp_path: Path, change: str) -> None:
    folder = draw(tmp_path / "t/walk/a", WALK)
    extracted(tmp_path / "t", tmp_path / "s", short_side=0)
    key = FrameStore(tmp_path / "s").fingerprint("walk/a")
    for file in sorted(folder.iterdir()):
        if change == "all touched":
            os.utime(file, (5, 5))
        if change == "renamed in order":
            file.rename(folder / f"img_{file.name}")
    if change.startswith("one"):
        (folder / WALK[1]).unlink()
        draw(folder, [WALK[1]] if change == "one rewritten" else [WALK[1], "00000004.jpg"])
    replaced = extracted(tmp_path / "t", tmp_path / "s", short_side=0).changes.replaced
    assert replaced == (["walk/a"] if change.startswith("one") else [])
    assert not replaced or FrameStore(tmp_path / "s").fingerprint("walk/a") != key


def test_folders_with_and_without_a_videos_suffix_are_alike(tmp_path: Path) -> None:
    for name in ("a.avi", "b", "c.d"):
        draw(tmp_path / "t/walk" / name, WALK)
    (tmp_path / "t/walk/empty.mp4").mkdir()
    found = find_videos([tmp_path / "t"])
    assert [(s.id, s.pictures) for s in found.sources] == [
        (f"walk/{name}", True) for name in ("a.avi", "b", "c.d", "empty.mp4")
    ]
    (tmp_path / "t/walk/real.mp4").touch()
    assert "walk/b" not in [source.id for source in find_videos([tmp_path / "t"]).sources], "the videos are the source"


def test_a_store_that_reads_videos_takes_no_pictures(tmp_path: Path) -> None:
    draw(tmp_path / "t/walk/a", WALK)
    with pytest.raises(UsageError, match="is a folder of pictures, and a store of kind videos reads video files"):
        extracted(tmp_path / "t", tmp_path / "s", store="videos")


def test_a_frame_store_is_no_source(tmp_path: Path) -> None:
    draw(tmp_path / "t/walk/a", WALK)
    extracted(tmp_path / "t", tmp_path / "s")
    with pytest.raises(UsageError, match="is a frame store, not videos"):
        find_videos([tmp_path / "s"])


def test_a_list_may_name_folders_of_pictures(tmp_path: Path) -> None:
    draw(tmp_path / "t/walk/a", WALK)
    (tmp_path / "list.csv").write_text("path,class\nt/walk/a,run\n")
    (source,) = find_videos([tmp_path / "list.csv"]).sources
    assert (source.id, source.pictures) == ("run/a", True)


@pytest.mark.parametrize("rest", ["extract.json", "", "manifest.csv"])
def test_pictures_without_a_manifest_of_ours_are_no_store(tmp_path: Path, rest: str) -> None:
    draw(tmp_path / "t/walk/a", WALK)
    (tmp_path / "t" / (rest or "labels.txt")).write_text("a,b\n")
    with pytest.raises(DataError, match="holds folders of pictures, but is not a frame store") as caught:
        FrameStore(tmp_path / "t")
    assert f"`fsar extract-frames {tmp_path / 't'} NEW` takes them over" in caught.value.hint
    assert "--frames NEW" in caught.value.hint


@pytest.mark.parametrize(("make", "what"), [(False, "does not exist"), (True, "is not a frame store")])
def test_a_store_that_is_elsewhere_is_named_by_a_flag(tmp_path: Path, make: bool, what: str) -> None:
    (tmp_path / "frames").mkdir() if make else None
    with pytest.raises(DataError, match=what) as caught:
        FrameStore(tmp_path / "frames")
    assert "one that is elsewhere is named by --frames" in caught.value.hint
