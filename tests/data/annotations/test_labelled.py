"""Segments with classes, as people write them: read row by row, and the first row that says nothing is named."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from fsar_cli.data.annotations.labelled import LabelledSegment, labelled_segments, of_videos
from fsar_cli.errors import DataError

ASSUMED = "the export does not say how many frames a second its player counted: taken is 24"


def _write(path: Path, content: object) -> Path:
    path.write_bytes((content if isinstance(content, str) else json.dumps(content)).encode())
    return path


def _read(path: Path, content: object) -> list[tuple]:
    return [(s.video, s.start, s.end, s.cls) for s in labelled_segments(_write(path, content))]


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    text = "Class;video;start;end;score\nkick;cam/a.mp4;0:01;2,5;0,9\nfall;b.mp4;;;\nkick;cam/a.mp4;1;2,5;\n"
    assert _read(tmp_path / "a.csv", text) == [
        ("cam/a.mp4", 1, 2.5, "kick"),
        ("b.mp4", 0, None, "fall"),
        ("cam/a.mp4", 1, 2.5, "kick"),
    ]
    assert labelled_segments(tmp_path / "a.csv")[1].at == "a.csv, row 3"


def test_the_three_forms_of_json(tmp_path: Path) -> None:
    label = {"segment": [1, 2], "label": "kick"}
    value = {"ranges": [{"start": 25, "end": 48}], "timelinelabels": ["kick", "loud"]}
    task = {"data": {"video": "a"}, "annotations": [{"result": [{"type": "timelinelabels", "value": value}]}]}
    one = [("a", 1, 2, "kick")]
    assert _read(tmp_path / "a.json", {"database": {"a": {"annotations": [label]}, "b": {"annotations": []}}}) == one
    assert _read(tmp_path / "a.json", {"version": "1", "results": {"a": [label], "b": []}}) == one
    assert _read(tmp_path / "a.json", [task]) == [*one, ("a", 1, 2, "loud")]
    assert _read(tmp_path / "a.json", {"kick/a": [{"start": 1, "end": 2}], "b": []}) == [("kick/a", 1, 2, "kick")]


def test_what_was_assumed_is_warned_of_once(tmp_path: Path) -> None:
    value = {"ranges": [{"start": 1, "end": 24}, {"start": 25, "end": 48}], "timelinelabels": ["kick"]}
    task = {"data": {"video": "a"}, "annotations": [{"result": [{"type": "timelinelabels", "value": value}]}]}
    warnings: list[str] = []
    reporter = SimpleNamespace(warn=warnings.append)
    assert len(labelled_segments(_write(tmp_path / "a.json", [task]), reporter)) == 2
    assert len(warnings) == 1 and warnings[0].endswith("a.json: " + ASSUMED)


def test_no_event_at_all_is_no_error(tmp_path: Path) -> None:
    assert _read(tmp_path / "a.csv", "video,start,end,class\n") == []
    assert _read(tmp_path / "a.json", {"version": "VERSION 1.3", "database": {}}) == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.mp4,1,2,", "a.csv: row 3: 'a.mp4': it has no class"),
        ("a.mp4,,,", "a.csv: row 3: 'a.mp4': it has no class"),
        (",1,2,kick", "a.csv: row 3: it names no video"),
        ("a.mp4,x,2,kick", "row 3: 'a.mp4': start 'x', end '2': the start is no time"),
        ("a.mp4,1,,kick", "start '1', end '': the end is missing"),
        ("a.mp4,2,2,kick", "start '2', end '2': it ends where it starts"),
        ("a.mp4,3,2,kick", "start '3', end '2': it ends before it starts"),
        ("a.mp4,-1,2,kick", "start '-1', end '2': before the video starts"),
        ("a.mp4,nan,2,kick", "start 'nan', end '2': the start is no time"),
        ("a.mp4,1,inf,kick", "start '1', end 'inf': the end is no time"),
        ("a, b.mp4,1,2,kick", "row 3: 'a': 5 cells under 4 columns"),
        ('a.mp4,1,2,"kick', "unexpected end of data"),
        ('a.mp4,1,2,"kick\nb.mp4,1,2,"x"', "row 4: not CSV"),
    ],
)
def test_a_row_that_cannot_be_meant_is_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        _read(tmp_path / "a.csv", f"video,start,end,class\ngood.mp4,1,2,kick\n{row}\n")
    assert message in caught.value.message and caught.value.hint


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"segment": [1, 2]}, "annotation 1: 'a': it has no class"),
        ({"segment": [1, 2], "label": 5}, "it has no class"),
        ({"segment": [1], "label": "x"}, "its segment is not [start, end]: [1]"),
        ({"segment": [1, float("nan")], "label": "x"}, "start 1, end nan: the end is no time"),
        ({"segment": [1, float("inf")], "label": "x"}, "start 1, end inf: the end is no time"),
        ({"segment": [True, 2], "label": "x"}, "the start is no time"),
        ({"segment": [1, 2], "label": "\ud800"}, "'\\ud800' is no name of a class"),
        ({"segment": [1, 2], "label": "a\0"}, "'a\\x00' is no name of a class"),
    ],
)
def test_so_is_an_annotation(tmp_path: Path, annotation: dict, message: str) -> None:
    with pytest.raises(DataError) as caught:
        _read(tmp_path / "a.json", {"database": {"a": {"annotations": [annotation]}}})
    assert message in caught.value.message


def test_tables_whose_first_row_is_quoted_are_read_whatever_parts_their_cells(tmp_path: Path) -> None:
    for mark in ",;\t":
        rows = [('"video"', '"start"', '"end"', '"class"'), ('"a\n1.mp4"', "1", "2", '"x ""y"""')]
        assert _read(tmp_path / "a.tsv", "\n".join(map(mark.join, rows))) == [("a\n1.mp4", 1, 2, 'x "y"')]


