"""Annotations of ActivityNet and Label Studio: what is in them is read, and what they do not say is told."""

import json
from pathlib import Path

import pytest

from fsar_cli.data.annotations.forms import read_rows
from fsar_cli.data.annotations.segments import read_annotations
from fsar_cli.data.annotations.times import Segment
from fsar_cli.errors import DataError

ASSUMED = "the export does not say how many frames a second its player counted: taken is 24"


def _write(folder: Path, content: object, name: str = "a.json") -> Path:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder / name


def _label(label: object, *ranges: tuple[object, object], **more: object) -> dict:
    """A result of a timeline, as Label Studio writes it."""
    value = {"ranges": [{"start": start, "end": end} for start, end in ranges], "timelinelabels": [label]}
    more = {"id": "x", "from_name": "acts", "to_name": "video", "type": "timelinelabels", "origin": "manual"} | more
    return {"value": value} | more


def _task(video: object, *annotations: list[dict], number: int = 7, **data: object) -> dict:
    each = [{"id": i, "completed_by": i, "was_cancelled": False, "result": r} for i, r in enumerate(annotations)]
    return {"id": number, "annotations": each, "predictions": [], "data": {"video": video} | data, "meta": {}}


def test_the_truth_of_activitynet(tmp_path: Path) -> None:
    one = {"duration": 82.7, "subset": "training", "resolution": "340x256", "url": "https://x/a", "annotations": []}
    two = one | {"annotations": [{"segment": [6.5, 9], "label": "Kick"}, {"segment": [20, 30], "label": "Fall"}]}
    database = {"sJ": one, "cam/b.mp4": two, "c": one | {"annotations": [{"segment": [1, 2], "label": "Kick"}] * 2}}
    found = read_annotations([_write(tmp_path, {"version": "VERSION 1.3", "taxonomy": [], "database": database})])
    assert found.by_id() == {
        "sJ": (),
        "Fall/cam/b": (Segment(20, 30),),
        "Kick/cam/b": (Segment(6.5, 9),),
        "Kick/c": (Segment(1, 2),),
    }
    assert [(finding.kind, finding.video) for finding in found.findings] == [
        ("class", ""),
        ("repeated", "Kick/c"),
        ("missing", "sJ"),
    ]
    assert "annotation 2: 1-2 s is there twice" in [finding.text for finding in found.findings]


def test_the_results_of_activitynet(tmp_path: Path) -> None:
    results = {"a": [{"label": "Kick", "score": 0.9, "segment": [1, 2.5]}, {"label": "Fall", "segment": [0, 1]}]}
    content = {"version": "VERSION 1.3", "results": results, "external_data": {"used": True, "details": "x"}}
    assert read_annotations([_write(tmp_path, content)]).by_id() == {
        "Fall/a": (Segment(0, 1),),
        "Kick/a": (Segment(1, 2.5),),
    }


def test_defects_of_activitynet_are_named(tmp_path: Path) -> None:
    annotations = [{"segment": [5, 2], "label": "x"}, {"segment": [5], "label": "x"}, {"segment": {"a": 1}}, 3]
    database = {"x/a": {"annotations": annotations}, "x/b": {"annotations": {"segment": [1, 2]}}, "x/c": 5}
    found = read_annotations([_write(tmp_path, {"database": database})])
    texts = [(finding.video, finding.text) for finding in found.findings if finding.dropped]
    assert texts == [
        ("x/a", "annotation 1: start 5, end 2: it ends before it starts"),
        ("x/a", "annotation 2: its segment is not [start, end]: [5]"),
        ("x/a", 'annotation 3: its segment is not [start, end]: [["a", 1]]'),
        ("x/a", "annotation 4: its segment is not [start, end]: null"),
        ("x/b", "it has no list of annotations"),
        ("x/c", "it has no list of annotations"),
    ]


def test_a_video_may_be_called_as_the_keys_of_activitynet(tmp_path: Path) -> None:
    segments = [{"start": 1, "end": 2}]
    rows = read_rows(_write(tmp_path, {"results": segments, "database": segments}))
    assert [(row.video, row.times) for row in rows] == [("results", ((1, 2),)), ("database", ((1, 2),))]
    for key in ("results", "database"):
        assert [row.video for row in read_rows(_write(tmp_path, {key: []}))] == [key]
        assert read_rows(_write(tmp_path, {"version": "VERSION 1.3", key: {}})) == []
        assert [row.video for row in read_rows(_write(tmp_path, {key: {"a": []}}))] == ["a"]


