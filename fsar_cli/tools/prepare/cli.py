"""`fsar prepare`: what was downloaded -> a project folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsar_cli.cli import options
from fsar_cli.cli.output import ConsoleReporter, print_json, stdout, table
from fsar_cli.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    from fsar_cli.tools.prepare.datasets import PublishedSet
    from fsar_cli.tools.prepare.preparing import Prepared

MOST = 12
"""Rows of a table on the screen; files and --json hold all."""
_OUTCOMES = {
    "moved": "unpacked", "linked": "linked", "symlinked": "linked symbolically", "copied": "copied",
    "there": "there already", "twice": "given twice", "replaced": "replaced by their repaired copies",
}  # fmt: skip


def prepare(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="hmdb51, ucf101, kinetics or ucf-crime-v2.")],
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Archives, or folders with archives or unpacked videos, at any depth."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Project folder to make or to go on with (default: ./DATASET).")
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy videos that are unpacked already; else linked.")] = False,
    normal: Annotated[bool, typer.Option("--normal", help="ucf-crime-v2: the normal videos as well.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List archives, sizes and free disk; do nothing.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Turn a downloaded data set into a project folder: OUT/videos/CLASS/VIDEO and OUT/fsar.yaml.

    Archives are unpacked safely, nested ones too; videos that are unpacked already are linked. Your files are neither
    changed nor deleted. Run again, it goes on where it was stopped; what has no place is listed in OUT/left-out.csv.
    """
    from fsar_cli.tools.prepare.preparing import prepare as prepare_dataset

    chosen = _chosen(dataset, normal)
    out = out or Path(dataset)
    reporter = ConsoleReporter(quiet, verbose)
    if dry_run:
        return _show_plan(chosen, paths, out, json)
    reporter.log(f"{dataset} -> {out}")
    result = prepare_dataset(chosen, paths, out, copy, reporter)
    print_json(_document(dataset, result)) if json else _show(result, reporter)
    if result.problems:
        raise DataError(
            f"{len(result.problems)} archives or files of {dataset} could not be used; the rest is in place",
            f"reasons: {out / 'left-out.csv'}; mend them and run the same command again",
        )
    if not result.classes:
        raise DataError(f"no video of {dataset} was found in the given paths", f"see {out / 'left-out.csv'}")


def _chosen(dataset: str, normal: bool) -> "PublishedSet":
    from fsar_cli.tools.prepare.datasets import DATASETS

    if dataset not in DATASETS:
        hint = did_you_mean(dataset, DATASETS) or f"allowed: {', '.join(DATASETS)}; other sets need no preparation"
        raise UsageError(f"unknown data set '{dataset}'", hint)
    if normal and dataset != "ucf-crime-v2":
        raise UsageError(f"{dataset} has no normal videos", "leave --normal out")
    return DATASETS[dataset](normal)


def _show_plan(dataset: "PublishedSet", paths: list[Path], out: Path, json: bool) -> None:
    import shutil

    from fsar_cli.tools.prepare.preparing import look
    from fsar_cli.tools.prepare.staging import size_unpacked

    sources = look(dataset, paths, out)
    sizes = [(a.origin, a.path.stat().st_size, size_unpacked(dataset, a)) for a in sources.archives]
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.is_dir())
    need, free = sum(unpacked for *_, unpacked in sizes), shutil.disk_usage(place).free
    if json:
        archives = [dict(zip(("archive", "bytes", "unpacked_at_least"), line, strict=True)) for line in sizes]
        problems = [{"file": name, "reason": reason} for name, reason in sources.problems]
        totals = {"videos_already_unpacked": len(sources.videos), "needed_bytes": need, "free_bytes": free}
        return print_json(
            {"dataset": dataset.name, "out": str(out), "archives": archives, "problems": problems, **totals}
        )
    lines = [[origin, _size(packed), _size(unpacked)] for origin, packed, unpacked in sizes]
    lines.append([f"{len(sizes)} archives", _size(sum(packed for _, packed, _ in sizes)), _size(need)])
    stdout.print(table("dry run: nothing is written", ["archive", "size", "unpacked, at least"], lines))
    stdout.print(f"{len(sources.videos)} videos are unpacked already and would be linked")
    stdout.print(f"free at {place}: {_size(free)}{'' if need < free else ', which is TOO LITTLE'}")
    for name, reason in sources.problems:
        stdout.print(f"{name} {reason}")


def _size(number: int) -> str:
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.1f} MiB"


def _document(dataset: str, result: "Prepared") -> dict:
    from dataclasses import asdict

    from fsar_cli.tools.prepare.arranging import OUTCOMES

    return {
        "dataset": dataset,
        "out": str(result.out),
        "archives": [{"archive": name, "files": files} for name, files in result.unpacking.files.items()],
        "archives_unpacked_before": result.unpacking.skipped,
        "videos": sum(result.classes.values()),
        "arranged": {outcome: result.arranged.counts[outcome] for outcome in OUTCOMES},
        "classes": result.classes,
        "short": [asdict(count) for count in result.short],
        "left_out": [{"file": name, "reason": reason} for name, reason in result.left_out],
        "members_not_unpacked": result.unpacking.left_out,
        "other_files": result.others,
        "annotations": result.annotations,
        "problems": [{"file": name, "reason": reason} for name, reason in result.problems],
        "project": result.project,
        "annotations_lack": result.annotations_lack,
        "next": result.steps,
    }


def _show(result: "Prepared", reporter: ConsoleReporter) -> None:
    text = ", ".join(f"{number} {_OUTCOMES[outcome]}" for outcome, number in result.arranged.counts.items() if number)
    total = sum(result.classes.values())
    stdout.print(f"{total} videos in {len(result.classes)} classes: {result.out / 'videos'}")
    reporter.log(text or "no video was found")
    if result.unpacking.skipped:
        hint = f"remove {result.out / '.fsar-prepare'} to start anew"
        reporter.log(f"{result.unpacking.skipped} archives were unpacked before ({hint})")
    if result.unpacking.left_out or result.others:
        reporter.log(f"not needed: {result.unpacking.left_out} members of archives, {result.others} files")
    for reason, number in result.reasons().most_common():
        reporter.warn(f"{number} videos left out: {reason}")
    told = set(result.unpacking.problems)  # as they happened
    rest = [problem for problem in result.problems if problem not in told]
    for name, reason in rest[:MOST]:
        reporter.warn(f"{name} {reason}")
    if len(rest) > MOST:
        reporter.warn(f"{len(rest) - MOST} more are in {result.out / 'left-out.csv'}")
    _show_short(result)
    _show_rest(result, reporter)


def _show_short(result: "Prepared") -> None:
    if result.short and result.classes:
        rows = [[c.name, c.found, c.expected] for c in result.short[:MOST]]
        if len(result.short) > MOST:
            rest = result.short[MOST:]
            rows.append([f"{len(rest)} more", sum(c.found for c in rest), sum(c.expected for c in rest)])
        columns = ["class", "videos", "published"]
        stdout.print(table("fewer videos than in the published protocol", columns, rows, right=("videos", "published")))


def _show_rest(result: "Prepared", reporter: ConsoleReporter) -> None:
    annotations = f", {result.annotations} annotation files" if result.annotations else ""
    reporter.log(f"{result.out / 'fsar.yaml'}: {result.project}{annotations}")
    if result.annotations_lack:
        reporter.warn(result.annotations_lack)
    if result.steps:
        reporter.log("next:")
        for step in result.steps:
            stdout.print(f"  {step}")
