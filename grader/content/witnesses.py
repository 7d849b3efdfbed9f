"""The recorded witnesses of a challenge: which cases fail when a bug is planted alone.

    {"made_from": "0c3f...",
     "witnesses": {
      "seed-causal-offset-plus1": ["chunks-3-3-2", "ragged-decode"]}}

`made_from` is a digest of the content they were recorded from, so that stale ones are found without running anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grader.content.content_errors import ContentError
from grader.content.jsonfile import read_json
from grader.ground.invocation import command_line


@dataclass(frozen=True)
class Witnesses:
    """Ids of cases by bug id, and a digest of the content they were recorded from."""

    made_from: str = ""
    cases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_witnesses(path: Path) -> Witnesses:
    """Return what was recorded; nothing where no file is, and ContentError where it is damaged."""
    if not path.exists():
        return Witnesses()
    document = read_json(path)
    if not _well_formed(document):
        again = command_line("check", path.parents[1].name, "--record")
        raise ContentError(f"{path}: is not what was recorded; run `{again}` to make it anew")
    cases = {bug: tuple(names) for bug, names in document["witnesses"].items()}
    return Witnesses(document["made_from"], cases)


def witnesses_bytes(made_from: str, cases: Mapping[str, Sequence[str]]) -> bytes:
    """Return the file's bytes, one bug a line."""
    lines = [f"  {_plain(bug)}: {_plain(list(names))}" for bug, names in cases.items()]
    body = ",\n".join(lines)
    return f'{{"made_from": {_plain(made_from)},\n "witnesses": {{\n{body}}}}}\n'.encode()


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _well_formed(document: Any) -> bool:
    if not isinstance(document, dict) or set(document) != {"made_from", "witnesses"}:
        return False
    made_from, witnesses = document["made_from"], document["witnesses"]
    return (
        isinstance(made_from, str)
        and isinstance(witnesses, dict)
        and all(
            isinstance(names, list) and all(isinstance(name, str) for name in names)
            for names in witnesses.values()
        )
    )
