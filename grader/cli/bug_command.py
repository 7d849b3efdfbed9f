"""`kvdojo bug add`: bugs and decoys from an edited copy of the reference, checked before they are written."""

from __future__ import annotations

import difflib
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from grader.cli import bug_questions, terminal
from grader.cli.arguments import catalogue, challenge_argument
from grader.cli.bug_questions import FIELDS, HINTS, Words
from grader.cli.terminal import shown
from grader.content import Case, Challenge, ContentError
from grader.content.casefile import read_case
from grader.content.edits_from_diff import Change, Marked
from grader.ground.errors import Exit, GraderError, UserError
from grader.ground.files import NotOrdinary, TooLarge, read_ordinary
from grader.ground.invocation import command_line
from grader.ground.limits import MAX_SOURCE_BYTES
from grader.ground.text_encoding import EncodingError, decode_utf8

if TYPE_CHECKING:
    from grader.author.bug_addition import MeasuredBugs
    from grader.sandbox import Sandbox

Entry = dict[str, Any]
Cases = Sequence[tuple[Entry, Case]]
PLACEHOLDER = "-"  # stands for words that are asked for once the cases have been run


@click.group("bug")
def command() -> None:
    """Add bugs and decoys."""


@command.command("add")
@challenge_argument
@click.argument("file", metavar="EDITED_FILE", type=click.Path(path_type=Path))
@click.option(
    "--decoy", is_flag=True, help="The change only looks wrong: every case must accept it."
)
@click.option("--id", "name", metavar="ID", help="Its id; in a file with marks, the one to add.")
@click.option("--title", metavar="TEXT", help="What is wrong, in a phrase.")
@click.option("--family", metavar="TEXT", help="Family of mistakes, such as those in bugs.json.")
@click.option("--difficulty", type=click.IntRange(1, 5), help="1 (easy) to 5.")
@click.option("--symptom", metavar="TEXT", help="What a user of the code sees.")
@click.option(
    "--explanation", metavar="TEXT", help="The mechanism, and why the right line is right."
)
@click.option("--hint", "hints", metavar="TEXT", multiple=True, help="Three: where, idea, line.")
@click.option(
    "--source",
    "sources",
    metavar="'TITLE <URL>'",
    multiple=True,
    help="Where such a mistake was seen; the address may be left out.",
)
@click.option(
    "--excludes",
    metavar="ID BECAUSE",
    nargs=2,
    multiple=True,
    help="An entry it is never planted with, and why.",
)
@click.option(
    "--case",
    "case_files",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A new case that is added with the bug.",
)
@click.option("--edit", "in_editor", is_flag=True, help="Fill in what is missing in $EDITOR.")
@click.option("--dry-run", is_flag=True, help="Say what the cases make of it and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and ask nothing.")
@click.pass_context
def add(
    ctx: click.Context,
    /,
    challenge: str,
    file: Path,
    decoy: bool,
    name: str | None,
    hints: tuple[str, ...],
    sources: tuple[str, ...],
    excludes: tuple[tuple[str, str], ...],
    case_files: tuple[Path, ...],
    in_editor: bool,
    dry_run: bool,
    as_json: bool,
    **words: Any,
) -> None:
    """Make bugs or decoys of what EDITED_FILE changes in the reference, and check them.

    \b
    Copy the reference, break it, and say what is broken:
      cp reference/static_cache.py mine.py
      kvdojo bug add static_cache mine.py
    Several bugs in one file: end a changed line of each with `# bug: ID`.
    What is missing on the command line is asked for on a terminal.
    """
    if len(hints) > len(HINTS):
        raise UserError(f"--hint is given {len(hints)} times; a bug has {len(HINTS)} hints.")
    found = catalogue().load(challenge)
    _refuse_where_it_cannot_run(found)
    entries = _chosen(_read(file, found), file, name)
    cases = _cases(case_files, found)
    interactive = not as_json and sys.stdin.isatty()
    if interactive and len(entries) == 1 and not entries[0].id:
        entries = _split(entries[0])
    given: Words = {**words, **dict(zip(HINTS, hints, strict=False)), "excludes": excludes}
    given |= {"sources": list(sources), "source": sources[0] if sources else None}
    told = [_words(given, entry, name, len(entries)) for entry in entries]
    if not interactive and not in_editor:
        _refuse_gaps(told, dry_run)
    elif not dry_run:
        told = [_ask_first(found, *pair) for pair in zip(entries, told, strict=True)]
    kinds = ["decoy" if decoy else entry.kind or "bug" for entry in entries]
    drafts = _documents(found, entries, [_filled(words) for words in told], kinds, file)
    with _running(found) as sandbox:
        before = _state(found)
        measured = _measure(sandbox, found, drafts, cases)
        if not dry_run and not measured.objections:
            told = [
                _complete(found, words, draft, in_editor)
                for words, draft in zip(told, drafts, strict=True)
            ]
            drafts = _documents(found, entries, told, kinds, file, asked=True)
            measured = _write(sandbox, found, drafts, cases, measured, before)
    added = not (measured.objections or dry_run)
    _tell(found, measured, added, as_json)
    ctx.exit(Exit.CONTENT if measured.objections else Exit.PASSED)


