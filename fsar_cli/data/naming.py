"""Names: which files are videos, the id a video gets, and when two spellings of a name mean the same class or video.

The one rule by which names of a list are found in a tree:

1. A class is the folder whose name is the same once folded: Unicode NFKC, no capitals, white space, punctuation or
   brackets; only where two numbers meet does a gap remain. Where none of the list's classes has a folder (anonymous
   classes, one flat folder, other folders) a video is looked for in the whole tree.
2. A video is the file with, in this order:
   the same name; the same name but for the video extension, in any case;
   the same Kinetics id: 11 characters, never folded, as `-abc` and `_abc`, `Abc` and `abc` are different videos. Time
   stamps are compared as numbers; a name without them answers to any; other stamps are another clip;
   the same name once folded, if it is no Kinetics id.
3. `name (1)`, `name - Copy`, `name copy` stand for `name` only where nothing else does.
4. Each step accepts a pair only if nothing else on either side answers to it: whatever has two candidates, or shares
   one, is ambiguous and never guessed. What a step has settled is out of the later ones.

| the list says                 | the tree has                                     | that is                       |
|-------------------------------|--------------------------------------------------|-------------------------------|
| `hurling (sport)/a`           | `Hurling_(sport)/a.MP4`                          | the video                     |
| `x/snap-clap!_0`              | `x/snap-clap!_0.avi`, `x/Snap_Clap_0.avi`        | the first                     |
| `x/snap-clap!_0`              | `x/Snap_Clap_0.avi`, `x/snapclap_0.avi`          | ambiguous                     |
| `x/v_HandStand_g01`           | `x/v_Handstand_g01.avi`                          | the video                     |
| `x/a_goo_11`                  | `x/a_goo_1 (1).avi`                              | missing (a copy of `a_goo_1`) |
| `x/-abcdefghij_000086_000096` | `x/-abcdefghij_86_96.mp4` or `x/-abcdefghij.mkv` | the video                     |
| `x/-abcdefghij_000086_000096` | `x/-abcdefghij_000010_000020.mp4`                | missing, named another clip   |
| `x/-abcdefghij_000086_000096` | `x/_abcdefghij_000086_000096.mp4`                | missing                       |
| `train8/78687`                | `videos/78687.webm`                              | the video                     |
| `x/a`                         | `x/a.avi`, `x/a.mp4`                             | ambiguous, unlike `x/a.avi`   |
| `x/a`                         | `x/a (1).avi`                                    | the video                     |
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Container, Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fsar_cli.errors import DataError

# fmt: off
VIDEO_EXTENSIONS = frozenset((
    ".264", ".265", ".3g2", ".3gp", ".amv", ".asf", ".avc", ".avi", ".dav", ".divx", ".dv", ".f4v", ".flv", ".gif",
    ".h264", ".h265", ".hevc", ".ivf", ".m1v", ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mk3d", ".mkv",
    ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mpv", ".mts", ".mxf", ".nut", ".obu", ".ogm", ".ogv", ".qt", ".rm",
    ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".wtv", ".xvid", ".y4m",
))
# fmt: on
"""File name endings, in lower case, that count as videos; capitals do not matter."""

_SEPARATORS = re.compile(r"[\W_]+")
_LONE_GAP = re.compile(r" (?!\d)|(?<!\d) ")
_KINETICS = re.compile(r"([A-Za-z0-9_-]{11})(?:_(\d{1,6})_(\d{1,6}))?")
_COPY = re.compile(r"(?:\s*\(\d{1,3}\)|\s*\(copy\)|(?:\s+-)?\s+copy(?:\s*\(?\d{1,3}\)?)?)$", re.IGNORECASE)

_Form = Callable[[str], str | None]
_Key = Callable[[str], Hashable]


def fold(name: str) -> str:
    """The form under which names are compared.

    Unicode NFKC, case folded, without white space, punctuation and brackets: `hurling (sport)`, `hurling_(sport)` and
    `Hurling-Sport` are one class. A gap between two digits remains, as a space: `1_11` is not `11_1`.
    """
    plain = unicodedata.normalize("NFKC", name).casefold()
    if plain.isascii():
        spaced = _SEPARATORS.sub(" ", plain)
    else:
        # \W would take vowel signs and other marks for punctuation.
        spaced = "".join(mark if unicodedata.category(mark)[0] in "LMN" else " " for mark in plain)
        spaced = " ".join(spaced.split())
    return _LONE_GAP.sub("", spaced) or plain


def bare(name: str) -> str:
    """A file's name without its ending, if that is one of a video."""
    stem, dot, ending = name.rpartition(".")
    return stem if stem and f"{dot}{ending}".lower() in VIDEO_EXTENSIONS else name


