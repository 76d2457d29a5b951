"""Clips -> features, and the cross-transformer of TRX in training: how fast, and how much of the machine is used?"""

from collections.abc import Callable, Iterator

import torch
from oracles.episodes import in_customary_layout
from oracles.matching import cross_transformer_distance
from torch import Tensor

from bench.report import Measurement
from bench.timing import flops_of, in_turn
from bench.workbench import Workbench, type_name
from fsar_cli.config import Config
from fsar_cli.core.layers.attention import CrossTransformer
from fsar_cli.core.losses import episode_cross_entropy
from fsar_cli.core.method import Encoded, FewShotMethod
from fsar_cli.engine.device import encoding_autocast, encoding_type, folded, training_type

FEATURES = {"trx": "backbone (global features)", "keyregion": "global and key-region features"}
"""What is encoded, by a method that needs it."""
FRAMES, CARDINALITIES, KEY_DIM = 8, (2, 3), 1152


def encode(bench: Workbench) -> Iterator[Measurement]:
    """The bank's batches against single clips in float32."""
    for method, what in FEATURES.items():
        config = bench.sizes.config(method)
        yield _encoding(bench, bench.method(config).eval(), config, what)


def _encoding(bench: Workbench, method: FewShotMethod, config: Config, what: str) -> Measurement:
    clip, sizes, features = config.clip, bench.sizes, method.features
    batch = max(1, sizes.encoded_frames // clip.frames)
    generator = torch.Generator().manual_seed(sizes.seed)
    clips = torch.rand((batch, clip.frames, clip.size, clip.size, 3), generator=generator).to(bench.device)
    clips = clips.permute(0, 1, 4, 2, 3)  # as `to_float` leaves them
    single, plain = clips[:1].contiguous(), in_customary_layout(features)

    def ours() -> None:
        with encoding_autocast(bench.device, config.train.amp):
            features(clips)

    with torch.inference_mode(), folded(method):
        timing = in_turn({"ours": ours, "plain": lambda: plain(single)}, bench.device, sizes.repeats)
    with torch.no_grad():
        flops = flops_of(lambda: features(clips[:1])) * batch
    seconds = timing["ours"].median
    return Measurement(
        "encode", what, f"{sizes.backbone}, {clip.size} px, batches of {batch * clip.frames} frames", "frames/s",
        batch * clip.frames / seconds, clip.frames / timing["plain"].median, "a clip at a time, float32",
        timing["ours"].spread, bench.share(flops, seconds, encoding_type(bench.device, config.train.amp)),
        {"gflop_per_frame": flops / batch / clip.frames / 1e9, "flops_per_second": flops / seconds},
    )  # fmt: skip


def head(bench: Workbench) -> Iterator[Measurement]:
    """One call for all tuples, classes and queries against tuples concatenated and a loop over classes and queries."""
    sizes = bench.sizes
    transformer = _transformer(sizes.head_dim, bench.device, sizes.seed)
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
        flops, loops, seconds = flops_of(ours), flops_of(lambda: step(slow)), timing["ours"].median
        yield Measurement(
            "head", f"TRX head, forward and backward, {type_name(dtype)}",
            f"{sizes.way}-way {sizes.shot}-shot, {sizes.head_queries} queries, tuples of 2 and 3, {sizes.head_dim}-d",
            "s", seconds, timing["plain"].median, "tuples concatenated, a loop over classes and queries, float32",
            timing["ours"].spread, bench.share(flops, seconds, dtype),
            {"gflop": flops / 1e9, "gflop_plain": loops / 1e9, "largest_relative_difference": difference},
        )  # fmt: skip


def _transformer(dim: int, device: torch.device, seed: int) -> CrossTransformer:
    """With random parameters; no dropout, so that both forms compute the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = CrossTransformer("head", dim, FRAMES, cardinalities=CARDINALITIES, key_dim=KEY_DIM, dropout=0.0)
    return made.to(device).train()


def _random_features(bench: Workbench, videos: int) -> Tensor:
    """Frame features [B,T,D] of random videos, to which gradients flow as to a backbone's."""
    generator = torch.Generator().manual_seed(bench.sizes.seed + videos)
    frames = torch.randn(videos, FRAMES, bench.sizes.head_dim, generator=generator).to(bench.device)
    return frames.requires_grad_()
