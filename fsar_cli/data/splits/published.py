"""The forms in which split lists are published: one reader for all, and a writer for those that peers' code reads.

One file a split, one line a video:

| form  | line                                             | class                               |
|-------|--------------------------------------------------|-------------------------------------|
| cmn   | `air drumming/-VtLx-mcPds_000012_000022`         | named; files `train.list`, ...      |
| trx   | `fencing/1899_Hamlet_fencing_f_cm_np2_le_med_0`  | named; files `trainlist03.txt`, ... |
| otam  | `train8/78687`                                   | a number, its name is not told      |
| hyrsm | `train0//train_256/air_drumming/-VtLx-mcPds.mp4` | the folder that holds the video     |

Blank lines, `\\r\\n`, a byte order mark, the ending of a video and a class's number behind the name are no part of a
name; of Windows, `walk\\clip_0` is read as well. A folder of such lists is a split list (`read_lists`).
"""

import re
from pathlib import Path

from fsar_cli.data.naming import bare, slashed
from fsar_cli.data.splits.file import Splits, Video
from fsar_cli.data.splits.protocols import SPLITS
from fsar_cli.errors import DataError, UsageError, unreadable
from fsar_cli.files import write_whole

FORMS = {
    "trx": {"train": "trainlist03.txt", "val": "vallist03.txt", "test": "testlist03.txt"},
    "cmn": {"train": "train.list", "val": "val.list", "test": "test.list"},
}
"""{form to write: {split: file name}}."""

LIST_ENDINGS = (".txt", ".list")
_ANONYMOUS = re.compile(r"(?:train|val|test)\d+")
_NUMBER = re.compile(r"(?<!\s)\s+(\d+)$")


def read_list(content: bytes, name: str) -> list[tuple[str, str]]:
    """The (class, video) of each line, in the list's order.

    Args:
        content: the file's bytes.
        name: what to call it in messages.

    Raises:
        DataError: not UTF-8 text, a line of no known form, a video twice, or no line at all.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not UTF-8 text (byte {error.start})", "a list has one class/video a line"
        ) from error
    named = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        parts = _class_and_video(line.strip())
        if parts is None:
            raise DataError(
                f"{name}, line {number} is of no known form: '{line.strip()[:100]}'",
                "known are class/video and train0//folder/class/video.mp4, one a line",
            )
        named.append((number, *parts))
    if not named:
        raise DataError(f"{name} lists no video", "a list has one class/video a line")
    return _bare(_without_numbers(named), name)


def _class_and_video(line: str) -> tuple[str, str] | None:
    number, doubled, path = line.partition("//")
    parts = path.split("/") if doubled else slashed(line).split("/")
    fits = "/" not in number and len(parts) >= 2 if doubled else len(parts) == 2
    if not fits or not number.strip() or not all(part.strip() for part in parts):
        return None
    return parts[-2], parts[-1]


def _without_numbers(lines: list[tuple[int, str, str]]) -> list[tuple[int, str, str]]:
    """The lines without the number of the class behind the name: each line has one, each class one of its own.

    Behind the ending of a video any number is the class's; elsewhere it may belong to the name.
    """
    found = [_NUMBER.search(video) for _, _, video in lines]
    pairs = {(cls, mark and mark[1]) for (_, cls, _), mark in zip(lines, found, strict=True)}
    numbers = {number for _, number in pairs}
    of_class = None not in numbers and 1 < len(pairs) == len(numbers) == len({cls for cls, _ in pairs}) < len(lines)
    stems = [video[: mark.start()] if mark else video for (_, _, video), mark in zip(lines, found, strict=True)]
    return [
        (line, cls, stem if of_class or bare(stem) != stem else video)
        for (line, cls, video), stem in zip(lines, stems, strict=True)
    ]


def _bare(lines: list[tuple[int, str, str]], name: str) -> list[tuple[str, str]]:
    """(class, name) of the lines; names lose the ending of a video but where two differ in nothing else."""
    first: dict[tuple[str, str], int] = {}
    endings: dict[tuple[str, str], set[str]] = {}
    for number, cls, video in lines:
        known = endings.setdefault((cls, bare(video)), set())
        if video in known or (known and bare(video) in (video, *known)):
            at = f"in lines {first[cls, bare(video)]} and {number}"
            raise DataError(f"{name} lists {cls}/{bare(video)} twice, {at}", "remove one of the lines")
        known.add(video)
        first.setdefault((cls, bare(video)), number)
    return [(cls, video if len(endings[cls, bare(video)]) > 1 else bare(video)) for _, cls, video in lines]


def read_lists(folder: Path) -> Splits:
    """A split list of the lists in a folder, of any of the forms; named train..., val... and test....

    Ids are `class/name`, to be looked up in a tree (`making.remake`).

    Raises:
        DataError: no list, several of one split, one that cannot be read, or lists that share a class.
    """
    rows: list[tuple[str, Video]] = []
    files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in LIST_ENDINGS and file.is_file()]
    for split in SPLITS:
        named = [file for file in files if file.name.lower().startswith(split)]
        if len(named) > 1:
            names = ", ".join(file.name for file in named)
            raise DataError(f"{folder} has several lists of {split}: {names}", "put those wanted into a folder alone")
        lines = (line for file in named for line in read_list(read_bytes(file), str(file)))
        rows += [(split, Video(cls, f"{cls}/{video}")) for cls, video in lines]
    if not rows:
        names = ", ".join(FORMS["trx"].values())
        raise DataError(f"no split lists in the folder {folder}", f"lists are named like {names}, or train.list, ...")
    try:
        return Splits(tuple(rows))
    except DataError as error:
        raise DataError(f"{folder}: {error.message}", error.hint) from error


def read_bytes(path: Path) -> bytes:
    """A list's content. Raises DataError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, f"cannot read the list {path}: {error.strerror}") from error


