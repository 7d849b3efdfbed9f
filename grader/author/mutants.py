"""First-order mutants of a source file, made by mutmut's operators; nobody here chooses them.

Only the operators are used: what mutmut does around them (trampolines, its own runner) knows nothing of our cases.
It does not know how a mutant is judged, nor which of them mean the same as the original.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from libcst import CSTNode


@dataclass(frozen=True)
class Mutant:
    """One file that differs from the original in one place."""

    original: str
    text: str

    @cached_property
    def _span(self) -> tuple[int, int]:
        """How many lines before and behind the change are as they were."""
        before, after = self._before, self._after
        same = [a == b for a, b in zip(before, after, strict=False)]
        head = same.index(False) if False in same else len(same)
        most = len(same) - head
        tails = zip(reversed(before), reversed(after), strict=False)
        tail = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], islice(tails, most)))
        return head, tail

    @property
    def line(self) -> int:
        """First line that differs, counted from 1."""
        return self._span[0] + 1

    @property
    def removed(self) -> str:
        """The original lines that are gone, without indentation."""
        return _between(self._before, *self._span)

    @property
    def added(self) -> str:
        """The lines in their place, without indentation."""
        return _between(self._after, *self._span)

    @property
    def function(self) -> str:
        """Qualified name of the function or class the change lies in; empty for the module itself."""
        return function_at(self.original, self.line)

    def diff(self, name: str) -> str:
        """The change as a unified diff."""
        lines = difflib.unified_diff(self._before, self._after, name, name, lineterm="", n=1)
        return "\n".join(lines)

    @property
    def _before(self) -> list[str]:
        return self.original.splitlines()

    @property
    def _after(self) -> list[str]:
        return self.text.splitlines()


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a source, each text once, in the order of the places changed."""
    import libcst
    from libcst.metadata import MetadataWrapper
    from mutmut.mutation.file_mutation import MutationVisitor
    from mutmut.mutation.mutators import mutation_operators
    from mutmut.mutation.pragma_handling import IgnoredCode

    class Visitor(MutationVisitor):
        """Goes into decorated functions too: mutmut leaves them out for the sake of its trampolines only."""

        def _skip_node_and_children(self, node: libcst.CSTNode) -> bool:
            decorated = isinstance(node, libcst.FunctionDef) and bool(node.decorators)
            return not decorated and super()._skip_node_and_children(node)

    visitor = Visitor(mutation_operators, IgnoredCode(set(), set(), set()))
    module = MetadataWrapper(libcst.parse_module(source)).visit(visitor)
    # only the statement that holds the change is written anew: a whole file takes ten times as long
    pieces = [module.code_for_node(statement) for statement in module.body]
    start = source.index("".join(pieces))
    end = start + sum(map(len, pieces))
    owners = {id(node): i for i, top in enumerate(module.body) for node in _nodes(top)}
    seen = {source}
    for mutation in visitor.mutations:
        place = owners[id(mutation.original_node)]
        changed = module.body[place].deep_replace(mutation.original_node, mutation.mutated_node)
        made = [*pieces[:place], module.code_for_node(changed), *pieces[place + 1 :]]
        text = source[:start] + "".join(made) + source[end:]
        if text not in seen:
            seen.add(text)
            yield Mutant(source, text)


def _nodes(node: CSTNode) -> Iterator[CSTNode]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def function_at(source: str, line: int) -> str:
    """Return the qualified name of the innermost definition that holds a line."""
    names: list[str] = []
    nodes: list[ast.stmt] = ast.parse(source).body
    while True:
        inner = next((node for node in nodes if _holds(node, line)), None)
        if not isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return ".".join(names)
        names.append(inner.name)
        nodes = inner.body


def _holds(node: ast.stmt, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)


def _between(lines: list[str], head: int, tail: int) -> str:
    return "\n".join(line.strip() for line in lines[head : len(lines) - tail])
