"""What a column of a table stands on: the data that are trained on, those that are tested, and the test episodes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from fsar_cli.config import Config, DataConfig, EvalConfig
from fsar_cli.data.episodes import EpisodeList
from fsar_cli.engine.dataset import DataSet
from fsar_cli.engine.evaluate import episode_lists
from fsar_cli.engine.trained_on import Novelty, known_classes, learnt_splits
from fsar_cli.tools.reproduce.tables import PAPER_SETS


@dataclass(frozen=True)
class Ground:
    """Trained on one data set, tested on the same or another."""

    train: DataSet
    test: DataSet
    data: DataConfig
    """Of the tested one."""
    settings: EvalConfig

    @property
    def name(self) -> str:
        """The tested data set's."""
        return self.test.name

    @property
    def paper(self) -> str | None:
        """Which of the paper's data sets it is; None: another."""
        return self.name if self.name in PAPER_SETS else None

    @property
    def title(self) -> str:
        """As a column is headed."""
        return PAPER_SETS.get(self.name, self.name)

    @cached_property
    def lists(self) -> dict[int, EpisodeList]:
        """The test episodes by number of shots. Raises DataError where they cannot be drawn."""
        return dict(zip(self.settings.shots, episode_lists(self.settings, self.test.splits), strict=True))

    @cached_property
    def groups(self) -> list[str]:
        """Group of each test video."""
        return [video.group for video in self.test.splits.videos(self.settings.split)]

    @cached_property
    def learnt_from(self) -> str:
        """SHA-256 (hex) of the training and validation videos: class, id, group and pictures."""
        digest = hashlib.sha256()
        for split, video in self.train.splits.rows:
            if split in ("train", "val"):
                pictures = self.train.store.fingerprint(video.id)
                digest.update("\0".join([split, video.cls, video.id, video.group, pictures, ""]).encode())
        return digest.hexdigest()

    def novelty(self, trained: Sequence[Config]) -> Novelty:
        """How the test classes stand to what runs of these configurations learn from."""
        train, test = self.train.splits, self.test.splits
        learnt = max((learnt_splits(config, train) for config in trained), key=len, default=())
        same = self.train.values["data.frames"] == self.test.values["data.frames"]
        known = known_classes(train, learnt, test.videos(self.settings.split), same)
        return Novelty(test.digest, train.digest if trained else None, known)


def source_of(grounds: Sequence[Ground]) -> dict[str, object]:
    """What a page of results is made from, as its JSON document has it."""
    return {"split_digests": [ground.test.splits.digest for ground in grounds]}
