"""Run folders and results of any bytes: a value, or a refusal in a line."""

import io

import pytest
import torch
from hostile import changed, file_of, json_text, lawful, mutated, place, tried
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from small_project import small

from fsar_cli.config import Config
from fsar_cli.engine.checkpoint import load_state, load_weights, save_state
from fsar_cli.engine.outputs import other_source
from fsar_cli.engine.runs import create_run
from fsar_cli.engine.train import Trainer
from fsar_cli.errors import DataError

STATE = {
    "method": {},
    "optimizer": {"state": {}, "param_groups": []},
    "scaler": {},
    "gradients": [],
    "step": 5,
    "best": None,
    "rows": [],
    "window": [],
}


def saved(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content", [[], 5, torch.ones(2), {}, STATE | {"step": "a"}, STATE | {"method": None}, STATE | {"best": 3}]
)
def test_what_is_no_state_of_a_run_is_refused(content: object) -> None:
    with place() as folder, pytest.raises(DataError, match="holds no state of a run"):
        load_state(file_of(saved(content), "state.pt", folder))


def test_a_state_of_odd_parts_is_not_gone_on_from(project, tmp_path) -> None:
    config = small(project)
    trainer = Trainer(config, create_run(config, tmp_path / "run"), torch.device("cpu"), pretrained=False)
    trainer.save()
    whole = load_state(trainer.folder.state_file)
    odd = (
        {"optimizer": {"state": [], "param_groups": []}},
        {"optimizer": {"state": {0: 5}, "param_groups": []}},
        {"optimizer": {}},
        {"method": {"a": 5}},
        {"gradients": [torch.ones(1, 2, 3, 4, 5)]},
        {"gradients": ["a"]},
    )
    for parts in odd:
        save_state(trainer.folder.state_file, whole | parts)
        with pytest.raises(DataError, match="is of another method or configuration"):
            trainer.resume()


@tried(60)
@given(changed([STATE]))
def test_a_state_of_other_values_is_of_its_parts_or_refused(content: object) -> None:
    data = saved(content)
    with place() as folder:
        path = file_of(data, "state.pt", folder)
        state = lawful(lambda: load_state(path), len(data))
        assert state is None or (isinstance(state["step"], int) and isinstance(state["rows"], list))


@tried(60)
@given(
    st.one_of(
        changed([{"source": {"videos": ["a"]}, "run": "x"}]).map(json_text),
        st.binary(max_size=30),
        st.just(b"[" * 99_999),
    )
)
def test_results_of_anybody_are_told_apart_or_passed_over(data: bytes) -> None:
    with place() as folder:
        path = file_of(data, "a.json", folder)
        assert isinstance(lawful(lambda: other_source(path, {"run": "y"}), len(data)), str)


class _Linear(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = torch.nn.Linear(1, 2, bias=False)


@tried(60)
@given(
    st.one_of(
        mutated("weights"),
        st.sampled_from([torch.float16, torch.int64, torch.float8_e4m3fn, torch.bool]).map(
            lambda kind: save({"conv1.weight": torch.ones(2, 1).to(kind)})
        ),
    )
)
def test_weights_of_any_bytes_and_types_are_taken_or_refused(data: bytes) -> None:
    with place() as folder:
        path = file_of(data, "model.safetensors", folder)
        lawful(lambda: load_weights(_Linear(), path, Config()), len(data))
