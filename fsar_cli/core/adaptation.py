"""Test-time adaptation of prototypes, many episodes at a time (ATA).

    Nguyen et al., Inductive and Transductive Few-Shot Video Classification via Appearance and Temporal Alignments,
    ECCV 2022, section 3.3.

Each episode has prototypes of its own, T frames a class, and a scale. A few steps of Adam bring them to where they
classify the frames of the support, where each frame is surely like one frame of its class's prototype (low entropy)
and the video as a whole like all of them (high entropy).

Adam works number by number, so one optimiser over the tensors of all episodes takes the steps each would take alone.
The gradient is written out: no graph is kept, and it can run in inference mode. A step is two products of all frames
of the support with all of the prototypes; axes are [E,T',N,N*K,T], the prototypes' frames first, as what is done to
the products runs along those.
"""

import torch
from torch import Tensor

CONDITIONAL, MARGINAL = 0.1, 1.0  # weights of the two entropies


@torch.no_grad()
def adapt(support: Tensor, scale: float, steps: int, lr: float) -> tuple[Tensor, Tensor]:
    """Prototypes and scales after some steps of Adam from the means over shots.

    Args:
        support: [E,N,K,T,D] frames of unit length, float32 or better.
        scale: of the similarities, at the start.
        steps: 0 leaves the means as they are.

    Returns:
        prototypes [E,N,T,D] and scales [E].
    """
    way, length = support.shape[1], support.shape[3]
    prototypes = support.mean(2).transpose(1, 2).flatten(1, 2).contiguous()  # [E,T'*N,D]
    scales = support.new_full((len(support),), scale)
    frames = support.flatten(1, 3)  # [E,N*K*T,D]
    adam = torch.optim.Adam([prototypes, scales], lr=lr, fused=True)
    with torch.autocast(support.device.type, enabled=False):
        for _ in range(steps):
            products = (prototypes @ frames.transpose(1, 2)).unflatten(2, (-1, length)).unflatten(1, (length, way))
            slopes = similarity_gradient(products * scales.view(-1, 1, 1, 1, 1))
            prototypes.grad = (slopes.flatten(1, 2).flatten(2) @ frames) * scales.view(-1, 1, 1)
            scales.grad = (slopes * products).flatten(1).sum(1)
            adam.step()
    return prototypes.unflatten(1, (length, way)).transpose(1, 2), scales


def similarity_gradient(similarity: Tensor) -> Tensor:
    """Gradient of the loss of adaptation by the similarities.

    The loss of an episode is the mean over its videos of: cross-entropy of the appearance score (mean over frames of
    the logsumexp over the prototype's frames), plus `CONDITIONAL` times the mean entropy of the softmax over its own
    prototype's frames, minus `MARGINAL` times the entropy of that softmax's mean over frames.

    Args:
        similarity: [E,T',N,M,T] of the frames of M = N*K videos, class by class, to those of N prototypes.
    """
    way, videos, length = similarity.shape[2:]
    logs = similarity.log_softmax(1)
    shares = logs.exp()
    appearance = (similarity - logs)[:, 0].mean(-1)  # [E,N,M]: logsumexp over T'
    wrong = appearance.softmax(1)
    _own(wrong.unsqueeze(-1), way).sub_(1)
    gradient = shares * (wrong / (videos * length))[:, None, ..., None]
    own, own_logs = _own(shares, way), _own(logs, way)  # [E,T',K,T,N]
    entropy = -(own * own_logs).sum(1, keepdim=True)
    mean_logs = own.mean(3, keepdim=True).clamp_min(torch.finfo(own.dtype).tiny).log()
    spread = mean_logs - (own * mean_logs).sum(1, keepdim=True)
    change = own * (MARGINAL * spread - CONDITIONAL * (own_logs + entropy)) / (videos * length)
    _own(gradient, way).add_(change)
    return gradient


def _own(x: Tensor, way: int) -> Tensor:
    """[...,N,N*K,T] -> [...,K,T,N]: of each video what concerns its own class; a view."""
    return x.unflatten(-2, (way, -1)).diagonal(dim1=-4, dim2=-3)
