"""How `fsar splits` shows its results: a table for people, one JSON document for programs."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fsar_cli.cli.output import ConsoleReporter, print_json, stdout, table
from fsar_cli.errors import DataError

if TYPE_CHECKING:
    from fsar_cli.data.splits import Splits
    from fsar_cli.data.splits.making import ClassCount, Made
    from fsar_cli.data.splits.protocols import Protocol, Variant
    from fsar_cli.data.splits.tree import Tree

_COUNTS = ("classes", "videos", "groups", "found", "missing", "ambiguous", "asked for")


def show_protocol(chosen: "Protocol", json: bool) -> None:
    """Classes, clips per class, sources and hashes of a published protocol."""
    if json:
        classes = {split: dict(sizes) for split, sizes in chosen.classes.items()}
        lists = {s: {"address": chosen.address(s), "sha256": f.sha256} for s, f in chosen.files.items()}
        keys = ("name", "title", "dataset", "style", "clips", "citation", "licence", "groups", "groups_note")
        facts = {**{key: getattr(chosen, key) for key in keys}, "needs_lists": chosen.needs_lists, "lists": lists}
        return print_json({**facts, "variants": [_variant(v) for v in chosen.variants], "classes": classes})
    rows = [
        [split, len(sizes), chosen.videos(split), ", ".join(f"{name} {n}" for name, n in sizes.items())]
        for split, sizes in chosen.classes.items()
    ]
    stdout.print(table(chosen.title, ["split", "classes", "videos", "names"], rows, right=_COUNTS))
    facts = {"groups": chosen.groups_note, "cite": chosen.citation, "licence": chosen.licence}
    facts |= {f"{split} list": f"{chosen.address(split)} SHA-256 {f.sha256}" for split, f in chosen.files.items()}
    facts |= {f"not to be mixed up with {v.name}": f"{v.note} ({v.repository})" for v in chosen.variants}
    for name, text in facts.items():
        stdout.print(f"{name}: {text}")


def _variant(variant: "Variant") -> dict:
    hashes = {split: file.sha256 for split, file in variant.files.items()}
    return {"name": variant.name, "note": variant.note, "repository": variant.repository, "sha256": hashes}


def show_file(path: Path, splits: "Splits", json: bool) -> None:
    """Header, classes and counts of a split file."""
    if json:
        return print_json({"file": str(path), "header": dict(splits.header), **_document(splits)})
    for key, value in splits.header.items():
        if key not in ("digest", "counts"):
            stdout.print(f"{key}: {value}")
    _print(str(path), splits)
    if splits.edited:
        ConsoleReporter().warn("the rows were changed after the file was made")


def tell_pictures(tree: "Tree", reporter: ConsoleReporter) -> None:
    """What is to be done before frames of another tool can be trained on; their names will be the same."""
    from fsar_cli.data.store.frames import refuse_pictures

    try:
        refuse_pictures(tree.root) if tree.kind == "frames" else None
    except DataError as error:
        reporter.warn(f"{error.message}: {error.hint}")


def tell(made: "Made", reporter: ConsoleReporter) -> None:
    """Everything that is not as the rule asks, one line each, on stderr."""
    for line in made.classes:
        example = f", for example {line.examples[0]}" if line.examples else ""
        if line.folder is None:
            reporter.warn(f"{line.split}: no folder for the class '{line.cls}' ({line.wanted} videos)")
        elif line.ambiguous:
            counts = f"{line.found} of {line.wanted} videos, {line.ambiguous} could be one of several files"
            reporter.warn(f"{line.split}: {line.cls} has {counts}{example}")
        elif line.missing:
            reporter.warn(f"{line.split}: {line.cls} has {line.found} of {line.wanted} videos{example}")
        elif made.splits.published and line.found > line.wanted:
            reporter.warn(f"{line.split}: {line.cls} has {line.found} videos, the protocol {line.wanted}")
    if made.splits.header["protocol"].count("+"):
        reporter.warn(f"made from other lists than the protocol's: this is {made.splits.header['protocol']}")
    if made.by_name_alone:
        reporter.warn("none of the classes has a folder of its name: the videos were found by their own names alone")
    if made.left_out:
        names = ", ".join(f"{cls} ({videos})" for cls, videos in made.left_out.items())
        reporter.log(f"left out, too few videos: {names}")
    if made.ungrouped:
        reporter.warn(f"the group rule does not fit {made.ungrouped} videos: each is a group of its own")
    if made.unused:
        reporter.log(f"not in the split: {', '.join(made.unused)}")


def show_made(path: Path, made: "Made", json: bool) -> None:
    """The split file just written, class by class where videos are missing."""
    if json:
        classes = [_plain(line) | {"missing": line.missing} for line in made.classes]
        report = {"classes": classes, "unused": list(made.unused), "left_out": dict(made.left_out)}
        report |= {"ungrouped": made.ungrouped, "by_name_alone": made.by_name_alone}
        return print_json({"file": str(path), **_document(made.splits), "report": report})
    _print(str(path), made.splits)
    short = [
        [e.split, e.cls, e.folder or "none", e.wanted, e.found, e.missing, e.ambiguous]
        for e in made.classes
        if e.missing or e.ambiguous
    ]
    if short:
        columns = ["split", "class", "folder", "asked for", "found", "missing", "ambiguous"]
        stdout.print(table("incomplete classes", columns, short, right=_COUNTS))


def _plain(line: "ClassCount") -> dict:
    """A report line for JSON, where the key `class` is free."""
    return {"class" if key == "cls" else key: value for key, value in asdict(line).items()}


def _groups(splits: "Splits", name: str) -> int:
    return len({(video.group, "" if video.group else video.id) for video in splits.videos(name)})


def _document(splits: "Splits") -> dict:
    counts = {
        name: {"classes": list(splits.classes(name)), "videos": videos, "groups": _groups(splits, name)}
        for name, (_, videos) in splits.counts().items()
    }
    return {"digest": splits.digest, "splits": counts}


def _print(title: str, splits: "Splits") -> None:
    rows = [
        [name, classes, videos, _groups(splits, name), ", ".join(splits.classes(name))]
        for name, (classes, videos) in splits.counts().items()
    ]
    stdout.print(table(title, ["split", "classes", "videos", "groups", "names"], rows, right=_COUNTS))
    stdout.print(f"digest {splits.digest[:16]}")
