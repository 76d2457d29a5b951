"""Which published lists a protocol is made from: files on disk, known by their hash, or the network.

A list that is not the protocol's own is never taken silently: where it is a known variant it is named, and only who
asks for it gets it, with the variant in the split file's header.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fsar_cli.data.naming import fold
from fsar_cli.data.splits.fetching import LARGEST, fetch
from fsar_cli.data.splits.protocols import Protocol, Variant
from fsar_cli.data.splits.published import anonymous, read_bytes, read_list
from fsar_cli.errors import DataError, UsageError
from fsar_cli.reporting import SILENT, Reporter

OTHER = "other-lists"
"""The variant of lists whose hashes are unknown."""


@dataclass(frozen=True)
class Lists:
    """The lists of a protocol: (class, video) of each line by split, classes spelt as the protocol spells them.

    `variant` is "" for the protocol's own, else whose they are; `hashes` the SHA-256 of each file.
    """

    protocol: Protocol
    lines: Mapping[str, Sequence[tuple[str, str]]]
    hashes: Mapping[str, str]
    variant: str = ""


@dataclass(frozen=True)
class _File:
    path: Path
    sha256: str


def find_lists(
    protocol: Protocol, given: Sequence[Path] = (), accept: bool = False, reporter: Reporter = SILENT
) -> Lists:
    """Read a protocol's lists.

    Args:
        given: files, or folders that hold them under any name and at any depth; none: the cache or the network.
        accept: take lists other than the protocol's own.

    Raises:
        UsageError: a protocol without lists.
        DataError: lists that cannot be had or read, are not the protocol's, or have classes that it does not.
    """
    missing = [split for split in protocol.splits if split not in protocol.files]
    if missing or protocol.clips == "annotated":
        raise UsageError(f"{protocol.name} has no lists of videos", "drop --lists")
    if given:
        files, variant = _choose(protocol, [_File(path, _sha256(_content(path))) for path in _paths(given)], accept)
        contents = {split: (_content(file.path), str(file.path)) for split, file in files.items()}
        hashes = {split: file.sha256 for split, file in files.items()}
    else:
        contents = {s: (fetch(protocol, s, reporter), protocol.files[s].path) for s in protocol.splits}
        hashes, variant = {split: protocol.files[split].sha256 for split in protocol.splits}, ""
    lines = {split: _named(protocol, split, read_list(*content)) for split, content in contents.items()}
    return Lists(protocol, lines, hashes, variant)


def _content(path: Path) -> bytes:
    # A checkout on Windows has other line ends; the list is the same.
    return read_bytes(path).removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _paths(given: Iterable[Path]) -> Iterator[Path]:
    for path in given:
        if not path.exists():
            raise DataError(f"no list {path}", "--lists takes files, or a folder that holds them")
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in inside if file.is_file() and file.stat().st_size <= LARGEST)


def _choose(protocol: Protocol, files: Sequence[_File], accept: bool) -> tuple[dict[str, _File], str]:
    own = {split: file.sha256 for split, file in protocol.files.items() if split in protocol.splits}
    if chosen := _by_hash(files, own):
        return chosen, ""
    for variant in protocol.variants:
        if chosen := _by_hash(files, {split: file.sha256 for split, file in variant.files.items()}):
            if not accept:
                raise _refused(protocol, variant)
            return chosen, variant.name
    chosen = {split: _by_name(protocol, split, files, own[split]) for split in protocol.splits}
    others = [split for split, file in chosen.items() if file.sha256 != own[split]]
    if not accept:
        shown = ", ".join(f"{chosen[split].path} (SHA-256 {chosen[split].sha256[:16]})" for split in others)
        whose = {v.note for v in protocol.variants for s in others if v.files[s].sha256 == chosen[s].sha256}
        raise DataError(
            f"not the lists of {protocol.name}: {shown}" + "".join(f"; {note}" for note in sorted(whose)),
            f"without --lists they are fetched from {protocol.repository}; --accept-lists takes these all the same",
        )
    return chosen, OTHER


def _refused(protocol: Protocol, variant: Variant) -> DataError:
    return DataError(
        f"the lists given are not those of {protocol.name}: these are {variant.note}",
        f"without --lists they are fetched from {protocol.repository}; --accept-lists takes these all the same,"
        f" as {protocol.name}+{variant.name}",
    )


def _by_hash(files: Sequence[_File], wanted: Mapping[str, str]) -> dict[str, _File] | None:
    by_hash = {file.sha256: file for file in reversed(files)}
    return {s: by_hash[sha] for s, sha in wanted.items()} if all(sha in by_hash for sha in wanted.values()) else None


def _by_name(protocol: Protocol, split: str, files: Sequence[_File], own: str) -> _File:
    named = [file for file in files if file.sha256 == own] or [
        f for f in files if f.path.name.lower().startswith(split)
    ]
    if len({file.sha256 for file in named}) != 1:
        what = (
            f"could be {' or '.join(str(file.path) for file in named[:4])}" if named else "is not among the files given"
        )
        raise DataError(
            f"the {split} list of {protocol.name} {what}",
            f"give its files one by one, named {split}..., or the folder of {protocol.repository}",
        )
    return named[0]


def _named(protocol: Protocol, split: str, lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
    classes = {fold(name): name for name in protocol.classes[split]}
    for cls in dict.fromkeys(cls for cls, _ in lines):
        if fold(cls) not in classes and not anonymous(cls):
            raise DataError(
                f"the class '{cls}' of the {split} list given is not in that split of {protocol.name}",
                f"`fsar splits show {protocol.name}` lists its classes",
            )
    return [(classes.get(fold(cls), cls), video) for cls, video in lines]
