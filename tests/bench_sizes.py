"""Sizes at which a benchmark takes seconds."""

from dataclasses import replace

import torch

from fsar_cli.engine.bench.sizes import Sizes, choose_sizes
from fsar_cli.engine.bench.timing import Repeats


def tiny_sizes(device: torch.device | None = None, **changes: object) -> Sizes:
    """The quick sizes made smaller still; every section runs in a second or two."""
    sizes = replace(
        choose_sizes(device or torch.device("cpu"), quick=True), backbone="mobilenet_v3_small", side=64, train_side=64,
        videos=16, classes=4, episodes=20, way=3, shot=2, reference_episodes=2, reference_others=1, encoded_share=0.5,
        extracted=3, clips=8, encoded_frames=16, train_shape=(2, 1, 1), train_episodes=4, scaling_episodes=(4, 8),
        scaling_videos=(12, 24), scaling_backbone="mobilenet_v3_small", head_dim=16, head_queries=3,
        assignments=("model.match.key_dim=24", "clip.frames=4"), repeats=Repeats(least=1, most=1, seconds=0, warmup=0),
    )  # fmt: skip
    return replace(sizes, **changes)
