"""Frame stores of small videos, made by extractions in this process, and what lies in them."""

from pathlib import Path

from fsar_cli.config import ExtractConfig
from fsar_cli.data.store.extraction import ExtractResult, extract
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.sources import find_videos
from fsar_cli.reporting import SILENT, Reporter


def extracted(
    videos: Path, out: Path, workers: int = 0, overwrite: bool = False, reporter: Reporter = SILENT, **settings: object
) -> ExtractResult:
    """An extraction of a folder of videos or of one; short side 32 unless told."""
    wanted = ExtractConfig(**{"short_side": 32} | settings)
    return extract(find_videos([videos]).sources, out, wanted, workers, reporter, overwrite)


def stored(videos: Path, out: Path, kind: str, **settings: object) -> FrameStore:
    """The store of a kind."""
    assert not extracted(videos, out, store=kind, **settings).failed
    return FrameStore(out)


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file of a store but the lock."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.name != ".lock"}
