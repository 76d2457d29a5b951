"""`fsar methods`: what `model.method` can be."""

from fsar_cli.cli.options import Json
from fsar_cli.cli.output import print_json, stdout, table


def methods(as_json: Json = False) -> None:
    """List the methods with what they are, where they were published and whether key regions are their default."""
    from fsar_cli.config import ModelConfig
    from fsar_cli.core.methods import METHODS

    listed = [
        {
            "name": name,
            "title": (kind.__doc__ or "").strip().partition("\n")[0],
            "paper": kind.paper,
            "region": ModelConfig(method=name).selects_regions,
        }
        for name, kind in METHODS.items()
    ]
    if as_json:
        return print_json({"methods": listed})
    rows = [[m["name"], m["title"], m["paper"], "yes" if m["region"] else "with --region"] for m in listed]
    stdout.print(table("", ["method", "what", "paper", "key regions"], rows))
