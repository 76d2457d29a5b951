"""OTAM: videos as sequences, compared along their best ordered alignment.

    Cao et al., Few-Shot Video Classification via Temporal Alignment, CVPR 2020.

Follows the public re-implementation by TRX's authors (Perrett et al.): soft minimum with lambda 0.1 over all paths,
query to support plus support to query, mean over shots, no parameters of its own. It differs in two points. Paths are
summed in the logarithm, where theirs are exponentials that can vanish. And training sums the cross-entropy over the
queries of an episode as all methods here do, where they average it: `train.loss_reduction: mean` is theirs.
"""

from torch import Tensor

from fsar_cli.core.layers.alignment import otam
from fsar_cli.core.layers.pairwise import Pairwise


class OTAM(Pairwise):
    """Soft-min cost of ordered alignment of frames, in both directions."""

    paper = "Cao et al., CVPR 2020"

    def distance(self, query: Tensor, support: Tensor) -> Tensor:
        return otam(query, support)
