"""An automatic refactor that keeps what a file does: what learners and their tools do to code beside mending it.

Locals and parameters of private functions get new names, methods another order, prints and assertions are put in,
annotations are added or dropped, docstrings change, and the layout is that of `ast.unparse`. In a JSON document entries
and members change places, and the layout is another.
"""

from __future__ import annotations

import ast
import json
import random
from collections.abc import Iterable
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef


def refactored(source: str, draw: random.Random) -> str:
    """Return `source`, rewritten."""
    if source.startswith("{"):
        return json.dumps(_reordered(json.loads(source), draw), indent=draw.choice((None, 1, 4)))
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    keywords = {node.arg for node in nodes if isinstance(node, ast.keyword)}
    for node in nodes:
        if isinstance(node, Function):
            _rename(node, draw, keywords)
            _annotate(node, draw)
            _talk(node, draw)
    for node in nodes:
        if isinstance(node, ast.Module | ast.ClassDef):
            node.body = _shuffled(node.body, draw)
    return ast.unparse(tree)


def _reordered(value: Any, draw: random.Random) -> Any:
    """Members of objects and entries that have names change places; lists of numbers stay as they are."""
    if isinstance(value, dict):
        return {
            name: _reordered(value[name], draw) for name in draw.sample(list(value), len(value))
        }
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_reordered(entry, draw) for entry in draw.sample(value, len(value))]
    return value


def _rename(function: Function, draw: random.Random, keywords: Iterable[str | None]) -> None:
    nodes = list(ast.walk(function))
    bound = {node.id for node in nodes if _stored(node)}
    given = function.args
    parameters = {item.arg for item in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
    private = function.name.startswith("_") and not function.name.endswith("__")
    chosen = bound - parameters
    if private:
        chosen |= parameters - {"self", "cls", *filter(None, keywords)}
    # nested functions share names with their surroundings
    if any(isinstance(node, Function) for node in nodes if node is not function):
        return
    fresh = iter(draw.sample(range(100, 999), len(chosen)))
    names = {name: f"{draw.choice('abcxyz')}_{next(fresh)}" for name in sorted(chosen)}
    # now and then two names change places, the meanest of renames
    if len(bound - parameters) >= 2 and draw.random() < 0.3:
        first, second = draw.sample(sorted(bound - parameters), 2)
        names[first], names[second] = second, first
    for node in nodes:
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
        elif isinstance(node, ast.arg):
            node.arg = names.get(node.arg, node.arg)


def _stored(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _annotate(function: Function, draw: random.Random) -> None:
    if draw.random() < 0.5:
        function.returns = None
        for item in function.args.args:
            item.annotation = None
    for index, statement in enumerate(function.body):
        plain = isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
        if plain and len(statement.targets) == 1 and draw.random() < 0.2:
            function.body[index] = ast.AnnAssign(
                statement.targets[0], ast.Constant("object"), statement.value, simple=1
            )


def _talk(function: Function, draw: random.Random) -> None:
    lines = ['print("here")', "print(locals())", 'assert True, "never"', "if True:\n    print(1)"]
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    if documented and draw.random() < 0.5:
        function.body[0] = ast.Expr(ast.Constant("Another text."))
    for _ in range(draw.randint(0, 3)):
        at = draw.randint(1 if documented else 0, len(function.body))
        function.body[at:at] = ast.parse(draw.choice(lines)).body


def _shuffled(body: list[ast.stmt], draw: random.Random) -> list[ast.stmt]:
    """Put the functions of a body in another order; everything else stays where it is."""
    functions = [node for node in body if isinstance(node, Function) and not node.decorator_list]
    draw.shuffle(functions)
    order = iter(functions)
    return [
        next(order) if isinstance(node, Function) and not node.decorator_list else node
        for node in body
    ]
