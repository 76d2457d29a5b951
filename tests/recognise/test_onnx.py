"""Encoders in ONNX files: the numbers of PyTorch, the same events, and refusals of what is not such a file."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx_parts import CPU, IMAGES, VIDEO, Place, alike, make_place, make_videos, stirred, tiny_networks

from fsar_cli.engine.model import Model
from fsar_cli.errors import DataError, UsageError
from fsar_cli.recognise import onnxexport
from fsar_cli.recognise.identity import identity_of
from fsar_cli.recognise.onnxexport import example_clips, export_onnx
from fsar_cli.recognise.onnxfile import KEY, read_onnx
from fsar_cli.recognise.onnxgraph import _largest_of_parts
from fsar_cli.recognise.recognizer import Recognizer
from fsar_cli.settings import resolve

KINDS = {
    "images": {"model.method": "prototype", "model.backbone": IMAGES},
    "images with regions": {"model.method": "keyregion", "model.backbone": IMAGES},
    "video": {"model.method": "prototype", "model.backbone": VIDEO, "clip.frames": 16},
    "video with regions": {"model.method": "prototype", "model.region.enabled": True, "model.backbone": VIDEO,
                           "clip.frames": 16},
}  # fmt: skip


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    return make_videos(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def places(videos, tmp_path_factory) -> dict[str, Place]:
    """Of each kind a run, a support file and the ONNX file beside it. Read only."""
    with tiny_networks():
        made = {kind: make_place(tmp_path_factory.mktemp("place"), videos, **values) for kind, values in KINDS.items()}
        for place in made.values():
            method = place.model.load()
            export_onnx(
                method, place.model.config, identity_of(place.model, method), place.folder / "support.fsar.onnx"
            )
    return made


@pytest.fixture
def tiny():
    with tiny_networks():
        yield


@pytest.fixture
def place(places, tiny) -> Place:
    return places["images"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_scan_finds_the_same_events_with_the_same_scores(kind, places, videos, tiny) -> None:
    plain = Recognizer.load(places[kind].support, "cpu")
    other = Recognizer.load(places[kind].support, "cpu", runtime="onnx")
    wanted, given = (list(r.windows(videos / "joined.mp4")) for r in (plain, other))
    assert alike(np.stack([w.scores for w in wanted]), np.stack([w.scores for w in given]))
    assert [(w.start, w.end, w.nearest) for w in wanted] == [(w.start, w.end, w.nearest) for w in given]
    assert alike(*(np.array([[box for _, box in w.track] for w in some]) for some in (wanted, given)))
    true, found = (list(r.scan(videos / "joined.mp4", 60)) for r in (plain, other))
    assert true
    assert [(e.cls, e.start, e.end, e.nearest) for e in true] == [(e.cls, e.start, e.end, e.nearest) for e in found]


def test_a_clip_gets_the_same_answer(place, videos) -> None:
    answers = [Recognizer.load(place.support, "cpu", runtime=name).classify(videos / "snow" / "1.mp4")
               for name in ("torch", "onnx")]  # fmt: skip
    assert answers[0].cls == answers[1].cls
    assert answers[0].score == pytest.approx(answers[1].score, abs=1e-4)


def test_each_frame_is_encoded_once_for_all_windows_that_share_it(place, videos) -> None:
    recognizer, seen = Recognizer.load(place.support, "cpu", runtime="onnx"), []
    graphs = recognizer.encoder._graphs
    maps = graphs.maps
    graphs.maps = lambda frames: seen.append(len(frames)) or maps(frames)
    windows = list(recognizer.windows(videos / "joined.mp4"))
    frames = recognizer.grid.frames
    assert sum(seen) < 0.7 * frames * len(windows)


def test_another_can_run_the_file_by_what_it_says_of_itself(places) -> None:
    """With onnxruntime and numpy alone, for any number of clips."""
    path = places["images with regions"].folder / "support.fsar.onnx"
    session = onnxruntime.InferenceSession(path)
    facts = json.loads(session.get_modelmeta().custom_metadata_map[KEY])
    (name, taken), *rest = facts["inputs"].items()
    assert rest == [] and taken["type"] == "float32"
    for batch in (1, 4):
        clips = np.random.default_rng(0).normal(size=[batch, *taken["shape"][1:]]).astype(np.float32)
        made = dict(zip([o.name for o in session.get_outputs()], session.run(None, {name: clips}), strict=True))
        assert {n: [batch, *t["shape"][1:]] for n, t in facts["outputs"].items()} == {
            n: list(a.shape) for n, a in made.items()
        }
        assert made["boxes"].min() > -1e-6 and made["boxes"].max() < 1 + 1e-6
    assert facts["clip"]["size"] == 32 and facts["clip"]["mean"] is None and facts["steps"] == 4


def test_batch_norms_are_folded(places) -> None:
    for place in places.values():
        model, _ = read_onnx(place.folder / "support.fsar.onnx")
        assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


def test_the_file_says_how_far_it_is_from_pytorch(place) -> None:
    _, document = read_onnx(place.folder / "support.fsar.onnx")
    assert 0 < document.checked.relative < 1e-5
    assert document.checked.clips == sum(document.checked.batches)


@pytest.fixture
def exporter(monkeypatch, place):
    """In the exporter's place: the graph that it made before; exporting takes seconds."""
    model, _ = read_onnx(place.folder / "support.fsar.onnx")
    model.metadata_props.pop()
    monkeypatch.setattr(onnxexport, "onnx_model", lambda *_: model)
    return model


