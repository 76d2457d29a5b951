"""From what was downloaded to a project folder: search, unpack, arrange, write fsar.yaml, look at the result.

Everything that goes wrong with one archive or video is noted and the rest goes on; Ctrl-C and a full disk end the run,
which can be started again and goes on where it was.
"""

import contextlib
import shlex
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fsar_cli.data.naming import fold
from fsar_cli.data.splits.tree import scan_tree
from fsar_cli.data.video import printable
from fsar_cli.engine.project import project_file, training_steps
from fsar_cli.errors import DataError, FsarError, Interrupted
from fsar_cli.files import write_rows, write_whole
from fsar_cli.reporting import SILENT, Reporter
from fsar_cli.settings import PROJECT_FILE, resolve
from fsar_cli.tools.prepare.arranging import Arranged, arrange, equal
from fsar_cli.tools.prepare.datasets import PublishedSet, TreePlace
from fsar_cli.tools.prepare.searching import SourceFile, Sources, missing_parts, search
from fsar_cli.tools.prepare.staging import FOLDER, Staging, Unpacking, opened, unpack_all

VIDEOS, ANNOTATIONS, LEFT_OUT = "videos", "annotations", "left-out.csv"
_OURS = (VIDEOS, ANNOTATIONS, FOLDER, "frames", "runs", "regions")


@dataclass(frozen=True)
class ShortClass:
    """A class whose videos are fewer than published, or absent."""

    name: str
    found: int
    expected: int


@dataclass
class Prepared:
    """What a preparation did."""

    out: Path
    unpacking: Unpacking = field(default_factory=Unpacking)
    arranged: Arranged = field(default_factory=Arranged)
    classes: dict[str, int] = field(default_factory=dict)
    short: list[ShortClass] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """(video, why it belongs to no class)."""
    others: int = 0
    """Files that are neither videos nor archives."""
    annotations: int = 0
    project: str = ""
    """What became of fsar.yaml."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(archive or file, what is wrong with it): each makes the exit code 3."""
    annotations_lack: str = ""
    """What is wrong with the temporal annotations that a data set needs, and what to do."""
    steps: list[str] = field(default_factory=list)

    def reasons(self) -> Counter[str]:
        """How many videos were left out for each reason."""
        return Counter(reason for _, reason in self.left_out)


def look(dataset: PublishedSet, paths: Iterable[Path], out: Path) -> Sources:
    """What the given paths hold, our own results in `out` aside.

    Raises:
        DataError: a path that does not exist, or neither an archive nor a video anywhere.
    """
    paths = list(paths)
    sources = search(paths, [out / name for name in _OURS])
    if not (sources.archives or sources.videos or sources.problems or (out / FOLDER).is_dir()):
        where = ", ".join(map(printable, paths))
        raise DataError(f"no archive and no video in {where}", f"name what you downloaded of {dataset.name}")
    return sources


def prepare(
    dataset: PublishedSet, paths: Iterable[Path], out: Path, copy: bool = False, reporter: Reporter = SILENT
) -> Prepared:
    """Make a project folder of downloads; see the module docstring.

    Args:
        copy: copy the user's own files instead of linking them; unpacked ones are moved.

    Raises:
        DataError: nothing found, or the disk is full. UsageError: another run is at work there.
        Interrupted: Ctrl-C; what is finished is kept.
    """
    sources = look(dataset, paths, out)
    result = Prepared(out, others=sources.others, problems=list(sources.problems))
    with opened(out, dataset.wish) as staging:
        try:
            unpack_all(dataset, sources, staging, result.unpacking, reporter)
            _arrange(dataset, sources, staging, result, copy, reporter)
        except KeyboardInterrupt as error:
            text = f"interrupted: {len(result.unpacking.files)} archives were unpacked and are kept"
            raise Interrupted(text, "run the same command again to go on") from error
        result.problems += result.unpacking.problems
        absent = missing_parts(_names(sources, staging), dataset.parts)
        result.problems += [(name, "is missing: the other parts of its set are here") for name in absent]
        staging.tidy()
    _finish(dataset, result)
    return result


def _names(sources: Sources, staging: Staging) -> set[tuple[str, ...]]:
    """Everything that may be a numbered part: folders, archives of this run and of earlier ones."""
    archives = {(*archive.parents, archive.name) for archive in sources.archives}
    return sources.folders | archives | {Path(archive.origin).parts for archive in staging.archives.values()}


