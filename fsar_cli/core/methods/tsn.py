"""TSN: each frame compared with the frame at the same place, and the mean of what the frames say.

    Wang et al., Temporal Segment Networks: Towards Good Practices for Deep Action Recognition, ECCV 2016.

TSN lets a few frames, spread over the video, speak for it: each by itself, then the mean of their scores (its
consensus). As a few-shot method it has no parameters of its own:

    score(query, class) = mean over shots k and frames t of  cos(query_t, support_kt)

Differs from the public few-shot library (Perrett et al., `CNN_TSN`). That averages the features over frames first and
compares the means, which knows no order of frames; here the mean is over scores, as in TSN. Both take the mean over
shots last, not over features. It adds 0.01 to the product of two lengths, nothing is added here. Its logits are the
cosine itself, here it is the cosine minus 1, which the softmax does not see. It averages the cross-entropy over the
queries of an episode: `train.loss_reduction: mean`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fsar_cli.core.layers.basics import at_least_float32
from fsar_cli.core.layers.pairwise import Pairwise


class TSN(Pairwise):
    """Mean cosine similarity of the frames at the same places."""

    paper = "Wang et al., ECCV 2016"

    def distance(self, query: Tensor, support: Tensor) -> Tensor:
        query, support = (F.normalize(at_least_float32(x), dim=-1) for x in (query, support))
        with torch.autocast(query.device.type, enabled=False):
            cosines = query.flatten(-2) @ support.flatten(-2).mT  # [...,Q,M], sums over frames
        return 1 - cosines / query.shape[-2]
