"""A case in a file of its own: read it with suspicion, and say all that is wrong with it at once.

The file holds one case object, or the same form as `cases.json` (`{"$schema": ..., "cases": [...]}`), which editors
complete.  Runs nothing.
"""

from __future__ import annotations

import builtins
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from grader.content.challenge import Challenge
from grader.content.entries import Case, case_of
from grader.content.errors import ContentError
from grader.content.jsonfile import parse_json
from grader.content.schema import case_schema, faults
from grader.ground.invocation import command_line

MAX_BYTES = 256 << 10
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
    name = str(path)
    entries = _entries(parse_json(_bytes(path), name), name)
    schema = case_schema(challenge)
    lines: list[str] = []
    seen = set(taken)
    for label, entry in entries:
        found = faults(entry, schema, name)
        wrong = [line.replace(f"{name}: $", f"{name}: {label}", 1) for line in found]
        lines += wrong or [f"{name}: {label}{text}" for text in _slips(entry)]
        if isinstance(entry, dict) and (own := entry.get("id")) is not None:
            if isinstance(own, str) and own in seen:
                lines.append(
                    f"{name}: {label}.id: {own!r} is taken by another case; choose a new id"
                )
            seen.add(str(own))
    if lines:
        raise ContentError("\n".join(dict.fromkeys(lines)))
    return [(entry, case_of(entry, name)) for _, entry in entries]


def slips(case: Case) -> list[str]:
    """Return what no schema can see in a case: each with its JSON path."""
    return list(_slips({"id": case.id, "steps": case.steps}))


def _bytes(path: Path) -> bytes:
    try:
        # a FIFO would block for ever when opened without O_NONBLOCK
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise ContentError(f"{path}: cannot be read: {error.strerror}") from None
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise ContentError(f"{path}: is not an ordinary file")
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ContentError(
            f"{path}: larger than {MAX_BYTES >> 10} KiB; a case is a recipe of sizes and steps, not of tensors"
        )
    return data


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


def _slips(entry: Mapping[str, Any]) -> Iterator[str]:
    if any(ord(character) < 32 for character in entry["id"]):
        yield ".id: holds a control character"
    yield from _unwritable(entry, "")
    saved: list[str] = []
    for index, step in enumerate(entry["steps"]):
        place = f".steps[{index}]"
        if (live := step.get("live")) is not None and live not in saved:
            yield f"{place}.live: no step before saves {live!r}{_meant(live, saved)}"
        if (raised := step.get("raises")) is not None and not _is_exception(raised):
            yield f"{place}.raises: no built-in exception is named {raised!r}{_meant(raised, _EXCEPTIONS)}"
        saved += [step["save"]] if "save" in step else []


def _unwritable(value: Any, place: str) -> Iterator[str]:
    """Numbers and characters that Python reads in JSON and cannot write there."""
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


def _meant(name: str, known: Collection[str]) -> str:
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f". Did you mean {close[0]!r}?" if close else ""
