"""What becomes of a bug whose code is neither right nor as planted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from grader.content import load_challenge
from grader.content.bug_detection import descends, entry_status
from grader.content.planting import plant
from grader.ground.paths import ROOT
from grader.judge.bug_status import bug_statuses, credit, decoy_statuses, needless
from grader.judge.result import CaseResult, Cause, Where

BUG = "seed-split-heads-view-order"
UNIT = "split-heads"


@pytest.fixture(scope="module")
def challenge():
    return load_challenge("multi_head_attention")


def graded(challenge, failed, cause=None):
    return [
        CaseResult(
            *(case.id, case.title, "failed" if case.id in failed else "passed", 0, 1, 0.0),
            cause=cause if case.id in failed else None,
            kind=case.kind,
        )
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


def test_a_right_fix_keeps_its_credit_whatever_else_is_wrong(challenge) -> None:
    """What isolates the bug passes, and scenarios fail for a mistake that no catalogue knows."""
    failed = {name for name in challenge.cases if challenge.cases[name].kind == "scenario"}
    assert failed & set(challenge.bugs[BUG].witnesses)
    found = statuses(challenge, states_with(challenge), failed)[BUG]
    assert found.status == "fixed"
    both = states_with(challenge) | {"seed-causal-offset-plus1": "changed"}
    assert statuses(challenge, both, failed)[BUG].status == "fixed"


def test_the_isolating_case_decides_whichever_cases_were_run(challenge) -> None:
    units = [n for n in challenge.bugs[BUG].witnesses if challenge.cases[n].kind == "unit"]
    states = states_with(challenge)
    cases = [case for case in graded(challenge, ()) if case.id in units]
    assert statuses(challenge, states, (), cases)[BUG].status == "fixed"
    cases = [case for case in graded(challenge, units) if case.id in units]
    assert statuses(challenge, states, (), cases)[BUG].status == "changed"


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        (Cause("crashed", "The process was ended.", where=Where(0)), False),
        (Cause("timeout", "Too long.", where=Where(0)), False),
        (Cause("memory", "Too much.", where=Where(0)), False),
        (Cause("raised", "The file could not be loaded."), False),
        (Cause("raised", "ValueError was raised.", where=Where(0)), True),
        (Cause("wrong_value", "It differs.", where=Where(0)), True),
    ],
)
def test_a_case_without_an_answer_is_no_evidence(challenge, cause, told) -> None:
    cases = graded(challenge, challenge.cases, cause)
    found = statuses(challenge, states_with(challenge), (), cases)[BUG]
    assert found.status == "changed"
    assert bool(found.evidence) is told


def test_another_bug_is_blamed_only_where_it_certainly_is(challenge) -> None:
    bug, other = challenge.bugs[BUG], None
    shared = {
        name: [case for case in bug.witnesses if case in known.witnesses]
        for name, known in challenge.bugs.items()
        if known.kind == "bug" and name != BUG
    }
    other = max(shared, key=lambda name: len(shared[name]))
    failed = [case for case in shared[other] if challenge.cases[case].kind == "scenario"]
    cases = [case for case in graded(challenge, failed) if case.id in failed]
    for state, blamed in (("present", True), ("changed", False), ("unknown", False)):
        found = statuses(challenge, states_with(challenge) | {other: state}, (), cases)[BUG]
        assert ("another bug" in (found.evidence or "")) is blamed


@pytest.mark.parametrize("name", ["multi_head_attention", "static_cache", "broken_test"])
def test_a_file_written_anew_does_not_descend_from_the_starter(name) -> None:
    challenge = load_challenge(name)
    assert descends(challenge, challenge.starter.read_text("utf-8"))
    assert descends(challenge, challenge.reference_text)
    everything = [b.id for b in challenge.bugs.values() if b.kind == "bug"][:4]
    assert descends(challenge, plant(challenge, everything[:1]))
    assert not descends(challenge, "")
    assert not descends(challenge, "def f(:")
    for path in (ROOT / "tests" / "correct" / name).glob("*.py"):
        assert not descends(challenge, path.read_text("utf-8")), path


def test_a_file_written_anew_has_no_bugs_in_its_result(sandbox_for) -> None:
    from grader.judge import grade_source

    name, spoilt = "multi_head_attention", "forward = lambda *a, **k: (None, None)"
    source = (ROOT / "tests" / "correct" / name / "einsum.py").read_text("utf-8")
    wrong = f"{source}\n\nKVCachedMultiHeadAttention.{spoilt}\n"
    result = grade_source(name, wrong.encode(), sandbox=sandbox_for(name))
    assert result.verdict == "failed"
    assert result.document()["bugs"] == []
    assert result.decoys == ()
