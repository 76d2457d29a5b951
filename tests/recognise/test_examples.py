"""Examples: where they come from, under which names, and what is said of places that hold none."""

import os
from pathlib import Path

import pytest
from own_videos import encoder_of, small_support, tiny
from small_project import Listener
from videos import make_video

from fsar_cli.errors import DataError, UsageError
from fsar_cli.recognise.examples import ExampleClip, find_examples, find_footage, not_yet


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a video, for all that matters here")


def seen(clips: list[ExampleClip]) -> list[tuple]:
    return [(c.cls, c.name, c.path.name, c.start, c.end) for c in clips]


def test_a_folder_gives_a_class_for_each_of_its_folders_and_normal_comes_last(tmp_path: Path) -> None:
    names = ("run/b.mp4", "run/a, [1] ü.mp4", "normal/n.mp4", "push it/c.mkv")
    touch(*(tmp_path / "ex" / name for name in names), tmp_path / "ex" / "notes.txt")
    listener = Listener()
    found = find_examples([tmp_path / "ex"], listener)
    assert [c.name for c in found] == ["push it/c", "run/a, [1] ü", "run/b", "normal/n"]
    assert [c.cls for c in found] == ["push it", "run", "run", "normal"]
    assert all(c.path.is_absolute() and c.group == "" for c in found)
    assert "notes" in listener.warnings[0] or ".txt" in listener.warnings[0]


def test_a_table_names_parts_of_videos_which_are_a_group(tmp_path: Path) -> None:
    touch(tmp_path / "cam 1.mp4", tmp_path / "alone.mp4")
    table = tmp_path / "review.csv"
    table.write_text('video,start,end,class\ncam 1.mp4,1,2.5,kick\ncam 1.mp4,4,5,kick\nalone.mp4,,,"a, b"\n')
    found = find_examples([table])
    assert seen(found) == [
        ("a, b", "a, b/alone", "alone.mp4", 0.0, None),
        ("kick", "kick/cam 1@1-2.5", "cam 1.mp4", 1.0, 2.5),
        ("kick", "kick/cam 1@4-5", "cam 1.mp4", 4.0, 5.0),
    ]
    assert found[1].group == found[2].group == str(tmp_path / "cam 1.mp4") and found[0].group == ""


def test_what_is_named_twice_is_there_once_and_names_are_distinct(tmp_path: Path) -> None:
    touch(tmp_path / "one/kick/a.mp4", tmp_path / "two/kick/a.mp4", tmp_path / "two/kick/a (2).mp4")
    found = find_examples([tmp_path / "one", tmp_path / "two", tmp_path / "one"])
    assert len({c.name for c in found}) == len(found) == 3


def test_clips_that_are_enrolled_are_not_enrolled_again(tmp_path: Path) -> None:
    touch(*(tmp_path / "kick" / f"{i}.mp4" for i in range(3)))
    support = small_support(encoder_of(tiny()))
    first = support.examples[0].model_copy(update={"source": str((tmp_path / "kick/0.mp4").resolve())})
    document = support.document.model_copy(update={"examples": (first, *support.examples[1:])})
    held = type(support)(document, support.described, support.thumbnails)
    new = not_yet(find_examples([tmp_path]), held)
    assert [c.path.name for c in new] == ["1.mp4", "2.mp4"]
    assert {c.name for c in new}.isdisjoint(e.name for e in held.examples)
    part = ExampleClip("kick", "kick/0@1", tmp_path / "kick/0.mp4", 1.0, 2.0)
    assert not_yet([part], held) == [part]  # a part of it is another example


def test_names_that_are_no_text_become_text(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/kick/caf\xe9.mp4"))
    try:
        touch(odd)
    except OSError:
        pytest.skip("names here are text")
    (clip,) = find_examples([tmp_path])
    assert clip.name == "kick/caf\ufffd" and clip.path == odd


@pytest.mark.parametrize(
    ("place", "kind", "words"),
    [
        ("missing", DataError, "no examples at"),
        ("missing.csv", DataError, "no examples at"),
        ("clip.mp4", UsageError, "its class is not known"),
        ("empty", DataError, "no videos in"),
        ("none.csv", DataError, "no examples in"),
        ("gone.csv", DataError, "names gone.mp4, which is not there"),
        ("odd", UsageError, "no class can be called 'unknown'"),
    ],
)
def test_places_that_hold_no_examples_are_told(tmp_path: Path, place: str, kind: type, words: str) -> None:
    touch(tmp_path / "clip.mp4", tmp_path / "odd/unknown/a.mp4", tmp_path / "odd/kick/a.mp4")
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.csv").write_text("video,start,end,class\n")
    (tmp_path / "gone.csv").write_text("video,start,end,class\ngone.mp4,,,kick\n")
    with pytest.raises(kind, match=words):
        find_examples([tmp_path / place])


def test_footage_is_files_and_all_videos_of_folders_each_once(tmp_path: Path) -> None:
    touch(tmp_path / "a/b/deep.mp4", tmp_path / "a/x.avi", tmp_path / "a/notes.txt", tmp_path / "raw")
    found = find_footage([tmp_path / "a", tmp_path / "raw", tmp_path / "a/x.avi"])
    assert [p.name for p in found] == ["deep.mp4", "x.avi", "raw"]
    (tmp_path / "empty").mkdir()
    for place, words in (("empty", "no videos in"), ("missing.mp4", "no video at")):
        with pytest.raises(DataError, match=words):
            find_footage([tmp_path / place])


def test_a_video_is_no_list_even_where_it_could_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="its class is not known"):
        find_examples([make_video(tmp_path / "a.mp4", frames=2)])
