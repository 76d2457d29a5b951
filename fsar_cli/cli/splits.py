"""`fsar splits`: the published protocols, making a split file and writing it as peers' lists; for `check` see there."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsar_cli.cli import splits_view as view
from fsar_cli.cli.options import ConfigFile, Json, Quiet
from fsar_cli.cli.output import ConsoleReporter, print_json, stdout, table
from fsar_cli.errors import UsageError

if TYPE_CHECKING:
    from fsar_cli.config import Config
    from fsar_cli.data.splits import Splits
    from fsar_cli.data.splits.lists import Lists
    from fsar_cli.data.splits.protocols import Protocol

app = typer.Typer(
    rich_markup_mode=None, help="Split lists: published protocols, make your own, check them against the data."
)

Root = Annotated[
    Path | None,
    typer.Option(help="Class/video tree or frame store (default: data.videos, or data.frames where clips are cut)."),
]
Names = Annotated[list[str] | None, typer.Option(help="Class names, separated by commas or repeated.")]


@app.command("list")
def list_protocols(json: Json = False) -> None:
    """List the published protocols and the styles for any other data set."""
    from fsar_cli.data.splits.protocols import SPLITS, protocols

    shipped = protocols().values()
    if json:
        described = [
            {"name": p.name, "title": p.title, "style": p.style, "clips": p.clips, "needs_lists": p.needs_lists}
            | {split: {"classes": len(p.classes[split]), "videos": p.videos(split)} for split in p.splits}
            for p in shipped
        ]
        return print_json({"protocols": described, "styles": ["arn", "cmn"]})
    rows = [
        [p.name, *(_sizes(p, split) for split in SPLITS), "needed" if p.needs_lists else "no", p.title] for p in shipped
    ]
    rows.append(["arn", "31", "10", "10", "no", "any tree: every video; classes by this ratio, by count or by name"])
    rows.append(["cmn", "64", "12", "24", "no", "any tree: 100 videos of each of up to 100 classes, drawn by the seed"])
    stdout.print(table("classes / videos", ["name", *SPLITS, "lists", "what"], rows))


def _sizes(protocol: "Protocol", split: str) -> str:
    return f"{len(protocol.classes[split])} / {protocol.videos(split)}" if split in protocol.splits else "-"


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
        str,
        typer.Argument(
            help="Protocol, `arn`, `cmn`, a split file made from another tree, or a folder of lists such as TRX's or"
            " CMN's (default: the protocol of data.name, else arn)."
        ),
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
    lists: Annotated[
        list[Path] | None,
        typer.Option(help="The protocol's published lists: files, or a folder that holds them (default: fetched)."),
    ] = None,
    accept_lists: Annotated[
        bool, typer.Option("--accept-lists", help="Take lists that are not the protocol's own.")
    ] = False,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Group of a video: first capture group, else match, on its id; or a data set's own rule: hmdb51,"
            " ucf101, ucf-crime-v2, ut.",
        ),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Take what there is where classes or videos are missing or ambiguous."),
    ] = False,
    allow_duplicates: Annotated[
        bool, typer.Option("--allow-duplicates", help="Take videos of the same content into two splits.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the split file.")] = False,
    config: ConfigFile = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a split file of the videos in a tree."""
    from fsar_cli.data.splits.making import make as make_splits
    from fsar_cli.data.splits.making import remake
    from fsar_cli.data.splits.tree import scan_tree
    from fsar_cli.data.splits.twins import refuse_twins

    settings, reporter = _config(config), ConsoleReporter(quiet)
    out = out or settings.data.splits
    if out.exists() and not force:
        raise UsageError(f"{out} exists", "--force replaces it, --out FILE writes another")
    rule = rule or _default_rule(settings.data.name)
    named = {split: names for split, names in (("train", train), ("val", val), ("test", test)) if names}
    other = _listed(rule)
    if other is not None and (lists or classes or named or per_class):
        raise UsageError(f"{rule} fixes the classes and videos", "only --group-by goes with it")
    published = None if other else _published(rule, lists or [], accept_lists, reporter)
    tree = scan_tree(root or data_root(settings))
    reporter.log(f"{rule} on {tree.root} ({tree.kind}): {len(tree.classes)} classes, {len(tree.ids)} videos")
    view.tell_pictures(tree, reporter)
    if other is not None:
        made = remake(other, tree, name=rule, group_by=group_by, allow_missing=allow_missing)
    else:
        made = make_splits(
            rule,
            tree,
            seed=seed,
            counts=_counts(classes),
            lists={split: _names(names, tree.classes) for split, names in named.items()} or None,
            per_class=per_class,
            published=published,
            group_by=group_by,
            allow_missing=allow_missing,
        )
    made = replace(made, splits=refuse_twins(made.splits, tree, allow_duplicates, reporter))
    made.splits.write(out)
    view.tell(made, reporter)
    view.show_made(out, made, json)