def _refuse_where_it_cannot_run(challenge: Challenge) -> None:
    from grader.judge.missing_packages import missing_package, reason

    if package := missing_package(challenge):
        raise UserError(f"{challenge.id!r} cannot be run here: {reason(package)}")


def _read(file: Path, challenge: Challenge) -> list[Marked]:
    from grader.author.new_entries import read_entries

    path = shown(file)
    try:
        data = read_ordinary(file, MAX_SOURCE_BYTES)
    except FileNotFoundError:
        reference = shown(challenge.reference)
        raise UserError(f"{path} does not exist: copy {reference} to it and edit that.") from None
    except NotOrdinary:
        raise ContentError(f"{path}: is not an ordinary file") from None
    except TooLarge:
        raise ContentError(f"{path}: is larger than {MAX_SOURCE_BYTES >> 10} KiB") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        text = decode_utf8(data)
    except EncodingError as error:
        raise ContentError(f"{path}: {error}") from None
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    return read_entries(challenge, plain, path)


def _chosen(entries: list[Marked], file: Path, name: str | None) -> list[Marked]:
    """Return the marked entry that `--id` names; a file without marks holds one entry, to which `--id` gives its id."""
    marked = [entry.id for entry in entries if entry.id]
    if name is None or not marked:
        return entries
    if name not in marked:
        raise UserError(f"{shown(file)} marks no {name!r}, but {', '.join(marked)}.")
    return [entry for entry in entries if entry.id == name]


def _cases(files: Sequence[Path], challenge: Challenge) -> Cases:
    """Read the cases that come with the bugs; raises ContentError."""
    from grader.author.skeleton import refuse_untouched

    found: list[tuple[Entry, Case]] = []
    for file in files:
        taken = [*challenge.cases, *(case.id for _, case in found)]
        entry, case = read_case(file, challenge, taken)
        refuse_untouched(entry, shown(file))
        found.append((entry, case))
    return found


def _split(entry: Marked) -> list[Marked]:
    """Ask whether several changes without marks are several bugs."""
    if len(entry.changes) == 1:
        return [entry]
    names = bug_questions.ask_entries([change.where for change in entry.changes])
    groups: dict[str, tuple[Change, ...]] = {}
    for name, change in zip(names, entry.changes, strict=True):
        groups[name] = (*groups.get(name, ()), replace(change, kind=entry.kind, id=name))
    return [Marked(entry.kind, name, changes) for name, changes in groups.items()]


def _words(given: Words, entry: Marked, name: str | None, count: int) -> Words:
    if count == 1:
        return {**given, "id": name or entry.id or None}
    if used := [option for key, (option, _) in FIELDS.items() if given.get(key) and key != "id"]:
        raise UserError(
            f"{used[0]} is for one bug, and the file holds {count}; choose one with --id."
        )
    return {"id": entry.id}


def _ask_first(challenge: Challenge, entry: Marked, words: Words) -> Words:
    """Ask for what must be known before anything is run: the id, and why entries of one line exclude each other."""
    from grader.author.new_entries import sharing_lines

    words = bug_questions.ask_id(challenge, words)
    return bug_questions.ask_excludes(words, sharing_lines(challenge, entry))


def _refuse_gaps(told: Sequence[Words], dry_run: bool) -> None:
    if dry_run:
        return
    for words in told:
        if gaps := bug_questions.missing(words):
            options = ", ".join(dict.fromkeys(FIELDS[key][0] for key in gaps))
            about = f" of {words['id']!r}" if words.get("id") else ""
            raise UserError(
                f"Not on a terminal, so nothing{about} can be asked; still missing: {options}."
            )


def _filled(words: Words) -> Words:
    """Return the words with stand-ins for what is asked for later, so that the edits can be checked now."""
    gaps = bug_questions.missing(words)
    stand_in: Words = {key: f"{PLACEHOLDER}{number}" for number, key in enumerate(gaps)}
    stand_in |= {"id": words.get("id") or "new-entry", "difficulty": words.get("difficulty") or 1}
    return {**words, **{key: stand_in[key] for key in gaps}}


def _documents(
    challenge: Challenge,
    entries: Sequence[Marked],
    told: Sequence[Words],
    kinds: Sequence[str],
    file: Path,
    *,
    asked: bool = False,
) -> list[Entry]:
    """Return the entries as they would stand in bugs.json; raises ContentError with a line per fault."""
    from grader.author.new_entries import entry_document, text_faults

    made = [
        entry_document(
            challenge, entry, bug_questions.entry_words(words, kind), shown(file), entries
        )
        for entry, words, kind in zip(entries, told, kinds, strict=True)
    ]
    if lines := text_faults(challenge, made):
        if asked and len(told) == 1:
            lines.append(f"To go on from your words: {_again(challenge, file, told[0])}")
        raise ContentError("\n".join(lines))
    return made


