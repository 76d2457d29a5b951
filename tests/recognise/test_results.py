"""What a scan leaves in its folder: whose it is, whether it is whole, and nothing of another's."""

import json
import os
from pathlib import Path

import pytest
from own_videos import encoder_of, recognizer_of, small_support, tiny
from streams import Listening
from videos import make_video

from fsar_cli.data.annotations.labelled import LabelledSegment
from fsar_cli.errors import DataError
from fsar_cli.recognise.events import Event
from fsar_cli.recognise.outputs import NamedEvent
from fsar_cli.recognise.recognizer import Recognizer
from fsar_cli.recognise.results import (
    begin_results,
    compare_scan,
    document,
    subtitle_names,
    truth_of,
    write_clips,
    write_scan,
)
from fsar_cli.recognise.scan import ScannedVideo, ScanResult
from fsar_cli.reporting import SILENT


class Told:
    """A reporter that keeps what it is warned of and draws nothing."""

    def __init__(self) -> None:
        listening = Listening()
        self.lines, self.warn, self.track = listening.lines, listening.warn, SILENT.track


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    encoder = encoder_of(tiny())
    return recognizer_of(small_support(encoder, sizes=(1, 1), normal=0, silent=0), encoder)


def result_of(recognizer: Recognizer, folder: Path, *videos: Path) -> ScanResult:
    """A kick in each video, from its second second on."""
    found = []
    for number, path in enumerate(videos, 1):
        kick = NamedEvent(str(path), Event(2.0, 3.0, "kick", 0.5, 0), None, "kick/0")
        found.append(ScannedVideo(path, folder / "windows" / f"{number:04d}.jsonl", seconds=4.0, events=[kick]))
    return ScanResult(folder, recognizer.alarm_level(), found)


def stated(folder: Path) -> dict:
    return json.loads((folder / "scan.json").read_text())


def test_subtitles_have_names_of_their_own() -> None:
    assert subtitle_names(["a", "b", "a", "c d"]) == ["0001-a.vtt", "b.vtt", "0003-a.vtt", "c d.vtt"]
    long = ["é" * 124 + end for end in ("1", "2")]  # 249 bytes, and all the same up to what a file's name has room for
    names = subtitle_names([*long, "b" * 252, "\udcff"])
    assert len({*names}) == 4 and all(len(os.fsencode(name)) < 256 for name in names) and names[3] == "\udcff.vtt"


def test_nothing_is_calibrated_and_all_of_it_is_json(recognizer, tmp_path: Path) -> None:
    result = result_of(recognizer, tmp_path, tmp_path / "a.mp4")
    plain = json.loads(json.dumps(document(recognizer, result, Path("s.fsar"), None), allow_nan=False))
    assert plain["calibration"]["asked"] is None and plain["calibration"]["most"] is None and plain["speed"] is None
    assert plain["truth"] is None and plain["events"][0]["rank"] is None and plain["videos"][0]["failed"] is None


def test_a_folder_says_whose_it_will_be_before_it_is_whole(recognizer, tmp_path: Path) -> None:
    begin_results(tmp_path, ["/a.mp4", "/b.mp4"])
    assert stated(tmp_path) == {"schema": 1, "sources": ["/a.mp4", "/b.mp4"], "complete": False}
    write_scan(recognizer, result_of(recognizer, tmp_path, Path("/a.mp4"), Path("/b.mp4")), Path("s.fsar"), None)
    assert stated(tmp_path)["complete"] is True and stated(tmp_path)["sources"] == ["/a.mp4", "/b.mp4"]
    assert {"events.csv", "events.json", "a.vtt", "b.vtt", "scan.json"} == {p.name for p in tmp_path.iterdir()}
    begin_results(tmp_path, ["/c.mp4"])
    assert [path.name for path in tmp_path.iterdir()] == ["scan.json"]


@pytest.mark.parametrize("other", [b"", b"{", b"[]", b"7", b'{"sources": 5}', b'{"sources": [{}]}', b"\xff"])
def test_what_is_no_document_of_ours_says_of_nothing_that_it_is_ours(tmp_path: Path, other: bytes) -> None:
    (tmp_path / "scan.json").write_bytes(other)
    (tmp_path / "events.csv").write_text("mine")
    begin_results(tmp_path, ["/a.mp4"])
    assert (tmp_path / "events.csv").read_text() == "mine" and stated(tmp_path)["sources"] == ["/a.mp4"]


def test_clips_of_a_video_that_is_gone_are_told_and_the_others_written(recognizer, tmp_path: Path) -> None:
    good, told = make_video(tmp_path / "good.mp4", frames=40, fps=10), Told()
    result = result_of(recognizer, tmp_path, tmp_path / "gone.mp4", good)
    assert [path.name for path in write_clips(result, told)] == ["0002-kick.mp4"]
    assert len(told.lines) == 1 and "gone.mp4" in told.lines[0]
    write_scan(recognizer, result, Path("s.fsar"), None, page=True, reporter=told)
    assert "gone.mp4" in (tmp_path / "report.html").read_text() and stated(tmp_path)["complete"] is True


def test_the_truth_is_of_videos_by_name_and_others_are_told(recognizer, tmp_path: Path) -> None:
    told, videos = Told(), [tmp_path / "a [1].mp4", tmp_path / "b.mp4"]
    truth = [LabelledSegment("a [1].mp4", 2.0, 3.0, "kick"), LabelledSegment("b", 0.0, None, "jump"),
             LabelledSegment("c.mp4", 0.0, 1.0, "kick")]  # fmt: skip
    kept = truth_of(truth, videos, told)
    assert [segment.video for segment in kept] == [str(path) for path in videos]
    assert told.lines == ["the truth names 1 video that are not scanned: c.mp4"] or "c.mp4" in told.lines[0]
    report = compare_scan(result_of(recognizer, tmp_path, *videos), kept, recognizer.classes)
    assert (report.truth, report.found, report.right) == (1, 2, 1) and dict(report.passed_over) == {"jump": 1}
    assert report.hours == pytest.approx(8 / 3600)
    with pytest.raises(DataError, match="the truth is of c"):
        truth_of(truth[2:], videos)
