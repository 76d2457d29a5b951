"""What is done to features between backbones and head: square root, then whitening by normal clips.

    described -- pooled (`FewShotMethod.pooled`) -- root -- (x - mean) W -- embed

    root     sign(x) sqrt(|x|), which is the square root of features that are not negative.
             Perronnin et al., Improving the Fisher Kernel for Large-Scale Image Classification, ECCV 2010
    W        (C + lambda mean(diag C) I)^(-1/2), of the covariance C of normal clips inside their classes.
             Hariharan et al., Discriminative Decorrelation for Clustering and Classification, ECCV 2012

How features of one action differ among normal clips (who, where, which light) says nothing of the action: whitening
takes that from all clips. It is fitted in closed form, once, and stands still in training.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fsar_cli.core.layers.basics import at_least_float32
from fsar_cli.errors import DataError

TINY = 1e-12  # keeps the slope of the root finite at 0


def signed_root(x: Tensor) -> Tensor:
    """sign(x) sqrt(|x|), element by element."""
    return x.sign() * (x.abs() + TINY).sqrt()


def whitening_matrix(vectors: Tensor, classes: Sequence[object], shrinkage: float) -> tuple[Tensor, Tensor]:
    """The mean of steps, and the W by which steps of clips of one class become uncorrelated.

    Args:
        vectors: [V,T,D] of clips.
        classes: [V] what each shows; where all show the same, or it is not known, C is the total covariance.
        shrinkage: lambda > 0.

    Returns:
        float64 [D] mean, and [D,D] symmetric W; features x become (x - mean) W.

    Raises:
        DataError: the clips of each class are all alike.
    """
    x, places = vectors.double().flatten(0, 1), {name: i for i, name in enumerate(dict.fromkeys(classes))}
    labels = torch.tensor([places[name] for name in classes], device=x.device).repeat_interleave(vectors.shape[1])
    counts = torch.bincount(labels).unsqueeze(1)
    means = x.new_zeros(len(places), x.shape[1]).index_add_(0, labels, x) / counts
    within = x - means[labels]
    if len(x) < x.shape[1]:  # few directions: those of the steps, without the matrix of all features
        _, values, directions = torch.linalg.svd(within, full_matrices=False)
        variances = values.square() / len(x)
    else:
        variances, columns = torch.linalg.eigh(within.T @ within / len(x))
        variances, directions = variances.clamp(min=0), columns.T
    floor = shrinkage * variances.sum() / x.shape[1]
    if not floor > 0:
        raise DataError(
            f"{len(vectors)} normal clips say nothing to whiten by: those of each class have the same features",
            "whitening needs two clips or more of some class of the train split",
        )
    gains = (variances + floor).rsqrt() - floor.rsqrt()
    return x.mean(0), torch.diag(floor.rsqrt().expand(x.shape[1])) + (directions.T * gains) @ directions


class Preparation(nn.Module):
    """Root and whitening of the tensors that a method has of its features."""

    def __init__(self, names: Sequence[str], width: int = 0, *, root: bool = False, whiten: bool = False) -> None:
        """
        Args:
            names: of the tensors of features, [B,T,D,...].
            width: D, where it whitens.
        """
        super().__init__()
        self.names, self.root, self.whiten = tuple(names), root, whiten
        for name in names if whiten else ():
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_matrix", torch.zeros(width, width))  # no whitening is zero

    @property
    def fitted(self) -> bool:
        """Whether there is nothing to fit any more; waits for the device."""
        return not self.whiten or all(bool(getattr(self, f"{name}_matrix").any()) for name in self.names)

    def forward(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of features with root and whitening, in float32 at least; the others as they are."""
        rooted = self._rooted(tensors)
        return rooted | {name: self._whitened(name, rooted[name]) for name in self.names if self.whiten}

    @contextmanager
    def without_whitening(self) -> Iterator[None]:
        """Inside, features keep their root and are not whitened."""
        before, self.whiten = self.whiten, False
        try:
            yield
        finally:
            self.whiten = before

    def vectors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """[B,T,D] of clips, by name of the tensor, cells averaged: what whitening is fitted to."""
        rooted = self._rooted(tensors)
        return {name: rooted[name].flatten(3).mean(3) if rooted[name].ndim > 3 else rooted[name] for name in self.names}

    @torch.inference_mode()  # in which the engine may have moved the buffers
    def fit(self, vectors: Mapping[str, Tensor], classes: Sequence[object], shrinkage: float) -> None:
        """Take the whitening of clips, as `vectors` gives them. Raises DataError as `whitening_matrix`."""
        for name in self.names:
            mean, matrix = whitening_matrix(vectors[name], classes, shrinkage)
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_matrix").copy_(matrix)

    def _rooted(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        rooted = {name: signed_root(at_least_float32(tensors[name])) for name in self.names if self.root}
        return {**tensors, **rooted}

    def _whitened(self, name: str, x: Tensor) -> Tensor:
        mean, matrix = (getattr(self, f"{name}_{part}").to(at_least_float32(x)) for part in ("mean", "matrix"))
        # Directions of little variance are enlarged most: half precision would enlarge its rounding.
        with torch.autocast(x.device.type, enabled=False):
            whitened: Tensor = (at_least_float32(x).movedim(2, -1) - mean) @ matrix
            return whitened.movedim(-1, 2)
