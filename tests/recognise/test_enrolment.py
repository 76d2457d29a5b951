"""Enrolment: what is read, which footage does which job, and how a set grows and shrinks."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from own_videos import CPU, clips_of, encoder_of, example_tree, features, random_windows, small_support, tiny
from small_project import lively
from videos import make_video

from fsar_cli.core.method import FRAMES
from fsar_cli.engine.model import Model
from fsar_cli.errors import DataError, UsageError
from fsar_cli.recognise import footage as footage_module
from fsar_cli.recognise.encoder import Encoder
from fsar_cli.recognise.enrolment import enrol, extended, usual_window, without
from fsar_cli.recognise.examples import ExampleClip
from fsar_cli.recognise.footage import NormalWindows, describe_normal
from fsar_cli.recognise.support import SupportSet
from fsar_cli.recognise.windows import WindowGrid, windows_of_file

WHITENED = {"model.freeze_backbone": True, "model.match.whiten": "train", "model.match.metric": "cosine"}
GRID = WindowGrid.laid(1.0, 0.5, 4)


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A long file, two short ones, one of a slow camera, and one with a gap."""
    root = tmp_path_factory.mktemp("normal")
    gap = [*range(0, 8000, 200), *range(12_000, 20_000, 200)]
    return [
        make_video(root / "long.mp4", frames=240, fps=10, content="motion"),
        make_video(root / "short.mp4", frames=15, fps=10, content="noise"),
        make_video(root / "brief.mp4", frames=12, fps=10, content="noise", first=50),
        make_video(root / "slow.mkv", pts=list(range(0, 40_000, 900)), content="motion"),
        make_video(root / "gap.mkv", pts=gap, content="motion", first=30),
    ]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return example_tree(tmp_path_factory.mktemp("examples"))


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return encoder_of(tiny())


@pytest.fixture(scope="module")
def made(encoder: Encoder, tree: Path, footage: list[Path]) -> SupportSet:
    support, failed = enrol(Model(encoder.config), encoder, clips_of(tree), footage, window=1.0, stride=0.5)
    assert failed == {}
    return support


def test_no_footage_does_both_jobs(encoder: Encoder, footage: list[Path], monkeypatch) -> None:
    jobs: list[tuple[str, bool, bool, object]] = []
    honest, current = NormalWindows.add, []

    def add(self, described, window, silent, begins):
        jobs.append((current[-1], silent, begins, window))
        honest(self, described, window, silent, begins)

    def watched(path, *others, **more):
        current.append(path.name)
        return windows_of_file(path, *others, **more)

    monkeypatch.setattr(NormalWindows, "add", add)
    monkeypatch.setattr(footage_module, "windows_of_file", watched)
    found = describe_normal(encoder, footage, GRID)
    for name in {place for place, *_ in jobs}:
        own = [job for job in jobs if job[0] == name]
        shown = [{f.seconds for job in own if job[1] is silent for f in job[3].frames} for silent in (False, True)]
        assert not shown[0] & shown[1], name
        for silent, other in ((w, v) for _, a, _, w in own for _, b, _, v in own if a and not b):
            assert silent.end <= other.start + 1e-9 or other.end <= silent.start + 1e-9
    turns = [silent for place, silent, _, _ in jobs if place == "long.mp4"]
    assert sum(a != b for a, b in pairwise(turns)) == 2  # an eighth of all footage is a block
    assert {len({s for place, s, *_ in jobs if place == name}) for name in ("short.mp4", "brief.mp4")} == {1}
    assert len(found.silent) == sum(silent for _, silent, *_ in jobs) and len(found.whitening) >= 20
    assert 0.4 < len(found.silent) / len(jobs) < 0.6
    begins = [begin for _, silent, begin, _ in jobs if silent]
    assert found.segments == (np.cumsum(begins) - 1).tolist()


def test_segments_are_stretches_without_a_gap(made: SupportSet) -> None:
    silent = made.silent
    for segment in range(int(silent.segments.max()) + 1):
        starts = silent.times[silent.segments == segment, 0]
        assert np.diff(starts) == pytest.approx([0.5] * (len(starts) - 1))