@app.command()
def export(
    file: Annotated[Path | None, typer.Argument(help="Split file (default: data.splits).")] = None,
    form: Annotated[str, typer.Option(help="trx (trainlist03.txt, ...) or cmn (train.list, ...).")] = "trx",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the lists, one file a split.")] = Path("lists"),
    force: Annotated[bool, typer.Option(help="Replace lists that are there.")] = False,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Write a split file as the lists that TRX's or CMN's code reads."""
    from fsar_cli.data.splits import Splits
    from fsar_cli.data.splits.published import write_lists

    splits = Splits.read(file or _config(config).data.splits)
    written = write_lists(splits, form, out, force)
    counts = splits.counts()
    if json:
        files = {name: {"file": str(path), "videos": counts[name][1]} for name, path in written.items()}
        return print_json({"form": form, "lists": files})
    for name, path in written.items():
        stdout.print(f"{path}: {counts[name][1]} videos of {counts[name][0]} classes")


def _listed(rule: str) -> "Splits | None":
    """What a split file or a folder of lists holds; None for the name of a protocol or style."""
    from fsar_cli.data.splits import Splits
    from fsar_cli.data.splits.protocols import STYLES, protocols
    from fsar_cli.data.splits.published import LIST_ENDINGS, read_lists

    path = Path(rule)
    if rule in (*STYLES, *protocols()):
        return None
    if path.is_dir():
        return read_lists(path)
    if path.suffix.lower() in LIST_ENDINGS and path.is_file():
        raise UsageError(f"{rule} is a list of one split", f"name the folder that holds the lists, {path.parent}")
    return Splits.read(path) if path.suffix.lower() == ".csv" or path.is_file() else None


def _published(rule: str, given: list[Path], accept: bool, reporter: ConsoleReporter) -> "Lists | None":
    """The lists that a rule needs or is given; None for one without."""
    from fsar_cli.data.splits.lists import find_lists
    from fsar_cli.data.splits.protocols import protocols

    chosen = protocols().get(rule)
    if chosen and (given or chosen.needs_lists):
        return find_lists(chosen, given, accept, reporter)
    if given:
        with_lists = ", ".join(protocol.name for protocol in protocols().values() if protocol.files)
        raise UsageError(f"--lists are a published protocol's; '{rule}' is none", f"protocols with lists: {with_lists}")
    return None


def _config(path: Path | None) -> "Config":
    from fsar_cli.settings import resolve

    return resolve(path=path).config


def data_root(settings: "Config") -> Path:
    """The videos where there are any, else the frames; with annotations the frames, as these alone are the clips."""
    data = settings.data
    return data.videos if data.videos.is_dir() and not data.annotations else data.frames


def _default_rule(name: str) -> str:
    from fsar_cli.data.splits.protocols import protocols_of

    names = protocols_of(name)
    if len(names) > 1:
        raise UsageError(f"{name} has several protocols: {', '.join(names)}", "name the one wanted")
    return names[0] if names else "arn"


def _counts(text: str) -> tuple[int, ...] | None:
    if not text:
        return None
    parts = text.split("/")
    if len(parts) not in (1, 3) or not all(part.strip().isdecimal() for part in parts) or not sum(map(int, parts)):
        raise UsageError(
            f"--classes takes TRAIN/VAL/TEST or one number, not '{text}'", "for example --classes 31/10/10"
        )
    return tuple(map(int, parts))


def _names(given: list[str] | None, classes: "dict[str, tuple[str, ...]]") -> list[str]:
    """Class names of an option; a text that is a class as it stands is not cut at its commas."""
    names = [part for text in given or () for part in ([text] if text in classes else text.split(","))]
    return [name.strip() for name in names if name.strip()]
