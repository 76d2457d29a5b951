"""Names: which files are videos, the id a video gets, and when two spellings of a name mean the same class."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from fsar_cli.errors import DataError

# fmt: off
VIDEO_EXTENSIONS = frozenset((
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4",
    ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv",
))
# fmt: on
"""File name endings, in lower case, that count as videos; capitals do not matter."""

_FOLDED = re.compile(r"[\s_\-()\[\]{}]+")


def fold(name: str) -> str:
    """The form under which class names are compared.

    Unicode NFKC, case folded, without white space, underscores, hyphens and brackets: `hurling (sport)`,
    `hurling_(sport)` and `Hurling-Sport` are one class.
    """
    return _FOLDED.sub("", unicodedata.normalize("NFKC", name).casefold())


def match_folders(wanted: Iterable[str], folders: Iterable[str]) -> dict[str, str]:
    """{class name: folder name} for the classes that have a folder: the same name, else the same folded name.

    Raises:
        DataError: two folders answer to one class name and neither is spelt like it.
    """
    by_fold: dict[str, list[str]] = {}
    for name in sorted(folders):
        by_fold.setdefault(fold(name), []).append(name)
    found = {}
    for name in wanted:
        candidates = by_fold.get(fold(name), [])
        if name in candidates:
            found[name] = name
        elif len(candidates) > 1:
            raise DataError(
                f"the class '{name}' could be the folder {' or '.join(map(repr, candidates))}",
                "merge the folders, or rename one to the class name exactly",
            )
        elif candidates:
            found[name] = candidates[0]
    return found


def ids_of_files(cls: str, names: Iterable[str]) -> dict[str, str]:
    """{file name: video id} for the video files of one class folder."""
    names = sorted(names)
    stems = Counter(Path(name).stem for name in names)
    return {name: f"{cls}/{name if stems[Path(name).stem] > 1 else Path(name).stem}" for name in names}