def _again(challenge: Challenge, file: Path, words: Words) -> str:
    options = [
        part
        for key, (option, _) in FIELDS.items()
        if words.get(key)
        for part in (option, str(words[key]))
    ]
    options += [part for pair in words.get("excludes", ()) for part in ("--excludes", *pair)]
    return command_line("bug", "add", challenge.id, shlex.join([shown(file), *options]))


@contextmanager
def _running(challenge: Challenge) -> Iterator[Sandbox]:
    """Start a sandbox for the challenge; raises GraderError for what fails in it."""
    from grader.judge import start_sandbox
    from grader.sandbox import SandboxError

    try:
        with start_sandbox(challenge) as sandbox:
            sandbox.ready()
            yield sandbox
    except SandboxError as error:
        raise GraderError(str(error)) from error


def _measure(
    sandbox: Sandbox, challenge: Challenge, drafts: Sequence[Entry], cases: Cases
) -> MeasuredBugs:
    from grader.author.bug_addition import measure_bugs

    progress = terminal.Progress("running sets of bugs")
    try:
        return measure_bugs(sandbox, challenge, drafts, cases, progress)
    finally:
        progress.clear()


def _complete(challenge: Challenge, words: Words, draft: Entry, in_editor: bool) -> Words:
    """Return the words of an entry after asking for those that are missing, with the change in view."""
    change = "".join(
        line if line.endswith("\n") else f"{line}\n"
        for edit in draft["edits"]
        for line in list(
            difflib.unified_diff(
                edit["find"].splitlines(keepends=True),
                edit["replace"].splitlines(keepends=True),
                n=2,
            )
        )[2:]
    )
    asking = bug_questions.edit if in_editor and bug_questions.missing(words) else bug_questions.ask
    return asking(challenge, dict(words), change.rstrip("\n"))


def _write(
    sandbox: Sandbox,
    challenge: Challenge,
    drafts: list[Entry],
    cases: Cases,
    measured: MeasuredBugs,
    before: str,
) -> MeasuredBugs:
    """Write the entries under the lock; where the content has changed since `before`, measure them once more."""
    from grader.author.bug_addition import write_bugs
    from grader.ground.transaction import locked

    try:
        with locked(challenge.folder, _wait):
            now = catalogue().load(challenge.id)
            if _state(now) != before:
                measured = _measure(sandbox, now, drafts, cases)
            if measured.objections:
                return measured
            for draft, value in zip(drafts, measured.values, strict=True):
                draft |= {"raises": True} if value.bug.raises else {}
            write_bugs(sandbox, now, drafts, cases, measured)
    except OSError as error:
        raise UserError(f"{shown(challenge.folder)} cannot be changed: {error.strerror}.") from None
    return measured


def _state(challenge: Challenge) -> str:
    """Return a digest of the files that a measurement depends on, as they are on the disk now."""
    names = [challenge.folder / name for name in ("bugs.json", "cases.json", "driver.py")]
    total = sha256(challenge.reads_digest)
    for path in (*names, challenge.reference, challenge.golden, challenge.witnesses):
        total.update(sha256(path.read_bytes()).digest() if path.exists() else b"-")
    return total.hexdigest()


def _wait() -> None:
    terminal.err("Another author is changing this challenge; waiting.")


def _tell(challenge: Challenge, found: MeasuredBugs, added: bool, as_json: bool) -> None:
    from grader.report.bug_value_report import bug_value_lines, bugs_document

    if as_json:
        terminal.document(bugs_document(challenge, found, added=added))
    else:
        for value in found.values:
            terminal.out("\n".join(bug_value_lines(value)))
    for line in found.objections:
        terminal.err(f"kvdojo: {line}")
    if found.objections:
        terminal.err("Not added.")
    elif not added:
        terminal.err("Nothing was written (--dry-run).")
    elif not as_json:
        _tell_what_next(challenge, found)


def _tell_what_next(challenge: Challenge, found: MeasuredBugs) -> None:
    from grader.author.bug_addition import readers_of_bugs

    folder = shown(challenge.folder)
    terminal.out(f"\nAdded. Commit bugs.json, cases.json and recorded/ in {folder}.")
    names = ", ".join(value.bug.id for value in found.values)
    terminal.out(f"To have it in a starter, name {names} under `presets` in challenge.json.")
    for name in readers_of_bugs(challenge, list(_others())):
        again = command_line("check", name, "--record")
        terminal.out(f"{name} reads bugs.json: run `{again}`.")


def _others() -> Iterator[Challenge]:
    known = catalogue()
    for name in known.ids():
        try:
            yield known.load(name)
        except ContentError:
            continue  # a challenge that is broken is reported when it is used
