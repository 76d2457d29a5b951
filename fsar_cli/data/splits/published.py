"""The forms in which split lists are published: one reader for all, and a writer for those that peers' code reads.

One file a split, one line a video:

| form  | line                                             | class                               |
|-------|--------------------------------------------------|-------------------------------------|
| cmn   | `air drumming/-VtLx-mcPds_000012_000022`         | named; files `train.list`, ...      |
| trx   | `fencing/1899_Hamlet_fencing_f_cm_np2_le_med_0`  | named; files `trainlist03.txt`, ... |
| otam  | `train8/78687`                                   | a number, its name is not told      |
| hyrsm | `train0//train_256/air_drumming/-VtLx-mcPds.mp4` | the folder that holds the video     |

Blank lines, `\\r\\n`, a byte order mark and the ending of a video are no part of a name.
"""

import re
from pathlib import Path

from fsar_cli.data.naming import VIDEO_EXTENSIONS, bare
from fsar_cli.data.splits.file import Splits
from fsar_cli.errors import DataError, UsageError
from fsar_cli.files import write_whole

FORMS = {
    "trx": {"train": "trainlist03.txt", "val": "vallist03.txt", "test": "testlist03.txt"},
    "cmn": {"train": "train.list", "val": "val.list", "test": "test.list"},
}
"""{form to write: {split: file name}}."""

_ANONYMOUS = re.compile(r"(?:train|val|test)\d+")
_LABELLED = re.compile(rf"(?:{'|'.join(map(re.escape, sorted(VIDEO_EXTENSIONS)))})\s+\d+$", re.IGNORECASE)


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
    lines: dict[tuple[str, str], int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        named = _class_and_video(line.strip())
        if named is None:
            raise DataError(
                f"{name}, line {number} is of no known form: '{line.strip()[:100]}'",
                "known are class/video and train0//folder/class/video.mp4, one a line",
            )
        if named in lines:
            raise DataError(f"{name} lists {'/'.join(named)} twice, in lines {lines[named]} and {number}")
        lines[named] = number
    if not lines:
        raise DataError(f"{name} lists no video", "a list has one class/video a line")
    return list(lines)


def _class_and_video(line: str) -> tuple[str, str] | None:
    number, doubled, path = line.partition("//")
    parts = path.split("/") if doubled else line.split("/")
    fits = "/" not in number and len(parts) >= 2 if doubled else len(parts) == 2
    if not fits or not number.strip() or not all(part.strip() for part in parts) or _LABELLED.search(line):
        return None
    return parts[-2], bare(parts[-1])


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
    taken = [str(path) for path in paths.values() if path.exists() and not force]
    if taken:
        raise UsageError(f"{', '.join(taken)} exists", "--force replaces it, --out FOLDER writes elsewhere")
    folder.mkdir(parents=True, exist_ok=True)
    for split, path in paths.items():
        write_whole(path, "".join(f"{line}\n" for line in lines[split]))
    return paths
