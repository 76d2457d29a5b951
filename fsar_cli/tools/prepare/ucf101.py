"""UCF101: `UCF101.rar` holds UCF-101/CLASS/v_CLASS_g01_c01.avi."""

import re

from fsar_cli.data.naming import fold
from fsar_cli.tools.prepare.rules import Place, Rules, by_fold, nearest
from fsar_cli.tools.prepare.searching import Entry

_NAME = re.compile(r"(?i)v_([a-z]+)_g\d+_c\d+")


class UCF101(Rules):
    """The class is the folder a clip lies in; failing that, the one in its name."""

    name, preset, protocol = "ucf101", "ucf101", "ucf101-arn"

    def __init__(self, normal: bool = False) -> None:
        super().__init__(normal)
        self.known = by_fold(self.expected())

    def place(self, video: Entry) -> Place | str:
        named = _NAME.match(video.name)
        label = nearest(video.parents, self.known) or (self.known.get(fold(named[1])) if named else None)
        return Place(label, video.name) if label else "no class of UCF101 in its folder or name"
