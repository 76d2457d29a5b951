"""How a setting is found, the later over the earlier:

    defaults < recipe of the backbone < preset or --config or ./fsar.yaml < FSAR_SECTION__FIELD < flags and --set

`resolve` returns the config with the origin of every value; unknown keys are refused with a suggestion. In paths, `~`
and variables (`$DATA`, `${DATA}`; `$$` is a dollar sign) are written out, wherever they are given as text.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsar_cli.config import KEYS, PATHS, TEXTS, Config, ModelConfig, check_values, flatten, validate
from fsar_cli.errors import UsageError, did_you_mean, remedy
from fsar_cli.recipes import recipe_of
from fsar_cli.yamltext import LARGEST, read_yaml

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


def _is_section(key: str) -> bool:
    return any(known.startswith(f"{key}.") for known in KEYS)


def _check_keys(flat: Mapping[str, Any], origin: str) -> None:
    for key in flat:
        if _is_section(key):
            first = next(known for known in KEYS if known.startswith(f"{key}."))
            raise UsageError(f"{key} ({origin}) is a section of settings and has no value of its own", f"as in {first}")
        if key not in KEYS:
            hint = did_you_mean(key, KEYS) or did_you_mean(key.split(".")[-1], [k.split(".")[-1] for k in KEYS])
            raise UsageError(
                f"unknown configuration key '{key}' ({origin})", hint or "`fsar config show` lists all keys"
            )


def read_file(path: Path) -> dict[str, Any]:
    """Read a YAML configuration into dotted keys; a section without content sets nothing.

    A top-level `preset: NAME` starts from that preset.

    Raises:
        UsageError: no such file, not YAML, not a mapping.
    """
    try:
        with path.open("rb") as file:
            tree = read_yaml(file.read(LARGEST + 1), str(path))
    except OSError as error:
        hint = "`fsar init` writes one" if isinstance(error, FileNotFoundError) else remedy(error)
        raise UsageError(f"cannot read the configuration {path}: {error.strerror}", hint) from error
    if not isinstance(tree, dict | None):
        raise UsageError(f"{path} must hold a mapping of sections, not {_kind(tree)}")
    return {key: value for key, value in flatten(tree or {}).items() if not (value in (None, {}) and _is_section(key))}


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else f"'{value}'"[:60]


def read_preset(name: str) -> dict[str, Any]:
    """The dotted keys of a shipped preset."""
    if name not in presets():
        hint = did_you_mean(name, presets()) or f"presets: {', '.join(presets())}"
        raise UsageError(f"unknown preset '{name}'", hint)
    return read_file(PRESETS / f"{name}.yaml")


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    values: dict[str, tuple[Any, str]] = {}
    for name, text in environ.items():
        if name.startswith("FSAR_") and "__" in name:
            key = name[5:].lower().replace("__", ".")
            if key in values:
                raise UsageError(f"{values[key][1]} and {name} in the environment both set {key}", "unset one of them")
            values[key] = (_value(key, text, f"environment {name}"), name)
    return values


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """`["optim.lr=1e-3"]` -> `{"optim.lr": "1e-3"}`; of equal keys the last holds, as with flags."""
    values = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set takes KEY=VALUE, not '{text}'", "for example --set optim.lr=1e-3")
        values[key.strip()] = _value(key.strip(), value, f"--set {key.strip()}")
    return values


def _value(key: str, text: str, origin: str) -> Any:
    """A single value as YAML; where the key takes text, brackets, colons and hashes are part of it."""
    text = text.strip()
    if key in TEXTS and text not in ("", "~", "null") and text[:1] not in ("'", '"'):
        return text
    try:
        return read_yaml(text, f"{origin}: '{text}'")
    except UsageError as error:
        raise UsageError(error.message, error.hint or "a value is written as in fsar.yaml") from error


def _expanded(layer: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """The layer with its paths written out. A `Path` has been through a shell: of it `~` alone is."""
    return {
        key: _expand(value, key, origin) if key in PATHS and isinstance(value, str | Path) else value
        for key, value in layer.items()
    }


def _expand(path: str | Path, key: str, origin: str) -> str | Path:
    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name is None:
            return "$"
        if not (text := _variable(name)):
            raise UsageError(
                f"{key} ({origin}): '{path}' needs the variable '{name}', which is not set",
                f"`export {name}=...`, or `$$` for a dollar sign in a name",
            )
        return text

    text = str(path) if isinstance(path, Path) else re.sub(r"\$(?:(\w+)|\{([^}]*)\}|\$)", value, path)
    home = text
    with suppress(ValueError):  # no user has a NUL or half a sign in the name
        home = os.path.expanduser(text)
    if home.startswith("~"):
        raise UsageError(
            f"{key} ({origin}): '{path}' is in the home of a user who is not known here",
            f"a folder of that name is written ./{text}",
        )
    return type(path)(home)


def _variable(name: str) -> str | None:
    with suppress(ValueError):  # half a sign, which no name has
        return os.environ.get(name)
    return None


def verbatim(path: Path) -> str:
    """A path as a project file must have it for it to be taken as it is."""
    return f"{'./' if str(path).startswith('~') else ''}{path}".replace("$", "$$")


def _layers(preset: str | None, path: Path | None) -> list[tuple[dict[str, Any], str]]:
    if preset and path:
        raise UsageError(
            "--preset and --config exclude each other", f"name the preset inside {path} as `preset: {preset}`"
        )
    if preset:
        return [(read_preset(preset), f"preset {preset}")]
    path = path or (Path(PROJECT_FILE) if os.path.lexists(PROJECT_FILE) else None)
    return [] if path is None else _file_layers(path)


def _file_layers(path: Path) -> list[tuple[dict[str, Any], str]]:
    values = read_file(path)
    base = values.pop("preset", None)
    layers = [(read_preset(str(base)), f"preset {base}")] if base is not None else []
    return [*layers, (_expanded(values, str(path)), str(path))]


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
    recipe: bool | None = None,
) -> Resolved:
    """Find every value by the precedence of the module docstring.

    Args:
        flags: dotted keys set by command-line flags; `None` values are ignored.
        base: dotted keys of a run's own config; it then takes the place of preset and file.
        over: dotted keys laid over these, and what they come from: another data set's.
        recipe: whether the backbone's recipe is below all; None: unless there is a `base`, as a run says everything.

    Raises:
        UsageError: unknown key, wrong value, unreadable file.
    """
    layers = [(dict(base), "run")] if base is not None else _layers(preset, path)
    layers += [(dict(over[0]), over[1])] if over else []
    values, origins = _merged([*layers, *_given(flags, assignments, environ)])
    if recipe or (recipe is None and base is None):
        _add_recipe(values, origins)
    return Resolved(validate(_nest(values), origins), origins)


def _add_recipe(values: dict[str, Any], origins: dict[str, str]) -> None:
    """What the backbone's recipe says, where nobody said anything: only defaults are below it."""
    usual = ModelConfig()
    backbone, weights = (values.get(f"model.{k}", getattr(usual, k)) for k in ("backbone", "weights"))
    if recipe := recipe_of(str(backbone), str(weights)):
        for key, value in recipe.settings(values).items():
            if key not in values:
                values[key], origins[key] = value, f"recipe of {backbone} ({recipe.source})"


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
        origin = f"environment {name}"
        yield _expanded({key: value}, origin), origin
    yield _expanded({key: value for key, value in (flags or {}).items() if value is not None}, "flag"), "flag"
    yield _expanded(parse_assignments(assignments or []), "--set"), "--set"


def _merged(layers: Iterable[tuple[Mapping[str, Any], str]]) -> tuple[dict[str, Any], dict[str, str]]:
    """(values, origins) of layers, the later over the earlier."""
    values: dict[str, Any] = {}
    origins = dict.fromkeys(KEYS, "default")
    for layer, origin in layers:
        _check_keys(layer, origin)
        values.update(layer)
        origins.update(dict.fromkeys(layer, origin))
    return values, origins
