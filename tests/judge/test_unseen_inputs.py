"""What a file that passes is asked can be made before the file is there, and is then used once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from grader.content import load_challenge
from grader.content.planting import plant
from grader.judge import grade_source
from grader.judge.oracle import Oracle
from grader.judge.random_scenarios import MOST_ALONE
from grader.judge.random_scenarios import NAME as RANDOM
from grader.judge.unseen_inputs import UnseenInputs

NAME = "multi_head_attention"


@pytest.fixture
def unseen(sandbox_for) -> Iterator[UnseenInputs]:
    made = UnseenInputs(sandbox_for(NAME), load_challenge(NAME))
    yield made
    made.close()


def test_a_file_that_passes_is_asked_what_was_made(unseen, sandbox_for, monkeypatch) -> None:
    challenge = load_challenge(NAME)
    answers = 0
    while unseen.make_more():
        answers += 1
    assert answers == len(challenge.cases) + MOST_ALONE
    assert not unseen.asked
    answered = Oracle.expect_from_seed
    later = []
    monkeypatch.setattr(
        Oracle, "expect_from_seed", lambda *a, **k: later.append(1) or answered(*a, **k)
    )
    source = challenge.reference_text.encode()
    result = grade_source(challenge, source, sandbox=sandbox_for(NAME), unseen=unseen)
    assert result.verdict == "passed"
    # where rounding makes a right answer look wrong, a case is answered again
    assert len(later) < len(challenge.cases) / 4
    assert unseen.asked
    assert result.secrets == unseen.secret_inputs.seeds | {RANDOM: unseen.scenarios.seed}
    assert result.secrets.keys() == {*challenge.cases, RANDOM}


def test_a_file_that_fails_is_told_no_seed_of_what_was_made(unseen, sandbox_for) -> None:
    challenge = load_challenge(NAME)
    for _ in range(3):
        unseen.make_more()
    source = plant(challenge, ["seed-scale-missing-sqrt"]).encode()
    result = grade_source(challenge, source, sandbox=sandbox_for(NAME), unseen=unseen)
    assert (result.verdict, result.secrets) == ("failed", {})
    assert not unseen.asked


def test_what_is_missing_is_made_when_it_is_asked(unseen, sandbox_for) -> None:
    challenge = load_challenge(NAME)
    unseen.make_more()
    source = challenge.reference_text.encode()
    result = grade_source(challenge, source, sandbox=sandbox_for(NAME), unseen=unseen)
    assert (result.verdict, len(result.secrets)) == ("passed", len(challenge.cases) + 1)


def test_a_file_that_looks_at_sizes_is_refused(unseen, sandbox_for) -> None:
    """It is right wherever it knows the sizes of a published case."""
    challenge = load_challenge(NAME)
    while unseen.make_more():
        pass
    sizes = {case.setup["d_model"] for case in challenge.cases.values()}
    source = challenge.reference_text + PICKY.format(sizes=sizes)
    result = grade_source(challenge, source.encode(), sandbox=sandbox_for(NAME), unseen=unseen)
    assert result.verdict == "failed"
    assert any(
        "Right on the published inputs" in case.cause.rationale
        for case in result.cases
        if case.cause
    )


PICKY = """

_right = KVCachedMultiHeadAttention.forward


def _forward(self, query, *rest, **named):
    output, new = _right(self, query, *rest, **named)
    known = query.shape[-1] in {sizes}
    return (output if known else output * 0 + 0.5), new


KVCachedMultiHeadAttention.forward = _forward
"""
