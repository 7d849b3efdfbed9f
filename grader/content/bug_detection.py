"""Find out which planted bugs a file still holds, from its text alone.  Nothing is run.

A bug is recognized by how often certain statements stand in the function that it changes.  Entries (bugs and decoys)
that change a common statement of a function cannot be decided one by one; they form a *conflict group* and are
decided together.  For each set of entries of a group that may be planted together it is known, from the planted text,
how often each of these statements must stand in the function; the set whose counts are those of the file is what the
file holds.

Example: a function of the reference holds `x = x + 1` twice.  The bug `first` turns the first of them into `x = x`, and
`second` turns the second into `x = x + 2`.  Both change how often `x = x + 1` stands there, so they are one group:

    planted          x = x + 1   x = x   x = x + 2
    nothing              2         0         0
    first                1         1         0
    second               1         0         1
    first, second        0         1         1

A file with the counts 1, 1, 0 holds `first` and has `second` fixed.  A file with 1, 0, 0 fits no line; both bugs are
then `changed`, or `unknown` when most of the function's statements are not those of the reference.

A bug that only moves statements leaves every count as it was and is recognized by their order.  Layout, comments,
prints, the order of methods and the names of local variables play no part: see `statements.normalize` and
`alpha_rename`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

from grader.content.alpha_rename import Vocabulary, alpha_rename, vocabulary_of
from grader.content.catalogue import Challenge
from grader.content.planting import plant
from grader.content.statements import Scope, Statements, VersionsOf

MAX_SETS = 64  # sets of entries of a group that are told apart; entries of a group with more are decided one by one
# share of the reference's statements; files of other authors reach 0.32 in the challenges here, starters 0.99
DESCENDS = 0.45
Ids = frozenset[str]


@dataclass(frozen=True)
class ConflictGroup:
    """Entries that change common statements of one function, `scope`.

    `counts` are the lines of the table above: a set of planted entries, and how often each statement then stands in
    the function.  The first line is that of the reference.  For an entry that only moves statements, `counts` is empty
    and `moves` lists pairs of statements that stand the other way round in the reference.
    """

    scope: Scope
    ids: Ids
    counts: tuple[tuple[Ids, dict[str, int]], ...]
    moves: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Detector:
    """What is worked out once for a challenge, and then compared with any number of files.

    `read` gives the statements of a file; the last one that it was given is remembered, for it is asked again.
    `vocabularies` holds, by function, all statements that it can have with any entries planted.  `entries` are the ids
    whose status is told: all bugs, and the decoys that change more than comments.
    """

    read: Callable[[str], Statements | None]
    reference: Statements
    groups: tuple[ConflictGroup, ...]
    vocabularies: dict[Scope, Vocabulary]
    entries: tuple[str, ...]


def bug_status(challenge: Challenge, source: str) -> dict[str, str]:
    """Return the status of each bug by id: `present`, `fixed`, `changed` or `unknown`.

    `changed` is neither right nor as planted.  `unknown` means that the function was written anew: most of its
    statements are not those of the reference, or the file does not have it, or cannot be parsed.
    """
    found = entry_status(challenge, source)
    return {name: found[name] for name, bug in challenge.bugs.items() if bug.kind == "bug"}


def descends(challenge: Challenge, source: str) -> bool:
    """Whether a file was made from the challenge's starter rather than written anew.

    It was when enough of the reference's statements, or of what a bug makes of them, stand in the functions of the same
    names.  Of a file written anew nothing can be told from its text.
    """
    known = detector_of(challenge)
    found = known.read(source) or {}
    shared = total = 0
    for scope, ours in known.reference.items():
        words = known.vocabularies[scope]
        mine = _with_our_names(found[scope], words) if scope in found else []
        total += len(ours)
        shared += min(len(ours), sum(statement in words.all for statement in mine))
    return shared >= DESCENDS * total


def entry_status(challenge: Challenge, source: str) -> dict[str, str]:
    """Return the same for every bug and for every decoy that changes more than comments."""
    known = detector_of(challenge)
    found = known.read(source)
    if found is None:
        return dict.fromkeys(known.entries, "unknown")
    found = {
        scope: _with_our_names(mine, known.vocabularies.get(scope)) for scope, mine in found.items()
    }
    states = _agreed([_possible(group, found, known) for group in known.groups], known.entries)
    order = ("present", "changed", "unknown", "fixed")
    told = {name: next((s for s in order if s in seen), "fixed") for name, seen in states.items()}
    for group in known.groups:
        for name in group.ids if group.moves else ():
            # what it would move is what an entry has changed that cannot be planted with it
            if told[name] == "changed" and _excluded(challenge, name, told):
                told[name] = "fixed"
    return told


def _agreed(
    groups: Sequence[Sequence[dict[str, str]]], entries: Sequence[str]
) -> dict[str, set[str]]:
    """Return what the groups say of each entry.

    Where several answers fit a function, the one counts that agrees best with what other functions say for certain:
    two entries that may not be planted together can do the same to one function, and differ in another.
    """
    states: dict[str, set[str]] = {name: set() for name in entries}
    for possible in sorted(groups, key=len):
        fits = [sum(state in states[name] for name, state in one.items()) for one in possible]
        for name, state in possible[fits.index(max(fits))].items():
            states[name].add(state)
    return states


def _excluded(challenge: Challenge, name: str, told: Mapping[str, str]) -> bool:
    """Whether an entry that excludes this one, or that it excludes, stands in the file."""
    return any(
        state == "present"
        and (name in challenge.bugs[other].excludes or other in challenge.bugs[name].excludes)
        for other, state in told.items()
    )


def detector_of(challenge: Challenge) -> Detector:
    """Return the detector of a challenge; it is made once and kept with the challenge."""
    known: Detector | None = challenge.__dict__.get("_known_bugs")
    if known is None:
        variants = Variants(challenge)
        reference = variants.of()
        groups = tuple(_conflict_groups(variants, reference))
        seen = frozenset[str]().union(*(group.ids for group in groups))
        told = tuple(
            name for name, bug in challenge.bugs.items() if bug.kind == "bug" or name in seen
        )
        known = challenge.__dict__["_known_bugs"] = Detector(
            lru_cache(maxsize=2)(_versions_of(challenge.reference_text).statements),
            reference,
            groups,
            variants.vocabularies(),
            told,
        )
    return known


def _with_our_names(mine: list[str], words: Vocabulary | None) -> list[str]:
    """Undo renames in a function that the reference or a variant has too; a class body has no local names."""
    function = mine[0].startswith(("FunctionDef(", "AsyncFunctionDef("))
    return alpha_rename(mine, words) if words and function else mine


def _possible(group: ConflictGroup, found: Statements, known: Detector) -> list[dict[str, str]]:
    """Return the status of each entry of a group, in every way that fits; the first is the plainest.

    `found` are the file's statements under our names.
    """
    mine, reference = found.get(group.scope), known.reference
    if mine is None:
        return [dict.fromkeys(group.ids, "unknown")]
    if group.moves:
        told = _order(group, mine) or _otherwise(mine, reference[group.scope])
        return [dict.fromkeys(group.ids, told)]
    have = Counter(mine)
    right = dict(group.counts[0][1])
    fitting = []
    for planted, counts in group.counts:
        if not all(have[statement] == count for statement, count in counts.items()):
            continue
        # that something is absent shows a bug only where nothing else was written in its place
        added = any(count > right[statement] for statement, count in counts.items())
        if added or not planted or known.vocabularies[group.scope].all.issuperset(mine):
            fitting.append({n: "present" if n in planted else "fixed" for n in group.ids})
    otherwise = _otherwise(mine, reference.get(group.scope, []))
    return fitting or [dict.fromkeys(group.ids, otherwise)]


def _order(group: ConflictGroup, mine: list[str]) -> str | None:
    """Decide an entry that moves statements by the first pair of which the file has both; None without one."""
    for first, second in group.moves:
        if first in mine and second in mine:
            return "present" if mine.index(first) < mine.index(second) else "fixed"
    return None


def _otherwise(mine: list[str], reference: list[str]) -> str:
    """Return `changed` when at least half of the reference's statements are still there, else `unknown`."""
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
            self._parsed[key] = _parsed(self.challenge.reference_text, plant(self.challenge, ids))
        return self._parsed[key]

    def vocabularies(self) -> dict[Scope, Vocabulary]:
        """Return, by function, the statements it has in any variant made so far."""
        scopes = {scope for parsed in self._parsed.values() for scope in parsed}
        return {
            scope: vocabulary_of(parsed.get(scope, []) for parsed in self._parsed.values())
            for scope in scopes
        }

    def sets(self, ids: list[str]) -> list[tuple[str, ...]] | None:
        """Return the sets of entries that may be planted together, the empty one first; None for too many."""
        bugs = self.challenge.bugs
        found: list[tuple[str, ...]] = [()]
        for name in ids:
            apart = {other for other in ids if other in bugs[name].excludes}
            apart |= {other for other in ids if name in bugs[other].excludes}
            found += [(*known, name) for known in found if not apart & set(known)]
            if len(found) > MAX_SETS:
                return None
        return sorted(found, key=len)


