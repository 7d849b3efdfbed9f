"""Ask an author for the words of a new bug or decoy, one after the other or in an editor.

What the command line gave already is not asked again.  Nothing here is written to a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from grader.cli import terminal
from grader.content import Challenge

Words = dict[str, Any]
ID = re.compile(r"[a-z0-9][A-Za-z0-9_-]{0,63}")
SOURCE = re.compile(r"(?P<title>.*?)\s*(?:<(?P<url>https://[^<>\s]+)>)?", re.DOTALL)
# key -> option, and what is asked for
FIELDS = {
    "id": ("--id", "Id, such as mask-one-too-far"),
    "title": ("--title", "What is wrong, in a phrase; shown once it is fixed"),
    "family": ("--family", "Family of mistakes"),
    "difficulty": ("--difficulty", "Difficulty, 1 (any numeric test fails) to 5"),
    "symptom": ("--symptom", "What a user of the code sees"),
    "explanation": ("--explanation", "The mechanism, and why the right line is right"),
    "hint 1": ("--hint", "Hint 1, where to look"),
    "hint 2": ("--hint", "Hint 2, which idea"),
    "hint 3": ("--hint", "Hint 3, the line"),
    "source": ("--source", "Source: TITLE or TITLE <https://...>"),
}
HINTS = ("hint 1", "hint 2", "hint 3")


def missing(words: Mapping[str, Any]) -> list[str]:
    """Return the keys of what is not known yet, in the order in which it is asked."""
    return [key for key in FIELDS if words.get(key) in (None, "")]


def ask(challenge: Challenge, words: Words, change: str) -> Words:
    """Ask for what is missing, with the change on top; raises click.Abort when the author gives up."""
    if not missing(words):
        return words
    terminal.err(f"\n{change}\n")
    families = dict.fromkeys(bug.family for bug in challenge.bugs.values())
    terminal.err(f"Families so far: {', '.join(families)}")
    for key in missing(words):
        check = _check(challenge, key)
        words[key] = click.prompt(FIELDS[key][1], err=True, value_proc=check)
    return words


def ask_id(challenge: Challenge, words: Words) -> Words:
    """Ask for the id alone, before anything is run under it."""
    if words.get("id"):
        return words
    return {
        **words,
        "id": click.prompt(FIELDS["id"][1], err=True, value_proc=_check(challenge, "id")),
    }


def ask_excludes(words: Words, sharing: Mapping[str, int]) -> Words:
    """Ask why a new entry is never planted together with those that edit a line of its own; Enter says just that.

    `sharing` has the line by the id of the other entry.  Raises click.Abort when the author gives up.
    """
    told = dict(words.get("excludes") or ())
    for name, line in sharing.items():
        if name not in told:
            told[name] = click.prompt(
                f"Why are this and {name!r} never planted together?",
                default=f"Both edit line {line}.",
                err=True,
                value_proc=str.strip,
            )
    return {**words, "excludes": tuple(told.items())}


def ask_entries(places: Sequence[str]) -> list[str]:
    """Ask whether several changes are one bug; return an id for each place, all empty for one bug."""
    shown = ", ".join(places)
    if click.confirm(f"The file differs at {shown}. Is this one bug?", default=True, err=True):
        return [""] * len(places)
    check = _matching(ID, "small letters, digits, `-` and `_`, at most 64")
    return [
        click.prompt(f"Id of the bug at {place}", err=True, value_proc=check) for place in places
    ]


def edit(challenge: Challenge, words: Words, change: str) -> Words:
    """Let the author fill in a form in $EDITOR until nothing is missing; raises click.Abort when it is left alone."""
    faults: list[str] = []
    while True:
        text = form(words, change, faults)
        answer = click.edit(text, extension=".txt", require_save=True)
        if answer is None or answer == text:
            raise click.Abort
        words, faults = read_form(challenge, answer, words)
        if not faults:
            return words


def form(words: Mapping[str, Any], change: str, faults: Sequence[str] = ()) -> str:
    """Return the form: the change and what was wrong as comments, then a line per field."""
    notes = [*(f"! {fault}" for fault in faults), *change.splitlines()]
    lines = [f"# {note}".rstrip() for note in notes]
    lines.append(
        "# A line that begins with blanks goes on with the one above; lines with # are left out."
    )
    for key, (_, meaning) in FIELDS.items():
        value = str(words.get(key) or "").replace("\n", "\n  ")
        lines += ["", f"# {meaning}", f"{key}: {value}".rstrip()]
    return "\n".join(lines) + "\n"


def read_form(challenge: Challenge, text: str, words: Words) -> tuple[Words, list[str]]:
    """Return the words of a form that was filled in, and a line per fault."""
    found: dict[str, list[str]] = {}
    faults: list[str] = []
    last = ""
    for line in text.splitlines():
        key, colon, rest = line.partition(":")
        if line.startswith("#") or not line.strip():
            continue
        if line[0].isspace() and last:
            found[last].append(line.strip())
        elif colon and key.strip() in FIELDS:
            last = key.strip()
            found.setdefault(last, []).append(rest.strip())
        else:
            faults.append(f"not understood: {line[:60]}")
    made = {**words}
    for key in FIELDS:
        value = " ".join(filter(None, found.get(key, [])))
        try:
            made[key] = _check(challenge, key)(value)
        except click.UsageError as error:
            made[key] = value
            faults.append(f"{key}: {error.message}")
    return made, faults


def entry_words(words: Mapping[str, Any], kind: str) -> Words:
    """Return the members of an entry in bugs.json that an author's words make, without edits."""
    sources = []
    for text in words.get("sources") or [words["source"]]:
        found = SOURCE.fullmatch(text)
        assert found is not None, "every text matches"
        sources.append({key: value for key, value in found.groupdict().items() if value})
    made: Words = {key: words[key] for key in FIELDS if key not in (*HINTS, "source")}
    made |= {"kind": kind, "hints": [words[key] for key in HINTS], "sources": sources}
    if words.get("excludes"):
        made["excludes"] = [{"id": name, "because": why} for name, why in words["excludes"]]
    return made


def _check(challenge: Challenge, key: str) -> Callable[[str], Any]:
    def check(text: str) -> Any:
        text = text.strip()
        if not text:
            raise click.UsageError("say something here")
        if key == "difficulty":
            if text not in "12345" or len(text) != 1:
                raise click.UsageError("a number from 1 to 5 is expected")
            return int(text)
        if key == "id":
            _matching(ID, "small letters, digits, `-` and `_`, at most 64")(text)
            if text in challenge.bugs:
                raise click.UsageError(f"{text!r} is taken")
        if key == "title" and len(text) > 120:
            raise click.UsageError("120 characters at most")
        return text

    return check


def _matching(pattern: re.Pattern[str], meaning: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not pattern.fullmatch(text.strip()):
            raise click.UsageError(f"{meaning} are expected")
        return text.strip()

    return check
