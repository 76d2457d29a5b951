"""Support check: which clips are queries beside which examples, margins beside slow loops, planted faults."""

import numpy as np
import pytest
import torch
from small_project import lively, reader_of, small

from fsar_cli.core.method import Encoded
from fsar_cli.core.methods import METHODS
from fsar_cli.core.methods.prototype import Prototype
from fsar_cli.engine.bank import Bank, encode_videos
from fsar_cli.recognise.checking.check import SupportReport, judge, nearest_by_likeness, sentences, shots_of
from fsar_cli.recognise.checking.flags import (
    AMBIGUOUS,
    BLACK,
    MISLABELLED,
    Flag,
    clip_distances,
    duplicate_flags,
    label_flags,
    picture_flags,
)
from fsar_cli.recognise.checking.margins import SupportDraws, margins, mean_scores
from fsar_cli.recognise.checking.pool import Pool

CPU = torch.device("cpu")
NAMES = ("a", "b", "c", "d", "e", "f")


def nearest_mean() -> Prototype:
    return Prototype(torch.nn.Identity()).eval()


def features(labels: np.ndarray, apart: float, rng: np.random.Generator, width: int = 16) -> np.ndarray:
    """[V,width] Gaussian clouds of unit deviation, their centres `apart` from the origin."""
    centres = rng.normal(size=(labels.max() + 1, width))
    centres *= apart / np.linalg.norm(centres, axis=1, keepdims=True)
    return centres[labels] + rng.normal(size=(len(labels), width))


def bank_of(videos: np.ndarray) -> Bank:
    names = tuple(f"v{i:03d}" for i in range(len(videos)))
    return Bank(names, Encoded({"video": torch.from_numpy(videos).float()}), None, None)


def far(count: int) -> np.ndarray:
    """Distances that raise no flag; each pair has its own."""
    own = 1 + 1e-6 * np.add.outer(np.arange(count), np.arange(count))
    return own * (1 - np.eye(count))


def checked(videos: np.ndarray, labels: np.ndarray, seed: int = 0, faults=None) -> SupportReport:
    """The report of videos whose pixels show nothing."""
    bank, classes = bank_of(videos), NAMES[: labels.max() + 1]
    shot = shots_of(labels, 5)
    scores = mean_scores(nearest_mean(), bank, SupportDraws(labels, classes, shot, seed), 20)
    pool = Pool("x", bank.videos, labels, classes, None)
    clips = judge(pool, *margins(scores, labels), far(len(labels)), faults or {})
    return SupportReport(clips, classes, shot, 20)


def mislabelled(report: SupportReport) -> np.ndarray:
    """bool [V] in the order of the videos."""
    by_name = sorted(report.clips, key=lambda clip: clip.video)
    return np.array([MISLABELLED in clip.kinds for clip in by_name])


# ---------------------------------------------------------------- draws