def test_frames_of_label_studio_count_from_one_and_both_ends_are_in(tmp_path: Path) -> None:
    task = _task("a.mp4", [_label("kick", (1, 24)), _label("fall", (25, 25), (49, 72))])
    found = read_annotations([_write(tmp_path, [task])])
    assert found.by_id() == {"fall/a": (Segment(1, 25 / 24), Segment(2, 3)), "kick/a": (Segment(0, 1),)}
    assert [(finding.kind, finding.video, finding.text) for finding in found.findings] == [("time", "", ASSUMED)]


@pytest.mark.parametrize("where", [{"fps": 10}, {"frame_rate": "10"}, {"frameRate": 10.0}, {"FPS": "10,0"}])
def test_the_rate_of_label_studio_is_taken_where_the_export_has_it(tmp_path: Path, where: dict) -> None:
    tasks = [_task("a.mp4", [_label("kick", (11, 20))], **where), _task("b.mp4", [_label("kick", (11, 20), **where)])]
    found = read_annotations([_write(tmp_path, tasks)])
    assert found.by_id() == {"kick/a": (Segment(1, 2),), "kick/b": (Segment(1, 2),)}
    assert found.findings == ()


def test_a_rate_that_is_none_is_as_good_as_none(tmp_path: Path) -> None:
    for rate in (0, -5, "x", True, None, float("inf"), 1e9):
        found = read_annotations([_write(tmp_path, [_task("a.mp4", [_label("kick", (1, 24))], fps=rate)])])
        assert found.by_id() == {"kick/a": (Segment(0, 1),)} and found.findings[0].text == ASSUMED


def test_boxes_cancelled_annotations_and_predictions_are_passed_over(tmp_path: Path) -> None:
    box = {"type": "videorectangle", "value": {"framesCount": 9, "sequence": [], "labels": ["kick"]}}
    task = _task("a.mp4", [box, _label("kick", (1, 48))], [_label("fall", (1, 24))], fps=24)
    task["annotations"][1]["was_cancelled"] = True
    task["predictions"] = [{"result": [_label("fall", (1, 24))]}]
    found = read_annotations([_write(tmp_path, [task, _task("b.mp4", number=8)])])
    assert found.by_id() == {"b": (), "kick/a": (Segment(0, 2),)}
    assert {finding.kind for finding in found.findings} == {"class", "missing"}


def test_what_several_people_annotated_all_counts_and_is_named(tmp_path: Path) -> None:
    task = _task("a.mp4", [_label("kick", (1, 24))], [_label("kick", (49, 72))], [_label("fall", (1, 24))], fps=24)
    found = read_annotations([_write(tmp_path, [task])])
    assert found.by_id() == {"fall/a": (Segment(0, 1),), "kick/a": (Segment(0, 1), Segment(2, 3))}
    assert ("repeated", "task 7 was annotated more than once: all of it counts") in [
        (finding.kind, finding.text) for finding in found.findings
    ]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("a.mp4", "a.mp4"),
        ("cam 1/a#1?.mp4", "cam 1/a#1?.mp4"),
        (r"C:\cam\a.mp4", r"C:\cam\a.mp4"),
        ("/data/upload/3/1234abcd-a_b.mp4", "a_b.mp4"),
        ("https://labels.example/data/upload/3/1234abcd-a%20b.mp4", "a b.mp4"),
        ("/data/upload/3/holiday-a.mp4", "holiday-a.mp4"),
        ("/data/local-files/?d=dir/sub%20dir/a.mp4", "dir/sub dir/a.mp4"),
        ("http://localhost:8080/data/local-files/?d=dir/a.mp4", "dir/a.mp4"),
        ("s3://bucket/dir/a.mp4", "dir/a.mp4"),
        ("https://host/dir/a.mp4?X-Amz-Signature=1&d=2", "dir/a.mp4"),
        ("http://[broken/a.mp4", "http://[broken/a.mp4"),
    ],
)
def test_addresses_of_label_studio_become_names_of_files(tmp_path: Path, address: str, name: str) -> None:
    (row,) = read_rows(_write(tmp_path, [_task(address, [_label("kick", (1, 24))])]))
    assert row.video == name


