"""The oracle answers what was recorded, however its requests are sent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, local
from typing import Any

import pytest

from grader.author.recording import agree
from grader.content import ContentError, load_challenge
from grader.judge.golden_check import prepare
from grader.judge.oracle import WORKERS, Oracle
from grader.judge.secret_inputs import SecretInputs
from grader.sandbox import Session

NAME = "static_cache"


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many requests of each run went out together."""
    counts: list[int] = []
    pipeline = Session.pipeline

    def counted(self: Session, requests: Any) -> int:
        counts.append(pipeline(self, requests))
        return counts[-1]

    monkeypatch.setattr(Session, "pipeline", counted)
    return counts


def test_what_needs_no_answer_is_sent_together_and_the_answers_are_those_recorded(
    together: list[int], sandbox_for: Any
) -> None:
    challenge = load_challenge(NAME)
    golden = prepare(challenge)
    with Oracle(sandbox_for(NAME), challenge) as oracle:
        for case in challenge.cases.values():
            assert agree(oracle.expect(case), golden.cases[case.id], exactly=False), case.id
    assert together[0] == 0, "should a new worker die, it must be known of which request"
    assert sum(count > 1 for count in together) > len(challenge.cases)


def test_a_case_that_is_given_up_leaves_the_next_one_its_worker_and_no_answers(
    together: list[int], sandbox_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent ahead and not answered yet must not be taken for the answers of the next case."""
    challenge = load_challenge(NAME)
    golden = prepare(challenge)
    cases = [case for case in challenge.cases.values() if len(case.steps) > 2][:2]
    with Oracle(sandbox_for(NAME), challenge) as oracle:
        oracle.expect(cases[0])
        ask = Session.ask
        left = iter([True])  # the first step of the next run goes wrong

        def broken(self: Session, request: Any, **named: Any) -> Any:
            reply = ask(self, request, **named)
            if next(left, False):
                raise ContentError("ours")
            return reply

        monkeypatch.setattr(Session, "ask", broken)
        with pytest.raises(ContentError, match="ours"):
            oracle.expect(cases[0])
        assert together[-1] > 1
        monkeypatch.setattr(oracle._sandbox, "open", pytest.fail)  # to begin anew takes longer
        for case in cases:
            assert agree(oracle.expect(case), golden.cases[case.id], exactly=False)


def test_threads_that_ask_at_the_same_time_are_answered_by_workers_of_their_own(
    sandbox_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    challenge, box = load_challenge(NAME), sandbox_for(NAME)
    golden = prepare(challenge)
    cases = list(challenge.cases.values())[:6]
    opened: list[Session] = []
    closed: list[Session] = []
    open_, ask, close = box.open, Session.ask, Session.close
    together = Barrier(WORKERS)
    met = local()

    def counted(*given: Any, **named: Any) -> Session:
        opened.append(open_(*given, **named))
        return opened[-1]

    def met_first(self: Session, request: Any, **named: Any) -> Any:
        if not hasattr(met, "others"):
            met.others = together.wait(timeout=60)  # fails where one waits for the other's end
        return ask(self, request, **named)

    def ended(self: Session) -> None:
        closed.append(self)
        close(self)

    monkeypatch.setattr(box, "open", counted)
    monkeypatch.setattr(Session, "ask", met_first)
    monkeypatch.setattr(Session, "close", ended)
    with Oracle(box, challenge) as oracle, ThreadPoolExecutor(2 * WORKERS) as pool:
        for case, found in zip(cases, pool.map(oracle.expect, cases), strict=True):
            assert agree(found, golden.cases[case.id], exactly=False), case.id
    assert len(opened) == WORKERS, "more threads wait for their turn"
    assert {*closed} == {*opened}


def test_secret_answers_do_not_depend_on_what_was_asked_before(sandbox_for: Any) -> None:
    challenge = load_challenge(NAME)
    golden = prepare(challenge)
    cases = list(challenge.cases.values())[:12]
    one, other = (
        SecretInputs(sandbox_for(NAME), challenge, golden, seed=5, after_published=True)
        for _ in range(2)
    )
    try:
        found = {case.id: one.of(case) for case in cases}
        for case in reversed(cases):
            assert agree(other.of(case).golden, found[case.id].golden, exactly=True)
    finally:
        one.close()
        other.close()
