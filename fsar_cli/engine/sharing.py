"""`train.frame_cache`: whether decoded training frames are kept in shared memory, and how many."""

import torch

from fsar_cli.data.clips import ClipReader
from fsar_cli.data.store.shared import AVAILABLE, SharedFrames, bytes_of, lay_out
from fsar_cli.files import available_memory
from fsar_cli.reporting import Reporter

GIB = 2**30
# Share of the free memory that `auto` may take. A network on the CPU needs more of it for itself.
SHARE = {"cuda": 0.5, "cpu": 0.25}


def share_frames(
    reader: ClipReader, videos: tuple[str, ...], setting: float | str, device: torch.device, reporter: Reporter
) -> SharedFrames | None:
    """Shared memory for the frames of training videos, none of them read yet; None where there is to be none.

    Args:
        setting: GiB (as many videos as fit), `auto` (all videos, if they fit into SHARE of the free memory) or `off`.
    """
    if setting == "off" or not AVAILABLE:
        if setting not in ("off", "auto"):
            reporter.warn("train.frame_cache: this system has no memory that processes share without a file")
        return None
    free = available_memory()
    if setting == "auto":
        rooms, limit = lay_out(reader.store, videos, reader.clip), SHARE[device.type] * free
        if bytes_of(rooms) > limit:
            reporter.detail(
                f"training frames are not kept: {bytes_of(rooms) / GIB:.1f} GiB decoded, and {limit / GIB:.1f} may be "
                "taken (train.frame_cache=GIB keeps a part)"
            )
            return None
    else:
        if setting * GIB > free:
            reporter.warn(f"train.frame_cache: {setting:g} GiB asked for, {free / GIB:.1f} are free and are taken")
        rooms = lay_out(reader.store, videos, reader.clip, min(setting * GIB, free))
    try:
        shared = SharedFrames(reader.store, rooms, reader.clip.short_side)
    except OSError as error:
        reporter.warn(f"training frames are not kept in memory: {error}")
        return None
    part = "" if len(rooms) == len(videos) else f" of {len(rooms)} of {len(videos)} videos"
    reporter.detail(f"training frames{part} are kept in memory: at most {bytes_of(rooms) / GIB:.2f} GiB")
    return shared
