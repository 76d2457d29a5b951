"""The enrolled examples as one picture: a line of thumbnails a class."""

import numpy as np
from matplotlib.figure import Figure

from fsar_cli.data.video.picture import jpeg_picture
from fsar_cli.recognise.support import SupportSet
from fsar_cli.recognise.supportfile import LARGEST_THUMBNAIL
from fsar_cli.render.figures import MUTED, drawing, shorten

ACROSS, INCHES = 6, 1.7
"""Thumbnails a line, and inches of one."""
MOST = 60
"""Thumbnails; of more examples the first of each class are shown."""
MOST_CLASSES = 30
"""Of more the first are shown."""


def example_sheet(support: SupportSet, title: str) -> np.ndarray:
    """Thumbnails by class, with names: uint8 RGB [H,W,3]."""
    most = max(1, MOST // len(support.classes))  # of a class
    rows: list[tuple[str, list[int]]] = []
    for name in support.classes[:MOST_CLASSES]:
        members = [i for i, example in enumerate(support.examples) if example.cls == name]
        shown = members[:most]
        heading = f"{name}: {len(members)}" + (f", {len(shown)} shown" if len(shown) < len(members) else "")
        rows += [(heading if at == 0 else "", shown[at : at + ACROSS]) for at in range(0, len(shown), ACROSS)]

    across = max(3, *(len(members) for _, members in rows))

    def draw(figure: Figure) -> None:
        figure.suptitle(shorten(title, 90), x=0.01, ha="left", size=12, weight="bold")
        for part, (heading, members) in zip(figure.subfigures(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
            part.suptitle(shorten(heading, 90), x=0.01, ha="left", size=10, weight="bold")
            for place, member in enumerate(members, 1):
                axes, name = part.add_subplot(1, across, place), support.examples[member].name
                axes.axis("off")
                axes.imshow(jpeg_picture(support.thumbnails[member], LARGEST_THUMBNAIL))
                axes.set_title(shorten(name.partition("/")[2] or name, 24), size=8, color=MUTED)

    return drawing(draw, (across * INCHES, 0.5 + (INCHES + 0.35) * len(rows)))
