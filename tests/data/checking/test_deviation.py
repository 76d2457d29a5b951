"""How far an accuracy on what is left may lie from that on the whole: against enumeration and simulation."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from fsar_cli.data.checking.deviation import (
    changed_share,
    deviation,
    independent_spread,
    mean_product,
    variance_ratio,
)
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.data.splits import Splits, Video

Episode = tuple[tuple[int, tuple[int, ...]], ...]
"""(class, its videos) of each class of an episode."""

SIZES = [[(4, 3), (4, 4), (5, 2)], [(3, 3), (4, 3), (3, 2), (5, 5)], [(4, 0), (4, 3), (3, 3)], [(2, 2), (4, 1), (3, 3)]]
EXTRA = [[(3, 4), (4, 4), (2, 5)], [(3, 3), (3, 4), (2, 3), (5, 5)]]
MIXED = [[(3, 4), (4, 3), (2, 5)], [(4, 3), (3, 5), (3, 3), (5, 2)]]


def episodes(members: Sequence[Sequence[int]], way: int, each: int) -> Iterator[Episode]:
    """Every episode there is, in the sense of which videos it holds; classes without enough videos take no part."""
    able = [c for c, videos in enumerate(members) if len(videos) >= each]
    for classes in itertools.combinations(able, way):
        for chosen in itertools.product(*(itertools.combinations(members[c], each) for c in classes)):
            yield tuple(zip(classes, chosen, strict=True))


def distribution(members: Sequence[Sequence[int]], way: int, each: int) -> dict[Episode, float]:
    """Probability of every episode: classes are drawn evenly, then the videos of each."""
    able = [c for c, videos in enumerate(members) if len(videos) >= each]
    sets = math.comb(len(able), way)
    return {
        episode: 1 / sets / math.prod(math.comb(len(members[c]), each) for c, _ in episode)
        for episode in episodes(members, way, each)
    }


def mean(accuracy: Callable[[Episode], float], members: Sequence[Sequence[int]], way: int, each: int) -> float:
    return sum(chance * accuracy(episode) for episode, chance in distribution(members, way, each).items())


def both(sizes: Sequence[tuple[int, int]]) -> tuple[list[range], list[range]]:
    return [range(whole) for whole, _ in sizes], [range(there) for _, there in sizes]


@pytest.mark.parametrize("way", range(1, 8))
def test_the_mean_product_is_that_of_all_choices(way):
    values = np.random.default_rng(way).random(7)
    expected = np.mean([np.prod(chosen) for chosen in itertools.combinations(values, way)])
    assert mean_product(values, way) == pytest.approx(expected, rel=1e-12)


def test_the_mean_product_of_many_values_does_not_overflow():
    assert mean_product([0.999] * 2000, 500) == pytest.approx(0.999**500, rel=1e-9)


@pytest.mark.parametrize("each", [2, 3])
@pytest.mark.parametrize("sizes", SIZES)
def test_the_share_is_that_of_the_episodes_that_hold_a_missing_video(sizes, each):
    sizes = [(whole, there) for whole, there in sizes if whole >= each]
    whole, left = both(sizes)
    chances = distribution(whole, 2, each)
    hit = sum(p for episode, p in chances.items() if any(v not in left[c] for c, videos in episode for v in videos))
    assert changed_share(sizes, 2, each) == pytest.approx(hit, abs=1e-12)


@pytest.mark.parametrize("sizes", SIZES + EXTRA)
def test_the_share_is_the_distance_of_the_two_ways_to_draw(sizes):
    whole, left = (distribution(members, 2, 2) for members in both(sizes))
    distance = sum(max(p - left.get(episode, 0.0), 0.0) for episode, p in whole.items())
    assert changed_share(sizes, 2, 2) == pytest.approx(distance, abs=1e-12)


@pytest.mark.parametrize("sizes", MIXED)
def test_missing_and_extra_videos_together_are_bounded(sizes):
    whole, left = (distribution(members, 2, 2) for members in both(sizes))
    distance = sum(max(p - left.get(episode, 0.0), 0.0) for episode, p in whole.items())
    assert distance <= changed_share(sizes, 2, 2) < distance + 0.2


def test_the_share_is_that_of_sampled_episodes():
    rng = np.random.default_rng(5)
    sizes = [(12 + c % 4, 12 + c % 4 - c % 3) for c in range(9)]
    rows = [("test", Video(f"c{c}", f"c{c}/{v:02d}")) for c, (whole, _) in enumerate(sizes) for v in range(whole)]
    gone = {f"c{c}/{v:02d}" for c, (w, there) in enumerate(sizes) for v in rng.permutation(w)[: w - there]}
    sampler = EpisodeSampler(Splits(tuple(rows)), "test", way=4, shot=2, queries=1)
    drawn = sampler.batch(0, 20_000)
    missing = np.array([video in gone for video in sampler.videos])
    held = (missing[drawn.support].any(axis=(1, 2)) | missing[drawn.query].any(axis=(1, 2))).mean()
    share = changed_share(sizes, 4, 3)
    assert 0.5 < share < 0.95
    assert held == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 20_000))


@pytest.mark.parametrize("sizes", SIZES + EXTRA + MIXED)
def test_no_accuracy_moves_by_more_than_the_share(sizes):
    whole, left = both(sizes)
    share = changed_share(sizes, 2, 2)
    known = set(distribution(left, 2, 2))
    table: dict[Episode, float] = {}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        table.clear()
        shift = rng.uniform(-1, 1)

        def accuracy(episode, rng=rng, shift=shift):
            return table.setdefault(episode, float(np.clip(rng.random() + shift * (episode in known), 0, 1)))

        assert abs(mean(accuracy, whole, 2, 2) - mean(accuracy, left, 2, 2)) <= share + 1e-12


def test_the_worst_case_can_happen():
    whole, left = both(SIZES[0])
    known = set(distribution(left, 2, 2))
    moved = mean(lambda e: e in known, left, 2, 2) - mean(lambda e: e in known, whole, 2, 2)
    assert moved == pytest.approx(changed_share(SIZES[0], 2, 2))


def subsets(sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Every way in which so many videos of each class can be left."""
    return itertools.product(*(itertools.combinations(range(whole), there) for whole, there in sizes))


