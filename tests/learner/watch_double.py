"""`kvdojo watch_file` with a grader that only looks for words in the file: run as a program by the tests."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from grader.cli import terminal
from grader.cli.main import main
from grader.content import load_challenge
from grader.judge import GraderError
from grader.judge.result import BugStatus, CaseResult, Cause, Result
from grader.learner.question import Question
from grader.learner.regrader import GradingFunctions
from grader.learner.watch_loop import watch_file
from grader.learner.watch_options import WatchOptions

ASKED = Question("a-bug", "How does it show?", ("first", "second", "third", "last"), 2, "So it is.")
HOSTILE = "<b>\x1b[31m\x1b]0;title\x07\u202e[red]"


class Box:
    """A sandbox that is not one."""

    def close(self) -> None:
        pass


def grade(challenge, source, *, filename, progress, **_):
    text = source.decode("utf-8", "replace")
    if "broken grader" in text:
        raise GraderError("the sandbox does not start")
    if "our bug" in text:
        raise ZeroDivisionError("of ours")
    if "slow" in text:
        for done in range(100):
            time.sleep(0.05)
            progress(done, 100)
    reason = HOSTILE if "hostile" in text else "It differs."
    cases = [
        CaseResult(
            name,
            f"The {name} case",
            "passed" if f"right {name}" in text else "failed",
            int(f"right {name}" in text),
            1,
            0.0,
            None if f"right {name}" in text else Cause("wrong_value", f"{name}: {reason}"),
        )
        for name in ("first", "second")
    ]
    failed = any(case.status == "failed" for case in cases)
    bug = BugStatus("a-bug", "The scale was wrong", "present" if failed else "fixed")
    return Result(
        challenge.id,
        filename,
        "0" * 64,
        "failed" if failed else "passed",
        sum(case.points for case in cases),
        2,
        0.0,
        tuple(cases),
        (bug,),
        {},
        log=HOSTILE if "hostile" in text else "",
    )


@click.command("watch")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--poll", is_flag=True)
def command(path: Path, poll: bool) -> None:
    """Watch a file as `kvdojo watch` does, with the double."""
    options = WatchOptions(
        challenge=load_challenge("multi_head_attention"),
        path=path,
        planted=("a-bug",),
        hint=lambda source, case, focus: (f"a hint about {case.id}",),
        trace=lambda box, source, case, focus: (f"a trace of {case.id}",),
        graded=lambda source, result, focus: None,
        judged=lambda result: ("Your suspicion was right.",) if result.verdict == "passed" else (),
        question=lambda result: ASKED if result.verdict == "passed" else None,
        answer=lambda question, number: question.reply(number),
        suspect=lambda typed: (f"noted: {typed}",),
        poll=poll,
    )
    functions = GradingFunctions(
        start_sandbox=lambda *_, **__: Box(), grade_source=grade, unseen_inputs=lambda *_: None
    )
    watch_file(options, terminal.console(), functions)


if __name__ == "__main__":
    # the program imports a command's module by name: this one stands in for the command's own
    sys.modules["grader.cli.watch_command"] = sys.modules[__name__]
    sys.exit(main(["watch", *sys.argv[1:]]))
