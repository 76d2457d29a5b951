"""Which videos an episode holds: a pure function of (seed, split, index).

`rng = np.random.default_rng([seed, crc32(split), index])` is made anew for every episode, so workers, order of calls,
resuming and the method change nothing. Only `rng.random` is used: its stream is the same in all versions of numpy,
which `choice` and `permutation` do not promise.

Plain episodes take the first N uniforms for the classes and N x (K + Q) more for the videos; an episode of another
shot therefore has the same classes. With `group_disjoint` the classes are the same and the videos are drawn by the
procedure of `groupwise`.
"""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Protocol

import numpy as np

from fsar_cli.data.groupwise import GroupDraw, splittable
from fsar_cli.data.splits import Splits
from fsar_cli.errors import DataError, FsarError, UsageError, counted

_CHUNK = 1000


@dataclass(frozen=True)
class Episode:
    """One episode; row i is label i.

    classes: int64 [N] indices into `EpisodeSampler.classes`; support: int64 [N, K] and query: int64 [N, Q] indices
    into `EpisodeSampler.videos`, no index twice.
    """

    classes: np.ndarray
    support: np.ndarray
    query: np.ndarray


@dataclass(frozen=True)
class Episodes:
    """E consecutive episodes: classes int64 [E, N], support int64 [E, N, K], query int64 [E, N, Q]."""

    classes: np.ndarray
    support: np.ndarray
    query: np.ndarray


class EpisodeNumbers(Protocol):
    """How many videos an episode has: what a matcher asks of whatever draws them."""

    way: int
    shot: int
    queries: int


class EpisodeSampler:
    """N-way K-shot episodes with Q queries a class over one split.

    `classes` are the sorted class names, `videos` the ids of the whole split sorted by class and id, `labels` int64
    [V] the class index of each video.

    Args:
        group_disjoint: no group of any query of an episode occurs in its support; a video without a group is alone.

    Raises:
        UsageError: way, shot or queries below 1, negative seed.
        DataError: no such split, fewer classes than `way`, or classes too small for shot + queries.
    """

    def __init__(
        self,
        splits: Splits,
        split: str,
        *,
        way: int,
        shot: int,
        queries: int,
        seed: int = 0,
        group_disjoint: bool = False,
    ) -> None:
        _check_numbers(way=way, shot=shot, queries=queries, seed=seed + 1)
        self.split, self.way, self.shot, self.queries, self.seed = split, way, shot, queries, seed
        self.classes = splits.classes(split)
        _check_classes(splits, split, way)
        members = [splits.videos(split, name) for name in self.classes]
        self.videos = tuple(video.id for videos in members for video in videos)
        self.sizes = np.array([len(videos) for videos in members], dtype=np.int64)  # [C]
        self.labels = np.repeat(np.arange(len(self.classes)), self.sizes)  # [V]
        self._first = np.cumsum(self.sizes) - self.sizes  # [C] where a class starts in videos
        self._check_sizes()
        self._stream = zlib.crc32(split.encode())
        self._groups: GroupDraw | None = None
        if group_disjoint:
            groups = [video.group for videos in members for video in videos]
            self._groups = GroupDraw(groups, self.labels, shot, queries)
            self._check_groups(self._groups)

    def _check_sizes(self) -> None:
        need = self.shot + self.queries
        small = [i for i, size in enumerate(self.sizes) if size < need]
        if small:
            least = int(self.sizes.min())
            listed = ", ".join(f"{self.classes[i]} ({self.sizes[i]})" for i in small)
            raise DataError(
                f"{self.shot}-shot episodes with {counted(self.queries, 'query')} need {need} videos"
                f" of each class of split '{self.split}'; too few: {listed}",
                _what_fits(least, self.shot, self.queries),
            )

    def _check_groups(self, groups: GroupDraw) -> None:
        bad = [
            f"{name} ({self.sizes[i]} videos in {len(sizes)} groups, the largest {max(sizes)})"
            for i, name in enumerate(self.classes)
            if not splittable(sizes := groups.group_sizes(i), self.shot, self.queries)
        ]
        if bad:
            raise DataError(
                f"support and queries cannot come from different groups with {counted(self.shot, 'shot')} and"
                f" {counted(self.queries, 'query')} of split '{self.split}': {', '.join(bad)}",
                "use fewer shots or queries, leave these classes out, or drop --group-disjoint",
            )

    def _rng(self, index: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self._stream, index])

    def __call__(self, index: int) -> Episode:
        """The episode of an index >= 0; nothing is remembered between calls."""
        one = self.batch(index, 1)
        return Episode(one.classes[0], one.support[0], one.query[0])

    def batch(self, start: int, count: int) -> Episodes:
        """The episodes start .. start + count - 1, equal to as many single calls.

        Raises:
            UsageError: negative start or count.
            DataError: with `group_disjoint`, an episode whose classes allow no such draw.
        """
        if start < 0 or count < 0:
            raise UsageError(f"episodes are counted from 0, not from {start} for {count}")
        rngs = [self._rng(index) for index in range(start, start + count)]
        uniform = np.array([rng.random(self.way) for rng in rngs]).reshape(count, self.way)
        classes = distinct(uniform, np.int64(len(self.classes)))  # [E, N]
        if self._groups is None:
            chosen = self._plain(rngs, classes)
        else:
            chosen = self._grouped(self._groups, rngs, classes, start)
        return Episodes(classes, chosen[..., : self.shot], chosen[..., self.shot :])

    def _plain(self, rngs: Sequence[np.random.Generator], classes: np.ndarray) -> np.ndarray:
        each = self.shot + self.queries
        uniform = np.array([rng.random((self.way, each)) for rng in rngs]).reshape(len(rngs), self.way, each)
        chosen: np.ndarray = self._first[classes][..., None] + distinct(uniform, self.sizes[classes])
        return chosen  # [E, N, K+Q]

    def _grouped(
        self, groups: GroupDraw, rngs: Sequence[np.random.Generator], classes: np.ndarray, start: int
    ) -> np.ndarray:
        chosen = np.empty((*classes.shape, self.shot + self.queries), dtype=np.int64)
        for i, rng in enumerate(rngs):
            drawn = groups.draw(rng, classes[i])
            if drawn is None:
                names = ", ".join(self.classes[c] for c in classes[i])
                raise DataError(
                    f"no group-disjoint draw of {counted(self.shot, 'shot')} and {counted(self.queries, 'query')}"
                    f" in split '{self.split}', episode {start + i} (seed {self.seed}) of the classes {names}",
                    "their videos share too few groups: use fewer shots, queries or classes, or drop --group-disjoint",
                )
            chosen[i] = drawn
        return chosen

    def digest(self, count: int) -> str:
        """The digest of the first `count` episodes: two evaluations with the same saw the same episodes."""
        return EpisodeList(self, count).digest


