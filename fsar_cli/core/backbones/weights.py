"""Weights into a network: those torchvision has for it, or a file's, whatever the names there begin with.

A file fits wholly or is refused; what comes after the map (a classifier) is left out on both sides.
"""

import errno
import hashlib
import http.client
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from urllib.error import URLError

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from fsar_cli.core.backbones.weightfile import read_state, require_finite
from fsar_cli.errors import DataError, UsageError
from fsar_cli.extras import first_line

# Parts of torchvision's and timm's networks that come after the map.
HEADS = ("fc", "classifier", "avgpool", "dropout", "heads", "head", "AuxLogits", "aux1", "aux2", "logits")
# What `model.weights` can be for some networks, besides `none` and a path; `pretrained` is for timm and transformers.
WORDS = ("imagenet", "kinetics400", "kinetics400_imagenet22k", "pretrained")
# Networks that a file of weights is compared with where it does not fit.
USUAL = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "resnext50_32x4d", "mobilenet_v2",
    "mobilenet_v3_small", "mobilenet_v3_large", "densenet121", "efficientnet_b0", "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0", "vgg16", "convnext_tiny", "swin_t",
)  # fmt: skip
# mmaction2 keeps a convolution and its norm in one module.
MMACTION = (
    (r"\bconv(\d)\.conv\.", r"conv\1."),
    (r"\bconv(\d)\.bn\.", r"bn\1."),
    (r"\bdownsample\.conv\.", "downsample.0."),
    (r"\bdownsample\.bn\.", "downsample.1."),
)


def weights_of(name: str) -> dict[str, WeightsEnum]:
    """What torchvision has for a network, by the word for `model.weights`: `imagenet`, `kinetics400`, ..."""
    known = torchvision.models.get_model_weights(name)
    if known.DEFAULT.name.startswith("IMAGENET1K"):  # of several versions
        return {"imagenet": known.DEFAULT}
    return {re.sub(r"_V\d+$", "", entry.name).lower(): entry for entry in known}


def pretrained_network(name: str, weights: str | Path, make: Callable[..., nn.Module], **options: object) -> nn.Module:
    """A network with weights.

    Args:
        weights: a word of torchvision's for some network, `none`, or a path to a state dict.
        make: makes it without weights, of `options`.

    Raises:
        UsageError: a word for other networks.
        DataError: weights that cannot be had, or belong to another network.
    """
    known = weights_of(name) if name in torchvision.models.list_models() else {}
    if (word := str(weights)) in known:
        return _downloaded(name, known[word], **options)
    refuse_words(name, word, known)
    network = make(**options)
    if word != "none":
        load_backbone(network, name, Path(weights))
    return network


def refuse_words(name: str, word: str, known: Iterable[str]) -> None:
    """Refuse a word for the weights of other networks. Raises UsageError: it is none of those known."""
    if word in WORDS and word not in known and not Path(word).exists():
        own = ", ".join(f"`{own}`" for own in known) or "no weights that can be fetched"
        raise UsageError(f"{name} has no weights '{word}', but {own}", "or take a file of weights, or `none`")


def cannot_get(name: str, error: Exception) -> DataError:
    """The error of weights that another library could not find, fetch or read."""
    hint = "set model.weights to a file of yours, or to `none`"
    return DataError(f"cannot get the weights of {name}: {first_line(error)}", hint)


def _downloaded(name: str, entry: WeightsEnum, **options: object) -> nn.Module:
    """A torchvision network with its weights, downloaded once; a broken download is deleted and fetched again.

    Where their place takes nothing they are fetched without being kept, and a line on stderr says so.

    Raises:
        DataError: they cannot be downloaded.
    """
    url = entry.url
    kept = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    broken = False
    try:
        with redirect_stdout(sys.stderr):  # torch tells of its download among the results
            try:
                broken = _delete_broken(kept)
                network: nn.Module = torchvision.models.get_model(name, weights=entry, **options)
                return network
            except OSError as error:
                if not _of_the_disk(error):
                    raise
                print(f"warning: {kept.parent} keeps nothing ({error.strerror}): going on without it", file=sys.stderr)
                return _unkept(name, entry, options)
    except (OSError, RuntimeError, http.client.HTTPException) as error:  # no network, or a download of a wrong hash
        removed = f"; {kept} was a broken download and has been deleted" if broken else ""
        hint = f"put {url} into {kept.parent}, or set model.weights to a file of yours or `none`"
        raise DataError(f"cannot download the weights of {name}: {error}{removed}", hint) from error


