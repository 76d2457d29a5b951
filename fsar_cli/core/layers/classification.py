"""What methods share that tell the training classes apart while they train; in evaluation their classifiers rest."""

import torch
import torch.nn.functional as F
from torch import Tensor


def all_videos(support: Tensor, query: Tensor) -> Tensor:
    """What is known of the videos of episodes, [E,N,K,...] and [E,Q,...], side by side: [E,N*K+Q,...]."""
    return torch.cat([support.flatten(1, 2), query], 1)


def true_classes(classes: Tensor, labels: Tensor, videos: int) -> Tensor:
    """Which training class each video of an episode shows: int64 [E,N*K+Q], in the order of `all_videos`.

    Args:
        classes: int64 [E,N] of the episode's classes.
        labels: int64 [E,Q] positions of the queries' classes in the episode.
        videos: N*K+Q.
    """
    shot = (videos - labels.shape[1]) // classes.shape[1]
    return torch.cat([classes.repeat_interleave(shot, 1), classes.gather(1, labels)], 1)


def classification_loss(scores: Tensor, classes: Tensor, labels: Tensor, reduction: str = "sum") -> Tensor:
    """Cross-entropy of all videos of episodes with their training classes, a mean over videos (and frames).

    Args:
        scores: [E,N*K+Q,C], or [E,N*K+Q,T,C] where each frame is classified; C training classes.
        classes: int64 [E,N].
        labels: int64 [E,Q].
        reduction: see `over_queries`.
    """
    truth = true_classes(classes, labels, scores.shape[1])
    if scores.ndim == 4:
        truth = truth.unsqueeze(2).expand(scores.shape[:3])
    mean = F.cross_entropy(scores.flatten(0, -2), truth.flatten())
    return over_queries(mean, labels, reduction)


def over_queries(mean: Tensor, labels: Tensor, reduction: str) -> Tensor:
    """A mean over something else, such as videos, weighed like the cross-entropy over queries beside which it stands.

    Args:
        labels: int64 [E,Q].
        reduction: `mean` as it is, `sum` times Q, so that its share of the loss is the same in both.
    """
    return mean * labels.shape[1] if reduction == "sum" else mean
