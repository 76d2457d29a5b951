"""Support check: who is asked with whom, margins and influence beside slow loops, planted faults, the filter."""

import numpy as np
import pytest
import torch
from small_project import lively, small

from fsar_cli.core.method import Encoded
from fsar_cli.core.methods import METHODS
from fsar_cli.core.methods.prototype import Prototype
from fsar_cli.data.clips import ClipReader
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.engine.bank import Bank, encode_videos
from fsar_cli.engine.evaluate import evaluate_bank
from fsar_cli.settings import resolve
from fsar_cli.tools.support.check import Report, Settings, filter_effects, score, shots_of
from fsar_cli.tools.support.draws import SupportDraws
from fsar_cli.tools.support.faults import picture_faults
from fsar_cli.tools.support.filtering import FoldSampler, make_folds
from fsar_cli.tools.support.flags import (
    AMBIGUOUS,
    BLACK,
    DUPLICATE,
    MISLABELLED,
    ODD,
    Flag,
    all_flags,
    label_flags,
    likeness_flags,
    to_leave_out,
)
from fsar_cli.tools.support.likeness import clip_distances
from fsar_cli.tools.support.pool import Pool
from fsar_cli.tools.support.scoring import Answers, ask, influence, margins
from fsar_cli.tools.support.words import sentences, tells_apart

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


def scored(videos: np.ndarray, labels: np.ndarray, draws: int = 20, seed: int = 0):
    known = [[] for _ in labels]
    settings = Settings(5, draws, seed)
    return score(nearest_mean(), bank_of(videos), labels, far(len(labels)), known, NAMES, settings)


def mislabelled(found) -> np.ndarray:
    return np.array([any(flag.kind == MISLABELLED for flag in row) for row in found.flags])


# ---------------------------------------------------------------- draws


@pytest.mark.parametrize(("sizes", "shot"), [((5, 5, 5), 4), ((7, 3, 5), 4), ((12, 9), 3), ((4, 1, 4), 2)])
def test_no_clip_is_asked_beside_itself_and_all_are_asked_alike(sizes, shot):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    draws = SupportDraws(labels, shot, seed=3)
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
    whole, part = SupportDraws(labels, 3, 1).batch(0, 40), SupportDraws(labels, 3, 1).batch(13, 5)
    np.testing.assert_array_equal(whole.support[13:18], part.support)
    np.testing.assert_array_equal(whole.query[13:18], part.query)
    assert (SupportDraws(labels, 3, 2).batch(0, 40).support != whole.support).any()
    sets = {tuple(sorted(row)) for row in SupportDraws(labels, 3, 1).batch(0, 400).support[:, 0]}
    assert len(sets) == 20, "every choice of 3 of 6 comes up"


# ---------------------------------------------------------------- recognition


@pytest.mark.parametrize("name", sorted(METHODS))
def test_any_method_is_asked_as_one_query_at_a_time_would(project, name, monkeypatch):
    config = small(project, **{"model.method": name})
    method, videos = lively(config), []
    for cls, many in (("kick", 4), ("push", 3), ("throw", 1)):
        videos += [f"{cls}/{cls}_{i}" for i in range(many)]
    labels = np.repeat([0, 1, 2], [4, 3, 1])
    reader = ClipReader(FrameStore(config.data.frames), config.clip)
    bank = encode_videos(method, reader, tuple(videos), CPU, config)
    monkeypatch.setattr("fsar_cli.tools.support.scoring.QUERIES_A_CALL", 2)
    draws = SupportDraws(labels, 2)
    answers = ask(method, bank, draws, 6)
    totals, votes = np.zeros((8, 3)), np.zeros((8, 3), dtype=int)
    drawn = draws.batch(0, 6)
    for e in range(6):
        for clip in [*drawn.query[e, 0], 7]:
            kept = [0, 1] if clip == 7 else [0, 1, 2]  # 7 is alone in its class
            support = bank.encoded.take(torch.from_numpy(drawn.support[e, kept])[None])
            with torch.no_grad():
                logits = method.match(support, bank.encoded.take(torch.tensor([[clip]]))).logits[0, 0].double().numpy()
            totals[clip, kept] += logits
            votes[clip, logits.argmax()] += 1
    expected = totals / votes.sum(1, keepdims=True)
    assert np.isnan(answers.scores[7, 2])
    expected[7, 2] = np.nan
    scale = np.nanmax(np.abs(expected))
    np.testing.assert_allclose(answers.scores, expected, atol=2e-4 * scale, rtol=0)
    np.testing.assert_array_equal(answers.votes.sum(1), votes.sum(1))
    assert answers.shown[:, 7].all()


