"""Frames as files: OUT/class/video/00000001.jpg and their times in seconds.txt."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fsar_cli.data.store import jpeg
from fsar_cli.data.store.records import Record
from fsar_cli.errors import DataError

SECONDS = "seconds.txt"
AGAIN = "delete that folder and run `fsar extract-frames` again: it fetches only what is missing"


def frame_name(index: int) -> str:
    """File name of the stored frame with a 0-based index."""
    return f"{index + 1:08d}.jpg"


class LooseSink:
    """Where a worker leaves a video's JPEGs: the folder as it is to be."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._files, self._count = folder, [], 0

    def add(self, data: bytes) -> None:
        """Take the next frame."""
        self._files.append(self._folder / frame_name(self._count))
        self._files[-1].write_bytes(data)
        self._count += 1

    def drop(self, position: int) -> None:
        """Give up one of the frames taken and kept so far."""
        self._files.pop(position).unlink()

    def finish(self, times: Sequence[float]) -> None:
        """Number the frames and write their times."""
        for index, file in enumerate(self._files if len(self._files) < self._count else ()):
            file.rename(self._folder / frame_name(index))  # only ever to a lower number, and that one is free
        (self._folder / SECONDS).write_text("".join(f"{second!r}\n" for second in times), encoding="utf-8")


class LooseWriter:
    """Moves finished folders into their places."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def whole(self, record: Record) -> bool:
        """Whether a listed video is still there."""
        return (self.root / record.id / frame_name(record.frames - 1)).is_file()

    def open(self, records: Sequence[Record]) -> None:
        """Begin to add to the videos listed."""

    def place(self, record: Record, folder: Path) -> None:
        """Take what a worker left in a folder."""
        place = self.root / record.id
        shutil.rmtree(place, ignore_errors=True)  # left by a run that was killed between the move and the row
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder, place)

    def close(self) -> None:
        """Nothing is open."""


class LooseFrames:
    """Reads the frames."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def fingerprint(self, record: Record) -> str:
        """When the folder was filled."""
        return str((self.root / record.id).stat().st_mtime_ns)

    def seconds(self, record: Record) -> np.ndarray:
        """Times as `FrameStore.seconds`."""
        path = self.root / record.id / SECONDS
        try:
            times = np.array(path.read_text(encoding="utf-8").split(), np.float64)
        except (OSError, ValueError) as error:
            raise DataError(f"the times of '{record.id}' cannot be read: {path}", AGAIN) from error
        if len(times) != record.frames:
            raise DataError(f"{path} holds {len(times)} times for {record.frames} frames", AGAIN)
        return times

    def read(self, record: Record, indices: Sequence[int], size: tuple[int, int]) -> np.ndarray:
        """Pictures of a size (w, h) as `FrameStore.read`, of indices that exist."""
        pictures = np.empty((len(indices), size[1], size[0], 3), np.uint8)
        for slot, index in enumerate(indices):
            path = self.root / record.id / frame_name(index)
            try:
                pictures[slot] = jpeg.decode(path.read_bytes(), size)
            except FileNotFoundError as error:
                raise DataError(f"the frame {path} is missing", AGAIN) from error
            except (OSError, ValueError) as error:
                raise DataError(f"the frame {path} is damaged ({error})", AGAIN) from error
        return pictures
