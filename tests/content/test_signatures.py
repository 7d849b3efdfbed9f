"""A helper of the file's own, which happens to bear a name of ours, is not judged as ours."""

from __future__ import annotations

import pytest

from grader.content import load_challenge
from grader.content.signatures import foreign_helpers

CHALLENGE = load_challenge("static_cache")
OURS = "def _slots(seq_lens, added):\n    return 1\n"


@pytest.mark.parametrize(
    ("source", "foreign"),
    [
        (CHALLENGE.reference_text, set()),
        (OURS, set()),
        ("def _slots(seq_lens, *, added):\n    return 1\n", set()),
        ("def _slots(lengths, added):\n    return 1\n", {"_slots"}),
        ("def _slots(seq_lens):\n    return 1\n", {"_slots"}),
        ("class A:\n    def _slots(self):\n        return 1\n", {"_slots"}),
        ("def _other(x):\n    return _slots\n", set()),
        ("_slots = 3\n", set()),
        ("x = '_slots' + (", set()),
        ("_slots" + "(" * 9999, set()),
        ("", set()),
    ],
)
def test_parameters_tell_whose_helper_it_is(source: str, foreign: set[str]) -> None:
    assert foreign_helpers(CHALLENGE, source, ["_slots", "_longest"]) == foreign


def test_only_helpers_that_are_asked_for_are_looked_at() -> None:
    assert foreign_helpers(CHALLENGE, "def _slots(): return 1\n", ["_longest"]) == set()


def test_a_name_of_the_contract_is_never_foreign() -> None:
    public = [name for name in CHALLENGE.provides if not name.startswith("_")]
    source = "".join(f"def {name}(): return 1\n" for name in public)
    assert public
    assert foreign_helpers(CHALLENGE, source, public) == set()
