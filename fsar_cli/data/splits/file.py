"""The split file: which video belongs to which class, split and group.

Format (version 1): UTF-8 text with `\\n` line ends. First header lines `# key: value`, then the CSV columns
`split,class,video,group`, then one row a video.

- split: train, val or test. A class is in one split only.
- video: the id "folder/stem" by which the frame store knows the video (see `tree`); any character is allowed.
- group: what videos of one source share (film, actors); empty: a group of its own. Groups may span classes.
- header: fsar-splits (the version), protocol, style, seed, group-by, lists, made-from, tree, digest, created-by and
  counts; all optional on reading, so that a list written by hand is a split file too. `protocol` is the name of a
  published one, or none; made from other lists than its own it reads `name+variant`. `lists` gives the SHA-256 of each
  list used, `made-from` the digest of the split file that was looked up anew in another tree.

Rows are sorted by split (train, val, test), class and id, and nothing in the file tells of time or place: the same
tree, rule and seed give the same bytes. The digest is the SHA-256 of the rows as written.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fsar_cli.data.splits.protocols import SPLITS
from fsar_cli.errors import DataError, did_you_mean
from fsar_cli.files import write_whole

FORMAT = "1"
COLUMNS = ("split", "class", "video", "group")


@dataclass(frozen=True, order=True)
class Video:
    """One video: class name, id "class/stem" and group (may be empty)."""

    cls: str
    id: str
    group: str = ""


def _sorted(rows: Iterable[tuple[str, Video]]) -> tuple[tuple[str, Video], ...]:
    # Spelt out: comparing videos as objects takes seconds for a hundred thousand rows.
    return tuple(sorted(rows, key=lambda row: (SPLITS.index(row[0]), row[1].cls, row[1].id, row[1].group)))


@dataclass(frozen=True)
class Splits:
    """Videos by split and class.

    Rows are (split, video); they are sorted and checked on construction.

    Raises:
        DataError: unknown split name, empty class or id, a video twice, or a class in two splits.
    """

    rows: tuple[tuple[str, Video], ...]
    header: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self.rows)
        object.__setattr__(self, "rows", _sorted(self.rows))

    @cached_property
    def _index(self) -> dict[str, dict[str, list[Video]]]:
        index: dict[str, dict[str, list[Video]]] = {name: {} for name in SPLITS}
        for split, video in self.rows:
            index[split].setdefault(video.cls, []).append(video)
        return index

    @property
    def names(self) -> tuple[str, ...]:
        """The splits that hold a video."""
        return tuple(name for name in SPLITS if self._index[name])

    def classes(self, split: str) -> tuple[str, ...]:
        """Class names of a split, sorted; empty for a split without videos.

        Raises:
            DataError: no such split name.
        """
        if split not in SPLITS:
            raise DataError(f"no split '{split}'", did_you_mean(split, SPLITS) or f"splits: {', '.join(SPLITS)}")
        return tuple(self._index[split])

    def videos(self, split: str, cls: str | None = None) -> list[Video]:
        """Videos of one class of a split, or of the whole split, sorted by class and id.

        Raises:
            DataError: no such split, or no such class in it.
        """
        classes = self.classes(split)
        if cls is None:
            return [video for name in classes for video in self._index[split][name]]
        if cls not in classes:
            raise DataError(f"no class '{cls}' in split '{split}'", did_you_mean(cls, classes))
        return list(self._index[split][cls])

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the sorted rows as the file holds them."""
        return hashlib.sha256(_body(self.rows).encode()).hexdigest()

    @property
    def edited(self) -> bool:
        """Whether the rows differ from those the header's digest was taken of."""
        return self.header.get("digest", self.digest) != self.digest

    @property
    def published(self) -> bool:
        """Whether the rows are those of a published protocol."""
        return self.header.get("protocol", "none") != "none"

    def counts(self) -> dict[str, tuple[int, int]]:
        """{split: (classes, videos)} of the splits that hold a video."""
        return {name: (len(self._index[name]), len(self.videos(name))) for name in self.names}

    def text(self) -> str:
        """The file's content."""
        counts = ", ".join(f"{name} {videos} videos of {classes}" for name, (classes, videos) in self.counts().items())
        header = {"fsar-splits": FORMAT, **self.header, "digest": self.digest, "counts": counts}
        lines = "".join(f"# {key}: {' '.join(value.split())}\n" for key, value in header.items())
        return f"{lines}{','.join(COLUMNS)}\n{_body(self.rows)}"

    def write(self, path: Path) -> None:
        """Write the file in one step: readers see the old one or the new one, never a part."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, self.text())

    @classmethod
    def read(cls, path: Path) -> "Splits":
        """Read a split file.

        Raises:
            DataError: no such file, not a split file, a newer version, or rows the constructor refuses.
        """
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise DataError(
                f"cannot read the split file {path}: {error.strerror}",
                "`fsar splits make` writes one; one elsewhere is named by --splits, or data.splits in fsar.yaml",
            ) from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8 text (byte {error.start})", "save the file as UTF-8") from error
        try:
            return cls(*_parse(text))
        except DataError as error:
            raise DataError(f"{path}: {error.message}", error.hint) from error


def _check(rows: Iterable[tuple[str, Video]]) -> None:
    seen: set[str] = set()
    home: dict[str, str] = {}
    for split, video in rows:
        if split not in SPLITS:
            raise DataError(f"unknown split '{split}' of {video.id}", f"allowed: {', '.join(SPLITS)}")
        if not video.cls or not video.id:
            raise DataError(f"a row of split '{split}' lacks its class or video: {video}", "complete or remove the row")
        if home.setdefault(video.cls, split) != split:
            raise DataError(
                f"the class '{video.cls}' is in two splits, {home[video.cls]} and {split}",
                "few-shot splits share no class: move its videos into one of them",
            )
        if video.id in seen:
            raise DataError(f"the video {video.id} is listed twice", "remove one of the rows")
        seen.add(video.id)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text


def _body(rows: Iterable[tuple[str, Video]]) -> str:
    # Not csv.writer: which fields it quotes differs between Python versions, and the digest is taken of these bytes.
    fields = ((split, video.cls, video.id, video.group) for split, video in rows)
    return "".join(",".join(map(_quoted, row)) + "\n" for row in fields)


def _parse(text: str) -> tuple[tuple[tuple[str, Video], ...], dict[str, str]]:
    header: dict[str, str] = {}
    while text.startswith("#"):
        line, _, text = text.partition("\n")
        key, colon, value = line[1:].partition(":")
        if colon:
            header[key.strip()] = value.strip()
    if header.get("fsar-splits", FORMAT) != FORMAT:
        raise DataError(
            f"version {header['fsar-splits']} of the format is newer than this fsar knows ({FORMAT})", "update fsar"
        )
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="")
    missing = [name for name in COLUMNS[:3] if name not in (reader.fieldnames or ())]
    if missing:
        raise DataError(
            f"no column {', '.join(missing)} in the first row after the header, which reads {reader.fieldnames}",
            f"a split file has the columns {','.join(COLUMNS)}; `fsar splits make` writes one",
        )
    rows = ((row["split"], Video(row["class"], row["video"], row.get("group") or "")) for row in reader)
    return tuple(rows), header
