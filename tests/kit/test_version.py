"""The kit's version belongs to every recipe, so that a change of what the kit does is not judged by an old golden."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

import grader.judge.golden
from grader import kit
from grader.content import load_challenge
from grader.judge.golden import recipe_of

FOLDER = Path(kit.__file__).parent
# what draws, sends, calls and names; the schema, random cases and the messages to authors are not among it
ENGINE = (
    "answers.py",
    "caches.py",
    "declare.py",
    "kinds.py",
    "layouts.py",
    "probes.py",
    "trusted_side.py",
    "worker_side.py",
)
KNOWN = {1: "5ed4b2ca58b685daa659fa3fad12c78c"}  # by version, the digest of the files above


def test_who_changes_the_kit_decides_whether_its_version_changes() -> None:
    """Raise VERSION in grader/kit/__init__.py and record every challenge anew, if an input, a call or the name of an
    output may come out otherwise than before; if not, put the new digest beside the same version."""
    texts = [(FOLDER / name).read_bytes() for name in ENGINE]
    digest = sha256(b"\0".join(texts)).hexdigest()[:32]
    assert KNOWN.get(kit.VERSION) == digest, (
        f"the text of the kit has changed (digest {digest}): raise VERSION if what it draws, sends or names may differ,"
        " and write the digest down in this test"
    )


def test_another_version_is_another_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    challenge = load_challenge("static_cache")
    case = next(iter(challenge.cases.values()))
    before = recipe_of(case, challenge)
    assert recipe_of(replace(case), challenge) == before
    monkeypatch.setattr(grader.judge.golden, "VERSION", kit.VERSION + 1)
    assert recipe_of(case, challenge) != before
