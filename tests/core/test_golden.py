"""Parity with reference outputs: every file of FSAR_GOLDEN, whatever its way, shot, frames and sizes."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from core_parts import relative_error
from torch import Tensor, nn

from fsar_cli.core.features import Features
from fsar_cli.core.layers.alignment import otam
from fsar_cli.core.layers.attention import CrossTransformer
from fsar_cli.core.layers.nearest import NearestTuples
from fsar_cli.core.method import Encoded, FewShotMethod, Scores
from fsar_cli.core.methods.ata import ATA, SCALE, SHARPNESS
from fsar_cli.core.methods.bimhm import BiMHM
from fsar_cli.core.methods.keyregion import KeyRegion
from fsar_cli.core.methods.otam import OTAM
from fsar_cli.core.methods.strm import STRM, FrameEnrichment, PatchEnrichment
from fsar_cli.core.methods.trx import TRX
from fsar_cli.core.regions import KeyRegionSelector, crop_regions
from fsar_cli.core.relation import Relation

FOLDER = Path(os.environ.get("FSAR_GOLDEN") or Path(__file__).resolve().parents[3] / "shared" / "golden")
PEERS, EXACT = 1e-4, 1e-5  # of the largest number: authors' code in float32, float64 loops

Arrays = dict[str, np.ndarray]


def tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def episode(arrays: Arrays) -> tuple[Tensor, Tensor]:
    """Positions of the support [1,N,K], by class in ascending order of labels, and of the query [1,Q] videos."""
    labels = arrays["support_labels"]
    support = np.stack([np.flatnonzero(labels == c) for c in np.unique(labels)])
    queries = np.arange(len(arrays["query"])) + len(labels)
    return torch.from_numpy(support).unsqueeze(0), torch.from_numpy(queries).unsqueeze(0)


def videos(arrays: Arrays) -> Tensor:
    return torch.cat([tensor(arrays["support"]), tensor(arrays["query"])])


def match(method: FewShotMethod, arrays: Arrays) -> Scores:
    support, query = episode(arrays)
    with torch.no_grad():
        encoded = method.eval().embed(Encoded({"frames": videos(arrays)}))
        return method.match(encoded.take(support), encoded.take(query))


def fill(module: nn.Module, arrays: Arrays, prefix: str = "") -> None:
    """Set every parameter from the array of its name, whose axes of length one may be missing."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            value = torch.from_numpy(arrays[prefix + name.removeprefix("cards.")])
            parameter.copy_(value.reshape(parameter.shape))


def cross_transformer(arrays: Arrays, name: str, prefix: str = "") -> CrossTransformer:
    cardinalities = sorted(
        {int(c) for key in arrays for c in re.findall(rf"^{re.escape(prefix)}card(\d+)\.key\.", key)}
    )
    weight = arrays[f"{prefix}card{cardinalities[0]}.key.weight"]
    key_dim, dim = weight.shape[0], weight.shape[1] // cardinalities[0]
    frames = arrays["support"].shape[1]
    head = CrossTransformer(name, dim, frames, cardinalities=tuple(cardinalities), key_dim=key_dim, dropout=0.0)
    fill(head, arrays, prefix)
    return head


def check_trx(arrays: Arrays, facts: dict[str, Any]) -> None:
    head = cross_transformer(arrays, "trx")
    method = TRX(Features(), head)
    assert relative_error(match(method, arrays).logits[0], torch.from_numpy(arrays["logits"])) < PEERS
    everything = head.cards
    for card in list(everything):
        head.cards = nn.ModuleDict({card: everything[card]})
        assert relative_error(match(method, arrays).logits[0], torch.from_numpy(arrays[f"{card}.logits"])) < PEERS


def check_bimhm(arrays: Arrays, facts: dict[str, Any]) -> None:
    method = BiMHM(Features(), str(facts.get("reduction", "sum")).split()[0])
    assert relative_error(match(method, arrays).logits[0], torch.from_numpy(arrays["logits"])) < PEERS


