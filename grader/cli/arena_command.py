"""`kvdojo arena`: draw tasks for debugging agents, mark what they hand in, and show how they did."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.cli import terminal
from grader.cli.arguments import catalogue, complete_challenge
from grader.cli.terminal import shown
from grader.ground.errors import Exit, UserError
from grader.ground.invocation import command_line

if TYPE_CHECKING:
    from grader.arena.desk import Suspicion
    from grader.arena.marks import Marks

Path_ = click.Path(path_type=Path)
SEALED_HELP = "The folder of sealed parts, where it is not beside the public ones."


@click.group("arena")
def command() -> None:
    """Measure debugging agents on bugs that nobody has published."""


@command.command("draw")
@click.argument(
    "challenges", metavar="CHALLENGE...", nargs=-1, required=True, shell_complete=complete_challenge
)
@click.option(
    "--key", metavar="FILE", type=Path_, required=True, help="A private key: 32 random bytes."
)
@click.option(
    "--count",
    type=click.IntRange(1, 9999),
    default=10,
    show_default=True,
    help="Tasks per challenge.",
)
@click.option("--out", metavar="DIR", type=Path_, required=True, help="A new folder.")
@click.option("--bugs", metavar="A-B", default="2-4", show_default=True, help="Bugs in each file.")
@click.option(
    "--generated",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="The share of generated bugs, where a challenge has some.",
)
@click.option(
    "--plain", is_flag=True, help="Leave files undisguised, to measure what a disguise takes."
)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest.")
def draw(
    challenges: tuple[str, ...],
    key: Path,
    count: int,
    out: Path,
    bugs: str,
    generated: float,
    plain: bool,
    as_json: bool,
) -> None:
    """Draw tasks of each CHALLENGE under a private key, prove them, and write them to a new folder.

    \b
    DIR/public is for agents, DIR/manifest.json may be published at once,
    DIR/sealed and the key are kept until the evaluation is over.
    Example: kvdojo arena draw static_cache --key key --count 20 --out drawn
    """
    from grader.arena.arena_task import refuse_occupied
    from grader.arena.bench import Benches
    from grader.arena.draw_tasks import (
        DrawnTask,
        DrawOptions,
        Pool,
        checked_options,
        draw_task,
        manifest,
        read_key,
        write_draw,
    )

    least, most = _range(bugs, "--bugs")
    wanted = DrawOptions(least, most, generated, not plain)
    secret = read_key(key)
    refuse_occupied(out)
    known = catalogue()
    pools = [Pool.of(known.load(name)) for name in dict.fromkeys(challenges)]
    options = [checked_options(pool.challenge, pool.generated, wanted) for pool in pools]
    tasks: list[DrawnTask] = []
    progress = terminal.Progress("tasks")
    with Benches(known) as benches:
        for pool, own in zip(pools, options, strict=True):
            bench = benches.of(pool.challenge.id)
            for index in range(count):
                tasks.append(draw_task(bench, pool, secret, index, own))
                progress(len(tasks), count * len(pools))
    progress.clear()
    write_draw(out, secret, pools, tasks, wanted)
    if as_json:
        terminal.document(manifest(secret, pools, tasks, wanted))
        return
    planted = [bug for task in tasks for bug in task.sealed.bugs]
    made = sum(bug.generated for bug in planted)
    terminal.out(
        f"{len(tasks)} tasks with {len(planted)} bugs, {made} of them generated: {shown(out)}"
    )
    terminal.out(
        "For agents: public/.  To publish now: manifest.json.  To keep: sealed/ and the key."
    )
    terminal.out(f"Next: {command_line('arena', 'run', shown(out), '--agent', 'everything')}")


@command.command("score")
@click.argument("task", type=Path_)
@click.argument("file", type=Path_)
@click.option("--sealed", metavar="DIR", type=Path_, help=SEALED_HELP)
@click.option(
    "--suspect",
    "suspects",
    metavar="LINE[-LINE]",
    multiple=True,
    help="Lines of the task's file that were named before it was changed; may be given again.",
)
@click.option(
    "--rewards",
    metavar="OUT",
    type=Path_,
    help="Write the marks as plain numbers, as Harbor reads them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def score(
    ctx: click.Context,
    task: Path,
    file: Path,
    sealed: Path | None,
    suspects: tuple[str, ...],
    rewards: Path | None,
    as_json: bool,
) -> None:
    """Mark FILE, which was made of the file of TASK.

    The exit status is 1 when the file does not pass.
    """
    from grader.arena.arena_task import is_task, read_public, read_sealed
    from grader.arena.bench import Benches
    from grader.arena.desk import Attempt
    from grader.arena.scorer import Scorer
    from grader.cli.submission import read

    if not is_task(task):
        raise UserError(f"{shown(task)} is no task: name a folder of those in DIR/public.")
    public = read_public(task, catalogue())
    kept = read_sealed(task, sealed)
    path = file / public.file if os.path.isdir(file) else file
    source = read(path, public.challenge)
    named = _suspicions(suspects, len(public.source.splitlines()))
    with Benches(catalogue()) as benches:
        marks = Scorer(benches).score(kept, Attempt(source, named, edits=1))
    if rewards is not None and marks.judged:
        import json

        from grader.report.exports import harbor

        terminal.write_file(rewards, json.dumps(harbor.rewards(marks)) + "\n")
    if as_json:
        terminal.document(marks.document())
    else:
        _show(marks)
    ctx.exit(Exit.of_verdict(marks.verdict))


@command.command("run")
@click.argument("tasks", metavar="TASK...", nargs=-1, required=True, type=Path_)
@click.option(
    "--agent",
    metavar="NAME",
    required=True,
    help="A scripted agent, or MODULE:FUNCTION: a function of yours that is given a desk.",
)
@click.option("--sealed", metavar="DIR", type=Path_, help=SEALED_HELP)
@click.option(
    "--runs", type=click.IntRange(min=1), help="So many runs of the cases an agent has per task."
)
@click.option(
    "--out", metavar="FILE", type=Path_, help="Write the marks there, for `arena report`."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def run(
    ctx: click.Context,
    tasks: tuple[Path, ...],
    agent: str,
    sealed: Path | None,
    runs: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Let an agent work on each TASK, or on all tasks of a folder that `arena draw` wrote, and mark it.

    \b
    Scripted agents: everything, one-fix, paste-reference, mend-decoys, nothing, vandal.
    A function of yours is looked for in the current folder too.  It runs in this process and is
    trusted; the files it hands in are not.
    """
    import json

    from grader.arena.arena_task import read_public, read_sealed, task_folders
    from grader.arena.bench import Benches
    from grader.arena.desk import Desk
    from grader.arena.marks import run_document
    from grader.arena.scorer import Scorer
    from grader.arena.scripted_agents import agent_named, work

    known, chosen = catalogue(), agent_named(agent)
    if out is not None:
        terminal.refuse_unwritable(out)
    folders = list(dict.fromkeys(found for path in tasks for found in task_folders(path)))
    both = [(read_public(folder, known), read_sealed(folder, sealed)) for folder in folders]
    progress, marks = terminal.Progress("tasks"), []
    with Benches(known) as benches:
        scorer = Scorer(benches)
        for number, (public, kept) in enumerate(both, 1):
            desk = Desk(public, benches.of(public.challenge), most_runs=runs)
            attempt, failed = work(chosen, desk, scorer.known(kept).file)
            if failed is not None:
                progress.clear()
                terminal.err(f"kvdojo: {public.id}: the agent ended in {failed}")
            marks.append(scorer.score(kept, attempt))
            progress(number, len(both))
    progress.clear()
    document = run_document(agent, marks)
    if as_json:
        terminal.document(document)
    else:
        _summary(agent, marks)
    if out is not None:
        terminal.write_file(out, json.dumps(document, indent=2) + "\n")
    ctx.exit(Exit.PASSED if all(one.judged for one in marks) else Exit.INTERNAL)


