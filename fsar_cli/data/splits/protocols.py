"""The published split protocols as facts: class lists, clips per class, where the lists are and their hashes.

One YAML file a protocol in the top-level folder `splits/` (inside the package in an installed wheel). The published
lists themselves are not shipped: where every clip of a class belongs to the protocol, the class lists define it, and
the clip counts tell whether a tree is complete.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import yaml

from fsar_cli.errors import UsageError, did_you_mean

SPLITS = ("train", "val", "test")
"""The names a split may have, in the order they are listed and written."""

STYLES = ("arn", "cmn")
"""arn: every clip of each class; cmn: a fixed number of clips per class."""

_PACKAGE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class ListFile:
    """One list as its authors publish it: path inside the repository, number of videos, SHA-256 of its bytes."""

    path: str
    videos: int
    sha256: str


@dataclass(frozen=True)
class Protocol:
    """One published class split.

    `classes[split][name]` is the number of clips of a class; `groups` the regular expression whose first capture group
    on a video id "class/stem" names the clip's source (empty: none known), `groups_note` says what that source is.
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

    def videos(self, split: str) -> int:
        """Clips of one split."""
        return sum(self.classes[split].values())

    def address(self, split: str) -> str:
        """Where the published list of a split is."""
        return f"{self.repository}/blob/{self.commit}/{self.files[split].path}"


def folder() -> Path:
    """The folder of the protocol files: in the package of an installed wheel, beside it in a checkout."""
    inside = _PACKAGE / "splits"
    return inside if inside.is_dir() else _PACKAGE.parent / "splits"


def _parse(text: str) -> Protocol:
    tree = yaml.safe_load(text)
    source, groups = tree.pop("source"), tree.pop("groups", {})
    re.compile(groups.get("regex", ""))
    return Protocol(
        **{**tree, "classes": MappingProxyType({s: MappingProxyType(tree["classes"][s]) for s in tree["classes"]})},
        repository=source["repository"],
        commit=source["commit"],
        files=MappingProxyType({split: ListFile(**entry) for split, entry in source["files"].items()}),
        groups=groups.get("regex", ""),
        groups_note=groups.get("note", ""),
    )


@cache
def _all() -> Mapping[str, Protocol]:
    found = [_parse(path.read_text(encoding="utf-8")) for path in sorted(folder().glob("*.yaml"))]
    return MappingProxyType({entry.name: entry for entry in found})


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