def test_whitening_is_fitted_to_its_own_windows_alone(tree: Path, footage: list[Path], monkeypatch) -> None:
    config = tiny(**WHITENED)
    encoder, fitted = Encoder(lively(config), config, CPU), []
    honest = type(encoder.method.preparation).fit
    monkeypatch.setattr(
        type(encoder.method.preparation), "fit", lambda self, v, c, s: fitted.append(v) or honest(self, v, c, s)
    )
    support, _ = enrol(Model(config), encoder, clips_of(tree), footage[:2], window=1.0, stride=0.5)
    (vectors,) = fitted
    rows = {tuple(row.flatten().tolist()) for row in vectors[FRAMES]}
    assert len(vectors[FRAMES]) == support.document.normal.whitened == len(support.normal)
    assert rows == {tuple(row.flatten().tolist()) for row in support.normal[FRAMES]}
    assert rows.isdisjoint(tuple(row.flatten().tolist()) for row in support.silent.described[FRAMES])
    assert set(support.prepared) == {"frames_mean", "frames_matrix"}
    mean = vectors[FRAMES].double().flatten(0, 1).mean(0)
    torch.testing.assert_close(support.prepared["frames_mean"].double(), mean, rtol=1e-4, atol=1e-5)


def test_examples_say_where_they_came_from(made: SupportSet, tree: Path) -> None:
    assert [e.name for e in made.examples] == ["kick/0", "kick/1", "push it/0", "push it/1"]
    assert all(Path(e.source).is_file() and e.end is None for e in made.examples)
    assert len(made.thumbnails) == 4 and made.document.normal.silent == len(made.silent.described)
    assert made.left_out.shape == (4, 2) and made.silent_scores.shape == (len(made.silent.described), 2)


def test_what_cannot_be_read_is_named_and_the_others_are_enrolled(encoder: Encoder, tree: Path, tmp_path) -> None:
    broken, junk = tmp_path / "broken.mp4", tmp_path / "junk.mp4"
    broken.write_bytes(b"no video")
    clips = [*clips_of(tree), ExampleClip("kick", "kick/broken", broken), ExampleClip("kick", "kick/gone", junk),
             ExampleClip("kick", "kick/far", clips_of(tree)[0].path, 1.0, 1e12)]  # fmt: skip
    quiet = make_video(tmp_path / "quiet.mp4", frames=80, fps=10, content="noise")
    support, failed = enrol(Model(encoder.config), encoder, clips, [quiet, broken], window=1.0, stride=0.5)
    assert set(failed) == {"kick/broken", "kick/gone", "kick/far", str(broken)} and len(support.examples) == 4
    assert "out of range" in failed["kick/far"] and support.document.normal.sources == (str(quiet.resolve()),)


def test_a_class_of_which_nothing_can_be_read_is_an_error_that_names_it(encoder: Encoder, tree: Path, tmp_path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    clips = [ExampleClip("kick", "kick/b", tmp_path / "b.mp4"), *clips_of(tree),
             ExampleClip("third", "third/a", tmp_path / "a.mp4")]  # fmt: skip
    with pytest.raises(DataError, match=r"no example of third can be read, such as third/a: .*not a readable video"):
        enrol(Model(encoder.config), encoder, clips)


def test_footage_that_says_nothing_is_refused_in_words(tree: Path, tmp_path) -> None:
    config = tiny(**WHITENED)
    encoder, clips = Encoder(lively(config), config, CPU), clips_of(tree)
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"no normal footage can be read, such as .*a\.mp4"):
        enrol(Model(config), encoder, clips, [tmp_path / "a.mp4"])
    one = make_video(tmp_path / "b.mp4", frames=5, fps=10)
    with pytest.raises(DataError, match="1 window of normal footage, all alike, are too few"):
        enrol(Model(config), encoder, clips, [one])
    with pytest.raises(DataError, match="no normal footage to whiten by"):
        enrol(Model(config), encoder, clips)
    with pytest.raises(DataError, match="no examples of any class"):
        enrol(Model(config), encoder, [])


def test_windows_that_cannot_be_laid_are_refused_before_anything_is_read(encoder: Encoder, tree: Path) -> None:
    with pytest.raises(UsageError, match="cannot be laid"):
        enrol(Model(encoder.config), encoder, [ExampleClip("a", "a/b", tree / "none.mp4")], window=1.0, stride=2.0)


