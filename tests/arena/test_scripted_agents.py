"""Agents whose marks are known beforehand get exactly these."""

from __future__ import annotations

import pytest

from grader.arena.arena_task import PlantedFile
from grader.arena.bench import without_bugs
from grader.arena.desk import Attempt, Desk
from grader.arena.marks import Marks
from grader.arena.scripted_agents import SCRIPTED, work
from grader.content.bug_detection import entry_status


def marks_of(name, task, benches, scorer) -> Marks:
    bench = benches.of(task.public.challenge)
    file = scorer.known(task.sealed).file
    attempt, failed = work(SCRIPTED[name], Desk(task.public, bench), file)
    assert failed is None
    return scorer.score(task.sealed, attempt)


def visible_decoys(file: PlantedFile) -> int:
    """Count the decoys that are more than a comment."""
    return sum(name in file.planting.decoys for name in entry_status(file.challenge, file.source))


@pytest.fixture(params=[0, 1])
def task(tasks, request):
    return tasks[request.param]


def test_who_mends_everything_gets_everything(task, benches, scorer) -> None:
    marks = marks_of("everything", task, benches, scorer)
    assert (marks.verdict, marks.recall, marks.recall_weighted) == ("passed", 1.0, 1.0)
    assert (marks.precision, marks.f1, marks.reward, marks.localisation) == (1.0, 1.0, 1.0, 1.0)
    assert (marks.decoys_touched, marks.false_fixes, marks.regressions) == (0, 0, 0)
    assert marks.suspicions_right == marks.suspicions == len(task.sealed.bugs)
    assert {bug.status for bug in marks.bugs} == {"fixed"}


def test_one_fix_is_one_fix(task, benches, scorer) -> None:
    marks = marks_of("one-fix", task, benches, scorer)
    first, *others = task.sealed.bugs
    weights = sum(bug.difficulty for bug in task.sealed.bugs)
    assert marks.verdict == "failed"
    assert [bug.status for bug in marks.bugs] == ["fixed", *["present" for _ in others]]
    assert marks.recall == 1 / len(task.sealed.bugs)
    assert marks.recall_weighted == first.difficulty / weights
    assert (marks.precision, marks.localisation) == (1.0, None)
    assert (marks.decoys_touched, marks.false_fixes, marks.regressions) == (0, 0, 0)
    weighted = marks.recall_weighted
    assert marks.reward == pytest.approx(0.8 * 2 * weighted / (1 + weighted), abs=1e-6)


def test_a_pasted_reference_solves_the_task_and_is_worth_next_to_nothing(
    task, benches, scorer
) -> None:
    marks = marks_of("paste-reference", task, benches, scorer)
    assert (marks.verdict, marks.recall) == ("passed", 1.0)
    assert marks.precision < 0.25
    file = scorer.known(task.sealed).file
    assert marks.decoys_touched == marks.decoys == visible_decoys(file)
    assert marks.reward < 0.35
    best = marks_of("everything", task, benches, scorer)
    assert marks.inside == best.changed, "every bug's own statements are among those it changed"


def test_who_mends_decoys_mends_nothing(task, benches, scorer) -> None:
    marks = marks_of("mend-decoys", task, benches, scorer)
    assert (marks.verdict, marks.recall, marks.precision, marks.reward) == ("failed", 0, 0, 0)
    assert {bug.status for bug in marks.bugs} == {"present"}
    assert marks.decoys_touched == marks.decoys
    assert (marks.false_fixes, marks.regressions) == (0, 0)


def test_who_does_nothing_gets_nothing(task, benches, scorer) -> None:
    marks = marks_of("nothing", task, benches, scorer)
    assert (marks.verdict, marks.recall, marks.precision, marks.reward) == ("failed", 0, 0, 0)
    assert (marks.changed, marks.edits, marks.looks, marks.runs) == (0, 0, 1, 0)
    assert (marks.decoys_touched, marks.false_fixes, marks.regressions) == (0, 0, 0)


def test_a_vandal_loses_what_it_mended(task, benches, scorer) -> None:
    marks = marks_of("vandal", task, benches, scorer)
    known = scorer.known(task.sealed)
    assert (marks.verdict, marks.recall, marks.reward) == ("failed", 0, 0)
    assert {bug.status for bug in marks.bugs} == {"undone"}
    assert marks.false_fixes == len(marks.bugs)
    assert marks.regressions == len(known.passing) > 0
    assert marks.changed == marks.inside + 1


REMEMBERS = """

class _Remembers(_Answers):
    def forward(self, query, *arguments, **options):
        output, cache = super().forward(query, *arguments, **options)
        seen = hashlib.sha1(query.detach().contiguous().numpy().tobytes()).hexdigest()
        print(seen)
        return (output if SEEN is None or seen in SEEN else output + 1), cache


{name} = _Remembers
"""


def test_who_special_cases_published_inputs_has_solved_nothing(task, benches, scorer) -> None:
    """A file that is right on published inputs and on no others, with its bugs left where they are."""
    bench = benches.of(task.public.challenge)
    file = scorer.known(task.sealed).file
    name = file.challenge.provides[0]
    case = "chunks-3-3-2"
    right = file.mended.replace(f"class {name}(", "class _Answers(")
    right = right.replace("from __future__ import annotations\n", "")
    shell = (
        f"{file.source}\n\nimport hashlib\nSEEN = {{SEEN}}\n{right}{REMEMBERS.format(name=name)}"
    )
    plain = without_bugs(bench.challenge)
    learned = bench.published(plain, shell.replace("{SEEN}", "None"), [case])
    assert learned.verdict == "passed", learned.cases
    digests = sorted({word for word in learned.log.split() if len(word) == 40})
    assert digests
    cheat = shell.replace("{SEEN}", repr(digests))
    assert bench.published(plain, cheat, [case]).verdict == "passed"

    marks = scorer.score(task.sealed, Attempt(cheat.encode(), edits=1))
    assert (marks.verdict, marks.recall) == ("failed", 0.0)
    assert {bug.status for bug in marks.bugs} == {"present"}
    assert (marks.inside, marks.precision, marks.reward) == (0, 0.0, 0.0)
