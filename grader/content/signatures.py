"""Tell a file's own private names from the starter's helpers by what they stand for.  Nothing is run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from grader.content.bug_detection import descends
from grader.content.catalogue import Challenge

# the parameters that a caller gives, without `self`; None for a name that stands for something else than a function
Parameters = list[str] | None
FIELDS = {"property", "cached_property"}


def foreign_helpers(challenge: Challenge, source: str, asked: Iterable[str]) -> set[str]:
    """Return the helpers, of those asked for, whose names the file uses for something of its own.

    Of private ones that is a field, a property, or a function with other parameters than ours, while no function of the
    file has ours.  In a file that was not made from the starter it is whatever bears the name of a helper that the
    brief never mentions: who wrote it had seen neither our helper nor what is said of it.
    It is its author's own business: no contract speaks of it, so no case may judge it.
    """
    helpers = [name for name in asked if challenge.may_lack(name)]
    if not any(name in source for name in helpers):
        return set()
    ours, theirs = _bindings(challenge.reference_text), _bindings(source)
    bound = [name for name in helpers if name in theirs]
    private = filter(challenge.is_internal, bound)
    foreign = {
        name for name in private if not any(own in theirs[name] for own in ours.get(name, []))
    }
    unheard = {name for name in bound if name not in _words(challenge.brief)}
    if unheard and not descends(challenge, source):
        foreign |= unheard
    return foreign


@lru_cache(maxsize=16)
def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text))


@lru_cache(maxsize=64)  # of references, and of a file that is handed in several times
def _bindings(source: str) -> dict[str, list[Parameters]]:
    """Return what each name of a file stands for, wherever it is bound."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    methods = {
        item for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for item in node.body
    }
    found: dict[str, list[Parameters]] = {}
    for node in ast.walk(tree):
        for name, parameters in _bound(node, method=node in methods):
            found.setdefault(name, []).append(parameters)
    for name, other in _aliases(tree):
        found[name].extend(found.get(other, []))
    return found


def _aliases(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield names that the file, or a class, gives to what has one: `_fold, fold` for `_fold = Running.fold`."""
    bodies = [tree.body, *(node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]
    for node in (node for body in bodies for node in body):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name | ast.Attribute):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, _last_name(node.value)


def _bound(node: ast.AST, *, method: bool) -> Iterator[tuple[str, Parameters]]:
    """Yield the names that one node binds; of an overload only the last definition counts."""
    if isinstance(node, ast.FunctionDef):
        marks = {_last_name(mark) for mark in node.decorator_list}
        if "overload" not in marks:
            own = method and "staticmethod" not in marks
            yield node.name, None if marks & FIELDS else _parameters(node.args, own=own)
    elif isinstance(node, ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name, None
    elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Lambda):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        parameters = _parameters(node.value.args, own=method)
        yield from ((_last_name(target), parameters) for target in targets)
    elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield _last_name(node), None
    elif isinstance(node, ast.alias):
        yield node.asname or node.name, None


def _parameters(given: ast.arguments, *, own: bool) -> list[str]:
    """Return the names of parameters; with `own`, without the object that a method is called on."""
    names = [item.arg for item in (*given.posonlyargs, *given.args)][1 if own else 0 :]
    names += [item.arg for item in given.kwonlyargs]
    return names + [f"*{item.arg}" for item in (given.vararg, given.kwarg) if item is not None]


def _last_name(node: ast.expr) -> str:
    """Return the name behind the last dot: `cached_property` of `functools.cached_property`."""
    if isinstance(node, ast.Call):
        node = node.func
    return getattr(node, "attr", getattr(node, "id", ""))
