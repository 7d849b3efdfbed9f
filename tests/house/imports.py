"""Read the imports of a package with `ast`: also those inside functions and those for the type checker alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LOADERS = ("import_module", "__import__")  # what they are given as a literal counts as imported


@dataclass(frozen=True, order=True)
class Arrow:
    """One module that imports another; `line` is where."""

    source: str
    target: str
    line: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


def modules_of(root: Path, package: str) -> dict[str, Path]:
    """Return the modules of a package by dotted name; a folder stands for its `__init__`."""
    found = {}
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found[".".join(parts)] = path
    return found


def arrows_of(modules: Mapping[str, Path]) -> list[Arrow]:
    """Return who imports whom among these modules."""
    found = []
    for name, path in modules.items():
        tree = ast.parse(path.read_text("utf-8"))
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for target, line in _imports(tree, package, modules):
            if target != name:
                found.append(Arrow(name, target, line))
    return sorted(set(found))


def _imports(tree: ast.AST, package: str, modules: Mapping[str, Path]) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            # a name may be a module of the package or something in it
            names = [
                f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules else base
                for alias in node.names
            ]
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "id", getattr(node.func, "attr", "")) in LOADERS
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            names = [str(node.args[0].value)]
        else:
            continue
        for name in names:
            if name in modules:
                yield name, node.lineno


def circles_of(arrows: list[Arrow]) -> list[list[Arrow]]:
    """Return circles of imports, each once and as the arrows along it; empty when there are none."""
    outgoing: dict[str, list[Arrow]] = {}
    for arrow in arrows:
        outgoing.setdefault(arrow.source, []).append(arrow)
    done: set[str] = set()
    found: list[list[Arrow]] = []

    def follow(name: str, path: list[Arrow]) -> None:
        for arrow in outgoing.get(name, ()):
            on_path = [step.source for step in path] + [name]
            if arrow.target in on_path:
                found.append([*path, arrow][on_path.index(arrow.target) :])
            elif arrow.target not in done:
                follow(arrow.target, [*path, arrow])
        done.add(name)

    for name in sorted(outgoing):
        if name not in done:
            follow(name, [])
    return found


def upward(arrows: list[Arrow], floors: Mapping[str, int]) -> list[Arrow]:
    """Return the arrows that lead to a higher floor, or to another room on the same one; rooms by dotted name."""
    wrong = []
    for arrow in arrows:
        source, target = room_of(arrow.source, floors), room_of(arrow.target, floors)
        if source != target and floors[source] <= floors[target]:
            wrong.append(arrow)
    return wrong


def room_of(module: str, floors: Mapping[str, int]) -> str:
    """Return the room a module stands in: the longest name in `floors` that it begins with."""
    fitting = [room for room in floors if module == room or module.startswith(f"{room}.")]
    return max(fitting, key=len)