def _of_the_disk(error: OSError) -> bool:
    """Whether it is no error of the network: those name no file, and what writes to a full disk neither."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return not isinstance(error, URLError) and (error.filename is not None or error.errno in full)


def _unkept(name: str, entry: WeightsEnum, options: dict[str, object]) -> nn.Module:
    """The same from a temporary folder."""
    usual = torch.hub.get_dir()
    with tempfile.TemporaryDirectory(prefix="fsar-") as place:
        torch.hub.set_dir(place)
        try:
            network: nn.Module = torchvision.models.get_model(name, weights=entry, **options)
            return network
        finally:
            torch.hub.set_dir(usual)


def _delete_broken(kept: Path) -> bool:
    """Delete a download that has not the hash in its name; whether there was one."""
    wanted = torch.hub.HASH_REGEX.search(kept.name)
    if wanted is None or not kept.is_file():
        return False
    with kept.open("rb") as file:
        broken = not hashlib.file_digest(file, "sha256").hexdigest().startswith(wanted[1])
    if broken:
        kept.unlink(missing_ok=True)
    return broken


def load_backbone(network: nn.Module, name: str, path: Path) -> None:
    """Fill a network, but for its classifier, from a file.

    Raises:
        DataError: the file cannot be read, is of another network, or holds NaN or infinite numbers.
    """
    own = {key: tensor for key, tensor in network.state_dict().items() if key.split(".")[0] not in HEADS}
    state = read_state(path)
    wanted = _wanted(own)
    given = _part(state, wanted)
    if faults := list(_faults(wanted, given)):
        fitting = sum(_fits(given.get(k), v) for k, v in wanted.items())
        raise DataError(
            f"{path} does not fit the backbone {name}: {fitting} of {len(wanted)} tensors do; {'; '.join(faults)}",
            _whose(state, name),
        )
    # Not load_state_dict: networks that check the version of their whole state would refuse a part.
    converted = {key: given[key].to(tensor.dtype) for key, tensor in own.items() if _fits(given.get(key), tensor)}
    require_finite(converted, path)
    with torch.no_grad():
        for key, tensor in converted.items():
            own[key].copy_(tensor)


def _torchvision_name(name: str) -> str:
    for pattern, plain in MMACTION:
        name = re.sub(pattern, plain, name)
    return name


def _wanted(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in own.items() if k.split(".")[0] not in HEADS and not k.endswith("num_batches_tracked")}


def _fits(given: Tensor | None, own: Tensor) -> bool:
    if given is None or given.shape != own.shape or given.is_floating_point() != own.is_floating_point():
        return False
    return given.layout == torch.strided and given.device.type == "cpu"  # neither sparse nor without content


def _part(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state whose names, changed at their beginning, are most of those wanted; under the new names.

    Programs put the network below others (`module.`, `backbone.`, `encoder_q.`), or save the part before the classifier
    alone, whose names then lack their beginning (`features.`).
    """
    tops = {name.split(".")[0] for name in wanted}
    common = (f"{next(iter(tops))}.",) if len(tops) == 1 else ()
    # GoogLeNet's own names are like mmaction2's: as they are comes first.
    choices = [
        {f"{lacking}{name.removeprefix(above)}": tensor for name, tensor in named.items() if name.startswith(above)}
        for named in (state, {_torchvision_name(name): tensor for name, tensor in state.items()})
        for lacking in ("", *common)
        for above in _above(named, [name.removeprefix(lacking) for name in wanted])
    ]
    return max(choices, key=lambda part: sum(_fits(part.get(k), v) for k, v in wanted.items()), default=dict(state))


def _above(state: Iterable[str], names: Iterable[str]) -> list[str]:
    """What stands before the first of `names` that is in a state at all."""
    for name in names:
        if found := [key.removesuffix(name) for key in state if key == name or key.endswith(f".{name}")]:
            return found
    return []


def _faults(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Iterator[str]:
    """Why tensors do not fit: the first of each kind."""
    tops = {name.split(".")[0] for name in wanted}
    missing = [name for name in wanted if name not in given]
    other = [name for name in wanted if name in given and not _fits(given[name], wanted[name])]
    more = [k for k in given if k not in wanted and k.split(".")[0] in tops and not k.endswith("num_batches_tracked")]
    if missing:
        yield f"{len(missing)} missing, first '{missing[0]}'"
    if other:
        name = other[0]
        yield f"{len(other)} of another form, first '{name}': {_form(given[name])}, not {_form(wanted[name])}"
    if more:
        yield f"{len(more)} unexpected, first '{more[0]}'"


def _form(tensor: Tensor) -> str:
    kinds = [*([] if tensor.is_floating_point() else [tensor.dtype]), tensor.layout]
    words = [str(kind).removeprefix("torch.") for kind in kinds if kind != torch.strided]
    return " ".join([*words, str(list(tensor.shape))])


def _whose(state: Mapping[str, Tensor], name: str) -> str:
    """What to do with weights of another network, by whose they are."""
    if any(".trunk." in key for key in state):
        return "it is the model of a run: `fsar eval RUN` and `fsar train --resume RUN` take it from its folder"
    for network in USUAL:
        if not list(_faults(shapes := _shapes(network), _part(state, shapes))):
            return f"these are weights of {network}: set model.backbone={network}"
    return f"it takes a state dict of {name}" if ":" in name else f"it takes a state dict of torchvision's {name}"


@cache
def _shapes(name: str) -> dict[str, Tensor]:
    """The tensors of a network, without their content."""
    with torch.device("meta"):
        return _wanted(torchvision.models.get_model(name, weights=None).state_dict())
