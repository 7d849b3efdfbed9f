"""Read off a file itself which planted bugs it still holds.  Nothing is run.

Bugs that change the same statements of a function form a knot.  For each set of bugs of a knot it is known how often
each of these statements must stand in the function; the set that fits exactly is what the file holds.  A bug that only
moves statements is told by their order.  Layout, prints, the order of methods and the names of local variables do not
matter: see `neutral` and `renames`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from grader.content.challenge import Challenge
from grader.content.plant import plant
from grader.content.renames import Words, restored, words_of
from grader.content.statements import Scope, Statements, statements

MAX_KNOT = 6  # bugs and decoys told apart together; of a larger knot each is told alone
Ids = frozenset[str]


@dataclass(frozen=True)
class Knot:
    """Entries that touch the same statements of one function.

    `counts` says per set of planted entries how often each of these statements stands there; `moves` lists, for an
    entry that only moves statements, pairs of them in the order in which the planted file has them.
    """

    scope: Scope
    ids: Ids
    counts: tuple[tuple[Ids, dict[str, int]], ...]
    moves: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Known:
    """What is worked out once per challenge.

    `words` are, by function, all statements it has in files of ours; `told` the entries that change more than comments.
    """

    reference: Statements
    knots: tuple[Knot, ...]
    words: dict[Scope, Words]
    told: tuple[str, ...]


def status(challenge: Challenge, source: str) -> dict[str, str]:
    """Per bug id: `present`, `fixed`, `changed` (neither right nor as planted) or `unknown`.

    `unknown` is said of code that was written anew: most of the function's statements are not ours.
    """
    found = entries(challenge, source)
    return {name: found[name] for name, bug in challenge.bugs.items() if bug.kind == "bug"}


def entries(challenge: Challenge, source: str) -> dict[str, str]:
    """The same for every bug, and for every decoy that changes more than comments."""
    known = known_bugs(challenge)
    found = statements(source, known.words)
    if found is None:
        return dict.fromkeys(known.told, "unknown")
    found = {scope: _ours(mine, known.words.get(scope)) for scope, mine in found.items()}
    states: dict[str, set[str]] = {name: set() for name in known.told}
    for knot in known.knots:
        for name, state in _judge(knot, found, known).items():
            states[name].add(state)
    order = ("present", "changed", "unknown", "fixed")
    return {name: next((s for s in order if s in seen), "fixed") for name, seen in states.items()}


def known_bugs(challenge: Challenge) -> Known:
    """Return the knots of a challenge; kept with it, so that a second file costs nothing."""
    known: Known | None = challenge.__dict__.get("_known_bugs")
    if known is None:
        variants = Variants(challenge)
        reference = variants.of()
        knots = tuple(_knots(variants, reference))
        seen = frozenset[str]().union(*(knot.ids for knot in knots))
        told = tuple(
            name for name, bug in challenge.bugs.items() if bug.kind == "bug" or name in seen
        )
        known = challenge.__dict__["_known_bugs"] = Known(reference, knots, variants.words(), told)
    return known


def _ours(mine: list[str], words: Words | None) -> list[str]:
    """Undo renames in a function that files of ours have too; names in a class body are no local ones."""
    function = mine[0].startswith(("FunctionDef(", "AsyncFunctionDef("))
    return restored(mine, words) if words and function else mine


def _judge(knot: Knot, found: Statements, known: Known) -> dict[str, str]:
    mine, reference = found.get(knot.scope), known.reference
    if mine is None:
        return dict.fromkeys(knot.ids, "unknown")
    if knot.moves:
        return dict.fromkeys(
            knot.ids, _order(knot, mine) or _otherwise(mine, reference[knot.scope])
        )
    have = Counter(mine)
    right = dict(knot.counts[0][1])
    for planted, counts in knot.counts:
        if not all(have[statement] == count for statement, count in counts.items()):
            continue
        # that something is absent shows a bug only where nothing else was written in its place
        added = any(count > right[statement] for statement, count in counts.items())
        if added or not planted or known.words[knot.scope].all.issuperset(mine):
            return {name: "present" if name in planted else "fixed" for name in knot.ids}
    return dict.fromkeys(knot.ids, _otherwise(mine, reference.get(knot.scope, [])))


def _order(knot: Knot, mine: list[str]) -> str | None:
    """Tell by the first pair of statements that are both there."""
    for first, second in knot.moves:
        if first in mine and second in mine:
            return "present" if mine.index(first) < mine.index(second) else "fixed"
    return None


def _otherwise(mine: list[str], reference: list[str]) -> str:
    """Neither right nor as planted: edited here when most of the function is ours, else written anew."""
    shared = (Counter(mine) & Counter(reference)).total()
    return "changed" if 2 * shared >= len(reference) else "unknown"


class Variants:
    """The statements of the reference with entries planted, each variant parsed once."""

    def __init__(self, challenge: Challenge) -> None:
        self.challenge = challenge
        self._parsed: dict[Ids, Statements] = {}

    def of(self, *ids: str) -> Statements:
        """Return the statements of one variant."""
        key = frozenset(ids)
        if key not in self._parsed:
            self._parsed[key] = statements(plant(self.challenge, ids)) or {}
        return self._parsed[key]

    def words(self) -> dict[Scope, Words]:
        """Return, by function, the statements it has in any variant made so far."""
        scopes = {scope for parsed in self._parsed.values() for scope in parsed}
        return {
            scope: words_of(parsed.get(scope, []) for parsed in self._parsed.values())
            for scope in scopes
        }

    def possible(self, ids: tuple[str, ...]) -> bool:
        """Whether the entries may be planted together."""
        bugs = self.challenge.bugs
        return not any(other in bugs[name].excludes for name in ids for other in ids)


def _knots(variants: Variants, reference: Statements) -> Iterable[Knot]:
    touched: dict[Scope, dict[str, set[str]]] = {}
    for name in variants.challenge.bugs:
        planted = variants.of(name)
        for scope in reference.keys() | planted.keys():
            before, after = reference.get(scope, []), planted.get(scope, [])
            changed = set((Counter(before) - Counter(after)) + (Counter(after) - Counter(before)))
            if changed:
                touched.setdefault(scope, {})[name] = changed
            elif before != after:
                yield Knot(scope, frozenset({name}), (), _moves(before, after))
    for scope, changes in sorted(touched.items()):
        for ids in _tied(changes):
            yield _knot(variants, scope, ids, set().union(*(changes[name] for name in ids)))


def _tied(changes: dict[str, set[str]]) -> list[list[str]]:
    """Group the entries that touch a common statement."""
    groups: list[tuple[list[str], set[str]]] = []
    for name, changed in changes.items():
        apart = [group for group in groups if not group[1] & changed]
        joined = [group for group in groups if group[1] & changed]
        names = [other for group in joined for other in group[0]] + [name]
        groups = [*apart, (names, changed.union(*(group[1] for group in joined)))]
    return [part for names, _ in groups for part in _split(names)]


def _split(names: list[str]) -> list[list[str]]:
    return [names] if len(names) <= MAX_KNOT else [[name] for name in names]


def _knot(variants: Variants, scope: Scope, ids: list[str], changed: set[str]) -> Knot:
    planted = {}
    for size in range(len(ids) + 1):
        for subset in filter(variants.possible, combinations(ids, size)):
            planted[frozenset(subset)] = Counter(variants.of(*subset).get(scope, []))
            changed |= set(planted[frozenset(subset)] - planted[frozenset()])
    counts = [(subset, {s: have[s] for s in sorted(changed)}) for subset, have in planted.items()]
    return Knot(scope, frozenset(ids), tuple(counts))


def _moves(before: list[str], after: list[str]) -> tuple[tuple[str, str], ...]:
    once = [statement for statement in after if after.count(statement) == 1]
    pairs = combinations(once, 2)
    return tuple((a, b) for a, b in pairs if before.index(a) > before.index(b))
