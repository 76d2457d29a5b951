"""Which encoder a support file belongs to: the same one opens it, others are refused in a sentence."""

from pathlib import Path

import pytest
import torch
from own_videos import CPU, clips_of, encoder_of, example_tree, features, small_support, tiny
from safetensors.torch import load_file, save_file
from small_project import Listener, lively
from videos import make_video

from fsar_cli.config import Config, dump
from fsar_cli.core.build import build_method
from fsar_cli.core.method import FRAMES, Encoded
from fsar_cli.engine.model import Model
from fsar_cli.errors import DataError
from fsar_cli.recognise.encoder import Encoder
from fsar_cli.recognise.enrolment import enrol
from fsar_cli.recognise.identity import identity_of, open_encoder
from fsar_cli.recognise.support import SupportSet

FILE = Path("a.fsar")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights."""
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    trunk = build_method(tiny(), seed=5).features.global_backbone.trunk
    save_file({name: tensor.contiguous() for name, tensor in trunk.state_dict().items()}, path)
    return path


def opened(config: Config) -> Encoder:
    return Encoder(Model(config).load(), config, CPU)


def with_encoder(support: SupportSet, **changes: object) -> SupportSet:
    document = support.document
    encoder = document.encoder.model_copy(update=changes)
    return type(support)(**vars(support) | {"document": document.model_copy(update={"encoder": encoder})})


def test_the_same_encoder_opens_the_file_and_says_the_same() -> None:
    encoder = opened(tiny())
    support = small_support(encoder)
    again = open_encoder(support, FILE, CPU)
    for (name, a), (other, b) in zip(
        sorted(again.method.state_dict().items()), sorted(encoder.method.state_dict().items()), strict=True
    ):
        assert name == other and torch.equal(a, b)
    assert identity_of(Model(again.config), again.method) == support.document.encoder


def test_its_whitening_comes_from_the_file(tmp_path) -> None:
    config = tiny(**{"model.freeze_backbone": True, "model.match.whiten": "train", "model.match.metric": "cosine"})
    encoder = opened(config)
    quiet = make_video(tmp_path / "n.mp4", frames=100, fps=10, content="noise")
    support, _ = enrol(Model(config), encoder, clips_of(example_tree(tmp_path / "ex")), [quiet], window=1.0)
    again = open_encoder(support, FILE, CPU)
    described = features(3, encoder.method.features.dim)
    assert all(
        torch.equal(a, b) for a, b in zip(*(e.embed(described).tensors.values() for e in (encoder, again)), strict=True)
    )
    bare = type(support)(**vars(support) | {"prepared": {}})
    with pytest.raises(DataError, match="its whitening is missing"):
        open_encoder(bare, FILE, CPU)
    short = type(support)(**vars(support) | {"prepared": {n: t[1:] for n, t in support.prepared.items()}})
    with pytest.raises(DataError, match="its whitening does not fit"):
        open_encoder(short, FILE, CPU)


def test_other_weights_are_refused() -> None:
    config = tiny()
    support = small_support(Encoder(lively(config), config, CPU))  # other batch statistics
    with pytest.raises(
        DataError, match=r"a\.fsar was made with other weights than mobilenet_v3_small \(none\) has now"
    ):
        open_encoder(support, FILE, CPU)


@pytest.mark.parametrize(
    "changes", [{"model.backbone": "resnet18"}, {"clip.size": 36}, {"clip.short_side": 40}, {"model.normalize": True}]
)
def test_another_backbone_or_preprocessing_is_refused(changes: dict) -> None:
    support = small_support(opened(tiny()))
    with pytest.raises(DataError, match=r"was made with (other weights|another preprocessing) than"):
        open_encoder(with_encoder(support, config=dump(tiny(**changes))), FILE, CPU)


@pytest.mark.parametrize("text", ["", "{", "model: {backbone: 7}", "a: b", "[1, 2]", "model: {nonsense: 1}"])
def test_a_configuration_that_is_none_is_the_files_fault(text: str) -> None:
    support = small_support(opened(tiny()))
    with pytest.raises(DataError):
        open_encoder(with_encoder(support, config=text), FILE, CPU)


@pytest.mark.parametrize(
    "described",
    [lambda d: Encoded({"maps": d}), lambda d: Encoded({FRAMES: d[..., 1:]}), lambda d: Encoded({FRAMES: d[:, 0]}),
     lambda d: Encoded({FRAMES: d.repeat(1, 3, 1)})],
)  # fmt: skip
def test_features_that_do_not_fit_the_encoder_are_refused(described) -> None:
    support = small_support(opened(tiny()))
    changed = type(support)(**vars(support) | {"described": described(support.described[FRAMES])})
    with pytest.raises(DataError, match="its features do not fit its encoder"):
        open_encoder(changed, FILE, CPU)


def test_windows_of_another_number_of_frames_are_refused() -> None:
    support = small_support(opened(tiny()))
    grid = support.document.grid.model_copy(update={"frames": 8})
    changed = type(support)(**vars(support) | {"document": support.document.model_copy(update={"grid": grid})})
    with pytest.raises(DataError, match="its windows have 8 frames, not 4"):
        open_encoder(changed, FILE, CPU)


def test_weights_that_were_moved_are_named(weights: Path, tmp_path: Path) -> None:
    here = tmp_path / "w.safetensors"
    here.write_bytes(weights.read_bytes())
    config = tiny(**{"model.weights": str(here)})
    support = small_support(opened(config))
    assert open_encoder(support, FILE, CPU).config == config
    there = here.rename(tmp_path / "moved weights.safetensors")
    with pytest.raises(DataError) as error:
        open_encoder(support, FILE, CPU)
    assert str(here) in error.value.message and "--weights" in error.value.hint
    open_encoder(support, FILE, CPU, weights=there)
    save_file({n: t + 1 for n, t in load_file(there).items()}, there)
    with pytest.raises(DataError, match="other weights"):
        open_encoder(support, FILE, CPU, weights=there)


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    support = with_encoder(small_support(encoder_of(tiny())), run=str(tmp_path / "runs/gone"))
    with pytest.raises(DataError, match=r"made with the run .*gone, which is not there") as error:
        open_encoder(support, FILE, CPU)
    assert "--run" in error.value.hint


def test_a_code_that_changed_is_told_to_who_wants_to_know() -> None:
    class Detailed(Listener):
        def detail(self, text: str) -> None:
            self.said.append(text)

    listener, support = Detailed(), small_support(opened(tiny()))
    open_encoder(support, FILE, CPU, reporter=listener)
    assert listener.said == []
    open_encoder(with_encoder(support, code="0" * 64), FILE, CPU, reporter=listener)
    assert "made with other code" in listener.said[0]
