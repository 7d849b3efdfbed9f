"""Which random scenarios come first, and what is known to be right."""

from __future__ import annotations

from grader.author.random_checks import ranked, right_files
from grader.content import load_challenge
from grader.judge.random_scenarios import recorded_pool


def test_scenarios_that_refuse_what_no_other_refuses_come_first() -> None:
    kills = {0: {"a"}, 1: {"a", "b", "c"}, 2: {"d"}, 3: set(), 4: {"a", "b", "c"}, 5: {"a", "b"}}
    order = ranked(kills)
    assert order[0] == 1
    assert set(order[:3]) == {1, 2, 4}, "each twice before any for the third time"
    assert order[-1] == 3
    assert sorted(order) == sorted(kills)


def test_right_files_are_the_reference_decoys_and_solutions_of_others() -> None:
    challenge = load_challenge("static_cache")
    files = right_files(challenge)
    decoys = {name for name, bug in challenge.bugs.items() if bug.kind == "decoy"}
    assert {"the reference", *decoys} < files.keys()
    assert any(name.endswith(".py") for name in files)


def test_a_recorded_pool_belongs_to_the_driver() -> None:
    challenge = load_challenge("static_cache")
    assert len(recorded_pool(challenge)) > 20
    challenge.__dict__["driver"] = challenge.driver + b"\n"
    assert recorded_pool(challenge) == [], "choices mean something else to another driver"
