"""Weights (safetensors) and resumable state; a crash leaves the previous file whole."""

import io
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from fsar_cli.config import Config
from fsar_cli.core.backbones.weightfile import require_finite, require_its_size
from fsar_cli.core.build import build_method
from fsar_cli.core.method import FewShotMethod
from fsar_cli.engine.runs import Run
from fsar_cli.errors import DataError, unreadable
from fsar_cli.files import write_whole

PARTS = {
    "method": dict,
    "optimizer": dict,
    "scaler": dict,
    "gradients": list,
    "step": int,
    "best": list | None,
    "rows": list,
    "window": list,
}
"""Of a run's state."""


def save_weights(method: FewShotMethod, path: Path) -> None:
    """Write the method's tensors.

    Raises:
        OSError: they cannot be written; naming the file.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in method.state_dict().items()}
    write_whole(path, save(tensors))  # its own writing gives the file to one user alone, and hides a full disk


def load_weights(method: FewShotMethod, path: Path, config: Config) -> None:
    """Fill a method from a weights file.

    Raises:
        DataError: missing or damaged file, weights of another method, backbone or number of frames, or numbers that
            are none.
    """
    if not path.is_file():
        raise DataError(f"no weights at {path}", "was the run interrupted before its first checkpoint? `fsar train`")
    try:
        given = load_file(path)
    except (SafetensorError, OSError) as error:
        message, hint = f"cannot read the weights {path}: {error}", "the file is damaged; train again"
        raise unreadable(path, message, hint) from error
    own = method.state_dict()
    wrong = [k for k in own.keys() | given.keys() if k not in own or k not in given or own[k].shape != given[k].shape]
    if wrong:
        raise DataError(f"{path} does not fit {_identity(config)}: {_why(sorted(wrong), own, given)}", _hint(wrong))
    require_finite(given, path)
    method.load_state_dict(given)


def _identity(config: Config) -> str:
    return f"method {config.model.label}, backbone {config.model.backbone}, {config.clip.frames} frames"


def _why(wrong: list[str], own: dict, given: dict) -> str:
    name = wrong[0]
    if name not in given:
        return f"{len(wrong)} tensors differ, '{name}' is missing"
    if name not in own:
        return f"{len(wrong)} tensors differ, '{name}' is unknown"
    return f"{len(wrong)} tensors differ, '{name}' is {tuple(given[name].shape)} and not {tuple(own[name].shape)}"


def _hint(wrong: list[str]) -> str:
    if any(".temporal.mix" in name for name in wrong) and all(".temporal.mix" in name for name in wrong):
        return "the relation module (eq. 1) is tied to the number of frames it was trained with: keep clip.frames"
    return (
        "a checkpoint fixes method, regions, whitening, backbone, tuples, clip.frames: use the run's own configuration"
    )


def load_method(run: Run, config: Config | None = None) -> FewShotMethod:
    """The trained method of a run, in evaluation mode, on the CPU."""
    config = config or run.config()
    method = build_method(config, pretrained=False)
    load_weights(method, run.model_file, config)
    return method.eval()


def save_state(path: Path, state: dict) -> None:
    """Write everything a run needs to go on (tensors, numbers, strings).

    Raises:
        OSError: it cannot be written; naming the file.
    """
    whole = io.BytesIO()
    torch.save(state, whole)  # to a file it would hide why that cannot be written
    write_whole(path, whole.getvalue())


def load_state(path: Path) -> dict:
    """Read `save_state`'s file without executing anything.

    Raises:
        DataError: missing or damaged.
    """
    if not path.is_file():
        raise DataError(f"nothing to resume at {path}", "the run stopped before its first checkpoint: start it anew")
    hint = "the file is damaged: start the run anew"
    try:
        require_its_size(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except Exception as error:  # whatever a damaged archive raises
        raise unreadable(path, f"cannot read {path}: {type(error).__name__}", hint) from error
    if not isinstance(state, dict) or any(not isinstance(state.get(key), kind) for key, kind in PARTS.items()):
        raise DataError(f"{path} holds no state of a run", hint)
    return state
