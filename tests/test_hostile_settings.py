"""Settings of any bytes: a value, or a refusal in a line."""

import json

import pytest
from hostile import ODD_NAMES, Broken, changed, check, inputs, json_text, lawful, names, seeds_of, tried, values
from hypothesis import given
from hypothesis import strategies as st

from fsar_cli.config import Config, dump, load
from fsar_cli.errors import FsarError, UsageError
from fsar_cli.settings import read_preset
from fsar_cli.yamltext import read_yaml

TREE = {
    "preset": "demo",
    "data": {"name": "a", "videos": "v", "store": "packed"},
    "extract": {"fps": 5, "clips": "longest"},
    "eval": {"shots": [1, 5]},
    "model": {"region": {"side": [64, 32], "gain": "learnt"}, "weights": "w.pth"},
}
KEPT = {
    "a whole number beyond all fractions": b"a: 1" + b"0" * 400,
    "an escape of no character": b'a: "\\U00110000"',
    "an escape beyond a machine's numbers": b'a: "\\UFFFFFFFF"',
    "a version of too many digits": b"%YAML 1." + b"9" * 5000 + b"\n--- a",
    "a home of a user with NUL": b'data: {videos: "~\\0"}',
    "a home of half a sign": b'data: {videos: "~\\ud800"}',
    "a variable of half a sign": b'data: {videos: "${\\ud800}"}',
    "a path of half a sign": b'data: {videos: "\\ud800"}',
    "a list where version 0.1.0 had a section": b"data: [store, clips]",
    "a list of sections": b"data: [{store: 1}]",
    "a word where a section is": b"data: {store: packed}\nextract: no",
    "a key of two lines": b'"a\\nb": 1',
    "a preset of two lines": b'preset: "a\\nb"',
    "a document of 1 MiB of keys": b"".join(b"k%d: 1\n" % i for i in range(3000)),
}


@pytest.mark.parametrize("name", ["yaml", "assignment"])
def test_what_is_valid_keeps_the_law(name: str) -> None:
    for data in seeds_of(name):
        check(name, data)


@pytest.mark.parametrize("name", KEPT)
def test_a_configuration_that_once_broke_it_keeps_the_law(name: str) -> None:
    check("yaml", KEPT[name])


@tried(60)
@given(inputs("yaml"))
def test_any_bytes_are_settings_or_refused_in_a_line(data: bytes) -> None:
    check("yaml", data)


@tried(60)
@given(changed([TREE]).map(json_text))
def test_settings_with_other_values_are_taken_or_refused(data: bytes) -> None:
    check("yaml", data)


@tried(100)
@given(inputs("assignment"))
def test_any_assignment_is_taken_or_refused(data: bytes) -> None:
    check("assignment", data)


@tried(60)
@given(
    st.sampled_from(["data.name", "data.videos", "model.weights", "optim.lr", "eval.shots", "model.region.side"]),
    values(),
)
def test_any_value_for_a_key_is_taken_or_refused(key: str, value: object) -> None:
    check(
        "assignment", f"{key}={value if isinstance(value, str) else json.dumps(value)}".encode("utf-8", "surrogatepass")
    )


@tried(100)
@given(names(), names())
def test_a_configuration_of_odd_names_is_the_same_once_written(name: str, videos: str) -> None:
    config = lawful(
        lambda: Config.model_validate({"data": {"name": name, "videos": videos}}) if _fits(name, videos) else None
    )
    if config is not None:
        assert load(dump(config).encode()) == config


def _fits(name: str, videos: str) -> bool:
    try:
        return bool(Config.model_validate({"data": {"name": name, "videos": videos}}))
    except ValueError:
        return False


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_odd_name_is_no_preset(name: str) -> None:
    with pytest.raises(UsageError):
        read_preset(name)


def test_messages_and_hints_are_a_line_each_whatever_names_are_in_them() -> None:
    error = FsarError("no 'a\r\nb\x1b[0m\u2028' here", "\0")
    assert (error.message, error.hint) == (r"no 'a\r\nb\x1b[0m\u2028' here", r"\x00")
    assert str(error) == error.message


def test_the_law_notices_what_breaks_it() -> None:
    for broken in (lambda: 1 / 0, lambda: bytearray(2**33), lambda: read_yaml(b"a" * 9, "x").missing):
        with pytest.raises(Broken):
            lawful(broken)
