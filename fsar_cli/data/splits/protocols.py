"""The published split protocols as facts: class lists, clips per class, where the lists are and their hashes.

One YAML file a protocol in the top-level folder `splits/` (inside the package in an installed wheel). The published
lists themselves are not shipped. Which clips of its classes belong to a protocol is its field `videos`:

- `all`: every clip; the class lists define the protocol, and the clip counts tell whether a tree is complete.
- `listed`: those of the published lists, which are read from the user's disk or fetched (`lists`, `fetching`).
- `annotated`: every segment of temporal annotations; the counts are the annotated videos the segments are cut from.

Other lists that go about under the name of a protocol are its `variants`; their hashes are how they are recognised.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from fsar_cli.data.naming import fold
from fsar_cli.errors import UsageError, did_you_mean

SPLITS = ("train", "val", "test")
"""The names a split may have, in the order they are listed and written."""

STYLES = ("arn", "cmn")
"""Ways to split any tree. arn: every clip of each class; cmn: a fixed number of clips per class."""

CLIPS = ("all", "listed", "annotated")
"""Which clips of its classes belong to a protocol."""

_PACKAGE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class ListFile:
    """One list as its authors publish it: path inside the repository, number of videos, SHA-256 of its bytes."""

    path: str
    videos: int
    sha256: str


@dataclass(frozen=True)
class Variant:
    """Lists of other authors for the same protocol: short name, one sentence on how they differ, and where they are."""

    name: str
    note: str
    repository: str
    commit: str
    files: Mapping[str, ListFile]


@dataclass(frozen=True)
class Protocol:
    """One published class split.

    `classes[split][name]` is the number of clips of a class (of videos where `clips`, one of CLIPS, is `annotated`);
    a split that the protocol lacks is absent. `groups` is the regular expression whose first capture group on a video
    id "class/stem" names the clip's source (empty: none known), `groups_note` says what that source is.
    """

    name: str
    title: str
    dataset: str
    style: str
    citation: str
    repository: str
    commit: str
    files: Mapping[str, ListFile]
    groups: str
    groups_note: str
    licence: str
    classes: Mapping[str, Mapping[str, int]]
    clips: str = "all"
    variants: tuple[Variant, ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits the protocol has."""
        return tuple(split for split in SPLITS if self.classes.get(split))

    @property
    def needs_lists(self) -> bool:
        """Whether the class lists do not tell which clips belong to it."""
        return self.clips == "listed"

    def videos(self, split: str) -> int:
        """Clips of one split; 0 where the protocol has no such split."""
        return sum(self.classes.get(split, {}).values())

    def address(self, split: str) -> str:
        """Where the published list of a split is; annotations are in an archive, to which the README links."""
        if self.clips == "annotated":
            return f"{self.repository}/blob/{self.commit}/README.md, in its archive {self.files[split].path}"
        return f"{self.repository}/blob/{self.commit}/{self.files[split].path}"


def folder() -> Path:
    """The folder of the protocol files: in the package of an installed wheel, beside it in a checkout."""
    inside = _PACKAGE / "splits"
    return inside if inside.is_dir() else _PACKAGE.parent / "splits"


def _files(files: Mapping[str, Mapping[str, Any]]) -> Mapping[str, ListFile]:
    return MappingProxyType({split: ListFile(**file) for split, file in files.items()})


def _parse(text: str) -> Protocol:
    tree = yaml.safe_load(text)
    source, groups, clips = tree.pop("source"), tree.pop("groups", {}), tree.pop("videos", "all")
    variants = [Variant(**{**variant, "files": _files(variant["files"])}) for variant in tree.pop("variants", ())]
    re.compile(groups.get("regex", ""))
    if clips not in CLIPS:
        raise ValueError(f"videos: {clips}, allowed: {', '.join(CLIPS)}")
    classes = {split: MappingProxyType(tree["classes"][split]) for split in SPLITS if tree["classes"].get(split)}
    return Protocol(
        **{**tree, "classes": MappingProxyType(classes)},
        repository=source["repository"],
        commit=source["commit"],
        files=_files(source["files"]),
        groups=groups.get("regex", ""),
        groups_note=groups.get("note", ""),
        clips=clips,
        variants=tuple(variants),
    )


@cache
def _all() -> Mapping[str, Protocol]:
    shipped = [_parse(path.read_text(encoding="utf-8")) for path in sorted(folder().glob("*.yaml"))]
    return MappingProxyType({chosen.name: chosen for chosen in shipped})


def protocols() -> dict[str, Protocol]:
    """All shipped protocols by name, in alphabetical order."""
    return dict(_all())


def protocol(name: str) -> Protocol:
    """One protocol.

    Raises:
        UsageError: no protocol of that name.
    """
    known = protocols()
    if name not in known:
        hint = did_you_mean(name, known) or f"protocols: {', '.join(known)}; styles for any tree: {', '.join(STYLES)}"
        raise UsageError(f"unknown protocol '{name}'", hint)
    return known[name]


def protocols_of(dataset: str) -> tuple[str, ...]:
    """Names of the protocols of a data set, which may be named by its title or by the first part of their names.

    >>> protocols_of("HMDB51"), protocols_of("ssv2"), protocols_of("kinetics100-cmn")
    (('hmdb51-arn',), ('ssv2-cmn', 'ssv2-otam'), ('kinetics100-cmn',))
    """
    asked = fold(dataset)
    return tuple(
        chosen.name
        for chosen in protocols().values()
        if asked in (fold(chosen.name), fold(chosen.dataset), fold(chosen.name.rpartition("-")[0]))
    )
