"""A file as the statements of its functions, normalized so that only what changes a result is left.

Python: each function's statements as dumped syntax trees.  Comments, layout and quoting play no part, nor do prints,
assertions, docstrings and annotations (`normalize`).

JSON: each named entry of a document's lists is a scope, and each of its members is a statement.  So a planted flaw is
found by the member it changes, wherever the entry stands and however it is laid out.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Container, Iterator
from typing import Any

from grader.ground.limits import MAX_SOURCE_BYTES

Scope = tuple[str, ...]
Statements = dict[Scope, list[str]]
_BODIES = ("body", "orelse", "finalbody")
_PARTS = ("handlers", "cases")  # each with a body of its own
_BLOCKS = frozenset((*_BODIES, *_PARTS))
SPEAKERS = frozenset({"logging", "logger", "log", "warnings", "stdout", "stderr", "pprint", "sys"})
PRINTERS = frozenset({"print", "pprint", "breakpoint"})
_INERT = (ast.Assert, ast.Pass)
_IMPORT = (ast.Import, ast.ImportFrom)


def statements(source: str, only: Container[Scope] | None = None) -> Statements | None:
    """Return the statements of each function in order, by qualified name; None when the text does not parse.

    With `only`, functions of other names are left out.
    """
    if len(source) > MAX_SOURCE_BYTES:
        return None
    if source.lstrip()[:1] == "{":  # a JSON document; no reference begins with a bare dictionary
        return document_statements(source)
    try:
        found: Statements = {}
        for scope, statement in _walk(normalize(ast.parse(source)), ()):
            if only is None or scope in only:
                found.setdefault(scope, []).append(ast.dump(statement))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return found


def _walk(node: ast.AST, scope: Scope) -> Iterator[tuple[Scope, ast.stmt]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = (*scope, child.name)
            yield inner, _header(child)
            yield from _walk(child, inner)
        elif isinstance(child, ast.stmt):
            yield scope, _head_of(child)
            yield from _walk(child, scope)
        elif isinstance(child, ast.excepthandler | ast.match_case):
            yield from _walk(child, scope)


def _header(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> ast.stmt:
    """Return a definition without its body: its name, parameters and defaults count."""
    fields = {name: value for name, value in ast.iter_fields(node) if name != "body"}
    return type(node)(**fields, body=[])


def _head_of(statement: ast.stmt) -> ast.stmt:
    """Return a statement without its nested blocks, whose statements are listed on their own."""
    if not _BLOCKS.intersection(statement._fields):
        return statement
    fields = {
        name: ([] if name in _BLOCKS else value) for name, value in ast.iter_fields(statement)
    }
    return type(statement)(**fields)


def normalize(tree: ast.Module) -> ast.Module:
    """Return `tree` without inert statements and annotations; it is changed in place.  May raise RecursionError."""
    tree.body = list(_kept(tree.body, inside=False))
    return tree


def _kept(body: list[ast.stmt], *, inside: bool) -> Iterator[ast.stmt]:
    """Yield the statements that can change a result.

    `inside` a function, imports and declarations without a value are left out as well.
    """
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
    """Normalize the blocks of a statement in place; return whether an `if` or `for` has lost all that it did."""
    for name in _BODIES:
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
    """Whether an expression is a docstring, or a call that only prints or logs."""
    if isinstance(value, ast.Constant):
        return True
    if not isinstance(value, ast.Call):
        return False
    if isinstance(value.func, ast.Name):
        return value.func.id in PRINTERS
    place = value.func
    while isinstance(place, ast.Attribute):
        if place.attr in SPEAKERS:
            return True
        place = place.value
    return isinstance(place, ast.Name) and place.id in SPEAKERS


def document_statements(text: str) -> Statements | None:
    """Return the statements of a JSON object; None when the text is none."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    found: Statements = {}
    for key, value in document.items():
        entries = value if isinstance(value, list) else []
        named = [e for e in entries if isinstance(e, dict) and isinstance(e.get("name"), str)]
        for entry in named:
            found.setdefault((key, entry["name"]), []).extend(_members(entry))
        if not named:
            found.setdefault((), []).append(_member(key, value))
    return found


def _members(entry: dict[str, Any]) -> list[str]:
    return [_member(key, value) for key, value in entry.items()]


def _member(key: str, value: Any) -> str:
    return f"{json.dumps(key)}: {json.dumps(value, sort_keys=True)}"
