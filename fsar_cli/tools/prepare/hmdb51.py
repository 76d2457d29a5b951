"""HMDB51: `hmdb51_org.rar` holds 51 archives CLASS.rar, each with CLASS/NAME.avi."""

from fsar_cli.tools.prepare.rules import Place, Rules, by_fold, nearest
from fsar_cli.tools.prepare.searching import Entry


class HMDB51(Rules):
    """The class is the folder a clip lies in, or else its archive."""

    name, preset, protocol = "hmdb51", "hmdb51", "hmdb51-arn"

    def __init__(self, normal: bool = False) -> None:
        super().__init__(normal)
        self.known = by_fold(self.expected())

    def place(self, video: Entry) -> Place | str:
        label = nearest(video.parents, self.known)
        return Place(label, video.name) if label else "lies in no folder named after a class of HMDB51"
