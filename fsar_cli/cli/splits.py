"""`fsar splits`: the published protocols, making a split file and checking one against the data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsar_cli.cli import splits_view as view
from fsar_cli.cli.options import ConfigFile, Json, Quiet
from fsar_cli.cli.output import ConsoleReporter, print_json, stdout, table
from fsar_cli.errors import DataError, UsageError

if TYPE_CHECKING:
    from fsar_cli.config import Config
    from fsar_cli.data.splits.checking import Shape

app = typer.Typer(
    rich_markup_mode=None, help="Split lists: published protocols, make your own, check them against the data."
)

Root = Annotated[
    Path | None,
    typer.Option(help="Class/video tree or frame store (default: data.videos of fsar.yaml, else data.frames)."),
]
Names = Annotated[list[str] | None, typer.Option(help="Class names, separated by commas or repeated.")]


@app.command("list")
def list_protocols(json: Json = False) -> None:
    """List the published protocols and the styles for any other data set."""
    from fsar_cli.data.splits.protocols import SPLITS, protocols

    known = protocols().values()
    if json:
        entries = [
            {"name": p.name, "title": p.title, "style": p.style}
            | {split: {"classes": len(p.classes[split]), "videos": p.videos(split)} for split in SPLITS}
            for p in known
        ]
        return print_json({"protocols": entries, "styles": ["arn", "cmn"]})
    rows = [[p.name, *(f"{len(p.classes[s])} / {p.videos(s)}" for s in SPLITS), p.title] for p in known]
    rows.append(["arn", "31", "10", "10", "any tree: every video; classes by this ratio, by count or by name"])
    rows.append(["cmn", "64", "12", "24", "any tree: 100 videos of each of up to 100 classes, drawn by the seed"])
    stdout.print(table("classes / videos", ["name", *SPLITS, "what"], rows))


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A protocol, or a split file (default: data.splits).")] = "",
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show the classes and counts of a protocol or of a split file."""
    from fsar_cli.data.splits import Splits
    from fsar_cli.data.splits.protocols import protocol, protocols

    path = Path(name) if name else _config(config).data.splits
    if name in protocols() or not (path.suffix or path.exists()):
        view.show_protocol(protocol(name), json)
    else:
        view.show_file(path, Splits.read(path), json)


@app.command()
def make(
    rule: Annotated[
        str, typer.Argument(help="Protocol, `arn` or `cmn` (default: the protocol of data.name, else arn).")
    ] = "",
    root: Root = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Split file (default: data.splits).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draws of classes and videos.")] = 0,
    classes: Annotated[str, typer.Option(metavar="A/B/C", help="Train/val/test classes, or one number in all.")] = "",
    train: Names = None,
    val: Names = None,
    test: Names = None,
    per_class: Annotated[
        int | None, typer.Option(min=1, help="Videos drawn of each class (default: arn all, cmn 100).")
    ] = None,
    group_by: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Group of a video: first capture group, else match, on its id.")
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option(help="Take what there is where classes or videos are missing.")
    ] = False,
    force: Annotated[bool, typer.Option(help="Replace the split file.")] = False,
    config: ConfigFile = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a split file of the videos in a tree."""
    from fsar_cli.data.splits.making import make as make_splits
    from fsar_cli.data.splits.tree import scan_tree

    settings, reporter = _config(config), ConsoleReporter(quiet)
    out = out or settings.data.splits
    if out.exists() and not force:
        raise UsageError(f"{out} exists", "--force replaces it, --out FILE writes another")
    rule = rule or _default_rule(settings.data.name)
    tree = scan_tree(root or _root(settings))
    reporter.log(f"{rule} on {tree.root} ({tree.kind}): {len(tree.classes)} classes, {len(tree.ids)} videos")
    lists = {"train": train, "val": val, "test": test}
    made = make_splits(
        rule,
        tree,
        seed=seed,
        counts=_counts(classes),
        lists={k: _names(v, tree.classes) for k, v in lists.items()} if any(lists.values()) else None,
        per_class=per_class,
        group_by=group_by,
        allow_missing=allow_missing,
    )
    made.splits.write(out)
    view.tell(made, reporter)
    view.show_made(out, made, json)


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="Split file (default: data.splits).")] = None,
    root: Root = None,
    way: Annotated[int | None, typer.Option(min=2, help="Classes of an episode (default: fsar.yaml).")] = None,
    shot: Annotated[int | None, typer.Option(min=1, help="Support videos of each class.")] = None,
    queries: Annotated[int | None, typer.Option(min=1, help="Queries of each class.")] = None,
    group_disjoint: Annotated[bool, typer.Option(help="Support and queries from different groups.")] = False,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Compare a split file with the data and see whether the wanted episodes can be drawn."""
    from fsar_cli.data.splits import Splits
    from fsar_cli.data.splits.checking import check as check_splits
    from fsar_cli.data.splits.tree import scan_tree

    settings = _config(config)
    path = file or settings.data.splits
    splits, tree = Splits.read(path), scan_tree(root or _root(settings))
    report = check_splits(splits, tree, _shapes(settings, way, shot, queries, group_disjoint))
    if splits.edited:
        ConsoleReporter().warn(f"{path} was changed after it was made: its digest is now {splits.digest[:16]}")
    view.show_check(path, tree.root, report, json)
    if not report.ok:
        problems = [f"{report.missing} listed videos are missing in {tree.root}"] if report.missing else []
        problems += [f"{entry.split}: {entry.problem}" for entry in report.splits if entry.problem]
        remedies = [entry.remedy for entry in report.splits if entry.remedy]
        raise DataError(
            "; ".join(problems), remedies[0] if remedies else "complete the data, or make the split file anew"
        )


def _config(path: Path | None) -> "Config":
    from fsar_cli.settings import resolve

    return resolve(path=path).config


def _root(settings: "Config") -> Path:
    return settings.data.videos if settings.data.videos.is_dir() else settings.data.frames


def _default_rule(name: str) -> str:
    from fsar_cli.data.naming import fold
    from fsar_cli.data.splits.protocols import protocols

    return next((p.name for p in protocols().values() if fold(name) in (fold(p.dataset), fold(p.name))), "arn")


def _counts(text: str) -> tuple[int, ...] | None:
    if not text:
        return None
    parts = text.split("/")
    if len(parts) not in (1, 3) or not all(part.strip().isdecimal() for part in parts) or not sum(map(int, parts)):
        raise UsageError(
            f"--classes takes TRAIN/VAL/TEST or one number, not '{text}'", "for example --classes 31/10/10"
        )
    return tuple(map(int, parts))


def _names(given: list[str] | None, known: "dict[str, tuple[str, ...]]") -> list[str]:
    """Class names of an option; a text that is a class as it stands is not cut at its commas."""
    names = [part for text in given or () for part in ([text] if text in known else text.split(","))]
    return [name.strip() for name in names if name.strip()]


def _shapes(
    settings: "Config", way: int | None, shot: int | None, queries: int | None, group_disjoint: bool
) -> "dict[str, Shape]":
    from fsar_cli.data.splits.checking import Shape

    episode, evaluation = settings.episode, settings.eval
    train = (episode.way, episode.shot, episode.queries, episode.group_disjoint)
    test = (evaluation.way, max(evaluation.shots), evaluation.queries, evaluation.group_disjoint)
    return {
        split: Shape(way or base[0], shot or base[1], queries or base[2], group_disjoint or base[3])
        for split, base in (("train", train), ("val", test), ("test", test))
    }
