"""`fsar splits`."""

import typer

app = typer.Typer(help="Split lists by protocol.")