def test_the_video_of_a_task_is_the_one_value_that_can_be_it(tmp_path: Path) -> None:
    label = [_label("kick", (1, 24))]
    data = [
        ({"video_url": "x/stream", "text": "b.mp4"}, "x/stream", ""),
        ({"clip": "x/a.mp4", "text": "some words"}, "x/a.mp4", ""),
        ({"one": "x/a.mp4", "two": "x/b.mp4"}, "", "it has several videos: x/a.mp4, x/b.mp4"),
        ({"text": "some words"}, "", "it names no video"),
        ({}, "", "it names no video"),
    ]
    tasks = [{"id": i, "annotations": [{"result": label}], "data": each} for i, (each, _, _) in enumerate(data)]
    rows = read_rows(_write(tmp_path, tasks))
    assert [(row.video, row.fault) for row in rows] == [(video, fault) for _, video, fault in data]


def test_json_min_says_the_same(tmp_path: Path) -> None:
    regions = [_label(label, *ranges)["value"] for label, ranges in (("kick", [(1, 24)]), ("fall", [(25, 48)]))]
    record = {"id": 7, "video": "/data/upload/3/1234abcd-a.mp4", "acts": regions, "annotator": 1, "lead_time": 3.5}
    found = read_annotations([_write(tmp_path, [record])])
    assert found.by_id() == {"fall/a": (Segment(1, 2),), "kick/a": (Segment(0, 1),)}
    assert [finding.text for finding in found.findings] == [ASSUMED]
    found = read_annotations([_write(tmp_path, [record | {"fps": 12}, record | {"fps": 12, "annotator": 2}])])
    assert found.by_id() == {"fall/a": (Segment(2, 4),), "kick/a": (Segment(0, 2),)}
    assert "task 7 was annotated more than once: all of it counts" in [finding.text for finding in found.findings]


def test_defects_of_label_studio_are_named(tmp_path: Path) -> None:
    results = [_label("kick", (30, 20)), _label("kick", (0, 5)), _label("kick", ("x", 5)), _label("kick")]
    results += [_label("a/b", (1, 5)), {"type": "timelinelabels", "value": {"ranges": [{"start": 1}]}}, {"type": 3}, 4]
    found = read_annotations([_write(tmp_path, [_task("x/a.mp4", results, fps=10)])])
    assert [finding.text for finding in found.findings if finding.dropped] == [
        "task 7, frames 30-20: start 30, end 20: it ends before it starts",
        "task 7, frames 0-5: start 0, end 5: before the video starts",
        "task 7, frames x-5: start 'x', end 5: the start is no time; times are seconds or clock times, "
        "as in 90.5 or 0:01:30.5",
        "task 7: a label without a range of frames",
        "task 7, frames 1-5: 'a/b' cannot be the name of a class",
        "task 7: a label without a range of frames",
    ]


def test_lists_that_are_not_of_label_studio_are_refused(tmp_path: Path) -> None:
    for content, message in (
        ([1, 2], "is not a JSON object of videos"),
        ([{"a": 1}], "not of Label Studio's tasks"),
        ("text", "is not a JSON object of videos"),
        ([{"data": {"video": "a.mp4"}}], "not of Label Studio's tasks"),
    ):
        with pytest.raises(DataError, match=message):
            read_annotations([_write(tmp_path, content)])


def test_names_that_no_file_can_have_are_told_as_escapes(fsar, tmp_path: Path) -> None:
    for name in ("\ud800", "\0"):
        file = _write(tmp_path, {"x/a": [], f"x/{name}": []})
        assert [(f.kind, f.dropped) for f in read_annotations([file]).findings] == [("class", True), ("missing", False)]
        done = fsar("annotations", file, "--csv", "findings.csv")
        assert done.code == 0
        assert "cannot be the name of a video" in (tmp_path / "findings.csv").read_text()


def test_the_command_shows_what_was_assumed(fsar, tmp_path: Path) -> None:
    done = fsar("annotations", _write(tmp_path, [_task("a.mp4", [_label("kick", (1, 24))])]))
    assert done.code == 0 and f"time: 1\n  a.json: {ASSUMED}\n" in done.out
