"""What methods share that tell the training classes apart while they train; in evaluation their classifiers rest."""

from collections.abc import Iterable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsar_cli.config import Config
from fsar_cli.core.layers.basics import at_least_float32
from fsar_cli.core.method import Encoded, FewShotMethod, Scores

CLASS_SCORES = "class_scores"  # [B,C] or [B,T,C]: a video, or each of its frames, among the C training classes


class Classifying(FewShotMethod):
    """Base of methods whose loss adds that of a classifier of videos or frames (HyRSM, MoLo)."""

    classifies = True
    classifier: nn.Linear | None
    """To the training classes; None: there are none, as for evaluation without training."""
    class_weight: float
    """Of the classifier's loss."""
    usual_weight: ClassVar[float]
    """The same where `model.class_weight` does not say."""

    @classmethod
    def classifier_of(cls, config: Config, dim: int) -> tuple[nn.Linear | None, float]:
        """The classifier of `model.classes` classes and its weight."""
        classes, weight = config.model.classes, config.model.class_weight
        classifier = None if classes is None else nn.Linear(dim, classes)
        return classifier, cls.usual_weight if weight is None else weight

    def class_scores(self, features: Tensor) -> dict[str, Tensor]:
        """Features [B,...,D] -> CLASS_SCORES in training, by name, ready for `Encoded`; nothing in evaluation."""
        return {CLASS_SCORES: self.classifier(features)} if self.training and self.classifier is not None else {}

    def class_loss(self, scores: Scores, labels: Tensor, reduction: str, classes: Tensor | None) -> Tensor | float:
        """The weighted loss of the classifier; 0 where there is none or the classes are not known."""
        if classes is None or CLASS_SCORES not in scores.extras:
            return 0.0
        return self.class_weight * classification_loss(scores.extras[CLASS_SCORES], classes, labels, reduction)


def all_videos(support: Tensor, query: Tensor) -> Tensor:
    """What is known of the videos of episodes, [E,N,K,...] and [E,Q,...], side by side: [E,N*K+Q,...]."""
    return torch.cat([support.flatten(1, 2), query], 1)


def extras_of(names: Iterable[str], support: Encoded, query: Encoded) -> dict[str, Tensor]:
    """Those of the named tensors that there are, for `Scores.extras`: [E,N*K+Q,...] each, float32 at least."""
    return {name: at_least_float32(all_videos(support[name], query[name])) for name in names if name in query}


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
