"""What became of the sources of a store since they were extracted.

| the source                                           | its clip                                                   |
|------------------------------------------------------|------------------------------------------------------------|
| has its size and time                                | stays                                                      |
| has its content at another time or place             | stays, and the manifest takes the new time and place       |
| has another content                                  | is extracted anew                                          |
| is another video elsewhere, the old one is as it was | refused: two videos cannot be one clip                     |
| is gone                                              | stays and is named, until it is pruned                     |
| was extracted before stores remembered their sources | is extracted anew if elsewhere or newer than the manifest  |
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from fsar_cli.data.splits.plan import some
from fsar_cli.data.store.origin import content_of, is_gone, state_of
from fsar_cli.data.store.records import MANIFEST, Record, has_manifest, read_manifest
from fsar_cli.data.store.sources import Source
from fsar_cli.data.video import printable
from fsar_cli.errors import UsageError, counted
from fsar_cli.reporting import SILENT, Reporter


@dataclass
class Changes:
    """The clips, by their ids, whose sources are not what and where they were."""

    moved: dict[str, Record] = field(default_factory=dict)
    """Rows that remember the new time and place of the same content."""
    replaced: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    """{one that is gone: a video to extract that has its content}."""

    def lines(self, pruned: bool) -> Iterator[str]:
        """A sentence about each kind of change that matters, with names."""
        if self.replaced:
            yield f"{counted(len(self.replaced), 'clip')} replaced, as the source has changed: {_names(self.replaced)}"
        if self.gone:
            fate = "are removed" if pruned else "stay until --prune removes them"
            yield f"{counted(len(self.gone), 'clip')} whose source is gone {fate}: {_names(self.gone)}"
        if self.renamed:
            now = [f"{new} was {old}" for old, new in self.renamed.items()]
            yield f"{len(now)} of them under another name now: {_names(now)}"


def _names(names: Sequence[str]) -> str:
    return printable(some(names))


def compare(
    root: Path,
    records: Mapping[str, Record],
    videos: Sequence[Source],
    by_content: bool = False,
    reporter: Reporter = SILENT,
) -> Changes:
    """Compare the rows of a store with the videos that an extraction found.

    Args:
        by_content: read every video whole, also where size and time are what they were.

    Raises:
        UsageError: two different videos would be one clip.
    """
    changes, places = Changes(), {video.id: video.path for video in videos}
    there = [record for record in records.values() if record.id in places]
    since = (root / MANIFEST).stat().st_mtime_ns if there else 0
    with reporter.track("compare", len(there), "videos") as bar:
        for record in there:
            _judge(root, record, places[record.id], since, by_content, changes)
            bar.advance()
    changes.gone = [r.id for r in records.values() if is_gone(places.get(r.id, Path(r.source)))]
    new = [video for video in videos if video.id not in records] if changes.gone else []
    changes.renamed = dict(_renamed([records[name] for name in changes.gone], new))
    return changes


def _judge(root: Path, record: Record, path: Path, since: int, by_content: bool, changes: Changes) -> None:
    try:
        size, time = state_of(path)
        if _same(record, path, (size, time), since, by_content):
            now = replace(record, source=str(path), source_size=size, source_time=time)
            if now != record:
                changes.moved[record.id] = now
            return
    except OSError:  # it is gone, or cannot be read now: what is stored stays
        return
    if record.source != str(path) and is_unchanged(record):
        where = f"{printable(record.source)} in {root}, and {printable(path)} is another video"
        hint = "extract them into two stores, or give one of them another name or class"
        raise UsageError(f"'{printable(record.id)}' is {where}", hint)
    changes.replaced.append(record.id)


def _same(record: Record, path: Path, now: tuple[int, int], since: int, by_content: bool) -> bool:
    if not record.source_size:
        return record.source == str(path) and now[1] <= since
    if now == (record.source_size, record.source_time) and not by_content:
        return True
    return now[0] == record.source_size and content_of(path) == record.source_content


def is_unchanged(record: Record) -> bool:
    """Whether the source of a clip is where it was extracted from, with its size and time, as far as is known."""
    with suppress(OSError):
        return state_of(Path(record.source)) == (record.source_size, record.source_time)
    return False


def stale(root: Path, by_content: bool = True, reporter: Reporter = SILENT) -> dict[str, str]:
    """{clip of a store: "changed" or "gone"}: its source is another than it was, or not there any more.

    Where no source at all is there, they were put away on purpose: a store does without them.

    Args:
        by_content: read a source whose time alone is another, to see whether it has changed.
    """
    records = [record for record in read_manifest(root) if record.source_size] if has_manifest(root) else []
    state = {}
    with reporter.track("compare", len(records), "videos") as bar:
        for record in records:
            state[record.id] = _state(record, by_content)
            bar.advance()
    some_there = set(state.values()) - {"gone"}
    return {name: what for name, what in state.items() if what and (some_there or what != "gone")}


def _state(record: Record, by_content: bool) -> str:
    path = Path(record.source)
    if is_gone(path):
        return "gone"
    if is_unchanged(record):
        return ""
    with suppress(OSError):
        same = by_content and state_of(path)[0] == record.source_size and content_of(path) == record.source_content
        return "" if same else "changed"
    return ""  # it cannot be looked at now


def _renamed(gone: Sequence[Record], new: Sequence[Source]) -> Iterator[tuple[str, str]]:
    by_size = defaultdict(list)
    for video in new:
        with suppress(OSError):
            by_size[state_of(video.path)[0], video.span[0] if video.span else 0.0].append(video)
    for record in gone:
        for video in by_size.get((record.source_size, record.start), ()):
            with suppress(OSError):
                if content_of(video.path) == record.source_content:
                    yield record.id, video.id
                    break
