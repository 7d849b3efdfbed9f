"""Tell a file's own private helpers from the starter's by the names of their parameters.  Nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import lru_cache

from grader.content.catalogue import Challenge


def foreign_helpers(challenge: Challenge, source: str, asked: Iterable[str]) -> set[str]:
    """Return the internal helpers, of those asked for, that the file defines with other parameters than ours.

    They are its author's own business: no contract speaks of them, so no case may judge them.
    """
    internals = [name for name in asked if challenge.is_internal(name)]
    if not any(name in source for name in internals):
        return set()
    ours, theirs = _ours(challenge.reference_text), _signatures(source)
    return {name for name in internals if name in theirs and theirs[name] != ours.get(name)}


@lru_cache(maxsize=16)
def _ours(reference: str) -> dict[str, list[str]]:
    return _signatures(reference)


def _signatures(source: str) -> dict[str, list[str]]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    return {
        node.name: [
            item.arg for item in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        ]
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
