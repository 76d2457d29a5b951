"""The log of windows: what a scan goes on from after it was stopped at any byte."""

from pathlib import Path

import numpy as np
import pytest
from own_videos import encoder_of, recognizer_of, small_support, tiny
from videos import make_video

from fsar_cli.recognise.events import ScoredWindow
from fsar_cli.recognise.windowlog import WindowLog, read_windows

MADE_OF = {"video": "/a b/ü.mp4", "size": 5, "grid": {"step": 0.1}}
FULL = 2.0


def windows() -> list[ScoredWindow]:
    """Two stretches and a short window between them and behind them."""
    dice, found = np.random.default_rng(0), []
    for start, end, breaks in ((0, 2, 0), (0.7, 2.7, 0), (8.1, 8.9, 1), (20, 22, 1), (20.7, 22.7, 0), (40, 40.5, 1)):
        scores = dice.normal(size=3).astype(np.float32)
        track = ((start + 0.1, (0.1, 0.2, 1 / 3, 0.4)),)
        found.append(ScoredWindow(start + 0.0, end + 0.0, scores, len(found), track, None, bool(breaks)))
    return found


def plain(some: list[ScoredWindow]) -> list[tuple]:
    return [(w.start, w.end, w.scores.tolist(), w.nearest, w.track, w.breaks) for w in some]


def written(path: Path, some: list[ScoredWindow], resume: bool = False, ended: bool = True) -> Path:
    with WindowLog(path, MADE_OF, FULL, resume) as log:
        for window in some:
            log.add(window)
        if ended:
            log.end()
    return path


def test_windows_are_read_as_they_were_written(tmp_path: Path) -> None:
    read = list(read_windows(written(tmp_path / "a.jsonl", windows())))
    assert plain(read) == plain(windows()) and all(w.scores.dtype == np.float32 for w in read)
    assert list(read_windows(tmp_path / "none.jsonl")) == []


def test_a_scan_that_was_stopped_at_any_byte_ends_with_the_same_windows(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.jsonl", windows()).read_bytes()
    path, everything = tmp_path / "cut.jsonl", windows()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        with WindowLog(path, MADE_OF, FULL, resume=True) as log:
            known = list(read_windows(path))
            assert log.ended == (length == len(whole))
            assert log.ended or not known or known[-1].end - known[-1].start == pytest.approx(FULL)
            for window in everything[len(known) :]:
                log.add(window)
            if not log.ended:
                log.end()
        assert path.read_bytes() == whole, length


def test_what_is_full_of_it_is_kept(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", windows()[:3], ended=False)
    with WindowLog(path, MADE_OF, FULL, resume=True):
        assert len(list(read_windows(path))) == 2  # behind a short window nothing can go on


@pytest.mark.parametrize("other", [{"video": "/b.mp4"}, {"size": 6}, {"grid": {"step": 0.2}}, {"more": 1}])
def test_windows_of_something_else_are_not_gone_on_from(tmp_path: Path, other: dict) -> None:
    path = written(tmp_path / "a.jsonl", windows())
    with WindowLog(path, MADE_OF | other, FULL, resume=True) as log:
        assert not log.ended and list(read_windows(path)) == []


def test_without_resume_all_begins_anew(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", windows())
    with WindowLog(path, MADE_OF, FULL, resume=False) as log:
        assert not log.ended and list(read_windows(path)) == []


@pytest.mark.parametrize(
    "line", [b"{}", b"[1]", b"7", b"null", b'{"start": 1}', b'{"end": 2}', b"\xff\xfe", b"[" * 99_999]
)
def test_lines_that_are_none_end_what_is_known(tmp_path: Path, line: bytes) -> None:
    path = written(tmp_path / "a.jsonl", windows()[:2], ended=False)
    good = path.read_bytes()
    path.write_bytes(good + line + b"\n" + good.splitlines(keepends=True)[1])
    with WindowLog(path, MADE_OF, FULL, resume=True):
        assert plain(list(read_windows(path))) == plain(windows()[:2])
    assert path.read_bytes() == good


def test_a_log_that_cannot_be_written_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "none" / "a.jsonl"
    with pytest.raises(OSError, match=r"none/a\.jsonl"), WindowLog(path, MADE_OF, FULL, resume=True):
        pass


def test_a_scan_goes_on_from_its_log_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    config = tiny(**{"model.match.metric": "cosine"})
    recognizer = recognizer_of(small_support(encoder := encoder_of(config)), encoder)
    video = make_video(
        tmp_path / "a.mkv", pts=[*range(0, 5000, 100), *range(8000, 8500, 100), *range(9900, 14_000, 100)]
    )
    everything = list(recognizer.windows(video))
    assert sum(w.breaks for w in everything) == 2
    for count in range(1, len(everything)):
        path = tmp_path / f"{count}.jsonl"
        written(path, everything[:count], ended=False)
        with WindowLog(path, MADE_OF, recognizer.grid.window, resume=True):
            known = list(read_windows(path))
        begin = known[-1].start + recognizer.grid.stride
        whole = [*known, *recognizer.windows(video, begin, begin)]
        assert [w.breaks for w in whole] == [w.breaks for w in everything]
        for name in ("start", "end", "scores"):
            found, expected = ([getattr(w, name) for w in some] for some in (whole, everything))
            np.testing.assert_allclose(found, expected, atol=1e-4)


def test_windows_that_were_scored_together_are_kept_together(tmp_path: Path) -> None:
    full = [ScoredWindow(i / 2, i / 2 + FULL, np.zeros(2, np.float32)) for i in range(9)]
    for number, kept in ((0, 0), (3, 0), (4, 4), (7, 4), (8, 8), (9, 8)):
        path = written(tmp_path / f"{number}.jsonl", full[:number], ended=False)
        with WindowLog(path, MADE_OF, FULL, resume=True, together=4):
            assert len(list(read_windows(path))) == kept
    path = written(tmp_path / "all.jsonl", full)
    with WindowLog(path, MADE_OF, FULL, resume=True, together=4) as log:
        assert log.ended and len(list(read_windows(path))) == 9