def spread_of(accuracy: Callable[[Episode], float], members: Sequence[Sequence[int]], way: int, each: int) -> float:
    """The largest variance of an episode's accuracy within one set of classes."""
    sets: dict[tuple[int, ...], list[float]] = {}
    for episode in episodes(members, way, each):
        sets.setdefault(tuple(c for c, _ in episode), []).append(accuracy(episode))
    return max(float(np.var(values)) for values in sets.values())


@pytest.mark.parametrize("additive", [0.0, 0.7, 1.0])
@pytest.mark.parametrize(
    ("sizes", "way", "each"), [([(4, 3), (4, 2), (3, 3)], 2, 2), ([(5, 3)], 1, 2), ([(3, 2), (3, 3), (3, 2)], 3, 1)]
)
def test_the_variance_over_all_subsets_is_within_the_bound(sizes, way, each, additive):
    whole, _ = both(sizes)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        quality = [rng.normal(size=w) for w, _ in sizes]
        noise = {episode: rng.normal() for episode in episodes(whole, way, each)}

        def accuracy(episode, quality=quality, noise=noise):
            alone = sum(quality[c][list(videos)].sum() for c, videos in episode)
            return additive * alone + (1 - additive) * noise[episode]

        over = [mean(accuracy, left, way, each) for left in subsets(sizes)]
        assert np.mean(over) == pytest.approx(mean(accuracy, whole, way, each))
        bound = variance_ratio(sizes, way, each) * spread_of(accuracy, whole, way, each)
        assert 0 < np.var(over) <= bound * (1 + 1e-9)


def test_the_bound_is_reached_where_single_videos_of_one_class_decide():
    quality = np.random.default_rng(1).normal(size=(3, 6))
    sizes = [(6, 4)] * 3
    over = [mean(lambda e: quality[e[0][0]][list(e[0][1])].sum(), left, 1, 2) for left in subsets([sizes[0]])]
    alone = variance_ratio(sizes[:1], 1, 2) * float(
        np.var([quality[0][list(pair)].sum() for pair in itertools.combinations(range(6), 2)])
    )
    assert np.var(over) == pytest.approx(alone)
    # Three independent classes, one an episode: a third of that, as the bound says where all classes are alike.
    assert variance_ratio(sizes, 1, 2) == pytest.approx(variance_ratio(sizes[:1], 1, 2) / 3)


def test_the_largest_ratio_of_a_draw_counts():
    sizes = [(10, 4), (10, 6), (10, 9), (10, 10), (20, 12)]
    alone = [variance_ratio([pair], 1, 3) for pair in sizes]
    expected = 3 / 5 * np.mean([max(chosen) for chosen in itertools.combinations(alone, 3)])
    assert variance_ratio(sizes, 3, 3) == pytest.approx(expected)