def test_windows_are_as_long_as_examples_usually_are(encoder: Encoder, tree: Path) -> None:
    assert [usual_window(s) for s in ([0.2], [2.04, 3.9, 2.9], [50.0])] == [1.0, 2.9, 10.0]
    support, _ = enrol(Model(encoder.config), encoder, clips_of(tree))
    grid = support.document.grid
    assert grid.frames * grid.apart * grid.step == pytest.approx(2.0) and grid.every * grid.step == pytest.approx(1.0)
    assert support.normal is support.silent is support.document.normal is None


def test_at_a_rate_windows_are_as_long_as_what_the_network_sees_of_examples(tree: Path) -> None:
    config = tiny(**{"clip.rate": 3.0})
    encoder = Encoder(lively(config), config, CPU)
    support, _ = enrol(Model(config), encoder, clips_of(tree), stride=0.5)
    grid = support.document.grid
    assert grid.frames * grid.apart * grid.step == pytest.approx(4 / 3, abs=0.35)


def test_one_example_a_class_will_do(encoder: Encoder, tree: Path) -> None:
    support, _ = enrol(Model(encoder.config), encoder, clips_of(tree)[::2])
    assert len(support.examples) == 2 and bool(support.left_out.isnan().all())


def test_what_was_added_and_taken_out_again_leaves_no_trace(encoder: Encoder, made: SupportSet, tmp_path) -> None:
    new = clips_of(example_tree(tmp_path, ("third", "kick"), each=1, frames=14))
    new = [replace(clip, name=f"{clip.name} new") for clip in new]
    grown, failed = extended(encoder, made, new)
    assert failed == {} and len(grown.examples) == 6 and grown.classes == ("kick", "push it", "third")
    assert grown.prepared is made.prepared and grown.normal is not None and grown.left_out.shape == (6, 3)
    back = without(encoder, grown, [clip.name for clip in new])
    assert back.document == made.document and back.thumbnails == made.thumbnails
    for name in ("left_out", "silent_scores"):
        torch.testing.assert_close(getattr(back, name), getattr(made, name), equal_nan=True)


def test_rejected_events_become_normal_windows(encoder: Encoder, made: SupportSet, footage: list[Path]) -> None:
    calm = [ExampleClip("normal", "normal/a", footage[0], 3.0, 4.0)]
    grown, _ = extended(encoder, made, [], calm)
    assert grown.examples == made.examples and len(grown.normal) == len(made.normal) + 1
    assert bool((grown.silent_scores <= made.silent_scores + 1e-4).all())


def test_nothing_that_can_be_read_changes_nothing(encoder: Encoder, made: SupportSet, tmp_path) -> None:
    with pytest.raises(DataError, match=r"none of 1 clip can be read: kick/gone: "):
        extended(encoder, made, [ExampleClip("kick", "kick/gone", tmp_path / "gone.mp4")])


def test_one_example_stays_at_least(encoder: Encoder, made: SupportSet) -> None:
    with pytest.raises(UsageError, match="no example would be left"):
        without(encoder, made, [example.name for example in made.examples])


def test_footage_without_end_takes_a_bounded_room(monkeypatch) -> None:
    monkeypatch.setattr(footage_module, "MOST_BYTES", 4 * 8 * 100)
    (window,) = random_windows(tiny(), 1)
    for silent in (False, True):
        windows = NormalWindows()
        for i in range(1000):
            windows.add(features(1, 8, seed=i), window, silent, i == 0)
        kept = windows.silent if silent else windows.whitening
        assert 50 <= len(kept) <= 100 and windows.thinned == silent
        if not silent:  # spread over all of it
            places = [
                next(i for i in range(1000) if torch.equal(features(1, 8, seed=i)[FRAMES], e[FRAMES])) for e in kept
            ]
            assert set(np.diff(places)) == {16} and places[-1] > 950


def test_the_small_set_of_these_tests_is_like_an_enrolled_one(made: SupportSet, encoder: Encoder) -> None:
    assert set(small_support(encoder).described.tensors) == set(made.described.tensors)
