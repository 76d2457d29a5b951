"""Architecture: imports go down only, and each heavy library has its place."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import fsar_cli

PACKAGE = Path(fsar_cli.__file__).parent
LAYERS = {  # what the modules of a folder may import of the package
    "core": {"core", "errors", "config"},
    "data": {"data", "errors", "config", "reporting", "machine"},
    "render": {"render", "errors", "config", "reporting"},
    "engine": {"engine", "core", "data", "render", "errors", "config", "settings", "reporting", "machine"},
    "cli": {"cli", "engine", "core", "data", "render", "errors", "config", "settings", "reporting", "machine"},
    "errors": set(),
    "config": {"errors"},
    "settings": {"config", "errors"},
    "reporting": {"errors"},
    "machine": set(),
}
HEAVY = {"torch", "torchvision", "pandas", "matplotlib", "av", "numpy", "PIL", "safetensors", "scipy", "timm"}


@dataclass(frozen=True)
class Import:
    """One imported module, absolute."""

    module: str
    at_import: bool
    """Runs when the importing module is imported: not inside a function, not for type checkers only."""

    @property
    def library(self) -> str:
        return self.module.split(".")[0]

    @property
    def layer(self) -> str:
        """`core` for fsar_cli.core.regions; empty for the package itself and for other libraries."""
        parts = self.module.split(".")
        return parts[1] if parts[0] == "fsar_cli" and len(parts) > 1 else ""


def imports_of(source: str, package: str = "") -> set[Import]:
    """Every import of a module's source; `package` is what relative imports start from."""
    return set(_imports(ast.parse(source), package, True))


def _imports(node: ast.AST, package: str, at_import: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, at_import) for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        yield from (Import(f"{module}.{alias.name}", at_import) for alias in node.names)
    for child in ast.iter_child_nodes(node):
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        types_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        yield from _imports(child, package, at_import and not inside and not types_only)


def modules() -> dict[str, set[Import]]:
    """Relative path of every module of the package -> its imports."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        package = ".".join(["fsar_cli", *place.parts[:-1]])
        found[place.as_posix()] = imports_of(path.read_text(encoding="utf-8"), package)
    return found


MODULES = modules()


def layer_of(path: str) -> str:
    return path.split("/")[0].removesuffix(".py")


def test_the_parser_sees_every_way_to_import() -> None:
    source = """
import os, torch.nn as nn
from typing import TYPE_CHECKING
from . import sibling
from ..core import regions
if TYPE_CHECKING:
    import numpy
class A:
    import av
    def f(self):
        from fsar_cli.engine import train
"""
    expected = {
        Import("os", True),
        Import("torch.nn", True),
        Import("typing.TYPE_CHECKING", True),
        Import("fsar_cli.data.sibling", True),
        Import("fsar_cli.core.regions", True),
        Import("numpy", False),
        Import("av", True),
        Import("fsar_cli.engine.train", False),
    }
    assert imports_of(source, "fsar_cli.data") == expected


def test_every_module_belongs_to_a_layer() -> None:
    assert {layer_of(path) for path in MODULES} <= set(LAYERS) | {"__init__", "__main__"}


@pytest.mark.parametrize("path", MODULES)
def test_imports_go_down_only(path: str) -> None:
    used = {i.layer for i in MODULES[path] if i.layer} - {"__version__"}
    assert used <= LAYERS.get(layer_of(path), set(LAYERS))


@pytest.mark.parametrize("path", [p for p in MODULES if layer_of(p) == "core"])
def test_the_core_needs_torch_alone(path: str) -> None:
    allowed = {"torch", "safetensors", "fsar_cli"} | ({"torchvision"} if path == "core/backbone.py" else set())
    assert {i.library for i in MODULES[path]} - set(sys.stdlib_module_names) <= allowed


def test_the_decoder_is_used_in_one_place() -> None:
    """PyAV lives in `data/video.py`, or in the folder of that name."""
    users = [path for path, found in MODULES.items() if any(i.library == "av" for i in found)]
    assert users
    assert all(path.startswith(("data/video.py", "data/video/")) for path in users)


@pytest.mark.parametrize(
    "path", [p for p in MODULES if layer_of(p) in ("cli", "config", "settings", "errors", "reporting")]
)
def test_the_command_line_starts_without_heavy_libraries(path: str) -> None:
    heavy = {i.module for i in MODULES[path] if i.at_import and i.library in HEAVY}
    assert heavy == set()


@pytest.mark.parametrize("path", [p for p in MODULES if layer_of(p) == "cli"])
def test_what_the_command_line_imports_at_start_is_light_too(path: str) -> None:
    """Through any number of modules of the package."""

    def reached(start: str, seen: set[str]) -> set[str]:
        heavy = set()
        for i in MODULES[start]:
            if not i.at_import:
                continue
            if i.library in HEAVY:
                heavy.add(f"{start} imports {i.module}")
            parts = i.module.split(".")[1:] if i.library == "fsar_cli" else []
            for depth in range(1, len(parts) + 1):
                for name in ("/".join(parts[:depth]) + ".py", "/".join([*parts[:depth], "__init__.py"])):
                    if name in MODULES and name not in seen:
                        heavy |= reached(name, seen | {name})
        return heavy

    assert reached(path, {path}) == set()
