"""The contract of every method: `encode` each video once, `match` many episodes against the result.

    encode(clips [B,T,3,S,S]) -> Encoded                      no information crosses videos
    match(support Encoded [E,N,K], query Encoded [E,Q]) -> Scores(logits [E,Q,N])

Axis letters, used in every shape comment of the core:

    E episodes   N way   K shot   Q queries   B videos   T frames   L tuples of frames
    C channels   H W map cells   D feature    S side of the input crop   P side of the key region (pixels)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fsar_cli.errors import UsageError


class Encoded:
    """What videos become: named tensors that share their leading axes.

    `encode` yields one leading axis [B]; indexing with an integer tensor of shape [E,N,K] yields [E,N,K], so a bank of
    encoded videos turns into the support and query of thousands of episodes by one index each.
    """

    def __init__(self, tensors: Mapping[str, Tensor], lead: int = 1) -> None:
        shapes = {tuple(t.shape[:lead]) for t in tensors.values()}
        if len(shapes) != 1:
            found = {name: tuple(t.shape) for name, t in tensors.items()}
            raise ValueError(f"encoded tensors must share their first {lead} axes, got {found}")
        self.tensors = dict(tensors)
        self.lead = lead

    @property
    def shape(self) -> tuple[int, ...]:
        """The leading axes: [B], [E,Q] or [E,N,K]."""
        return tuple(next(iter(self.tensors.values())).shape[: self.lead])

    def __len__(self) -> int:
        return self.shape[0]

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def take(self, index: Tensor) -> "Encoded":
        """Pick videos along the first axis by an int64 tensor of any shape; its shape takes that axis's place."""
        flat = index.reshape(-1)
        picked = {n: t.index_select(0, flat).reshape(*index.shape, *t.shape[1:]) for n, t in self.tensors.items()}
        return Encoded(picked, self.lead - 1 + index.ndim)

    def reshape(self, *lead: int) -> "Encoded":
        """Give the leading axes another shape."""
        return Encoded({n: t.reshape(*lead, *t.shape[self.lead :]) for n, t in self.tensors.items()}, len(lead))

    def only(self, names: Iterable[str]) -> "Encoded":
        """Keep the named tensors."""
        return Encoded({name: self.tensors[name] for name in names}, self.lead)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Encoded":
        """Move; `dtype` applies to floating-point tensors alone."""
        moved = {
            n: t.to(device=device, dtype=dtype if t.is_floating_point() else None) for n, t in self.tensors.items()
        }
        return Encoded(moved, self.lead)

    @property
    def finite(self) -> bool:
        """Whether every number is."""
        return all(bool(t.isfinite().all()) for t in self.tensors.values())

    def numel_per_video(self) -> int:
        """Numbers kept for one video."""
        return sum(t[(0,) * self.lead].numel() for t in self.tensors.values())

    @staticmethod
    def cat(parts: list["Encoded"]) -> "Encoded":
        """Join along the first axis."""
        return Encoded({n: torch.cat([p[n] for p in parts]) for n in parts[0].tensors}, parts[0].lead)


@dataclass
class Scores:
    """Result of a match; larger is better."""

    logits: Tensor
    """[E,Q,N]: the prediction is its argmax."""
    parts: dict[str, Tensor] = field(default_factory=dict)
    """Further logits [E,Q,N] by name: what the loss is made of, and what is reported beside the prediction."""
    extras: dict[str, Tensor] = field(default_factory=dict)
    """What only the training loss needs, of any shape [E,...]; empty in evaluation."""

    def everything(self) -> dict[str, Tensor]:
        """The prediction under `logits`, and the parts under their names."""
        return {"logits": self.logits, **self.parts}


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision -> float32; float32 and float64 stay."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def check_frames(part: str, wanted: int, given: int) -> None:
    """Refuse clips of another length than the one a part was built (and trained) for.

    Raises:
        UsageError: they differ.
    """
    if given != wanted:
        raise UsageError(
            f"{part} was built for clips of {wanted} frames, not {given}",
            "a checkpoint evaluates only at the clip.frames it was trained with",
        )
