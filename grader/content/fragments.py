"""Read from a file itself which planted fragments it still holds.

A bug is told by the statements in which the reference with that bug differs from the reference, compared as syntax
trees within the function they stand in: comments, layout and quoting play no part.  Nothing is run.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from grader.content.challenge import Challenge
from grader.content.entries import Bug
from grader.content.plant import plant

Scope = tuple[str, ...]
MAX_BYTES = 256 << 10


@dataclass(frozen=True)
class Fragment:
    """What one bug adds to and takes from one function, as dumped statements with their counts."""

    scope: Scope
    added: Counter[str]
    removed: Counter[str]


def status(challenge: Challenge, source: str) -> dict[str, str]:
    """Per bug id: `present`, `fixed`, `changed` (neither right nor as planted) or `unknown`.

    `unknown` is said of code that was written anew: the function is gone, or none of its statements are ours.
    """
    bugs = [bug for bug in challenge.bugs.values() if bug.kind == "bug"]
    found = statements(source)
    if found is None:
        return {bug.id: "unknown" for bug in bugs}
    reference = statements(challenge.reference_text) or {}
    return {bug.id: _judge(fragments(challenge, bug), found, reference) for bug in bugs}


def fragments(challenge: Challenge, bug: Bug) -> list[Fragment]:
    """Return the functions in which planting `bug` changes statements, with what it changes."""
    right = statements(challenge.reference_text) or {}
    wrong = statements(plant(challenge, [bug.id])) or {}
    parts = []
    for scope in right.keys() | wrong.keys():
        before, after = right.get(scope, Counter()), wrong.get(scope, Counter())
        if before != after:
            parts.append(Fragment(scope, after - before, before - after))
    return sorted(parts, key=lambda part: part.scope)


def statements(source: str) -> dict[Scope, Counter[str]] | None:
    """Return the statements of each function by qualified name; None when the text does not parse."""
    if len(source) > MAX_BYTES:
        return None
    try:
        tree = ast.parse(source)
        found: dict[Scope, Counter[str]] = {}
        for scope, statement in _walk(tree, ()):
            found.setdefault(scope, Counter())[_dump(statement)] += 1
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return found


def _judge(
    parts: list[Fragment], found: dict[Scope, Counter[str]], reference: dict[Scope, Counter[str]]
) -> str:
    states = {_state(part, found.get(part.scope), reference.get(part.scope)) for part in parts}
    for name in ("present", "changed", "unknown"):
        if name in states:
            return name
    return "fixed"


def _state(part: Fragment, mine: Counter[str] | None, reference: Counter[str] | None) -> str:
    if mine is None:
        return "unknown"
    if part.added and part.added <= mine:
        return "present"
    if not part.added:
        return "fixed" if part.removed <= mine else _by_kinship(mine, reference)
    if part.removed <= mine:
        return "fixed"
    return _by_kinship(mine, reference)


def _by_kinship(mine: Counter[str], reference: Counter[str] | None) -> str:
    """Neither the right nor the planted statement: edited here if the rest is ours, else written anew."""
    shared = (mine & (reference or Counter())).total()
    return "changed" if shared else "unknown"


def _walk(node: ast.AST, scope: Scope) -> Iterator[tuple[Scope, ast.stmt]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = (*scope, child.name)
            yield inner, _header(child)
            yield from _walk(child, inner)
        elif isinstance(child, ast.stmt):
            if not _is_docstring(child):
                yield scope, _head_of(child)
            yield from _walk(child, scope)
        elif isinstance(child, ast.excepthandler | ast.match_case):
            yield from _walk(child, scope)


def _header(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> ast.stmt:
    """Return the signature alone; annotations and defaults count, the body does not."""
    fields = {name: value for name, value in ast.iter_fields(node) if name != "body"}
    return type(node)(**fields, body=[])


def _head_of(statement: ast.stmt) -> ast.stmt:
    """Strip nested blocks, whose statements are listed on their own."""
    blocks = {"body", "orelse", "finalbody", "handlers", "cases"}
    if not any(name in blocks for name in statement._fields):
        return statement
    fields = {name: ([] if name in blocks else value) for name, value in ast.iter_fields(statement)}
    return type(statement)(**fields)


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _dump(statement: ast.stmt) -> str:
    return ast.dump(statement)
