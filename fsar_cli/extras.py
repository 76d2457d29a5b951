"""Libraries that come with an extra of fsar: imported when something asks for them, as a backbone does.

`timm:NAME` is a network of timm, `hf:NAME` one of transformers: a name on the hub, or a folder with its config.json.
What is told here is known without its weights.
"""

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from fsar_cli.errors import DataError, UsageError, did_you_mean, unreadable

TIMM, HF = "timm:", "hf:"
FAMILIES = {"videomae": "VideoMAE", "vjepa2": "VJEPA2"}
"""Networks of transformers: what their config.json says, and how their classes' names begin."""
PROCESSORS = ("video_preprocessor_config.json", "preprocessor_config.json")

Result = TypeVar("Result")


def optional(library: str, what: str, name: str) -> ModuleType:
    """An optional library.

    Args:
        what: needs it, for the message.
        name: of the extra that it comes with.

    Raises:
        UsageError: it cannot be imported.
    """
    try:
        return import_module(library)
    except ImportError as error:
        raise UsageError(
            f"{what} needs {library.partition('.')[0]}, which cannot be imported ({first_line(error)})",
            f"`pip install 'fsar[{name}]'`, in a clone `pip install '.[{name}]'`",
        ) from error


def extra(library: str, backbone: str) -> ModuleType:
    """The library of a backbone. Raises UsageError: it cannot be imported."""
    return optional(library, f"the backbone '{backbone}'", library)


def timm_config(backbone: str) -> Any:
    """timm's `PretrainedCfg` of a network `timm:NAME` or `timm:NAME.TAG`: its input, and where its weights are.

    Raises:
        UsageError: timm is not there, or does not know the name.
    """
    timm, name = extra("timm", backbone), backbone.removeprefix(TIMM)
    network = name.partition(".")[0]
    if not timm.is_model(network):
        near = did_you_mean(network, timm.list_models())
        raise UsageError(f"timm has no network '{network}'", near or "`timm.list_models()` in Python names them all")
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        known = timm.list_pretrained(f"{network}.*")
        near = did_you_mean(name, known) or f"it has {', '.join(known) or 'none'}"
        raise UsageError(f"timm has no weights '{name}'", near) from error


def hf_config(backbone: str) -> Any:
    """The config of a network `hf:NAME`, of a class of transformers.

    Raises:
        UsageError: transformers is not there, or the network is of another kind.
        DataError: neither a folder nor the hub has it, or transformers refuses it.
    """
    content = _of_hub(backbone, ("config.json",))
    kind = content.get("model_type")
    if kind not in FAMILIES:
        raise UsageError(
            f"the backbone '{backbone}' is of the kind '{kind}', and VideoMAE and V-JEPA 2 alone can be taken",
            "for example hf:MCG-NJU/videomae-base or hf:facebook/vjepa2-vitl-fpc64-256",
        )
    try:
        return getattr(extra("transformers", backbone), f"{FAMILIES[kind]}Config").from_dict(content)
    except Exception as error:  # transformers checks the kinds of values, and raises what it likes
        reason = " ".join(str(error).split())
        raise DataError(f"transformers does not take the config of '{hf_source(backbone)}': {reason}") from error


def only_side(config: Any) -> int:
    """The one side in pixels that a network of transformers takes; V-JEPA 2 counts the positions of a row by it."""
    side = config.crop_size if config.model_type == "vjepa2" else config.image_size
    return side if isinstance(side, int) else side[0]


def only_frames(config: Any) -> int | None:
    """The one number of frames that it takes; None: any, as V-JEPA 2 turns by positions (RoPE) and has no table."""
    return None if config.model_type == "vjepa2" else config.num_frames


def hf_processor(backbone: str) -> Mapping[str, Any]:
    """What prepares clips for a network `hf:NAME`: `image_mean`, `image_std`, perhaps `size` and `crop_size`.

    Raises:
        DataError: neither a folder nor the hub has it.
    """
    content = _of_hub(backbone, PROCESSORS)
    if not (content.get("image_mean") and content.get("image_std")):
        raise DataError(
            f"the processor's config of '{hf_source(backbone)}' names no image_mean and image_std",
            "take that of the network whose weights these are",
        )
    return content


def hf_source(backbone: str) -> str:
    """Where transformers finds a network `hf:NAME`: a folder or a name on the hub."""
    name = backbone.removeprefix(HF)
    folder = Path(name).expanduser()
    return str(folder) if folder.is_dir() else name


def cached_first(fetch: Callable[[bool], Result]) -> Result:
    """`fetch(True)`, which asks the hub's cache alone, or else `fetch(False)`: no network is needed twice."""
    try:
        return fetch(True)
    except OSError:
        return fetch(False)


def first_line(error: BaseException) -> str:
    """What an error of another library says, without its advice."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _of_hub(backbone: str, files: tuple[str, ...]) -> Mapping[str, Any]:
    """The first of some JSON files that a folder or the hub has."""
    source = hf_source(backbone)
    found = _in_folder(Path(source), files) if Path(source).is_dir() else _on_hub(backbone, source, files)
    try:
        content = json.loads(found.read_bytes())
    except (OSError, ValueError) as error:
        raise unreadable(found, f"{found} is no JSON", "fetch it again", error) from error
    return content if isinstance(content, dict) else {}


def _in_folder(folder: Path, files: tuple[str, ...]) -> Path:
    found = next((folder / file for file in files if (folder / file).is_file()), None)
    if found is None:
        raise DataError(f"'{folder}' holds no {' or '.join(files)}", "`save_pretrained` of transformers writes it")
    return found


def _on_hub(backbone: str, name: str, files: tuple[str, ...]) -> Path:
    fetch = extra("transformers", backbone).utils.cached_file

    def path(cached: bool) -> str:
        problem: Exception = FileNotFoundError(f"no {' or '.join(files)}")
        for file in files:
            try:
                if found := fetch(name, file, local_files_only=cached):
                    return found
            except Exception as error:  # the hub's and the network's are of many kinds
                problem = error
        raise problem

    try:
        return Path(cached_first(path))
    except Exception as error:
        raise DataError(
            f"there is no folder '{name}', and the hub has no such network or cannot be reached: {first_line(error)}",
            "hf:FOLDER takes a folder with config.json, the processor's config and the weights",
        ) from error
