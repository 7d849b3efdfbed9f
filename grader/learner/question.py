"""One short question after a fix: why did the cases that passed before not show this bug?  It is never a mark.

The answers are how bugs show: that of the bug which was mended, and those of three others that are not in the file.
Explaining to oneself what just worked is what makes it last.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from grader.content import Challenge
from grader.content.generated_bugs import PREFIX
from grader.learner.history import History

ANSWERS = 4


@dataclass(frozen=True)
class Question:
    """A question about the bug with the id `bug`; `right` is the place of the right one among the answers, from 1."""

    bug: str
    text: str
    answers: tuple[str, ...]
    right: int
    explanation: str

    def reply(self, number: int) -> str:
        """Return what is said to an answer, from 1."""
        if number == self.right:
            return f"Right. {self.explanation}"
        return f"It was {self.right}: {self.answers[self.right - 1]} {self.explanation}"


def question_after(
    challenge: Challenge, new: Sequence[str], left: Collection[str], history: History
) -> Question | None:
    """Return the question about one of the bugs that were just mended, None where there is none to ask.

    `new` are these bugs, `left` those that are still in the file: nothing is said of them.  `history` is that of before
    the grading.  Nobody is asked twice about one bug, nor about one that nobody wrote, whose symptom says too little.
    """
    asked = {event["bug"] for event in history.of("answer")}
    known = [
        challenge.bugs[name]
        for name in new
        if name in challenge.bugs and name not in asked and not name.startswith(PREFIX)
    ]
    if not known:
        return None
    bug = max(known, key=lambda bug: bug.difficulty)
    kept_back = {challenge.bugs[name].symptom for name in left if name in challenge.bugs}
    draw = random.Random(f"{challenge.id}/{bug.id}")
    others = [
        other
        for other in challenge.bugs.values()
        if other.kind == "bug"
        and other.id not in {bug.id, *left}
        and not other.id.startswith(PREFIX)
        and other.symptom not in {bug.symptom, *kept_back}
    ]
    draw.shuffle(others)
    others.sort(key=lambda other: other.family != bug.family)
    wrong = list(dict.fromkeys(other.symptom for other in others))[: ANSWERS - 1]
    if len(wrong) < ANSWERS - 1:
        return None
    answers = draw.sample([bug.symptom, *wrong], ANSWERS)
    gradings = history.of("graded")
    passed = gradings[-1]["passed"] if gradings else 0
    which = f"{passed} cases passed" if passed > 1 else "Some cases passed"
    text = f"{bug.title}: mended. {which} while it was there. How does it show, so that they could miss it?"
    return Question(bug.id, text, tuple(answers), answers.index(bug.symptom) + 1, bug.explanation)