@command.command("report")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=Path_)
@click.option("--out", metavar="FILE", type=Path_, default=Path("arena.html"), show_default=True)
def report(runs: tuple[Path, ...], out: Path) -> None:
    """Compare agents on a page: RUN is a file that `arena run --out` wrote."""
    from grader.report.arena_report import arena_page, read_runs

    terminal.write_file(out, arena_page(read_runs(runs)))
    terminal.out(f"{shown(out)}: {len(runs)} run{'' if len(runs) == 1 else 's'}")


@command.command("datasheet")
@click.argument("challenges", metavar="[CHALLENGE...]", nargs=-1, shell_complete=complete_challenge)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def datasheet(challenges: tuple[str, ...], as_json: bool) -> None:
    """Count the generated bugs that tasks are drawn from, by level and by operator."""
    from grader.arena.datasheet import datasheet_document, datasheet_text

    known = catalogue()
    chosen = [known.load(name) for name in challenges or known.ids()]
    if as_json:
        terminal.document(datasheet_document(chosen))
    else:
        terminal.out(datasheet_text(chosen))


def _range(text: str, option: str) -> tuple[int, int]:
    """Read `3` or `2-4`; raises UserError."""
    found = re.fullmatch(r"([0-9]{1,3})(?:-([0-9]{1,3}))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last:
        raise UserError(f"{option} takes a number or a range, such as 3 or 2-4.")
    return first, last


def _suspicions(texts: Sequence[str], lines: int) -> tuple[Suspicion, ...]:
    """Read the places that were named, by the rules of a desk; raises UserError."""
    from grader.arena.desk import MOST_LINES, MOST_SUSPICIONS, Suspicion

    if len(texts) > MOST_SUSPICIONS:
        raise UserError(f"--suspect may be given {MOST_SUSPICIONS} times.")
    found = []
    for text in texts:
        match = re.fullmatch(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", text)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= lines or last - first >= MOST_LINES:
            raise UserError(
                f"--suspect takes a line from 1 to {lines}, or up to {MOST_LINES} of them: 118-120."
            )
        found.append(Suspicion(first, last))
    return tuple(found)


def _show(marks: Marks) -> None:
    """Print the marks of one attempt."""
    located = "-" if marks.localisation is None else f"{marks.localisation:.0%}"
    changed = "not Python" if marks.changed is None else f"{marks.inside} of {marks.changed}"
    lines = [
        f"{marks.task}: {'solved' if marks.solved else 'not solved'}",
        f"  bugs fixed        {marks.fixed} of {len(marks.bugs)}; weighted {marks.recall_weighted:.0%}",
        f"  edit precision    {marks.precision:.0%}; statements at a bug: {changed}",
        f"  decoys touched    {marks.decoys_touched} of {marks.decoys}",
        f"  false fixes       {marks.false_fixes}",
        f"  regressions       {marks.regressions}",
        f"  bugs located      {located}",
        f"  reward            {marks.reward:.3f}",
    ]
    if not marks.judged:
        lines = [f"{marks.task}: could not be judged, through no fault of the file."]
    terminal.out("\n".join(lines))


def _summary(agent: str, marks: Sequence[Marks]) -> None:
    """Print the means of one agent."""
    judged = [one for one in marks if one.judged]
    if left := len(marks) - len(judged):
        terminal.err(f"{left} of {len(marks)} attempts could not be judged and are left out.")
    if not judged:
        return
    count = len(judged)
    means = {
        "solved": sum(one.solved for one in judged) / count,
        "recall": sum(one.recall for one in judged) / count,
        "recall, weighted": sum(one.recall_weighted for one in judged) / count,
        "edit precision": sum(one.precision for one in judged) / count,
        "F1": sum(one.f1 for one in judged) / count,
        "reward": sum(one.reward for one in judged) / count,
    }
    sums = {
        "decoys touched": sum(one.decoys_touched for one in judged),
        "false fixes": sum(one.false_fixes for one in judged),
        "regressions": sum(one.regressions for one in judged),
    }
    lines = [f"{terminal_text(agent)} on {count} task{'' if count == 1 else 's'}"]
    lines += [f"  {name:17} {value:.3f}" for name, value in means.items()]
    lines += [f"  {name:17} {value}" for name, value in sums.items()]
    terminal.out("\n".join(lines))


def terminal_text(text: str) -> str:
    """Return a name as one harmless line."""
    from grader.ground.display import escape_for_display

    return escape_for_display(text, columns=80)
