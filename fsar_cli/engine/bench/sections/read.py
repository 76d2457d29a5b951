"""Frame store -> clips for the network: how long does a clip take, and how many a second do the loaders give?"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from fsar_cli.data.clips import ClipReader, EvaluationClips, clip_loader
from fsar_cli.data.sampling import even_indices
from fsar_cli.data.store.shards import SHARDS
from fsar_cli.data.transforms import to_float
from fsar_cli.engine.bench.measurement import Measurement
from fsar_cli.engine.bench.plain_frames import read_plainly
from fsar_cli.engine.bench.timing import in_turn, once
from fsar_cli.engine.bench.workbench import Workbench
from fsar_cli.engine.device import loader_workers
from fsar_cli.errors import counted
from fsar_cli.tools.prepare.unpacking import unpack

CPU = torch.device("cpu")
PER_ROUND = 16


def read(bench: Workbench) -> Iterator[Measurement]:
    """A clip from JPEGs to the float tensor of a network, and the loader, against Pillow in one process."""
    config = bench.sizes.config(bench.sizes.methods[0])
    reader, videos = ClipReader(bench.test_set.store, config.clip), bench.test_set.store.ids[: bench.sizes.clips]
    side, short = config.clip.size, config.clip.short_side
    files = loose_clips(bench, videos[:PER_ROUND], config.clip.frames)

    def ours() -> None:
        for video in videos[:PER_ROUND]:
            to_float(torch.from_numpy(reader.evaluation(video)).unsqueeze(0), True)

    def plain() -> None:
        for clip in files:
            read_plainly(clip, short, side)

    found = in_turn({"ours": ours, "plain": plain}, CPU, bench.sizes.repeats)
    one, by_pillow = (1000 * found[name].median / len(files) for name in ("ours", "plain"))
    sizes = f"{config.clip.frames} JPEGs of short side {short}, crop {side}"
    against = "Pillow, picture by picture, one process"
    yield Measurement("read", "a clip, ready for the network", sizes, "ms", one, by_pillow, against,
                      found["ours"].spread)  # fmt: skip
    workers = loader_workers(None, bench.device)
    seconds = once(lambda: _load(reader, tuple(videos), workers), CPU)
    yield Measurement(
        "read", f"clips by loaders ({counted(workers, 'process')})", sizes, "clips/s", len(videos) / seconds,
        1000 / by_pillow, against, details={"clips": len(videos), "start_included": True},
    )  # fmt: skip


def _load(reader: ClipReader, videos: tuple[str, ...], workers: int) -> None:
    for _ in clip_loader(EvaluationClips(reader, videos), 8, workers, pin=False):
        pass


def loose_clips(bench: Workbench, videos: Sequence[str], frames: int) -> list[list[Path]]:
    """The very JPEGs of the store that make the clips, as files, as scripts have them; by video."""
    root, out = bench.test_set.store.root, bench.scratch("unpacked")
    for shard in sorted((root / SHARDS).glob("*.tar")):
        unpack(shard, out, lambda parts: "/".join(parts[:-1]) in videos)
    stored = [sorted((out / video).glob("*.jpg")) for video in videos]
    return [[files[i] for i in even_indices(len(files), frames)] for files in stored]
