"""The split file: which video belongs to which class, split and group.

Format (version 1): UTF-8 text with `\\n` line ends. First header lines `# key: value`, then the CSV columns
`split,class,video,group`, then one row a video.

- split: train, val or test. A class is in one split only.
- video: the id "folder/stem" by which the frame store knows the video (see `tree`); any character is allowed. Read
  are also a path, whose last two parts count, backslashes where there is no slash, and a name alone: then the folder is
  the class.
- group: what videos of one source share (film, actors); empty: a group of its own. Groups may span classes.
- header: fsar-splits (the version), protocol, style, seed, group-by, lists, made-from, tree, digest, created-by and
  counts; all optional on reading, so that a list written by hand is a split file too. `protocol` is the name of a
  published one, or none; made from other lists than its own it reads `name+variant`. `lists` gives the SHA-256 of each
  list used, `made-from` the digest of the split file that was looked up anew in another tree.

Rows are sorted by split (train, val, test), class and id, and nothing in the file tells of time or place: the same
tree, rule and seed give the same bytes. The digest is the SHA-256 of the rows as written.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fsar_cli.data.naming import slashed
from fsar_cli.data.splits.protocols import SPLITS
from fsar_cli.data.tables import read_table
from fsar_cli.errors import DataError, did_you_mean, unreadable
from fsar_cli.files import write_whole

FORMAT = "1"
COLUMNS = ("split", "class", "video", "group")
_PATH = re.compile(r"/|\.\.?/|[A-Za-z]:/")
"""How a path begins that is no id."""


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
            DataError: no such file, not a split file, a newer version, or, by its number, a row that is no video or
                that the constructor refuses.
        """
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            message = f"cannot read the split file {path}: {error.strerror}"
            hint = "`fsar splits make` writes one; one elsewhere is named by --splits, or data.splits in fsar.yaml"
            raise unreadable(path, message, hint) from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8 text (byte {error.start})", "save the file as UTF-8") from error
        try:
            return cls(*_parse(text))
        except DataError as error:
            raise DataError(f"{path}: {error.message}", error.hint) from error


def _check(rows: Sequence[tuple[str, Video]], places: Sequence[str] = ()) -> None:
    """Raise DataError for the first row that does not fit; `places` name the rows, where they come from a file."""
    seen: dict[str, int] = {}
    home: dict[str, tuple[str, int]] = {}
    for number, (split, video) in enumerate(rows):
        at = places[number] if places else ""
        if split not in SPLITS:
            raise DataError(f"{at}unknown split '{split}' of {video.id}", f"allowed: {', '.join(SPLITS)}")
        if not video.cls or not video.id:
            what = "class" if video.id else "video"
            raise DataError(
                f"{at}a row of split '{split}' lacks its class or video: no {what}", "complete or remove it"
            )
        first, row = home.setdefault(video.cls, (split, number))
        if first != split:
            since = f" (since {places[row].rstrip(': ')})" if places else ""
            raise DataError(
                f"{at}the class '{video.cls}' is in two splits, {first}{since} and {split}",
                "few-shot splits share no class: move its videos into one of them",
            )
        if (row := seen.setdefault(video.id, number)) != number:
            also = f", in {places[row].rstrip(': ')} too" if places else ""
            raise DataError(f"{at}the video {video.id} is listed twice{also}", "remove one of the rows")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text


def _body(rows: Iterable[tuple[str, Video]]) -> str:
    # Not csv.writer: which fields it quotes differs between Python versions, and the digest is taken of these bytes.
    fields = ((split, video.cls, video.id, video.group) for split, video in rows)
    return "".join(",".join(map(_quoted, row)) + "\n" for row in fields)


def _parse(text: str) -> tuple[tuple[tuple[str, Video], ...], dict[str, str]]:
    header: dict[str, str] = {}
    before = start = 0
    while text.startswith("#", start):
        end = text.find("\n", start) + 1 or len(text)
        key, colon, value = text[start + 1 : end].partition(":")
        before, start = before + 1, end
        if colon:
            header[key.strip()] = value.strip()
    text = text[start:]
    if header.get("fsar-splits", FORMAT) != FORMAT:
        raise DataError(
            f"version {header['fsar-splits']} of the format is newer than this fsar knows ({FORMAT})", "update fsar"
        )
    if text.count('"') % 2:
        raise DataError("a double quote has no second one: rows run together", "close it where a name ends")
    table = read_table(text, COLUMNS[:3])
    if missing := [name for name in COLUMNS[:3] if name not in table.columns]:
        reads = f"which reads {','.join(table.columns)[:100]}" if table.columns else "as there is none"
        raise DataError(
            f"no column {', '.join(missing)} in the first row after the header, {reads}",
            f"a split file has the columns {','.join(COLUMNS)}; `fsar splits make` writes one",
        )
    numbered = [(f"row {before + line}: ", cells) for line, cells in table.rows]
    if not numbered:
        raise DataError("there is no video in it", "a row a video follows the columns; `fsar splits make` writes them")
    rows = tuple(_row(at, table.columns, cells) for at, cells in numbered)
    _check(rows, [at for at, _ in numbered])
    _refuse_two_spellings(rows, [at for at, _ in numbered])
    return rows, header


def _row(at: str, columns: Sequence[str], cells: Sequence[str]) -> tuple[str, Video]:
    if len(cells) > len(columns):
        text = f"{at}{len(cells)} cells under {len(columns)} columns"
        raise DataError(text, "put a name that holds the sign between two cells into double quotes")
    row = dict(zip(columns, cells, strict=False))
    split, cls, video, group = (row.get(name, "") for name in COLUMNS)
    return split.strip().casefold(), Video(cls, _id(at, cls, video), group)


def _id(at: str, cls: str, written: str) -> str:
    """The id "folder/stem" of a video as a list may name it."""
    path = slashed(written)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if _PATH.match(path):
        parts = parts[-2:]
    if len(parts) == 1:
        parts = [*cls.split("/"), *parts]
    if ".." in parts or (len(parts) > 1 and not parts[0]):
        raise DataError(
            f"{at}'{written}' names no video", "an id is the video's folder and its name, as in walk/clip_0"
        )
    return "/".join(parts)


def _refuse_two_spellings(rows: Sequence[tuple[str, Video]], places: Sequence[str]) -> None:
    """Two names of a class that are one but for capitals or Unicode's form, and whose videos lie in one folder."""
    spelt: dict[tuple[str, str], tuple[str, str]] = {}
    for at, (_, video) in zip(places, rows, strict=True):
        name = unicodedata.normalize("NFC", video.cls).casefold()
        other, row = spelt.setdefault((name, video.id.rpartition("/")[0]), (video.cls, at))
        if other != video.cls:
            text = f"{at}the class '{video.cls}' is '{other}' in {row.rstrip(': ')}"
            raise DataError(text, "write the class one way: these would be two classes")
