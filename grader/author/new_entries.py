"""New entries of bugs.json, made from an edited copy of the reference, and what is wrong with them before they are run.

An *entry* is a bug or a decoy.  Here it is still the JSON object that bugs.json would hold; what the cases make of it
is measured in `bug_addition`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from grader.author.static_checks import entry_faults, lines_of
from grader.author.wrong_variants import planted
from grader.content import Case, Challenge, ContentError
from grader.content.edits_from_diff import Marked, edits_of, entries_in
from grader.content.entries import bug_of
from grader.content.statements import VersionsOf
from grader.content.validation import load_schema, schema_errors

# the members of an entry, as bugs.json has them
ORDER = (
    *("id", "kind", "family", "difficulty", "title", "edits", "symptom", "explanation"),
    *("hints", "sources", "raises", "excludes"),
)


def read_entries(challenge: Challenge, edited: str, name: str) -> list[Marked]:
    """Return what an edited copy of the reference holds; raises ContentError."""
    _compiles(challenge, edited, name)
    return entries_in(challenge.reference_text, edited, name)


def entry_document(
    challenge: Challenge,
    marked: Marked,
    words: Mapping[str, Any],
    name: str,
    others: Sequence[Marked] = (),
) -> dict[str, Any]:
    """Return the JSON object of a new entry with its edits, in the order of the file; raises ContentError.

    `words` are its other members, such as `id`, `kind` and `title`; `others` are entries that are added with it.
    """
    excluded = {pair["id"] for pair in words.get("excludes", ())}
    taken = {
        line: bug.id
        for bug in challenge.bugs.values()
        if bug.id not in excluded
        for line in lines_of(challenge, bug)
    }
    for other in others:
        for change in other.changes if other is not marked else ():
            taken |= dict.fromkeys(range(change.start, change.end), other.id)
    edits = edits_of(challenge.reference_text, marked.changes, taken, name)
    made = {**words, "edits": [{"find": edit.find, "replace": edit.replace} for edit in edits]}
    return {key: made[key] for key in ORDER if key in made}


def sharing_lines(challenge: Challenge, marked: Marked) -> dict[str, int]:
    """Return the entries that edit a line which a new one changes too, each with the first such line, from 1.

    Two entries of one line can only be added as ones that are never planted together.
    """
    changed = {line for change in marked.changes for line in range(change.start, change.end)}
    shared = {bug.id: changed & lines_of(challenge, bug) for bug in challenge.bugs.values()}
    return {name: min(lines) + 1 for name, lines in shared.items() if lines}


def text_faults(challenge: Challenge, entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is wrong with new entries that shows without running anything, each line with the id."""
    lines = schema_errors({"bugs": list(entries)}, load_schema("bugs-v1"), "the entry")
    for entry in entries:
        if entry.get("id") in challenge.bugs:
            lines.append(f"{entry['id']!r} is taken by another entry of bugs.json; choose a new id")
        for pair in entry.get("excludes", ()):
            if pair["id"] not in challenge.bugs:
                lines.append(
                    f"{entry.get('id')!r} excludes {pair['id']!r}, which is not in bugs.json"
                )
    if lines:
        return lines
    both = extended(challenge, entries)
    ids = [entry["id"] for entry in entries]
    for fault in entry_faults(both, ids):
        offer = ""
        if fault.other is not None:
            offer = f'; change another line, or say why they are never planted together: --excludes {fault.other} "..."'
        lines.append(f"{fault.id!r} {fault.text}{offer}")
    return lines or list(_twins(both, ids))


def extended(
    challenge: Challenge,
    entries: Sequence[Mapping[str, Any]],
    cases: Sequence[tuple[Mapping[str, Any], Case]] = (),
) -> Challenge:
    """Return the challenge with more bugs, decoys and cases, as if they stood at the end of its files."""
    path = challenge.folder / "bugs.json"
    made = replace(challenge)
    new = {entry["id"]: bug_of(path, entry) for entry in entries}
    # these properties are kept in the object once they are read; here they are given in advance
    made.__dict__["bugs"] = {**challenge.bugs, **new}
    made.__dict__["cases"] = {**challenge.cases, **{case.id: case for _, case in cases}}
    made.__dict__["case_entries"] = [*challenge.case_entries, *(dict(entry) for entry, _ in cases)]
    return made


def _compiles(challenge: Challenge, edited: str, name: str) -> None:
    if not challenge.file.endswith(".py"):
        return  # a JSON document is read by the checks of its edits
    try:
        ast.parse(edited)
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        raise ContentError(f"{name}: {where}{error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ContentError(f"{name}: is no Python file: {error}") from None


def _twins(challenge: Challenge, ids: Sequence[str]) -> Iterator[str]:
    """Yield the new entries that come to the same statements as another one, or as the reference itself."""
    versions = VersionsOf(challenge.reference_text)
    reference = versions.whole
    made = {name: versions.statements(planted(challenge, name).decode()) for name in challenge.bugs}
    for name in ids:
        if made[name] == reference and challenge.bugs[name].kind == "bug":
            yield f"{name!r} changes nothing that is executed"
        for other in list(challenge.bugs)[: list(challenge.bugs).index(name)]:
            if made[name] == made[other] != reference:
                yield f"{name!r} is {other!r} once more: both come to the same code"
