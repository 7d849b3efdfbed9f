"""`kvdojo walk`: an introduction: one bug found step by step, then one whose last step is left to the learner."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click
from rich.console import RenderableType
from rich.text import Text

from grader.cli import terminal
from grader.cli.arguments import catalogue, complete_challenge
from grader.content import Challenge
from grader.content.entries import CAUSE, SYMPTOM, tells
from grader.ground.errors import Exit, UserError
from grader.ground.invocation import command_line
from grader.ground.symbols import UNICODE, count
from grader.judge.telling import told

if TYPE_CHECKING:
    from grader.diagnose.trace_model import Trace
    from grader.judge.result import Result
    from grader.learner.walkthrough import Choice, Lesson
    from grader.sandbox import Sandbox

FIRST = "multi_head_attention"


@click.command("walk")
@click.argument("challenge", required=False, default=FIRST, shell_complete=complete_challenge)
@click.option(
    "--answer",
    "answers",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="N",
    help="Answer the question at the end, where nobody sits at the terminal; may be repeated.",
)
@click.option("--no-isolation", is_flag=True, help="Run the files of the walk unconfined.")
@click.pass_context
def command(
    ctx: click.Context, challenge: str, answers: tuple[int, ...], no_isolation: bool
) -> None:
    """Show how a bug is found, step by step, and let you take the last step of another.

    No editor and no work folder is needed. Everything that is shown is run while you read. Exit status 1: the last
    answer was not right.
    """
    found = catalogue().load(challenge)
    if not tells(found.tell, CAUSE):
        raise UserError(f"{found.id!r} tells at most {found.tell!r}, so it shows no bug.")
    from grader.judge import start_sandbox
    from grader.learner.walkthrough import lessons

    worked, left = lessons(found)
    with start_sandbox(found, isolate=not no_isolation) as sandbox:
        sandbox.ready()
        walk = _Walk(found, sandbox, answers)
        walk.worked(worked)
        right = walk.left_to_you(left)
    if right:
        start = command_line("start", found.id)
        terminal.out(f"Now you: `{start}` makes a file with several bugs at once.")
    ctx.exit(Exit.FAILED if right is False else Exit.PASSED)


class _Walk:
    """Tells the two lessons; on a terminal it waits after every step."""

    def __init__(self, challenge: Challenge, sandbox: Sandbox, answers: tuple[int, ...]) -> None:
        self.challenge, self.sandbox = challenge, sandbox
        self.answers = iter(answers)
        self.waits = sys.stdin.isatty() and sys.stdout.isatty() and not answers
        self.screen = terminal.console()

    def worked(self, lesson: Lesson) -> None:
        """Tell how a bug is found, from its symptom to the proof."""
        challenge, bug = self.challenge, lesson.bug
        decoys = ", beside lines that only look wrong" if lesson.decoys else ""
        self._say("A bug, found step by step", [f"{challenge.file} has one bug{decoys}."])
        self._show("1  The symptom: what a scenario shows", self._symptom(lesson))
        self._say("2  The place: where the first number is wrong", self._place(lesson))
        self._say(
            "3  The idea: which mistake would do exactly that",
            [bug.hints[0], bug.hints[1]],
        )
        mend = next(choice for choice in lesson.choices() if choice.entry == bug.id)
        self._show("4  The change", [Text("\n".join(_change(challenge.file, mend)))])
        self._say("5  The proof: the same cases again", [self._proof(lesson), bug.explanation])

    def left_to_you(self, lesson: Lesson) -> bool | None:
        """Tell the first steps for another bug, and ask for the last one; None where nobody answers."""
        choices = lesson.choices()
        self._say("Another bug in the same file; the last step is yours", [])
        self._show("1  The symptom", self._symptom(lesson))
        self._say("2  The place", self._place(lesson))
        self._show(
            "3  Your turn: which of these changes mends it?", _question(self.challenge, choices)
        )
        right: bool | None = None
        while right is not True:
            number = self._answer(len(choices))
            if number is None:
                break
            right = self._judge(lesson, choices[number - 1])
        if right is None:
            again = command_line("walk", self.challenge.id, "--answer", "N")
            terminal.out(f"Answer with `{again}`.")
        return right

    def _judge(self, lesson: Lesson, choice: Choice) -> bool:
        """Make a change, run the cases that show the bug, and say what came of it."""
        case = lesson.focus.case
        assert case is not None, "a bug of a walk has a scenario that shows it"
        if choice.entry == lesson.bug.id:
            bug = lesson.bug
            self._say("Right", [self._proof(lesson), bug.title + ".", bug.explanation])
            return True
        result = self._grade(choice.source, [case])
        still = "still fails" if result.verdict == "failed" else "passes now"
        what = "What stands there only looks wrong." if choice.entry in lesson.decoys else ""
        stood = what or "What stands there is right, and that would spoil it."
        self._say("Not this one", [f"With that change `{case}` {still}. {stood}", choice.why])
        return False

    def _symptom(self, lesson: Lesson) -> Iterator[RenderableType]:
        from grader.report.case_details import details, heading

        result = told(self._grade(lesson.source(), [str(lesson.focus.case)]), SYMPTOM)
        for case in result.cases:
            yield heading(case, UNICODE)
            yield from details(case)

    def _place(self, lesson: Lesson) -> list[str]:
        from grader.diagnose.explain_failures import divergence_texts

        trace = self._trace(lesson)
        if trace.divergence is None:
            return ["Nothing inside departs from the reference before the answer does."]
        where, how = divergence_texts(trace.divergence)
        return [where, how] if how else [where]

    def _proof(self, lesson: Lesson) -> str:
        """Run the cases that show the bug on the mended file, and say how many pass."""
        result = self._grade(lesson.source(mended=lesson.bug.id), lesson.witnesses)
        passed = sum(case.status == "passed" for case in result.cases)
        return f"{passed} of {count(len(result.cases), 'case')} that it failed pass now."

    def _grade(self, source: bytes, cases: list[str]) -> Result:
        from grader.judge import grade_source

        return grade_source(self.challenge, source, cases=cases, sandbox=self.sandbox, secret=False)

    def _trace(self, lesson: Lesson) -> Trace:
        from grader.diagnose.explain_failures import trace_focus

        case = str(lesson.focus.case)
        return trace_focus(self.sandbox, self.challenge, None, lesson.source(), lesson.focus, case)

    def _say(self, title: str, lines: Iterable[str]) -> None:
        self._show(title, [Text(text) for text in lines])

    def _show(self, title: str, parts: Iterable[RenderableType]) -> None:
        """Print one step under its title, and wait for Enter where somebody reads."""
        from rich.padding import Padding

        from grader.report.terminal_report import lines_without_blanks

        body = [Padding(part, (0, 0, 0, 2), expand=False) for part in parts]
        lines = lines_without_blanks(self.screen, [Text(title, "bold"), *body])
        for segments in lines:
            self.screen.print(Text.assemble(*((part.text, part.style or "") for part in segments)))
        if body and self.waits and not title.startswith(("3  Your turn", "Not", "Right")):
            _read("Enter for the next step ")
        terminal.out("")

    def _answer(self, most: int) -> int | None:
        """Return the next answer; None at the end of the input, or where there is none."""
        while True:
            given = next(self.answers, None)
            if given is not None:
                if given > most:
                    raise UserError(f"--answer takes a number from 1 to {most}, not {given}.")
                return given
            typed = _read(f"1 to {most}, or q: ") if self.waits else None
            if typed is None or typed.strip().casefold() == "q":
                return None
            if typed.strip().isascii() and typed.strip().isdigit() and 1 <= int(typed[:9]) <= most:
                return int(typed)


def _question(challenge: Challenge, choices: list[Choice]) -> Iterator[RenderableType]:
    for number, choice in enumerate(choices, 1):
        head, *rest = _change(challenge.file, choice)
        yield Text("\n".join([f"{number}  {head}", *(f"   {text}" for text in rest)]))


def _change(file: str, choice: Choice) -> list[str]:
    """Return a change as `file:line` and the lines of a diff."""
    change = choice.change
    gone = [f"- {text}" for text in change.mine]
    come = [f"+ {text}" for text in change.reference]
    return [f"{file}:{change.first}", *gone, *come]


def _read(prompt: str) -> str | None:
    """Return a line from the terminal, None at its end."""
    try:
        return input(prompt)
    except EOFError:
        return None
