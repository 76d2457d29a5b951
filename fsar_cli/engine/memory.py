"""What a training episode needs in memory, measured on one clip and scaled: the part of it that grows is linear."""

from dataclasses import dataclass

import torch

from fsar_cli.config import Config
from fsar_cli.core.build import build_method
from fsar_cli.core.methods.base import FewShotMethod
from fsar_cli.data.splits import Splits
from fsar_cli.engine.steps import training_sampler


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes."""

    parameters: int
    gradients_and_optimiser: int
    activations: int

    @property
    def total(self) -> int:
        return self.parameters + self.gradients_and_optimiser + self.activations


def estimate_memory(method: FewShotMethod, config: Config) -> MemoryEstimate:
    """Memory of a training episode in float32 (bf16 autocast needs up to a half less for activations).

    Counts the tensors that autograd keeps for the backward pass of one clip, once each, on the CPU.
    """
    episode, clip = config.episode, config.clip
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    own = {p.untyped_storage().data_ptr() for p in method.parameters()}
    alive = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (alive.append(t), keep(t))[1], lambda t: t):
        alive.append(method.train().encode(torch.zeros(1, clip.frames, 3, clip.size, clip.size)).tensors)
    per_clip = sum(size for pointer, size in kept.items() if pointer not in own)
    clips = episode.way * (episode.shot + episode.queries)
    parameters = sum(p.numel() * 4 for p in method.parameters())
    trained = sum(p.numel() * 4 for p in method.parameters() if p.requires_grad)
    copies = 1 + (2 if config.optim.name in ("adam", "adamw") else 1 if config.optim.momentum else 0)
    return MemoryEstimate(parameters, trained * copies, per_clip * clips)


def plan(config: Config) -> dict[str, object]:
    """What `fsar train` would do with this configuration; reads the split file, writes nothing.

    Raises:
        DataError, UsageError: whatever would stop the training before its first episode.
    """
    episode, splits = config.episode, Splits.read(config.data.splits)
    sampler = training_sampler(config, splits)
    method = build_method(config, pretrained=False)
    memory = estimate_memory(method, config)
    gib = {name: round(getattr(memory, name) / 2**30, 2) for name in (*vars(memory), "total")}
    return {
        "method": config.model.method,
        "backbone": config.model.backbone,
        "parameters": sum(p.numel() for p in method.parameters()),
        "trained_parameters": sum(p.numel() for p in method.parameters() if p.requires_grad),
        "train_classes": len(sampler.classes),
        "train_videos": len(sampler.videos),
        "val_classes": len(splits.classes("val")),
        "episode": f"{episode.way}-way {episode.shot}-shot, {episode.queries} queries a class",
        "clips_per_episode": episode.way * (episode.shot + episode.queries),
        "episodes": config.train.iterations,
        "optimiser_steps": -(-config.train.iterations // config.optim.accumulate),
        **{f"{name}_gib": value for name, value in gib.items()},
        "first_100_episodes_digest": sampler.digest(min(100, config.train.iterations)),
    }