def check_otam(arrays: Arrays, facts: dict[str, Any]) -> None:
    method = OTAM(Features())
    smoothing, epsilon = facts.get("lam", 0.1), facts.get("cosine_eps", 0.01)
    if (smoothing, epsilon) != (0.1, 0.01):
        method.distance = lambda query, support: otam(query, support, smoothing, epsilon)
    assert relative_error(match(method, arrays).logits[0], torch.from_numpy(arrays["logits"])) < PEERS


STRM_NAMES = {
    "patch_enrich": {"query": "query_proj", "key": "key_proj", "value": "value_conv"},
    "patch_enrich.mix": {"0": "Bot_MLP.inp_fc", "2": "Bot_MLP.hid_fc", "4": "Bot_MLP.out_fc"},
    "frame_enrich.over_frames": {"0": "Tok_MLP.inp_fc", "2": "Tok_MLP.out_fc"},
    "frame_enrich.over_channels": {"0": "Bot_MLP.inp_fc", "2": "Bot_MLP.out_fc"},
}


def check_strm(arrays: Arrays, facts: dict[str, Any]) -> None:
    named = dict(arrays)
    for ours, parts in STRM_NAMES.items():
        for part, theirs in parts.items():
            for kind in ("weight", "bias"):
                named[f"{ours}.{part}.{kind}"] = arrays[f"{ours.split('.')[0]}.{theirs}.{kind}"]
    named |= {key.replace(".proj.", "."): value for key, value in arrays.items()}
    _, frames, patches, dim = arrays["support"].shape
    head = cross_transformer(arrays, "main")
    cardinalities = tuple(int(card.removeprefix("card")) for card in head.cards)
    width = len(arrays[f"aux.card{cardinalities[0]}.proj.weight"])
    parts = {
        "patch_enrich": PatchEnrichment(patches, dim),
        "frame_enrich": FrameEnrichment(frames, dim),
        "aux": NearestTuples("similarity", dim, frames, out_dim=width, cardinalities=cardinalities),
    }
    for name, part in parts.items():
        fill(part, named, f"{name}.")
    method = STRM(Features(), parts["patch_enrich"], parts["frame_enrich"], head, parts["aux"]).eval()
    support, query = episode(arrays)
    with torch.no_grad():
        enriched = method.frames(method.patches(tensor(arrays["query"])).mean(2))
        encoded = method.embed(Encoded({"patches": videos(arrays).transpose(2, 3)}))
        scores = method.match(encoded.take(support), encoded.take(query))
    found = {"main": scores.parts["main"][0], "aux": scores.parts["similarity"][0]}
    for name, logits in found.items():
        assert relative_error(logits, torch.from_numpy(arrays[f"{name}_logits"])) < PEERS, name
    assert relative_error(enriched, torch.from_numpy(arrays["enriched_query"])) < PEERS
    assert relative_error(scores.logits[0], torch.from_numpy(arrays["logits"])) < PEERS


def check_keyregion_match(arrays: Arrays, facts: dict[str, Any]) -> None:
    heads = {part: cross_transformer(arrays, part, f"{part}.") for part in ("global", "local")}
    features = Features()
    features.dim = arrays["support"].shape[-1]
    features.global_dim = heads["global"].positions.encoding.shape[-1]
    method = KeyRegion(features, heads, {})
    scores = match(method, arrays)
    assert relative_error(-scores.parts["spatial"][0], torch.from_numpy(arrays["spatial_distance"])) < EXACT
    assert relative_error(-scores.parts["temporal"][0], torch.from_numpy(arrays["temporal_distance"])) < EXACT
    assert relative_error(scores.logits[0], torch.from_numpy(arrays["logits"])) < EXACT
    labels = torch.from_numpy(np.searchsorted(np.unique(arrays["support_labels"]), arrays["query_labels"]))
    loss = method.loss(scores, labels.unsqueeze(0), "sum")
    assert loss.item() == pytest.approx(float(arrays["loss_sum"]), rel=EXACT)