def left_over(rng: np.random.Generator, sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    return [np.sort(rng.permutation(whole)[:there]) for whole, there in sizes]


def nearest(distances: np.ndarray, members: Sequence[np.ndarray], way: int) -> float:
    """Exact mean accuracy of all 1-shot episodes with one query a class, answered by the nearest support video."""
    right = []
    for c, own in enumerate(members):
        to_own = distances[np.ix_(own, own)]  # [n, n]: query, support
        beats = [
            (distances[np.ix_(own, other)][:, None, :] > to_own[:, :, None]).mean(axis=-1)
            for k, other in enumerate(members)
            if k != c
        ]
        share = np.mean([np.prod(chosen, axis=0) for chosen in itertools.combinations(beats, way - 1)], axis=0)
        right.append(share[~np.eye(len(own), dtype=bool)].mean())
    return float(np.mean(right))


def test_nearest_counts_right_answers():
    rng = np.random.default_rng(0)
    points = rng.normal(size=9)
    distances = np.abs(points[:, None] - points[None])
    members = [np.arange(3) + 3 * c for c in range(3)]
    hits = []
    for a, b in itertools.combinations(range(3), 2):
        for one in itertools.permutations(members[a], 2):
            for two in itertools.permutations(members[b], 2):
                hits += [distances[one[0], one[1]] < distances[one[0], two[1]]]
                hits += [distances[two[0], two[1]] < distances[two[0], one[1]]]
    assert nearest(distances, members, 2) == pytest.approx(np.mean(hits))


@pytest.mark.parametrize("noise", [0.7, 2.0])
def test_the_interval_covers_a_nearest_neighbour_on_videos_of_varied_quality(noise):
    rng = np.random.default_rng(3)
    classes, each = 7, 16
    centres = np.repeat(rng.normal(size=(classes, 3)), each, axis=0)
    quality = rng.exponential(size=(classes * each, 1))  # some videos look like nothing
    features = centres + noise * quality * rng.normal(size=centres.shape)
    distances = np.linalg.norm(features[:, None] - features[None], axis=-1)
    sizes = [(each, each - c % 4) for c in range(classes)]
    whole = nearest(distances, [np.arange(each) + each * c for c in range(classes)], 5)
    moved = [
        nearest(distances, [left + each * c for c, left in enumerate(left_over(rng, sizes))], 5) - whole
        for _ in range(100)
    ]
    half = deviation(sizes, 5, 1, 1).at_random
    assert 0.3 < whole < 0.8
    assert np.mean(np.abs(moved) <= half) >= 0.95
    assert half < 8 * 1.96 * np.std(moved)  # and says something


@pytest.mark.parametrize("missing", [0.004, 0.05, 0.3])
def test_the_interval_covers_a_model_that_hangs_on_each_video(missing):
    """Chance of a right answer: 0.5, a quarter more or less by the query, a quarter more or less by the supports.

    In the mean over all episodes that is the mean over classes of the mean quality of their videos.
    """
    rng = np.random.default_rng(7)
    quality = 0.25 * rng.choice([-1, 1], size=(24, 100)) + 0.25 * rng.choice([-1, 1], size=(24, 100))
    gone = rng.multinomial(round(2400 * missing), [1 / 24] * 24)
    sizes = [(100, 100 - m) for m in gone]
    moved = [
        np.mean([quality[c][left].mean() - quality[c].mean() for c, left in enumerate(left_over(rng, sizes))])
        for _ in range(400)
    ]
    for shot in (1, 5):
        found = deviation(sizes, 5, shot, 1)
        assert np.mean(np.abs(moved) <= found.at_random) >= 0.95
        assert found.at_random < min(found.share, 8 * 1.96 * np.std(moved))


def test_nothing_missing_changes_nothing():
    found = deviation([(100, 100)] * 24, 5, 5, 1)
    assert (found.share, found.at_random) == (0.0, 0.0)


def test_more_missing_moves_more_and_never_beyond_the_worst_case():
    steps = [deviation([(100, 100 - m)] * 24, 5, 1, 1) for m in range(0, 99, 7)]
    shares = [step.share for step in steps]
    assert shares == sorted(shares) and shares[-1] > 0.99
    assert [step.at_random for step in steps] == sorted(step.at_random for step in steps)
    assert all(step.at_random <= step.share for step in steps)


def test_a_measured_spread_takes_the_place_of_the_assumed_one():
    sizes = [(100, 95)] * 10
    assumed = deviation(sizes, 5, 5, 2)
    assert independent_spread(5, 2) == pytest.approx(math.sqrt(0.25 / 10))
    assert deviation(sizes, 5, 5, 2, independent_spread(5, 2)) == assumed
    half = deviation(sizes, 5, 5, 2, independent_spread(5, 2) / 2)
    assert half.at_random == pytest.approx(assumed.at_random / 2) and half.share == assumed.share


@pytest.mark.parametrize("left", [0, 5])
def test_a_class_too_small_leaves_the_worst_case(left):
    found = deviation([(100, 100)] * 5 + [(100, left)], 5, 5, 1)
    assert found.at_random is None
    assert found.share == pytest.approx(5 / 6)


def test_a_class_that_was_not_published_is_counted_as_changed():
    found = deviation([(100, 100)] * 5 + [(0, 3)], 5, 5, 1)
    assert found.share == pytest.approx(5 / 6) and found.at_random is None


@pytest.mark.parametrize("sizes", [[(100, 90)] * 4, [(100, 90)] * 5 + [(5, 5)], [(0, 9)] * 5, []])
def test_a_whole_that_does_not_allow_the_episodes_has_no_answer(sizes):
    assert deviation(sizes, 5, 5, 1) is None
