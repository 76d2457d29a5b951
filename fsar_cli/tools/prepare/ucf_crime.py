"""UCF Crime v2: the 13 classes of UCF Crime in Anomaly-Videos-Part-1..4.zip, and Banner, MolotovBomb and annotations.

Normal videos (Training-Normal-Videos-Part-1, -2, Testing_Normal_Videos, Normal_Videos_for_Event_Recognition), most of
the bytes, belong to no class: they are not even unpacked unless they are asked for.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from fsar_cli.data.naming import fold
from fsar_cli.tools.prepare.rules import Place, Rules, by_fold, folded, nearest
from fsar_cli.tools.prepare.searching import Entry

CLASSES = (
    "Abuse", "Arrest", "Arson", "Assault", "Banner", "Burglary", "Explosion", "Fighting", "MolotovBomb",
    "RoadAccidents", "Robbery", "Shooting", "Shoplifting", "Stealing", "Vandalism",
)  # fmt: skip
NORMAL = "Normal"
_KNOWN = by_fold(CLASSES)

ANNOTATIONS = ("TemporalAnnotations", "Splits", "CSV", "Anomaly_Detection_splits")
"""The folders of annotations as they are published; what lies in them keeps its place below them."""

_NOTES = by_fold(ANNOTATIONS)
_NORMAL_NAME = re.compile(r"(?i)normal_videos?_?\d+")
_NORMAL_FOLDER = re.compile(r"(?:training|testing)?normal(?:videos?.*|part\d)?$")
_START = re.compile(r"[A-Za-z]+")


class UCFCrime(Rules):
    """The class is the folder a video lies in; failing that, what its name starts with."""

    name, preset, protocol, annotated = "ucf-crime-v2", "ucf-crime-v2", "ucf-crime-v2", True

    @property
    def parts(self) -> Mapping[str, int]:
        normal = {"trainingnormalvideospart": 2, "trainingnormalpart": 2} if self.normal else {}
        return {"anomalyvideospart": 4, **normal}

    def unwanted(self, parents: tuple[str, ...], name: str) -> str:
        return "is a normal video (--normal takes them)" if not self.normal and _is_normal(parents, name) else ""

    def place(self, video: Entry) -> Place | str:
        if _is_normal(video.parents, video.name):
            return self.unwanted(video.parents, video.name) or Place(NORMAL, video.name)
        start = _START.match(video.name)
        label = nearest(video.parents, _KNOWN) or (_KNOWN.get(fold(start[0])) if start else None)
        return Place(label, video.name) if label else "no class of UCF Crime v2 in its folder or name"

    def annotation(self, text: Entry) -> Path | None:
        for depth in range(len(text.parents) - 1, -1, -1):
            if name := _NOTES.get(folded(text.parents[depth])):
                return Path(name, *text.parents[depth + 1 :], text.name)
        return None


def _is_normal(parents: tuple[str, ...], name: str) -> bool:
    if _NORMAL_NAME.match(name):
        return True
    return any(_NORMAL_FOLDER.match(folded(parent)) for parent in parents[-2:])
