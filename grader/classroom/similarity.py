"""Find groups of files that are nearly the same where they are a learner's own.

Code that the starter, the reference or a planted bug gave to everybody does not count, nor what many learners arrived
at.  The result says that files are alike, not who wrote them.

A file is written as a string with one letter per token, and compared in *windows* of a few letters.  Windows that are
common to the class or were given to it are dropped; what is left of two files is compared by edit distance.
"""

from __future__ import annotations

import io
import keyword
import tokenize
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, islice, pairwise

from rapidfuzz.distance import Indel

from grader.content import Challenge
from grader.content.planting import plant

WINDOW = 6  # tokens that must stand together to be recognised
LEAST = 24  # own tokens below which likeness says nothing
ALIKE = 0.85
COMMON = 0.2  # a window that more of the class has is common knowledge
FEW = 10  # unless that is only so many files
MOST_SHARED = 40  # files that share one window, beyond which not every two of them are compared
MOST_TOKENS = 20_000
FIRST_LETTER, LETTERS = 0x100, 0xD000  # the letters end before the surrogates
LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}


@dataclass(frozen=True)
class SimilarGroup:
    """Ids of files that are alike, and how alike the least alike of the pairs that joined them are."""

    ids: tuple[str, ...]
    likeness: float


def tokens(source: bytes) -> list[str]:
    """Return a file's tokens without layout, comments and the learner's choice of names and strings."""
    found: list[str] = []
    try:
        for token in islice(tokenize.tokenize(io.BytesIO(source).readline), MOST_TOKENS):
            if token.type in LAYOUT:
                continue
            after_dot = bool(found) and found[-1] == "."
            found.append(_plain(token, after_dot))
    except (tokenize.TokenError, SyntaxError, UnicodeDecodeError, ValueError):
        pass  # what could be read up to there
    return found[1:]  # without the encoding


def _plain(token: tokenize.TokenInfo, after_dot: bool) -> str:
    if token.type == tokenize.NAME and not keyword.iskeyword(token.string) and not after_dot:
        return "name"
    if token.type == tokenize.STRING:
        return "text"
    return token.string


class Alphabet:
    """One letter per distinct token, so that a file is a string."""

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}

    def spell(self, source: bytes) -> str:
        """Return a file as a string of its tokens."""
        letters = self._letters
        return "".join(
            letters.setdefault(token, chr(FIRST_LETTER + len(letters) % LETTERS))
            for token in tokens(source)
        )


def similar_groups(
    challenge: Challenge,
    ids: Iterable[str],
    source_of: Callable[[str], bytes],
    given: Iterable[str] = (),
) -> list[SimilarGroup]:
    """Return the groups, largest first; every id is in at most one.

    `given` are texts that learners began with beside the starter.
    """
    own = _own(challenge, ids, source_of, given)
    pairs = []
    for one, other in _candidates(own):
        likeness = Indel.normalized_similarity(own[one][0], own[other][0], score_cutoff=ALIKE)
        if likeness >= ALIKE:
            pairs.append((one, other, likeness))
    return _joined(pairs)


def _own(
    challenge: Challenge,
    ids: Iterable[str],
    source_of: Callable[[str], bytes],
    given: Iterable[str],
) -> dict[str, tuple[str, frozenset[str]]]:
    """Return for each file its own tokens, and its own windows."""
    alphabet = Alphabet()
    spelt = {name: alphabet.spell(source_of(name)) for name in ids}
    seen = Counter(window for text in spelt.values() for window in set(_windows(text)))
    most = max(FEW, COMMON * len(spelt))
    common = _given(challenge, alphabet, given) | {w for w, times in seen.items() if times > most}
    own = {}
    for name, text in spelt.items():
        mine = [at for at, window in enumerate(_windows(text)) if window not in common]
        places = sorted({at + step for at in mine for step in range(WINDOW)})
        if len(places) >= LEAST:
            windows = frozenset(text[at : at + WINDOW] for at in mine)
            own[name] = ("".join(text[at] for at in places), windows)
    return own


def _given(challenge: Challenge, alphabet: Alphabet, given: Iterable[str]) -> set[str]:
    """Return the windows of what every learner was given or is meant to arrive at."""
    texts = [challenge.reference_text, challenge.starter.read_text("utf-8"), *given]
    texts += [plant(challenge, [name]) for name in challenge.bugs]
    return {window for text in texts for window in _windows(alphabet.spell(text.encode()))}


def _windows(text: str) -> Iterator[str]:
    return (text[at : at + WINDOW] for at in range(len(text) - WINDOW + 1))


def _candidates(own: dict[str, tuple[str, frozenset[str]]]) -> set[tuple[str, str]]:
    """Return pairs of files that share at least half of the shorter one's own windows."""
    holders: dict[str, list[str]] = {}
    for name, (_, windows) in own.items():
        for window in windows:
            holders.setdefault(window, []).append(name)
    shared: Counter[tuple[str, str]] = Counter()
    for names in holders.values():
        # a large group of copies is still joined: each of its files to the next
        shared.update(combinations(names, 2) if len(names) <= MOST_SHARED else pairwise(names))
    return {
        pair for pair, times in shared.items() if 2 * times >= min(len(own[n][1]) for n in pair)
    }


def _joined(pairs: list[tuple[str, str, float]]) -> list[SimilarGroup]:
    """Join pairs that have a file in common: (a, b) and (b, c) become one group of three."""
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            leader[name] = name = leader[leader[name]]
        return name

    for one, other, _ in pairs:
        leader[find(one)] = find(other)
    least: dict[str, float] = {}
    members: dict[str, set[str]] = {}
    for one, other, likeness in pairs:
        root = find(one)
        least[root] = min(least.get(root, 1.0), likeness)
        members.setdefault(root, set()).update((one, other))
    found = [SimilarGroup(tuple(sorted(ids)), least[root]) for root, ids in members.items()]
    return sorted(found, key=lambda group: (-len(group.ids), group.ids))
