"""`fsar config`: every setting, its value and where that comes from; the shipped presets."""

from typing import Annotated

import typer

from fsar_cli.cli.options import ConfigFile, Json, Preset, Set
from fsar_cli.cli.output import print_json, stdout, table

app = typer.Typer(rich_markup_mode=None, help="Settings: values, their origins, presets.")


@app.command()
def show(
    preset: Preset = None,
    config: ConfigFile = None,
    assignments: Set = None,
    changed: Annotated[bool, typer.Option(help="Only values that are not defaults.")] = False,
    explain: Annotated[bool, typer.Option(help="With what each setting means.")] = False,
    as_json: Json = False,
) -> None:
    """Show each setting with its value and origin: default, preset, file, environment or --set."""
    from fsar_cli.config import flatten
    from fsar_cli.settings import resolve

    resolved = resolve(preset=preset, path=config, assignments=assignments)
    values = flatten(resolved.config.model_dump(mode="json"))
    kept = {key: value for key, value in values.items() if not changed or resolved.origins[key] != "default"}
    meanings = _meanings() if explain else {}
    if as_json:
        settings = {key: {"value": value, "origin": resolved.origins[key]} for key, value in kept.items()}
        for key, setting in settings.items():
            setting |= {"meaning": meanings[key]} if explain else {}
        return print_json({"settings": settings})
    for section in dict.fromkeys(key.partition(".")[0] for key in kept):
        rows = [
            [key, _text(value), resolved.origins[key], *([meanings[key]] if explain else [])]
            for key, value in kept.items()
            if key.partition(".")[0] == section
        ]
        stdout.print(table(section, ["setting", "value", "origin", *(["meaning"] if explain else [])], rows))
    if not kept:
        stdout.print("every value is a default")


@app.command()
def presets(as_json: Json = False) -> None:
    """List the shipped presets: what each is for and what it sets."""
    from fsar_cli.settings import PRESETS, read_preset
    from fsar_cli.settings import presets as names

    titles = {name: _title((PRESETS / f"{name}.yaml").read_text(encoding="utf-8")) for name in names()}
    if as_json:
        return print_json({"presets": [{"name": n, "title": t, "sets": read_preset(n)} for n, t in titles.items()]})
    rows = [
        [name, title, "\n".join(f"{key}={_text(value)}" for key, value in read_preset(name).items())]
        for name, title in titles.items()
    ]
    stdout.print(table("", ["preset", "what", "sets"], rows))


def _title(text: str) -> str:
    """The first sentence of the comment that opens a preset."""
    comment = " ".join(line.removeprefix("#").strip() for line in text.split("\n# Departs")[0].splitlines())
    return comment.strip()


def _text(value: object) -> str:
    """A value as it is written in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _meanings() -> dict[str, str]:
    from pydantic import BaseModel

    from fsar_cli.config import Config

    def walk(section: BaseModel, prefix: str) -> dict[str, str]:
        meanings: dict[str, str] = {}
        for name, field in type(section).model_fields.items():
            value = getattr(section, name)
            inner = walk(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else None
            meanings |= inner if inner is not None else {f"{prefix}{name}": field.description or ""}
        return meanings

    return walk(Config(), "")
