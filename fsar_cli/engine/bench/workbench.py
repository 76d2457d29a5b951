"""What the sections of a benchmark share: device, sizes, a folder that goes away, ceilings measured once."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from fsar_cli.config import Config
from fsar_cli.core.build import build_method
from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.data.splits import Splits
from fsar_cli.engine.bench.ceiling import TYPES, copy_bandwidth, product_ceiling, type_name
from fsar_cli.engine.bench.sizes import Sizes
from fsar_cli.engine.bench.testset import SyntheticSet, bytes_a_video, make_set
from fsar_cli.engine.device import autocast, place
from fsar_cli.errors import DataError
from fsar_cli.files import Cache
from fsar_cli.reporting import SILENT, Reporter

FEATURE_BYTES = 8 * 4096 * 4
"""Of a video: T frames of the widest features in float32."""
MIB = 2**20


@dataclass
class Workbench:
    """One benchmark at work."""

    device: torch.device
    sizes: Sizes
    folder: Path
    """For everything written; removed at the end."""
    reporter: Reporter = SILENT
    ceilings: dict[str, float] = field(default_factory=dict)
    """FLOP/s by type and `copy` bytes/s, as far as they were asked for."""

    def ceiling(self, dtype: torch.dtype) -> float:
        """FLOP/s of the fastest matrix product of a type; measured when first asked for."""
        if not self.ceilings:
            self.reporter.log("measuring what matrix products and copies reach here")
            repeats, types = self.sizes.ceiling_repeats, TYPES[self.device.type]
            self.ceilings |= {type_name(kind): product_ceiling(self.device, kind, repeats) for kind in types}
            self.ceilings["copy"] = copy_bandwidth(self.device, repeats)
        return self.ceilings[type_name(dtype)]

    def working_type(self, config: Config) -> torch.dtype:
        """What the networks of a configuration compute in while they are trained."""
        with autocast(self.device, config.train.amp):
            return torch.bfloat16 if torch.is_autocast_enabled(self.device.type) else torch.float32

    def share(self, flops: int, seconds: float, dtype: torch.dtype) -> float:
        """Of the ceiling of the type that is computed in."""
        return flops / seconds / self.ceiling(dtype)

    def method(self, config: Config) -> FewShotMethod:
        """A method with random weights on the device, as training and evaluation place it."""
        return place(build_method(config, seed=self.sizes.seed), self.device, config.train.channels_last)

    @cached_property
    def test_set(self) -> SyntheticSet:
        """The test videos; made when first asked for."""
        sizes = self.sizes
        side = sizes.config(sizes.methods[0]).clip.short_side
        return self.make_set("test", {"test": (sizes.classes, sizes.videos)}, side, sizes.distinct)

    def make_set(
        self, name: str, videos: dict[str, tuple[int, int]], short_side: int, distinct: int | None = None
    ) -> SyntheticSet:
        """A synthetic set in the folder."""
        seed, reporter = self.sizes.seed, self.reporter
        return make_set(
            self.scratch(name), videos, short_side=short_side, distinct=distinct, seed=seed, reporter=reporter
        )

    def sampler(self, splits: Splits) -> EpisodeSampler:
        """Test episodes, one query a class."""
        sizes = self.sizes
        return EpisodeSampler(splits, "test", way=sizes.way, shot=sizes.shot, queries=1, seed=sizes.seed)

    @cached_property
    def cache(self) -> Cache:
        """A cache of features of the benchmark's own."""
        return Cache(self.folder / "features")

    def scratch(self, name: str) -> Path:
        """An empty folder, in place of an earlier one of that name."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path


@contextmanager
def workbench(device: torch.device, sizes: Sizes, reporter: Reporter = SILENT) -> Iterator[Workbench]:
    """A workbench whose folder is removed at the end of the block, whatever happens in it.

    Raises:
        DataError: too little disk.
    """
    folder = Path(tempfile.mkdtemp(prefix="fsar-bench-"))
    try:
        _check_disk(folder, sizes, reporter)
        yield Workbench(device, sizes, folder, reporter)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def disk_need(sizes: Sizes) -> int:
    """Bytes that a benchmark of these sizes writes at most, about."""
    videos = max(sizes.videos, *sizes.scaling_videos)
    return videos * (bytes_a_video(round(sizes.side * 256 / 224)) + 2 * FEATURE_BYTES) + 512 * MIB


def _check_disk(folder: Path, sizes: Sizes, reporter: Reporter) -> None:
    need, free = disk_need(sizes), shutil.disk_usage(folder).free
    reporter.log(f"temporary data: up to {need / MIB:.0f} MiB in {folder}, removed at the end")
    if free < need:
        raise DataError(
            f"{folder.parent} has {free / MIB:.0f} MiB free, the benchmark needs up to {need / MIB:.0f}",
            "name another folder for temporary files in TMPDIR, or use --quick",
        )
