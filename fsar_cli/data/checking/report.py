"""What a check of a split file against a tree goes by, and what it finds.

A listed video can have these problems:
- `missing`: the tree has no such video; the detail names other clips of the same source video, if there are any.
- `ambiguous`: several videos of the tree could be it; the detail names them.
- `undecodable`: it is there and cannot be read to its end; the detail is the reason.
- `short`: it has fewer frames than a clip takes.
- `spelling`: the tree spells its name otherwise; the detail is the tree's id. It counts as found, and episodes can be
  drawn from it once the split file has that id.
- `changed`, `gone`: its clip in the frame store was made from a video that has changed, or is gone, since.
- `duplicate`: another split holds the same content; the detail names it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from fsar_cli.errors import counted

PROBLEMS = ("missing", "ambiguous", "undecodable", "short", "spelling", "changed", "gone", "duplicate")
UNUSABLE = PROBLEMS[:4]
"""Problems that keep a video out of episodes."""
HARMLESS = frozenset(("short", "gone"))


@dataclass(frozen=True)
class Shape:
    """What an episode of a split is to hold."""

    way: int
    shot: int
    queries: int
    group_disjoint: bool = False

    def __str__(self) -> str:
        disjoint = ", other groups than the support's" if self.group_disjoint else ""
        return f"{self.way}-way {self.shot}-shot, {counted(self.queries, 'query')} a class{disjoint}"


@dataclass(frozen=True)
class VideoFacts:
    """What is known of a tree's videos beyond their names."""

    least: int = 1
    """Frames that a video must have."""
    frames: Mapping[str, int] | None = None
    """{tree id: frames}; None where nobody has counted."""
    undecodable: Mapping[str, str] | None = None
    """{tree id: reason}; None where nobody has tried."""
    stale: Mapping[str, str] = field(default_factory=dict)
    """{tree id: `changed` or `gone`} of clips in the frame store."""
    twins: Mapping[str, str] = field(default_factory=dict)
    """{tree id: what of another split has the same content}."""


UNSEEN = VideoFacts()
"""Nothing is known."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with one listed video; see the module docstring."""

    split: str
    cls: str
    video: str
    problem: str
    detail: str


@dataclass(frozen=True)
class ClassCheck:
    """One class of a split in numbers of videos; wanted = found + missing + ambiguous."""

    split: str
    cls: str
    wanted: int
    """Videos that the split file lists."""
    found: int
    missing: int
    ambiguous: int
    undecodable: int | None
    """None: not tried."""
    short: int | None
    """None: not known."""
    spelling: int
    changed: int
    gone: int
    duplicate: int
    usable: int
    """Found, long enough and decodable, as far as that is known."""
    published: int | None
    """Videos of the class in the published protocol that the file follows, if it does."""
    enough: bool
    """Whether the usable videos are enough for shot + queries."""


@dataclass(frozen=True)
class SplitCheck:
    """One split: what is left of the whole, and whether the wanted episodes can be drawn from it."""

    split: str
    classes: int
    """Classes that the split file lists."""
    left: int
    """Those of them with a usable video."""
    protocol: str | None
    """Published protocol that the file follows: its videos are the whole. None: the whole is what the file lists."""
    whole: int
    lacking: int
    """Videos of the whole that cannot be used."""
    extra: int
    """Usable videos beyond the protocol's number of their class."""
    shape: Shape
    touched: float
    """About the share of the whole's episodes that hold a lacking or extra video; no accuracy can differ by more."""
    problem: str
    """Why the episodes cannot be drawn from the usable videos; empty if they can."""
    remedy: str


@dataclass(frozen=True)
class Check:
    """The whole report; `unlisted` are the tree's videos that the split file does not name."""

    classes: tuple[ClassCheck, ...]
    problems: tuple[Problem, ...]
    splits: tuple[SplitCheck, ...]
    unlisted: int
    counts: Counter[str] = field(default_factory=Counter)
    """Videos by problem."""
    harmless: frozenset[str] = HARMLESS
    """Problems that do not count against the whole, unless a split cannot do without their videos."""

    @property
    def listed(self) -> int:
        """Videos of the split file."""
        return sum(line.wanted for line in self.classes)

    @property
    def ok(self) -> bool:
        """Every listed video is there under its id, as far as was looked at, and every split can be drawn from."""
        bad = any(self.counts[kind] for kind in PROBLEMS if kind not in self.harmless)
        return not bad and not any(split.problem for split in self.splits)
