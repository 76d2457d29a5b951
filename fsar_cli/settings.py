"""How a setting is found: defaults < preset or --config or ./fsar.yaml < FSAR_SECTION__FIELD < flags and --set.

`resolve` returns the config with the origin of every value; unknown keys are refused with a suggestion. PyYAML reads
`1e-3` as text: pydantic converts it.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fsar_cli.config import KEYS, Config, check_values, flatten, validate
from fsar_cli.errors import UsageError, did_you_mean

PRESETS = Path(__file__).parent / "presets"
PROJECT_FILE = "fsar.yaml"


@dataclass(frozen=True)
class Resolved:
    """A config and, for each dotted key, where its value came from."""

    config: Config
    origins: dict[str, str]


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for dotted, value in flat.items():
        *path, last = dotted.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return tree


def presets() -> list[str]:
    """Names of the shipped presets."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def _check_keys(flat: Mapping[str, Any], origin: str) -> None:
    for key in flat:
        if key not in KEYS:
            hint = did_you_mean(key, KEYS) or did_you_mean(key.split(".")[-1], [k.split(".")[-1] for k in KEYS])
            raise UsageError(
                f"unknown configuration key '{key}' ({origin})", hint or "`fsar config show` lists all keys"
            )


def read_file(path: Path) -> dict[str, Any]:
    """Read a YAML configuration into dotted keys.

    A top-level `preset: NAME` starts from that preset.

    Raises:
        UsageError: no such file, not YAML, not a mapping.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UsageError(f"cannot read the configuration {path}: {error.strerror}", "`fsar init` writes one") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise UsageError(f"{path} must hold a mapping of sections, not {type(tree).__name__}")
    filled = {key: value for key, value in tree.items() if not (key in Config.model_fields and value is None)}
    return {str(key): value for key, value in flatten(filled).items()}


def read_preset(name: str) -> dict[str, Any]:
    """The dotted keys of a shipped preset."""
    if name not in presets():
        hint = did_you_mean(name, presets()) or f"presets: {', '.join(presets())}"
        raise UsageError(f"unknown preset '{name}'", hint)
    return read_file(PRESETS / f"{name}.yaml")


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    values = {}
    for name, text in environ.items():
        if name.startswith("FSAR_") and "__" in name:
            try:
                values[name[5:].lower().replace("__", ".")] = (yaml.safe_load(text), name)
            except yaml.YAMLError as error:
                raise UsageError(f"environment {name}: '{text}' is not a YAML value") from error
    return values


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """`["optim.lr=1e-3"]` -> `{"optim.lr": "1e-3"}`; values are YAML."""
    values = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set takes KEY=VALUE, not '{text}'", "for example --set optim.lr=1e-3")
        try:
            values[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {key}: '{value}' is not a YAML value") from error
    return values


def _layers(preset: str | None, path: Path | None) -> list[tuple[dict[str, Any], str]]:
    if preset and path:
        raise UsageError(
            "--preset and --config exclude each other", f"name the preset inside {path} as `preset: {preset}`"
        )
    if preset:
        return [(read_preset(preset), f"preset {preset}")]
    path = path or (Path(PROJECT_FILE) if Path(PROJECT_FILE).is_file() else None)
    return [] if path is None else _file_layers(path)


def _file_layers(path: Path) -> list[tuple[dict[str, Any], str]]:
    values = read_file(path)
    base = values.pop("preset", None)
    layers = [(read_preset(str(base)), f"preset {base}")] if base else []
    return [*layers, (values, str(path))]


def read_project(path: Path) -> dict[str, Any]:
    """The dotted keys that a project file and its preset set, unknown ones refused."""
    values: dict[str, Any] = {}
    for layer, origin in _file_layers(path):
        _check_keys(layer, origin)
        values.update(layer)
    return values


def resolve(
    preset: str | None = None,
    path: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    assignments: list[str] | None = None,
    environ: Mapping[str, str] | None = None,
    base: Mapping[str, Any] | None = None,
    over: tuple[Mapping[str, Any], str] | None = None,
) -> Resolved:
    """Find every value by the precedence of the module docstring.

    Args:
        flags: dotted keys set by command-line flags; `None` values are ignored.
        base: dotted keys of a run's own config; it then takes the place of preset and file.
        over: dotted keys laid over these, and what they come from: another data set's.

    Raises:
        UsageError: unknown key, wrong value, unreadable file.
    """
    layers = [(dict(base), "run")] if base is not None else _layers(preset, path)
    layers += [over] if over else []
    values, origins = _merged([*layers, *_given(flags, assignments, environ)])
    return Resolved(validate(_nest(values), origins), origins)


def check_usage(
    flags: Mapping[str, Any] | None = None, assignments: list[str] | None = None, preset: str | None = None
) -> dict[str, Any]:
    """Refuse what is wrong in any folder, before a file is read: unknown keys and presets, values out of range.

    Returns:
        what is given, as dotted keys.

    Raises:
        UsageError: in the words of `resolve`.
    """
    layers = [(read_preset(preset), f"preset {preset}")] if preset else []
    values, origins = _merged([*layers, *_given(flags, assignments)])
    check_values(_nest(values), origins)
    return values


def _given(
    flags: Mapping[str, Any] | None, assignments: list[str] | None, environ: Mapping[str, str] | None = None
) -> Iterator[tuple[dict[str, Any], str]]:
    """What the user says now: environment, flags, --set."""
    for key, (value, name) in _from_environment(os.environ if environ is None else environ).items():
        yield {key: value}, f"environment {name}"
    yield {key: value for key, value in (flags or {}).items() if value is not None}, "flag"
    yield parse_assignments(assignments or []), "--set"


def _merged(layers: Iterable[tuple[Mapping[str, Any], str]]) -> tuple[dict[str, Any], dict[str, str]]:
    """(values, origins) of layers, the later over the earlier."""
    values: dict[str, Any] = {}
    origins = dict.fromkeys(KEYS, "default")
    for layer, origin in layers:
        _check_keys(layer, origin)
        values.update(layer)
        origins.update(dict.fromkeys(layer, origin))
    return values, origins
