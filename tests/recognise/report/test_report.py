"""A report is one page that needs nothing else, and what it holds is shown and not obeyed."""

import base64
import hashlib
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from videos import make_video, truncate

from fsar_cli.data.video import iter_frames, probe
from fsar_cli.recognise.events import Event, ScoredWindow
from fsar_cli.recognise.report import ReportVideo, write_report
from fsar_cli.reporting import Silent
from recognise.report.scans import CLASSES, NASTY, scan_of, scored, square_event, square_video


class Saying(Silent):
    """A reporter that keeps its warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


class Reader(HTMLParser):
    """Elements of a page, and the text of scripts and styles."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.elements, self.inside = [], []
        self.feed(file.read_bytes().decode())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] in ("script", "style"):
            self.inside.append((*self.elements[-1], data))

    def handle_endtag(self, tag):
        self.elements.append((f"/{tag}", {}))

    @property
    def data(self) -> dict:
        return json.loads(next(text for tag, given, text in self.inside if given.get("id") == "data"))

    @property
    def policy(self) -> str:
        return next(given["content"] for tag, given in self.elements if "http-equiv" in given)


def stream(*events: Event, windows=(), name: str = "rtsp://camera", **more) -> ReportVideo:
    return ReportVideo(name, None, windows, events, **more)


def test_the_policy_allows_exactly_the_scripts_and_the_style_of_the_page(tmp_path: Path) -> None:
    page = Reader(write_report(scan_of(stream()), tmp_path))
    code = [(tag, text) for tag, given, text in page.inside if "type" not in given]
    hashes = {tag: set() for tag in ("script", "style")}
    for tag, text in code:
        hashes[tag].add(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'")
    rules = {rule.split()[0]: rule.split()[1:] for rule in page.policy.split("; ")}
    assert set(rules["script-src"]) == hashes["script"]
    assert set(rules["style-src"]) == hashes["style"]
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert rules["img-src"] == ["data:"]


def test_the_page_has_no_inline_handler_style_or_address(tmp_path: Path) -> None:
    file = write_report(scan_of(stream()), tmp_path)
    page = Reader(file)
    names = {name for _, given in page.elements for name in given}
    assert not {name for name in names if name.startswith("on")} | (names & {"style", "src"})
    assert not re.search(r"https?://|innerHTML|insertAdjacentHTML|document\.write|eval\(", file.read_text())


def test_what_names_and_facts_hold_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    wicked = "</script><script>alert(1)</script><!--"
    video = stream(Event(0, 1, wicked, 1.0, 0), name=wicked, gaps=((1, 2, wicked),))
    page = Reader(write_report(scan_of(video, classes=[wicked, NASTY]), tmp_path))
    island = next(text for _, given, text in page.inside if given.get("id") == "data")
    assert not set("<>&") & set(island)
    assert page.data["classes"] == [wicked, NASTY]
    assert page.data["videos"][0]["name"] == page.data["videos"][0]["key"] == wicked
    assert "img" not in [tag for tag, _ in page.elements]
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 8


def test_the_island_holds_windows_events_and_examples(tmp_path: Path) -> None:
    windows = [
        ScoredWindow(0, 1, np.float32([0.1, 0.2, 0.3])),
        ScoredWindow(3, 4, np.float32([np.nan, np.inf, 0.123456789]), breaks=True),
    ]
    event = Event(0.5, 2.25, "push", 0.9, 2, ((1.0, (0, 0, 1, 1)), (0.5, (0.1, 0.2, 0.3, 0.4))), wall=1e9, cut=True)
    data = Reader(write_report(scan_of(stream(event, windows=windows)), tmp_path)).data
    video = data["videos"][0]
    assert video["times"] == [0.5, 3.5]
    assert video["scores"] == [[0.1, None], [0.2, None], [0.3, 0.12346]]
    assert (video["breaks"], video["end"], video["src"]) == ([1], 4, None)
    said = video["events"][0]
    assert said["track"] == [[0.5, 0.1, 0.2, 0.3, 0.4], [1.0, 0, 0, 1, 1]], "by time"
    assert (said["start"], said["end"], said["cls"], said["nearest"], said["cut"]) == (0.5, 2.25, "push", 2, True)
    assert data["examples"][2]["src"].startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("threshold", [None, 0.5, float("-inf")])
def test_scans_without_windows_events_tracks_or_threshold_are_reported(tmp_path: Path, threshold: float | None) -> None:
    videos = [stream(), stream(Event(1, 2, "kick", 0.5, 99)), stream(windows=scored(5))]
    data = Reader(write_report(scan_of(*videos, threshold=threshold), tmp_path)).data
    assert [len(video["events"]) for video in data["videos"]] == [0, 1, 0]
    assert data["videos"][1]["events"][0]["track"] == []
    assert write_report(scan_of(), tmp_path).is_file()


def test_the_id_is_that_of_the_content(tmp_path: Path) -> None:
    def number(*events: Event) -> str:
        return Reader(write_report(scan_of(stream(*events)), tmp_path)).data["id"]

    assert number() == number()
    assert number() != number(Event(0, 1, "kick", 0.5, 0))


def test_an_hour_of_windows_makes_a_page_below_a_megabyte(tmp_path: Path) -> None:
    file = write_report(scan_of(stream(windows=scored(3600, 1.0, 8), name="hour"), classes=list("abcdefgh")), tmp_path)
    assert file.stat().st_size < 1_000_000
    assert len(Reader(file).data["videos"][0]["times"]) == 3600


@pytest.mark.parametrize("name", ["a b [1] 'q' \"d\" #5 50%.mp4", "пример.mp4", "--.mp4", f"{'x' * 200}.mp4"])
def test_videos_of_any_name_are_found_beside_the_page(tmp_path: Path, name: str) -> None:
    path = make_video(tmp_path / name)
    data = Reader(write_report(scan_of(ReportVideo("v", path, scored(1), [])), tmp_path / "out #1")).data
    assert re.fullmatch(r"media/[A-Za-z0-9._-]+", data["videos"][0]["src"])
    assert (tmp_path / "out #1" / data["videos"][0]["src"]).read_bytes() == path.read_bytes()
    assert data["videos"][0]["key"] == str(path)


def test_the_video_is_named_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "v.mp4")
    monkeypatch.chdir(tmp_path)
    data = Reader(write_report(scan_of(ReportVideo("v", Path("v.mp4"), [], [])), Path("out"))).data
    assert data["videos"][0]["key"] == str(path)


