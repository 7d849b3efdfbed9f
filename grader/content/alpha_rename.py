"""Undo the renaming of parameters and local variables within one function (in the field: alpha conversion).

Two statements fit when they differ in local names alone.  Each statement of the file's function is compared with all
statements that the function can have in the reference or a planted variant of it (its vocabulary), and the one-to-one
renaming under which most statements fit is applied.

Example, with the vocabulary `s = q @ k`, `w = softmax(s)`, `return w @ v`:

    the file's function        the names, as found       what is returned
    scores = query @ key       scores -> s, query -> q   s = q @ k
    p = softmax(scores)        p -> w                    w = softmax(s)
    return p @ query           no renaming fits          return w @ q

The last line is not made right: `query` is already `q`, and a renaming maps one name to one name.

Works on dumped syntax trees, the form in which `statements` returns a function.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

MOST_STATEMENTS = 400  # a longer function is left as it is; no reference has one
PATIENCE = 4000  # partial renamings tried before the best one so far is taken
_NAME = re.compile(r"((?:Name\(id=|\barg\(arg=)')(\w+)(')")
_BOUND = re.compile(r"(?:Name\(id='(\w+)', ctx=Store\(\)\)|\barg\(arg='(\w+)')")

Names = tuple[str, ...]


@dataclass(frozen=True)
class Vocabulary:
    """The statements that a function can have in the reference or a planted variant.

    `all` are these statements, `locals` the local names in them.  `forms` maps a statement with its local names
    numbered to the names it can have: `<1> = softmax(<2>)` to `[("w", "s")]`.
    """

    all: frozenset[str]
    locals: frozenset[str]
    forms: dict[str, list[Names]]


@dataclass
class _Renaming:
    """A one-to-one renaming: each of their names has one of ours, and none of ours is given twice."""

    ours: dict[str, str] = field(default_factory=dict)  # our name by theirs
    theirs: dict[str, str] = field(default_factory=dict)  # their name by ours

    def joined(self, left: Names, right: Names) -> _Renaming | None:
        """Return this renaming with the pairs of two equal forms added, or None where they contradict it."""
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
    """Return the file's statements of a function under our names for local variables.

    What fits nowhere keeps its names, but for one that is spelt like a name of ours and means something else: it gets
    an underscore, so that it cannot be mistaken.
    """
    if len(mine) > MOST_STATEMENTS or words.all.issuperset(mine):
        return mine
    bound = _bound(mine)
    forms = [_form(statement, bound) for statement in mine]
    fitting = [(names, words.forms[shape]) for shape, names in forms if shape in words.forms]
    renaming = _Search([entry for entry in fitting if entry[0]]).best()
    taken = set(renaming.theirs)
    spare = {name: f"{name}_" for name in bound if name in taken and name not in renaming.ours}
    return [_renamed(statement, {**renaming.ours, **spare}) for statement in mine]


class _Search:
    """Depth-first search for the renaming under which most statements fit, the most likely candidates first."""

    def __init__(self, statements: list[tuple[Names, list[Names]]]) -> None:
        # statements with one candidate come first: they fix names that decide the others
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
    """Return a statement with its local names numbered, and these names in the order of their numbers."""
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