def test_a_file_with_other_numbers_is_not_written(place, exporter, tmp_path) -> None:
    weight = next(t for t in exporter.graph.initializer if len(t.dims) == 4)
    weight.raw_data = (1.1 * np.frombuffer(weight.raw_data, np.float32)).tobytes()
    method = place.model.load()
    with pytest.raises(DataError, match=r"other numbers than PyTorch: by 0\.\d+ of the largest") as refused:
        export_onnx(method, place.model.config, identity_of(place.model, method), tmp_path / "x.onnx")
    assert refused.value.exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_what_the_exporter_does_not_take_is_refused_in_one_sentence(place, tmp_path) -> None:
    method = place.model.load()

    class Sorting(torch.nn.Module):
        def forward(self, x):
            return x.clone() if float(x.sum()) > 0 else 2 * x  # depends on what is computed

    method.features.global_backbone.trunk.append(Sorting())
    with pytest.raises(UsageError, match="PyTorch cannot export this network to ONNX") as refused:
        export_onnx(method, place.model.config, identity_of(place.model, method), tmp_path / "x.onnx")
    assert "\n" not in refused.value.message and "\x1b" not in refused.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_network_of_two_gibibytes_is_refused_before_anything_is_computed(place, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(onnxexport, "LARGEST", 2**20)
    method = place.model.load()
    with pytest.raises(DataError, match="an ONNX file holds less than 2 GiB"):
        export_onnx(method, place.model.config, identity_of(place.model, method), tmp_path / "x.onnx")


def test_an_export_leaves_the_method_as_it_was(place, exporter, tmp_path) -> None:
    method = place.model.load()
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    clips = example_clips(place.model.config, 2, 0)
    with torch.no_grad():
        wanted = method.describe(clips)["frames"]
        export_onnx(method, place.model.config, identity_of(place.model, method), tmp_path / "x.onnx")
        assert torch.equal(method.describe(clips)["frames"], wanted)
    assert all(torch.equal(before[name], tensor) for name, tensor in method.state_dict().items())
    assert method.features.global_backbone.folded is None


@pytest.mark.parametrize(
    "method",
    ["strm", "sloshnet", *(pytest.param(name, marks=pytest.mark.slow) for name in ("arn", "molo", "bimacl", "trx"))],
)
def test_methods_that_keep_maps_or_wrap_the_backbone_can_be_exported(method, tiny, tmp_path) -> None:
    values = {"clip.frames": 4, "clip.size": 64, "clip.short_side": 64, "model.method": method, "model.weights": "none",
              "model.backbone": IMAGES, "model.region.enabled": method == "strm", "model.classes": 3,
              "model.region.side": 32, "model.match.cardinalities": [2], "model.match.key_dim": 8}  # fmt: skip
    config = resolve(base=values, environ={}).config
    model = Model(config)
    made = stirred(model.load(), 0)
    document = export_onnx(made, config, identity_of(model, made), tmp_path / "x.onnx")
    assert document.checked.relative < 1e-5


def test_largest_features_of_parts_are_those_of_torch() -> None:
    maps = torch.randn(2, 3, 7, 5)
    wanted = torch.nn.functional.adaptive_max_pool2d(maps, (4, 2))
    assert torch.equal(_largest_of_parts(maps, (4, 2))[0], wanted)


# Files that are refused


def load(place: Place, path: Path) -> Recognizer:
    return Recognizer.load(place.support, "cpu", runtime="onnx", onnx=path)


def changed(place: Place, target: Path, change) -> Path:
    model = onnx.load(place.folder / "support.fsar.onnx")
    change(model)
    onnx.save(model, target)
    return target


def restated(**facts):
    def change(model) -> None:
        entry = next(e for e in model.metadata_props if e.key == KEY)
        entry.value = json.dumps(json.loads(entry.value) | facts)

    return change


def test_a_file_that_is_not_there_is_named_with_what_makes_it(place, tmp_path) -> None:
    with pytest.raises(DataError, match=r"no ONNX file at .*x\.onnx") as refused:
        load(place, tmp_path / "x.onnx")
    assert "fsar export --onnx" in refused.value.hint


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.999])
def test_a_truncated_file_is_refused(kept, place, tmp_path) -> None:
    whole = (place.folder / "support.fsar.onnx").read_bytes()
    path = tmp_path / "x.onnx"
    path.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else kept])
    with pytest.raises(DataError, match=r"x\.onnx"):
        load(place, path)


