"""What annotations say once they are clean: segments by video and class, and a finding for everything that was not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fsar_cli.data.annotations.times import Segment

Kind = Literal["form", "class", "time", "repeated", "missing"]
"""What a user can do about a finding: see `segments`."""


@dataclass(frozen=True, order=True)
class AnnotatedVideo:
    """A video as annotations name it, in one of its classes."""

    cls: str
    """Class; empty: the folder in which the video will be found."""
    folder: str
    """As written, where it is not called like the class."""
    stem: str
    """The file's name without the ending of a video, unless another video has the same but for that."""
    name: str = field(default="", compare=False)
    """The file's name as written."""
    alone: bool = field(default=False, compare=False)
    """Whether no folder is written."""

    @property
    def place(self) -> str:
        """The folder that is written; empty for a name alone."""
        return "" if self.alone else self.folder or self.cls

    def __str__(self) -> str:
        return "/".join(filter(None, (self.cls, self.folder, self.stem)))


@dataclass(frozen=True)
class AnnotationFinding:
    """Something that was dropped, altered or odd."""

    file: str
    video: str
    """Id, or the name as written where it has none; empty: the whole file."""
    kind: Kind
    text: str
    dropped: bool

    def __str__(self) -> str:
        video = f"{self.video}: " if self.video else ""
        return f"{Path(self.file).name}: {video}{self.text}"


@dataclass(frozen=True)
class Annotations:
    """Segments by video and class, and what became of the rest."""

    videos: Mapping[AnnotatedVideo, tuple[Segment, ...]]
    """Segments by start, disjoint; perhaps none. Sorted."""
    findings: tuple[AnnotationFinding, ...]

    def by_id(self) -> dict[str, tuple[Segment, ...]]:
        """{"class/stem", or "class/folder/stem" where the folder is another: segments}."""
        return {str(video): segments for video, segments in self.videos.items()}

    def dropped(self) -> list[AnnotationFinding]:
        """The findings that cost a row or a segment."""
        return [finding for finding in self.findings if finding.dropped]
