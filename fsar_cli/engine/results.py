"""What an evaluation at one number of shots found, and the folder where it is kept.

A result is kept under the digest of everything it depends on (weights, preprocessing, videos, episodes, settings, the
code), so whoever looks for it finds it as it is or not at all. A kept result is a few hundred kilobytes.
"""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from fsar_cli.config import Config
from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.episodes import EpisodeList, EpisodeSampler
from fsar_cli.engine.bank import code_digest
from fsar_cli.engine.motion import RegionStatistics
from fsar_cli.engine.tensorfile import add_to_digest
from fsar_cli.files import Cache, cache_folder, naming
from fsar_cli.ranks import ALONE, Ranks
from fsar_cli.reporting import SILENT, Reporter

LIMIT_BYTES = 2**30
ARRAYS, FIGURES = "arrays.npz", "figures.json"


def mean_and_ci(values: np.ndarray) -> tuple[float, float]:
    """Mean and half width of the 95 % confidence interval, 1.96 s / sqrt(n), of at least two values."""
    return float(values.mean()), float(1.96 * values.std(ddof=1) / math.sqrt(len(values)))


@dataclass
class ShotResult:
    """Evaluation at one number of shots."""

    way: int
    shot: int
    queries: int
    right: np.ndarray
    """bool [episodes, N*Q]: which queries were right; that of the class drawn n-th, as its q-th, is n*Q+q."""
    parts: dict[str, float]
    """Accuracy of each part of the score alone (for the paper's method: spatial, temporal)."""
    classes: tuple[str, ...]
    confusion: np.ndarray
    """int64 [classes, classes]: true class by row, predicted by column."""
    digest: str
    """Of the list of episodes: equal digests mean equal episodes."""
    seconds: float
    """That the matching took."""
    regions: RegionStatistics | None = None
    """Of the videos, where the method selects key regions."""

    @cached_property
    def accuracies(self) -> np.ndarray:
        """float64 [episodes]: share of the episode's queries that were right."""
        return self.right.mean(1)

    @property
    def accuracy(self) -> tuple[float, float]:
        """Mean and half width of its 95 % CI."""
        return mean_and_ci(self.accuracies)

    def per_class(self) -> dict[str, float]:
        """Share of right predictions by true class; NaN for a class that was never asked for."""
        asked = self.confusion.sum(1)
        right = np.diag(self.confusion)
        return {name: float(r / n) if n else math.nan for name, r, n in zip(self.classes, right, asked, strict=True)}

    def confusions(self) -> dict[str, str]:
        """For each class the class it is most often taken for, with its share of the queries; `-` for none."""
        found = {}
        for i, name in enumerate(self.classes):
            wrong = self.confusion[i].copy()
            wrong[i] = 0
            share = wrong.max() / max(self.confusion[i].sum(), 1)
            found[name] = f"{self.classes[int(wrong.argmax())]} {100 * share:.0f} %" if wrong.any() else "-"
        return found

    def summary(self) -> dict[str, object]:
        """Plain values for JSON."""
        mean, ci = self.accuracy
        return {
            "way": self.way,
            "shot": self.shot,
            "queries": self.queries,
            "episodes": len(self.accuracies),
            "accuracy": mean,
            "ci95": ci,
            "chance": 1 / self.way,
            "parts": self.parts,
            "per_class": {name: None if math.isnan(v) else v for name, v in self.per_class().items()},
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
            "episode_digest": self.digest,
            "seconds": round(self.seconds, 3),
            "seconds_per_episode": self.seconds / len(self.accuracies),
        }


def result_cache() -> Cache:
    """The cache of results in the user's cache folder."""
    return Cache(cache_folder("results"), LIMIT_BYTES)


def result_key(
    method: FewShotMethod, features: str, episodes: EpisodeList, config: Config, normal: object = None
) -> str:
    """Digest of everything a result depends on.

    Args:
        features: key of the features of its videos (`bank.features_key`), the same for all numbers of shots.
        normal: what the whitening depends on that is fitted for it, as plain values.
    """
    sampler = episodes.sampler
    plain = {
        "features": features, "code": code_digest(), "model": config.model.model_dump(), "episodes": episodes.digest,
        "shape": [sampler.way, sampler.shot, sampler.queries], "classes": sampler.classes, "normal": normal,
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    heads = {name: t for name, t in method.state_dict().items() if not name.startswith("features.")}
    add_to_digest(digest, heads)  # the others are in the key of the features
    return digest.hexdigest()


def kept_result(
    results: Cache, key: str, sampler: EpisodeSampler, make: Callable[[], ShotResult], reporter: Reporter = SILENT,
    ranks: Ranks = ALONE,
) -> ShotResult:  # fmt: skip
    """The result of a key, as it was kept or as `make` finds it, in one of all commands that ask.

    Of the processes of this command the first looks; where it finds nothing, it calls the others to `make` it with it.
    """
    if not ranks.first:
        while ranks.called():
            make()
        return ranks.agreed(make)
    made: list[ShotResult] = []

    def fill(folder: Path) -> None:
        ranks.call()
        made.append(make())
        with naming(folder):
            _write(folder, made[0])

    with ranks.conducting():
        try:
            kept = results.read(key, fill, partial(_read, sampler=sampler))
        except OSError as error:
            reporter.warn(results.without(error))
            kept = None
        if not made and kept is None:
            ranks.call()
            made.append(make())
    result = made[0] if made else kept
    return ranks.agreed(lambda: result)


def _write(folder: Path, result: ShotResult) -> None:
    regions = result.regions and asdict(result.regions)
    figures = {"parts": result.parts, "digest": result.digest, "seconds": result.seconds, "right": result.right.shape}
    np.savez(folder / ARRAYS, right=np.packbits(result.right), confusion=result.confusion)
    (folder / FIGURES).write_text(json.dumps(figures | {"regions": regions}), encoding="utf-8")


def _read(folder: Path, sampler: EpisodeSampler) -> ShotResult:
    figures = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        bits, confusion = arrays["right"], arrays["confusion"]
    shape, regions = figures["right"], figures["regions"]
    right = np.unpackbits(bits, count=math.prod(shape)).reshape(shape).astype(bool)
    return ShotResult(
        sampler.way, sampler.shot, sampler.queries, right, figures["parts"], sampler.classes, confusion,
        figures["digest"], figures["seconds"], regions and RegionStatistics(**regions),
    )  # fmt: skip
