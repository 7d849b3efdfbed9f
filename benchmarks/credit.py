"""A right fix in the learner's own words is credited, whatever else is wrong with the file.

    python -m benchmarks.credit [--tries N] [--seed N] [--wrong] [CHALLENGE ...]

With `--wrong` it is the bug itself that is said in other words: that must never be credited.

A try plants some bugs, mends one of them by one of many forms that do the same as the reference (`own_words`), adds a
mistake that nobody wrote where the challenge has such, and grades the file.  The bug that was mended must be `fixed`.
Before a try counts against us, its form is graded alone: one that does not pass there is no right fix.  What else is in
the file may also end every case with an exception; then nothing can be told of any bug, and such tries are counted
apart.
"""

from __future__ import annotations

import ast
import random
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.options import many, parser
from benchmarks.own_words import in_own_words
from grader.content import Challenge, ContentError, load_challenge
from grader.content.entries import Bug
from grader.content.generated_bugs import read_generated
from grader.content.planting import apply_edits, changed_lines, goes_with, plant
from grader.judge import grade_source, start_sandbox
from grader.judge.result import Result
from grader.sandbox import Sandbox

CHALLENGES = (
    "multi_head_attention",
    "static_cache",
    "decode_positions",
    "sliding_window",
    "conversation_prefix",
    "world_model_cache",
)
MOST_OTHERS = 5


@dataclass(frozen=True)
class Try:
    """A file in which the bug `mended` is mended in the form `form`, beside `others`, and the mended file alone."""

    mended: str
    form: str
    others: tuple[str, ...]
    text: str
    alone: str


@dataclass
class Tally:
    """What came of the tries of a challenge."""

    credited: int = 0
    mute: int = 0
    unequal: int = 0
    lost: list[str] = field(default_factory=list)
    forms: Counter[str] = field(default_factory=Counter)


def spots(challenge: Challenge, bug: Bug) -> list[tuple[int, int]] | None:
    """Return the lines of the reference, from 0, that hold the statements which a bug changes; None where unclear."""
    text = challenge.reference_text
    found = []
    for edit in bug.edits:
        lines = changed_lines(text, edit)
        if lines is None:
            return None
        start, end = lines
        if start == end:
            found.append((start, end))
            continue
        whole = _whole_statements(text, start, end)
        if whole is None:
            return None
        found.append(whole)
    return found


