"""Training classes: which video of an episode shows which, and the weight of their loss."""

import pytest
import torch
import torch.nn.functional as F
from core_parts import seeded

from fsar_cli.core.layers.classification import all_videos, classification_loss, over_queries, true_classes

CLASSES = torch.tensor([[9, 2, 5], [0, 1, 2]])
LABELS = torch.tensor([[2, 0, 1], [1, 1, 0]])


def test_the_support_comes_class_by_class_and_queries_by_their_label():
    assert true_classes(CLASSES, LABELS, videos=9).tolist() == [
        [9, 9, 2, 2, 5, 5, 5, 9, 2],
        [0, 0, 1, 1, 2, 2, 1, 1, 0],
    ]
    assert true_classes(CLASSES[:1], LABELS[:1], videos=6).tolist() == [[9, 2, 5, 5, 9, 2]]


def test_videos_stand_in_the_order_of_their_classes():
    """Features that say which class a video is of, taken apart as episodes are and put together again."""
    truth = true_classes(CLASSES, LABELS, videos=9)
    support, query = truth[:, :6].view(2, 3, 2), truth[:, 6:]
    assert torch.equal(all_videos(support, query), truth)
    assert torch.equal(all_videos(support.unsqueeze(-1), query.unsqueeze(-1)).squeeze(-1), truth)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_frames_of_a_video_share_its_class(reduction):
    scores, truth = torch.randn(2, 9, 4, 10, generator=seeded(0)), true_classes(CLASSES, LABELS, videos=9)
    losses = [F.cross_entropy(scores[e, v, t], truth[e, v]) for e in range(2) for v in range(9) for t in range(4)]
    expected = torch.stack(losses).mean() * (3 if reduction == "sum" else 1)
    torch.testing.assert_close(classification_loss(scores, CLASSES, LABELS, reduction), expected)
    video = classification_loss(scores[:, :, 0], CLASSES, LABELS, reduction)
    assert video != expected and video == over_queries(
        F.cross_entropy(scores[:, :, 0].flatten(0, 1), truth.flatten()), LABELS, reduction
    )