def test_margins_do_not_depend_on_the_scale_and_offset_of_scores():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(12, 4)), np.repeat(np.arange(4), 3)
    found, rivals, unit = margins(scores, labels)
    again, others, larger = margins(1000 * scores + rng.normal(size=(12, 1)), labels)
    np.testing.assert_allclose(again, found)
    np.testing.assert_array_equal(rivals, others)
    assert larger == pytest.approx(1000 * unit)
    for i in range(12):
        rest = [scores[i, c] for c in range(4) if c != labels[i]]
        assert found[i] * unit == pytest.approx(scores[i, labels[i]] - max(rest))
        assert scores[i, rivals[i]] == max(rest)
    scores[5, labels[5]] = np.nan
    assert np.isnan(margins(scores, labels)[0]).tolist() == [i == 5 for i in range(12)]


def test_influence_is_the_difference_of_draws_with_and_without_a_clip():
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(3), 4)
    draws = SupportDraws(labels, 2).batch(0, 30)
    query, right = draws.query[:, 0], rng.random(draws.query[:, 0].shape) < 0.6
    shown = np.array([[v in row for v in range(12)] for row in draws.support.reshape(30, -1)])
    found = influence(Answers(np.zeros((12, 3)), np.zeros((12, 3), int), query, right, shown))
    for v in range(12):
        sides = {True: [], False: []}
        for e in range(30):
            rest = [
                float(right[e, j]) - np.mean([right[g, k] for g in range(30) for k in range(6) if query[g, k] == clip])
                for j, clip in enumerate(query[e])
                if clip != v
            ]
            sides[bool(shown[e, v])].append(np.mean(rest))
        having, lacking = sides[True], sides[False]
        assert found.mean[v] == pytest.approx(np.mean(having) - np.mean(lacking))
        error = np.sqrt(np.var(having, ddof=1) / len(having) + np.var(lacking, ddof=1) / len(lacking))
        assert found.error[v] == pytest.approx(error)


def test_a_mislabelled_clip_harms_the_recognition_of_the_others():
    worst, means, errors = 0, [], []
    for seed in range(6):
        rng, labels = np.random.default_rng(seed), np.repeat(np.arange(3), 6)
        videos = features(labels, 3.0, rng)
        labels[0] = 1
        found = influence(ask(nearest_mean(), bank_of(videos), SupportDraws(labels, 2, seed), 200))
        worst += int(found.mean.argmin()) == 0
        means.append(found.mean[0])
        errors.append(found.error[0])
    assert worst >= 4, "of 18 clips"
    assert np.mean(means) < -4 * np.linalg.norm(errors) / 6


def test_the_influence_of_a_clip_that_is_always_shown_is_not_known():
    shown = np.ones((4, 2), dtype=bool)
    shown[:2, 1] = False
    answers = Answers(np.zeros((2, 2)), np.zeros((2, 2), int), np.ones((4, 1), int), np.ones((4, 1), bool), shown)
    assert np.isnan(influence(answers).mean).tolist() == [True, False]


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
        found = scored(videos, labels, seed=seed)
        marked = mislabelled(found)
        hits, flags, wrong = hits + (marked & bad).sum(), flags + marked.sum(), wrong + bad.sum()
        named += (marked & bad & (found.rivals == truth)).sum()
        clean += (found.margins[~bad] > 0).mean() / 20
    assert 0.8 < clean < 0.99, "neither hopeless nor trivial"
    assert hits / wrong > 0.6, "recall"
    assert hits / flags > 0.8, "precision"
    assert named / hits > 0.8, "the class they belong to is named"


