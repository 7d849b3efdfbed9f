"""Every command speaks of one bug: `python -m benchmarks.one_focus [--states N] [--seed N] [CHALLENGE ...]`.

An attempt is begun with bugs drawn at random, and its file is brought into one state after the other: some of the bugs
mended as the reference has it, one mended or said once more in other words (`own_words`), a part of a bug mended, a
mistake that nobody wrote beside them.  At each state the file is saved under a running `watch`, and `grade` with its
page, `hint`, `trace` and `more` are asked in a random order by their command lines, as a learner would.  All must be
about one bug, or none of them about any, and show one case.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import cast
from unittest.mock import patch

from benchmarks.credit import CHALLENGES, new_mistake, rewritten, spots
from benchmarks.options import many, parser
from grader.cli.main import main as kvdojo
from grader.cli.variant import of_work
from grader.cli.watch_command import watch_options
from grader.content import Challenge, ContentError, load_challenge
from grader.content.entries import Bug, Edit
from grader.content.planting import apply_edits, plant
from grader.judge import grade_source, start_sandbox
from grader.learner import watch_events as events
from grader.learner.hints import recall_grading
from grader.learner.regrader import GradingFunctions, Regrader
from grader.learner.watch_loop import handle_events
from grader.learner.watch_view import WatchView
from grader.learner.work_folder import WorkFolder, load_work_folder
from grader.sandbox import Sandbox

SAVES = 10  # of an attempt
COMMANDS = ("grade", "hint", "trace", "more")
MOST_BUGS = 8


@dataclass(frozen=True)
class Named:
    """What one command spoke of: a bug and a case, None where it named none."""

    command: str
    bug: str | None
    case: str | None


class NeverClosed:
    """The sandbox that all commands share, which none of them closes."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def __getattr__(self, name: str) -> object:
        return getattr(self._sandbox, name)

    def close(self) -> None:
        """Leave it open."""


class Watch:
    """A `watch` of one attempt, fed with saves; what it draws is read off its view."""

    def __init__(self, challenge: Challenge, work: WorkFolder, sandbox: Sandbox) -> None:
        self._options = watch_options(challenge, work.path, work, "symptom")
        self._view = WatchView(work.path.name, self._options.planted)
        shared = cast(Sandbox, NeverClosed(sandbox))
        self._functions = GradingFunctions(lambda *_, **__: shared, grade_source)

    def show(self, view: WatchView, event: events.WatchEvent) -> None:
        """End the loop as soon as there is a verdict."""
        if isinstance(event, events.GradingFinished | events.GradingFailed):
            self._queue.put(events.KeyPressed("q"))

    def save(self, text: str) -> Named:
        """Have a save graded, and return what the screen shows then."""
        self._queue: events.EventQueue = SimpleQueue()
        self._queue.put(events.FileSaved(text.encode(), time.monotonic()))
        with Regrader(self._options, self._queue, self._functions) as regrader:
            handle_events(self._options, self._queue, self._view, regrader, self)
        view = self._view
        return Named("watch", view.focus.bug, view.case.id if view.case else None)


def states(challenge: Challenge, planted: list[str], draw: random.Random) -> Iterator[str]:
    """Yield texts of an attempt's file, without end."""
    bugs = [challenge.bugs[name] for name in planted]
    while True:
        left = [bug for bug in bugs if draw.random() < 0.7]
        target = draw.choice(bugs)
        try:
            made = _state(challenge, left, target, draw)
        except ContentError:
            continue
        if made is not None:
            yield made


def _state(challenge: Challenge, left: list[Bug], target: Bug, draw: random.Random) -> str | None:
    """Return a text in which `left` are left, and something is done about `target`; None where it can't be."""
    reference, beside = challenge.reference_text, [bug for bug in left if bug is not target]
    way = draw.choice(("none", "none", "mended", "said", "part"))
    edits: list[tuple[str, Edit]] = [(bug.id, edit) for bug in beside for edit in bug.edits]
    taken: set[int] = set()
    text = reference
    if way in ("mended", "said"):
        places = spots(challenge, target)
        if places is None or (way == "said" and len(places) > 1):
            return None
        planted = plant(challenge, [target.id]) if way == "said" else reference
        form = rewritten(reference, planted, places, draw)
        if form is None:
            return None
        text = form[1]
        taken = {line for start, end in places for line in range(start - 1, end + 1)}
    elif way == "part" and len(target.edits) > 1:
        some = draw.sample(target.edits, draw.randint(1, len(target.edits) - 1))
        edits += [(target.id, edit) for edit in some]
    elif target in left:
        edits += [(target.id, edit) for edit in target.edits]
    if draw.random() < 0.4:
        edits += new_mistake(challenge, draw, taken, left)
    return apply_edits(text, edits)


