"""Does the cost of evaluation grow in proportion to episodes and to test videos, and does memory stay bounded?"""

import math
from collections.abc import Iterator, Sequence
from functools import partial

from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.clips import ClipReader
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.engine.bank import Bank, encode_videos
from fsar_cli.engine.bench.measurement import Measurement
from fsar_cli.engine.bench.peak import peak_memory
from fsar_cli.engine.bench.timing import once
from fsar_cli.engine.bench.workbench import Workbench
from fsar_cli.engine.evaluate import evaluate_bank

MIB = 2**20
WARMUP = 20
"""Episodes matched before the clock starts."""
ROUNDS = 2
"""Of all sizes, so that a moment in which the machine was busy does not bend the line."""


def scaling(bench: Workbench) -> Iterator[Measurement]:
    """Three numbers of episodes and three of videos, on a small network: what grows is what follows it, too."""
    sizes = bench.sizes
    name = "trx" if "trx" in sizes.methods else sizes.methods[0]
    config = sizes.config(name, **{"clip.size": sizes.scaling_side, "model.backbone": sizes.scaling_backbone})
    method = bench.method(config).eval()
    most = max(sizes.scaling_videos)
    made = bench.make_set("scaling", {"test": (sizes.classes, most)}, config.clip.short_side)
    reader, sampler = ClipReader(made.store, config.clip), bench.sampler(made.splits)
    text = f"{name}, {sizes.scaling_backbone}, {sizes.scaling_side} px"

    def encode(videos: int) -> Bank:
        return encode_videos(method, reader, sampler.videos[:videos], bench.device, config)

    encode(min(sizes.scaling_videos) // 4 or 1)
    seconds, memory = measured(bench, {v: partial(encode, v) for v in sizes.scaling_videos})
    yield growth("test videos encoded", text, sizes.scaling_videos, seconds, memory)
    bank = encode(most)
    _match(method, bank, sampler, WARMUP)
    work = {e: partial(_match, method, bank, sampler, e) for e in sizes.scaling_episodes}
    seconds, memory = measured(bench, work)
    text = f"{text}, {most} videos, {sizes.way}-way {sizes.shot}-shot"
    yield growth("episodes matched", text, sizes.scaling_episodes, seconds, memory)
    if all(memory):
        yield Measurement(
            "scaling", "peak memory, most episodes", text, "MiB", memory[-1] / MIB, memory[0] / MIB,
            f"{sizes.scaling_episodes[0]:,} episodes instead of {sizes.scaling_episodes[-1]:,}",
        )  # fmt: skip


def _match(method: FewShotMethod, bank: Bank, sampler: EpisodeSampler, episodes: int) -> None:
    evaluate_bank(method, bank, sampler, episodes)


def measured(bench: Workbench, work: dict) -> tuple[list[float], list[int | None]]:
    """Seconds, the least of some rounds, and peak memory of each piece of work."""
    rounds, memory = [], []
    for number in range(ROUNDS):
        rounds.append([])
        for piece in work.values():
            with peak_memory(bench.device) as peak:
                rounds[-1].append(once(piece, bench.device))
            memory += [peak.bytes] if number == 0 else []
    return [min(times) for times in zip(*rounds, strict=True)], memory


def slope(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Exponent p of seconds ~ size^p, by least squares on the logarithms; 1 is linear."""
    x, y = [math.log(size) for size in sizes], [math.log(second) for second in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - mean_x) ** 2 for a in x)


def growth(
    what: str, text: str, sizes: Sequence[int], seconds: Sequence[float], memory: Sequence[int | None]
) -> Measurement:
    """The largest size against the smallest, multiplied as the size is."""
    exponent = slope(sizes, seconds)
    return Measurement(
        "scaling", f"{sizes[-1]:,} {what} (growth ~ n^{exponent:.2f})", text, "s", seconds[-1],
        seconds[0] * sizes[-1] / sizes[0], f"{sizes[0]:,}, times {sizes[-1] / sizes[0]:.0f}",
        details={"sizes": list(sizes), "seconds": list(seconds), "peak_bytes": list(memory), "exponent": exponent},
    )  # fmt: skip
