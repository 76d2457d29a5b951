"""What every form of annotations is read into: a row a video, or a segment, nothing judged yet."""

from dataclasses import dataclass

from fsar_cli.data.annotations.annotated import Kind
from fsar_cli.data.annotations.times import Segment, seconds
from fsar_cli.errors import DataError

FORMS = (
    "JSON {video: [{start, end}]}, of ActivityNet or of Label Studio, "
    "a table with the columns video,start,end or UCF Crime's Filepath, or its .txt"
)


class NotAnnotations(DataError):
    """The file is of none of the forms."""


@dataclass(frozen=True)
class AnnotationRow:
    """What a file says about one video."""

    at: str
    """Place in the file, such as `row 12: `; empty where the video's name is enough."""
    video: str
    """Name as written: with or without folder and extension."""
    cls: str = ""
    """Class, where it has a place of its own."""
    times: tuple[tuple[object, object], ...] = ()
    """(start, end) as written."""
    fault: str = ""
    """Why the row, or a part of it, says nothing."""
    rate: float = 1
    """Units of the times in a second."""
    own: bool = False
    """Whether it is one of several for its video, each a segment with a class, and of no known data set."""
    first: int = 0
    """Number of the unit with which a video starts. Where it is 1, the end is the last unit of the segment."""
    notes: tuple[tuple[Kind, str], ...] = ()
    """What was assumed, or is odd, in words that the rows of a file share."""

    def segment(self, start: object, end: object, at: str = "") -> Segment:
        """A pair of times in seconds; NaN for what is no time."""
        return Segment(seconds(start, self.rate, self.first), seconds(end, self.rate), at)
