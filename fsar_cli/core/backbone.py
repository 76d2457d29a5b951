"""Backbones: any torchvision classification network that ends in a feature map. The only user of torchvision here."""

from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from fsar_cli.errors import DataError, UsageError, did_you_mean

# Parts of torchvision's networks that come after the map.
HEADS = ("fc", "classifier", "avgpool", "dropout", "heads", "head", "AuxLogits", "aux1", "aux2")


class Backbone(nn.Module):
    """Frames -> feature map; the vector of a frame is the mean of its map (global average pooling)."""

    def __init__(self, trunk: nn.Module, dim: int, name: str = "") -> None:
        """
        Args:
            trunk: module that maps [B,3,h,w] to [B,C,H,W].
            dim: C.
        """
        super().__init__()
        self.trunk, self.dim, self.name = trunk, dim, name

    def forward(self, frames: Tensor) -> Tensor:
        """[B,3,h,w] -> map [B,C,H,W]."""
        return self.trunk(frames)

    def map_side(self, input_side: int) -> int:
        """Cells along one side of the map of a square input of `input_side` pixels."""
        training = self.training
        self.eval()
        with torch.no_grad():
            parameter = next(self.parameters())
            side = self(
                torch.zeros(1, 3, input_side, input_side, device=parameter.device, dtype=parameter.dtype)
            ).shape[-1]
        self.train(training)
        return side


def backbone_names() -> list[str]:
    """The torchvision classification networks; not all of them end in a map (vision transformers do not)."""
    return [n for n in torchvision.models.list_models(module=torchvision.models) if not n.startswith(("vit", "maxvit"))]


def build_backbone(name: str, weights: str | Path) -> Backbone:
    """Make a backbone.

    Args:
        name: a torchvision classification network, for example `resnet50`.
        weights: `imagenet` (torchvision's default weights, downloaded once), `none`, or a path to a state dict of the
            network (.pth, .pt or .safetensors; with or without classifier, any float type).

    Raises:
        UsageError: unknown network, or one without a final map.
        DataError: weights that cannot be read or belong to another network.
    """
    if name not in backbone_names():
        raise UsageError(f"unknown backbone '{name}'", did_you_mean(name, backbone_names()) or "for example resnet50")
    try:
        network = torchvision.models.get_model(name, weights="DEFAULT" if str(weights) == "imagenet" else None)
    except OSError as error:
        hint = "download them where there is a network, or set model.weights to a local file or `none`"
        raise DataError(f"cannot download the ImageNet weights of {name}: {error}", hint) from error
    if str(weights) not in ("imagenet", "none"):
        _load(network, name, Path(weights))
    trunk = _trunk(network)
    with torch.no_grad():
        features = trunk.eval()(torch.zeros(2, 3, 64, 64))
    if features.ndim != 4:
        raise UsageError(f"backbone '{name}' does not end in a feature map", "use a convolutional network: resnet50")
    return Backbone(trunk.train(), features.shape[1], name)


def _trunk(network: nn.Module) -> nn.Module:
    """Everything before pooling and classifier."""
    if isinstance(network, torchvision.models.DenseNet):  # its last ReLU is a function call in forward()
        return nn.Sequential(network.features, nn.ReLU())
    if hasattr(network, "features"):
        return network.features
    return nn.Sequential(*[part for key, part in network.named_children() if key not in HEADS])


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict without executing anything it may contain.

    Raises:
        DataError: missing, unreadable, or not a flat mapping of names to tensors.
    """
    if not path.is_file():
        raise DataError(f"no weights at {path}", "model.weights takes a path, `imagenet`, `demo` or `none`")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged pickle or archive raises
        raise DataError(
            f"cannot read the weights {path}: {type(error).__name__}", "is the download complete?"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise DataError(f"{path} holds no state dict", "save model.state_dict()")
    return {key.removeprefix("module."): value for key, value in state.items()}


def _load(network: nn.Module, name: str, path: Path) -> None:
    own = network.state_dict()
    given = {k: v for k, v in read_state(path).items() if k.split(".")[0] not in HEADS}
    wanted = {k: v for k, v in own.items() if k.split(".")[0] not in HEADS and not k.endswith("num_batches_tracked")}
    wrong = [k for k, v in wanted.items() if k not in given or given[k].shape != v.shape]
    if wrong:
        raise DataError(
            f"{path} does not fit the backbone {name}: {len(wrong)} of {len(wanted)} tensors missing or of another "
            f"shape, first '{wrong[0]}'",
            "set model.backbone to the network the weights were made for",
        )
    network.load_state_dict({k: given[k].to(v.dtype) for k, v in own.items() if k in given}, strict=False)