def is_storable(name: str) -> bool:
    """Whether a file could be called so: JSON may escape half a sign, or one that is none."""
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def slashed(path: str) -> str:
    """A path of Windows with slashes; beside a slash, a backslash is part of a name."""
    return path if "/" in path else path.replace("\\", "/")


def match_folders(wanted: Iterable[str], folders: Iterable[str]) -> dict[str, str]:
    """{class name: folder name} for the classes that have a folder: the same name, else the same folded name.

    Raises:
        DataError: two folders answer to one class name and neither is spelt like it.
    """
    by_fold: dict[str, list[str]] = {}
    for name in sorted(folders):
        by_fold.setdefault(fold(name), []).append(name)
    folder_of = {}
    for name in wanted:
        candidates = by_fold.get(fold(name), [])
        if name in candidates:
            folder_of[name] = name
        elif len(candidates) > 1:
            raise DataError(
                f"the class '{name}' could be the folder {' or '.join(map(repr, candidates))}",
                "merge the folders, or rename one to the class name exactly",
            )
        elif candidates:
            folder_of[name] = candidates[0]
    return folder_of


def ids_of_files(cls: str, names: Iterable[str]) -> dict[str, str]:
    """{file name: video id} for the video files of one class folder."""
    names = sorted(names)
    stems = Counter(Path(name).stem for name in names)
    return {name: f"{cls}/{name if stems[Path(name).stem] > 1 else Path(name).stem}" for name in names}


@dataclass(frozen=True)
class Matches:
    """What became of the wanted ids: each is in exactly one of the first three, sorted; a tree id is found once."""

    found: dict[str, str]
    """{wanted id: tree id}."""
    missing: tuple[str, ...]
    ambiguous: dict[str, tuple[str, ...]]
    """{wanted id: the tree ids it could be}; one candidate alone if another wanted id claims it too."""
    other_clips: dict[str, tuple[str, ...]]
    """{missing id: tree ids of the same Kinetics video with other time stamps}."""
    anywhere: bool = False
    """Whether no class had a folder, so that the whole tree was searched."""


def match_videos(wanted: Iterable[str], ids: Iterable[str]) -> Matches:
    """Find the videos of a list in a tree by the rule above; the order of either does not matter.

    Args:
        wanted: ids "class/name" as the list has them.
        ids: the tree's ids "folder/name" (`ids_of_files`).
    """
    search = _Search(wanted, ids)
    search.step(str, str, (str, str))
    for form in (bare, _original):  # copies have their turn when everything else has had its own
        for keys in _KEYS:
            search.step(bare, form, keys)
    return search.matches()


def _original(name: str) -> str | None:
    """The stem that a renamed copy is a copy of; None for other names."""
    stem = bare(name)
    plain = _COPY.sub("", stem)
    return plain if plain and plain != stem else None


def _kinetics(stem: str) -> tuple[str, tuple[int, int] | None] | None:
    parts = _KINETICS.fullmatch(stem)
    if not parts or not parts[2]:
        return parts and (parts[1], None)
    stamps = int(parts[2]), int(parts[3])
    return (parts[1], stamps) if stamps[0] < stamps[1] else None


def _clip(stem: str) -> Hashable:
    """Kinetics id and time stamps; None without both."""
    parts = _kinetics(stem)
    return parts if parts and parts[1] else None


def _video_of_clip(stem: str) -> Hashable:
    """Kinetics id of a name with time stamps."""
    parts = _kinetics(stem)
    return parts[0] if parts and parts[1] else None


def _whole_video(stem: str) -> Hashable:
    """Kinetics id of a name without time stamps."""
    parts = _kinetics(stem)
    return parts[0] if parts and not parts[1] else None