def test_a_file_that_is_no_model_is_refused(place, tmp_path) -> None:
    (tmp_path / "x.onnx").write_text("these are words\n" * 100)
    with pytest.raises(DataError, match="is no ONNX file, or is damaged"):
        load(place, tmp_path / "x.onnx")


def test_a_model_of_somebody_else_is_refused(place, tmp_path) -> None:
    path = changed(place, tmp_path / "x.onnx", lambda model: model.metadata_props.pop())
    with pytest.raises(DataError, match="does not say which encoder it is of"):
        load(place, path)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"weights": "0" * 64}, "with other weights than"),
        ({"preprocessing": "0" * 64}, "with another preprocessing than"),
        ({"method": "otam"}, r"with another method \(otam\) than"),
        ({"format": 2}, "of format 2, which a newer fsar wrote"),
        ({"format": "one"}, "its metadata's format"),
        ({"steps": 0}, "its metadata's steps"),
        ({"inputs": {}}, "its graph has other inputs and outputs"),
    ],
)
def test_a_file_of_another_encoder_or_version_is_refused(facts, words, place, tmp_path) -> None:
    path = changed(place, tmp_path / "x.onnx", restated(**facts))
    with pytest.raises(DataError, match=words):
        load(place, path)


def test_a_file_of_other_weights_is_refused_though_its_form_is_the_same(place, videos, tmp_path) -> None:
    other = make_place(tmp_path / "other", videos, seed=1, **KINDS["images"])
    with pytest.raises(DataError, match=r"exported with other weights than .* was made with"):
        load(other, place.folder / "support.fsar.onnx")


def test_weights_in_other_files_are_not_looked_for(place, tmp_path) -> None:
    def change(model) -> None:
        tensor = max(model.graph.initializer, key=lambda some: len(some.raw_data))
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="secret.bin")

    with pytest.raises(DataError, match="keeps weights in other files"):
        model = onnx.load(place.folder / "support.fsar.onnx")
        change(model)
        (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
        load(place, tmp_path / "x.onnx")


def test_a_graph_that_does_not_run_is_an_error_of_data(place, tmp_path) -> None:
    def change(model) -> None:
        next(node for node in model.graph.node if node.op_type == "Conv").op_type = "Convolve"

    with pytest.raises(DataError, match="onnxruntime does not take"):
        load(place, changed(place, tmp_path / "x.onnx", change))


@pytest.mark.parametrize("library", ["onnx", "onnxruntime"])
def test_a_missing_library_is_named_with_its_extra(library, place, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=f"needs {library}, which cannot be imported") as refused:
        Recognizer.load(place.support, "cpu", runtime="onnx")
    assert "pip install 'fsar[onnx]'" in refused.value.hint


def test_an_unknown_runtime_and_a_file_that_it_does_not_read_are_refused(place) -> None:
    with pytest.raises(UsageError, match="unknown runtime 'onyx'") as refused:
        Recognizer.load(place.support, "cpu", runtime="onyx")
    assert refused.value.hint == "did you mean 'onnx'?"
    with pytest.raises(UsageError, match="is read with --runtime onnx only"):
        Recognizer.load(place.support, "cpu", onnx="x.onnx")


# Real networks


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [
        {"model.backbone": "mobilenet_v2", "model.method": "keyregion", "clip.frames": 4},
        {"model.backbone": "r3d_18", "model.method": "prototype", "clip.frames": 16},
        {"model.backbone": "s3d", "model.method": "prototype", "clip.frames": 16},
        {"model.backbone": "i3d", "model.method": "prototype", "clip.frames": 16},
    ],
)
def test_real_networks_find_the_same_events(values, videos, tmp_path, request) -> None:
    if values["model.backbone"] in ("mobilenet_v2", "i3d"):
        names = {"mobilenet_v2": "mobilenet_v2.pth", "i3d": "i3d_kinetics400_fp16.safetensors"}
        weights = request.getfixturevalue("shared") / "weights" / names[values["model.backbone"]]
        if not weights.exists():
            pytest.skip(f"no {weights.name}")
        values = values | {"model.weights": str(weights)}
    sizes = {"clip.size": 64, "clip.short_side": 64, "model.region.side": 32, "model.match.metric": "cosine"}
    place = make_place(tmp_path / "real", videos, stir=False, **values, **sizes)
    method = place.model.load()
    export_onnx(method, place.model.config, identity_of(place.model, method), place.folder / "support.fsar.onnx")
    plain, other = (Recognizer.load(place.support, CPU.type, runtime=name) for name in ("torch", "onnx"))
    wanted, given = (list(r.windows(videos / "joined.mp4")) for r in (plain, other))
    assert alike(np.stack([w.scores for w in wanted]), np.stack([w.scores for w in given]))
    true, found = (list(r.scan(videos / "joined.mp4", 60)) for r in (plain, other))
    assert [(e.cls, e.start, e.end) for e in true] == [(e.cls, e.start, e.end) for e in found]
