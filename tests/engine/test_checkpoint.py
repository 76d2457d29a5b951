"""Weights and state: whole or not at all, refused with a reason where they do not fit."""

import builtins
import errno
import os
import resource
from functools import partial

import pytest
import torch
from small_project import small

from fsar_cli.core.build import build_method
from fsar_cli.engine.checkpoint import load_state, load_weights, save_state, save_weights
from fsar_cli.engine.runs import create_run, find_run
from fsar_cli.errors import DataError, UsageError


def test_weights_round_trip(project, tmp_path):
    config = small(project)
    method = build_method(config, seed=1)
    save_weights(method, tmp_path / "m.safetensors")
    other = build_method(config, seed=2)
    load_weights(other, tmp_path / "m.safetensors", config)
    for name, tensor in method.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clip.frames": 6}, "tied to the number of frames"),
        ({"model.method": "trx"}, "use the run's own configuration"),
        ({"model.backbone": "shufflenet_v2_x0_5"}, "use the run's own configuration"),
    ],
)
def test_weights_of_another_shape_are_refused_with_a_hint(project, tmp_path, changes, words):
    save_weights(build_method(small(project)), tmp_path / "m.safetensors")
    config = small(project, **changes)
    with pytest.raises(DataError, match="does not fit") as caught:
        load_weights(build_method(config), tmp_path / "m.safetensors", config)
    assert words in caught.value.hint


@pytest.mark.parametrize("number", [float("nan"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused_by_their_tensor(project, tmp_path, number):
    config, path = small(project), tmp_path / "m.safetensors"
    method = build_method(config)
    name, tensor = list(method.state_dict().items())[-1]
    with torch.no_grad():
        tensor.view(-1)[0] = number
    save_weights(method, path)
    with pytest.raises(DataError, match=rf"holds NaN or infinite numbers: 1 in 1 tensor of .* first '{name}'"):
        load_weights(build_method(config), path, config)


def test_a_damaged_file_is_named(project, tmp_path):
    config = small(project)
    path = tmp_path / "m.safetensors"
    save_weights(build_method(config), path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"cannot read the weights .*m\.safetensors"):
        load_weights(build_method(config), path, config)
    (tmp_path / "state.pt").write_bytes(b"garbage")
    with pytest.raises(DataError, match=r"cannot read .*state\.pt"):
        load_state(tmp_path / "state.pt")
    with pytest.raises(DataError, match="nothing to resume"):
        load_state(tmp_path / "none.pt")


def test_what_one_is_not_allowed_to_read_is_not_called_damaged(project, tmp_path, monkeypatch):
    config, method = small(project), build_method(small(project))
    save_weights(method, tmp_path / "m.safetensors")
    save_state(tmp_path / "state.pt", {"step": 1})

    def refuse(file, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(file))

    monkeypatch.setattr(builtins, "open", refuse)
    monkeypatch.setattr("fsar_cli.engine.checkpoint.load_file", lambda path: refuse(path))
    for read in (partial(load_weights, method, config=config), load_state):
        path = tmp_path / ("state.pt" if read is load_state else "m.safetensors")
        with pytest.raises(DataError, match=f"^not allowed to read {path}$") as caught:
            read(path)
        assert "permissions" in caught.value.hint


def test_weights_and_state_take_the_umask_and_a_full_disk_names_them(project, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before, method = os.umask(0o027), build_method(small(project))
    try:
        for name, save in (("m.safetensors", partial(save_weights, method)), ("state.pt", save_both(method))):
            save(tmp_path / name)
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o640
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
            with pytest.raises(OSError, match=f"File too large: '{tmp_path / name}'$"):
                save(tmp_path / name)
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        os.umask(before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.safetensors", "state.pt"]


def save_both(method):
    return lambda path: save_state(path, {"method": method.state_dict()})


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    save_state(tmp_path / "state.pt", {"step": 1})
    with pytest.raises((AttributeError, TypeError, ValueError)):
        save_state(tmp_path / "state.pt", {"step": lambda: 0})
    assert torch.load(tmp_path / "state.pt") == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["state.pt"]


def test_a_run_folder_is_never_overwritten(project, tmp_path):
    create_run(small(project), tmp_path / "run")
    with pytest.raises(UsageError, match="holds a run already"):
        create_run(small(project), tmp_path / "run")


def test_the_newest_run_with_weights_is_found(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no trained run"):
        find_run(None)
    first, second, third = (create_run(small(project)) for _ in range(3))
    assert len({first.path, second.path, third.path}) == 3
    for run, age in ((first, 100), (second, 50)):
        run.model_file.touch()
        os.utime(run.model_file, (1e9 - age, 1e9 - age))
    assert find_run(None).path.name == second.path.name
    assert second.config() == first.config()
    with pytest.raises(DataError, match="is no run folder"):
        find_run(tmp_path)
