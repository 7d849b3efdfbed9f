"""A small challenge on disk and a way to run commands in this process, without torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from grader.cli.main import main
from grader.content import Catalogue

REFERENCE = '''"""Small sums."""


def scale(x):
    """Return x over its size."""
    return x / len(x)


def shift(x):
    """Return x moved on."""
    return x + 1


def mask(x):
    """Keep what is seen."""
    return x >= 0
'''


def _bug(name: str, find: str, replace: str, difficulty: int, kind: str = "bug") -> dict[str, Any]:
    return {
        "id": name,
        "kind": kind,
        "family": "sums",
        "difficulty": difficulty,
        "title": f"The title of {name}",
        "edits": [{"find": find, "replace": replace}],
        "symptom": "Wrong sums.",
        "explanation": "Sums are wrong.",
        "hints": [f"{name}: where", f"{name}: idea", f"{name}: line"],
        "sources": [{"title": "A textbook"}],
    }


BUGS = [
    _bug("no-scale", "return x / len(x)\n", "return x\n", 3),
    _bug("shift-two", "return x + 1\n", "return x + 2\n", 1),
    _bug("strict-mask", "return x >= 0\n", "return x > 0\n", 5),
    _bug("odd-comment", '"""Small sums."""\n', '"""Small sums, unchecked."""\n', 1, "decoy"),
]
CASES = [
    {"id": name, "title": name.title(), "why": "w", "kind": "unit", "steps": [{"do": "run"}]}
    for name in ("scale-unit", "mask-unit")
]
CHALLENGE = {
    "schema": "kvdojo/challenge/v1",
    "id": "small_sums",
    "title": "Small sums",
    "summary": "Mend the sums.",
    "difficulty": 2,
    "file": "sums.py",
    "reference": "reference/sums.py",
    "provides": ["scale"],
    "presets": {
        "default": {"bugs": ["no-scale", "shift-two"], "decoys": ["odd-comment"]},
        "contest": {"bugs": ["strict-mask"], "decoys": []},
    },
}


@dataclass
class Dojo:
    """A checkout with one challenge, and the work root its commands use."""

    root: Path
    work: Path
    run: Callable[..., int]

    @property
    def file(self) -> Path:
        """The learner's file in the default work folder."""
        return self.work / "small_sums" / "sums.py"


@pytest.fixture
def dojo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dojo:
    """Point every command at a checkout with the one challenge `small_sums`."""
    root = tmp_path / "checkout"
    folder = root / "challenges" / "small_sums"
    folder.mkdir(parents=True)
    (root / "reference").mkdir()
    (root / "reference" / "sums.py").write_text(REFERENCE)
    (folder / "challenge.json").write_text(json.dumps(CHALLENGE))
    (folder / "bugs.json").write_text(json.dumps({"bugs": BUGS}))
    (folder / "cases.json").write_text(json.dumps({"cases": CASES}))
    (folder / "brief.md").write_text("# Small sums\n\nMend *every* sum.\n")
    work = tmp_path / "work"
    monkeypatch.setenv("KVDOJO_WORK", str(work))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    catalogue = Catalogue(root)
    return Dojo(root, work, lambda *words: main([str(word) for word in words], catalogue))
