"""What an evaluation at one number of shots found, and the folder where it is kept for comparisons.

A result is kept under the digest of everything it depends on (weights, preprocessing, videos, episodes, settings, the
version of the code), so a comparison takes it as it is or does not find it. A kept result is a few hundred kilobytes.
"""

import hashlib
import json
import math
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np

import fsar_cli
from fsar_cli.config import Config
from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.engine.tensorfile import add_to_digest
from fsar_cli.files import Cache, cache_folder

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


def result_key(method: FewShotMethod, features: str, sampler: EpisodeSampler, config: Config, episodes: str) -> str:
    """Digest of everything a result depends on.

    Args:
        features: key of the features of its videos (`bank.features_key`), the same for all numbers of shots.
        episodes: digest of the list of episodes.
    """
    plain = {
        "features": features, "code": _code(), "model": config.model.model_dump(), "episodes": episodes,
        "shape": [sampler.way, sampler.shot, sampler.queries], "classes": sampler.classes,
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    heads = {name: t for name, t in method.state_dict().items() if not name.startswith("features.")}
    add_to_digest(digest, heads)  # the others are in the key of the features
    return digest.hexdigest()


@cache
def _code() -> str:
    # A version number stands still while the code is worked on; results of other code must not be taken.
    digest, root = hashlib.sha256(), Path(fsar_cli.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def keep_result(results: Cache, key: str, result: ShotResult) -> None:
    """Keep a result under its key."""
    figures = {"parts": result.parts, "digest": result.digest, "seconds": result.seconds, "right": result.right.shape}

    def make(folder: Path) -> None:
        np.savez(folder / ARRAYS, right=np.packbits(result.right), confusion=result.confusion)
        (folder / FIGURES).write_text(json.dumps(figures), encoding="utf-8")

    results.get(key, make)


def find_result(results: Cache, key: str, sampler: EpisodeSampler) -> ShotResult | None:
    """The result kept under a key; None where there is none. One that cannot be read is dropped."""
    entry = results.find(key)
    if entry is None:
        return None
    with suppress(OSError, ValueError, KeyError):
        figures = json.loads((entry / FIGURES).read_text(encoding="utf-8"))
        with np.load(entry / ARRAYS, allow_pickle=False) as arrays:
            bits, confusion = arrays["right"], arrays["confusion"]
        shape = figures["right"]
        right = np.unpackbits(bits, count=math.prod(shape)).reshape(shape).astype(bool)
        return ShotResult(
            sampler.way, sampler.shot, sampler.queries, right, figures["parts"], sampler.classes, confusion,
            figures["digest"], figures["seconds"],
        )  # fmt: skip
    results.drop(key)
    return None
