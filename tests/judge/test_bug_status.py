"""What becomes of a bug whose code is neither right nor as planted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from grader.content import load_challenge
from grader.content.bug_detection import entry_status
from grader.content.planting import plant
from grader.judge.bug_status import bug_statuses, credit, decoy_statuses, needless
from grader.judge.result import CaseResult

BUG = "seed-split-heads-view-order"
UNIT = "split-heads"


@pytest.fixture(scope="module")
def challenge():
    return load_challenge("multi_head_attention")


def graded(challenge, failed):
    return [
        CaseResult(case.id, case.title, "failed" if case.id in failed else "passed", 0, 1, 0.0)
        for case in challenge.cases.values()
    ]


def statuses(challenge, states, failed, cases=None):
    found = bug_statuses(challenge, states, cases or graded(challenge, failed))
    return {bug.id: bug for bug in found}


def states_with(challenge, **changed):
    return dict.fromkeys(challenge.bugs, "fixed") | {BUG: "changed"} | changed


def test_mended_in_another_way(challenge) -> None:
    found = statuses(challenge, states_with(challenge), failed=())[BUG]
    assert found.status == "fixed"
    assert "another way" in (found.evidence or "")


def test_still_wrong_and_which_case_says_so(challenge) -> None:
    failed = challenge.bugs[BUG].witnesses
    found = statuses(challenge, states_with(challenge), failed)[BUG]
    assert found.status == "changed"
    assert (found.evidence or "").startswith(f"{UNIT} still fails")


def test_cases_that_another_bug_fails_are_not_held_against_it(challenge) -> None:
    other = "seed-scale-missing-sqrt"
    states = states_with(challenge) | {other: "present"}
    found = statuses(challenge, states, failed=challenge.bugs[other].witnesses)
    assert (found[BUG].status, found[other].status) == ("fixed", "present")


def test_without_its_cases_nothing_is_claimed(challenge) -> None:
    cases = [case for case in graded(challenge, ()) if case.id == "positions"]
    found = statuses(challenge, states_with(challenge), (), cases)[BUG]
    assert (found.status, found.evidence) == ("changed", None)


def test_a_hidden_case_is_not_named(challenge) -> None:
    cases = [
        replace(case, visibility="hidden")
        for case in graded(challenge, challenge.bugs[BUG].witnesses)
    ]
    evidence = statuses(challenge, states_with(challenge), (), cases)[BUG].evidence
    assert evidence == "a hidden case still fails"


def test_credit_counts_the_harder_bug_for_more(challenge) -> None:
    found = statuses(challenge, states_with(challenge), challenge.bugs[BUG].witnesses)
    done = credit(found.values(), [BUG, "positions", "is-full-one-late"], {BUG: 3})
    assert (done.fixed, done.planted, done.points, done.max_points) == (1, 3, 1, 5)


def test_edited_decoys_are_named_unless_they_are_comments(challenge) -> None:
    decoys = [bug.id for bug in challenge.bugs.values() if bug.kind == "decoy"]
    planted = decoy_statuses(challenge, entry_status(challenge, plant(challenge, decoys)))
    gone = decoy_statuses(challenge, entry_status(challenge, challenge.reference_text))
    assert needless(planted, decoys) == []
    names = {decoy.id for decoy in needless(gone, decoys)}
    assert names == {"decoy-batch_seq_len-name", "decoy-position-loop-looks-slow"}
