"""A challenge of a few lines on disk, sound in every respect, for tests to spoil."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from grader.author.recording import record, reload
from grader.content import Catalogue, Challenge
from grader.sandbox import Sandbox

REFERENCE = '''"""A running sum."""


def scale(x):
    """Return twice x."""
    return 2 * x


class Sum:
    """Adds what it is given; x [S, D]."""

    def __init__(self):
        self.total = 0

    def add(self, x):
        """Add and return the total."""
        doubled = scale(x)
        self.total = self.total + doubled
        return self.total
'''
DRIVER = '''"""Verbs of the tiny challenge."""

from grader.kit import both_sides, made, verb, whole


class Setup:
    """Sizes of the case."""

    d: whole(1, 10**12, "D.")


@made("x")
def rows(case, tokens: whole(1, 64, "Rows.")):
    return case.draw(tokens, case.d)


@verb
def create(file):
    file.keep.sum = file.Sum()


@verb("total")
def add(file, x):
    """Add to the sum."""
    return file.keep.sum.add(x)


@verb("scaled")
def scale(file, x):
    """Scale."""
    return file.scale(x)


Plan, Verbs = both_sides(globals())
'''


def bug(name: str, find: str, replace: str, kind: str = "bug") -> dict[str, Any]:
    return {
        "id": name,
        "kind": kind,
        "family": "sums",
        "difficulty": 1,
        "title": f"The {name} slip",
        "edits": [{"find": find, "replace": replace}],
        "symptom": "The total is off.",
        "explanation": "It must not be.",
        "hints": ["Look at the sum.", "Think of the size.", "Write it again."],
        "sources": [{"title": "a textbook"}],
    }


def case(name: str, kind: str, *steps: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": name,
        "title": f"Case {name}",
        "why": "It finds a slip.",
        "kind": kind,
        "setup": {"d": 3},
        "seed": 5,
        "dtype": "float32",
        "steps": list(steps),
    }


FILES: dict[str, Any] = {
    "challenge.json": {
        "$schema": "x",
        "schema": "kvdojo/challenge/v1",
        "id": "tiny",
        "title": "Tiny",
        "summary": "A sum.",
        "difficulty": 1,
        "file": "tiny.py",
        "reference": "reference/tiny.py",
        "provides": ["Sum"],
        "helpers": ["scale"],
        "presets": {"default": {"bugs": ["forgets"], "decoys": ["named"]}},
        "limits": {"seconds": 5},
    },
    "bugs.json": {
        "$schema": "x",
        "bugs": [
            bug("forgets", "self.total = self.total + doubled", "self.total = doubled"),
            bug("triples", "    return 2 * x\n", "    return 3 * x\n"),
            bug("named", '"""A running sum."""', '"""A running product."""', "decoy"),
        ],
    },
    "cases.json": {
        "$schema": "recorded/cases.schema.json",
        "cases": [
            case("unit-scale", "unit", {"do": "scale", "tokens": 4}),
            case(
                "unit-add", "unit", {"do": "scale", "tokens": 2}, *[{"do": "add", "tokens": 2}] * 2
            ),
            case("twice", "scenario", {"do": "add", "tokens": 2}, {"do": "add", "tokens": 2}),
        ],
    },
    "impostors.json": {
        "$schema": "x",
        "impostors": [
            {
                "id": "query",
                "title": "the input itself",
                "symptom": "The output is the input.",
                "edits": [{"find": "        return self.total\n", "replace": "        return x\n"}],
            }
        ],
    },
}


@pytest.fixture(scope="session")
def tiny_sandbox() -> Iterator[Sandbox]:
    with Sandbox.start() as sandbox:
        sandbox.ready()
        yield sandbox


@pytest.fixture
def make(tmp_path: Path, tiny_sandbox: Sandbox) -> Callable[..., Challenge]:
    """Write the challenge and record it; `spoil` may change its files before or after that."""

    def build(
        spoil: Callable[[dict[str, Any]], None] | None = None, *, recorded: bool = True
    ) -> Challenge:
        files = json.loads(json.dumps(FILES))
        files |= {"brief.md": "Mend `Sum`. <!-- cases: twice -->\n", "driver.py": DRIVER}
        if spoil:
            spoil(files)
        folder = tmp_path / "challenges" / "tiny"
        (tmp_path / "reference").mkdir(exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "reference" / "tiny.py").write_text(files.pop("reference", REFERENCE))
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
        challenge = Catalogue(tmp_path).load("tiny")
        if recorded:
            record(tiny_sandbox, challenge)
        return reload(challenge)

    return build
