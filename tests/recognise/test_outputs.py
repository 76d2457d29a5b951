"""Outputs of events: what is written is read back, whatever the names hold, and a killed process spoils no log."""

import csv
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from fsar_cli.data.annotations.labelled import labelled_segments
from fsar_cli.errors import DataError
from fsar_cli.recognise.events import Event
from fsar_cli.recognise.outputs import (
    EventLog,
    NamedEvent,
    event_document,
    event_id,
    one_line,
    write_activitynet,
    write_csv,
    write_vtt,
)

NAMES = [
    *["a.mp4", "cam, 1/a.mp4", 'the "b".mp4', "two\nlines.mp4", "two\r\nlines.mp4", "a\rb.mp4", "=1+1", "-->.mp4"],
    *[
        "Ünï çode 動画.mp4",
        "</script><b>&amp;",
        "back\\slash.mp4",
        os.fsdecode(b"bytes\xff\xfe\xc3.mp4"),
        "@x",
        "a;b\tc",
        "'",
    ],
]
CUE = re.compile(r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})")


def named(video: str = "a.mp4", cls: str = "kick", start: float = 1.0, end: float = 2.5, **more: object) -> NamedEvent:
    event = Event(start, end, cls, 0.87654321, 0, ((1.0, (0.1, 0.2, 1 / 3, 0.4)),))
    return NamedEvent(video, replace(event, **more), 0.04, "it is like the example 3")


EVENTS = [
    named(video, cls, i + 1 / 3, i + 2.0004) for i, (video, cls) in enumerate(zip(NAMES, NAMES[::-1], strict=True))
]
WRITTEN = [(e.video, round(e.event.start, 3), round(e.event.end, 3), e.event.cls) for e in EVENTS]


def read(path: Path) -> list[tuple]:
    return [(s.video, s.start, s.end, s.cls) for s in labelled_segments(path)]


