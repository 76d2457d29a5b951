"""Episodes: purity, uniformity, disjointness, groups, refusals."""

import itertools
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pytest

from fsar_cli.data.episodes import EpisodeSampler, check_drawable, distinct
from fsar_cli.data.groupwise import splittable
from fsar_cli.data.splits import Splits, Video
from fsar_cli.errors import DataError, UsageError


def table(classes: int, size: int, group: str = "") -> Splits:
    """`size` videos of each class in the test split; `group` is formatted with c and v."""
    return Splits(
        tuple(
            ("test", Video(f"c{c}", f"c{c}/{v:03d}", group.format(c=c, v=v)))
            for c in range(classes)
            for v in range(size)
        )
    )


def sampler(splits: Splits, **options) -> EpisodeSampler:
    return EpisodeSampler(splits, "test", **{"way": 3, "shot": 2, "queries": 1, **options})


UT_LIKE = table(6, 20, "seq{v:02d}")


def as_lists(episode) -> list:
    return [episode.classes.tolist(), episode.support.tolist(), episode.query.tolist()]


@pytest.mark.parametrize("disjoint", [False, True])
def test_an_episode_depends_on_seed_split_and_index_only(disjoint):
    draw = sampler(UT_LIKE, group_disjoint=disjoint)
    forward = [as_lists(draw(i)) for i in range(20)]
    backward = [as_lists(draw(i)) for i in reversed(range(20))][::-1]
    fresh = [as_lists(sampler(UT_LIKE, group_disjoint=disjoint)(i)) for i in range(20)]
    batch = draw.batch(5, 10)
    assert forward == backward == fresh
    assert [as_lists(draw(i)) for i in range(5, 15)] == [
        [c.tolist(), s.tolist(), q.tolist()] for c, s, q in zip(batch.classes, batch.support, batch.query, strict=True)
    ]
    assert as_lists(sampler(UT_LIKE, seed=1, group_disjoint=disjoint)(0)) != forward[0]
    assert forward[0] != forward[1]


def test_other_processes_draw_the_same():
    draw = sampler(UT_LIKE, group_disjoint=True)
    with ProcessPoolExecutor(2) as pool:
        digests = list(pool.map(partial(EpisodeSampler.digest, draw), [50, 50]))
    assert digests == [draw.digest(50)] * 2


def test_the_split_name_changes_the_stream():
    videos = [
        (split, Video(f"{split}{c}", f"{split}{c}/{v}")) for split in ("val", "test") for c in "abc" for v in "123"
    ]
    both = Splits(tuple(videos))
    first, second = (EpisodeSampler(both, name, way=3, shot=2, queries=1) for name in ("val", "test"))
    assert [as_lists(first(i)) for i in range(5)] != [as_lists(second(i)) for i in range(5)]


def test_another_shot_keeps_the_classes():
    one, five = sampler(UT_LIKE, shot=1), sampler(UT_LIKE, shot=5)
    assert np.array_equal(one.batch(0, 50).classes, five.batch(0, 50).classes)
    grouped = sampler(UT_LIKE, shot=5, group_disjoint=True)
    assert np.array_equal(one.batch(0, 50).classes, grouped.batch(0, 50).classes)


def test_digests_stay_as_they_are():
    assert sampler(UT_LIKE).digest(100) == "852995caa0e0bcf3"
    assert sampler(UT_LIKE, group_disjoint=True).digest(100) == "5ff6182cab52ae4d"
    assert sampler(UT_LIKE).digest(99) != sampler(UT_LIKE).digest(100)
    assert sampler(UT_LIKE, seed=1).digest(100) != sampler(UT_LIKE).digest(100)