def test_segments_are_given_to_the_videos_that_they_mean() -> None:
    videos = ["/home/me/cam1/day.mp4", "/home/me/cam2/day.mp4", "night.mkv", "night.mp4", "Late Show.AVI"]
    meant = {
        "cam1/day.mp4": videos[0],
        r"D:\cam2\day": videos[1],
        "/home/me/cam2/day.mp4": videos[1],
        "../Cam2/day.MP4": videos[1],
        "night.mp4": "night.mp4",
        "other/night.mkv": "night.mkv",
        "late_show": "Late Show.AVI",
    }
    segments = [LabelledSegment(name, 1, 2, "kick") for name in (*meant, "else.mp4", "night.mp4")]
    kept, others = of_videos(segments, videos)
    wanted = [video for name, video in meant.items() if name != r"D:\cam2\day"]
    assert [segment.video for segment in of_videos(segments[:1], videos)[0]] == [videos[0]]
    assert others == [r"D:\cam2\day", "else.mp4"]
    assert [segment.video for segment in kept] == [*wanted, "night.mp4"]


def test_a_name_of_several_videos_is_refused() -> None:
    segment = LabelledSegment("day", 1, 2, "kick", "truth.csv, row 2")
    with pytest.raises(DataError, match=r"truth\.csv, row 2: 'day' could be 'a/day\.mp4' or 'b/day\.mp4'"):
        of_videos([segment], ["a/day.mp4", "b/day.mp4"])


def test_a_text_file_may_hold_comments_and_empty_lines(tmp_path: Path) -> None:
    text = "# video class start end\n\na.mp4 kick 30 60 -1 -1\n   \nb.mp4 fall 90 120\n"
    assert _read(tmp_path / "a.txt", text) == [("a.mp4", 1, 2, "kick"), ("b.mp4", 3, 4, "fall")]


def test_a_folder_in_the_place_of_a_file_is_refused_in_the_words_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(DataError, match=r"cannot read .*a\.csv: Is a directory"):
        labelled_segments(tmp_path / "a.csv")


def test_json_that_is_nested_too_deeply_is_refused_at_every_depth(tmp_path: Path) -> None:
    shown = "its segment is not", "is nested too deeply", "is not JSON"
    said = []
    for depth in (10, *range(820, 1000), 100_000):
        segment = f"{'[' * depth}1{']' * depth}"
        text = f'{{"database": {{"a": {{"annotations": [{{"label": "x", "segment": {segment}}}]}}}}}}'
        with pytest.raises(DataError) as caught:
            _read(tmp_path / "a.json", text)
        said.append(next(number for number, words in enumerate(shown) if words in caught.value.message))
    assert said == sorted(said) and said[0] == 0 and said[-1] == 2