@pytest.mark.parametrize(("apart", "most"), [(0.0, 0.05), (2.0, 0.03), (3.5, 0.03), (6.0, 0.03)])
def test_clean_sets_raise_few_false_alarms_however_hard_the_classes(apart, most):
    alarms = [mislabelled(scored(*planted(seed, (6,) * 5, 0, apart)[:2], seed=seed)).mean() for seed in range(20)]
    assert np.mean(alarms) < most


def test_a_method_that_guesses_says_so_and_one_that_does_not_does_not():
    for apart, expected in ((0.0, False), (4.0, True)):
        videos, labels, _, _ = planted(0, (8,) * 5, 0, apart)
        found = scored(videos, labels)
        pool = Pool("x", bank_of(videos).videos, labels, NAMES[:5], ("",) * 40, None)
        report = Report(pool, Settings(5), found, influence(found.answers))
        assert tells_apart(report) is expected
        assert any("hardly more than guessing" in line for line in sentences(report)) is not expected
        shares = report.confusion
        np.testing.assert_allclose(shares.sum(1), 1)
        assert bool(np.diag(shares).mean() > 0.5) is expected


def test_ambiguous_is_near_zero_and_alone_in_its_class_unusually_near():
    nothing = np.full(4, np.nan)
    flags = label_flags(np.array([2.0, 0.05, 1.5, -0.3]), np.zeros(4, int), np.array([1, 0.6, 1, 0]), nothing, NAMES)
    assert [[flag.kind for flag in row] for row in flags] == [[], [AMBIGUOUS], [], []]
    nearness = np.array([-5.0, -5.2, -4.9, -5.1, -2.0, -5.0])
    alone = np.full(6, np.nan)
    flags = label_flags(alone, np.array([1, 0, 3, 2, 5, 4]), alone, nearness, NAMES)
    assert [bool(row) for row in flags] == [False, False, False, False, True, False]
    assert "near to f" in flags[4][0].detail
    assert not any(label_flags(alone[:4], np.zeros(4, int), alone[:4], nearness[1:5], NAMES)), "too few to say"


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
        found = likeness_flags(distances, labels, np.zeros(24), [str(i) for i in range(24)])
        pairs = {(i, f.other) for i, row in enumerate(found) for f in row if f.kind == DUPLICATE}
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


def test_a_clip_unlike_its_class_and_all_others_is_the_odd_one_out():
    found = alarms = 0
    for seed in range(20):
        rng, labels = np.random.default_rng(seed), np.repeat(np.arange(4), 6)
        videos = features(labels, 6.0, rng)
        clean = likeness_flags(clip_distances(torch.from_numpy(frames_of(videos, rng))), labels, np.ones(24), NAMES * 4)
        alarms += sum(flag.kind == ODD for row in clean for flag in row)
        videos[3] = 6 * np.eye(16)[0] * np.sign(rng.normal())
        flags = likeness_flags(clip_distances(torch.from_numpy(frames_of(videos, rng))), labels, np.ones(24), NAMES * 4)
        found += any(flag.kind == ODD for flag in flags[3])
    assert found >= 18
    assert alarms <= 0.03 * 20 * 24


def test_a_clip_is_frozen_only_where_nothing_ever_moves():
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    still = np.stack([picture] * 8)
    coded = (still.astype(int) + np.random.default_rng(1).integers(-4, 5, still.shape)).clip(0, 255).astype(np.uint8)
    moved = still.copy()
    moved[5:, :4, :4] = 255 - moved[5:, :4, :4]  # once, a little, late
    assert [kind for kind, _ in picture_faults(still)] == ["frozen"]
    assert [kind for kind, _ in picture_faults(coded)] == ["frozen"], "coding noise is no motion"
    assert picture_faults(moved) == []
    moved[:3] = 0
    assert picture_faults(moved) == [], "less than half of it is black"
    moved[:4] = 0
    assert picture_faults(moved) == [("black", "4 of 8 sampled frames")]


