"""Folders of pictures, as other tools leave a video: `00000001.jpg` (TRX, CMN), `img_00001.jpg` (mmaction2), `0.png`.

The last number in a name is the frame's; order and times follow the numbers, not the spelling: 10 comes after 9, and
with a gap in the numbers goes a gap in time. Optical flow beside the pictures (`flow_x_00001.jpg`) is passed over.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from fsar_cli.data.video import printable
from fsar_cli.data.video.opening import check_size
from fsar_cli.data.video.picture import from_jpeg, resized, to_jpeg
from fsar_cli.errors import DataError, counted

_FRAME = re.compile(r"(.*?)([0-9]+)\.(?:jpe?g|png)", re.IGNORECASE | re.DOTALL)
_FLOW = re.compile(r"flow[xyuv]?(?:[_-].*)?|[xy][_-]?", re.IGNORECASE | re.DOTALL)
_FLOW_FOLDER = re.compile(r"flow(?:[_-]?[xyuv])?|[xyuv]", re.IGNORECASE)
_PARTS = re.compile(r"(?:.*[_-])?(?:train|training|val|valid|validation|test|testing)", re.IGNORECASE)
_PLAIN = frozenset(("rgb", "img", "imgs", "image", "images", "frame", "frames"))
DEEPEST = 3
"""Folders between a tree's root and the pictures, at most."""
ORIENTATION = 0x0112  # the tag of a camera that was held turned; 1: it was not


def frame_number(name: str) -> tuple[str, int] | None:
    """(what stands before it, number) of a picture's name; None for files that are no frames, and for flow."""
    parts = None if name.startswith(".") else _FRAME.fullmatch(name)
    return None if parts is None or _FLOW.fullmatch(parts[1]) else (parts[1], int(parts[2]))