@pytest.mark.parametrize("disjoint", [False, True])
def test_episodes_have_the_right_videos_and_none_twice(disjoint):
    draw = sampler(UT_LIKE, way=4, shot=3, queries=2, group_disjoint=disjoint)
    batch = draw.batch(0, 300)
    assert batch.support.shape == (300, 4, 3) and batch.query.shape == (300, 4, 2)
    assert {array.dtype for array in (batch.classes, batch.support, batch.query)} == {np.dtype(np.int64)}
    videos = np.concatenate([batch.support, batch.query], axis=-1)
    assert all(len(set(episode.ravel())) == 4 * 5 for episode in videos)
    assert all(len(set(classes)) == 4 for classes in batch.classes)
    assert np.array_equal(draw.labels[videos], np.broadcast_to(batch.classes[..., None], videos.shape))
    for name, label in zip(draw.videos, draw.labels, strict=True):
        assert name.startswith(f"{draw.classes[label]}/")


def spread(counts: np.ndarray, expected: float) -> float:
    """Chi-square statistic over its degrees of freedom: near 1 for a uniform draw."""
    return float(((counts - expected) ** 2 / expected).sum() / (counts.size - 1))


@pytest.mark.parametrize("disjoint", [False, True])
def test_classes_and_videos_are_drawn_evenly(disjoint):
    draw = sampler(UT_LIKE, way=3, shot=2, queries=1, group_disjoint=disjoint)
    batch = draw.batch(0, 6000)
    for column in range(3):
        assert spread(np.bincount(batch.classes[:, column], minlength=6), 1000) < 3.5
    # Far fewer videos than draws from a class: counts vary less than a multinomial's, never more.
    assert spread(np.bincount(batch.support.ravel(), minlength=120), 300) < 1.5
    assert spread(np.bincount(batch.query.ravel(), minlength=120), 150) < 1.5


def test_every_ordered_draw_is_equally_likely():
    uniform = np.random.default_rng(0).random((60_000, 3))
    drawn = Counter(map(tuple, distinct(uniform, np.full(60_000, 5)).tolist()))
    assert set(drawn) == set(itertools.permutations(range(5), 3))
    assert spread(np.array(list(drawn.values())), 1000) < 1.6


def test_distinct_takes_from_what_is_left():
    rng = np.random.default_rng(1)
    for size in (4, 7, 30):
        for uniform in rng.random((50, 4)):
            left, expected = list(range(size)), []
            for value in uniform:
                expected.append(left.pop(int(value * len(left))))
            assert distinct(uniform, np.int64(size)).tolist() == expected