def _folded(stem: str) -> Hashable:
    return None if _kinetics(stem) else fold(stem)


def _folded_unmarked(stem: str) -> Hashable:
    # Folded, `a_1 (1)`, a copy of the first clip, would be `a_1_1`, and `a (1)` would be the first clip.
    return None if _COPY.search(stem) else fold(stem)


def _folded_marked(stem: str) -> Hashable:
    return fold(stem) if _COPY.search(stem) else None


_KEYS = (
    (str, str),
    (_clip, _clip),
    (_video_of_clip, _whole_video),
    (_whole_video, _video_of_clip),
    (_folded, _folded_unmarked),
    (_folded_marked, _folded_marked),
)
"""What must be equal, step by step, of a wanted stem and of a file's; None abstains."""


class _Names:
    """Ids as (id, place, form of the name); the place is the folded class in which a wanted name and a file meet."""

    def __init__(self, ids: Iterable[str], places: Mapping[str, str]) -> None:
        self._parts = [(name, places[folder], rest) for name in ids for folder, _, rest in [name.rpartition("/")]]
        self._under: dict[_Form, list[tuple[str, str, str]]] = {}

    def under(self, form: _Form) -> list[tuple[str, str, str]]:
        if form not in self._under:
            parts = self._parts
            self._under[form] = [(n, place, stem) for n, place, rest in parts if (stem := form(rest)) is not None]
        return self._under[form]


class _Search:
    """What is settled so far, and the wanted names and files that are left."""

    def __init__(self, wanted: Iterable[str], ids: Iterable[str]) -> None:
        wanted, ids = set(wanted), set(ids)
        self.found = {name: name for name in wanted & ids}
        self.ambiguous: dict[str, tuple[str, ...]] = {}
        self.left, self.free = wanted - ids, ids - wanted
        classes, folders = ({name.rpartition("/")[0] for name in names} for names in (wanted, ids))
        places = {name: fold(name) for name in classes | folders}
        self.anywhere = {places[name] for name in classes}.isdisjoint(places[name] for name in folders)
        if self.anywhere:
            places = dict.fromkeys(places, "")
        self.wanted, self.files = _Names(wanted, places), _Names(ids, places)

    def step(self, of_wanted: _Form, of_file: _Form, keys: tuple[_Key, _Key]) -> None:
        """Settle the wanted names whose key some free file has."""
        wanted = self.wanted.under(of_wanted) if self.left else []
        open_names = _grouped((name for name in wanted if name[0] in self.left), keys[0])
        if not open_names:
            return
        answers = _grouped((name for name in self.files.under(of_file) if name[0] in self.free), keys[1], open_names)
        # Names that were found before count as well: the file may be a second one of theirs.
        rivals = _grouped(wanted, fold if keys[0] is _folded else keys[0], answers)
        for key, candidates in answers.items():
            if len(rivals[key]) == len(candidates) == 1:
                self.found[open_names[key][0]] = candidates[0]
            else:
                self.ambiguous |= dict.fromkeys(open_names[key], tuple(sorted(candidates)))
            self.left.difference_update(open_names[key])
            self.free.difference_update(candidates)

    def matches(self) -> Matches:
        missing = _grouped((name for name in self.wanted.under(bare) if name[0] in self.left), _video_of_clip)
        others = _grouped(self.files.under(bare), _video_of_clip, missing) if missing else {}
        clips = {name: tuple(sorted(others[key])) for key in others for name in missing[key]}
        found, ambiguous = dict(sorted(self.found.items())), dict(sorted(self.ambiguous.items()))
        return Matches(found, tuple(sorted(self.left)), ambiguous, dict(sorted(clips.items())), self.anywhere)


def _grouped(
    names: Iterable[tuple[str, str, str]], of: _Key, among: Container[Hashable] | None = None
) -> dict[Hashable, list[str]]:
    """{(place, key): ids} of the names that have a key; only those of `among`, if given."""
    groups: dict[Hashable, list[str]] = {}
    for name, place, stem in names:
        value = of(stem)
        if value is not None and (among is None or (place, value) in among):
            groups.setdefault((place, value), []).append(name)
    return groups