def test_a_report_can_be_written_twice_and_leaves_the_sources_alone(tmp_path: Path) -> None:
    path, other = square_video(tmp_path / "v.mp4", seconds=1), make_video(tmp_path / "w.avi", codec="mpeg4")
    before = [path.read_bytes(), other.read_bytes()]
    videos = [ReportVideo("v", path, [], [square_event(0, 1, CLASSES[0])]), ReportVideo("w", other, [], [])]
    for _ in range(2):
        write_report(scan_of(*videos), tmp_path / "out")
    assert [path.read_bytes(), other.read_bytes()] == before
    assert sorted(os.listdir(tmp_path / "out/media")) == ["001-v.mp4", "002-w.mp4"]


def test_a_video_that_is_gone_or_damaged_is_told_on_the_page(tmp_path: Path) -> None:
    cut = truncate(make_video(tmp_path / "cut.mkv", frames=60), 0.5)
    reporter = Saying()
    videos = [ReportVideo("gone", tmp_path / "gone.mp4", [], []), ReportVideo("cut", cut, [], [])]
    gone, damaged = Reader(write_report(scan_of(*videos), tmp_path / "out", reporter)).data["videos"]
    assert gone["src"] is None
    assert "no such file" in gone["note"]
    assert "is cut off" in damaged["note"]
    assert probe(tmp_path / "out" / damaged["src"]).codec == "h264"
    assert len(list(iter_frames(tmp_path / "out" / damaged["src"]))) > 5
    assert len(reporter.warnings) == 2
