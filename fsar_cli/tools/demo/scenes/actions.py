"""The class table: which act belongs to which class, and which classes are for training, validation and test.

Train and validation classes are everyday events, test classes anomalous ones, as in the paper's data: what is learnt on
walking, steam, flags and handshakes has to tell falls, smoke, banners and fights apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fsar_cli.tools.demo.scenes import anomalies, effects, groups, handling, solo, things
from fsar_cli.tools.demo.scenes.act import Act, Wardrobe

Role = Literal["train", "val", "test"]


@dataclass(frozen=True)
class ActionClass:
    """One class of the demo set: its folder name, the split it belongs to, what one sees, and how it is made."""

    name: str
    role: Role
    text: str
    make: Callable[[np.random.Generator, Wardrobe], Act]


_TRAIN = (
    solo.walk, solo.run, solo.sit_down, solo.wave, solo.jumping_jacks, solo.squat, solo.bow, solo.push_ups,
    solo.cartwheel, solo.dance,
    handling.push_cart, handling.cycle, handling.kick_ball, handling.juggle, handling.sweep, handling.umbrella,
    handling.pick_up, handling.dig,
    things.walk_dog, things.birds, things.car_drive, things.hazard_lights, things.flag, things.shutter,
    effects.fountain, effects.leaves, effects.steam, effects.sparkler, effects.welding, effects.street_lamp,
    groups.handshake, groups.hand_over, groups.dance_pair, groups.gather,
)  # fmt: skip
_VAL = (
    handling.rope_skip, handling.skateboard, handling.balloons, effects.sprinkler, effects.bubbles,
    things.traffic_light, things.dog_run, groups.hug,
)  # fmt: skip
_TEST = (
    anomalies.fall, anomalies.fight, anomalies.fire, anomalies.smoke, anomalies.explosion, anomalies.dispersal,
    anomalies.spray_paint, anomalies.banner, anomalies.snatch, anomalies.car_crash,
)  # fmt: skip


def _entry(role: Role, make: Callable[[np.random.Generator, Wardrobe], Act]) -> ActionClass:
    return ActionClass(make.__name__, role, (make.__doc__ or "").strip(), make)


CLASSES: dict[str, ActionClass] = {
    make.__name__: _entry(role, make)
    for role, makes in (("train", _TRAIN), ("val", _VAL), ("test", _TEST))
    for make in makes
}
