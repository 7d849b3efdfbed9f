"""Mutants of a reference that mean the same as it does: by a rule, or by a reviewed entry with its reason.

Two rules need no entry. The text of an exception is not part of any contract, its type is; and docstrings and
annotations are not executed. Everything else stands in `challenges/<id>/equivalent.json`, found again by the function,
the lines and what becomes of them: moving code about leaves an entry valid, changing it makes the entry stale.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from grader.author.mutants import Mutant
from grader.content.content_errors import ContentError
from grader.content.jsonfile import read_json
from grader.content.validation import load_schema, schema_errors

FILE = "equivalent.json"
_Body = TypeVar("_Body", ast.FunctionDef, ast.ClassDef, ast.Module)
Key = tuple[str, str, str]  # function, lines before, lines after


@dataclass
class Reviewed:
    """The reviewed entries of one challenge: the reason by key, and the keys that some mutant had (`met`)."""

    reasons: dict[Key, str] = field(default_factory=dict)
    met: set[Key] = field(default_factory=set)

    def reason(self, mutant: Mutant) -> str | None:
        """Return why a mutant is equivalent, if an entry says so."""
        key = (mutant.function, mutant.removed, mutant.added)
        if key in self.reasons:
            self.met.add(key)
        return self.reasons.get(key)

    def stale(self) -> Iterator[Key]:
        """Entries that no mutant met."""
        return (key for key in self.reasons if key not in self.met)


def load_reviewed(folder: Path) -> Reviewed:
    """Read the reviewed entries of a challenge's folder; none without a file. Raises ContentError."""
    path = folder / FILE
    if not path.exists():
        return Reviewed()
    document = read_json(path)
    lines = schema_errors(document, load_schema("equivalent-v1"), str(path))
    if lines:
        raise ContentError("\n".join(lines))
    reviewed = Reviewed()
    for entry in document["equivalent"]:
        for added in entry["becomes"]:
            key = (entry["in"], _stripped(entry["line"]), _stripped(added))
            if key in reviewed.reasons:
                raise ContentError(f"{path}: {entry['in']}: {added!r} is listed twice")
            reviewed.reasons[key] = entry["because"]
    return reviewed


def same_by_rule(mutant: Mutant) -> bool:
    """Whether a mutant differs only in what is never executed or in the text of an exception."""
    return _meaning(mutant.text) == _meaning(mutant.original)


def _meaning(source: str) -> str:
    return ast.dump(_Plain().visit(ast.parse(source)))


class _Plain(ast.NodeTransformer):
    """Drops docstrings, annotations and what exceptions say."""

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.exc, ast.Call):
            node.exc.args, node.exc.keywords = [], []
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        node.annotation = ast.Constant(None)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        return self._without_docstring(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        return self._without_docstring(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        self.generic_visit(node)
        return self._without_docstring(node)

    @staticmethod
    def _without_docstring(node: _Body) -> _Body:
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node


def _stripped(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())
