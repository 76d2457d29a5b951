"""The `fsar.yaml` of a new project folder, commented from the configuration itself, and the commands that follow."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fsar_cli.config import Config, DataConfig, flatten
from fsar_cli.data.splits.protocols import protocol, protocols, protocols_of
from fsar_cli.settings import read_preset, resolve, verbatim

_HEADER = """\
# fsar.yaml: the settings of this folder. Commands run here read it; FSAR_* variables, flags and --set win over it.
# `fsar config show` prints every value and where it comes from. Paths are relative to this folder.
"""


def project_file(
    name: str, videos: Path = Path("videos"), preset: str | None = None, annotations: Path | None = None
) -> str:
    """The text of a project file.

    Args:
        name: short name of the data set; empty: the preset's.
        videos: class/video tree, as seen from the project folder.
        preset: preset to start from.
        annotations: temporal annotations, as seen from there.

    Raises:
        UsageError: no such preset.
    """
    chosen = read_preset(preset) if preset else {}
    values = flatten((resolve(preset, environ={}).config if preset else Config()).model_dump(mode="json"))
    lines = [_HEADER.rstrip(), f"preset: {preset}" if preset else "# preset: hmdb51  # `fsar config presets`"]
    lines += ["", "data:", *_data(name or ("" if "data.name" in chosen else "data"), videos, annotations)]
    lines += [
        "",
        "# Everything else, as it is now: to change a value take `# ` away from its line and its section's.",
    ]
    for section, field in Config.model_fields.items():
        if section != "data":
            lines += ["", *_commented(section, field.default, values, section)]
    return "\n".join(lines) + "\n"


def _data(name: str, videos: Path, annotations: Path | None) -> Iterator[str]:
    given = {"name": name, "videos": verbatim(videos), "annotations": annotations and verbatim(annotations)}
    for key, field in DataConfig.model_fields.items():
        value = given.get(key, field.default)
        plain = str(value) if isinstance(value, Path) else value
        mark = "" if key in ("name", "videos", "frames", "splits") or given.get(key) else "# "
        if key != "name" or name:
            yield f"{mark}  {key}: {_scalar(plain)}  # {_one_line(field)}"


def _commented(key: str, section: BaseModel, values: dict[str, Any], dotted: str, depth: int = 0) -> Iterator[str]:
    """A section as YAML lines that are all comments."""
    indent = "  " * depth
    yield f"# {indent}{key}:"
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _commented(name, value, values, f"{dotted}.{name}", depth + 1)
        else:
            value = values[f"{dotted}.{name}"]
            note = f"  # {_one_line(field)}" if field.description else ""
            yield f"# {indent}  {name}: {_scalar(value)}{note}"


def _one_line(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _scalar(value: object) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    return (
        yaml.safe_dump(plain, default_flow_style=True, width=10_000, allow_unicode=True).removesuffix("...\n").strip()
    )


def short_name(folder: str) -> str:
    """A folder's name as the name of a data set: letters, digits and hyphens; `data` where nothing is left."""
    return re.sub(r"[^\w]+", "-", folder.casefold()).strip("-_") or "data"


def next_steps(folder: Path, name: str, videos: Path, preset: str | None = None) -> list[str]:
    """The commands that follow, in order; `folder` and `videos` as seen from where the user is."""
    rule, chosen = next(iter(protocols_of(name)), "arn"), read_preset(preset) if preset else {}
    frozen = chosen.get("model.method") == "prototype" and chosen.get("model.freeze_backbone")  # nothing to train
    steps = [] if folder.resolve() == Path.cwd() else [f"cd {shlex.quote(str(folder))}"]
    if not videos.is_dir():
        steps.append(f"put your videos into {videos} as CLASS/VIDEO, one folder a class")
    return [
        *steps,
        "fsar doctor",
        "fsar extract-frames",
        f"fsar splits make {rule}",
        "fsar splits check",
        *(["fsar eval --untrained --shots 5"] if frozen else [*training_steps(rule), "fsar visualize-regions VIDEO"]),
    ]


def training_steps(rule: str) -> list[str]:
    """How to come to an accuracy: where a protocol has no classes to train on, with a run of another data set."""
    if rule in protocols() and "train" not in protocol(rule).splits:
        return ["fsar eval RUN --dataset . --shots 5"]
    return ["fsar train", "fsar eval --shots 5"]