def test_the_table_is_read_back_whatever_the_names_hold(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", EVENTS)
    assert read(tmp_path / "events.csv") == WRITTEN


def test_so_is_the_json_of_activitynet(tmp_path: Path) -> None:
    write_activitynet(tmp_path / "events.json", EVENTS, ["quiet.mp4"], "Kinetics")
    assert read(tmp_path / "events.json") == WRITTEN
    content = json.loads((tmp_path / "events.json").read_bytes())
    assert set(content) == {"version", "results", "external_data"}
    assert content["external_data"] == {"used": True, "details": "Kinetics"}
    assert content["results"]["quiet.mp4"] == []
    assert content["results"]["a.mp4"] == [{"label": "'", "segment": [0.333, 2.0], "score": 0.876543}]


def test_no_events_are_files_without_events(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", [])
    write_activitynet(tmp_path / "events.json", [])
    write_vtt(tmp_path / "a.vtt", [])
    assert read(tmp_path / "events.csv") == read(tmp_path / "events.json") == []
    assert (tmp_path / "a.vtt").read_text() == "WEBVTT\n"


def test_the_columns_of_the_table(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", [named(), replace(named(start=0.0, score=1.0), rank=None)])
    with (tmp_path / "events.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["video", "start", "end", "class", "score", "rank", "because"],
            ["a.mp4", "1.000", "2.500", "kick", "0.876543", "0.04", "it is like the example 3"],
            ["a.mp4", "0.000", "2.500", "kick", "1", "", "it is like the example 3"],
        ]


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", EVENTS)
    old = (tmp_path / "events.csv").read_bytes()

    def failing():
        yield EVENTS[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_csv(tmp_path / "events.csv", failing())
    assert (tmp_path / "events.csv").read_bytes() == old
    assert os.listdir(tmp_path) == ["events.csv"]


def cues(path: Path) -> list[tuple[float, float, str]]:
    """Start, end and payload of each cue, by the grammar of WebVTT."""
    head, *blocks = path.read_bytes().decode().rstrip("\n").split("\n\n")
    assert head == "WEBVTT"
    found = []
    for block in blocks:
        times, payload = block.split("\n")  # a cue of ours has one line
        parts = [int(part) for part in CUE.fullmatch(times).groups()]
        start, end = (h * 3600 + m * 60 + s + ms / 1000 for h, m, s, ms in (parts[:4], parts[4:]))
        assert start < end and "-->" not in payload and "<" not in payload and "\r" not in payload
        found.append((start, end, payload))
    return found


def test_subtitles_are_webvtt_whatever_the_names_hold(tmp_path: Path) -> None:
    write_vtt(tmp_path / "a.vtt", [e.event for e in EVENTS])
    found = cues(tmp_path / "a.vtt")
    assert [cue[:2] for cue in found] == [written[1:3] for written in WRITTEN]
    texts = {payload.removesuffix(" 0.88") for _, _, payload in found}
    assert {"--&gt;.mp4", "&lt;/script&gt;&lt;b&gt;&amp;amp;", "two lines.mp4", "a b.mp4", "=1+1"} <= texts
    assert "bytes���.mp4" in texts


def test_cues_come_by_time_and_go_beyond_99_hours(tmp_path: Path) -> None:
    late = Event(360_000 + 3599.9996, 370_000.5, "kick", 1.0, 0)
    write_vtt(tmp_path / "a.vtt", [late, Event(5, 5, "fall", 1.0, 0), Event(3, 4, "kick", 1.0, 0)])
    lines = (tmp_path / "a.vtt").read_text().splitlines()
    assert [line for line in lines if "-->" in line] == [
        "00:00:03.000 --> 00:00:04.000",
        "00:00:05.000 --> 00:00:05.001",
        "101:00:00.000 --> 102:46:40.500",
    ]


def lines(path: Path) -> list[dict]:
    content = path.read_bytes()
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content.splitlines()]


def test_the_log_has_a_line_an_event_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    opened = named(is_open=True, end=1.5, wall=1_700_000_000.2504)
    with EventLog(path) as log:
        log.say(opened)
        assert len(lines(path)) == 1
        log.say(named(wall=1_700_000_000.2504, cut=True))
    first, last = lines(path)
    assert (first["state"], last["state"]) == ("open", "closed")
    assert first["id"] == last["id"] == event_id(opened)
    assert last == {
        "schema": 1,
        "video": "a.mp4",
        "state": "closed",
        "id": first["id"],
        "start": 1.0,
        "end": 2.5,
        "class": "kick",
        "score": 0.876543,
        "rank": 0.04,
        "because": "it is like the example 3",
        "cut": True,
        "wall": "2023-11-14T22:13:20.250Z",
        "track": [[1.0, [0.1, 0.2, 0.3333, 0.4]]],
    }


def test_the_log_keeps_every_name_and_is_ascii_lines(tmp_path: Path) -> None:
    with EventLog(tmp_path / "events.jsonl") as log:
        for event in EVENTS:
            log.say(event)
    assert (tmp_path / "events.jsonl").read_bytes().isascii()
    assert [(d["video"], d["start"], d["end"], d["class"]) for d in lines(tmp_path / "events.jsonl")] == WRITTEN


def test_what_cannot_be_told_is_null() -> None:
    document = event_document(NamedEvent("a", Event(0, 1, "x", float("nan"), 0), None, ""))
    assert (document["score"], document["rank"], document["wall"], document["track"]) == (None, None, None, [])


def test_ids_differ_by_video_class_start_and_clock() -> None:
    events = [named(), named(video="b"), named(cls="fall"), named(start=1.1), named(wall=5.0), named(wall=6.0)]
    assert len({event_id(event) for event in events}) == len(events)
    assert event_id(named()) == event_id(named(end=9.0, score=0.1))


def test_a_log_is_appended_to_after_any_break(tmp_path: Path) -> None:
    """Cut at every byte, as a kill could."""
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.say(named())
        log.say(named(start=2.0))
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        with EventLog(path) as log:
            log.say(named(cls="fall"))
        kept = (length >= first - 1) + (length >= len(whole) - 1)  # all but the line end is an event, too
        assert [line["class"] for line in lines(path)] == ["kick"] * kept + ["fall"], length


def test_a_long_unfinished_line_goes_as_well(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.say(named())
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20] + b"x" * 300_000)
    with EventLog(path):
        pass
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", [b"video,start,end\n1", b"\0" * 100, b'{"schema": 2, "x": 1}\n', b'{"a'])
def test_a_file_that_is_no_log_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is no log of events"), EventLog(path):
        pass
    assert path.read_bytes() == content


def test_a_log_may_be_a_device_or_in_no_folder(tmp_path: Path) -> None:
    with EventLog(Path("/dev/null")) as log:
        log.say(named())
    with pytest.raises(OSError, match="absent"), EventLog(tmp_path / "absent/events.jsonl"):
        pass


def test_names_in_one_line() -> None:
    assert one_line("a\n\r\tb  c\0\udcff\ud800 ") == "a b c���"
