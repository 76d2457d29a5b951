"""What a training episode needs in memory, measured on one clip, and how to make it fit a budget.

The activations that autograd keeps grow with the clips; everything else does not. Where a budget is given, the first
of these that fits is taken:

1. plain: all activations of the episode;
2. checkpointing: the inputs of the backbones' blocks, and one block at a time again in the backward pass. Gradients and
   batch statistics are the plain ones; an episode costs about a third more;
3. micro-batches: the activations of a few clips at a time. Batch normalisation then sees micro-batches instead of the
   support or the query set, so gradients are the plain ones only with `model.freeze_batchnorm` or frozen backbones.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from fsar_cli.config import Config
from fsar_cli.core.backbones.backbone import Backbone
from fsar_cli.core.layers.checkpointing import NORMS, blocks
from fsar_cli.core.method import FewShotMethod
from fsar_cli.engine.device import autocast, memory_to_spare, training_type
from fsar_cli.engine.steps import statistics_kept
from fsar_cli.errors import DeviceError, UsageError
from fsar_cli.reporting import Reporter

GIB = 2**30
CPU = torch.device("cpu")


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes."""

    parameters: int
    gradients_and_optimiser: int
    activations: int

    @property
    def total(self) -> int:
        return self.parameters + self.gradients_and_optimiser + self.activations


@dataclass(frozen=True)
class MemoryPlan:
    """How an episode is run, and what it then needs."""

    checkpointing: bool
    micro_batch: int | None
    """Clips whose activations are kept at a time; None: all."""
    memory: MemoryEstimate

    def apply(self, method: FewShotMethod) -> None:
        """Set a method up for training so."""
        method.micro_batch = self.micro_batch
        for backbone in method.features.backbones():
            backbone.checkpointing = self.checkpointing

    def __str__(self) -> str:
        parts = ["checkpointing"] if self.checkpointing else []
        parts += [f"micro-batches of {self.micro_batch} clips"] if self.micro_batch else []
        return f"{' and '.join(parts) or 'plain'}, about {self.memory.total / GIB:.1f} GiB"


@contextmanager
def _kept(own: set[int]) -> Iterator[dict[int, torch.UntypedStorage]]:
    """The storages that autograd keeps for the backward pass, once each, but for those of `own`."""
    storages: dict[int, torch.UntypedStorage] = {}  # held, so that no address is counted for two tensors

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield storages


def _bytes(storages: dict[int, torch.UntypedStorage]) -> int:
    return sum(storage.nbytes() for storage in storages.values())


def activations_per_clip(method: FewShotMethod, config: Config, amp: str) -> int:
    """Bytes that encoding one clip more keeps for the backward pass, as the method is set up now."""
    clip, own = config.clip, {p.untyped_storage().data_ptr() for p in method.parameters()}

    def size(clips: int) -> int:
        with _no_random_regions(method), _kept(own) as storages, autocast(CPU, amp):
            encoded = method.train().encode(torch.zeros(clips, clip.frames, 3, clip.size, clip.size))
        return _bytes(storages) if len(encoded) else 0

    return size(2) - size(1)  # what both keep, such as weights in half precision, does not grow


@contextmanager
def _no_random_regions(method: FewShotMethod) -> Iterator[None]:
    """A forward with random regions keeps less, as the relation has no part in it: the larger need counts."""
    features = method.features
    probability = getattr(features, "random_probability", None)
    if probability is not None:
        features.random_probability = 0.0
    try:
        yield
    finally:
        if probability is not None:
            features.random_probability = probability


def largest_block(backbone: Backbone, side: int, frames: int, amp: str) -> int:
    """Bytes that the most expensive block of a trunk keeps for the frames of one clip."""
    own = {p.untyped_storage().data_ptr() for p in backbone.parameters()}
    side = backbone.side or side  # to which regions are resized
    x, largest = backbone.enter(torch.zeros(1, frames, 3, side, side)), 0
    for block in blocks(backbone.train().trunk):
        with _kept(own) as storages, autocast(CPU, amp):
            x = block(x.detach().requires_grad_())
            largest = max(largest, _bytes(storages))
    return largest