def test_what_shows_nothing_gets_no_flag_about_its_label():
    label = [[Flag(MISLABELLED, "")], [Flag(MISLABELLED, "")]]
    found = all_flags([[Flag(BLACK, "")], [Flag("frozen", "")]], label, [[], []])
    assert [[flag.kind for flag in row] for row in found] == [[BLACK], ["frozen", MISLABELLED]]


def test_of_copies_one_stays_unless_nobody_knows_which():
    def twins(labels, values, extra=()):
        rows = [[Flag(DUPLICATE, "", 1)], [Flag(DUPLICATE, "", 0)], list(extra)]
        return to_leave_out(rows, np.array(labels), np.array(values)).tolist()

    nan = float("nan")
    assert twins([0, 0, 1], [0.5, 0.7, 1]) == [True, False, False]
    assert twins([0, 0, 1], [0.7, 0.5, 1]) == [False, True, False]
    assert twins([0, 0, 1], [nan, nan, 1]) == [False, True, False]
    assert twins([0, 1, 1], [nan, nan, 1]) == [True, True, False]
    assert twins([0, 0, 1], [0.5, 0.7, 1], [Flag(ODD, "")]) == [True, False, True]


# ---------------------------------------------------------------- filter


def test_folds_spread_every_class_and_keep_groups_together():
    labels = np.repeat(np.arange(3), (10, 7, 5))
    folds = make_folds(labels, None)
    for c in range(3):
        counts = np.bincount(folds[labels == c], minlength=5)
        assert counts.max() - counts.min() <= 1
    groups = [f"g{i % 10}" for i in range(20)]  # ten pairs of actors, two classes
    folds = make_folds(np.repeat([0, 1], 10), groups)
    assert all(len({f for f, g in zip(folds, groups, strict=True) if g == name}) == 1 for name in groups)
    assert np.bincount(folds).tolist() == [4] * 5
    assert make_folds(np.array([0, 0, 1, 1]), None).max() == 1, "two clips: two folds"
    with pytest.raises(Exception, match="none is left to ask"):
        make_folds(np.array([0, 0, 1]), None)


def test_the_filter_asks_the_same_and_only_passes_over_what_is_dropped():
    labels = np.repeat(np.arange(4), 6)
    folds, rng = make_folds(labels, None), np.random.default_rng(0)
    dropped = (rng.random((5, 24)) < 0.3) & (folds != np.arange(5)[:, None])
    dropped[:, labels == 3] = folds[labels == 3] != np.arange(5)[:, None]  # nothing of a class is left
    shape = {"way": 3, "shot": 3, "seed": 4}
    names = [str(i) for i in range(24)]
    plain = FoldSampler(names, labels, NAMES[:4], folds, **shape).batch(0, 200)
    other = FoldSampler(names, labels, NAMES[:4], folds, **shape, dropped=dropped).batch(0, 200)
    np.testing.assert_array_equal(plain.query, other.query)
    np.testing.assert_array_equal(plain.classes, other.classes)
    for e in range(200):
        fold = folds[plain.query[e, 0, 0]]
        assert (folds[plain.query[e]] == fold).all()
        for n, cls in enumerate(plain.classes[e]):
            before, after = plain.support[e, n], other.support[e, n]
            assert (labels[after] == cls).all()
            assert (folds[before] != fold).all()
            assert (folds[after] != fold).all()
            assert len(set(before)) == 3
            if cls == 3:
                np.testing.assert_array_equal(before, after)
                continue
            assert not dropped[fold, after].any()
            assert set(before[~dropped[fold, before]]) <= set(after), "what is clean stays"
            candidates = np.flatnonzero((labels == cls) & (folds != fold) & ~dropped[fold])
            assert len(set(after)) == min(3, len(candidates))
    np.testing.assert_array_equal(
        FoldSampler(names, labels, NAMES[:4], folds, **shape).batch(77, 3).support, plain.support[77:80]
    )


def effects(videos: np.ndarray, labels: np.ndarray, seed: int, groups: tuple[str, ...] = (), shots=(3,)):
    count = len(labels)
    wanted = {"eval.way": 5, "eval.shots": shots, "eval.group_disjoint": bool(groups)}
    config = resolve(base=wanted, environ={}).config
    bank = bank_of(videos)
    pool = Pool("x", bank.videos, labels, NAMES[:5], groups or ("",) * count, None)
    settings = Settings(3, 10, seed, 300)
    return filter_effects(nearest_mean(), config, bank, pool, far(count), [[] for _ in labels], settings)


