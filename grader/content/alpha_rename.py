"""Undo the renaming of parameters and local variables within one function.

The function's statements are laid over those a file of ours can have there.  Two statements fit when they differ in
local names alone; the one-to-one renaming under which most of them fit is applied.  Works on dumped syntax trees.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

MOST_STATEMENTS = 400  # of one function; a longer one is not ours
PATIENCE = 4000  # partial renamings tried
_NAME = re.compile(r"((?:Name\(id=|\barg\(arg=)')(\w+)(')")
_BOUND = re.compile(r"(?:Name\(id='(\w+)', ctx=Store\(\)\)|\barg\(arg='(\w+)')")

Names = tuple[str, ...]


@dataclass(frozen=True)
class Vocabulary:
    """The statements that a function can have in a file of ours, by their form without local names."""

    all: frozenset[str]
    locals: frozenset[str]
    forms: dict[str, list[Names]]


@dataclass
class _Renaming:
    """Pairs of names, one to one; `count` is how many statements fit."""

    ours: dict[str, str] = field(default_factory=dict)  # by their name
    theirs: dict[str, str] = field(default_factory=dict)  # by ours

    def joined(self, left: Names, right: Names) -> _Renaming | None:
        """Return this renaming with further pairs, or None when they contradict it."""
        ours, theirs = dict(self.ours), dict(self.theirs)
        for a, b in zip(left, right, strict=True):
            if ours.setdefault(a, b) != b or theirs.setdefault(b, a) != a:
                return None
        return _Renaming(ours, theirs)


def vocabulary_of(variants: Iterable[list[str]]) -> Vocabulary:
    """Collect the statements of one function over all its variants."""
    statements = frozenset(statement for variant in variants for statement in variant)
    bound = _bound(statements)
    forms: dict[str, list[Names]] = {}
    for statement in sorted(statements):
        shape, names = _form(statement, bound)
        forms.setdefault(shape, []).append(names)
    return Vocabulary(statements, bound, forms)


def alpha_rename(mine: list[str], words: Vocabulary) -> list[str]:
    """Return the statements with our names for local variables, as far as they can be told."""
    if len(mine) > MOST_STATEMENTS or words.all.issuperset(mine):
        return mine
    bound = _bound(mine)
    forms = [_form(statement, bound) for statement in mine]
    fitting = [(names, words.forms[shape]) for shape, names in forms if shape in words.forms]
    renaming = _Search([entry for entry in fitting if entry[0]]).best()
    taken = set(renaming.theirs)
    # a name of the learner's own that is spelt like one of ours must not be mistaken for it
    spare = {name: f"{name}_" for name in bound if name in taken and name not in renaming.ours}
    return [_renamed(statement, {**renaming.ours, **spare}) for statement in mine]


class _Search:
    """Depth first over statements, most promising candidate first, until all fit or patience ends."""

    def __init__(self, statements: list[tuple[Names, list[Names]]]) -> None:
        # statements that can mean one thing only settle the names for the others
        self.statements = sorted(statements, key=lambda entry: (len(entry[1]), -len(entry[0])))
        self.found, self.most, self.tried = _Renaming(), -1, 0

    def best(self) -> _Renaming:
        self._go(0, _Renaming(), 0)
        return self.found

    def _go(self, index: int, renaming: _Renaming, fits: int) -> None:
        left = len(self.statements) - index
        if fits + left <= self.most or self.tried > PATIENCE:
            return
        if not left:
            self.found, self.most = renaming, fits
            return
        self.tried += 1
        names, candidates = self.statements[index]
        for candidate in sorted(candidates, key=lambda other: _distance(names, other)):
            wider = renaming.joined(names, candidate)
            if wider is not None:
                self._go(index + 1, wider, fits + 1)
        self._go(index + 1, renaming, fits)


def _distance(left: Names, right: Names) -> int:
    return sum(a != b for a, b in zip(left, right, strict=True))


def _bound(statements: Iterable[str]) -> frozenset[str]:
    pairs = (match for statement in statements for match in _BOUND.findall(statement))
    return frozenset(stored or parameter for stored, parameter in pairs)


def _form(statement: str, bound: frozenset[str]) -> tuple[str, Names]:
    """Return a statement with its local names numbered, and the names in that order."""
    order: Counter[str] = Counter()

    def number(match: re.Match[str]) -> str:
        name = match[2]
        if name not in bound:
            return match[0]
        if name not in order:
            order[name] = len(order) + 1
        return f"{match[1]}<{order[name]}>{match[3]}"

    shape = _NAME.sub(number, statement)
    return shape, tuple(order)


def _renamed(statement: str, names: dict[str, str]) -> str:
    return _NAME.sub(lambda m: f"{m[1]}{names.get(m[2], m[2])}{m[3]}", statement)