@pytest.mark.parametrize(("sizes", "shot"), [((5, 5, 5), 4), ((7, 3, 5), 4), ((12, 9), 3), ((4, 1, 4), 2)])
def test_no_clip_is_a_query_beside_itself_and_all_are_queries_alike(sizes, shot):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    draws = SupportDraws(labels, NAMES[: len(sizes)], shot, seed=3)
    rounds = int(np.lcm.reduce(sizes))
    drawn = draws.batch(0, rounds)
    assert drawn.support.shape == (rounds, len(sizes), shot)
    assert (labels[drawn.support] == np.arange(len(sizes))[:, None]).all()
    for support, query in zip(drawn.support, drawn.query[:, 0], strict=True):
        assert not set(support.ravel()) & set(query)
        assert len(set(query)) == len(query)
        assert set(support.ravel()) | set(query) == set(range(len(labels)))
    for c, size in enumerate(sizes):
        asked = np.bincount(drawn.query.ravel(), minlength=len(labels))[labels == c]
        shown = max(1, min(shot, size - 1))
        assert (asked == rounds * (size - shown) // size).all(), "alone in its class: never"
        different = [len(set(row)) for row in drawn.support[:, c]]
        assert set(different) == {shown}, "a small class repeats all it can show"


def test_draws_depend_on_seed_and_number_alone_and_on_all_of_the_class():
    labels = np.repeat(np.arange(3), 6)
    whole, part = SupportDraws(labels, NAMES[:3], 3, 1).batch(0, 40), SupportDraws(labels, NAMES[:3], 3, 1).batch(13, 5)
    np.testing.assert_array_equal(whole.support[13:18], part.support)
    np.testing.assert_array_equal(whole.query[13:18], part.query)
    assert (SupportDraws(labels, NAMES[:3], 3, 2).batch(0, 40).support != whole.support).any()
    sets = {tuple(sorted(row)) for row in SupportDraws(labels, NAMES[:3], 3, 1).batch(0, 400).support[:, 0]}
    assert len(sets) == 20, "every choice of 3 of 6 comes up"


# ---------------------------------------------------------------- recognition


@pytest.mark.parametrize("name", sorted(METHODS))
def test_any_method_scores_as_one_query_at_a_time_would(project, name, monkeypatch):
    config = small(project, **{"model.method": name})
    method, videos = lively(config), []
    for cls, many in (("kick", 4), ("push", 3), ("throw", 1)):
        videos += [f"{cls}/{cls}_{i}" for i in range(many)]
    labels = np.repeat([0, 1, 2], [4, 3, 1])
    bank = encode_videos(method, reader_of(config), tuple(videos), CPU, config)
    monkeypatch.setattr("fsar_cli.recognise.checking.margins.QUERIES_A_CALL", 2)
    draws = SupportDraws(labels, ("kick", "push", "throw"), 2)
    scores = mean_scores(method, bank, draws, 6)
    totals, times = np.zeros((8, 3)), np.zeros(8)
    drawn = draws.batch(0, 6)
    for e in range(6):
        support = bank.encoded.take(torch.from_numpy(drawn.support[e])[None])
        for clip in drawn.query[e, 0]:
            with torch.no_grad():
                logits = method.match(support, bank.encoded.take(torch.tensor([[clip]]))).logits[0, 0].double().numpy()
            totals[clip] += logits
            times[clip] += 1
    assert times[7] == 0 and np.isnan(scores[7]).all(), "the only clip of its class is never a query"
    expected = totals[:7] / times[:7, None]
    np.testing.assert_allclose(scores[:7], expected, atol=2e-4 * np.abs(expected).max(), rtol=0)


def test_margins_do_not_depend_on_the_scale_and_offset_of_scores():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(12, 4)), np.repeat(np.arange(4), 3)
    values, nearest = margins(scores, labels)
    again, others = margins(1000 * scores + rng.normal(size=(12, 1)), labels)
    np.testing.assert_allclose(again, values)
    np.testing.assert_array_equal(nearest, others)
    unit = np.median(scores.std(1))
    for i in range(12):
        rest = [scores[i, c] for c in range(4) if c != labels[i]]
        assert values[i] * unit == pytest.approx(scores[i, labels[i]] - max(rest))
        assert scores[i, nearest[i]] == max(rest)
    scores[5] = np.nan
    assert np.isnan(margins(scores, labels)[0]).tolist() == [i == 5 for i in range(12)]


# ---------------------------------------------------------------- flags


def planted(seed: int, sizes: tuple[int, ...], wrong: int, apart: float):
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    labels, bad = truth.copy(), rng.choice(len(truth), wrong, replace=False)
    for clip in bad:
        labels[clip] = rng.choice([c for c in range(len(sizes)) if c != truth[clip]])
    return features(truth, apart, rng), labels, truth, np.isin(np.arange(len(truth)), bad)


