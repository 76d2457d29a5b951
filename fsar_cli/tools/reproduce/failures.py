"""Where a method fails: on small targets (figure 8), and with support clips that resemble one another (figure 9)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.clips import ClipReader
from fsar_cli.data.episodes import Episodes, EpisodeSampler
from fsar_cli.engine.bank import Bank
from fsar_cli.engine.matching import Matcher
from fsar_cli.engine.motion import motion_energy
from fsar_cli.engine.results import mean_and_ci
from fsar_cli.engine.statistics.words import plus_minus, points, signed


@dataclass(frozen=True)
class Part:
    """A part of the videos or episodes, in order of what might explain failures."""

    name: str
    size: float
    """Mean of what they were ordered by."""
    videos: int
    """How many (videos, or episodes)."""
    accuracy: float
    ci: float | None
    """Half width of the 95 % interval over these videos or episodes; None: there is but one."""

    def cells(self, scale: float = 1.0) -> list[str]:
        """A row of a table: name, size times `scale`, how many, accuracy in %."""
        width = "" if self.ci is None else f" {plus_minus(self.ci)}"
        return [self.name, f"{scale * self.size:.2f}", str(self.videos), f"{points(self.accuracy)}{width}"]


def gap_in_words(first: Part, last: Part, what: str) -> str:
    """By how much the last part is recognised better than the first, and whether that is more than chance."""
    gap = f"{signed(last.accuracy - first.accuracy)} points"
    if first.ci is None or last.ci is None:
        return f"{gap}, of too few {what} to tell"
    width = math.hypot(first.ci, last.ci)
    more = "more" if abs(last.accuracy - first.accuracy) > width else "no more"
    return f"{gap}, {more} than the choice of {what} explains ({plus_minus(width)})"


def target_sizes(reader: ClipReader, videos: Sequence[str], actors: torch.Tensor | None) -> tuple[np.ndarray, str]:
    """How large what acts is, as a share of the side of what the network sees.

    Args:
        actors: [V,T,4] boxes in [0,1]; None: not known, then what moves is measured.

    Returns:
        float64 [V], and what it is in words.
    """
    if actors is not None:
        inside = actors.double().clamp(0, 1)
        areas = (inside[..., 2:] - inside[..., :2]).prod(-1)  # [V,T]
        return areas.mean(1).sqrt().numpy(), "the side of a square as large as the actor's box inside the input"
    areas = [_moving(reader.evaluation(video)) for video in videos]
    return np.sqrt(areas), "the side of a square as large as the area that moves (no actor boxes are known)"


def _moving(clip: np.ndarray) -> float:
    """Share of the pixels of a clip, uint8 [T,S,S,3], that differ from a neighbouring frame's."""
    return float((motion_energy(torch.from_numpy(clip).unsqueeze(0)) > 0).float().mean())


def by_size(sizes: np.ndarray, shares: np.ndarray, labels: np.ndarray) -> list[Part]:
    """Accuracy of the smallest, middle and largest third of each class: classes differ in size and in difficulty.

    Args:
        sizes, shares: float64 [V]; NaN shares are videos that were never asked for.
        labels: int64 [V].
    """
    known = ~np.isnan(shares)
    third = np.full(len(sizes), -1)
    for cls in np.unique(labels[known]):
        members = np.flatnonzero(known & (labels == cls))
        ranked = members[np.argsort(sizes[members], kind="stable")]
        third[ranked] = np.arange(len(ranked)) * 3 // len(ranked)
    names = ("smallest third of each class", "middle", "largest third")
    return [_part(name, sizes[third == i], shares[third == i]) for i, name in enumerate(names) if (third == i).any()]


def by_margin(margins: np.ndarray, accuracies: np.ndarray) -> list[Part]:
    """Accuracy of the episodes by quarter of their support's margin; both float64 [E]."""
    order = np.argsort(margins, kind="stable")
    names = ("most ambiguous quarter", "second", "third", "clearest quarter")
    parts = np.array_split(order, 4)
    return [_part(n, margins[p], accuracies[p]) for n, p in zip(names, parts, strict=True) if len(p)]


def _part(name: str, sizes: np.ndarray, shares: np.ndarray) -> Part:
    mean, ci = mean_and_ci(shares) if len(shares) > 1 else (float(shares.mean()), None)
    return Part(name, float(sizes.mean()), len(shares), mean, ci)


@torch.inference_mode()
def support_margins(
    method: FewShotMethod, bank: Bank, sampler: EpisodeSampler, drawn: Episodes, device: torch.device
) -> np.ndarray:
    """How far the classes of each support set lie apart, float64 [E].

    Every support clip is matched as if it were a query: its score for its own class, which holds the clip itself, less
    that of the nearest other class, in standard deviations of all scores of these episodes about their episode's mean;
    the mean over the clips. 0: classes cannot be told apart.
    """
    asked = Episodes(drawn.classes, drawn.support, drawn.support)
    matcher = Matcher(method, bank, sampler, len(drawn.classes), device)
    found = []
    for start in range(0, len(drawn.classes), matcher.batch):
        part = slice(start, start + matcher.batch)
        some = Episodes(asked.classes[part], asked.support[part], asked.query[part])
        found.append(matcher(some).logits.double().cpu().numpy())
    logits = np.concatenate(found)  # [E,N*K,N]
    truth = np.repeat(np.arange(sampler.way), sampler.shot)
    own = logits[:, np.arange(len(truth)), truth]
    others = logits.copy()
    others[:, np.arange(len(truth)), truth] = -np.inf
    spread = (logits - logits.mean((1, 2), keepdims=True)).std()
    return (own - others.max(-1)).mean(1) / max(spread, 1e-12)
