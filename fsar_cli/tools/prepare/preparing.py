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
from fsar_cli.data.video import printable
from fsar_cli.engine.project import project_file, training_steps
from fsar_cli.errors import DataError, FsarError, Interrupted
from fsar_cli.files import write_rows, write_whole
from fsar_cli.reporting import SILENT, Reporter
from fsar_cli.settings import PROJECT_FILE, resolve
from fsar_cli.tools.doctor.data import check_project
from fsar_cli.tools.doctor.doctor import Finding
from fsar_cli.tools.prepare import Rules
from fsar_cli.tools.prepare.arranging import Arranged, arrange, count_classes, equal
from fsar_cli.tools.prepare.parcels import Unpacking, unpack_all
from fsar_cli.tools.prepare.rules import Place
from fsar_cli.tools.prepare.searching import Entry, Found, missing_parts, search, search_staged
from fsar_cli.tools.prepare.workshop import FOLDER, Workshop, opened

VIDEOS, ANNOTATIONS, LEFT_OUT = "videos", "annotations", "left-out.csv"
_OURS = (VIDEOS, ANNOTATIONS, FOLDER, "frames", "runs", "regions")


@dataclass(frozen=True)
class ClassCount:
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
    short: list[ClassCount] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """(video, why it belongs to no class)."""
    others: int = 0
    """Files that are neither videos nor archives."""
    annotations: int = 0
    project: str = ""
    """What became of fsar.yaml."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(archive or file, what is wrong with it): each makes the exit code 3."""
    findings: list[Finding] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    def reasons(self) -> Counter[str]:
        """How many videos were left out for each reason."""
        return Counter(reason for _, reason in self.left_out)


def look(rules: Rules, paths: Iterable[Path], out: Path) -> Found:
    """What the given paths hold, our own results in `out` aside.

    Raises:
        DataError: a path that does not exist, or neither an archive nor a video anywhere.
    """
    paths = list(paths)
    found = search(paths, [out / name for name in _OURS])
    if not (found.archives or found.videos or found.problems or (out / FOLDER).is_dir()):
        where = ", ".join(map(printable, paths))
        raise DataError(f"no archive and no video in {where}", f"name what you downloaded of {rules.name}")
    return found


def prepare(
    rules: Rules, paths: Iterable[Path], out: Path, copy: bool = False, reporter: Reporter = SILENT
) -> Prepared:
    """Make a project folder of downloads; see the module docstring.

    Args:
        copy: copy the user's own files instead of linking them; unpacked ones are moved.

    Raises:
        DataError: nothing found, or the disk is full. UsageError: another run is at work there.
        Interrupted: Ctrl-C; what is finished is kept.
    """
    found = look(rules, paths, out)
    result = Prepared(out, others=found.others, problems=list(found.problems))
    with opened(out, rules.wish) as shop:
        try:
            unpack_all(rules, found, shop, result.unpacking, reporter)
            _arrange(rules, found, shop, result, copy, reporter)
        except KeyboardInterrupt as error:
            text = f"interrupted: {len(result.unpacking.files)} archives were unpacked and are kept"
            raise Interrupted(text, "run the same command again to go on") from error
        result.problems += result.unpacking.problems
        absent = missing_parts(_names(found, shop), rules.parts)
        result.problems += [(name, "is missing: the other parts of its set are here") for name in absent]
        shop.tidy()
    _finish(rules, result)
    return result


def _names(found: Found, shop: Workshop) -> set[tuple[str, ...]]:
    """Everything that may be a numbered part: folders, archives of this run and of earlier ones."""
    archives = {(*archive.parents, archive.name) for archive in found.archives}
    return found.folders | archives | {Path(row.origin).parts for row in shop.rows.values()}


