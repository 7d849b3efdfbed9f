"""Take out of a syntax tree what changes nothing: prints, assertions, annotations, docstrings.

It looks at one file and decides nothing; what is left is compared elsewhere.
"""

from __future__ import annotations

import ast

SPEAKERS = frozenset({"logging", "logger", "log", "warnings", "stdout", "stderr", "pprint", "sys"})
WORDS = frozenset({"print", "pprint", "breakpoint"})
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def neutral(tree: ast.Module) -> ast.Module:
    """Return `tree` without inert statements and annotations; it is changed in place.  May raise RecursionError."""
    _Strip().visit(tree)
    return tree


class _Strip(ast.NodeTransformer):
    """`inside` counts the functions around: imports at the top of a file stay."""

    def __init__(self) -> None:
        self.inside = 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        self.generic_visit(node)
        if node.value is not None:
            made = ast.Assign(targets=[node.target], value=node.value)
            return ast.copy_location(made, node)
        return None if self.inside else node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) or _speaks(node.value) else node

    def visit_Assert(self, node: ast.Assert) -> None:
        return None

    def visit_Pass(self, node: ast.Pass) -> None:
        return None

    def visit_Import(self, node: ast.Import) -> ast.AST | None:
        return None if self.inside else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if self.inside else node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return self._block(node, bool(node.body))

    def visit_For(self, node: ast.For) -> ast.AST | None:
        return self._block(node, bool(node.body))

    def _block(self, node: ast.If | ast.For, filled: bool) -> ast.AST | None:
        self.generic_visit(node)
        return None if filled and not node.body and not node.orelse else node

    def _function(self, node: _Function) -> ast.AST:
        self.inside += 1
        self.generic_visit(node)
        self.inside -= 1
        node.returns = None
        return node


def _speaks(value: ast.expr) -> bool:
    """Whether an expression is a call that only tells somebody something."""
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