@dataclass(frozen=True)
class Pictures:
    """The frames of one folder."""

    folder: Path
    files: dict[int, Path]
    """By their numbers, ascending."""
    trouble: str = ""
    """Why the folder is no video; empty: it is one."""
    others: int = 0
    """Numbered pictures of other names, which are left out."""

    def remark(self) -> str:
        """What is odd about the folder, in words: numbers left out where every one, or every n-th, is expected."""
        steps = np.diff(list(self.files))
        missing = int((steps // steps.min() - 1).sum()) if len(steps) else 0
        first, last = (path.name for path in (next(iter(self.files.values())), self.files[max(self.files)]))
        gap = [f"{counted(missing, 'number')} missing between {first} and {last}"] if missing else []
        return ", ".join(gap + ([f"{counted(self.others, 'picture')} of other names left out"] if self.others else []))

    def size(self) -> tuple[int, int]:
        """(width, height) of the first picture, upright. Raises DataError: there is none, or it is damaged."""
        if self.trouble:
            raise DataError(f"{printable(self.folder)}: {self.trouble}")
        path = next(iter(self.files.values()))
        return self._opened(path, self._bytes(path)).size

    def times(self, rate: float, start: float, end: float | None) -> dict[Path, float]:
        """The pictures of a stretch, with their seconds since the folder's first.

        Raises:
            DataError: there is none in it.
        """
        first = next(iter(self.files), 0)
        seconds = {path: (number - first) / rate for number, path in self.files.items()}
        chosen = {path: time for path, time in seconds.items() if time >= start and (end is None or time < end)}
        if not chosen:
            until = "its end" if end is None else f"{end:g} s"
            last = f"its last comes after {max(seconds.values(), default=0.0):g} s"
            raise DataError(f"{printable(self.folder)}: has no frame between {start:g} s and {until}; {last}")
        return chosen

    def jpeg(self, path: Path, size: tuple[int, int], quality: int) -> bytes | Path:
        """A picture as a JPEG of a size (w, h): the very file where it is one. Raises DataError: it is damaged."""
        data = self._bytes(path)
        image = self._opened(path, data)
        try:
            if image.format == "JPEG" and image.size == size:
                from_jpeg(data, size)  # whatever is listed in a store can be read
                return path
            return to_jpeg(np.ascontiguousarray(resized(image.convert("RGB"), size)), quality)
        except (OSError, ValueError, SyntaxError) as error:
            raise self._damaged(path, error) from error

    def _bytes(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            text = f"its picture {printable(path.name)} cannot be read ({error.strerror})"
            raise DataError(f"{printable(self.folder)}: {text}") from error

    def _opened(self, path: Path, data: bytes) -> Image.Image:
        """The picture, upright; decoded only where it must be turned."""
        try:
            image = Image.open(BytesIO(data))
            check_size(path, *image.size)
            return image if image.getexif().get(ORIENTATION, 1) == 1 else ImageOps.exif_transpose(image)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise self._damaged(path, error) from error

    def _damaged(self, path: Path, error: Exception) -> DataError:
        reason = "no picture" if "BytesIO" in str(error) else str(error)  # Pillow names the object it was given
        return DataError(f"{printable(self.folder)}: its picture {printable(path.name)} is damaged ({reason})")


def read_pictures(folder: Path) -> Pictures:
    """List the frames of a folder; of several series the longest. Raises OSError."""
    runs: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for name in os.listdir(folder):
        if frame := frame_number(name):
            runs[frame[0]].append((frame[1], name))
    if not runs:
        return Pictures(folder, {}, "holds no numbered pictures (.jpg, .jpeg or .png)")
    longest = max(map(len, runs.values()))
    prefix, *others = (prefix for prefix, run in sorted(runs.items()) if len(run) == longest)
    run = sorted(runs[prefix])
    files = {number: folder / name for number, name in run}
    trouble = f"holds two series of pictures, such as {run[0][1]} and {min(runs[others[0]])[1]}" if others else ""
    if len(files) < len(run):
        twice = next(pair for pair in pairwise(run) if pair[0][0] == pair[1][0])
        trouble = f"holds two pictures of one number, {twice[0][1]} and {twice[1][1]}"
    return Pictures(folder, files, printable(trouble), sum(map(len, runs.values())) - len(run))


def holds_pictures(root: Path) -> bool:
    """Whether some tool left folders of pictures here. Raises OSError."""
    return any(filled for _, filled in _walk(root, (), []))


@dataclass
class FoundFolders:
    """What a tree of pictures holds."""

    videos: dict[Path, tuple[str, str]]
    """{folder: (class, name)}; empty folders among them are there to be named as failed."""
    others: list[Path]
    """Files that are no frames, hidden ones and optical flow apart."""


def find_folders(root: Path) -> FoundFolders:
    """Look for folders of pictures.

    | pictures lie in        | class                                      | name              |
    |------------------------|--------------------------------------------|-------------------|
    | `ROOT`                 | the folder that ROOT lies in               | `ROOT`            |
    | `ROOT/VIDEO`           | `ROOT`                                     | `VIDEO`           |
    | `ROOT/CLASS/VIDEO`     | `CLASS`                                    | `VIDEO`           |
    | `ROOT/CLASS/VIDEO/rgb` | `CLASS`                                    | `VIDEO`           |
    | `ROOT/CLASS/A/B`       | `CLASS`                                    | `A_B`             |
    | `ROOT/train/CLASS/B`   | `CLASS`; so for val, test, `rawframes_val` | `B`               |

    Raises:
        OSError: a folder that cannot be listed.
    """
    found: dict[tuple[str, ...], bool] = {}
    others: list[Path] = []
    for folder, filled in _walk(root, (), others):
        found[folder] = filled
    levels = {len(parts) for parts, filled in found.items() if filled}
    named = {root.joinpath(*parts): _named(root, parts) for parts in found if len(parts) in levels}
    return FoundFolders(named, others)


def _walk(root: Path, parts: tuple[str, ...], others: list[Path]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """(parts of the path below the root, whether pictures lie there) of folders with pictures and of empty ones."""
    folders, pictures, strange = [], 0, []
    with os.scandir(root.joinpath(*parts)) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders += [entry.name] if not parts or not _FLOW_FOLDER.fullmatch(entry.name) else []
            elif frame_number(entry.name):
                pictures += 1
            elif not _FRAME.fullmatch(entry.name):
                strange.append(Path(entry.path))
    others += strange
    # A preview or two beside a class's folders make no video of it, nor does a folder of thumbnails unmake one.
    if pictures > len(folders) or not folders:
        yield parts, pictures > 0
    elif len(parts) < DEEPEST:
        for name in sorted(folders):
            yield from _walk(root, (*parts, name), others)
    else:
        others.append(root.joinpath(*parts))


def _named(root: Path, parts: tuple[str, ...]) -> tuple[str, str]:
    """(class, name) of a folder by its path below the root."""
    root = root.resolve()
    above = (root.parent.name, root.name)[len(parts) :] if len(parts) < 2 else ()
    if len(parts) == DEEPEST and _PARTS.fullmatch(parts[0]):
        parts = parts[1:]
    if len(parts) == DEEPEST and parts[-1].lower() in _PLAIN:
        parts = parts[:-1]
    parts = (*above, *parts) if above else parts
    return parts[0], "_".join(parts[1:])