def _arrange(
    dataset: PublishedSet, sources: Sources, staging: Staging, result: Prepared, copy: bool, reporter: Reporter
) -> None:
    videos, texts = list(sources.videos), list(sources.texts)
    for waiting in staging.waiting():
        videos, texts = videos + waiting.videos, texts + waiting.texts
        result.problems += waiting.problems
    dataset.learn(texts)
    places: list[tuple[SourceFile, TreePlace]] = []
    for video in videos:
        place = dataset.place(video)
        if isinstance(place, TreePlace):
            places.append((video, place))
        else:
            result.left_out.append((video.origin, place))
    result.arranged = arrange(places, result.out / VIDEOS, copy, reporter)
    result.problems += result.arranged.conflicts
    _copy_annotations(dataset, texts, result)


def _copy_annotations(dataset: PublishedSet, texts: Iterable[SourceFile], result: Prepared) -> None:
    for text in texts:
        if (inside := dataset.annotation(text)) is None:
            continue
        place = result.out / ANNOTATIONS / inside
        if place.exists() and not equal(place, text.path):
            result.problems.append((text.origin, f"differs from {printable(place)}, which has its place"))
        elif not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(text.path, place)
        result.annotations += 1


def _finish(dataset: PublishedSet, result: Prepared) -> None:
    out = result.out
    with contextlib.suppress(DataError):  # no tree
        result.classes = {name: len(ids) for name, ids in scan_tree(out / VIDEOS).classes.items()}
    result.short = _short(dataset.expected(), result.classes)
    (out / LEFT_OUT).unlink(missing_ok=True)
    if lines := result.left_out + result.problems:
        write_rows(out / LEFT_OUT, ("file", "reason"), lines)
    annotations = _annotations(out)
    project = out / PROJECT_FILE
    if project.exists():
        result.project = "kept as it was"
    else:
        write_whole(project, project_file("", Path(VIDEOS), dataset.preset, annotations))
        result.project = "written"
    with contextlib.chdir(out):
        result.annotations_lack = _annotations_lack(dataset, annotations)
    result.steps = _steps(dataset, result)


def _annotations(out: Path) -> Path | None:
    """The annotations to be read, as seen from `out`: the published folder where it is whole, else what there is."""
    if not (out / ANNOTATIONS).is_dir():
        return None
    marks = Path(ANNOTATIONS, "TemporalAnnotations", "abnormal")
    if all((out / marks / name).is_file() for name in ("train.json", "test.json")):
        return Path(ANNOTATIONS)
    candidates = (marks, marks.parent, Path(ANNOTATIONS, "CSV"), Path(ANNOTATIONS))
    return next((path for path in candidates if any(p.is_file() for p in (out / path).glob("*"))), None)


def _annotations_lack(dataset: PublishedSet, here: Path | None) -> str:
    """What is wrong with the annotations and what to do: missing, or here and not named by the project file."""
    try:
        named = resolve().config.data.annotations
    except FsarError:  # `fsar doctor` says what is wrong with the project file
        return ""
    if named is None and here is not None:
        return f"{here} is here and not used: write `annotations: {here}` below `data:` in {PROJECT_FILE}"
    if dataset.annotated and (named is None or not named.exists()):
        remedy = f"run fsar prepare {dataset.name} on them as well"
        return f"no temporal annotations: every video would be one clip, however long it is; {remedy}"
    return ""


def _short(expected: dict[str, int], classes: dict[str, int]) -> list[ShortClass]:
    there = {fold(name): count for name, count in classes.items()}
    counts = (ShortClass(name, there.get(fold(name), 0), number) for name, number in expected.items())
    return sorted((count for count in counts if count.found < count.expected), key=lambda c: (c.found > 0, c.name))


def _steps(dataset: PublishedSet, result: Prepared) -> list[str]:
    """The commands that follow, as the user can type them."""
    if not result.classes:
        return []
    here = [] if result.out.resolve() == Path.cwd() else [f"cd {shlex.quote(printable(result.out))}"]
    missing = " --allow-missing" if result.short else ""
    splits = [f"fsar splits make {dataset.protocol}{missing}", "fsar splits check"]
    return [*here, "fsar extract-frames", *splits, *training_steps(dataset.protocol)]
