"""Losses of an episode (section 3.4-3.5, eq. 12)."""

import torch.nn.functional as F
from torch import Tensor


def episode_cross_entropy(logits: Tensor, labels: Tensor, reduction: str = "sum") -> Tensor:
    """Cross-entropy of episodes.

    Args:
        logits: [E,Q,N].
        labels: int64 [E,Q], positions of the true classes.
        reduction: over the queries of an episode, `sum` (TRX) or `mean`; episodes are always averaged.
    """
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
    return loss / (labels.numel() if reduction == "mean" else len(labels))


def spatio_temporal_refined_loss(
    spatial: Tensor, temporal: Tensor | None, labels: Tensor, weight: float = 1.0, reduction: str = "sum"
) -> Tensor:
    """STR (section 3.4): two cross-entropies, since the two distances have different magnitudes.

    Args:
        spatial: -D_MH of eq. 10, [E,Q,N].
        temporal: -D_TR of eq. 11, [E,Q,N]; None leaves the temporal refinement out.
        weight: w of the temporal term.
    """
    loss = episode_cross_entropy(spatial, labels, reduction)
    if temporal is None or weight == 0:
        return loss
    return loss + weight * episode_cross_entropy(temporal, labels, reduction)


def total_loss(refined: Tensor, auxiliary: list[Tensor]) -> Tensor:
    """Eq. 12: the mean of the refined loss and the losses of the auxiliary cross-transformers."""
    return (refined + sum(auxiliary)) / (1 + len(auxiliary))
