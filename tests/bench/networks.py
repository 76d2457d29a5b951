"""Clips -> features, and the cross-transformer of TRX in training: how fast?"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from oracles.episodes import in_customary_layout
from oracles.matching import cross_transformer_distance
from torch import Tensor

from bench.report import Measurement
from bench.timing import flops_of, in_turn
from bench.workbench import Workbench
from fsar_cli.config import Config
from fsar_cli.core.features import Features
from fsar_cli.core.layers.attention import CrossTransformer
from fsar_cli.core.losses import episode_cross_entropy
from fsar_cli.core.method import Encoded
from fsar_cli.engine.device import encoding_autocast, folded, training_type

FEATURES = {"trx": "backbone (global features)", "keyregion": "global and key-region features"}
"""What is encoded, by a method that needs it."""
FRAMES = 8


def encode(bench: Workbench) -> Iterator[Measurement]:
    """The bank's batches against single clips in float32."""
    for name, what in FEATURES.items():
        config = bench.sizes.config(name)
        method, clip = bench.method(config).eval(), config.clip
        batch = max(1, bench.sizes.encoded_frames // clip.frames)
        generator = torch.Generator().manual_seed(bench.sizes.seed)
        clips = torch.rand((batch, clip.frames, clip.size, clip.size, 3), generator=generator).to(bench.device)
        clips = clips.permute(0, 1, 4, 2, 3)  # as `to_float` leaves them
        plain = partial(in_customary_layout(method.features), clips[:1].contiguous())
        ours = partial(_autocast, bench.device, config, method.features, clips)
        with torch.inference_mode(), folded(method):
            timing = in_turn({"ours": ours, "plain": plain}, bench.device, bench.sizes.repeats)
        yield Measurement(
            "encode", what, f"{bench.sizes.backbone}, {clip.size} px, batches of {batch * clip.frames} frames",
            "frames/s", batch * clip.frames / timing["ours"].median, clip.frames / timing["plain"].median,
            "a clip at a time, float32", timing["ours"].spread,
        )  # fmt: skip


def _autocast(device: torch.device, config: Config, features: Features, clips: Tensor) -> None:
    with encoding_autocast(device, config):
        features(clips)


def head(bench: Workbench) -> Iterator[Measurement]:
    """One call for all tuples, classes and queries against tuples concatenated and a loop over classes and queries."""
    sizes = bench.sizes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sizes.seed)
        sides = {"cardinalities": (2, 3), "key_dim": 1152, "dropout": 0.0}  # without dropout both forms are the same
        transformer = CrossTransformer("head", sizes.head_dim, FRAMES, **sides).to(bench.device).train()
    support, query = _random_features(bench, sizes.way * sizes.shot), _random_features(bench, sizes.head_queries)

    def fast() -> Tensor:
        stored = Encoded(transformer.encode(support)).reshape(1, sizes.way, sizes.shot)
        return transformer.distance(stored, Encoded(transformer.encode(query)).reshape(1, len(query)))[0]

    def slow() -> Tensor:
        return cross_transformer_distance(transformer, support.unflatten(0, (sizes.way, -1)), query)

    def step(distance: Callable[[], Tensor]) -> Tensor:
        """Distances [Q,N]; their cross-entropy goes backward."""
        transformer.zero_grad(set_to_none=True)
        support.grad = query.grad = None
        distances = distance()
        labels = torch.arange(len(query), device=query.device) % sizes.way
        episode_cross_entropy(-distances.float().unsqueeze(0), labels.unsqueeze(0)).backward()
        return distances.detach()

    expected, amp = step(slow), sizes.config(sizes.methods[0]).train.amp
    difference = float((step(fast) - expected).abs().max() / expected.abs().max())
    for dtype in dict.fromkeys([torch.float32, training_type(bench.device, amp)]):

        def ours(dtype: torch.dtype = dtype) -> Tensor:
            with torch.autocast(bench.device.type, dtype=dtype, enabled=dtype != torch.float32):
                return step(fast)

        timing = in_turn({"ours": ours, "plain": lambda: step(slow)}, bench.device, sizes.repeats)
        flops, loops = flops_of(ours), flops_of(lambda: step(slow))
        yield Measurement(
            "head", f"TRX head, forward and backward, {str(dtype).removeprefix('torch.')}",
            f"{sizes.way}-way {sizes.shot}-shot, {sizes.head_queries} queries, tuples of 2 and 3, {sizes.head_dim}-d",
            "s", timing["ours"].median, timing["plain"].median,
            "tuples concatenated, a loop over classes and queries, float32", timing["ours"].spread,
            {"gflop": flops / 1e9, "gflop_plain": loops / 1e9, "largest_relative_difference": difference},
        )  # fmt: skip


def _random_features(bench: Workbench, videos: int) -> Tensor:
    """Frame features [B,T,D] of random videos, to which gradients flow as to a backbone's."""
    generator = torch.Generator().manual_seed(bench.sizes.seed + videos)
    frames = torch.randn(videos, FRAMES, bench.sizes.head_dim, generator=generator).to(bench.device)
    return frames.requires_grad_()
