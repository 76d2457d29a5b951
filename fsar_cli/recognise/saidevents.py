"""The events of a source that are over, as they stand in events.jsonl: memory holds their number alone.

A camera that is watched for months says more events than memory should hold. They are on disk as soon as they are said,
and read back whenever somebody goes through them; times are then in milliseconds, places in four digits.
"""

import json
import math
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from fsar_cli.recognise.events import Event
from fsar_cli.recognise.outputs import EventLog, NamedEvent


class SaidEvents(Collection[NamedEvent]):
    """Those of one source that were said since this was made; what somebody took out of the file is not among them.

    Args:
        log: that is open.
        video: as `NamedEvent.video`.
        tracks: read their tracks, too.
    """

    def __init__(self, log: EventLog, video: str, tracks: bool = False) -> None:
        self._log, self._video, self._tracks, self._count = log, video, tracks, 0
        self._begin = self._end = log.position

    def note(self) -> None:
        """One more is over, and was said."""
        self._count, self._end = self._count + 1, self._log.position

    def __len__(self) -> int:
        return self._count

    def __contains__(self, named: object) -> bool:
        return any(named == other for other in self)

    def __iter__(self) -> Iterator[NamedEvent]:
        if not self._count:
            return
        with suppress(FileNotFoundError), self._log.path.open("rb") as file:
            place = file.seek(self._begin)
            for line in file:
                place += len(line)
                if place > self._end:
                    return
                with suppress(ValueError, KeyError, TypeError):  # what another program wrote there
                    plain = json.loads(line)
                    if plain["video"] == self._video and plain["state"] == "closed":
                        yield _named(plain, self._tracks)


def _named(plain: dict[str, Any], tracks: bool) -> NamedEvent:
    """The event of an `outputs.event_document`; which example was nearest stands in its words."""
    wall, score = plain["wall"], plain["score"]
    event = Event(
        plain["start"], plain["end"], plain["class"], math.nan if score is None else score, 0,
        tuple((at, tuple(box)) for at, box in plain["track"]) if tracks else (),
        None if wall is None else datetime.fromisoformat(wall).timestamp(), cut=plain["cut"],
    )  # fmt: skip
    return NamedEvent(plain["video"], event, plain["rank"], plain["because"])
