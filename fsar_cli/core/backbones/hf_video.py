"""Networks of video that transformers has: VideoMAE and V-JEPA 2, up to their last tokens as maps.

Their configs come from the folder or the hub's cache that the backbone names, also where a checkpoint has the weights.
Classes are transformers' own and nothing from the hub is executed. Of V-JEPA 2 the encoder alone is kept.
"""

import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fsar_cli.core.backbones.backbone import ClipBackbone
from fsar_cli.core.backbones.weightfile import read_state, require_finite
from fsar_cli.core.backbones.weights import cannot_get, refuse_words
from fsar_cli.errors import DataError, is_out_of_memory
from fsar_cli.extras import FAMILIES, cached_first, extra, hf_config, hf_source, only_frames, only_side

PREDICTOR = "predictor."  # of V-JEPA 2: it guesses hidden tokens in pretraining, and has no part in the maps
FITTING = "it takes a state dict of this network in transformers, with or without a head"
# Whatever type of number a file has; what does not fit is told, and refused here.
LOADING = {"dtype": torch.float32, "output_loading_info": True, "ignore_mismatched_sizes": True}

Told = tuple[nn.Module, dict[str, Any]]  # a network, and what transformers tells of its weights


class Tokens(nn.Module):
    """Patches of a clip as tokens, with their positions where these are added."""

    def __init__(self, embeddings: nn.Module, *masks: None) -> None:
        """
        Args:
            masks: what `embeddings` takes besides the clip: VideoMAE a mask, of no token.
        """
        super().__init__()
        self.embeddings, self.masks = embeddings, masks

    def forward(self, clips: Tensor) -> Tensor:
        """[B,3,F,S,S] -> [B,T*H*W,C]."""
        tokens: Tensor = self.embeddings(clips.transpose(1, 2), *self.masks)
        return tokens


class TokenLayer(nn.Module):
    """A block, tokens to tokens."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, tokens: Tensor) -> Tensor:
        """[B,N,C] -> [B,N,C]."""
        made: Tensor | tuple[Tensor, ...] = self.layer(tokens)
        return made[0] if isinstance(made, tuple) else made  # V-JEPA 2 gives its attention, too


class TokenMaps(nn.Module):
    """Tokens as maps."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, tokens: Tensor) -> Tensor:
        """[B,T*H*W,C] -> [B,C,T,H,W]."""
        maps: Tensor = tokens.transpose(1, 2).unflatten(2, (-1, self.rows, self.rows))
        return maps


def hf_backbone(name: str, weights: str | Path) -> ClipBackbone:
    """Make a backbone.

    Args:
        name: `hf:NAME`, of the hub or a folder.
        weights: `pretrained` (those of the name), `none`, or a path to a state dict of the network in transformers,
            with or without a head.

    Raises:
        UsageError: transformers is not there, or the network is of another kind.
        DataError: a config or weights that cannot be had, or weights of another network.
    """
    config = hf_config(name)
    refuse_words(name, str(weights), ["pretrained"])
    side = only_side(config)
    trunk = _trunk(_model(name, config, str(weights)), config, side)
    backbone = ClipBackbone(
        trunk, config.hidden_size, name, step=config.tubelet_size, only=only_frames(config), side=side
    )
    backbone.library = f"transformers {extra('transformers', name).__version__} {config.to_json_string()}"
    return backbone


def _trunk(model: Any, config: Any, side: int) -> nn.Sequential:
    """The parts up to the last norm, one after the other, so that blocks can be run again in the backward pass.

    A VideoMAE that was trained to pool its tokens has no norm before that.
    """
    turning = config.model_type == "vjepa2"
    tokens = Tokens(model.encoder.embeddings) if turning else Tokens(model.embeddings, None)
    norm = model.encoder.layernorm if turning else model.layernorm
    patch = config.patch_size if isinstance(config.patch_size, int) else config.patch_size[0]
    layers = nn.Sequential(*map(TokenLayer, model.encoder.layer))
    maps = TokenMaps(side // patch)
    return nn.Sequential(OrderedDict(tokens=tokens, layers=layers, norm=norm or nn.Identity(), maps=maps))


def _model(name: str, config: Any, weights: str) -> nn.Module:
    """A network of transformers with its weights, all of them."""
    network = getattr(extra("transformers", name), f"{FAMILIES[config.model_type]}Model")
    if weights == "none":
        empty: nn.Module = network(config)
        return empty
    file = None if weights == "pretrained" else Path(weights)
    model, told = _hub_model(network, name, config) if file is None else _file_model(network, name, config, file)
    if faults := list(_faults(told)):
        raise DataError(f"{file or hf_source(name)} does not fit the backbone {name}: {'; '.join(faults)}", FITTING)
    require_finite({k: v for k, v in model.state_dict().items() if not k.startswith(PREDICTOR)}, file or Path(name))
    return model


def _hub_model(network: Any, name: str, config: Any) -> Told:
    source = hf_source(name)

    def fetch(cached: bool) -> Told:
        with _quiet(name, bars=not cached):  # a download shows its bar
            found: Told = network.from_pretrained(source, config=config, local_files_only=cached, **LOADING)
            return found

    try:
        return cached_first(fetch)
    except Exception as error:  # the hub's, the network's and those of damaged files are of many kinds
        if is_out_of_memory(error):
            raise
        raise cannot_get(name, error) from error


def _file_model(network: Any, name: str, config: Any, file: Path) -> Told:
    state = read_state(file)
    with _quiet(name):
        found: Told = network.from_pretrained(None, config=config, state_dict=state, **LOADING)
        return found


def _faults(told: dict[str, Any]) -> Iterator[str]:
    """Why weights do not fit, by what transformers tells of them."""
    missing = sorted(key for key in told["missing_keys"] if not key.startswith(PREDICTOR))
    other = sorted(fault for fault in told["mismatched_keys"] if not fault[0].startswith(PREDICTOR))
    if missing:
        yield f"{len(missing)} missing, first '{missing[0]}'"
    if other:
        key, given, own = other[0]
        yield f"{len(other)} of another form, first '{key}': {list(given)}, not {list(own)}"


@contextmanager
def _quiet(name: str, bars: bool = False) -> Iterator[None]:
    """transformers without its reports, and without `bars`; what goes wrong is said by fsar."""
    logging = extra("transformers", name).utils.logging
    verbosity, bars_before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not bars:
        logging.disable_progress_bar()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars_before:
            logging.enable_progress_bar()
