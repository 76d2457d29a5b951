"""Which classes of actions the weights of a backbone have seen: a number on these is no few-shot number.

torchvision's weights of video networks come with the list of their classes. Of a file of weights they are listed in a
text file beside it, `NAME.classes.txt` for `NAME.pth`: UTF-8, one class a line; empty lines and lines that begin with #
are left out, and a list without a class says that no action was seen. A network of transformers that classifies has
its classes in its config; of others there, and of timm's, it is not known: some saw videos or pictures of the web. And
ImageNet's classes are objects: no weights of torchvision's for images have seen an action.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torchvision

from fsar_cli.core.backbones.weightfile import read_state
from fsar_cli.core.backbones.weights import HEADS, weights_of
from fsar_cli.errors import DataError, unreadable
from fsar_cli.extras import HF, hf_config
from fsar_cli.recipes import VIDEO_RECIPES

KINETICS = "Kinetics-400"
OUTPUTS = 400  # of a classifier of Kinetics-400, and of no other usual set of actions


@dataclass(frozen=True)
class SeenClasses:
    """What weights were trained on before any run."""

    source: str
    """Whose classes they are, for people; empty: there was no training."""
    classes: tuple[str, ...] | None
    """Names of the actions; None: not known."""


def seen_classes(name: str, weights: str | Path) -> SeenClasses:
    """What the weights of a network have seen; a file that is gone or damaged has seen what is not known.

    Args:
        name, weights: as of `build_backbone`.

    Raises:
        DataError: the list beside a file cannot be read.
    """
    word, video = str(weights), name in VIDEO_RECIPES
    if word == "none":
        return SeenClasses("", ())
    if name in torchvision.models.list_models() and word in weights_of(name):
        return SeenClasses(KINETICS, _kinetics()) if video else SeenClasses("ImageNet", ())
    if word == "pretrained":
        return SeenClasses(name, _labels(name) if name.startswith(HF) else None)
    path = Path(weights)
    if (listed := _listed(file := list_of(path))) is not None:
        return SeenClasses(file.name, listed)
    if video and _classifies(path, OUTPUTS):
        return SeenClasses(KINETICS, _kinetics())
    return SeenClasses(path.name, None)


def list_of(path: Path) -> Path:
    """Where the classes of a file of weights are listed."""
    return path.parent / f"{path.stem}.classes.txt"


def _kinetics() -> tuple[str, ...]:
    """The 400 classes, which are the same for all of torchvision's networks of video."""
    return tuple(weights_of("r3d_18")["kinetics400"].meta["categories"])


def _labels(name: str) -> tuple[str, ...] | None:
    """The classes in the config of a network of transformers; None: placeholders."""
    labels = tuple((hf_config(name).id2label or {}).values())
    return None if all(re.fullmatch(r"LABEL_\d+", label) for label in labels) else labels


def _listed(file: Path) -> tuple[str, ...] | None:
    """The classes of a list; None: there is none."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(file, f"{file} is no text in UTF-8", "list one class a line", error) from error
    return tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))


def _classifies(path: Path, outputs: int) -> bool:
    """Whether a file of weights has a classifier of so many classes."""
    with suppress(DataError, OSError):
        state = read_state(path)
        biases = [t for key, t in state.items() if key.endswith(".bias") and not set(HEADS).isdisjoint(key.split("."))]
        return any(bias.shape == (outputs,) for bias in biases)
    return False
