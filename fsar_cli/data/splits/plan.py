"""What a split file is to hold: the videos chosen, and class by class how many the rule asks for and the tree has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fsar_cli.errors import DataError


@dataclass(frozen=True)
class ClassCount:
    """One class of a split: its folder (None: absent), videos the rule asks for and videos there are.

    `found` counts annotated videos where the rule does, and with lists only what they name. `ambiguous` are listed
    videos that several files answer to; `examples` some of the listed ids that are missing or ambiguous, each with
    what there is in its place.
    """

    split: str
    cls: str
    folder: str | None
    wanted: int
    found: int
    ambiguous: int = 0
    examples: tuple[str, ...] = ()

    @property
    def missing(self) -> int:
        """Videos that are asked for and not there."""
        return max(self.wanted - self.found - self.ambiguous, 0)


@dataclass(frozen=True)
class SplitPlan:
    """Rows (split, class, tree id), the classes' counts, and the header lines that say where they come from.

    `left_out` {class: videos} has too few for the rule; `groups` {tree id: group} are known beforehand;
    `by_name_alone` says that no class had a folder, so that videos were looked for in all of them.
    """

    rows: Sequence[tuple[str, str, str]]
    classes: tuple[ClassCount, ...]
    header: Mapping[str, str]
    left_out: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, str] | None = None
    by_name_alone: bool = False

    def refuse_incomplete(self) -> None:
        """Nothing, if all that is asked for is there.

        Raises:
            DataError: videos are missing or ambiguous; names classes, counts and examples.
        """
        missing, ambiguous = (sum(getattr(e, key) for e in self.classes) for key in ("missing", "ambiguous"))
        if not missing and not ambiguous:
            return
        absent = [line.cls for line in self.classes if line.folder is None]
        short = [f"{e.cls} ({e.found} of {e.wanted})" for e in self.classes if e.folder and (e.missing or e.ambiguous)]
        examples = [example for line in self.classes for example in line.examples[:1]]
        parts = [f"no folder for {some(absent)}"] if absent else []
        parts += [f"too few videos of {some(short)}"] if short else []
        parts += [f"for example {', '.join(examples[:3])}"] if examples else []
        what = [f"{missing} videos are missing"] if missing else []
        what += [f"{ambiguous} videos could be one of several files"] if ambiguous else []
        raise DataError(
            f"{' and '.join(what)}: {'; '.join(parts)}",
            "complete the tree, or take what there is with --allow-missing (the report says what is missing)",
        )


def some(names: Sequence[str], most: int = 8) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more
