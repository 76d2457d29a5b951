"""Statistics of comparisons against enumeration, tables, hand examples and simulations whose truth is known."""

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest

from fsar_cli.data.episodes import Episodes, EpisodeSampler
from fsar_cli.data.splits import Splits, Video
from fsar_cli.engine.statistics import jackknife, paired
from fsar_cli.engine.statistics.jackknife import class_units, variances, video_units
from fsar_cli.engine.statistics.paired import (
    SMALLEST_P,
    episodes_needed,
    half_width,
    holm,
    normal_p,
    sign_flip_p,
    t_quantile,
)


def enumerated(differences: list[int]) -> float:
    """Share of all 2^E signs whose sum is at least as far from zero as the one seen."""
    seen = abs(sum(differences))
    signs = list(itertools.product((-1, 1), repeat=len(differences)))
    return sum(abs(sum(s * d for s, d in zip(row, differences, strict=True))) >= seen for row in signs) / len(signs)


def test_the_randomisation_test_equals_enumeration_of_all_signs():
    rng = np.random.default_rng(0)
    known = [[1], [1, 1, 1], [2, -2, 2, 0], [1, 2, 3, -1, 2, 0, 5], [6, 2, 2, -4, 6, 8], [3] * 10, [1, -1], [0, 0]]
    drawn = [rng.integers(-5, 6, rng.integers(1, 12)).tolist() for _ in range(30)]
    for some in (*known, *[[-d for d in row] for row in known], *drawn):
        assert sign_flip_p(np.array(some)) == pytest.approx(enumerated(some), abs=1e-12), some


def test_for_many_episodes_the_exact_test_nears_the_normal_one_and_stays_finite(monkeypatch):
    rng = np.random.default_rng(1)
    some = rng.choice([-2, -1, 0, 1, 2], 10_000, p=[0.05, 0.2, 0.49, 0.21, 0.05])
    exact = sign_flip_p(some)
    assert exact == pytest.approx(normal_p(some.astype(float)), rel=0.03)
    assert sign_flip_p(np.ones(10_000, dtype=int)) == SMALLEST_P
    monkeypatch.setattr(paired, "LARGEST_SUM", 10)
    assert sign_flip_p(some) == pytest.approx(exact, rel=0.03), "too large a sum is left to the normal distribution"