def fixed_memory(method: FewShotMethod, config: Config) -> tuple[int, int]:
    """Bytes of the parameters, and of their gradients with the optimiser's copies."""
    parameters = sum(p.numel() * 4 for p in method.parameters())
    trained = sum(p.numel() * 4 for p in method.parameters() if p.requires_grad)
    copies = 1 + (2 if config.optim.name in ("adam", "adamw") else 1 if config.optim.momentum else 0)
    return parameters, trained * copies


def plan_memory(method: FewShotMethod, config: Config, device: torch.device, budget: float | None) -> MemoryPlan:
    """The first way of running an episode that fits; the method is left in training mode, as it was set up.

    Args:
        device: where it will run: on CUDA, `train.amp=auto` halves most activations.
        budget: GiB; None: no limit.

    Raises:
        UsageError: not even single clips fit.
    """
    amp = "off" if training_type(device, config.train.amp) == torch.float32 else "bf16"
    episode, fixed = config.episode, fixed_memory(method, config)
    clips = episode.way * (episode.shot + episode.queries)
    per_clip = activations_per_clip(method, config, amp)

    def plan(activations: int, checkpointing: bool = False, micro_batch: int | None = None) -> MemoryPlan:
        return MemoryPlan(checkpointing, micro_batch, MemoryEstimate(*fixed, activations))

    plain = plan(per_clip * clips)
    limit = float("inf") if budget is None else budget * GIB
    if plain.memory.total <= limit:
        return plain
    thrifty, block = _checkpointed(method, config, amp)
    together = episode.way * max(episode.shot, episode.queries)  # support and query are encoded one after the other
    checkpointed = plan(thrifty * clips + block * together, checkpointing=True)
    if checkpointed.memory.total <= limit:
        return checkpointed
    room = limit - sum(fixed)
    if room >= per_clip:
        size = int(room // per_clip)
        return plan(per_clip * size, micro_batch=size)
    if room >= thrifty + block:
        return plan(thrifty + block, checkpointing=True, micro_batch=1)
    need = (sum(fixed) + thrifty + block) / GIB
    raise UsageError(
        f"{budget} GiB are too few: a clip at a time needs {need:.1f} GiB",
        "take a larger budget, a smaller model.backbone, clip.size or clip.frames",
    )


def _checkpointed(method: FewShotMethod, config: Config, amp: str) -> tuple[int, int]:
    """(bytes kept of a clip, bytes of the most expensive block of a clip) with checkpointing."""
    backbones = method.features.backbones()
    sides = [config.clip.size, max(config.model.region.sides)]
    before = [backbone.checkpointing for backbone in backbones]
    for backbone in backbones:
        backbone.checkpointing = True
    kept = activations_per_clip(method, config, amp)
    for backbone, checkpointing in zip(backbones, before, strict=True):
        backbone.checkpointing = checkpointing
    pairs = zip(backbones, sides, strict=False)
    return kept, max(largest_block(backbone, side, config.clip.frames, amp) for backbone, side in pairs)


def fit_memory(method: FewShotMethod, config: Config, device: torch.device, reporter: Reporter) -> None:
    """Set a method up for `train.memory_budget`; what is measured for it leaves no trace in batch statistics.

    Raises:
        UsageError: as `plan_memory`.
    """
    with statistics_kept(method):
        chosen = plan_memory(method, config, device, config.train.memory_budget)
    chosen.apply(method)
    reporter.log(f"memory: {chosen}")
    if chosen.micro_batch and any(isinstance(m, NORMS) and m.training for m in method.modules()):
        reporter.warn("batch normalisation sees micro-batches: model.freeze_batchnorm=true makes it exact")


def does_not_fit(config: Config, device: torch.device) -> DeviceError:
    """What to say where an episode ran out of memory: what was tried, and the budget that would fit."""
    episode, clip, budget = config.episode, config.clip, config.train.memory_budget
    # An estimate knows neither the workspace of convolutions nor memory in pieces too small to use.
    fits = 0.8 * min(memory_to_spare(device) / GIB, budget or float("inf"))
    return DeviceError(
        f"out of memory: an episode of {episode.way * (episode.shot + episode.queries)} clips ({clip.frames} frames of "
        f"{clip.size} px each, {config.model.backbone}) does not fit on {device}",
        f"`fsar train --memory-budget {fits:.1f}` would fit: it takes that many GiB, and more time",
    )
