"""Take out of a syntax tree what changes nothing: prints, assertions, annotations, docstrings.

It looks at one file and decides nothing; what is left is compared elsewhere.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

SPEAKERS = frozenset({"logging", "logger", "log", "warnings", "stdout", "stderr", "pprint", "sys"})
WORDS = frozenset({"print", "pprint", "breakpoint"})
_BLOCKS = ("body", "orelse", "finalbody")
_PARTS = ("handlers", "cases")  # each with a body of its own
_INERT = (ast.Assert, ast.Pass)
_IMPORT = (ast.Import, ast.ImportFrom)


def neutral(tree: ast.Module) -> ast.Module:
    """Return `tree` without inert statements and annotations; it is changed in place.  May raise RecursionError."""
    tree.body = list(_kept(tree.body, inside=False))
    return tree


def _kept(body: list[ast.stmt], *, inside: bool) -> Iterator[ast.stmt]:
    """Yield the statements that count; `inside` a function, imports and bare declarations do not."""
    for statement in body:
        if isinstance(statement, _INERT) or (inside and isinstance(statement, _IMPORT)):
            continue
        if isinstance(statement, ast.Expr) and _says_nothing(statement.value):
            continue
        if isinstance(statement, ast.AnnAssign) and (inside or statement.value is not None):
            if statement.value is not None:
                yield _plain(statement, statement.value)
            continue
        function = isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef)
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            _strip_signature(statement)
        if _emptied(statement, inside=inside or function):
            continue
        yield statement


def _emptied(statement: ast.stmt, *, inside: bool) -> bool:
    """Clean the blocks of a statement; say whether an `if` or `for` has lost all it did."""
    for name in _BLOCKS:
        if block := getattr(statement, name, None):
            setattr(statement, name, list(_kept(block, inside=inside)))
    for name in _PARTS:
        for part in getattr(statement, name, ()):
            part.body = list(_kept(part.body, inside=inside))
    hollow = isinstance(statement, ast.If | ast.For) and not statement.body
    return hollow and not getattr(statement, "orelse", None)


def _plain(statement: ast.AnnAssign, value: ast.expr) -> ast.stmt:
    return ast.copy_location(ast.Assign(targets=[statement.target], value=value), statement)


def _strip_signature(function: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    given = function.args
    function.returns = None
    for item in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
        if item is not None:
            item.annotation = None


def _says_nothing(value: ast.expr) -> bool:
    """Whether an expression is a docstring, or a call that only tells somebody something."""
    if isinstance(value, ast.Constant):
        return True
    if not isinstance(value, ast.Call):
        return False
    if isinstance(value.func, ast.Name):
        return value.func.id in WORDS
    place = value.func
    while isinstance(place, ast.Attribute):
        if place.attr in SPEAKERS:
            return True
        place = place.value
    return isinstance(place, ast.Name) and place.id in SPEAKERS