def test_equal_methods_are_called_different_in_one_of_twenty_tests():
    rng = np.random.default_rng(2)
    p = np.array([sign_flip_p(rng.integers(-2, 3, 300)) for _ in range(1000)])
    assert 0.03 < (p < 0.05).mean() < 0.07
    assert 0.45 < (p < 0.5).mean() < 0.55


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.001, 0.01, 0.02, 0.5]) == pytest.approx([0.004, 0.03, 0.04, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04] and holm([]) == []


def test_holm_keeps_false_findings_below_one_in_twenty():
    rng = np.random.default_rng(3)
    any_found = [min(holm(rng.random(6).tolist())) < 0.05 for _ in range(4000)]
    assert 0.035 < np.mean(any_found) < 0.06


@pytest.mark.parametrize(
    ("freedom", "value"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (30, 2.0423), (120, 1.9799), (1e9, 1.95996)],
)
def test_student_s_quantiles_are_those_of_the_tables(freedom, value):
    assert t_quantile(freedom) == pytest.approx(value, abs=1e-4)


def test_a_sum_of_variances_has_the_freedom_of_its_larger_part():
    assert half_width([(4.0, math.inf)]) == pytest.approx(1.95996 * 2, abs=1e-3)
    assert half_width([(4.0, 3.0), (0.0, math.inf)]) == pytest.approx(3.1824 * 2, abs=1e-3)
    assert half_width([(4.0, 5.0), (4.0, 5.0)]) == pytest.approx(t_quantile(10) * math.sqrt(8))
    assert half_width([(0.0, 4.0)]) == 0.0


def test_the_episodes_needed_find_the_difference_in_eight_of_ten_tries():
    rng = np.random.default_rng(4)
    chances = [0.14, 0.66, 0.20]  # mean 0.06
    spread = math.sqrt(0.34 - 0.06**2)
    needed = episodes_needed(0.06, spread)
    tries = rng.choice([-1, 0, 1], (600, needed), p=chances)
    found = np.mean([sign_flip_p(row) < 0.05 for row in tries])
    assert 0.75 < found < 0.85


def test_more_episodes_are_needed_for_more_tests_and_never_fewer_than_failed():
    assert episodes_needed(0.0, 1.0) is None
    assert episodes_needed(0.01, 0.2) == math.ceil((1.959964 + 0.841621) ** 2 * 400)
    assert episodes_needed(0.01, 0.2, tests=8) == math.ceil((2.734369 + 0.841621) ** 2 * 400)
    rng = np.random.default_rng(5)
    for _ in range(200):
        z = rng.normal(0, 1.5, 8)  # of 8 tests on 10,000 episodes
        p = [2 * (1 - NormalDist().cdf(abs(v))) for v in z]
        for value, adjusted in zip(z, holm(p), strict=True):
            if adjusted >= 0.05:
                assert episodes_needed(float(value) / 100, 1.0, tests=8) > 10_000


def a_split(classes: int, size: int, group: str = "") -> Splits:
    return Splits(
        tuple(
            ("test", Video(f"c{c:02}", f"c{c:02}/{v:03}", group.format(c=c, v=v, quarter=v // 4)))
            for c in range(classes)
            for v in range(size)
        )
    )


class Simulated:
    """Test sets drawn from a population whose mean is known; what an episode scores depends on its videos alone."""

    def __init__(self, splits: Splits, episodes: int, way: int, shot: int, disjoint: bool = False) -> None:
        self.sampler = EpisodeSampler(splits, "test", way=way, shot=shot, queries=1, group_disjoint=disjoint)
        self.drawn = self.sampler.batch(0, episodes)
        self.units = video_units(self.sampler.labels, [video.group for video in splits.videos("test")])

    def values(self, tests: int, *, jointly: float = 0.0, groups: float = 0.0, classes: float = 0.0) -> np.ndarray:
        """float64 [tests, E] around a truth of zero."""
        rng, count = np.random.default_rng(7), len(self.sampler.videos)
        query, support = rng.normal(size=(2, tests, count))
        shared = groups * rng.normal(size=(tests, len(self.units)))[:, self.units.of_video]
        asked = (query + shared)[:, self.drawn.query].mean((2, 3))
        given = (support + shared)[:, self.drawn.support].mean((2, 3))
        of_class = classes * rng.normal(size=(tests, len(self.sampler.classes)))[:, self.drawn.classes].mean(2)
        noise = 0.3 * rng.normal(size=asked.shape)
        return asked + given + 3 * jointly * asked * given + of_class + noise

    def coverage(self, values: np.ndarray, units) -> tuple[float, float, float]:
        """How often intervals hold the truth, with the units' variance and with the episodes' alone; and the variance
        that was estimated over the one that means of different test sets have."""
        found = variances(values, self.drawn, self.sampler.labels, units)
        known = np.array([v is not None for v in found])
        assert known.mean() > 0.9
        found, values = [v for v in found if v is not None], values[known]
        noise, means = values.var(1, ddof=1) / values.shape[1], values.mean(1)
        widths = [half_width([(v.value, v.freedom), (n, math.inf)]) for v, n in zip(found, noise, strict=True)]
        estimated = np.mean([v.value for v in found]) + noise.mean()
        return (
            float((np.abs(means) <= widths).mean()),
            float((np.abs(means) <= 1.96 * np.sqrt(noise)).mean()),
            float(estimated / (means**2).mean()),
        )


# A coverage of 0.95 over 300 test sets is found within 0.912 and 0.988 in all but three of a thousand runs; scores that
# are products of what two videos do have long tails, which cost a little.
HOLDS = (0.90, 0.99)


@pytest.mark.parametrize(
    ("classes", "size", "way", "shot", "jointly"),
    [(5, 10, 3, 1, 0.0), (3, 20, 3, 5, 0.0), (10, 8, 5, 5, 0.0), (5, 20, 5, 5, 0.3)],
)
def test_the_interval_of_the_videos_holds_the_population_s_mean(classes, size, way, shot, jointly):
    simulated = Simulated(a_split(classes, size), 1000, way, shot)
    assert simulated.units.name == "videos" and len(simulated.units) == classes * size
    covered, by_episodes, ratio = simulated.coverage(simulated.values(300, jointly=jointly), simulated.units)
    assert HOLDS[0] <= covered <= HOLDS[1]
    assert 0.8 < ratio < 1.25
    assert by_episodes < 0.35, "what it is for"


@pytest.mark.parametrize(
    ("group", "disjoint", "count"), [("s{v}", False, 20), ("s{v}", True, 20), ("s{c}-{quarter}", False, 15)]
)
def test_videos_of_a_group_count_as_one(group, disjoint, count):
    simulated = Simulated(a_split(3, 20, group), 1000, 3, 1, disjoint)
    assert (simulated.units.name, len(simulated.units)) == ("groups of videos", count)
    values = simulated.values(300, groups=2.0)
    covered, _, ratio = simulated.coverage(values, simulated.units)
    assert HOLDS[0] <= covered <= HOLDS[1]
    assert 0.8 < ratio < 1.25
    one_by_one = video_units(simulated.sampler.labels, [""] * 60)
    assert simulated.coverage(values, one_by_one)[2] < 0.7, "groups matter"


def test_leaving_out_classes_tells_of_other_classes():
    simulated = Simulated(a_split(12, 8), 1000, 5, 1)
    values = simulated.values(300, classes=2.0)
    covered, _, ratio = simulated.coverage(values, class_units(simulated.sampler.labels))
    assert HOLDS[0] <= covered <= HOLDS[1]
    assert 0.8 < ratio < 1.25
    assert simulated.coverage(values, simulated.units)[0] < 0.7, "other videos of the same classes are less"


def test_the_jackknife_equals_leaving_videos_out_one_by_one():
    """All 1080 episodes there are of 3 classes, 2-way 1-shot: no noise, so D_v is the mean over the set without v."""
    splits = a_split(3, 5)
    labels = EpisodeSampler(splits, "test", way=2, shot=1, queries=1).labels
    pairs = {c: list(itertools.permutations(np.flatnonzero(labels == c), 2)) for c in range(3)}
    every = [(c, one, two) for c in itertools.combinations(range(3), 2) for one in pairs[c[0]] for two in pairs[c[1]]]
    drawn = Episodes(
        np.array([c for c, _, _ in every]),
        np.array([[[one[0]], [two[0]]] for _, one, two in every]),
        np.array([[[one[1]], [two[1]]] for _, one, two in every]),
    )
    score = np.random.default_rng(0).random(len(every))
    means = []
    for video in range(15):
        left = {}
        for (c, one, two), value in zip(every, score, strict=True):
            if video not in (*one, *two):
                left.setdefault(c, []).append(value)
        means.append(np.mean([np.mean(values) for values in left.values()]))
    slow = sum((4 / 5) * (means[v] - np.mean([means[w] for w in range(15) if labels[w] == labels[v]])) ** 2
               for v in range(15))  # fmt: skip
    many = 400  # the same episodes over and over: what they are a sample of is known ever better
    repeated = Episodes(*(np.concatenate([part] * many) for part in (drawn.classes, drawn.support, drawn.query)))
    fast = variances(np.tile(score, many)[None], repeated, labels, video_units(labels, [""] * 15))[0]
    assert fast.freedom == 12
    assert fast.value == pytest.approx(slow, rel=0.02)


def test_the_size_of_the_blocks_changes_nothing(monkeypatch):
    simulated = Simulated(a_split(4, 9, "s{v}"), 300, 3, 1)
    arguments = (simulated.values(3), simulated.drawn, simulated.sampler.labels, simulated.units)
    whole = [v.value for v in variances(*arguments)]
    monkeypatch.setattr(jackknife, "NUMBERS", 300 * 4)
    assert [v.value for v in variances(*arguments)] == pytest.approx(whole)


def test_what_cannot_be_told_is_not_guessed():
    few = Simulated(a_split(3, 6), 20, 3, 5)
    noise = np.random.default_rng(0).random((1, 20))
    assert variances(noise, few.drawn, few.sampler.labels, few.units) == [None], "every episode holds every video"
    many = Simulated(a_split(3, 10), 500, 3, 1)
    told = (many.units.of_video[many.drawn.query] % 10 < 5).mean((1, 2))[None]
    assert variances(told, many.drawn, many.sampler.labels, many.units) != [None]
    many.drawn.support[:, 0] = 0
    with np.errstate(all="raise"):
        found = variances(told, many.drawn, many.sampler.labels, many.units)
    assert found == [None], "a video that never is absent"
    small = Simulated(a_split(3, 10), 30, 3, 1)
    assert variances(noise[:, :1].repeat(30, 1), small.drawn, small.sampler.labels, small.units)[0].value == 0
    pure = np.random.default_rng(1).random((50, 30))
    assert sum(v is None for v in variances(pure, small.drawn, small.sampler.labels, small.units)) > 40
    assert variances(pure, small.drawn, small.sampler.labels, class_units(small.sampler.labels))[0] is None
