"""The Python API: what a support file, opened, says of clips and of files."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from own_videos import CPU, clips_of, example_tree, small_support, tiny
from videos import make_video, truncate

import fsar_cli
from fsar_cli.engine.model import Model
from fsar_cli.errors import DataError
from fsar_cli.recognise.encoder import Encoder
from fsar_cli.recognise.enrolment import enrol
from fsar_cli.recognise.events import EventRule, events_of
from fsar_cli.recognise.recognizer import UNKNOWN, Recognizer
from fsar_cli.recognise.summary import document, facts

CONFIG = tiny(**{"model.match.metric": "cosine"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """support.fsar, the examples it was made of, and videos."""
    root = tmp_path_factory.mktemp("own")
    example_tree(root / "ex", each=3)
    normal = make_video(root / "quiet.mp4", frames=300, fps=10, content="noise")
    encoder = Encoder(Model(CONFIG).load(), CONFIG, CPU)
    support, _ = enrol(Model(CONFIG), encoder, clips_of(root / "ex"), [normal], window=1.0, stride=0.5)
    support.write(root / "support.fsar")
    make_video(root / "day.mp4", pts=[*range(0, 6000, 100), *range(9000, 14_000, 100)], content="motion")
    return root


@pytest.fixture(scope="module")
def recognizer(folder: Path) -> Recognizer:
    return Recognizer.load(folder / "support.fsar", "cpu")


def test_the_package_hands_out_the_recognizer_and_imports_nothing_before() -> None:
    code = "import sys, fsar_cli; print(sorted({'torch', 'numpy', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert fsar_cli.Recognizer is Recognizer and "Recognizer" in fsar_cli.__all__
    with pytest.raises(AttributeError, match="no attribute 'Recogniser'"):
        fsar_cli.Recogniser  # noqa: B018


def test_an_example_is_most_like_itself(recognizer: Recognizer, folder: Path) -> None:
    for example in recognizer.examples:
        answer = recognizer.classify(example.source, wrong=0.5)
        assert answer.best == example.cls and answer.because == example.name
        assert answer.scores[answer.best] == answer.score == max(answer.scores.values())
        assert answer.seconds == pytest.approx(2.0) and len(answer.track) == 4


def test_a_class_is_said_as_its_rank_among_normal_windows_allows(recognizer: Recognizer, folder: Path) -> None:
    for clip in (folder / "ex/kick/0.mp4", folder / "quiet.mp4"):
        for wrong in (0.02, 0.05, 0.2, 0.5, 0.9):
            answer = recognizer.classify(str(clip), wrong=wrong)
            allowed = recognizer.clip_level(wrong).calibrated and answer.rank <= wrong
            best = float(recognizer.silent.max())
            assert answer.cls == (answer.best if allowed or answer.score > best else UNKNOWN)
    part = recognizer.classify(folder / "quiet.mp4", 2.0, 3.0)
    assert part.seconds == pytest.approx(1.0) and all(2 <= at < 3 for at, _ in part.track)


def test_events_of_a_file_are_those_of_its_windows(recognizer: Recognizer, folder: Path) -> None:
    windows = list(recognizer.windows(folder / "day.mp4"))
    assert [w.start for w in windows if w.breaks] == [9.0] and len(windows) > 12
    level = recognizer.alarm_level()
    expected = events_of(windows, recognizer.classes, level.rule, recognizer.grid.stride)
    found = sorted(recognizer.scan(folder / "day.mp4"), key=lambda e: (e.start, e.cls))
    assert [(e.start, e.end, e.cls) for e in found] == [(e.start, e.end, e.cls) for e in expected]
    assert [e.score for e in found] == pytest.approx([e.score for e in expected])


def test_windows_score_as_they_do_alone_and_go_on_from_any(recognizer: Recognizer, folder: Path) -> None:
    windows = list(recognizer.windows(folder / "day.mp4"))
    for at in (0, 3, 9, len(windows) - 2):
        origin = windows[at].start + recognizer.grid.stride
        rest = list(recognizer.windows(folder / "day.mp4", origin, origin))
        assert [(w.start, w.end, w.breaks) for w in rest] == [
            (pytest.approx(w.start), pytest.approx(w.end), w.breaks) for w in windows[at + 1 :]
        ]
        np.testing.assert_allclose([w.scores for w in rest], [w.scores for w in windows[at + 1 :]], atol=1e-4)


def test_what_a_file_shows_before_its_damage_is_said(recognizer: Recognizer, folder: Path, monkeypatch) -> None:
    broken = truncate(make_video(folder / "broken.ts", frames=200, fps=10, content="motion"), 0.6)
    monkeypatch.setattr(Recognizer, "alarm_level", lambda *_: type("L", (), {"rule": EventRule(-9.0, -9.0)}))
    events, failed = [], False
    try:
        for event in recognizer.scan(broken):
            events.append(event)
    except DataError:
        failed = True
    assert failed and events and events[-1].cut and not any(event.is_open for event in events)
    assert max(e.end for e in events) > 8


def test_numbers_come_with_what_they_rest_on(recognizer: Recognizer) -> None:
    plain, words = document(recognizer), "\n".join(line for _, line in facts(recognizer))
    silent = len(recognizer.silent)
    assert plain["classes"] == {"kick": 3, "push it": 3} and plain["normal"]["silent"] == silent
    assert plain["normal"]["hours"] == pytest.approx(silent * 0.5 / 3600) == recognizer.hours
    level = recognizer.alarm_level()
    most = plain["calibration"]["most"]
    assert not level.kept and plain["calibration"]["alarms"] == 0 and plain["calibration"]["asked"] == 1.0
    assert most == pytest.approx(2.996 / recognizer.hours, rel=1e-3)
    assert f"at most {most:.3g} an hour" in words
    assert plain["recognised"]["of"] == plain["recall"]["of"] == 6
    assert 0 <= plain["auroc"] <= 1 and re.search(rf"\b{silent} (others|normal windows?) calibrate", words)


def test_without_normal_footage_nothing_is_claimed() -> None:
    encoder = Encoder(Model(CONFIG).load(), CONFIG, CPU)
    bare = Recognizer(small_support(encoder, (1, 1), 0, 0), encoder)
    plain, words = document(bare), "\n".join(line for _, line in facts(bare))
    assert plain["normal"] is plain["auroc"] is plain["calibration"]["most"] is plain["calibration"]["asked"] is None
    assert plain["recall"] == {"found": 0, "of": 0} and bare.rank(3.0) is None and bare.hours == 0
    assert "one example a class" in words and "not calibrated" in words and "no normal footage" in words


def test_a_file_that_is_none_and_an_encoder_that_has_gone_are_told(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match="no support file"):
        Recognizer.load(str(tmp_path / "none.fsar"), "cpu")
    with pytest.raises(DataError, match="which is not there"):
        Recognizer.load(folder / "support.fsar", "cpu", run=tmp_path / "gone")