def _arrange(rules: Rules, found: Found, shop: Workshop, result: Prepared, copy: bool, reporter: Reporter) -> None:
    staged = Found()
    for row in shop.rows.values():
        if shop.folder(row.folder).is_dir():
            search_staged(shop.folder(row.folder), Path(row.origin).parts, staged)
    result.problems += staged.problems
    videos, texts = found.videos + staged.videos, found.texts + staged.texts
    rules.learn(texts)
    places: list[tuple[Entry, Place]] = []
    for video in videos:
        place = rules.place(video)
        if isinstance(place, Place):
            places.append((video, place))
        else:
            result.left_out.append((video.origin, place))
    result.arranged = arrange(places, result.out / VIDEOS, copy, reporter)
    result.problems += result.arranged.conflicts
    _copy_annotations(rules, texts, result)


def _copy_annotations(rules: Rules, texts: Iterable[Entry], result: Prepared) -> None:
    for text in texts:
        if (inside := rules.annotation(text)) is None:
            continue
        place = result.out / ANNOTATIONS / inside
        if place.exists() and not equal(place, text.path):
            result.problems.append((text.origin, f"differs from {printable(place)}, which has its place"))
        elif not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(text.path, place)
        result.annotations += 1


def _finish(rules: Rules, result: Prepared) -> None:
    out = result.out
    result.classes = dict(count_classes(out / VIDEOS))
    result.short = _short(rules.expected(), result.classes)
    rows = result.left_out + result.problems
    (out / LEFT_OUT).unlink(missing_ok=True)
    if rows:
        write_rows(out / LEFT_OUT, ("file", "reason"), rows)
    annotations = _annotations(out)
    project = out / PROJECT_FILE
    if project.exists():
        result.project = "kept as it was"
    else:
        write_whole(project, project_file("", Path(VIDEOS), rules.preset, annotations))
        result.project = "written"
    with contextlib.chdir(out):
        result.findings = [*check_project(), *_about_annotations(rules, annotations)]
    result.steps = _steps(rules, result)


def _annotations(out: Path) -> Path | None:
    """The annotations to be read, as seen from `out`: the published folder where it is whole, else what there is."""
    if not (out / ANNOTATIONS).is_dir():
        return None
    marks = Path(ANNOTATIONS, "TemporalAnnotations", "abnormal")
    if all((out / marks / name).is_file() for name in ("train.json", "test.json")):
        return Path(ANNOTATIONS)
    candidates = (marks, marks.parent, Path(ANNOTATIONS, "CSV"), Path(ANNOTATIONS))
    return next((path for path in candidates if any(p.is_file() for p in (out / path).glob("*"))), None)


def _about_annotations(rules: Rules, here: Path | None) -> list[Finding]:
    """A finding where annotations are missing, or are here and the project file does not name them."""
    try:
        named = resolve().config.data.annotations
    except FsarError:  # the finding of the project file says so
        return []
    if named is None and here is not None:
        remedy = f"write `annotations: {here}` below `data:` in {PROJECT_FILE}"
        return [Finding("annotations", "warning", f"{here} is here and not used", remedy)]
    if rules.annotated and (named is None or not named.exists()):
        text = "no temporal annotations: every video would be one clip, however long it is"
        return [Finding("annotations", "warning", text, f"run fsar prepare {rules.name} on them as well")]
    return []


def _short(expected: dict[str, int], classes: dict[str, int]) -> list[ClassCount]:
    found = {fold(name): count for name, count in classes.items()}
    counts = (ClassCount(name, found.get(fold(name), 0), number) for name, number in expected.items())
    return sorted((count for count in counts if count.found < count.expected), key=lambda c: (c.found > 0, c.name))


def _steps(rules: Rules, result: Prepared) -> list[str]:
    """The commands that follow, as the user can type them."""
    if not result.classes:
        return []
    here = [] if result.out.resolve() == Path.cwd() else [f"cd {shlex.quote(printable(result.out))}"]
    missing = " --allow-missing" if result.short else ""
    splits = [f"fsar splits make {rules.protocol}{missing}", "fsar splits check"]
    return [*here, "fsar extract-frames", *splits, *training_steps(rules.protocol)]
