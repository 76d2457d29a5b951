"""Temporal annotations of long videos -> clean segments, and a report of everything that was dropped or altered.

What is read: one file or several (`annotations_forms`), a folder of such files, or the folder of UCF Crime v2 as
published (Splits/, TemporalAnnotations/, CSV/, ...), of which TemporalAnnotations/abnormal/train.json and test.json are
taken, the union of which is the data set, and Splits/abnormal/{train,val,test}.json to see what is in none of them.

The rule, each step a kind of `Finding`:

| kind             | what                                               | what becomes of it                          |
|------------------|----------------------------------------------------|---------------------------------------------|
| text             | byte order mark, CR LF                             | read all the same                           |
| no annotations   | a file of the folder in none of the forms          | left out                                    |
| folder completed | `banner01`, `molotof001.mp4` of UCF Crime v2's CSV | of class Banner, MolotovBomb                |
| extension        | in capitals; none in a row for a whole video       | any will do                                 |
| no class         | no folder and no class                             | dropped                                     |
| normal video     | UCF Crime's videos without an anomaly              | dropped                                     |
| unknown class    | beside classes of UCF Crime v2 one that is not     | kept                                        |
| other class      | the class column is not the folder                 | the column counts                           |
| not a segment    | a start or end missing, no number or infinite      | the segment is dropped                      |
| no end           | an odd number of times                             | the last start is dropped                   |
| negative time    | a time below 0                                     | the segment is dropped                      |
| empty segment    | the end is not after the start                     | the segment is dropped                      |
| too short        | less than 0.01 s, shorter than any frame           | the segment is dropped                      |
| repeated         | a video or segment twice, the same each time       | counts once                                 |
| two rows         | a video twice in a file, with other segments       | all its segments count                      |
| two files        | a video in two files, with other segments          | the file with `test` in its name counts, as |
|                  |                                                    | UCF Crime v2's was made from frames, else   |
|                  |                                                    | the later one                               |
| overlap          | segments of a video that share time                | merged, as two clips of one moment must not |
|                  |                                                    | be support and query; touching ones are two |
| no segment       | a video without any                                | can be a clip only as a whole               |
| none left        | a video all of whose segments were dropped         | the same                                    |
| in no split      | a video that none of the published splits lists    | kept                                        |

Times are seconds from the video's first frame, the end excluded.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fsar_cli.data.annotations.cleaning import Cleaner, Finding, Segment
from fsar_cli.data.annotations.forms import FORMS, NotAnnotations
from fsar_cli.errors import DataError

__all__ = ["Annotations", "Finding", "Segment", "read_annotations"]

_PUBLISHED = Path("TemporalAnnotations/abnormal")
_SPLITS = Path("Splits/abnormal")


@dataclass(frozen=True)
class Annotations:
    """Segments by video, and what became of the rest."""

    videos: Mapping[str, tuple[Segment, ...]]
    """{"class/stem": its segments by start, disjoint; perhaps none}, sorted."""
    findings: tuple[Finding, ...]


def read_annotations(paths: Iterable[Path]) -> Annotations:
    """Read and clean files and folders of annotations; see the module docstring.

    Raises:
        DataError: no such path, a file that cannot be read or is in none of the forms, or no video at all.
    """
    paths, cleaner = [Path(path) for path in paths], Cleaner()
    files = sorted((pair for path in paths for pair in _files(path)), key=lambda pair: _is_test(pair[0]))
    for file, only_found in files:
        try:
            cleaner.file(file)
        except NotAnnotations as error:
            if not only_found:
                raise
            cleaner.note(str(file), "", "no annotations", error.message, dropped=True)
    if not cleaner.videos:
        raise DataError(f"no annotated video in {', '.join(map(str, paths))}", f"read are {FORMS}")
    cleaner.finish()
    for path in paths:
        cleaner.in_no_split(path / _SPLITS)
    return Annotations(dict(sorted(cleaner.videos.items())), tuple(cleaner.findings))


def _is_test(file: Path) -> bool:
    return any(word.startswith("test") for word in re.split(r"[\W_]+", file.stem.casefold()))


def _files(path: Path) -> Iterator[tuple[Path, bool]]:
    """(file, whether nobody named it: it just lies in the folder)."""
    if not path.exists():
        raise DataError(f"the annotations {path} do not exist", "name a file or folder; data.annotations holds one")
    if not path.is_dir():
        yield path, False
        return
    for folder in (path / _PUBLISHED, path):
        published = [folder / "train.json", folder / "test.json"]
        if all(file.is_file() for file in published):
            yield from ((file, False) for file in published)
            return
    files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in (".json", ".csv", ".txt")]
    if not files:
        hint = f"it holds neither {_PUBLISHED}/train.json and test.json nor any .json, .csv or .txt"
        raise DataError(f"no annotations in the folder {path}", hint)
    yield from ((file, True) for file in files)
