"""The cross-transformer of TRX in training: how long do its forward and backward take?"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from fsar_cli.core.layers.attention import CrossTransformer
from fsar_cli.core.losses import episode_cross_entropy
from fsar_cli.core.method import Encoded
from fsar_cli.engine.bench.ceiling import flops_of
from fsar_cli.engine.bench.measurement import Measurement
from fsar_cli.engine.bench.plain import cross_transformer_distance
from fsar_cli.engine.bench.timing import in_turn
from fsar_cli.engine.bench.workbench import Workbench

FRAMES, CARDINALITIES, KEY_DIM = 8, (2, 3), 1152


def head(bench: Workbench) -> Iterator[Measurement]:
    """One call for all tuples, classes and queries against tuples concatenated and a loop over classes and queries."""
    sizes = bench.sizes
    transformer = make_head(sizes.head_dim, bench.device, sizes.seed)
    support, query = episode_features(bench, sizes.way * sizes.shot), episode_features(bench, sizes.head_queries)
    ours = _step(transformer, support, query, lambda: match(transformer, support, query, sizes.way))
    plain = _step(
        transformer, support, query,
        lambda: cross_transformer_distance(transformer, support.unflatten(0, (sizes.way, -1)), query),
    )  # fmt: skip
    expected = plain()
    difference = float((ours() - expected).abs().max() / expected.abs().max())
    yield _measured(bench, ours, plain, bench_type=torch.float32, difference=difference)
    working = bench.working_type(sizes.config(sizes.methods[0]))
    if working is not torch.float32:

        def in_half() -> Tensor:
            with torch.autocast(bench.device.type, dtype=working):
                return ours()

        yield _measured(bench, in_half, plain, bench_type=working, difference=None)


def _measured(
    bench: Workbench, ours: Callable[[], Tensor], plain: Callable[[], Tensor], bench_type: torch.dtype,
    difference: float | None,
) -> Measurement:  # fmt: skip
    sizes = bench.sizes
    found = in_turn({"ours": ours, "plain": plain}, bench.device, sizes.repeats)
    flops, loops, seconds = flops_of(ours), flops_of(plain), found["ours"].median
    name = str(bench_type).removeprefix("torch.")
    return Measurement(
        "head", f"TRX head, forward and backward, {name}",
        f"{sizes.way}-way {sizes.shot}-shot, {sizes.head_queries} queries, tuples of 2 and 3, {sizes.head_dim}-d", "s",
        seconds, found["plain"].median, "tuples concatenated, a loop over classes and queries, float32",
        found["ours"].spread, flops / seconds / bench.ceiling(bench_type),
        {"gflop": flops / 1e9, "gflop_plain": loops / 1e9, "largest_relative_difference": difference},
    )  # fmt: skip


def make_head(dim: int, device: torch.device, seed: int) -> CrossTransformer:
    """A head with random parameters; no dropout, so that both forms compute the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = CrossTransformer("head", dim, FRAMES, cardinalities=CARDINALITIES, key_dim=KEY_DIM, dropout=0.0)
    return made.to(device).train()


def episode_features(bench: Workbench, videos: int) -> Tensor:
    """Frame features [B,T,D] of random videos, to which gradients flow as to a backbone's."""
    generator = torch.Generator().manual_seed(bench.sizes.seed + videos)
    frames = torch.randn(videos, FRAMES, bench.sizes.head_dim, generator=generator).to(bench.device)
    return frames.requires_grad_()


def match(transformer: CrossTransformer, support: Tensor, query: Tensor, way: int) -> Tensor:
    """Distances [Q,N] of queries [Q,T,D] to the classes of support videos [N*K,T,D], class by class."""
    stored = Encoded(transformer.encode(support)).reshape(1, way, len(support) // way)
    return transformer.distance(stored, Encoded(transformer.encode(query)).reshape(1, len(query)))[0]


def _step(
    transformer: CrossTransformer, support: Tensor, query: Tensor, distance: Callable[[], Tensor]
) -> Callable[[], Tensor]:
    """Distance, cross-entropy and backward; returns the distances."""

    def step() -> Tensor:
        transformer.zero_grad(set_to_none=True)
        support.grad = query.grad = None
        found = distance()
        labels = torch.arange(len(query), device=query.device) % found.shape[1]
        episode_cross_entropy(-found.float().unsqueeze(0), labels.unsqueeze(0)).backward()
        return found.detach()

    return step
