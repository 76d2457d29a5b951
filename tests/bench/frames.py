"""Video files -> frame store -> clips for the network: how many frames and clips a second?"""

import shutil
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from oracles.frames import extract_plainly, read_plainly

from bench.report import Measurement
from bench.testset import MAX_WORKERS, write_videos
from bench.timing import in_turn
from bench.workbench import Workbench
from fsar_cli.config import ExtractConfig
from fsar_cli.data.clips import ClipReader
from fsar_cli.data.sampling import even_indices
from fsar_cli.data.store.extraction import extract as extract_frames
from fsar_cli.data.store.shards import SHARDS
from fsar_cli.data.store.sources import find_videos
from fsar_cli.data.transforms import to_float
from fsar_cli.files import cores
from fsar_cli.recipes import IMAGENET

CPU = torch.device("cpu")
SHORT_SIDE = 256
PER_ROUND = 16


def extract(bench: Workbench) -> Iterator[Measurement]:
    """Decode, scale and store video files with all cores, against one process that uses Pillow."""
    root = bench.scratch("rendered")
    videos = write_videos(root, [f"class/video_{number}" for number in range(bench.sizes.extracted)], bench.sizes.seed)
    settings, workers = ExtractConfig(short_side=SHORT_SIDE), cores(MAX_WORKERS)
    counts = {}

    def ours() -> None:
        out = bench.folder / "extracted"
        shutil.rmtree(out, ignore_errors=True)
        counts["ours"] = extract_frames(find_videos([root / "videos"]).sources, out, settings, workers).frames

    def plain() -> None:
        counts["plain"] = extract_plainly(videos, bench.scratch("extracted-plainly"), SHORT_SIDE, settings.quality)

    repeats = replace(bench.sizes.repeats, least=2, most=3, warmup=0)
    timing = in_turn({"ours": ours, "plain": plain}, bench.device, repeats)
    yield Measurement(
        "extract", "video files to JPEG frames", f"{len(videos)} videos of 320 x 240, short side {SHORT_SIDE}",
        "frames/s", counts["ours"] / timing["ours"].median, counts["plain"] / timing["plain"].median,
        "one process, full RGB frames, scaled and saved by Pillow", timing["ours"].spread,
        details={"workers": workers, "frames": counts["ours"]},
    )  # fmt: skip


def read(bench: Workbench) -> Iterator[Measurement]:
    """A clip from JPEGs to the float tensor of a network, against Pillow."""
    config = bench.sizes.config(bench.sizes.methods[0])
    reader, videos = ClipReader(bench.test_set.store, config.clip), bench.test_set.store.ids[:PER_ROUND]
    side, short = config.clip.size, config.clip.short_side
    files = loose_clips(bench, videos, config.clip.frames)

    def ours() -> None:
        for video in videos:
            to_float(torch.from_numpy(reader.evaluation(video)).unsqueeze(0), IMAGENET)

    def plain() -> None:
        for clip in files:
            read_plainly(clip, short, side)

    timing = in_turn({"ours": ours, "plain": plain}, CPU, bench.sizes.repeats)
    one, by_pillow = (1000 * timing[name].median / len(files) for name in ("ours", "plain"))
    yield Measurement(
        "read", "a clip, ready for the network", f"{config.clip.frames} JPEGs of short side {short}, crop {side}",
        "ms", one, by_pillow, "Pillow, picture by picture", timing["ours"].spread,
    )  # fmt: skip


def loose_clips(bench: Workbench, videos: Sequence[str], frames: int) -> list[list[Path]]:
    """The very JPEGs of the store that make the clips, as files, as scripts have them; by video."""
    root, out = bench.test_set.store.root, bench.scratch("unpacked")
    for shard in sorted((root / SHARDS).glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in [m for m in tar if m.name.rpartition("/")[0] in videos]:
                (out / member.name).parent.mkdir(parents=True, exist_ok=True)
                (out / member.name).write_bytes(tar.extractfile(member).read())
    stored = [sorted((out / video).glob("*.jpg")) for video in videos]
    return [[files[i] for i in even_indices(len(files), frames)] for files in stored]
