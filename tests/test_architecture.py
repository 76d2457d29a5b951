"""Architecture: imports go down only, and each heavy library has its place."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import fsar_cli

PACKAGE = Path(fsar_cli.__file__).parent
BASE = {"errors", "reporting", "yamltext", "extras", "recipes", "config", "settings", "files", "leftovers", "ranks"}
MAY_IMPORT = {  # what the modules of a floor may import of the package, besides their own floor
    "errors": set(),
    "leftovers": set(),
    "files": {"errors", "leftovers"},
    "ranks": {"errors"},
    "reporting": {"errors"},
    "yamltext": {"errors"},
    "extras": {"errors"},
    "recipes": {"extras", "errors"},
    "config": {"yamltext", "errors"},
    "settings": {"config", "recipes", "yamltext", "errors"},
    "core": {"errors", "config", "extras", "recipes"},
    "data": {"errors", "config", "recipes", "reporting", "files", "ranks"},
    "render": {"errors", "config", "reporting", "files"},
    "engine": {"core", "data", "render"} | BASE,
    "recognise": {"engine", "core", "data", "render"} | BASE,
    "cli": {"recognise", "engine", "core", "data", "render"} | BASE,
    "tools": {"cli", "recognise", "engine", "core", "data", "render"} | BASE,
    "cli/app.py": {"tools", "cli", "errors"},
}
TOOLS_OF = {"reproduce": {"compare", "demo"}}  # the only tool that is made of others
HEAVY = {
    "torch", "torchvision", "pandas", "matplotlib", "av", "numpy", "PIL", "safetensors", "scipy", "timm",
    "transformers", "onnx", "onnxruntime", "onnxscript",
}  # fmt: skip


@dataclass(frozen=True)
class Import:
    """One imported module, absolute."""

    module: str
    at_import: bool
    """Runs when the importing module is imported: not inside a function, not for type checkers only."""

    @property
    def library(self) -> str:
        return self.module.split(".")[0]


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


def floor_of(path: str) -> str:
    """`core` for core/regions.py; the top file, which knows the tools, is a floor of its own."""
    return path if path in MAY_IMPORT else path.split("/")[0].removesuffix(".py")


def target_of(module: str) -> str | None:
    """The file of the package that `fsar_cli.core.regions.Regions` is taken from; None for other libraries."""
    parts = module.split(".")[1:] if module.split(".")[0] == "fsar_cli" else []
    for depth in range(len(parts), 0, -1):
        for name in ("/".join(parts[:depth]) + ".py", "/".join([*parts[:depth], "__init__.py"])):
            if name in MODULES:
                return name
    return None


def runs_at_import(module: str) -> set[str]:
    """The files that run when a module of the package is imported: its own, and those of the folders it lies in."""
    if not (target := target_of(module)):
        return set()
    return {target} | {name for f in Path(target).parents if (name := (f / "__init__.py").as_posix()) in MODULES}


TARGETS = {path: {t for i in found if (t := target_of(i.module))} for path, found in MODULES.items()}


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


def test_every_module_stands_on_a_floor() -> None:
    assert {floor_of(path) for path in MODULES} <= set(MAY_IMPORT) | {"__init__", "__main__"}


@pytest.mark.parametrize("path", MODULES)
def test_imports_go_down_only(path: str) -> None:
    own = floor_of(path)
    used = {floor_of(target) for target in TARGETS[path]} - {own, "__init__"}
    assert used <= MAY_IMPORT.get(own, set(MAY_IMPORT))


@pytest.mark.parametrize("path", [p for p in MODULES if floor_of(p) == "tools"])
def test_a_tool_can_be_deleted_without_harm_to_another(path: str) -> None:
    own = path.split("/")[1]
    used = {target.split("/")[1] for target in TARGETS[path] if floor_of(target) == "tools"} - {own, "__init__.py"}
    assert used <= TOOLS_OF.get(own, set())


def test_no_modules_import_each_other_in_a_circle() -> None:
    """At import or in a function: what stays when all that imports nothing left is taken away, again and again."""
    left = {path: set(targets) - {path} for path, targets in TARGETS.items()}
    while ground := {path for path, targets in left.items() if not targets & set(left)}:
        left = {path: targets for path, targets in left.items() if path not in ground}
    assert left == {}


def test_no_class_name_stands_for_two_things() -> None:
    names: dict[str, list[str]] = {}
    for path in MODULES:
        tree = ast.parse((PACKAGE / path).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                names.setdefault(node.name, []).append(path)
    assert {name: paths for name, paths in names.items() if len(paths) > 1} == {}


@pytest.mark.parametrize("path", [p for p in MODULES if floor_of(p) == "core"])
def test_the_core_needs_torch_alone(path: str) -> None:
    allowed = {"torch", "safetensors", "fsar_cli"} | ({"torchvision"} if path.startswith("core/backbones/") else set())
    assert {i.library for i in MODULES[path]} - set(sys.stdlib_module_names) <= allowed


def test_the_decoder_is_used_in_one_place() -> None:
    """PyAV lives in `data/video.py`, or in the folder of that name."""
    users = [path for path, found in MODULES.items() if any(i.library == "av" for i in found)]
    assert users
    assert all(path.startswith(("data/video.py", "data/video/")) for path in users)


@pytest.mark.parametrize(
    "path", [p for p in MODULES if floor_of(p) in ("cli", "config", "settings", "errors", "reporting")]
)
def test_the_command_line_starts_without_heavy_libraries(path: str) -> None:
    heavy = {i.module for i in MODULES[path] if i.at_import and i.library in HEAVY}
    assert heavy == set()


@pytest.mark.parametrize(
    "path", [p for p in MODULES if floor_of(p) == "cli" or p.endswith("/cli.py") or p == "cli/app.py"]
)
def test_what_the_command_line_imports_at_start_is_light_too(path: str) -> None:
    """Through any number of modules of the package."""

    def reached(start: str, seen: set[str]) -> set[str]:
        heavy = set()
        for i in MODULES[start]:
            if not i.at_import:
                continue
            if i.library in HEAVY:
                heavy.add(f"{start} imports {i.module}")
            for target in runs_at_import(i.module) - seen:
                heavy |= reached(target, seen | {target})
        return heavy

    started = runs_at_import("fsar_cli." + path.removesuffix(".py").replace("/", "."))
    assert set().union(*(reached(file, started) for file in started)) == set()