LAYOUTS = {
    "one clip of each sequence and class": UT_LIKE,
    "films within classes": table(5, 30, "film{c}-{v:02d}"),
    "no groups": table(5, 12),
    "a few large films over all classes": Splits(
        tuple(("test", Video(f"c{c}", f"c{c}/{v}", f"film{min(v, 3)}")) for c in range(5) for v in range(12))
    ),
    "all but one clip of one film": Splits(
        tuple(("test", Video(f"c{c}", f"c{c}/{v}", f"c{c}" if v else "")) for c in range(5) for v in range(9))
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_group_is_in_support_and_queries(layout):
    splits = LAYOUTS[layout]
    draw = sampler(splits, shot=2, queries=1, group_disjoint=True)
    group = [video.group or video.id for video in splits.videos("test")]
    for index in range(100):
        episode = draw(index)
        support = {group[i] for i in episode.support.ravel()}
        assert support.isdisjoint(group[i] for i in episode.query.ravel())


def test_plain_episodes_do_mix_groups_on_this_layout():
    group = [video.group for video in UT_LIKE.videos("test")]
    mixed = 0
    for index in range(100):
        episode = sampler(UT_LIKE)(index)
        mixed += not {group[i] for i in episode.support.ravel()}.isdisjoint(group[i] for i in episode.query.ravel())
    assert mixed > 20


def test_tight_groups_are_still_drawn():
    # 20 sequences, 15 shots: the 3 x 5 queries must all come from the same 5 sequences.
    draw = sampler(UT_LIKE, shot=15, queries=5, group_disjoint=True)
    for index in range(20):
        episode = draw(index)
        assert len({int(i) % 20 for i in episode.query.ravel()}) == 5


def test_a_rare_query_is_found_without_rejection():
    # One clip of 200 is the only possible query of its class: a draw by rejection would need 200 tries.
    rows = [("test", Video(c, f"{c}/{v:03d}", f"film {c}" if v else f"other {c}")) for c in "ab" for v in range(200)]
    draw = sampler(Splits(tuple(rows)), way=2, shot=5, group_disjoint=True)
    assert {draw.videos[i] for i in draw(0).query.ravel()} == {"a/000", "b/000"}


def test_splittable_agrees_with_trying_all_ways():
    rng = np.random.default_rng(2)
    for _ in range(200):
        sizes = rng.integers(1, 7, rng.integers(1, 6)).tolist()
        shot, queries = (int(n) for n in rng.integers(1, 8, 2))
        sums = {sum(part) for n in range(len(sizes) + 1) for part in itertools.combinations(sizes, n)}
        assert splittable(sizes, shot, queries) == any(s >= queries and sum(sizes) - s >= shot for s in sums)


def test_small_classes_are_all_named_with_what_would_do():
    videos = [*table(3, 6).rows, *(("test", Video(name, f"{name}/{v}")) for name in ("x", "y") for v in range(4))]
    with pytest.raises(DataError, match=r"need 6 videos of each class of split 'test'; too few: x \(4\), y \(4\)") as e:
        sampler(Splits(tuple(videos)), shot=5, queries=1)
    assert "shot up to 3 with 1 query" in e.value.hint
    sampler(Splits(tuple(videos)), shot=3, queries=1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"way": 7}, DataError, "7-way episodes need 7 classes; split 'test' has 6"),
        ({"shot": 0}, UsageError, "shot must be 1 or more, not 0"),
        ({"seed": -2}, UsageError, "seed must be 0 or more, not -2"),
    ],
)
def test_impossible_episodes_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        sampler(UT_LIKE, **options)


@pytest.mark.parametrize(("name", "message"), [("tset", "no split 'tset'"), ("val", "the split 'val' is empty")])
def test_absent_splits_and_episodes_are_refused(name, message):
    with pytest.raises(DataError, match=message) as error:
        EpisodeSampler(UT_LIKE, name, way=2, shot=1, queries=1)
    assert "test" in error.value.hint
    with pytest.raises(UsageError, match="counted from 0, not from -1"):
        sampler(UT_LIKE)(-1)


def test_a_class_of_one_group_is_named():
    rows = [*UT_LIKE.rows, *(("test", Video("solo", f"solo/{v}", "one film")) for v in range(9))]
    with pytest.raises(DataError, match=r"solo \(9 videos in 1 groups, the largest 9\)") as error:
        sampler(Splits(tuple(rows)), group_disjoint=True)
    assert "--group-disjoint" in error.value.hint


def test_classes_that_exclude_each_other_end_in_an_error():
    # Each class alone could be parted, but the films of one are the other's too: f is all of a's support, g all of b's.
    rows = [("test", Video("a", f"a/f{v}", "f")) for v in range(3)] + [("test", Video("a", "a/g", "g"))]
    rows += [("test", Video("b", f"b/g{v}", "g")) for v in range(3)] + [("test", Video("b", "b/f", "f"))]
    splits = Splits(tuple(rows))
    shape = {"way": 2, "shot": 3, "queries": 1, "group_disjoint": True}
    with pytest.raises(DataError, match=r"no group-disjoint draw .* episode 0 \(seed 0\) of the classes") as error:
        sampler(splits, **shape)(0)
    assert "fewer shots" in error.value.hint
    assert check_drawable(splits, "test", **shape) == (error.value.message, error.value.hint)
    assert check_drawable(splits, "test", **{**shape, "group_disjoint": False}) is None
