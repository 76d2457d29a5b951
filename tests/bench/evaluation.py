"""10,000 test episodes: how long do they take, and how does that grow with episodes and with test videos?"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from oracles.episodes import EpisodeClips, encode_plainly, in_customary_layout, plain_loader
from oracles.matching import plain_scores
from torch import Tensor

from bench.report import Measurement
from bench.timing import Timing, once, peak_memory
from bench.workbench import Workbench
from fsar_cli.config import Config
from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.clips import ClipReader
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.engine.bank import Bank, encode_videos
from fsar_cli.engine.device import loader_workers
from fsar_cli.engine.evaluate import evaluate_bank

MIB = 2**20
WARMUP = 20
"""Episodes matched before the clock starts."""
ROUNDS = 2
"""Of all sizes, so that a moment in which the machine was busy does not bend the line."""


@dataclass
class EncodingTimes:
    """What methods with the same features share, measured once: all test videos, and the videos of an episode."""

    method: str
    """Measured with it."""
    seconds: float
    """Encoding the test videos once."""
    episodes: list[tuple[Tensor, Tensor]]
    """Frame features of the reference's episodes: support [N,K,T,D], query [N,T,D]."""
    plain: Timing
    """Reading and encoding an episode's videos, by episode."""


def evaluate(bench: Workbench) -> Iterator[Measurement]:
    """Encode once and match in batches, against reading and encoding the videos of every episode anew."""
    sampler, times = bench.sampler(bench.test_set.splits), {}
    for name in bench.sizes.methods:
        config = bench.sizes.config(name)
        method = bench.method(config).eval()
        kind = type(method.features).__name__
        if kind not in times:
            times[kind] = _encoding_times(bench, method, config, sampler)
        yield from _compare(bench, method, config, sampler, times[kind])


def _encoding_times(
    bench: Workbench, method: FewShotMethod, config: Config, sampler: EpisodeSampler
) -> EncodingTimes:  # fmt: skip
    seconds = once(lambda: _encode(bench, method, config, sampler), bench.device)
    count = bench.sizes.reference_episodes
    clips = EpisodeClips(ClipReader(bench.test_set.store, config.clip), sampler, normalize=True)
    loader = plain_loader(clips, count, loader_workers(None, bench.device), bench.device.type == "cuda")
    stream = encode_plainly(in_customary_layout(method.features), loader, bench.device)
    episodes, times = [], []
    with bench.reporter.track(f"{config.model.method}: encoding episode by episode", count, "episodes") as task:
        for _ in range(count):
            times.append(once(lambda: episodes.append(next(stream)), bench.device))
            task.advance()
    return EncodingTimes(config.model.method, seconds, episodes, Timing(tuple(times)))


def _encode(bench: Workbench, method: FewShotMethod, config: Config, sampler: EpisodeSampler) -> Bank:
    reader = ClipReader(bench.test_set.store, config.clip)
    return encode_videos(method, reader, sampler.videos, bench.device, config, bench.reporter, bench.cache)


def _compare(
    bench: Workbench, method: FewShotMethod, config: Config, sampler: EpisodeSampler, encoding: EncodingTimes
) -> Iterator[Measurement]:
    sizes, banks = bench.sizes, []
    reading = once(lambda: banks.append(_encode(bench, method, config, sampler)), bench.device)
    matching = once(
        lambda: evaluate_bank(method, banks[0], sampler, sizes.episodes, device=bench.device, reporter=bench.reporter),
        bench.device,
    )
    count = len(encoding.episodes)
    with torch.inference_mode():
        plain_match = once(lambda: [plain_scores(method, *e) for e in encoding.episodes], bench.device) / count
    # The mean, not the median: all episodes together are what it is to be compared with.
    plain_encode = sum(encoding.plain.seconds) / count
    details = {
        "encode_seconds": encoding.seconds, "features_encoded_with": encoding.method, "read_seconds": reading,
        "match_seconds": matching, "plain_encode_seconds_per_episode": plain_encode,
        "plain_match_seconds_per_episode": plain_match, "plain_episodes_measured": count,
        "plain_spread": encoding.plain.spread,
        "largest_relative_difference": largest_difference(method, banks[0], sampler, encoding.episodes),
    }  # fmt: skip
    text = f"{sizes.backbone}, {sizes.side} px, {sizes.videos} videos, {sizes.way}-way {sizes.shot}-shot"
    against = f"every episode encoded anew, float32 (extrapolated from {count})"
    for how, seconds in {"cold": encoding.seconds + matching, "warm": reading + matching}.items():
        yield Measurement(
            "evaluate", f"{config.model.method}, {sizes.episodes:,} episodes, {how}", text, "s", seconds,
            sizes.episodes * (plain_encode + plain_match), against, details=details,
        )  # fmt: skip


@torch.inference_mode()
def largest_difference(
    method: FewShotMethod, bank: Bank, sampler: EpisodeSampler, episodes: list[tuple[Tensor, Tensor]]
) -> float:
    """Of our scores and the plain ones on the first episodes, relative to the largest score."""
    drawn = sampler.batch(0, len(episodes))
    ours = method.match(
        bank.encoded.take(torch.from_numpy(drawn.support).to(bank.device)),
        bank.encoded.take(torch.from_numpy(drawn.query).flatten(1).to(bank.device)),
    ).logits
    plain = torch.cat([plain_scores(method, *frames).logits for frames in episodes]).to(ours.device)
    return float((ours - plain).abs().max() / plain.abs().max())


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
    yield growth("test videos encoded", text, *measured(bench, encode, sizes.scaling_videos))
    bank = encode(most)
    match = partial(evaluate_bank, method, bank, sampler)
    match(WARMUP)
    text = f"{text}, {most} videos, {sizes.way}-way {sizes.shot}-shot"
    seconds, memory = measured(bench, match, sizes.scaling_episodes)
    yield growth("episodes matched", text, seconds, memory)
    first, *_, last = sizes.scaling_episodes
    if all(memory.values()):
        yield Measurement(
            "scaling", "peak memory, most episodes", text, "MiB", memory[last] / MIB, memory[first] / MIB,
            f"{first:,} episodes instead of {last:,}",
        )  # fmt: skip


def measured(
    bench: Workbench, work: Callable[[int], object], sizes: tuple[int, ...]
) -> tuple[dict[int, float], dict[int, int | None]]:
    """By size the seconds of work, the least of some rounds, and its peak memory in the first."""
    seconds, memory = dict.fromkeys(sizes, math.inf), {}
    for _ in range(ROUNDS):
        for size in sizes:
            with peak_memory(bench.device) as peak:
                seconds[size] = min(seconds[size], once(partial(work, size), bench.device))
            memory.setdefault(size, peak.bytes)
    return seconds, memory


def slope(seconds: Mapping[int, float]) -> float:
    """Exponent p of seconds ~ size^p, by least squares on the logarithms; 1 is linear."""
    x, y = [math.log(size) for size in seconds], [math.log(second) for second in seconds.values()]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - mean_x) ** 2 for a in x)


def growth(what: str, text: str, seconds: Mapping[int, float], memory: Mapping[int, int | None]) -> Measurement:
    """The largest size against the smallest, multiplied as the size is."""
    exponent, (first, *_, last) = slope(seconds), seconds
    return Measurement(
        "scaling", f"{last:,} {what} (growth ~ n^{exponent:.2f})", text, "s", seconds[last],
        seconds[first] * last / first, f"{first:,}, times {last / first:.0f}",
        details={"sizes": list(seconds), "seconds": list(seconds.values()), "peak_bytes": list(memory.values()),
                 "exponent": exponent},
    )  # fmt: skip
