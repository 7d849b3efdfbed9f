"""A file as the statements of its functions, normalized so that only what changes a result is left.

Python: each function's statements as dumped syntax trees.  Comments, layout and quoting play no part, nor do prints,
assertions, docstrings and annotations (`normalize`).

JSON: each named entry of a document's lists is a scope, and each of its members is a statement.  So a planted flaw is
found by the member it changes, wherever the entry stands and however it is laid out.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
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


def statements(source: str) -> Statements | None:
    """Return the statements of each function in order, by qualified name; None when the text does not parse."""
    if len(source) > MAX_SOURCE_BYTES:
        return None
    if source.lstrip()[:1] == "{":  # a JSON document; no reference begins with a bare dictionary
        return document_statements(source)
    try:
        return _by_scope(ast.parse(source), ())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _by_scope(module: ast.Module, scope: Scope) -> Statements:
    """Return the statements of a tree that stands within `scope`; the tree is changed."""
    found: Statements = {}
    for inner, statement in _walk(normalize(module), scope):
        found.setdefault(inner, []).append(ast.dump(statement))
    return found


class VersionsOf:
    """A text, and other versions of it, of which only the functions that an edit stands in are read.

    Dozens of versions of a reference, each with one bug planted, are compared with every file, and most files are such
    versions themselves.  Reading all of one takes 4 to 12 ms, and a method of it a tenth.
    """

    def __init__(self, text: str) -> None:
        self._text, self._lines = text, text.split("\n")
        self.whole = statements(text)
        self._functions = tuple(_functions(text))
        self._apart: dict[Scope, bool] = {}

    def statements(self, text: str) -> Statements | None:
        """Return what `statements` returns for a version of the text."""
        if text == self._text:
            return self.whole
        lines = text.split("\n")
        if self.whole is None or len(lines) > 2 * len(self._lines):
            return statements(text)
        found = dict(self.whole)
        for function, first, last in self._edited(lines):
            mine = None
            if function is not None and self._stands_apart(function):
                mine = _statements_of_function("\n".join(lines[first:last]), function.scope)
            if function is None or mine is None:
                return statements(text)
            for scope in _within(found, function.scope):
                del found[scope]
            found |= mine
        return found

    def _edited(self, lines: list[str]) -> Iterator[tuple[Function | None, int, int]]:
        """Yield each function with an edit and its lines in the version; None for an edit outside of all functions."""
        before: Function | None = None
        first = last = 0
        for here, here_end, there, there_end in _differences(lines, self._lines):
            holds = (f for f in self._functions if f.first <= there and there_end <= f.last)
            function = next(holds, None)
            if before is not None and function != before:
                yield before, first, last
            if function is None:
                yield None, here, here_end
                return
            if function != before:
                first = here - (there - function.first)
            last = here_end + (function.last - there_end)
            before = function
        if before is not None:
            yield before, first, last

    def _stands_apart(self, function: Function) -> bool:
        """Whether a function read alone is what it is in the whole, which another one of its name would spoil."""
        assert self.whole is not None
        if function.scope not in self._apart:
            alone = _statements_of_function(
                "\n".join(self._lines[function.first : function.last]), function.scope
            )
            whole = {scope: self.whole[scope] for scope in _within(self.whole, function.scope)}
            self._apart[function.scope] = alone == whole
        return self._apart[function.scope]


@dataclass(frozen=True)
class Function:
    """Where a function stands: its first line, with decorators, and the line behind its last, counted from 0."""

    scope: Scope
    first: int
    last: int


def _differences(lines: list[str], others: list[str]) -> Iterator[tuple[int, int, int, int]]:
    """Yield where two lists of lines differ, as the ends of both blocks; most versions differ in one place."""
    start = _alike(lines, others)
    end = _alike(lines[start:][::-1], others[start:][::-1])
    mine, theirs = lines[start : len(lines) - end], others[start : len(others) - end]
    for tag, *ends in SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes():
        if tag != "equal":
            here, here_end, there, there_end = (start + place for place in ends)
            yield here, here_end, there, there_end


def _alike(lines: list[str], others: list[str]) -> int:
    """Return how many lines are the same at the beginning."""
    pairs = enumerate(zip(lines, others, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(lines), len(others)))


def _functions(text: str) -> Iterator[Function]:
    """Yield the functions of a module and the methods of its classes."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # nor is a JSON document Python
        return
    for node in tree.body:
        scope = (node.name,) if isinstance(node, ast.ClassDef) else ()
        for inner in node.body if isinstance(node, ast.ClassDef) else (node,):
            if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min(part.lineno for part in (inner, *inner.decorator_list))
                yield Function((*scope, inner.name), first - 1, inner.end_lineno or first)


def _statements_of_function(text: str, scope: Scope) -> Statements | None:
    """Return the statements of a function or a method that is the whole of a text; None for any other text."""
    indented = text[:1].isspace()
    try:
        body = ast.parse(f"if True:\n{text}" if indented else text).body
        if indented and len(body) == 1 and isinstance(body[0], ast.If):
            body = body[0].body
        function = body[0] if len(body) == 1 else None
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            return None
        if function.name != scope[-1]:
            return None
        return _by_scope(ast.Module([function], []), scope[:-1])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _within(found: Statements, outer: Scope) -> list[Scope]:
    return [scope for scope in found if scope[: len(outer)] == outer]


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
