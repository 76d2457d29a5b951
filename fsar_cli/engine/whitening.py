"""Whitening by the clips of the train split (`core.preparation`), and whether these show the scenes of the test.

    train split -- describe (backbones; kept on disk) -- vectors [V,T,D] -- fit -- the method's preparation

A run whitens by what it was trained behind; a method without training by the train split of the data. Where normal
clips show the places and people of the test, as a camera owner's do, most of the gain comes from there. With
`model.match.whiten_groups: disjoint` each query is answered behind a whitening by the clips of other groups than its
own: the difference of the two results is what the scene gives.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from fsar_cli.config import Config
from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.clips import ClipReader, EvaluationClips
from fsar_cli.data.episodes import EpisodeList
from fsar_cli.data.splits import Splits, Video
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.engine.bank import VIDEOS_PER_EMBEDDING, Bank, describe_clips, embedded, encode_videos, features_key
from fsar_cli.engine.matching import Answers, answers
from fsar_cli.errors import DataError, UsageError, counted
from fsar_cli.files import Cache
from fsar_cli.ranks import ALONE, Ranks
from fsar_cli.reporting import SILENT, Reporter


@dataclass
class Whitening:
    """What is fitted for one method: nothing where `normal` is empty, as without whitening, or behind a run's own."""

    method: FewShotMethod
    config: Config
    normal: tuple[Video, ...] = ()
    """The clips that are whitened by."""
    groups: tuple[str, ...] = ()
    """[V] groups of the tested videos, where each query is answered without the normal clips of its own."""
    vectors: dict[str, Tensor] = field(default_factory=dict)
    """By name of the tensor [normal clips,T,D], once they are described."""

    @property
    def by_group(self) -> bool:
        """Whether there is a whitening for each group."""
        return bool(self.groups)

    @property
    def _clips(self) -> EvaluationClips:
        reader = ClipReader(FrameStore(self.config.data.frames), self.config.clip)
        return EvaluationClips(reader, tuple(video.id for video in self.normal), self.config.eval.views)

    def key(self, device: torch.device) -> object:
        """What it depends on, as plain values for a digest."""
        if not self.normal:
            return None
        features = features_key(self.method, self._clips, device, self.config)
        return [features, [[v.cls, v.group] for v in self.normal], list(self.groups)]

    def describe(
        self, device: torch.device, reporter: Reporter = SILENT, cache: Cache | None = None, ranks: Ranks = ALONE
    ) -> bool:
        """Have the backbones look at the normal clips, if there are any; whether that was known.

        Raises:
            DataError: one that cannot be read.
        """
        if not self.normal:
            return True
        method = self.method
        with torch.inference_mode():
            found = describe_clips(method, self._clips, device, self.config, reporter, cache, ranks)
            rows = torch.arange(len(found.encoded)).split(VIDEOS_PER_EMBEDDING)
            parts = [method.preparation.vectors(method.pooled(found.encoded.take(some)).tensors) for some in rows]
        self.vectors = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return found.cached

    def encode(
        self, reader: ClipReader, videos: tuple[str, ...], device: torch.device, reporter: Reporter = SILENT,
        cache: Cache | None = None, ranks: Ranks = ALONE,
    ) -> Bank:  # fmt: skip
        """Encode videos as `encode_videos`, whitened. Raises DataError: a clip that cannot be read, or as `fit`."""
        known = self.describe(device, reporter, cache, ranks)
        with self.fitted():
            keep = self.by_group
            bank = encode_videos(self.method, reader, videos, device, self.config, reporter, cache, keep, ranks)
        return replace(bank, cached=bank.cached and known)

    def fit(self, without: str = "") -> None:
        """Whiten by the described clips, from now on.

        Args:
            without: group whose clips are left out; empty: none.

        Raises:
            DataError: none are left, or they say nothing.
        """
        if not self.normal:
            return
        kept = [i for i, video in enumerate(self.normal) if not without or video.group != without]
        if not kept:
            raise DataError(
                f"there is nothing to whiten a query of the group '{without}' by: all train clips are of that group",
                "--set model.match.whiten_groups=all, or a split file with train clips of several groups",
            )
        vectors = {name: x[kept] for name, x in self.vectors.items()}
        shrinkage = self.config.model.match.whiten_shrinkage
        self.method.preparation.fit(vectors, [self.normal[i].cls for i in kept], shrinkage)

    @contextmanager
    def fitted(self, without: str = "") -> Iterator[None]:
        """Inside, the method whitens so; behind it as before."""
        before = {name: buffer.clone() for name, buffer in self.method.preparation.named_buffers()}
        try:
            self.fit(without)
            yield
        finally:
            with torch.inference_mode():  # in which the buffers may have been moved
                for name, buffer in self.method.preparation.named_buffers():
                    buffer.copy_(before[name])

    def answers(
        self, bank: Bank, episodes: EpisodeList, device: torch.device, ranks: Ranks = ALONE
    ) -> Iterator[Answers]:
        """The answers to all queries, group by group: support and queries are embedded anew for each.

        Args:
            bank: of the tested videos, with what the backbones say of them.
        """
        known = {video.group for video in self.normal}  # of others nothing is left out
        groups = np.array([group if group in known else "" for group in self.groups])
        of_query = groups[episodes.drawn.query].reshape(episodes.count, -1)  # [E,N*Q]
        for group in np.unique(of_query):
            rows = np.flatnonzero((of_query == group).any(1))
            with self.fitted(without=str(group)):
                own = Bank(bank.videos, embedded(self.method, bank.described, device, SILENT), None, None)
                asked = of_query[rows] == group
                yield from answers(self.method, own, episodes, rows, asked, device=device, ranks=ranks)


