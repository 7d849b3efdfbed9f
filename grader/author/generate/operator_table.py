"""The table of operators: each makes one kind of mistake, wherever a node of the syntax tree allows it.

An operator is a small function of a node and its source that yields replacements.  `group` is the kind of mistake, and
`nodes` are the kinds of node it is offered.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from grader.author.generate.source_text import Replacement, SourceText

Made = Iterator[Replacement]
Operation = Callable[[Any, SourceText], Made]


@dataclass(frozen=True)
class Operator:
    """One kind of mistake; `name` is that of its function."""

    name: str
    group: str
    nodes: tuple[type[ast.AST], ...]
    make: Operation


OPERATORS: dict[str, Operator] = {}


def operator(group: str, *nodes: type[ast.AST]) -> Callable[[Operation], Operation]:
    """Enter a function into the table of operators."""

    def enter(make: Operation) -> Operation:
        name = make.__name__
        if name in OPERATORS:
            raise ValueError(f"there are two operators {name!r}")
        OPERATORS[name] = Operator(name, group, nodes, make)
        return make

    return enter


def rewritten(make: Operation, text: str) -> list[str]:
    """Return the texts that one operator makes of a source, in the order of the places; for examples and tests."""
    source, entry = SourceText(text), OPERATORS[make.__name__]
    found: list[str] = []
    for node in source.nodes():
        if isinstance(node, entry.nodes):
            found += [change.apply(text) for change in make(node, source)]
    return found


def called(node: ast.AST) -> str:
    """Return the last part of the name that a call calls: `"softmax"` of `torch.softmax(x)`; empty for no call."""
    if not isinstance(node, ast.Call):
        return ""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def whole(node: ast.AST | None) -> int | None:
    """Return the whole number that a literal says, with its sign; None for anything else.

    >>> whole(ast.parse("-2").body[0].value), whole(ast.parse("True").body[0].value)
    (-2, None)
    """
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = whole(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    return None


def plain(node: ast.AST) -> bool:
    """Whether a node is a name, an attribute or a look-up by one: what reads well on either side of a sign."""
    return isinstance(node, ast.Name | ast.Attribute | ast.Subscript)


def swapped(left: ast.AST, right: ast.AST, source: SourceText) -> Replacement:
    """Return the change that puts two neighbours into each other's place."""
    (start, left_end), (right_start, end) = source.span(left), source.span(right)
    middle = source.text[left_end:right_start]
    return Replacement(start, end, source.of(right) + middle + source.of(left))


def line_gone(node: ast.stmt, source: SourceText) -> Made:
    """Yield the change that takes a statement's line away, where another statement stays beside it."""
    parent = source.parents.get(node)
    block = next(
        (b for name in ("body", "orelse") if node in (b := getattr(parent, name, []) or [])), []
    )
    start, end = source.span(node)
    begin = source.text.rfind("\n", 0, start) + 1
    stop = source.text.find("\n", end) + 1 or len(source.text)
    alone = (
        not source.text[begin:start].strip() and ";" not in source.text[end:stop].partition("#")[0]
    )
    if len(block) > 1 and alone and not _only_docstring_left(block, node):
        yield Replacement(begin, stop, "")


def _only_docstring_left(block: list[ast.stmt], node: ast.stmt) -> bool:
    left = [s for s in block if s is not node]
    return all(isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant) for s in left)
