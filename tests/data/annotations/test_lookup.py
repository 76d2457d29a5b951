"""Which file an annotated video is, however its name is written."""

from pathlib import Path

import pytest

from fsar_cli.data.annotations.lookup import Lookup, look_up
from fsar_cli.data.annotations.segments import read_annotations

TREE = ("cam1/clip_0", "cam1/clip_1", "cam2/clip_0", "fall/only", "caf\xe9/x.avi", "caf\xe9/x.mp4")


def _look_up(tmp_path: Path, *rows: str) -> Lookup:
    (tmp_path / "a.csv").write_text("\n".join(["video,class,start,end", *(f"{row},0,1" for row in rows)]))
    return look_up(read_annotations([tmp_path / "a.csv"]).videos, TREE)


@pytest.mark.parametrize(
    ("written", "file"),
    [
        *[(name, "cam1/clip_1") for name in ("clip_1.mp4", "clip_1", "Clip_1.MP4", "cam1/clip_1.avi", "./cam1/clip_1")],
        *[
            (name, "cam1/clip_1")
            for name in (r"cam1\clip_1.mp4", r"C:\v\cam1\clip_1.mp4", "/v/Cam1/CLIP_1", " clip 1 ")
        ],
        *[("cam2/clip_0", "cam2/clip_0"), ("only.mp4", "fall/only"), (r"C:\only.mp4", "fall/only")],
        *[("cafe\u0301/x.mp4", "caf\xe9/x.mp4"), ("x.avi", "caf\xe9/x.avi")],
    ],
)
@pytest.mark.parametrize("cls", ["fight", "fall"])
def test_one_file_under_every_spelling(tmp_path: Path, written: str, cls: str, file: str) -> None:
    assert list(_look_up(tmp_path, f"{written},{cls}").found.values()) == [file]


def test_what_could_be_several_files_is_named_with_them_and_what_is_not_there_is_missing(tmp_path: Path) -> None:
    result = _look_up(tmp_path, "clip_0.mp4,fight", "cam2/clip_1.mp4,fight", "clip_7.mp4,fight", "only,fight")
    assert {str(video): ids for video, ids in result.ambiguous.items()} == {
        "fight/clip_0": ("cam1/clip_0", "cam2/clip_0")
    }
    assert list(map(str, result.missing)) == ["fight/clip_7", "fight/cam2/clip_1"]
    assert list(result.found.values()) == ["fall/only"]


def test_several_classes_and_spellings_are_one_file(tmp_path: Path) -> None:
    result = _look_up(tmp_path, "clip_1,fight", "clip_1.mp4,run", "cam1/Clip 1,fight", "cam1/clip_1,fight")
    assert (set(result.found.values()), len(result.found)) == ({"cam1/clip_1"}, 4)


def test_a_name_alone_is_looked_for_in_its_class_first(tmp_path: Path) -> None:
    assert list(_look_up(tmp_path, "clip_0,cam2").found.values()) == ["cam2/clip_0"]
