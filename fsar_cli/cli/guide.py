"""`fsar guide`: what the README leaves out, a page a subject. The pages are `fsar_cli/guide/*.md`."""

from pathlib import Path
from typing import Annotated

import typer

from fsar_cli.cli.output import stdout
from fsar_cli.errors import UsageError, did_you_mean

PAGES = Path(__file__).parents[1] / "guide"


def guide(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A page (default: list them).")] = None,
) -> None:
    """Print a page of the guide: as Markdown is meant to look on a terminal, as it is written elsewhere."""
    pages = {path.stem: path.read_text(encoding="utf-8") for path in sorted(PAGES.glob("*.md"))}
    if name is None:
        width = max(map(len, pages))
        for page, text in pages.items():
            typer.echo(f"{page:{width}}  {text.splitlines()[0].lstrip('# ')}")
        return
    if name not in pages:
        hint = did_you_mean(name, pages) or f"pages: {', '.join(pages)}"
        raise UsageError(f"the guide has no page '{name}'", hint)
    if not stdout.is_terminal:
        typer.echo(pages[name].rstrip("\n"))
        return
    from rich.markdown import Markdown

    stdout.console.print(Markdown(pages[name]), soft_wrap=False)
