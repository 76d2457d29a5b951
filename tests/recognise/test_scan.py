"""Files become events: stopped after any window and gone on with, the same; what fails harms nothing else."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from own_videos import BrightnessRecognizer, bright_film
from streams import Listening

from fsar_cli.errors import DataError
from fsar_cli.recognise.calibration import AlarmLevel
from fsar_cli.recognise.events import EventRule
from fsar_cli.recognise.scan import ScanResult, _made_of, file_digest, scan_files
from fsar_cli.recognise.stretches import VideoLog, _join

LEVEL = AlarmLevel(EventRule(threshold=0.4, release=0.3, agree=2, among=2, merge=0.0), 1.0, 0, 1.0)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bright_film(tmp_path_factory.mktemp("film") / "film.mp4")


def scanned(folder: Path, *videos: Path, **options: object) -> ScanResult:
    (folder / "o").mkdir(exist_ok=True)
    return scan_files(BrightnessRecognizer(), videos, folder / "o", LEVEL, **options)


def closed(folder: Path) -> list[dict]:
    lines = (folder / "o" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["state"] == "closed"]


class Stopper:
    """Raises Ctrl-C at the n-th window."""

    def __init__(self, number: int, take: Callable) -> None:
        self.left, self._take = number, take

    def __call__(self, *arguments: object) -> object:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self._take(*arguments)


def test_events_and_figures_of_a_film(film: Path, tmp_path: Path) -> None:
    said = []
    result = scanned(tmp_path, film, say=said.append)
    video = result.videos[0]
    bright = [named.event for named in result.events if named.event.cls == "bright"]
    assert len(bright) == 1 and 2.5 < bright[0].start < 3.5 < 4.5 < bright[0].end < 5.5
    assert [named.event.is_open for named in said if named.event.cls == "bright"] == [True, False]
    assert 7 < video.seconds <= 8.1 and video.windows == 37 and video.failed == "" and result.speed > 1
    assert len(closed(tmp_path)) == len(video.events) == len(result.events)


def test_windows_that_were_joined_stay_where_their_stretches_were_not_yet_removed(film: Path, tmp_path: Path) -> None:
    """As several processes leave them that are killed just then."""
    scanned(tmp_path, film)
    log, recognizer = tmp_path / "o" / "windows" / "0001.jsonl", BrightnessRecognizer()
    whole, parts = log.read_bytes(), log.with_suffix(".parts")
    parts.mkdir()
    assert _join(recognizer, VideoLog(film, log, _made_of(film, "", recognizer), 8.0)) == 0
    assert log.read_bytes() == whole and not parts.exists()


def test_stopped_after_any_window_it_goes_on_to_the_same(film: Path, tmp_path: Path, monkeypatch) -> None:
    whole = scanned(tmp_path, film)
    log, lines = tmp_path / "o" / "windows" / "0001.jsonl", closed(tmp_path)
    kept = [json.loads(line) for line in log.read_text().splitlines()]
    for number in range(0, 37, 3):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            add = Stopper(number, BrightnessRecognizer.scored)
            patch.setattr(BrightnessRecognizer, "scored", lambda self, windows, add=add: add(self, windows))
            scanned(tmp_path, film)
        again = scanned(tmp_path, film, resume=True)
        for line, other in zip(map(json.loads, log.read_text().splitlines()), kept, strict=True):
            assert line.keys() == other.keys() and line.get("scores") == other.get("scores")
            assert line.get("start", 0) == pytest.approx(other.get("start", 0), abs=1e-9)
        assert closed(tmp_path) == lines and len(again.events) == len(whole.events)
        assert again.videos[0].seconds == pytest.approx(whole.videos[0].seconds)


@pytest.mark.parametrize("damage", ["absent", "words", "empty"])
def test_a_video_that_is_none_leaves_the_others_be(film: Path, tmp_path: Path, damage: str) -> None:
    bad, told = tmp_path / "bad [1].mp4", Listening()
    if damage != "absent":
        bad.write_text("words" if damage == "words" else "")
    result = scanned(tmp_path, bad, film, reporter=Told(told))
    assert result.videos[0].failed and not result.videos[1].failed and len(closed(tmp_path)) == len(result.events) > 0
    assert any("bad [1].mp4" in line for line in told.lines)


class Told:
    """A reporter that draws nothing."""

    def __init__(self, lines: Listening) -> None:
        from fsar_cli.reporting import SILENT

        self.warn, self.log, self.detail, self.track = lines.warn, lines.log, lines.detail, SILENT.track


def test_windows_of_another_support_file_are_not_gone_on_from(film: Path, tmp_path: Path, monkeypatch) -> None:
    scanned(tmp_path, film, made_with="a")
    assert scanned(tmp_path, film, made_with="a", resume=True).fresh == 0
    assert scanned(tmp_path, film, made_with="b", resume=True).fresh > 7
    assert scanned(tmp_path, film, made_with="b", resume=False).fresh > 7


def test_a_window_that_cannot_be_scored_ends_the_video_with_what_was_found(film, tmp_path, monkeypatch) -> None:
    stop = Stopper(22, BrightnessRecognizer.scored)

    def scored(self, windows):
        try:
            return stop(self, windows)
        except KeyboardInterrupt:
            raise DataError("damaged") from None

    monkeypatch.setattr(BrightnessRecognizer, "scored", scored)
    result = scanned(tmp_path, film)
    assert result.videos[0].failed == "damaged" and result.videos[0].windows == 22
    assert any(named.event.cut for named in result.events)


def test_who_listens_and_fails_is_not_the_video(film: Path, tmp_path: Path) -> None:
    def say(_: object) -> None:
        raise DataError("standard output cannot be written")

    with pytest.raises(DataError, match="standard output"):
        scanned(tmp_path, film, say=say)


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1"), (tmp_path / "b").write_bytes(b"1"), (tmp_path / "c").write_bytes(b"2")
    a, b, c = (file_digest(tmp_path / name) for name in "abc")
    assert a == b != c