def run(*words: str) -> str:
    """Run a command line here, and return what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = kvdojo([*words])
    if code not in (0, 1):
        raise RuntimeError(f"{' '.join(words)} ended with {code}: {out.getvalue()[-500:]}")
    return out.getvalue()


def ask(command: str, challenge: Challenge, work: WorkFolder) -> list[Named]:
    """Ask one command about an attempt; nothing comes where it has nothing to say any more."""
    if command == "grade":
        page = work.folder / "page.html"
        report = _graded(challenge, work, run("grade", challenge.id, "--html", str(page)))
        first = re.search(r'id="case-([^"]+)"', page.read_text("utf-8"))
        return [report, Named("page", None, first and first[1])]
    if command == "trace":
        said = run("trace", challenge.id, "--json")
        case = None if said.startswith("Nothing failed") else json.loads(said)["case"]
        return [Named("trace", None, case)]
    said = run(command, challenge.id)
    word = said.split(maxsplit=1)[0] if said.strip() else ""
    if command == "more" and word in ("✗", "!"):
        return [_graded(challenge, work, said)]
    shown = word if command == "more" and word in challenge.cases else None
    bug = _hinted(challenge, work, said)
    return [Named(command, bug, shown)] if bug or shown else []


def _graded(challenge: Challenge, work: WorkFolder, said: str) -> Named:
    """Return the case that a report shows, and the focus that was remembered with it."""
    found = re.search(r"^[✗!] (\S+)  ", said, re.MULTILINE)
    known = recall_grading(work, challenge, work.path.read_bytes())
    bug = known.focus.bug if known else None
    return Named("grade", bug, found and found[1])


def _hinted(challenge: Challenge, work: WorkFolder, said: str) -> str | None:
    """Return the bug of which what was said is a hint: of several with the same hint the one in focus, if it is one."""
    flat = " ".join(said.split())
    found = [
        bug.id
        for bug in challenge.bugs.values()
        if any(" ".join(hint.split()) in flat for hint in bug.hints)
    ]
    known = recall_grading(work, challenge, work.path.read_bytes())
    if known and known.focus.bug in found:
        return known.focus.bug
    return found[0] if found else None


def quarrel(answers: list[Named], challenge: Challenge, work: WorkFolder) -> str | None:
    """Return how the answers disagree, None where all speak of one bug and show one case."""
    known = recall_grading(work, challenge, work.path.read_bytes())
    focus = known.focus if known else None
    bug, case = (focus.bug, focus.case) if focus else (None, None)
    for one in answers:
        if one.bug is not None and one.bug != bug:
            return f"{one.command} speaks of {one.bug}, the grading of {bug}"
        if one.case is not None and case is not None and one.case != case:
            return f"{one.command} shows {one.case}, the focus is {bug} in {case}"
        if one.command in ("grade", "watch") and one.bug != bug:
            return f"{one.command} speaks of {one.bug}, the grading of {bug}"
    return None


def measure(challenge: Challenge, wanted: int, seed: int) -> tuple[int, int, list[str]]:
    """Return how many states were seen, how many had a bug in focus, and what was wrong with some."""
    draw = random.Random(f"focus/{challenge.id}/{seed}")
    wrong: list[str] = []
    seen = focused = number = 0
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(patch.dict(os.environ, KVDOJO_WORK=str(folder), COLUMNS="80"))
        sandbox = stack.enter_context(start_sandbox(challenge))
        sandbox.ready()
        for place in ("grader.judge", "grader.judge.grade_file"):
            stack.enter_context(
                patch(f"{place}.start_sandbox", lambda *_, **__: nullcontext(sandbox))
            )
        # a page names the same case with one picture as with several
        stack.enter_context(patch("grader.diagnose.explain_failures.MOST_PICTURED", 1))
        while seen < wanted:
            number += 1
            count = draw.randint(1, MOST_BUGS)
            words = ("--seed", str(draw.randrange(10_000)), "--bugs", str(count))
            run("start", challenge.id, *words, "--force")
            work = load_work_folder(folder / challenge.id)
            assert work is not None, "the attempt was just begun"
            planted = list(of_work(challenge, work).bugs)
            watch = Watch(challenge, work, sandbox)
            for text in states(challenge, planted, draw):
                work.path.write_text(text, "utf-8")
                answers = []
                for command in draw.sample(["watch", *COMMANDS], 1 + len(COMMANDS)):
                    if command == "watch":
                        answers.append(watch.save(text))
                    else:
                        answers += ask(command, challenge, work)
                seen += 1
                known = recall_grading(work, challenge, work.path.read_bytes())
                focused += bool(known and known.focus.bug)
                if said := quarrel(answers, challenge, work):
                    order = ", ".join(one.command for one in answers)
                    wrong.append(
                        f"attempt {number}, {words}, state {seen}: {said} (asked: {order})"
                    )
                if seen >= wanted or seen % SAVES == 0:
                    break
    return seen, focused, wrong


def main() -> int:
    """Print a line per challenge; the status is 1 when commands spoke of different bugs."""
    options = parser(__doc__)
    options.add_argument("challenges", nargs="*", default=CHALLENGES)
    options.add_argument("--states", type=many, default=334, help="of each challenge")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    bad = 0
    for name in given.challenges:
        began = time.monotonic()
        seen, focused, wrong = measure(load_challenge(name), given.states, given.seed)
        bad += len(wrong)
        print(
            f"{name}: in {seen - len(wrong)} of {seen} states all speak of one bug, or none of any"
            f" ({focused} with a bug in focus; {time.monotonic() - began:.0f} s)",
            flush=True,
        )
        for text in wrong[:20]:
            print("  wrong:", text)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
