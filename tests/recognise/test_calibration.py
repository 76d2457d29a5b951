"""Calibration: ranks, thresholds by brute force, and by simulation whether what is promised is kept."""

from dataclasses import replace

import numpy as np
import pytest

from fsar_cli.engine.statistics.poisson import poisson_upper
from fsar_cli.recognise.calibration import (
    RELEASE,
    AlarmLevel,
    alarm_level,
    auroc,
    clip_level,
    example_auroc,
    fpr_at_tpr,
    rank_of,
    recalled,
    uncalibrated_level,
)
from fsar_cli.recognise.events import EventRule, ScoredWindow, events_of

CLASSES = ("kick", "push")
RULES = [EventRule(0, 0), EventRule(0, 0, 1, 1, merge=0.0), EventRule(0, 0, 2, 3, merge=2.0, longest=5.0)]


def segments_of(seed: int, count: int = 150, parts: int = 2, stride: float = 1.0) -> list[list[ScoredWindow]]:
    dice = np.random.default_rng(seed)
    scores = dice.normal(size=(parts, count // parts, 2)).astype(np.float32)
    scores[:, 1:] = 0.7 * scores[:, :-1] + 0.5 * scores[:, 1:]
    return [[ScoredWindow(stride * i, stride * i + 2, row) for i, row in enumerate(some)] for some in scores]


def no_left_out() -> tuple[np.ndarray, np.ndarray]:
    return np.full((1, 1), np.nan, np.float32), np.zeros(1, int)


def test_a_rank_counts_the_windows_that_score_as_much() -> None:
    normal = np.array([0.1, 0.2, 0.2, 0.5], np.float32)
    found = [rank_of(score, normal) for score in (0.0, float(normal[1]), 0.3, 0.5, 0.6)]
    assert found == [5 / 5, 4 / 5, 2 / 5, 2 / 5, 1 / 5]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("rate", [40.0, 120.0, 300.0, 800.0, 1e6])
def test_the_threshold_is_the_lowest_above_which_all_keep_the_rate(rule: EventRule, rate: float) -> None:
    for seed in range(2):
        segments = segments_of(seed, stride=0.5)
        best = np.array([w.scores.max() for some in segments for w in some], float)
        hours = len(best) * 0.5 / 3600

        def alarms(level: float, segments=segments, best=best) -> int:
            release = level - RELEASE * max(0.0, level - float(np.median(best)))
            tried = replace(rule, threshold=level, release=release)
            return sum(len(events_of(some, CLASSES, tried, 0.5)) for some in segments)

        found = alarm_level(segments, rate, rule, CLASSES, 0.5)
        levels = sorted(set(best.tolist()))
        kept = {level: (alarms(level) + 1) / hours <= rate for level in levels}
        good = [level for level in levels if all(kept[other] for other in levels if other >= level)]
        assert found.hours == pytest.approx(hours) and found.alarms == alarms(found.rule.threshold)
        if good and 1 / hours <= rate:
            assert found.rule.threshold == min(good) and found.kept and found.alarms <= rate * hours - 1
        else:
            assert found.rule.threshold > max(levels) and found.alarms == 0 and found.kept == (1 / hours <= rate)


def test_footage_too_short_for_the_rate_gives_a_threshold_above_all_of_it_and_says_so() -> None:
    segments = segments_of(0)
    level = alarm_level(segments, 1.0, RULES[0], CLASSES, 1.0)
    assert not level.kept and level.alarms == 0
    words = level.words(poisson_upper(0) / level.hours)
    assert "takes 1.0 h of normal footage or more" in words and "0 false alarms in 2.5 min" in words
    assert f"at most {poisson_upper(0) / level.hours:.3g} an hour (95 %)" in words


def test_words_say_what_was_asked_for_what_was_seen_and_what_can_be_claimed() -> None:
    def words(most: float, rate: float | None, alarms: int = 0, hours: float = 0.0) -> str:
        return AlarmLevel(RULES[0], rate, alarms, hours).words(most)

    assert words(1.938, 2.0, 3, 4.0) == (
        "asked for 2 false alarms an hour; 3 false alarms in 4.0 h of normal footage: at most 1.94 an hour (95 %)"
    )
    assert words(4.744, 1.0, 0, 1.0) == (
        "asked for 1 false alarm an hour; 0 false alarms in 1.0 h of normal footage: at most 4.74 an hour (95 %)"
    )
    assert words(4.744, 2.0, 1, 1.0) == (
        "asked for 2 false alarms an hour; 1 false alarm in 1.0 h of normal footage: at most 4.74 an hour (95 %)"
    )
    assert words(6.0, 0.5, 0, 0.5) == (
        "asked for 0.5 false alarms an hour, which takes 2.0 h of normal footage or more; 0 false alarms in 30.0 min of"
        " normal footage, above all of which the threshold lies: at most 6 an hour (95 %)"
    )
    assert words(float("inf"), None) == (
        "not calibrated: there is no normal footage, so how often it is wrong is not known"
    )


def one_class(*scores: float, stride: float = 1.0) -> list[ScoredWindow]:
    """Windows of one stretch; the second class never is the best."""
    rows = [np.array([score, -100], np.float32) for score in scores]
    return [ScoredWindow(stride * i, stride * i + 2, row) for i, row in enumerate(rows)]


def test_the_release_lies_half_way_from_the_threshold_to_the_middle_window() -> None:
    rule = EventRule(0, 0, 1, 1, merge=0.0)
    level = alarm_level([one_class(0, 4, 0, 8, 2, 1, 2)], 3 * 3600 / 7, rule, CLASSES, 1.0)
    assert (level.rule.threshold, level.rule.release, level.alarms) == (4, 3, 2)  # the middle window has 2
    level = alarm_level([one_class(0, 4, 0, 8, 2, 1, 2)], 1e6, rule, CLASSES, 1.0)
    assert (level.rule.threshold, level.rule.release) == (0, 0)  # below the middle: none


@pytest.mark.parametrize("lowest", [0.0, 2.0, 3.0])
def test_a_threshold_that_nothing_reached_lies_a_little_above_all_that_was_seen(lowest: float) -> None:
    level = alarm_level([one_class(3, lowest), one_class(3)], 1.0, RULES[0], CLASSES, 1.0)
    above = level.rule.threshold - 3
    assert 0 < above == pytest.approx((3 - lowest) / 1000, rel=1e-6, abs=2e-9)
    assert (level.alarms, level.rate, level.kept) == (0, 1.0, False)


def test_the_lowest_threshold_that_keeps_the_rate_has_just_so_many_alarms() -> None:
    """The alarm that is yet to come counts among them."""
    windows, rule = one_class(0, 5, 0, 4, 0, 3, 0, 2, 0), EventRule(0, 0, 1, 1, merge=0.0)
    for alarms, threshold in ((1, 5), (2, 4), (3, 3)):
        level = alarm_level([windows], (alarms + 1) * 3600 / 9, rule, CLASSES, 1.0)
        assert (level.rule.threshold, level.alarms, level.kept) == (threshold, alarms, True)


@pytest.mark.parametrize("stride", [0.25, 1.0, 2.0])
def test_alarms_as_near_as_the_rule_merges_are_one_whatever_the_stride(stride: float) -> None:
    rule, quiet = EventRule(0, 0, 1, 1, merge=10.0), int(10 / stride)
    for more, kept in ((0, True), (1, False)):
        windows = one_class(5, *[0] * (quiet + more), 5, 0, stride=stride)
        level = alarm_level([windows], 2.5 * 3600 / (len(windows) * stride), rule, CLASSES, stride)
        assert (level.rule.threshold <= 5) == kept  # one alarm is allowed


def test_alarms_of_far_stretches_are_not_one() -> None:
    """And all but the threshold of the rule stays as it is."""
    rule = EventRule(0, 0, 1, 2, shortest=0.5, longest=9.0, merge=3.0)
    level = alarm_level([one_class(5, 0), one_class(5, 0)], 1e6, rule, CLASSES, 1.0)
    assert level.rule == replace(rule, threshold=0.0, release=0.0) and level.alarms == 2 and level.hours == 4 / 3600


@pytest.mark.parametrize("rate", [100.0, 300.0])
def test_new_footage_has_no_more_false_alarms_than_were_asked_for(rate: float) -> None:
    rule, found = EventRule(0, 0, 1, 1, merge=0.0), []
    for seed in range(60):
        scores = np.random.default_rng(seed).normal(size=(2, 300, 2)).astype(np.float32)
        known, new = ([ScoredWindow(3.0 * i, 3.0 * i + 2, row) for i, row in enumerate(part)] for part in scores)
        level = alarm_level([known], rate, rule, CLASSES, 1.0)
        assert level.kept
        found.append(len(events_of(new, CLASSES, level.rule, 1.0)) * 3600 / 300)
    mean, error = np.mean(found), np.std(found) / np.sqrt(len(found))
    assert mean <= rate + 3 * error and mean >= 0.5 * rate  # and it is no use to be far below


@pytest.mark.parametrize("n", [5, 19, 20, 39, 100, 200])
@pytest.mark.parametrize("wrong", [0.05, 0.1, 0.29])
def test_a_normal_clip_gets_a_class_as_rarely_as_was_asked_for(n: int, wrong: float) -> None:
    dice = np.random.default_rng(n)
    draws = dice.normal(size=(2000, n + 1)).astype(np.float32)
    passed, calibrated = [], set()
    for row in draws:
        level = clip_level(row[:n], *no_left_out(), wrong)
        calibrated.add(level.calibrated)
        passed.append(float(row[n]) >= level.threshold)
        assert level.calibrated is False or (float(row[n]) >= level.threshold) == (
            rank_of(float(row[n]), row[:n]) <= int(wrong * (n + 1) + 1e-9) / (n + 1) + 1e-9
        )
    allowed = int(wrong * (n + 1) + 1e-9) / (n + 1)
    assert calibrated == {allowed > 0}
    expected = allowed if allowed else 1 / (n + 1)  # where it cannot be kept: above all that was seen
    assert np.mean(passed) == pytest.approx(expected, abs=4 * np.sqrt(expected / 2000) + 0.003)


@pytest.mark.parametrize("n", [5, 19, 40])
def test_a_true_clip_is_called_unknown_as_rarely_as_was_asked_for(n: int) -> None:
    draws, wrong = np.random.default_rng(n).normal(size=(4000, n + 1)).astype(np.float32), 0.2
    labels = np.zeros(n, int)
    lost = [float(row[n]) < clip_level(None, row[:n, None], labels, wrong).threshold for row in draws]
    assert np.mean(lost) <= wrong + 0.02


def test_shares_are_counted_as_they_are_meant() -> None:
    silent = np.arange(99, dtype=np.float32)
    assert clip_level(silent, *no_left_out(), 0.29).threshold == pytest.approx(70, abs=1e-3)  # 29 of 100, not 28
    assert clip_level(silent, *no_left_out(), 1.0).threshold == pytest.approx(0, abs=1e-3)


def test_without_normal_footage_examples_alone_speak_and_that_is_said() -> None:
    left_out, labels = np.array([[3, 0], [1, 0], [0, 2], [0, 4]], np.float32), np.array([0, 0, 1, 1])
    level = clip_level(None, left_out, labels, 0.05)
    assert (level.threshold, level.calibrated) == (1.0, False) and "1 in 5" in level.words
    level = clip_level(None, left_out, labels, 0.4)
    assert (level.threshold, level.calibrated) == (2.0, True) and "by 4 examples" in level.words
    level = clip_level(None, np.full((2, 2), np.nan, np.float32), np.array([0, 1]), 0.05)
    assert level.threshold == -np.inf and not level.calibrated and "one example a class" in level.words


def test_words_of_clips_say_what_may_go_wrong_and_by_how_many() -> None:
    left_out, labels = np.array([[3, 0], [1, 0], [0, 2], [0, 4]], np.float32), np.array([0, 0, 1, 1])
    assert clip_level(np.arange(19), left_out, labels, 0.05).words == (
        "at most 5 % of normal clips get a class, by 19 normal windows"
    )
    assert clip_level(np.arange(12), left_out, labels, 0.05).words == (
        "12 normal windows allow 7.7 % of normal clips to get a class, not 5 %"
    )
    assert clip_level(None, left_out, labels, 0.2).words == (
        "at most 20 % of true clips are called unknown, by 4 examples, each by the others"
    )
    begins = "not calibrated: without normal footage `unknown` rests on the examples alone, and "
    assert clip_level(None, left_out, labels, 0.1).words == (
        begins + "4 examples that others of their class recognise allow no less than 1 in 5"
    )
    assert clip_level(None, np.full((2, 2), np.nan), np.array([0, 1]), 0.1).words == (
        begins + "one example a class says nothing of how much examples differ"
    )


def test_without_normal_footage_a_threshold_lies_where_examples_score_for_other_classes() -> None:
    left_out = np.array([[3, 0.5], [np.nan, np.nan], [0.7, 2]], np.float32)
    level = uncalibrated_level(left_out, np.array([0, 0, 1]), RULES[2])
    assert level == AlarmLevel(replace(RULES[2], threshold=level.rule.threshold, release=level.rule.release), None)
    assert (level.alarms, level.hours) == (0, 0.0)
    assert level.rule.threshold == level.rule.release == pytest.approx(0.7) and not level.kept
    assert "not calibrated" in level.words(float("inf"))
    assert uncalibrated_level(np.full((2, 2), np.nan), np.array([0, 1]), RULES[0]).rule.threshold == 0


def test_examples_are_recalled_as_their_own_class_and_above_the_threshold() -> None:
    left_out = np.array([[3, 1], [0.5, 0.2], [2, 1], [np.nan, np.nan], [1, 4]], np.float32)
    labels = np.array([0, 0, 1, 1, 1])
    assert recalled(left_out, labels, -np.inf) == (3, 4) and recalled(left_out, labels, 1.0) == (2, 4)
    assert recalled(left_out, labels, 0.5) == (3, 4)  # as much as the threshold is enough


def test_auroc_counts_pairs_and_ties_as_halves() -> None:
    dice = np.random.default_rng(0)
    for sizes in ((1, 1), (7, 20), (30, 4)):
        positive, negative = (dice.integers(0, 8, size) for size in sizes)
        pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
        assert auroc(positive, negative) == pytest.approx(np.mean(pairs))
    with np.errstate(all="raise"):  # no share of nothing is worked out
        assert np.isnan(auroc(np.array([]), np.array([1.0]))) and np.isnan(auroc(np.array([1.0]), np.array([])))


def test_examples_are_told_from_normal_windows_by_their_largest_scores() -> None:
    left_out, silent = np.array([[3, 1], [np.nan, np.nan], [0, 2]], np.float32), np.array([1, 2.5], np.float32)
    assert example_auroc(left_out, silent) == 3 / 4  # 3 is above both windows, 2 above one; the second is not known
    assert example_auroc(left_out, None) is None
    assert example_auroc(left_out[1:2], silent) is None


def test_false_positives_are_counted_where_the_share_of_positives_is_reached() -> None:
    dice = np.random.default_rng(1)
    for count in (1, 7, 20, 100, 140):
        positive, negative = dice.normal(1, 1, count), dice.normal(0, 1, 50)
        levels = [level for level in positive if (positive >= level).mean() >= 0.95 - 1e-12]
        assert fpr_at_tpr(positive, negative) == (negative >= max(levels)).mean()
    known, normal = np.arange(10), np.array([4, 4.5, 5, 6, 9.5])  # half of them lie at 5 or above
    assert fpr_at_tpr(known, normal, 0.5) == 3 / 5 and fpr_at_tpr(known, normal, 1.0) == 1.0
    assert np.isnan(fpr_at_tpr(np.array([]), np.array([1.0]))) and np.isnan(fpr_at_tpr(np.array([1.0]), np.array([])))
