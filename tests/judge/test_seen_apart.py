"""A fix is credited though every case that isolates it fails for another mistake, and a wrong one is not."""

from __future__ import annotations

import pytest

from grader.content import load_challenge
from grader.content.bug_detection import entry_status
from grader.content.planting import plant
from grader.judge import grade_source, start_sandbox
from grader.judge.seen_apart import apart, undone

BUG = "seed-causal-offset-plus1"
FIX = "        offset = cache_len\n"
# every unit case of the mask fails for these, and nobody knows the second
OTHER = "causal-comparison-off-by-one"
UNKNOWN = ("return scores / self.scale", "return scores / self.scale / 2")


@pytest.fixture(scope="module")
def challenge():
    return load_challenge("multi_head_attention")


@pytest.fixture(scope="module")
def sandbox(challenge):
    with start_sandbox(challenge) as box:
        box.ready()
        yield box


def file_with(challenge, fix: str, *others: str) -> str:
    text = plant(challenge, others)
    assert text.count(FIX) == 1
    assert text.count(UNKNOWN[0]) == 1
    return text.replace(FIX, fix).replace(*UNKNOWN)


def test_what_stands_in_place_of_a_bug_is_put_into_the_reference(challenge) -> None:
    mine = "        offset = [cache_len].pop()\n"
    text = file_with(challenge, mine, OTHER)
    states = entry_status(challenge, text)
    assert states[OTHER] == "present"
    alone = apart(challenge, challenge.bugs[BUG], undone(challenge, states, text))
    assert alone == challenge.reference_text.replace(FIX, mine)
    assert apart(challenge, challenge.bugs[BUG], challenge.reference_text) is None
    assert apart(challenge, challenge.bugs[BUG], "") == ""


@pytest.mark.parametrize(
    ("fix", "status"),
    [
        ("        offset = [cache_len].pop()\n", "fixed"),
        ("        offset = cache_len if True else 0\n", "fixed"),
        ("        offset = 0\n        offset += cache_len\n", "fixed"),
        ("        offset = [cache_len + 1 if cache_len else 0].pop()\n", "changed"),
        ("        offset = max(cache_len - 2, 0)\n", "changed"),
        ("        offset = nowhere\n", "changed"),
    ],
)
def test_a_fix_is_judged_apart_from_other_mistakes(challenge, sandbox, fix, status) -> None:
    text = file_with(challenge, fix, OTHER)
    result = grade_source(challenge, text.encode(), sandbox=sandbox)
    states = {bug.id: bug.status for bug in result.bugs}
    assert states[BUG] == status
    assert states[OTHER] == "present"
    assert result.verdict == "failed"


def test_what_is_asked_apart_changes_no_case(challenge, sandbox, monkeypatch) -> None:
    text = file_with(challenge, "        offset = [cache_len].pop()\n", OTHER)
    whole = grade_source(challenge, text.encode(), sandbox=sandbox)
    monkeypatch.setattr("grader.judge.grade_file.mended_apart", lambda *_: frozenset())
    without = grade_source(challenge, text.encode(), sandbox=sandbox)
    for one, other in zip(whole.cases, without.cases, strict=True):
        assert (one.id, one.status, one.points, one.cause) == (
            *(other.id, other.status, other.points, other.cause),
        )
    assert {bug.status for bug in without.bugs if bug.id == BUG} == {"changed"}


def test_a_file_of_very_many_lines_is_not_compared(challenge) -> None:
    """Thousands of lines that are alike would take a minute."""
    text = file_with(challenge, "        offset = [cache_len].pop()\n") + "\n" * 100_000
    assert apart(challenge, challenge.bugs[BUG], text) is None
