"""`fsar support show`: what a support file holds, as a table and a sheet of thumbnails."""

from pathlib import Path
from typing import Annotated

from typer import Option

from fsar_cli.cli.options import Json
from fsar_cli.cli.support import SupportPath
from fsar_cli.cli.support_check import app


@app.command("show")
def show(
    support: SupportPath = Path("support.fsar"),
    png: Annotated[Path | None, Option(help="The sheet of thumbnails (default: FILE.png).")] = None,
    as_json: Json = False,
) -> None:
    """List the examples, and draw a sheet of them; needs no encoder.

    --json: file, created, examples [class, name, source, start, end, group], normal, window, stride, encoder, picture.
    """
    from fsar_cli.cli.output import print_json, stdout, table
    from fsar_cli.recognise.sheet import example_sheet
    from fsar_cli.recognise.supportfile import read_support
    from fsar_cli.render.figures import save_png

    held = read_support(support)
    picture = png or support.with_name(f"{support.name}.png")
    save_png(example_sheet(held, support.name), picture)
    document = held.document
    if as_json:
        plain = document.model_dump(mode="json", exclude={"encoder": {"config"}})
        print_json({"command": "support show", "file": str(support), **plain, "picture": str(picture)})
        return
    rows = [
        [example.cls, example.name, f"{example.start:g}", "end" if example.end is None else f"{example.end:g}",
         example.source]
        for example in held.examples
    ]  # fmt: skip
    stdout.print(table(f"{support}, made {document.created}", ["class", "example", "from", "to", "video"], rows,
                       right=("from", "to")))  # fmt: skip
    if document.normal:
        whole = document.normal
        stdout.print(f"normal: {whole.whitened} windows whiten, {whole.silent} calibrate: {', '.join(whole.sources)}")
    stdout.print(f"picture: {picture}")
