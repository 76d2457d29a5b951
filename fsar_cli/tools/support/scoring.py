"""How a method recognises each clip of a pool by all the others, and what each does for the recognition of the others.

Scores of a clip are averaged over draws. Its margin is the score of its own class less that of the best other class,
in units of how far the classes' scores lie apart in this pool: the median over clips of the standard deviation of a
clip's scores over the classes. So margins of methods compare, whatever the scale of their scores.

    margin > 0     recognised as what it is called
    margin = 0     could be either
    margin < 0     looks more like another class

A class with one clip has no other example of itself: that clip is scored by the other classes alone and has no margin.

The influence of a clip is what it changes in the share of all other clips recognised, when it is among the examples
instead of another of its class: the mean over draws with it less that over draws without it, in which the clip itself
is not asked. Every query is compared with its own mean first, so it does not matter which were asked when. That is the
datamodel of Ilyas et al. (ICML 2022) with indicator by indicator instead of a regression.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.episodes import Episodes
from fsar_cli.engine.bank import Bank
from fsar_cli.engine.matching import Matcher
from fsar_cli.reporting import SILENT, Reporter
from fsar_cli.tools.support.draws import SupportDraws

# Queries a call of `match`; a pool of thousands would not fit into one.
QUERIES_A_CALL = 512


@dataclass
class Answers:
    """What a method said of the queries of all draws."""

    scores: np.ndarray
    """float64 [V,C]: mean logits of each clip; NaN: never asked about that class."""
    votes: np.ndarray
    """int64 [V,C]: how often it was recognised as what."""
    query: np.ndarray
    """int64 [E,Q]: the clips asked in each draw."""
    right: np.ndarray
    """bool [E,Q]"""
    shown: np.ndarray
    """bool [E,V]: whether a clip was in the support of a draw."""


@dataclass
class Influence:
    """Share of other clips recognised with a clip among the examples, less that with another in its place: [V] each."""

    mean: np.ndarray
    """float64; NaN where it cannot be told: the clip was always or never shown."""
    error: np.ndarray
    """Its standard error."""


@torch.inference_mode()
def ask(
    method: FewShotMethod,
    bank: Bank,
    draws: SupportDraws,
    count: int,
    device: torch.device | None = None,
    reporter: Reporter = SILENT,
    label: str = "leave one out",
) -> Answers:
    """Match draws 0 .. count - 1; `draws.labels` are the bank's videos'. Clips alone in their class are asked as well.

    Args:
        device: where to match; None: where the bank is.
    """
    labels, videos, way = draws.labels, len(draws.labels), draws.way
    matcher = Matcher(method, bank, draws, count, device)
    totals, votes = np.zeros((videos, way)), np.zeros((videos, way), dtype=np.int64)
    queries, right, shown = [], [], np.zeros((count, videos), dtype=bool)
    with reporter.track(label, count, "draws") as task:
        for start in range(0, count, matcher.batch):
            drawn = draws.batch(start, min(matcher.batch, count - start))
            logits = np.concatenate([matcher(part).logits.cpu().numpy() for part in _parts(drawn)], 1)  # [E,Q,C]
            query = drawn.query[:, 0]
            answers = logits.argmax(-1)
            np.add.at(totals, query, logits)
            np.add.at(votes, (query, answers), 1)
            queries.append(query)
            right.append(answers == labels[query])
            shown[np.arange(start, start + len(query))[:, None, None], drawn.support] = True
            task.advance(len(query))
        scores = totals / np.maximum(votes.sum(1, keepdims=True), 1)
        for clip in [members[0] for members in draws.members if len(members) == 1]:
            scores[clip], votes[clip] = _alone(matcher, draws, clip, count)
    return Answers(scores, votes, np.concatenate(queries), np.concatenate(right), shown)


def _parts(drawn: Episodes) -> Iterator[Episodes]:
    for start in range(0, max(1, drawn.query.shape[2]), QUERIES_A_CALL):
        yield Episodes(drawn.classes, drawn.support, drawn.query[..., start : start + QUERIES_A_CALL])


def _alone(matcher: Matcher, draws: SupportDraws, clip: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean logits [C] and votes [C] of a clip that is alone in its class, by the other classes."""
    others = np.delete(np.arange(draws.way), draws.labels[clip])
    scores, votes = np.full(draws.way, np.nan), np.zeros(draws.way, dtype=np.int64)
    scores[others] = 0
    for start in range(0, count, matcher.batch):
        drawn = draws.batch(start, min(matcher.batch, count - start))
        query = np.full((len(drawn.classes), 1, 1), clip)
        logits = matcher(Episodes(drawn.classes[:, others], drawn.support[:, others], query)).logits[:, 0].cpu().numpy()
        scores[others] += logits.sum(0, dtype=np.float64) / count
        votes += np.bincount(others[logits.argmax(1)], minlength=draws.way)
    return scores, votes


def margins(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Margins of clips and the class that comes nearest besides their own.

    Args:
        scores: float64 [V,C] as `Answers.scores`.
        labels: int64 [V].

    Returns:
        float64 [V], NaN for a clip that is alone in its class; int64 [V]; the unit of margins in logits.
    """
    rows = np.arange(len(labels))
    own = scores[rows, labels]
    others = scores.copy()
    others[rows, labels] = -np.inf
    rival = others.argmax(1)
    unit = float(np.median(np.nanstd(scores, axis=1)))
    return (own - others[rows, rival]) / (unit or 1.0), rival, unit


def influence(answers: Answers) -> Influence:
    """The influence of every clip, in shares of 1; see the module docstring."""
    draws, videos = answers.shown.shape
    asked = np.bincount(answers.query.ravel(), minlength=videos)
    mean = np.bincount(answers.query.ravel(), answers.right.ravel(), minlength=videos) / np.maximum(asked, 1)
    deviation = answers.right - mean[answers.query]  # [E,Q]
    own, is_asked = np.zeros((draws, videos)), np.zeros((draws, videos))
    np.put_along_axis(own, answers.query, deviation, 1)
    np.put_along_axis(is_asked, answers.query, 1.0, 1)
    left = answers.query.shape[1] - is_asked
    rest = (deviation.sum(1, keepdims=True) - own) / np.maximum(left, 1)  # [E,V] mean over the other queries
    found = [_difference(rest[answers.shown[:, v], v], rest[~answers.shown[:, v], v]) for v in range(videos)]
    return Influence(*np.array(found).reshape(-1, 2).T)


def _difference(having: np.ndarray, lacking: np.ndarray) -> tuple[float, float]:
    """Difference of two means and its standard error (Welch); NaN where either has fewer than two draws."""
    if min(len(having), len(lacking)) < 2:
        return np.nan, np.nan
    variance = having.var(ddof=1) / len(having) + lacking.var(ddof=1) / len(lacking)
    return float(having.mean() - lacking.mean()), float(np.sqrt(variance))