def whitening_of(method: FewShotMethod, config: Config, tested: Sequence[Video] = ()) -> Whitening:
    """What is to be fitted for a test: nothing where no whitening is asked for, or a run brings its own.

    Args:
        tested: the videos of the test, where each query may have a whitening of its own.

    Raises:
        DataError: there is no train split, or there are no groups to leave out.
    """
    match = config.model.match
    disjoint = bool(tested) and match.whiten != "none" and match.whiten_groups == "disjoint"
    if method.preparation.fitted and not disjoint:
        return Whitening(method, config)
    groups = tuple(video.group for video in tested) if disjoint else ()
    normal = _train_clips(config)
    if disjoint and not (any(groups) and any(video.group for video in normal)):
        raise DataError(
            f"model.match.whiten_groups is disjoint, and {config.data.splits} has no groups of train and test videos",
            "`fsar splits make --group-by` notes them; --set model.match.whiten_groups=all leaves none out",
        )
    return Whitening(method, config, normal, groups)


def fit_for_training(
    method: FewShotMethod, config: Config, device: torch.device, reporter: Reporter, cache: Cache | None,
    ranks: Ranks = ALONE,
) -> None:  # fmt: skip
    """Whiten by the train split from now on, where the configuration asks for it; the mode is left as it was.

    Raises:
        DataError: clips that cannot be read, or say nothing.
    """
    if config.model.match.whiten == "none":
        return
    training, whitening = method.training, Whitening(method, config, _train_clips(config))
    whitening.describe(device, reporter, cache, ranks)
    whitening.fit()
    method.train(training)


def check_trainable(method: FewShotMethod, config: Config) -> None:
    """Refuse to train features before a whitening that stands still. Raises UsageError."""
    trained = not config.train.views and any(p.requires_grad for p in method.features.parameters())
    if config.model.match.whiten != "none" and trained:
        raise UsageError(
            "model.match.whiten is fitted once, to features that are not trained",
            "--freeze-backbone trains the heads alone; --set model.match.whiten=none trains everything",
        )


def _train_clips(config: Config) -> tuple[Video, ...]:
    videos = tuple(Splits.read(config.data.splits).videos("train"))
    if not videos:
        raise DataError(
            f"{config.data.splits} has no train split: there are no normal clips to whiten by",
            "--set model.match.whiten=none, or a split file with train classes",
        )
    return videos


@dataclass(frozen=True)
class WhitenedBy:
    """The normal clips behind a result, and what they share with its test."""

    clips: int
    classes: int
    disjoint: bool
    """Whether each query was answered without the clips of its group."""
    test_groups: int | None
    """Groups of the tested videos; None: it is not known which clips share one."""
    shared: int | None
    """How many of them have normal clips."""
    same: int = 0
    """Tested videos that are normal clips themselves."""

    @property
    def words(self) -> str:
        """What a reader of the result must know."""
        by = f"whitened by {counted(self.clips, 'clip')} of {counted(self.classes, 'train class')}"
        if self.same:
            return f"{by}, {self.same} of which are tested: this is no result for new videos"
        if self.test_groups is None:
            return f"{by}; without groups of both it is not known whether they show the test's scenes"
        of = f"{self.shared} of the {counted(self.test_groups, 'group')} of the test videos"
        if self.disjoint:
            return f"{by}, each query without those of its own group ({of} have any)"
        if not self.shared:
            return f"{by}; none is of a group of the test videos"
        return (
            f"{by}, which show {of}: much of the gain comes from there;"
            " --set model.match.whiten_groups=disjoint leaves each query's group out"
        )

    def document(self) -> dict[str, object]:
        """Plain values for JSON; null: not known."""
        return {"clips": self.clips, "classes": self.classes, "disjoint": self.disjoint,
                "test_groups": self.test_groups, "shared_groups": self.shared, "tested_clips": self.same}  # fmt: skip


def whitened_by(config: Config, normal: Sequence[Video], tested: Sequence[Video], same_data: bool = True) -> WhitenedBy:
    """What a result says of its whitening.

    Args:
        normal: the clips of the train split that was whitened by.
        same_data: whether both are of one data set, where equal ids and groups are the same.
    """
    groups, normals = ({video.group for video in some} - {""} for some in (tested, normal))
    known = bool(groups and normals and same_data)
    same = len({video.id for video in normal} & {video.id for video in tested}) if same_data else 0
    disjoint = config.model.match.whiten_groups == "disjoint"
    counts = (len(groups), len(groups & normals)) if known else (None, None)
    return WhitenedBy(len(normal), len({v.cls for v in normal}), disjoint, *counts, same)