@lru_cache(maxsize=16)
def _versions_of(reference: str) -> VersionsOf:
    return VersionsOf(reference)


@lru_cache(maxsize=128)
def _parsed(reference: str, text: str) -> Statements:
    """Read a variant; where each of a class has generated bugs of their own, most variants are the same for all."""
    return _versions_of(reference).statements(text) or {}


def _conflict_groups(variants: Variants, reference: Statements) -> Iterable[ConflictGroup]:
    touched: dict[Scope, dict[str, set[str]]] = {}
    for name in variants.challenge.bugs:
        planted = variants.of(name)
        for scope in reference.keys() | planted.keys():
            before, after = reference.get(scope, []), planted.get(scope, [])
            changed = set((Counter(before) - Counter(after)) + (Counter(after) - Counter(before)))
            if changed:
                touched.setdefault(scope, {})[name] = changed
            elif before != after:
                yield ConflictGroup(scope, frozenset({name}), (), _moves(before, after))
    for scope, changes in sorted(touched.items()):
        for ids in _grouped(changes, variants):
            yield _conflict_group(
                variants, scope, ids, set().union(*(changes[name] for name in ids))
            )


def _grouped(changes: dict[str, set[str]], variants: Variants) -> list[list[str]]:
    """Group entries by the statements they change: two that change a common one come into one group."""
    groups: list[tuple[list[str], set[str]]] = []
    for name, changed in changes.items():
        apart = [group for group in groups if not group[1] & changed]
        joined = [group for group in groups if group[1] & changed]
        names = [other for group in joined for other in group[0]] + [name]
        groups = [*apart, (names, changed.union(*(group[1] for group in joined)))]
    return [part for names, _ in groups for part in _split(names, variants)]


def _split(names: list[str], variants: Variants) -> list[list[str]]:
    """Part a group of which there would be too many sets to plant."""
    return [[name] for name in names] if variants.sets(names) is None else [names]


def _conflict_group(
    variants: Variants, scope: Scope, ids: list[str], changed: set[str]
) -> ConflictGroup:
    planted = {}
    for subset in variants.sets(ids) or [(), *((name,) for name in ids)]:
        planted[frozenset(subset)] = Counter(variants.of(*subset).get(scope, []))
        changed |= set(planted[frozenset(subset)] - planted[frozenset()])
    counts = [(subset, {s: have[s] for s in sorted(changed)}) for subset, have in planted.items()]
    return ConflictGroup(scope, frozenset(ids), tuple(counts))


def _moves(before: list[str], after: list[str]) -> tuple[tuple[str, str], ...]:
    once = [statement for statement in after if after.count(statement) == 1]
    pairs = combinations(once, 2)
    return tuple((a, b) for a, b in pairs if before.index(a) > before.index(b))