@pytest.mark.parametrize("sizes", [(5, 5, 5, 5, 5), (16,) * 5])
def test_planted_mislabelled_clips_are_found_and_named(sizes):
    """Classes about as far apart as the demo's: 85 to 95 % of the clean clips are recognised."""
    hits = flags = wrong = named = clean = 0
    for seed in range(20):
        videos, labels, truth, bad = planted(seed, sizes, sum(sizes) // 12, 3.5)
        report = checked(videos, labels, seed)
        marked, clips = mislabelled(report), sorted(report.clips, key=lambda clip: clip.video)
        hits, flags, wrong = hits + (marked & bad).sum(), flags + marked.sum(), wrong + bad.sum()
        named += sum(clips[i].nearest == NAMES[truth[i]] for i in np.flatnonzero(marked & bad))
        clean += np.mean([clips[i].margin > 0 for i in np.flatnonzero(~bad)]) / 20
    assert 0.8 < clean < 0.99, "neither hopeless nor trivial"
    assert hits / wrong > 0.6, "recall"
    assert hits / flags > 0.8, "precision"
    assert named / hits > 0.8, "the class they belong to is named"


@pytest.mark.parametrize(("apart", "most"), [(0.0, 0.05), (2.0, 0.03), (3.5, 0.03), (6.0, 0.03)])
def test_clean_sets_raise_few_false_alarms_however_hard_the_classes(apart, most):
    alarms = [mislabelled(checked(*planted(seed, (6,) * 5, 0, apart)[:2], seed)).mean() for seed in range(20)]
    assert np.mean(alarms) < most


def test_a_method_that_guesses_says_so_and_one_that_does_not_does_not():
    for apart, expected in ((0.0, False), (4.0, True)):
        videos, labels, _, _ = planted(0, (8,) * 5, 0, apart)
        report = checked(videos, labels)
        assert report.tells_classes_apart is expected
        assert any("hardly more than guessing" in line for line in sentences(report)) is not expected


def test_ambiguous_is_near_zero_and_a_clip_alone_has_the_nearest_class_by_likeness():
    flags = label_flags(np.array([2.0, 0.05, 1.5, -0.3, np.nan]), list("bbbba"))
    assert [[flag.kind for flag in row] for row in flags] == [[], [AMBIGUOUS], [], [], []]
    distances = np.array([[0, 1, 5, 9], [1, 0, 2, 8], [5, 2, 0, 3], [9, 8, 3, 0.0]])
    assert nearest_by_likeness(distances, np.array([0, 0, 1, 2])).tolist() == [1, 1, 0, 1]


def frames_of(videos: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[V,8,D]: frames scattered around each video's feature."""
    return videos[:, None] + 0.3 * rng.normal(size=(len(videos), 8, videos.shape[1]))


def test_copies_are_found_recoded_or_cut_and_nothing_else_is():
    marked = others = 0
    for seed in range(20):
        rng, labels = np.random.default_rng(seed), np.repeat(np.arange(4), 6)
        frames = frames_of(features(labels, 2.0, rng), rng)
        frames[1] = frames[0] + 0.02 * rng.normal(size=frames[0].shape)  # coded anew
        frames[7] = np.roll(frames[6], -2, axis=0)  # cut elsewhere
        frames[7, 6:] = frames[7, 5]
        frames[12] = frames[20]  # the same file in two classes
        distances = clip_distances(torch.from_numpy(frames))
        found = duplicate_flags(distances, labels, [str(i) for i in range(24)])
        pairs = {(i, int(flag.other)) for i, row in enumerate(found) for flag in row}
        planted = {(0, 1), (1, 0), (6, 7), (7, 6), (12, 20), (20, 12)}
        marked += len(pairs & planted) / 120
        others += len(pairs - planted)
        assert "another class" in found[12][0].detail
    assert marked > 0.95
    assert others <= 2


def test_the_distance_of_clips_is_that_of_a_slow_loop():
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(20, 3, 5))
    found = clip_distances(torch.from_numpy(frames))
    unit = frames / np.linalg.norm(frames, axis=-1, keepdims=True)
    for i in (0, 7, 19):
        for j in (3, 19):
            there = np.mean([min(1 - a @ b for b in unit[j]) for a in unit[i]])
            back = np.mean([min(1 - a @ b for a in unit[i]) for b in unit[j]])
            assert found[i, j] == pytest.approx(0 if i == j else (there + back) / 2, abs=1e-6)


def test_a_clip_is_frozen_only_where_nothing_ever_moves():
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    still = np.stack([picture] * 8)
    coded = (still.astype(int) + np.random.default_rng(1).integers(-4, 5, still.shape)).clip(0, 255).astype(np.uint8)
    moved = still.copy()
    moved[5:, :4, :4] = 255 - moved[5:, :4, :4]  # once, a little, late
    assert [flag.kind for flag in picture_flags(still)] == ["frozen"]
    assert [flag.kind for flag in picture_flags(coded)] == ["frozen"], "coding noise is no motion"
    assert picture_flags(moved) == []
    moved[:3] = 0
    assert picture_flags(moved) == [], "less than half of it is black"
    moved[:4] = 0
    assert picture_flags(moved) == [Flag(BLACK, "4 of 8 sampled frames")]


def test_what_shows_nothing_gets_no_flag_about_its_label():
    labels = np.array([0, 0, 0, 1, 1, 1])
    pool = Pool("x", tuple("uvwxyz"), labels, ("a", "b"), None, {"lost": ("a", "no video")})
    values, nearest = np.array([-9.0, -8, 2, 2.1, 1.9, 2]), 1 - labels
    clips = judge(pool, values, nearest, far(6), {"u": [Flag(BLACK, "")], "v": [Flag("frozen", "")]})
    assert [clip.video for clip in clips] == ["lost", "u", "v", "y", "w", "z", "x"], "unreadable, then the worst first"
    assert [clip.kinds for clip in clips[:4]] == ["unreadable", "black", "frozen, mislabelled?", ""]


def test_shots_leave_a_clip_of_each_class_to_ask():
    assert shots_of(np.repeat([0, 1], 5), 5) == 4
    assert shots_of(np.repeat([0, 1], 20), 5) == 5
    assert shots_of(np.array([0, 1, 2]), 5) == 1
    assert shots_of(np.repeat([0, 1, 2], (2, 6, 30)), 10) == 5


@pytest.mark.cuda
def test_the_gpu_says_the_same(cuda):
    videos, labels, _, _ = planted(0, (5,) * 5, 2, 3.5)
    bank, draws = bank_of(videos), SupportDraws(labels, NAMES[:5], 4)
    there = Bank(bank.videos, bank.encoded.to(cuda), None, None)
    here, found = mean_scores(nearest_mean(), bank, draws, 20), mean_scores(nearest_mean().to(cuda), there, draws, 20)
    np.testing.assert_allclose(found, here, rtol=1e-4)
    crossed = mean_scores(nearest_mean().to(cuda), bank, draws, 20, cuda)
    np.testing.assert_allclose(crossed, here, rtol=1e-4)
