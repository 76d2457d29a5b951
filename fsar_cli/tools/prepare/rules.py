"""What differs between the data sets: which class a video belongs to, what is left out, what describes the videos."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fsar_cli.data.naming import fold
from fsar_cli.data.splits.protocols import protocols
from fsar_cli.tools.prepare.archives import archive_stem
from fsar_cli.tools.prepare.searching import Entry


@dataclass(frozen=True)
class Place:
    """Where a video belongs: class folder and file name."""

    label: str
    name: str
    repaired: bool = False
    """Whether it was published to take the place of a broken one."""


class Rules:
    """The rules of one data set; a module a data set fills them in."""

    name = ""
    """On the command line."""
    preset = ""
    """The preset that the project file starts from."""
    protocol = ""
    """The published split whose classes and counts are expected, where it is shipped."""
    annotated = False
    """Whether clips are to be cut from its videos by temporal annotations."""
    parts: Mapping[str, int] = {}
    """Number of parts of sets of archives, by folded name without the number."""

    def __init__(self, normal: bool = False) -> None:
        self.normal = normal

    @property
    def wish(self) -> str:
        """What is wanted of an archive, as a word: changed wishes unpack it anew."""
        return f"{self.name}+normal" if self.normal else self.name

    def unwanted(self, parents: tuple[str, ...], name: str) -> str:
        """Why a video need not even be unpacked; empty: it is wanted."""
        return ""

    def learn(self, texts: Iterable[Entry]) -> None:
        """Read what describes the videos, before the first is placed."""

    def place(self, video: Entry) -> Place | str:
        """Where a video belongs, or why it has no place."""
        raise NotImplementedError

    def annotation(self, text: Entry) -> Path | None:
        """Where below OUT/annotations a text file belongs; None: nowhere."""
        return None

    def expected(self) -> dict[str, int]:
        """Videos of each class in the published protocol; empty where it is not shipped."""
        shipped = protocols().get(self.protocol)
        return {name: n for split in shipped.classes.values() for name, n in split.items()} if shipped else {}


@lru_cache(maxsize=10_000)
def folded(name: str) -> str:
    """The folded name of a folder, or of an archive without its endings."""
    return fold(archive_stem(name) or name)


def nearest(parents: tuple[str, ...], known: Mapping[str, str]) -> str | None:
    """The class that the innermost possible folder is named after; `known` is {folded name: class}."""
    return next((known[folded(name)] for name in reversed(parents) if folded(name) in known), None)


def by_fold(names: Iterable[str]) -> dict[str, str]:
    """{folded name: name}."""
    return {fold(name): name for name in names}