def check_keyregion_select(arrays: Arrays, facts: dict[str, Any]) -> None:
    for dtype in (torch.float64, torch.float32):
        select(arrays, facts, dtype)


def select(arrays: Arrays, facts: dict[str, Any], dtype: torch.dtype) -> None:
    maps, frames = torch.from_numpy(arrays["feature_map"]).to(dtype), torch.from_numpy(arrays["frames"]).to(dtype)
    side = facts["region_side"]
    relation = Relation(maps.shape[2], maps.shape[1], bias="temporal.mix.bias" in arrays).to(dtype)
    fill(relation, arrays)
    selector = KeyRegionSelector(frames.shape[-1], side)
    with torch.no_grad():
        temporal, motion, cells = relation.temporal(maps.mean(2)), relation.motion(maps), relation(maps)
        regions = selector(cells)
        crops = crop_regions(frames.flatten(0, 1), regions.centres.flatten(0, 1), side).unflatten(0, maps.shape[:2])
    found = {
        "temporal_gate": temporal,
        "motion_gate": motion,
        "cell_weights": cells,
        "centres_xy": regions.centres,
        "crops": crops,
    }
    coordinates = 2e-7 * frames.shape[-1] if dtype == torch.float32 else 0  # pixels: what float32 tells apart
    for name, value in found.items():
        tolerance = max(EXACT, coordinates) if name == "crops" else EXACT
        assert relative_error(value, torch.from_numpy(arrays[name])) < tolerance, name
    assert regions.saturated.float().mean().item() == pytest.approx(facts["saturated_share"], abs=1e-6)


def check_ata(arrays: Arrays, facts: dict[str, Any]) -> None:
    features = Features()
    features.dim = arrays["support"].shape[-1]
    steps = facts.get("adaptation_steps", 0)
    scores = match(ATA(features, arrays["support"].shape[1], steps=steps), arrays)
    assert (facts.get("scale", SCALE), facts.get("score_scale", SHARPNESS), facts.get("sigma", 1.0)) == (10.0, 5.0, 1.0)
    for name, found in scores.everything().items():
        assert relative_error(found[0], torch.from_numpy(arrays[name])) < PEERS, name


CHECKS: dict[str, Callable[[Arrays, dict[str, Any]], None]] = {
    "trx": check_trx,
    "bimhm": check_bimhm,
    "otam": check_otam,
    "ata": check_ata,
    "strm": check_strm,
    "keyregion_match": check_keyregion_match,
    "keyregion_select": check_keyregion_select,
}


def kind_of(file_name: str) -> str | None:
    """The longest kind a file's name starts with: `trx_7way.npz` is of kind `trx`."""
    return max((kind for kind in CHECKS if file_name.startswith(kind)), key=len, default=None)


def test_the_kind_is_the_beginning_of_the_file_name() -> None:
    assert [kind_of(n) for n in ("trx.npz", "trx_7.npz", "trx-3way.npz", "keyregion_match.2.npz", "other.npz")] == [
        "trx",
        "trx",
        "trx",
        "keyregion_match",
        None,
    ]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.npz")) or [None], ids=lambda p: p.stem if p else "none")
def test_outputs_equal_those_of_the_reference(path: Path | None) -> None:
    if path is None:
        pytest.skip(f"no reference files in {FOLDER.name}; FSAR_GOLDEN names another folder")
    kind = kind_of(path.name)
    if kind is None:
        pytest.skip(f"no check for {path.name}: its method is not implemented")
    facts_file = path.with_suffix(".json")
    facts = json.loads(facts_file.read_text(encoding="utf-8")) if facts_file.is_file() else {}
    with np.load(path) as arrays:
        CHECKS[kind](dict(arrays), facts)
