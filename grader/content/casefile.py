"""Read cases from a file of an instructor's own, which may hold anything, and report all that is wrong with it at once.

The file holds one case object, or the same form as `cases.json` (`{"$schema": ..., "cases": [...]}`), which editors
complete.  Runs nothing.
"""

from __future__ import annotations

import builtins
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from grader.content.cases_schema import case_schema
from grader.content.catalogue import Challenge
from grader.content.content_errors import ContentError
from grader.content.entries import Case, case_of
from grader.content.jsonfile import parse_json
from grader.content.validation import schema_errors
from grader.ground.files import NotOrdinary, TooLarge, read_ordinary
from grader.ground.invocation import command_line
from grader.ground.limits import MAX_CASE_FILE_BYTES
from grader.ground.nearest import did_you_mean

Entry = dict[str, Any]


def read_case(path: Path, challenge: Challenge, taken: Collection[str]) -> tuple[Entry, Case]:
    """Return the one case in a file, as JSON and as a value; raises ContentError with a line per fault.

    `taken` are ids it must not have.
    """
    entries = read_cases(path, challenge, taken)
    if len(entries) != 1:
        raise ContentError(
            f"{path}: holds {len(entries)} cases; add them one at a time, for each is weighed against those before"
        )
    return entries[0]


def read_cases(
    path: Path, challenge: Challenge, taken: Collection[str] = ()
) -> list[tuple[Entry, Case]]:
    """Return the cases in a file; raises ContentError with a line per fault."""
    return cases_in(_bytes(path), str(path), challenge, taken)


def cases_in(
    raw: bytes, name: str, challenge: Challenge, taken: Collection[str] = ()
) -> list[tuple[Entry, Case]]:
    """Return the cases in a text that `name` stands for in errors; raises ContentError with a line per fault."""
    entries = _entries(parse_json(raw, name), name)
    schema = case_schema(challenge)
    lines: list[str] = []
    seen = set(taken)
    for label, entry in entries:
        found = schema_errors(entry, schema, name)
        wrong = [line.replace(f"{name}: $", f"{name}: {label}", 1) for line in found]
        lines += wrong or [f"{name}: {label}{text}" for text in _semantic_errors(entry)]
        if isinstance(entry, dict) and (own := entry.get("id")) is not None:
            if isinstance(own, str) and own in seen:
                lines.append(
                    f"{name}: {label}.id: {own!r} is taken by another case; choose a new id"
                )
            seen.add(str(own))
    if lines:
        raise ContentError("\n".join(dict.fromkeys(lines)))
    return [(entry, case_of(entry, name)) for _, entry in entries]


def semantic_errors(case: Case) -> list[str]:
    """Return the faults of a case that no schema can express, each beginning with its JSON path.

    For example `.steps[2].live: no step before saves 'a'`.
    """
    return list(_semantic_errors({"id": case.id, "steps": case.steps}))


def _bytes(path: Path) -> bytes:
    try:
        return read_ordinary(path, MAX_CASE_FILE_BYTES)
    except NotOrdinary:
        raise ContentError(f"{path}: is not an ordinary file") from None
    except TooLarge:
        raise ContentError(
            f"{path}: larger than {MAX_CASE_FILE_BYTES >> 10} KiB;"
            " a case is a recipe of sizes and steps, not of tensors"
        ) from None
    except OSError as error:
        raise ContentError(f"{path}: cannot be read: {error.strerror}") from None


def _entries(document: Any, name: str) -> list[tuple[str, Entry]]:
    """Take the cases out of a document, each with the JSON path under which it stands."""
    if isinstance(document, dict) and "cases" in document and "steps" not in document:
        extra = sorted(document.keys() - {"cases", "$schema"})
        if extra:
            raise ContentError(f"{name}: $.{extra[0]}: only `$schema` may stand beside `cases`")
        document = document["cases"]
    elif isinstance(document, dict):
        return [("$", {key: value for key, value in document.items() if key != "$schema"})]
    if not isinstance(document, list):
        writes = command_line("case", "new")
        raise ContentError(f"{name}: $: a case is a JSON object; `{writes}` writes one")
    return [(f"$.cases[{index}]", entry) for index, entry in enumerate(document)]


def _semantic_errors(entry: Mapping[str, Any]) -> Iterator[str]:
    if any(ord(character) < 32 for character in entry["id"]):
        yield ".id: holds a control character"
    yield from _unwritable(entry, "")
    saved: list[str] = []
    for index, step in enumerate(entry["steps"]):
        place = f".steps[{index}]"
        if (live := step.get("live")) is not None and live not in saved:
            yield f"{place}.live: no step before saves {live!r}{_hint(live, saved)}"
        if (raised := step.get("raises")) is not None and not _is_exception(raised):
            yield f"{place}.raises: no built-in exception is named {raised!r}{_hint(raised, _EXCEPTIONS)}"
        saved += [step["save"]] if "save" in step else []


def _unwritable(value: Any, place: str) -> Iterator[str]:
    """Yield the numbers and characters that Python reads in JSON and cannot write there again."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _unwritable(key, f"{place}.{key!a}")
            yield from _unwritable(item, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _unwritable(item, f"{place}[{index}]")
    elif isinstance(value, float) and value in (float("inf"), float("-inf")):
        yield f"{place}: the number is too large"
    elif isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        yield f"{place}: holds half of a character (a lone surrogate)"


def _is_exception(name: str) -> bool:
    found = getattr(builtins, name, None)
    return isinstance(found, type) and issubclass(found, Exception)


_EXCEPTIONS = [name for name in dir(builtins) if _is_exception(name)]


def _hint(name: str, known: Collection[str]) -> str:
    hint = did_you_mean(name, known)
    return f".{hint}" if hint else ""
