"""`fsar splits check`: a split file beside the data, video by video, and what can still be measured with it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsar_cli.cli import splits_check_view as view
from fsar_cli.cli.options import ConfigFile, Json, Quiet
from fsar_cli.cli.output import ConsoleReporter
from fsar_cli.cli.splits import Root, data_root

if TYPE_CHECKING:
    from fsar_cli.config import Config
    from fsar_cli.data.checking.fit import Shape


def check(
    file: Annotated[Path | None, typer.Argument(help="Split file (default: data.splits).")] = None,
    root: Root = None,
    way: Annotated[int | None, typer.Option(min=2, help="Classes of an episode (default: fsar.yaml).")] = None,
    shot: Annotated[int | None, typer.Option(min=1, help="Support videos of each class.")] = None,
    queries: Annotated[int | None, typer.Option(min=1, help="Queries of each class.")] = None,
    group_disjoint: Annotated[bool, typer.Option(help="Support and queries from different groups.")] = False,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames below which a video is too short (default: clip.frames).")
    ] = None,
    decode: Annotated[
        bool,
        typer.Option(
            "--decode",
            help="Decode every listed video that is there, from its first frame to its last. Results are kept in the "
            "user's cache: stopped and run again it goes on, later it decodes what is new or changed. Of a frame "
            "store: no frame is missing, and the first, middle and last of each video decode (nothing is kept).",
        ),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=0, max=256, help="Processes that decode; 0: none but this. Default: one a core, at most 8."),
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the problems to a CSV file.")] = None,
    episode_sd: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=50,
            metavar="POINTS",
            help="Standard deviation of the accuracy of single episodes, for the interval printed: the +- of "
            "`fsar eval` x sqrt(episodes) / 1.96 (default: that of queries at an even chance).",
        ),
    ] = None,
    config: ConfigFile = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare a split file with the data and see whether the wanted episodes can be drawn.

    Problems of a listed video: missing; ambiguous (several videos could be it); undecodable (with --decode); short
    (known of frame stores, of videos with --decode); spelling (found, but under another name: `fsar splits make FILE
    --root TREE --out NEW` writes a split file with the names of the tree). Episodes are drawn from what is left: found,
    not short, not undecodable. Where videos are missing, it says by how much accuracies may differ from those on all
    videos: those of the published protocol, if the file follows one, else those it lists.

    Exit code 3, after the report, where a video is missing, ambiguous, undecodable or spelt otherwise, or episodes
    cannot be drawn.

    --csv: a row a problem, with the columns split, class, video (the id in the split file), problem (the words above)
    and detail (reason, candidates, or the id in the tree).

    --json: file, root, kind (videos or frames), frames, decoded, ok, listed, found, missing, ambiguous, undecodable,
    short, spelling, unlisted (numbers; null: not known); classes [split, class, published, wanted, found, missing,
    ambiguous, undecodable, short, spelling, usable, enough]; splits [split, classes, left, protocol, whole, lacking,
    extra, shape, problem, remedy]; accuracy [split, way, shot, queries, share (of published episodes that hold a
    missing video: the worst case), at_random (half the 95 % interval)], both of 1; problems [the columns of --csv].
    """
    from fsar_cli.data.checking.decoding import look
    from fsar_cli.data.checking.fit import check as check_splits
    from fsar_cli.data.naming import match_videos
    from fsar_cli.data.splits import Splits
    from fsar_cli.data.splits.tree import scan_tree
    from fsar_cli.files import cache_folder, cores
    from fsar_cli.settings import resolve

    settings, reporter = resolve(path=config).config, ConsoleReporter(quiet)
    path = file or settings.data.splits
    if csv is not None:
        csv.parent.mkdir(parents=True, exist_ok=True)  # hours of decoding should not end at this
    splits, tree = Splits.read(path), scan_tree(root or data_root(settings))
    if splits.edited:
        reporter.warn(f"{path} was changed after it was made: its digest is now {splits.digest[:16]}")
    matches = match_videos((video.id for _, video in splits.rows), tree.ids)
    if matches.anywhere:
        reporter.warn("none of the classes has a folder of its name: the videos were found by their own names alone")
    workers = cores(8) if workers is None else workers
    cache = cache_folder() if decode else None
    seen = look(tree, matches.found.values(), frames or settings.clip.frames, cache, workers, reporter)
    shapes = _shapes(settings, way, shot, queries, group_disjoint)
    shots = (shot,) if shot else settings.eval.shots
    evaluated = settings.eval.split if settings.eval.split in splits.names else ""
    evaluations = [(evaluated, _with_shot(shapes[evaluated], k)) for k in shots if evaluated]
    spread = None if episode_sd is None else episode_sd / 100
    report = check_splits(splits, tree, matches, shapes, seen, evaluations, spread)
    if csv is not None:
        view.write_csv(csv, report)
        reporter.log(f"{len(report.problems)} problems: {csv}")
    view.show(path, tree, report, seen, json)
    view.refuse(path, tree, report)


def _shapes(
    settings: "Config", way: int | None, shot: int | None, queries: int | None, group_disjoint: bool
) -> "dict[str, Shape]":
    from fsar_cli.data.checking.fit import Shape

    episode, evaluation = settings.episode, settings.eval
    train = (episode.way, episode.shot, episode.queries, episode.group_disjoint)
    test = (evaluation.way, max(evaluation.shots), evaluation.queries, evaluation.group_disjoint)
    return {
        split: Shape(way or base[0], shot or base[1], queries or base[2], group_disjoint or base[3])
        for split, base in (("train", train), ("val", test), ("test", test))
    }


def _with_shot(shape: "Shape", shot: int) -> "Shape":
    from dataclasses import replace

    return replace(shape, shot=shot)