def _whole_statements(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Return the smallest run of statements of one body that covers the lines."""
    best: tuple[int, int] | None = None
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.If | ast.For | ast.With | ast.While):
            continue
        for body in (node.body, getattr(node, "orelse", [])):
            hit = [s for s in body if s.lineno - 1 < end and (s.end_lineno or s.lineno) > start]
            if not hit:
                continue
            first, last = hit[0].lineno - 1, hit[-1].end_lineno or hit[-1].lineno
            covers = first <= start and end <= last
            if covers and (best is None or last - first < best[1] - best[0]):
                best = first, last
    return best


def draw_try(challenge: Challenge, draw: random.Random, *, wrong: bool) -> Try | None:
    """Return a try; None where the bug that was drawn has no statement of its own to say in other words."""
    bugs = [bug for bug in challenge.bugs.values() if bug.kind == "bug"]
    target = draw.choice(bugs)
    places = spots(challenge, target)
    if places is None:
        return None
    taken = {line for start, end in places for line in range(start - 1, end + 1)}
    others: list[Bug] = []
    for other in draw.sample(bugs, len(bugs)):
        theirs = spots(challenge, other)
        apart = theirs is not None and not any(
            line in taken for start, end in theirs for line in range(start - 1, end + 1)
        )
        fits = apart and other is not target and not other.raises and goes_with(other, others)
        if len(others) < draw.randint(1, MOST_OTHERS) and fits:
            others.append(other)
    edits = [(other.id, edit) for other in others for edit in other.edits]
    edits += new_mistake(challenge, draw, taken, others)
    reference = challenge.reference_text
    if wrong and len(places) > 1:
        return None
    planted = plant(challenge, [target.id]) if wrong else reference
    made = rewritten(reference, planted, places, draw)
    if made is None:
        return None
    form, mine = made
    try:
        text = apply_edits(mine, edits)
    except ContentError:
        return None
    names = tuple(dict.fromkeys(owner for owner, _ in edits))
    return Try(target.id, form, names, text, mine)


def new_mistake(
    challenge: Challenge, draw: random.Random, taken: set[int], others: list[Bug]
) -> list[tuple[str, object]]:
    """Return the edits of a mistake that nobody wrote, on lines of its own; none where there is no such."""
    if not challenge.generated.exists():
        return []
    lines = set(taken)
    for other in others:
        lines |= {n for a, b in spots(challenge, other) or [] for n in range(a - 1, b + 1)}
    known = list(read_generated(challenge).bugs.values())
    for entry in draw.sample(known, min(20, len(known))):
        places = [changed_lines(challenge.reference_text, edit) for edit in entry.bug.edits]
        if all(p is not None and not lines & set(range(p[0] - 1, p[1] + 1)) for p in places):
            return [(entry.bug.id, edit) for edit in entry.bug.edits]
    return []


def rewritten(
    reference: str, planted: str, places: list[tuple[int, int]], draw: random.Random
) -> tuple[str, str] | None:
    """Return the name of a form, and the reference in which the statements of `planted` at some lines have that form.

    Where that is not the reference, there is one such place.
    """
    rows, theirs = (text.splitlines(keepends=True) for text in (reference, planted))
    more = len(theirs) - len(rows)
    names = []
    for start, end in sorted(places, reverse=True):
        old = "".join(theirs[start : end + more])
        beside = old if old.strip() else rows[start]
        indent = beside[: len(beside) - len(beside.lstrip())]
        forms = list(in_own_words(textwrap.dedent(old)))
        if not forms:
            return None
        name, new = draw.choice(forms)
        names.append(name)
        rows[start:end] = textwrap.indent(new, indent).splitlines(keepends=True)
    text = "".join(rows)
    try:
        ast.parse(text)
    except SyntaxError:
        return None
    return " and ".join(names), text


def is_mute(result: Result) -> bool:
    """Whether no case passed: the file cannot even begin, and nothing is known of any bug."""
    return not any(case.status == "passed" for case in result.cases)


def measure(challenge: Challenge, tries: int, seed: int, *, wrong: bool = False) -> Tally:
    """Make so many tries in one warm sandbox."""
    tally = Tally()
    with start_sandbox(challenge, isolate=True) as sandbox:
        sandbox.ready()
        for one in _tries(challenge, tries, seed, wrong=wrong):
            tally.forms[one.form.split(":")[0]] += 1
            result = _grade(sandbox, challenge, one.text)
            state = next(bug for bug in result.bugs if bug.id == one.mended)
            if wrong and state.status == "fixed":
                # a form that does the same as the reference is no bug
                same = _grade(sandbox, challenge, one.alone).verdict == "passed"
                tally.unequal += same
                if not same:
                    tally.lost.append(
                        f"{one.mended} by {one.form!r} beside {', '.join(one.others)}"
                    )
            elif state.status == "fixed" or wrong:
                tally.credited += 1
            elif _grade(sandbox, challenge, one.alone).verdict != "passed":
                tally.unequal += 1
            elif is_mute(result):
                tally.mute += 1
            else:
                text = f"{one.mended} by {one.form!r} beside {', '.join(one.others)}"
                tally.lost.append(f"{text}: {state.status}, {state.evidence}")
    return tally


def _tries(challenge: Challenge, tries: int, seed: int, *, wrong: bool) -> Iterator[Try]:
    draw, made = random.Random(f"credit/{challenge.id}/{seed}"), 0
    while made < tries:
        if (one := draw_try(challenge, draw, wrong=wrong)) is not None:
            made += 1
            yield one


def _grade(sandbox: Sandbox, challenge: Challenge, text: str) -> Result:
    return grade_source(challenge, text.encode(), sandbox=sandbox, secret=False)


def main() -> int:
    """Print a line per challenge; the status is 1 when a right fix was not credited."""
    options = parser(__doc__)
    options.add_argument("challenges", nargs="*", default=CHALLENGES)
    options.add_argument("--tries", type=many, default=170, help="of each challenge")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--wrong", action="store_true", help="Say the bug in other words.")
    given = options.parse_args()
    lost = 0
    what = "wrong fixes not credited" if given.wrong else "right fixes credited"
    for name in given.challenges:
        began = time.monotonic()
        tally = measure(load_challenge(name), given.tries, given.seed, wrong=given.wrong)
        lost += len(tally.lost)
        judged = tally.credited + len(tally.lost)
        forms = ", ".join(f"{count} {form}" for form, count in sorted(tally.forms.items()))
        print(
            f"{name}: {tally.credited} of {judged} {what}; {tally.mute} files that"
            f" cannot begin, {tally.unequal} forms that are not what they should be ({forms};"
            f" {time.monotonic() - began:.0f} s)",
            flush=True,
        )
        for text in tally.lost[:20]:
            print("  wrongly:", text)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
