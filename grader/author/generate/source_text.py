"""A Python file as text and syntax tree at once, so that a change of a node is a change of a few characters.

Everything else stays byte for byte: a tree that is printed again would lose comments and layout.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Replacement:
    """Characters `[start, end)` of a text become `text`."""

    start: int
    end: int
    text: str

    def apply(self, source: str) -> str:
        """Return the source with this change.

        >>> Replacement(2, 3, "<=").apply("i < n")
        'i <= n'
        """
        return source[: self.start] + self.text + source[self.end :]


class SourceText:
    """The text and the tree of one file, with what operators ask of them; raises SyntaxError for no Python."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self.tree = ast.parse(text)
        except ValueError as error:  # of a null byte, before Python 3.11.4
            raise SyntaxError(str(error)) from None
        self._lines = text.splitlines(keepends=True)
        self._bound: dict[Function, list[tuple[str, int]]] = {}
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Return where a node stands, as a range of characters; parentheses around it do not belong to it."""
        first, last = getattr(node, "lineno", 1), getattr(node, "end_lineno", 1)
        return (
            self._at(first, getattr(node, "col_offset", 0)),
            self._at(last, getattr(node, "end_col_offset", 0)),
        )

    def of(self, node: ast.AST) -> str:
        """Return a node's text."""
        start, end = self.span(node)
        return self.text[start:end]

    def replaced(self, node: ast.AST, text: str) -> Replacement:
        """Return the change of a whole node."""
        return Replacement(*self.span(node), text)

    def between(self, left: ast.AST, right: ast.AST, old: str, new: str) -> Iterator[Replacement]:
        """Yield the change of an operator sign between two operands, if it stands there once."""
        start, end = self.span(left)[1], self.span(right)[0]
        gap = self.text[start:end]
        if gap.count(old) == 1:
            at = start + gap.index(old)
            yield Replacement(at, at + len(old), new)

    def line_of(self, place: int) -> int:
        """Return the line that holds a character, counted from 1."""
        return self.text.count("\n", 0, place) + 1

    def function_of(self, node: ast.AST) -> Function | None:
        """Return the innermost function that a node stands in."""
        while (parent := self.parents.get(node)) is not None:
            if isinstance(parent, Function):
                return parent
            node = parent
        return None

    def statement_of(self, node: ast.AST) -> ast.stmt | None:
        """Return the innermost statement that a node is part of, or is."""
        while not isinstance(node, ast.stmt):
            parent = self.parents.get(node)
            if parent is None:
                return None
            node = parent
        return node

    def function_at(self, line: int) -> str:
        """Return the qualified name of the innermost definition that holds a line; empty for the module itself."""
        names: list[str] = []
        nodes: list[ast.stmt] = self.tree.body
        while True:
            inner = next((n for n in nodes if n.lineno <= line <= (n.end_lineno or 0)), None)
            if not isinstance(inner, Function | ast.ClassDef):
                return ".".join(names)
            names.append(inner.name)
            nodes = inner.body

    def block_at(self, line: int) -> tuple[int, int]:
        """Return the lines `[first, last)`, counted from 0, of the innermost function around a line.

        Where there is none, they are those of the statement of the module.
        """
        around = [
            node
            for node in (*self.tree.body, *self._functions)
            if _first_line(node) <= line <= (node.end_lineno or 0)
        ]
        found = around[-1]
        return _first_line(found) - 1, found.end_lineno or found.lineno

    def names_at(self, node: ast.AST) -> frozenset[str]:
        """Return the names that the function around a node binds before the node's line, its parameters among them."""
        function = self.function_of(node)
        if function is None:
            return frozenset()
        if function not in self._bound:
            given = function.args
            names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            stored = [n for n in ast.walk(function) if isinstance(n, ast.Name)]
            self._bound[function] = [(name, 0) for name in names]
            self._bound[function] += [
                (n.id, n.lineno) for n in stored if isinstance(n.ctx, ast.Store)
            ]
        line = getattr(node, "lineno", 0)
        return frozenset(name for name, bound in self._bound[function] if bound < line)

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """The node around each node."""
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    @cached_property
    def _functions(self) -> list[Function]:
        """Every function, an inner one behind those around it."""
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]

    @cached_property
    def attributes(self) -> frozenset[str]:
        """Every name that stands behind a dot and is stored or called somewhere in the file."""
        return frozenset(n.attr for n in ast.walk(self.tree) if isinstance(n, ast.Attribute))

    def nodes(self) -> Iterator[ast.AST]:
        """Yield the nodes that a mistake can be made in, in the order of the text.

        Left out are annotations, docstrings, decorators, imports, f-strings, and what is said in an exception.
        """
        yield from self._inside(self.tree)

    def _inside(self, node: ast.AST) -> Iterator[ast.AST]:
        yield node
        skipped = set(_not_code(node))
        for child in ast.iter_child_nodes(node):
            if child not in skipped and not isinstance(child, _SILENT):
                yield from self._inside(child)

    def _at(self, line: int, column: int) -> int:
        text = self._lines[line - 1] if line <= len(self._lines) else ""
        if not text.isascii():  # columns of a tree count bytes
            column = len(text.encode()[:column].decode())
        return self._starts[line - 1] + column


_SILENT = (ast.Raise, ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)


def _first_line(node: ast.stmt) -> int:
    """Return a statement's first line, its decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)])


def _not_code(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node's children that no mistake is made in."""
    for name in ("annotation", "returns"):
        if isinstance(child := getattr(node, name, None), ast.AST):
            yield child
    yield from getattr(node, "decorator_list", ())
    body = getattr(node, "body", None)
    first = body[0] if isinstance(body, list) and body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        yield first
