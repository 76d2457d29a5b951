"""The class table: which act belongs to which class, and which classes are for training, validation and test.

Train and validation classes are everyday events, test classes anomalous ones, as in the paper's data: what is learnt on
walking, steam, flags and handshakes has to tell falls, smoke, banners and fights apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fsar_cli.errors import UsageError, did_you_mean
from fsar_cli.tools.demo.scenes import anomalies, everyday, things
from fsar_cli.tools.demo.scenes.act import Act, Wardrobe

Role = Literal["train", "val", "test"]


@dataclass(frozen=True)
class ActionClass:
    """One class of the demo set: the split it belongs to, and how its acts are made."""

    role: Role
    make: Callable[[np.random.Generator, Wardrobe], Act]


_MAKERS: dict[Role, tuple[Callable[[np.random.Generator, Wardrobe], Act], ...]] = {
    "train": (
        everyday.walk, everyday.run, everyday.wave, everyday.jumping_jacks, everyday.squat, everyday.push_ups,
        everyday.dance, everyday.handshake, everyday.dance_pair, everyday.gather,
        things.fountain, things.leaves, things.steam, things.flag, things.car_drive, things.hazard_lights,
    ),
    "val": (everyday.hug, everyday.skateboard, everyday.bubbles, things.sprinkler, things.traffic_light),
    "test": (
        anomalies.fall, anomalies.fight, anomalies.fire, anomalies.smoke, anomalies.explosion, anomalies.dispersal,
        anomalies.spray_paint, anomalies.banner, anomalies.snatch, anomalies.car_crash,
    ),
}  # fmt: skip
CLASSES = {make.__name__: ActionClass(role, make) for role, makes in _MAKERS.items() for make in makes}
"""Class name -> class; the name is the maker's and the folder's."""


def action_class(name: str) -> ActionClass:
    """The class of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in CLASSES:
        hint = did_you_mean(name, CLASSES) or f"classes: {', '.join(CLASSES)}"
        raise UsageError(f"the demo set has no class '{name}'", hint)
    return CLASSES[name]
