"""Which encoder a support file belongs to: named by where it comes from, known by digests, opened again for a scan."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch

import fsar_cli
from fsar_cli.config import Config, dump, load
from fsar_cli.core.build import normalization
from fsar_cli.core.method import FewShotMethod
from fsar_cli.engine.bank import code_digest
from fsar_cli.engine.model import Model
from fsar_cli.engine.runs import Run
from fsar_cli.engine.tensorfile import add_to_digest
from fsar_cli.errors import DataError, UsageError
from fsar_cli.recognise.encoder import Encoder
from fsar_cli.recognise.support import EncoderIdentity, SupportSet
from fsar_cli.reporting import SILENT, Reporter

ANEW = "`fsar support make` makes the file anew"
OWN = "preparation."  # names of the whitening, which a support file brings itself where no run does


def identity_of(model: Model, method: FewShotMethod) -> EncoderIdentity:
    """What a support file says of its encoder.

    Args:
        model: its configuration, and the run that it comes from, if any.
    """
    config = model.config
    return EncoderIdentity(
        config=dump(config),
        run=None if model.run is None else str(model.run.path.resolve()),
        weights=_weights_digest(method, model.run is not None),
        preprocessing=_preprocessing_digest(config, method),
        code=code_digest(),
        fsar=fsar_cli.__version__,
    )


def _weights_digest(method: FewShotMethod, of_run: bool) -> str:
    digest = hashlib.sha256()
    state = sorted(method.state_dict().items())
    add_to_digest(digest, {name: tensor for name, tensor in state if of_run or not name.startswith(OWN)})
    return digest.hexdigest()


def _preprocessing_digest(config: Config, method: FewShotMethod) -> str:
    libraries = [backbone.library for backbone in method.features.backbones()]
    facts = [normalization(config.model), config.clip, config.model.relation, config.model.region, libraries]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def open_encoder(
    support: SupportSet, path: Path, device: torch.device, *, run: Path | None = None, weights: Path | None = None,
    kind: Callable[[FewShotMethod, Config, torch.device], Encoder] = Encoder, reporter: Reporter = SILENT,
) -> Encoder:  # fmt: skip
    """The encoder that a support file was made with.

    Args:
        path: of the file, for messages.
        run, weights: where its run or its weights are now; None: where they were.
        kind: makes the encoder of the method, once that is known to be the file's.

    Raises:
        DataError: they are not there, or are others.
    """
    identity = support.document.encoder
    try:
        config = load(identity.config, f"the configuration in {path}")
    except UsageError as error:
        raise DataError(error.message, ANEW) from error
    if weights is not None:
        config = config.model_copy(update={"model": config.model.model_copy(update={"weights": str(weights)})})
    place = run or (Path(identity.run) if identity.run else None)
    if place is not None and not (place / "config.yaml").is_file():
        text = f"{path} was made with the run {place}, which is not there"
        raise DataError(text, "--run names where it is now, or `fsar support make` makes the file anew")
    method = _loaded(Model(config, None if place is None else Run(place)), path)
    _compare(identity, config, method, path)
    if identity.code != code_digest():
        reporter.detail(f"{path} was made with other code (fsar {identity.fsar}): scores may differ a little")
    for name, buffer in method.preparation.named_buffers():
        if name in support.prepared:
            if support.prepared[name].shape != buffer.shape:
                raise DataError(f"{path}: its whitening does not fit its encoder", ANEW)
            buffer.copy_(support.prepared[name])
    _check_features(support, method, path)
    if support.document.grid.frames != config.clip.frames:
        raise DataError(
            f"{path}: its windows have {support.document.grid.frames} frames, not {config.clip.frames}", ANEW
        )
    return kind(method, config, device)


def _loaded(model: Model, path: Path) -> FewShotMethod:
    """The method, or in words why it cannot be had. Raises DataError."""
    try:
        return model.load()
    except (DataError, UsageError) as error:
        file = Path(model.config.model.weights)
        moved = model.run is None and file.suffix and not file.exists()
        hint = "--weights names where they are now, or `fsar support make` makes the file anew" if moved else error.hint
        raise DataError(f"{path}: its encoder cannot be had: {error.message}", hint) from error


def _check_features(support: SupportSet, method: FewShotMethod, path: Path) -> None:
    """Refuse features that the method does not take. Raises DataError."""
    if not method.preparation.fitted:
        raise DataError(f"{path}: its whitening is missing", ANEW)
    steps, width = method.features.steps, method.features.dim
    for name in method.kept_features:
        kept = support.described.tensors.get(name)
        if kept is None or kept.ndim < 3 or kept.shape[1] not in (1, steps) or kept.shape[2] != width:
            shape = "missing" if kept is None else list(kept.shape)
            raise DataError(f"{path}: its features do not fit its encoder: {name} is {shape}", ANEW)


def _compare(identity: EncoderIdentity, config: Config, method: FewShotMethod, path: Path) -> None:
    anew = "`fsar support make` encodes the examples anew; --run or --weights names those it was made with"
    who = identity.run or f"{config.model.backbone} ({config.model.weights})"
    if identity.weights != _weights_digest(method, identity.run is not None):
        raise DataError(f"{path} was made with other weights than {who} has now", anew)
    if identity.preprocessing != _preprocessing_digest(config, method):
        raise DataError(f"{path} was made with another preprocessing than {who} has now", anew)