def anonymous(cls: str) -> bool:
    """Whether a class has a number in place of a name, as in OTAM's lists."""
    return _ANONYMOUS.fullmatch(cls) is not None


def lines_of(splits: Splits, split: str) -> list[str]:
    """A split as the lines of the forms `trx` and `cmn`: class/video, the video under its name in the tree.

    Lines are sorted; where the published order of a list differs, these are the same lines in another order. Peers'
    code finds a video by its name alone, so the class may be spelt otherwise than the video's folder.

    Raises:
        DataError: a class or name that does not fit a line, or two videos of a class with one name.
    """
    lines: dict[str, str] = {}
    for video in splits.videos(split):
        line = f"{video.cls}/{video.id.rpartition('/')[2]}"
        if line.count("/") != 1 or line != " ".join(line.splitlines()).strip():
            raise DataError(f"{video.id} of class '{video.cls}' does not fit a line class/video", "rename it")
        if line in lines:
            raise DataError(f"{lines[line]} and {video.id} would both be the line '{line}'", "rename one of them")
        lines[line] = video.id
    return sorted(lines)


def write_lists(splits: Splits, form: str, folder: Path, force: bool = False) -> dict[str, Path]:
    """Write a split file as lists of a form in FORMS and return {split: file}; each appears whole or not at all.

    Raises:
        UsageError: no such form, or a file that is there and may not be replaced.
        DataError: names that do not fit the form (`lines_of`).
    """
    if form not in FORMS:
        raise UsageError(f"unknown form '{form}'", f"allowed: {', '.join(FORMS)}")
    lines = {split: lines_of(splits, split) for split in splits.names}
    paths = {split: folder / FORMS[form][split] for split in splits.names}
    there = [path for path in (folder / name for name in FORMS[form].values()) if path.exists()]
    taken = [str(path) for path in there if not force]
    if taken:
        raise UsageError(f"{', '.join(taken)} exists", "--force replaces it, --out FOLDER writes elsewhere")
    folder.mkdir(parents=True, exist_ok=True)
    for split, path in paths.items():
        write_whole(path, "".join(f"{line}\n" for line in lines[split]))
    for path in set(there) - set(paths.values()):
        path.unlink()  # of a split that this file does not have
    return paths
