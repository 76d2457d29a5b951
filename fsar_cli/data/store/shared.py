"""Decoded frames in memory that all processes of a training run share: each is decoded once over the whole run.

    [ video a: its frames one after the other | video b ... | one byte a frame: whether it is there ]

Room is laid out for the frames that training can ask for (`reachable_indices`: some 50 of a long video), at the clip's
short side, and memory is taken as frames arrive, whichever process reads one first. Pixels are written before the byte
that says so; two processes that write the same frame at once write the same pixels. The memory has no name in any file
system: it goes with the last process, however that ends.
"""

import mmap
import os
import threading
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing import reduction
from typing import Any, Literal

import numpy as np

from fsar_cli.config import ClipConfig
from fsar_cli.data.sampling import reachable_indices
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.video import scaled_size
from fsar_cli.files import available_memory
from fsar_cli.reporting import Reporter

GIB = 2**30
AVAILABLE = hasattr(os, "memfd_create")
"""Whether the system gives such memory (Linux does)."""


@dataclass(frozen=True, slots=True)
class Room:
    """Where the frames of a video go."""

    indices: np.ndarray
    """int64 ascending: the frames there is room for."""
    height: int
    width: int
    first_byte: int
    first_flag: int

    @property
    def bytes(self) -> int:
        """Bytes of its pixels."""
        return len(self.indices) * self.height * self.width * 3


def lay_out(store: FrameStore, videos: Iterable[str], clip: ClipConfig, limit: float = float("inf")) -> dict[str, Room]:
    """Rooms for as many of the videos as fit into `limit` bytes, in the order given."""
    rooms, byte, flag = {}, 0, 0
    for video in videos:
        record = store.record(video)
        width, height = scaled_size(record.width, record.height, clip.short_side)
        spread = clip.rate is None
        indices = reachable_indices(record.frames, clip.frames, clip.jitter) if spread else np.arange(record.frames)
        room = Room(indices, height, width, byte, flag)
        if byte + room.bytes + flag + len(room.indices) <= limit:
            rooms[video] = room
            byte, flag = byte + room.bytes, flag + len(room.indices)
    return rooms


def bytes_of(rooms: dict[str, Room]) -> int:
    """Bytes that rooms take when they are full."""
    return sum(room.bytes + len(room.indices) for room in rooms.values())


def share_frames(
    store: FrameStore,
    videos: Sequence[str],
    clip: ClipConfig,
    setting: float | Literal["auto", "off"],
    share: float,
    reporter: Reporter,
) -> "SharedFrames | None":
    """`train.frame_cache`: memory for the frames of training videos, none of them read yet; None where there is none.

    Args:
        setting: GiB (as many videos as fit), `auto` (all videos, if they fit) or `off`.
        share: of the free memory, that `auto` may take.
    """
    if setting == "off" or not AVAILABLE:
        if setting not in ("off", "auto"):
            reporter.warn("train.frame_cache: this system has no memory that processes share without a file")
        return None
    free = available_memory()
    if setting == "auto":
        rooms, limit = lay_out(store, videos, clip), share * free
        if bytes_of(rooms) > limit:
            reporter.detail(
                f"training frames are not kept: {bytes_of(rooms) / GIB:.1f} GiB decoded, and {limit / GIB:.1f} may be "
                "taken (train.frame_cache=GIB keeps a part)"
            )
            return None
    else:
        if setting * GIB > free:
            reporter.warn(f"train.frame_cache: {setting:g} GiB asked for, {free / GIB:.1f} are free and are taken")
        rooms = lay_out(store, videos, clip, min(setting * GIB, free))
    try:
        shared = SharedFrames(store, rooms, (clip.short_side, clip.interpolation))
    except OSError as error:
        reporter.warn(f"training frames are not kept in memory: {error}")
        return None
    part = "" if len(rooms) == len(videos) else f" of {len(rooms)} of {len(videos)} videos"
    reporter.detail(f"training frames{part} are kept in memory: at most {bytes_of(rooms) / GIB:.2f} GiB")
    return shared


class SharedFrames:
    """Reads frames as `FrameStore.read` does, to the bit, and keeps those it has room for.

    Copies in other processes, forked or sent, share the memory.
    """

    def __init__(self, store: FrameStore, rooms: dict[str, Room], scaling: tuple[int, str]) -> None:
        """
        Args:
            rooms: as `lay_out` gives them.
            scaling: short side and interpolation of the frames, as `FrameStore.read` takes them.

        Raises:
            OSError: the system does not give the memory.
        """
        self.store, self.rooms, self.scaling = store, rooms, scaling
        descriptor = os.memfd_create("fsar-frames")
        try:
            os.ftruncate(descriptor, max(1, bytes_of(rooms)))
        except OSError:
            os.close(descriptor)
            raise
        self._map(descriptor)

    def _map(self, descriptor: int) -> None:
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)
        memory = np.frombuffer(mmap.mmap(descriptor, os.fstat(descriptor).st_size), np.uint8)
        pixels = sum(room.bytes for room in self.rooms.values())
        self._pixels, self._there = memory[:pixels], memory[pixels:]

    def __getstate__(self) -> dict[str, Any]:
        return {
            "store": self.store, "rooms": self.rooms, "scaling": self.scaling,
            "descriptor": reduction.DupFd(self._descriptor),
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.store, self.rooms, self.scaling = state["store"], state["rooms"], state["scaling"]
        self._map(state["descriptor"].detach())

    def __contains__(self, video: object) -> bool:
        return video in self.rooms

    @property
    def filled(self) -> int:
        """Frames that are there."""
        return int(self._there.sum())

    def read(self, video: str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Pictures by 0-based index, in the order asked for: uint8 RGB [T,h,w,3].

        Raises:
            DataError: as `FrameStore.read`.
        """
        room = self.rooms.get(video)
        slots = None if room is None else _slots(room.indices, indices)
        if room is None or slots is None:
            return self.store.read(video, indices, *self.scaling)
        size, end = (room.height, room.width, 3), room.first_byte + room.bytes
        pixels = self._pixels[room.first_byte : end].reshape(-1, *size)
        there = self._there[room.first_flag : room.first_flag + len(room.indices)]
        missing = np.unique(slots[there[slots] == 0])
        _in_order()
        if len(missing):
            pixels[missing] = self.store.read(video, room.indices[missing], *self.scaling)
            _in_order()
            there[missing] = 1
        pictures: np.ndarray = pixels[slots]
        return pictures


def _slots(kept: np.ndarray, indices: Sequence[int] | np.ndarray) -> np.ndarray | None:
    """Positions of indices among those there is room for; None where one is not among them."""
    slots = np.searchsorted(kept, indices)
    inside = slots < len(kept)
    return slots if inside.all() and (kept[slots] == indices).all() else None


def _in_order() -> None:
    """Memory accesses before stay before those after, on processors that would reorder them too: what locks are for."""
    lock = threading.Lock()
    for _ in range(2):
        with lock:
            pass
