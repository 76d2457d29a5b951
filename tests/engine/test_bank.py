"""The bank: what is kept on disk, what makes it another entry, and that neither changes a result."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from small_project import Listener, lively, reader_of, small

import fsar_cli
from fsar_cli.core.build import build_method
from fsar_cli.core.method import Encoded
from fsar_cli.data.clips import ClipReader, EvaluationClips
from fsar_cli.data.splits import Splits
from fsar_cli.data.transforms import to_float
from fsar_cli.engine import bank as bank_module
from fsar_cli.engine import device as device_module
from fsar_cli.engine import tensorfile
from fsar_cli.engine.bank import code_digest, describe_clips, encode_videos, features_key
from fsar_cli.engine.evaluate import document, evaluate
from fsar_cli.errors import DataError
from fsar_cli.files import Cache

CPU = torch.device("cpu")


@pytest.fixture
def case(project):
    config = small(project, **{"eval.episodes": 30})
    method, reader = lively(config), reader_of(config)
    videos = tuple(video.id for video in Splits.read(config.data.splits).videos("test"))
    return method, reader, videos, CPU, config


def same(a, b) -> bool:
    return a.tensors.keys() == b.tensors.keys() and all(torch.equal(a[name], b[name]) for name in a.tensors)


def test_a_cached_bank_is_the_bank_and_costs_no_backbone(case, tmp_path, monkeypatch):
    method, reader, videos, device, config = case
    cache = Cache(tmp_path / "cache")
    plain = encode_videos(*case)
    cold = encode_videos(*case, cache=cache)
    monkeypatch.setattr(type(method), "describe", None)
    monkeypatch.setattr(
        bank_module, "features_key", lambda *_: next(entry.name for entry in cache.folder.iterdir() if entry.is_dir())
    )
    warm = encode_videos(method, reader, videos, device, config, cache=cache)
    assert (plain.cached, cold.cached, warm.cached) == (False, False, True)
    assert same(plain.encoded, cold.encoded) and same(plain.encoded, warm.encoded)
    assert torch.equal(plain.boxes, warm.boxes) and plain.regions == warm.regions


def test_heads_shots_and_seeds_share_features_and_all_else_makes_another_entry(case, project, monkeypatch):
    method, reader, videos, device, config = case

    def key(videos=videos, method=method, **changes):
        changed = small(project, **changes)
        return features_key(method, EvaluationClips(ClipReader(reader.store, changed.clip), videos), device, changed)

    base = key()
    assert base == key(
        **{"eval.shots": (3,), "eval.seed": 7, "model.match.key_dim": 16, "optim.lr": 0.5, "train.amp": "bf16"}
    )
    other = {
        "videos": key(videos[1:]),
        "order": key(videos[::-1]),
        "frames": key(**{"clip.frames": 5}),
        "size": key(**{"clip.size": 34}),
        "region": key(**{"model.region.gain": 2.0}),
        "relation": key(**{"model.relation.residual": True}),
        "normalize": key(**{"model.normalize": True}),
        "weights": key(method=build_method(config, seed=1)),
    }
    with monkeypatch.context() as patch:
        encode_in(patch, torch.float16)
        other["precision"] = key()
    assert len({base, *other.values()}) == 1 + len(other)
    with torch.no_grad():
        method.head_probe = next(method.heads.parameters())
        method.head_probe.add_(1)
    assert base == key(), "the heads come after the features"
    folder = reader.store.root / videos[0]
    os.utime(folder, ns=(1, 1))
    try:
        assert base != key(), "frames that were extracted anew"
    finally:
        os.utime(folder)


def test_features_are_those_of_the_code_that_made_them(case, tmp_path, monkeypatch):
    method, reader, videos, device, config = case
    package = shutil.copytree(Path(fsar_cli.__file__).parent, tmp_path / "fsar_cli")
    digests = [code_digest(package)]  # which is remembered by path
    for file in ("core/relation.py", "engine/bank.py", "cli/app.py", "tools/__init__.py"):
        (package / file).write_text((package / file).read_text() + "\n# edited\n")
        digests.append(code_digest.__wrapped__(package))
    assert code_digest() == digests[0] and len(set(digests[:3])) == 3
    assert digests[2] == digests[3] == digests[4], "commands make no features"
    clips = EvaluationClips(reader, videos)
    before = features_key(method, clips, device, config)
    monkeypatch.setattr(bank_module, "code_digest", lambda: digests[1])
    assert features_key(method, clips, device, config) != before


def test_a_bank_larger_than_the_memory_lies_on_disk_and_changes_nothing(case, monkeypatch, tmp_path):
    monkeypatch.setenv("FSAR_CACHE", str(tmp_path))
    plain = encode_videos(*case)
    monkeypatch.setattr(bank_module, "free_memory", lambda _: 1000)
    monkeypatch.setattr(bank_module, "VIDEOS_PER_EMBEDDING", 5)
    spilled = encode_videos(*case)
    assert spilled.encoded.tensors.keys() == plain.encoded.tensors.keys()
    for name, tensor in plain.encoded.tensors.items():
        assert (tensor - spilled.encoded[name]).abs().max() <= 1e-5 * tensor.abs().max()
    assert list((tmp_path / "spilled").iterdir()) == [], "the file goes with the process"


def unusable(kind: str, folder: Path, monkeypatch) -> Cache:
    """A cache that takes nothing; said when it is first used, or while it is filled."""
    cache = Cache(folder / "cache/features")
    write = bank_module.write_tensors

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def removing(place, rows, parts):
        if place.is_relative_to(folder):
            shutil.rmtree(folder / "cache")
        write(place, rows, parts)

    if kind == "No space left on device":
        monkeypatch.setattr(tensorfile, "allocate", full)
    elif kind == "Not a directory":
        (folder / "cache").touch()
    else:
        monkeypatch.setattr(bank_module, "write_tensors", removing)
    return cache


@pytest.mark.parametrize("reason", ["No space left on device", "Not a directory", "No such file or directory"])
def test_a_cache_that_takes_nothing_is_left_out_with_a_warning_and_leaves_nothing(case, tmp_path, monkeypatch, reason):
    plain, listener = encode_videos(*case), Listener()
    cache = unusable(reason, tmp_path, monkeypatch)
    without = encode_videos(*case, listener, cache)
    assert same(plain.encoded, without.encoded) and plain.regions == without.regions and not without.cached
    assert listener.warnings == [f"{tmp_path}/cache keeps nothing ({reason}): going on without a cache"]
    assert [
        path for path in tmp_path.rglob("*") if path.name not in ("cache", "features") and path.suffix != ".lock"
    ] == []


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        ("frames.npy", lambda path: os.truncate(path, 140)),
        ("frames.npy", lambda path: os.truncate(path, 0)),
        ("frames.npy", os.unlink),
        ("frames.npy", lambda path: np.load(path, mmap_mode="r+")[1].fill(np.nan)),
        ("names.json", lambda path: path.write_text("[")),
        ("regions.json", os.unlink),
    ],
)
def test_a_damaged_entry_is_encoded_again_and_kept(case, tmp_path, file, harm):
    cache = Cache(tmp_path / "cache")
    first = encode_videos(*case, cache=cache)
    (path,) = cache.folder.glob(f"*/{file}")
    harm(path)
    again, third = encode_videos(*case, cache=cache), encode_videos(*case, cache=cache)
    assert (again.cached, third.cached) == (False, True)
    assert same(first.encoded, again.encoded) and same(first.encoded, third.encoded) and first.regions == third.regions


def test_what_neither_memory_nor_disk_takes_is_refused_with_its_size(case, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/x")

    monkeypatch.setattr(bank_module, "free_memory", lambda _: 1000)
    monkeypatch.setattr(bank_module, "scratch", full)
    with pytest.raises(DataError, match=r"takes 0\.0 GiB, more than the memory and /tmp/x have \(No space left"):
        encode_videos(*case)


@pytest.mark.parametrize("rate", [None, 5.0])
def test_views_are_encoded_one_by_one_and_averaged(case, project, rate):
    method, reader, videos, device, _ = case
    config = small(project, **{"eval.views": 3, "clip.rate": rate})
    reader = ClipReader(reader.store, config.clip)
    clips = EvaluationClips(reader, videos, 3)
    found = describe_clips(method, clips, device, config).encoded
    views = []
    for view in range(3):
        one = torch.from_numpy(np.stack([reader.evaluation(video, view, 3) for video in videos]))
        with torch.no_grad():
            views.append(method.describe(to_float(one, None)))
    torch.testing.assert_close(found["frames"], sum(v["frames"] for v in views) / 3, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found["boxes"], views[1]["boxes"], atol=1e-4, rtol=0)
    bank = encode_videos(method, reader, videos, device, config)
    torch.testing.assert_close(bank.boxes, views[1]["boxes"], atol=1e-4, rtol=0)
    assert bank.regions is not None


def test_the_precision_is_the_users_and_part_of_what_is_kept(case, project):
    method, reader, videos, device, config = case
    assert device_module.encoding_type(CPU, config) == torch.float32
    assert device_module.encoding_type(torch.device("cuda"), config) == torch.float16
    plain, keys, errors = encode_videos(*case).encoded["frames"], set(), {}
    for name in ("float32", "float16", "bfloat16"):
        asked = small(project, **{"eval.precision": name})
        keys.add(features_key(method, EvaluationClips(reader, videos), device, asked))
        found = encode_videos(method, reader, videos, device, asked).encoded["frames"]
        errors[name] = float((found - plain).norm() / plain.norm())
        assert found.dtype == torch.float32
        made = evaluate(method, small(project, **{"eval.precision": name, "eval.shots": (1,)}), CPU)
        assert document(made, asked)["precision"] == name
    assert len(keys) == 3
    # How much bfloat16 loses in a deep random network depends on how a processor computes in it.
    assert errors["float32"] == 0 < errors["float16"] < errors["bfloat16"] < 0.2


def encode_in(monkeypatch, dtype):
    """Encode in a type, as on CUDA."""
    for module in (bank_module, device_module):
        monkeypatch.setattr(module, "encoding_type", lambda *_: dtype)


def test_float16_encodes_several_times_nearer_to_float32_than_bfloat16(case, monkeypatch):
    plain, errors = encode_videos(*case).encoded["frames"], {}
    for dtype in (torch.float16, torch.bfloat16):
        encode_in(monkeypatch, dtype)
        found = encode_videos(*case).encoded["frames"]
        assert found.dtype == torch.float32
        errors[dtype] = float((found - plain).norm() / plain.norm())
    assert 0 < errors[torch.float16] < 0.02
    assert errors[torch.float16] < errors[torch.bfloat16] / 3, errors


def test_what_no_number_holds_is_refused_by_its_video_and_not_kept(case, tmp_path):
    method, reader, videos, device, config = case
    with torch.no_grad():
        method.features.global_backbone.trunk[0][0].weight.fill_(3e38)
    cache = Cache(tmp_path / "cache")
    with pytest.raises(DataError, match=f"'{videos[0]}' is encoded in numbers that are NaN or infinite"):
        describe_clips(method, EvaluationClips(reader, videos), device, config, cache=cache)
    assert [path for path in cache.folder.iterdir() if path.is_dir()] == []


def test_what_float16_does_not_hold_is_encoded_in_float32(case, monkeypatch):
    encode_in(monkeypatch, torch.float16)
    method, reader, videos, device, config = case
    sizes = []

    def describe(_, clips):
        product = clips.new_full((len(clips), 4), 300.0) @ clips.new_full((4, 6), 300.0)
        sizes.append(product.dtype)
        return Encoded({"frames": product})

    monkeypatch.setattr(type(method), "describe", describe)
    clips = EvaluationClips(reader, videos)
    found = describe_clips(method, clips, device, config).encoded["frames"]
    assert torch.equal(found, torch.full_like(found, 4 * 300.0**2))
    assert sizes == [torch.float16, torch.float32] * (len(sizes) // 2)


def test_evaluation_with_and_without_cache_agree_to_the_bit(case, tmp_path):
    method, *_, config = case
    cache = Cache(tmp_path / "cache")
    results = [evaluate(method, config, CPU, cache=c) for c in (None, cache, cache)]
    assert [r.cached for r in results] == [False, False, True]
    for other in results[1:]:
        for a, b in zip(results[0].shots, other.shots, strict=True):
            assert np.array_equal(a.accuracies, b.accuracies) and a.parts == b.parts
        assert other.regions == results[0].regions