def test_the_filter_helps_where_labels_are_wrong_and_not_where_they_are_right():
    wrong = [effects(*planted(seed, (12,) * 5, 10, 3.5)[:2], seed)[0] for seed in range(3)]
    assert np.mean([effect.difference for effect in wrong]) > 0.02
    for effect in wrong:
        assert effect.difference == pytest.approx(effect.after - effect.before)
        assert effect.real == (effect.p < 0.05)
        assert 0 < effect.ci < effect.ci_clips, "60 clips tell less than 300 episodes"
        assert 4 < effect.flagged < 15
    right = [effects(*planted(seed, (12,) * 5, 0, 2.0)[:2], seed)[0].difference for seed in range(8)]
    assert abs(np.mean(right)) < 0.015


@pytest.mark.parametrize("grouped", [False, True])
def test_the_flags_of_the_filter_never_see_the_clip_that_is_asked(monkeypatch, grouped):
    videos, labels, _, _ = planted(0, (12,) * 5, 6, 3.5)
    truth = dict(zip(bank_of(videos).videos, labels, strict=True))
    groups = tuple(f"g{i % 12}" for i in range(60)) if grouped else ()
    seen, asked = [], []

    def spy(method, bank, labels, distances, *rest):
        assert [truth[video] for video in bank.videos] == labels.tolist()
        places = [list(truth).index(video) for video in bank.videos]
        np.testing.assert_array_equal(distances, far(60)[np.ix_(places, places)])
        seen.append(set(bank.videos))
        return score(method, bank, labels, distances, *rest)

    def watch(method, bank, sampler, episodes, **rest):
        drawn = sampler.batch(0, episodes)
        asked.append([sampler.videos[q] for q in drawn.query.ravel()])
        for support, query in zip(drawn.support, drawn.query, strict=True):
            outside = next(part for part in seen if sampler.videos[query[0, 0]] not in part)
            assert {sampler.videos[i] for i in support.ravel()} <= outside
            assert not {sampler.videos[i] for i in query.ravel()} & outside
        return evaluate_bank(method, bank, sampler, episodes, **rest)

    monkeypatch.setattr("fsar_cli.tools.support.check.score", spy)
    monkeypatch.setattr("fsar_cli.tools.support.check.evaluate_bank", watch)
    (effect,) = effects(videos, labels, 0, groups)
    assert len(seen) == 5
    assert set.union(*seen) == set(truth)
    assert set.intersection(*seen) == set(), "each clip is asked in some fold"
    assert asked[0] == asked[1]
    assert effect.queries == len(set(asked[0]))
    if grouped:
        of = dict(zip(bank_of(videos).videos, groups, strict=True))
        assert all(not {of[v] for v in part} & {of[v] for v in set(truth) - part} for part in seen)


def test_shots_leave_a_clip_of_each_class_to_ask():
    assert shots_of(np.repeat([0, 1], 5), 5) == 4
    assert shots_of(np.repeat([0, 1], 20), 5) == 5
    assert shots_of(np.array([0, 1, 2]), 5) == 1
    assert shots_of(np.repeat([0, 1, 2], (2, 6, 30)), 10) == 5


@pytest.mark.cuda
def test_the_gpu_says_the_same(cuda):
    videos, labels, _, _ = planted(0, (5,) * 5, 2, 3.5)
    bank, draws = bank_of(videos), SupportDraws(labels, 4)
    there = Bank(bank.videos, bank.encoded.to(cuda), None, None)
    here, found = ask(nearest_mean(), bank, draws, 20), ask(nearest_mean().to(cuda), there, draws, 20)
    np.testing.assert_allclose(found.scores, here.scores, rtol=1e-4)
    crossed = ask(nearest_mean().to(cuda), bank, draws, 20, cuda)
    np.testing.assert_allclose(crossed.scores, here.scores, rtol=1e-4)
