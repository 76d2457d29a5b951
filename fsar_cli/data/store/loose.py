"""Frames as files: OUT/class/video/00000001.jpg and their times in seconds.txt."""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from fsar_cli.data.store.clip import ClipFrames
from fsar_cli.data.store.records import Record
from fsar_cli.data.video.picture import from_jpeg
from fsar_cli.errors import DataError, unreadable

SECONDS = "seconds.txt"
AGAIN = "delete that folder and run `fsar extract-frames` again: it fetches only what is missing"


def frame_name(index: int) -> str:
    """File name of the stored frame with a 0-based index."""
    return f"{index + 1:08d}.jpg"


def _link(picture: Path, file: Path) -> None:
    """Give a picture a second name, where the file system can; else a link to its path, else a copy."""
    picture = picture.resolve()  # a link to a link would depend on where it lies
    for way in (os.link, os.symlink):
        with suppress(OSError, NotImplementedError):
            return way(picture, file)
    shutil.copyfile(picture, file)


def remove_folder(root: Path, clip: str) -> None:
    """Remove a clip's folder. The manifest may have come from anywhere: nothing outside the store is ever removed."""
    parts = clip.split("/")
    if len(parts) == 2 and not any(part in ("", ".", "..") for part in parts):
        shutil.rmtree(root / clip, ignore_errors=True)
        with suppress(OSError):  # other clips of the class are there
            (root / clip).parent.rmdir()


class LooseFrames:
    """The kind of store `files`; see `frames.Kind`."""

    reads_videos = False

    def __init__(self, root: Path) -> None:
        self.root = root

    @staticmethod
    def collect(clip: ClipFrames, folder: Path) -> None:
        """Make the folder as it is to be in the store."""
        for number, data in enumerate(clip.jpegs()):
            file = folder / frame_name(number)
            _link(data, file) if isinstance(data, Path) else file.write_bytes(data)
        kept, taken = clip.chosen.kept, clip.chosen.taken
        for index, number in enumerate(kept if len(kept) < taken else ()):
            # Only ever to a lower number, whose own frame has moved on already or was given up.
            (folder / frame_name(number)).replace(folder / frame_name(index))
        for number in range(len(kept), taken):
            (folder / frame_name(number)).unlink(missing_ok=True)
        (folder / SECONDS).write_text("".join(f"{second!r}\n" for second in clip.chosen.times), encoding="utf-8")

    def whole(self, record: Record) -> bool:
        """As `Kind.whole`: the last frame is there, and is not the empty file that a power cut leaves."""
        with suppress(OSError):
            return (self.root / record.id / frame_name(record.frames - 1)).stat().st_size > 0
        return False

    def open(self, records: Sequence[Record]) -> None:
        """Nothing to do."""

    def place(self, record: Record, folder: Path) -> None:
        """Move the folder into its place."""
        place = self.root / record.id
        shutil.rmtree(place, ignore_errors=True)  # left by a run that was killed between the move and the row
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder, place)

    def move(self, record: Record) -> None:
        """Nothing to do: no source is needed any more."""

    def remove(self, record: Record) -> None:
        """Remove the folder."""
        remove_folder(self.root, record.id)

    def close(self) -> None:
        """Nothing is open."""

    def fingerprint(self, record: Record) -> str:
        """When the folder was filled; of linked frames each one's state, as another program may write them anew."""
        folder = self.root / record.id
        last = folder / frame_name(record.frames - 1)
        try:
            linked = last.is_symlink() or last.stat().st_nlink > 1
            frames = [(folder / frame_name(n)).stat() for n in range(record.frames)] if linked else [last.stat()]
            return f"{folder.stat().st_mtime_ns} {sum(f.st_size for f in frames)} {max(f.st_mtime_ns for f in frames)}"
        except OSError as error:
            raise DataError(f"the frame {error.filename} is missing ({error.strerror})", AGAIN) from error

    def seconds(self, record: Record) -> np.ndarray:
        """Times as `FrameStore.seconds`."""
        path = self.root / record.id / SECONDS
        try:
            times = np.array(path.read_text(encoding="utf-8").split(), np.float64)
        except (OSError, ValueError) as error:
            raise unreadable(path, f"the times of '{record.id}' cannot be read: {path}", AGAIN) from error
        if len(times) != record.frames:
            raise DataError(f"{path} holds {len(times)} times for {record.frames} frames", AGAIN)
        return times

    def read(
        self, record: Record, indices: Sequence[int], size: tuple[int, int], interpolation: str
    ) -> np.ndarray:  # fmt: skip
        """Pictures of a size (w, h) as `FrameStore.read`, of indices that exist."""
        pictures = np.empty((len(indices), size[1], size[0], 3), np.uint8)
        for slot, index in enumerate(indices):
            path = self.root / record.id / frame_name(index)
            try:
                pictures[slot] = from_jpeg(path.read_bytes(), size, interpolation)
            except FileNotFoundError as error:
                raise DataError(f"the frame {path} is missing", AGAIN) from error
            except (OSError, ValueError) as error:
                raise unreadable(path, f"the frame {path} is damaged ({error})", AGAIN, error) from error
        return pictures