class EpisodeList:
    """The first `count` episodes of a sampler, drawn once for all that is tested on them.

    Args:
        sampler: an `EpisodeSampler`, or what has its `batch`, `videos` and numbers.
    """

    def __init__(self, sampler: EpisodeSampler, count: int) -> None:
        self.sampler, self.count = sampler, count

    @cached_property
    def drawn(self) -> Episodes:
        """All of them. Raises DataError as `EpisodeSampler.batch` does."""
        starts = range(0, max(self.count, 1), _CHUNK)
        parts = [self.sampler.batch(start, min(_CHUNK, self.count - start)) for start in starts]
        return Episodes(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Episodes)))

    def take(self, rows: np.ndarray) -> Episodes:
        """Those of some positions."""
        return Episodes(*(getattr(self.drawn, f.name)[rows] for f in fields(Episodes)))

    @cached_property
    def digest(self) -> str:
        """16 hex digits of the SHA-256 over the shape and the video ids of the episodes."""
        sampler = self.sampler
        total = hashlib.sha256(f"{sampler.way}/{sampler.shot}/{sampler.queries}".encode())
        names = [f"\0{video}".encode() for video in sampler.videos]
        ids = np.concatenate([self.drawn.support, self.drawn.query], axis=-1).ravel()
        total.update(b"".join(map(names.__getitem__, ids.tolist())))
        return total.hexdigest()[:16]


def distinct(uniform: np.ndarray, size: np.ndarray | np.int64) -> np.ndarray:
    """Turn uniforms into draws without replacement, all orders equally likely.

    Args:
        uniform: [..., k] in [0, 1).
        size: [...] population sizes, each >= k.

    Returns:
        int64 [..., k] distinct numbers in 0 .. size - 1. The j-th uniform picks one of the size - j numbers left,
        counted in ascending order: uniforms 0.5, 0.5 and size 4 give 2 (of 0 1 2 3), then 1 (of 0 1 3).
    """
    k = uniform.shape[-1]
    ranks = np.floor(uniform * (np.asarray(size)[..., None] - np.arange(k))).astype(np.int64)
    chosen = np.empty_like(ranks)
    for j in range(k):
        value = ranks[..., j]
        for earlier in np.moveaxis(np.sort(chosen[..., :j], axis=-1), -1, 0):
            value = value + (value >= earlier)
        chosen[..., j] = value
    return chosen


def check_drawable(
    splits: Splits,
    split: str,
    *,
    way: int,
    shot: int,
    queries: int,
    group_disjoint: bool = False,
    trials: int = 100,
) -> tuple[str, str] | None:
    """Why such episodes cannot be drawn, as (message, hint), or None; group-disjoint ones are tried `trials` times."""
    try:
        sampler = EpisodeSampler(splits, split, way=way, shot=shot, queries=queries, group_disjoint=group_disjoint)
        sampler.batch(0, trials if group_disjoint else 1)
    except FsarError as error:
        return error.message, error.hint
    return None


def _check_numbers(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            least = 0 if name == "seed" else 1
            raise UsageError(f"{name} must be {least} or more, not {value - (name == 'seed')}")


def _check_classes(splits: Splits, split: str, way: int) -> None:
    classes = splits.classes(split)
    if not classes:
        raise DataError(f"the split '{split}' is empty", f"splits with videos: {', '.join(splits.names) or 'none'}")
    if way > len(classes):
        fewer = f"use at most {len(classes)} ways, or " if len(classes) > 1 else ""
        raise DataError(
            f"{way}-way episodes need {way} classes; split '{split}' has {len(classes)}: {', '.join(classes)}",
            f"{fewer}give the split more classes (`fsar splits make --classes`)",
        )


def _what_fits(least: int, shot: int, queries: int) -> str:
    options = []
    if least - queries >= 1:
        options.append(f"shot up to {least - queries} with {counted(queries, 'query')}")
    if least - shot >= 1:
        options.append(f"up to {counted(least - shot, 'query')} with {counted(shot, 'shot')}")
    fits = " or ".join(options) or (f"1 shot with up to {counted(least - 1, 'query')}" if least > 1 else "none")
    return f"what every class allows: {fits}; or leave the small classes out of the split"
