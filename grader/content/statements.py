"""A file as the statements of its functions, as dumped syntax trees.

Comments, layout and quoting play no part, nor do prints, assertions, docstrings and annotations.
"""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator

from grader.content.documents import document_statements
from grader.content.neutral import neutral

Scope = tuple[str, ...]
Statements = dict[Scope, list[str]]
MAX_BYTES = 256 << 10
_BLOCKS = frozenset({"body", "orelse", "finalbody", "handlers", "cases"})


def statements(source: str, only: Container[Scope] | None = None) -> Statements | None:
    """Return the statements of each function in order, by qualified name; None when the text does not parse.

    With `only`, functions of other names are left out.
    """
    if len(source) > MAX_BYTES:
        return None
    if source.lstrip()[:1] == "{":  # no Python file of ours begins with a bare dictionary
        return document_statements(source)
    try:
        found: Statements = {}
        for scope, statement in _walk(neutral(ast.parse(source)), ()):
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
    """Return the signature alone; names and defaults count, the body does not."""
    fields = {name: value for name, value in ast.iter_fields(node) if name != "body"}
    return type(node)(**fields, body=[])


def _head_of(statement: ast.stmt) -> ast.stmt:
    """Strip nested blocks, whose statements are listed on their own."""
    if not _BLOCKS.intersection(statement._fields):
        return statement
    fields = {
        name: ([] if name in _BLOCKS else value) for name, value in ast.iter_fields(statement)
    }
    return type(statement)(**fields)
