"""`fsar methods`: what `model.method` can be."""

from fsar_cli.cli.options import Json
from fsar_cli.cli.output import print_json, stdout, table


def methods(as_json: Json = False) -> None:
    """List the methods with what they are and where they were published."""
    from fsar_cli.core.methods import METHODS

    found = [
        {"name": name, "title": (kind.__doc__ or "").strip().partition("\n")[0], "paper": kind.paper}
        for name, kind in METHODS.items()
    ]
    if as_json:
        return print_json({"methods": found})
    stdout.print(table("", ["method", "what", "paper"], [list(entry.values()) for entry in found]))
