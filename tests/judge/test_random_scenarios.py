"""Random scenarios: the same from the same seed, settled by the reference, made small, shown as an ordinary case."""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from grader.content import load_challenge
from grader.content.casefile import read_case
from grader.content.driver_loading import load_driver
from grader.content.validation import load_schema, schema_errors
from grader.ground.arrays import Array
from grader.judge import grade_file, grade_source, random_scenarios
from grader.judge.oracle import WORKERS
from grader.judge.random_scenarios import (
    LEAST,
    NAME,
    RandomScenarios,
    Scenario,
    case_from,
    judge_scenarios,
)
from grader.judge.replay import to_record
from grader.judge.result import RANDOM_POINTS, RandomOutcome, Result
from grader.judge.settle import NotSettled, Settler, ShakenScript, tolerances_of
from grader.judge.shrink import fewer_items, smaller_choices
from grader.judge.worker_reuse import SubmissionRunner
from grader.kit.choice_sequence import ChoiceSequence
from grader.kit.scenarios import random_case
from grader.sandbox import Sandbox, SandboxError

CHALLENGE = "static_cache"
WRAPPED = """

_right = attention_with_kv_cache


def attention_with_kv_cache(query, key, value, past_key_value=None, **options):
    output, cache = _right(query, key, value, past_key_value, **options)
    {change}
    return output, cache
"""


@pytest.fixture
def box(sandbox_for: Any) -> Sandbox:
    return sandbox_for(CHALLENGE)


def changed(change: str) -> bytes:
    """The reference, with a line behind its answer."""
    return (load_challenge(CHALLENGE).reference_text + WRAPPED.format(change=change)).encode()


def outcome(box: Sandbox, source: bytes, seed: int = 1, seconds: float = 0.1) -> RandomOutcome:
    challenge = load_challenge(CHALLENGE)
    with (
        closing(RandomScenarios(box, challenge, seed)) as scenarios,
        SubmissionRunner(box, challenge, source) as runner,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(random_scenarios, "WAIT_SECONDS", 600.0)  # however slow the machine is
        return judge_scenarios(scenarios, [runner], seconds)


def step(**said: Any) -> dict[str, Any]:
    return {"do": "forward", **said}


def case(*steps: dict[str, Any], **setup: Any) -> Any:
    sizes = {"batch": 2, "query_heads": 2, "kv_heads": 1, "head_dim": 4, "capacity": 6, **setup}
    return case_from({"setup": sizes, "dtype": "float32", "seed": 3, "steps": steps})


def test_a_scenario_follows_from_the_seed_and_its_number_alone(box: Sandbox) -> None:
    challenge = load_challenge(CHALLENGE)
    with (
        closing(RandomScenarios(box, challenge, 5)) as one,
        closing(RandomScenarios(box, challenge, 5)) as two,
        closing(RandomScenarios(box, challenge, 6)) as other,
    ):
        last = two[3]  # drawn first here
        assert [one[i].case for i in range(4)][3] == last.case
        assert one[3].golden.fingerprint == last.golden.fingerprint
        assert other[3].case != last.case


def test_a_slow_reference_is_waited_for_only_so_long(monkeypatch: Any) -> None:
    class Slow:
        quick = False

        def __getitem__(self, index: int) -> Any:
            time.sleep(0.02)
            return SimpleNamespace(case=None, golden=None)

    def run(_case: Any, _golden: Any) -> Any:
        return SimpleNamespace(status="passed", seconds=0.001)

    runner: Any = SimpleNamespace(run=run)
    monkeypatch.setattr(random_scenarios, "WAIT_SECONDS", 0.01)
    slow: Any = Slow()
    assert judge_scenarios(slow, [runner], 10.0).run == LEAST
    monkeypatch.setattr(random_scenarios, "WAIT_SECONDS", 60.0)
    assert judge_scenarios(slow, [runner], 10.0).run == random_scenarios.MOST
    slow.quick = True  # they are settled for this file alone
    assert judge_scenarios(slow, [runner], 10.0).run == random_scenarios.MOST_ALONE


@pytest.mark.parametrize(("alone", "seconds"), [(False, 3.0), (True, 6.0)])
def test_a_file_has_more_time_where_the_reference_works_beside_it(
    alone: bool, seconds: float, monkeypatch: Any
) -> None:
    given: list[float] = []
    monkeypatch.setattr(grade_file, "judge_scenarios", lambda *args: given.append(args[2]))
    scenarios: Any = SimpleNamespace(there=True, quick=alone)
    results: Any = [SimpleNamespace(seconds=2.0), SimpleNamespace(seconds=4.0)]
    grade_file._random(scenarios, [], results)
    assert given == [seconds]


class Numbered:
    """Scenarios whose case is their number."""

    quick = False

    def __init__(self) -> None:
        self.made: list[int] = []

    def __getitem__(self, index: int) -> Any:
        self.made.append(index)
        return self.certain(index)

    def certain(self, index: int) -> Any:
        return SimpleNamespace(case=index, golden=None)


def numbered(run: Any, monkeypatch: Any, runners: int = 2) -> tuple[RandomOutcome, list[int]]:
    """The outcome of a round of numbered scenarios, and the number that was made small."""
    small: list[int] = []
    monkeypatch.setattr(
        random_scenarios, "smallest", lambda *args: small.append(args[2].case) or (None, None)
    )
    monkeypatch.setattr(random_scenarios, "case_document", lambda _case: None)
    scenarios: Any = Numbered()
    asked: Any = [SimpleNamespace(run=run) for _ in range(runners)]
    outcome = judge_scenarios(scenarios, asked, 10.0)
    assert sorted(scenarios.made) == [*range(len(scenarios.made))], "each is made once"
    assert len(scenarios.made) <= min(outcome.run + WORKERS + runners, random_scenarios.MOST)
    return outcome, small


def test_runners_share_the_scenarios_and_each_is_run_once(monkeypatch: Any) -> None:
    seen: list[int] = []

    def run(number: int, _golden: Any) -> Any:
        seen.append(number)
        time.sleep(0.001)
        return SimpleNamespace(status="passed", seconds=0.001)

    done, _ = numbered(run, monkeypatch)
    assert done.run == len(seen) == random_scenarios.MOST
    assert sorted(seen) == list(range(random_scenarios.MOST))


def test_of_two_failures_that_of_the_lower_number_is_told(monkeypatch: Any) -> None:
    """The third takes longer than the fourth, which fails first."""
    both = threading.Barrier(2)

    def run(number: int, _golden: Any) -> Any:
        if number in (2, 3):
            both.wait(10)
        if number == 2:
            time.sleep(0.2)
        return SimpleNamespace(status="failed" if number in (2, 3) else "passed", seconds=0.0)

    done, small = numbered(run, monkeypatch)
    assert (done.failed, small) == (1, [2])
    assert done.run <= 4


def test_an_error_of_ours_in_one_runner_ends_all(monkeypatch: Any) -> None:
    def run(number: int, _golden: Any) -> Any:
        if number == 1:
            raise SandboxError("ours")
        time.sleep(0.01)
        return SimpleNamespace(status="passed", seconds=0.001)

    with pytest.raises(SandboxError, match="ours"):
        numbered(run, monkeypatch)


def test_what_one_file_alone_is_asked_is_settled_wholly_where_an_answer_seems_wrong(
    box: Sandbox, monkeypatch: Any
) -> None:
    """Here rounding would excuse every answer: nothing that is told from fewer runs may refuse a file."""
    challenge = load_challenge(CHALLENGE)
    alone = RandomScenarios(box, challenge, 5, quick=True)
    together = RandomScenarios(box, challenge, 5)
    with closing(alone), closing(together):
        shaken: list[str] = []
        request = ShakenScript.request
        monkeypatch.setattr(
            ShakenScript,
            "request",
            lambda self, index: shaken.append(self.case.id) or request(self, index),
        )
        with SubmissionRunner(box, challenge, challenge.reference.read_bytes()) as runner:
            assert judge_scenarios(alone, [runner], 0.0).failed == 0
        assert not shaken
        assert [alone.certain(i).case for i in range(3)] == [together[i].case for i in range(3)]
        assert shaken
        wrong = changed("output = output + 0.01")
        with SubmissionRunner(box, challenge, wrong) as runner:
            assert judge_scenarios(alone, [runner], 5.0).failed == 1
            monkeypatch.setattr(RandomScenarios, "certain", lambda self, i: _forgiving(self[i]))
            assert judge_scenarios(alone, [runner], 5.0).failed == 0
            assert judge_scenarios(together, [runner], 5.0).failed == 0


def _forgiving(scenario: Scenario) -> Scenario:
    """The scenario with tolerances that take any number."""
    steps = [
        replace(step, tolerances=dict.fromkeys(step.tolerances, np.inf))
        for step in scenario.golden.steps
    ]
    return replace(scenario, golden=replace(scenario.golden, steps=tuple(steps)))


def test_the_reference_says_what_is_refused_and_what_builds_on_it_goes(box: Sandbox) -> None:
    whole = case(
        step(tokens=7, save="a"),
        step(tokens=1, cache="a", save="b"),
        step(tokens=2, save="c"),
        step(tokens=1, spoil="query:half"),
        step(tokens=1, cache="c", live="c"),
        {"do": "recall"},
    )
    with Settler(box, load_challenge(CHALLENGE)) as settler:
        found = settler.settle(whole)
    told = [(s["do"], s.get("raises"), s.get("cache")) for s in found.case.steps]
    assert told == [
        ("forward", "ValueError", None),
        ("forward", None, None),
        ("forward", "ValueError", None),
        ("forward", None, "c"),
        ("recall", None, None),
    ]
    assert [right.raised for right in found.golden.steps[1:]] == [raised for _, raised, _ in told]


def test_a_spoiled_call_that_is_as_good_as_a_plain_one_goes(box: Sandbox) -> None:
    whole = case(step(tokens=1, spoil="past.0:deep", save="a"), step(tokens=1))
    with Settler(box, load_challenge(CHALLENGE)) as settler:
        assert [dict(s) for s in settler.settle(whole).case.steps] == [step(tokens=1)]


def test_what_the_reference_does_not_settle_is_dropped(box: Sandbox, monkeypatch: Any) -> None:
    nan = case(step(fill=[1, 2], tokens=1, regimes={"query": "huge"}), head_dim=4)
    with Settler(box, load_challenge(CHALLENGE)) as settler:
        monkeypatch.setattr(settler, "_raises", ("TypeError",))
        with pytest.raises(NotSettled, match="raised ValueError"):
            settler.settle(case(step(tokens=7)))
        assert settler.settle(nan).case.steps, "the worker goes on after that"


def test_a_large_number_hides_no_small_wrong_one() -> None:
    exact = Array("float64", np.array([[1e4, 1e4], [1.0, 1.0]]))
    native = Array("float32", exact.values + np.array([[1e-3, 0], [1e-7, 0]]))
    allowed = tolerances_of(native, exact, exact)
    assert allowed.shape == (2, 2)
    assert allowed[0].min() > 1e-3
    assert allowed[1].max() < 1e-4
    half = tolerances_of(replace(native, dtype="float16"), exact, exact)
    assert half[1].max() < 5e-3


def test_the_reference_passes_and_a_document_says_how_many_were_run(box: Sandbox) -> None:
    challenge = load_challenge(CHALLENGE)
    result = grade_source(challenge, challenge.reference_text.encode(), sandbox=box)
    assert result.verdict == "passed"
    assert result.random.run >= LEAST
    document = to_record(result)
    assert document["random"] == {"run": result.random.run, "failed": 0, "smallest": None}
    assert document["replay"]["seeds"][NAME] == result.secrets[NAME]
    assert not schema_errors(document, load_schema("result-v1"), "")
    assert Result.from_document(result.document()).random == RandomOutcome(result.random.run)


def test_a_wrong_file_is_refused_with_a_small_case(box: Sandbox, monkeypatch: Any) -> None:
    monkeypatch.setattr(random_scenarios, "SHRINK_SECONDS", 60)  # however slow the machine is
    source = changed("output = output * (query.shape[2] != 5)")
    found = outcome(box, source, seconds=60)
    assert found.failed == 1
    assert found.smallest is not None
    assert len(found.smallest["steps"]) == 1
    assert found.smallest["steps"][0]["tokens"] == 5
    again = outcome(box, source, seconds=60)
    assert (again.run, again.smallest) == (found.run, found.smallest), "replayed"


def test_a_failure_is_taken_by_case_add_as_it_is(box: Sandbox, tmp_path: Path) -> None:
    source = changed("output = output * (query.shape[2] != 5)")
    found = outcome(box, source, seconds=60)
    challenge = load_challenge(CHALLENGE)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(found.smallest))
    _, taken = read_case(path, challenge, challenge.cases)
    with Settler(box, challenge) as settler, SubmissionRunner(box, challenge, source) as runner:
        assert runner.run(taken, settler.expect(taken)).status == "failed"
    with Settler(box, challenge) as settler:
        right = challenge.reference_text.encode()
        with SubmissionRunner(box, challenge, right) as runner:
            assert runner.run(taken, settler.expect(taken)).status == "passed"


@pytest.mark.parametrize(
    "change",
    [
        "import os; os._exit(0) if query.shape[2] == 5 else 0",
        "[0 for _ in iter(int, 1)] if query.shape[2] == 5 else 0",
        "1 // (query.shape[2] != 5)",
    ],
    ids=["ends itself", "never ends", "raises"],
)
def test_no_file_gets_out_of_it_by_dying(box: Sandbox, change: str) -> None:
    found = outcome(box, changed(change), seconds=60)
    assert found.failed == 1


def test_a_failing_scenario_fails_the_file_and_costs_points() -> None:
    challenge = load_challenge(CHALLENGE)
    cases = list(challenge.cases.values())[:5]
    from grader.judge.result import CaseResult

    judged = [CaseResult.judged(item, None) for item in cases]
    smallest = {"id": "random-1", "title": "t", "why": "w"}
    known = {"environment": {"isolation": []}, "random": RandomOutcome(3, 1, smallest)}
    result = Result.of_cases(CHALLENGE, "f.py", "0" * 64, judged, **known)
    assert result.verdict == "failed"
    assert result.score == result.max_score - RANDOM_POINTS
    assert result.share < 1
    unsure = {**known, "random": RandomOutcome(unjudged_because="the oracle died")}
    assert Result.of_cases(CHALLENGE, "f.py", "0" * 64, judged, **unsure).verdict == "error"


def test_an_error_of_ours_is_no_pass(box: Sandbox, monkeypatch: Any) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("our bug")

    monkeypatch.setattr(RandomScenarios, "__getitem__", broken)
    challenge = load_challenge(CHALLENGE)
    result = grade_source(challenge, challenge.reference_text.encode(), sandbox=box)
    assert result.verdict == "error"
    assert "our bug" in str(result.random.unjudged_because)


def test_choices_are_made_small() -> None:
    def fails(choices: list[int]) -> list[int] | None:
        return choices if sum(choices) >= 7 and len(choices) >= 2 else None

    assert smaller_choices([3, 9, 0, 4, 1], fails, float("inf")) in ([0, 7], [7, 0], [0, 7])
    assert fewer_items([1, 5, 2, 7], lambda items: 5 in items, float("inf")) == [5]
    assert smaller_choices([3, 9], fails, 0.0) == [3, 9], "no time, no change"


@pytest.mark.parametrize(
    ("needed", "most"), [({17}, 10), ({0}, 10), ({31}, 10), ({3, 28}, 20), ({15, 16}, 20)]
)
def test_many_steps_go_in_few_tries(needed: set[int], most: int) -> None:
    tried = []

    def fails(items: list[int]) -> bool:
        tried.append(items)
        return needed <= set(items)

    assert fewer_items(list(range(32)), fails, float("inf")) == sorted(needed)
    assert len(tried) <= most
    assert all(tried), "a case of no step is none"


def test_a_step_that_another_needed_goes_after_it() -> None:
    def fails(items: list[int]) -> bool:
        """3 fails alone, but for 2, which spoils it unless 1 was asked before."""
        return 3 in items and (1 in items or 2 not in items)

    assert fewer_items([1, 2, 3], fails, float("inf")) == [3]
    assert fewer_items([2, 1, 3], fails, float("inf")) == [3]


def test_varied_choices_stay_within_what_is_asked() -> None:
    driver = load_driver(load_challenge(CHALLENGE)).driver
    first = ChoiceSequence.seeded(3)
    random_case(driver, first, 1)
    near = [ChoiceSequence.varied(first.taken, seed, 12) for seed in range(30)]
    documents = [random_case(driver, choose, 1) for choose in near]
    assert len({json.dumps(document) for document in documents}) > 10
    assert [choose.taken[0] for choose in near].count(first.taken[0]) > 20


def test_what_any_way_of_moving_the_numbers_shows_is_allowed() -> None:
    exact = Array("float64", np.zeros((1, 3)))
    native, still = Array("float32", np.zeros((1, 3))), exact
    moved = Array("float64", np.array([[0.0, 1e-3, 0.0]]))
    once = tolerances_of(native, exact, still)
    twice = tolerances_of(native, exact, still, moved)
    assert once.max() == 2e-5
    assert twice.tolist() == [[4e-3, 16e-3, 4e-3]]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_what_one_run_of_the_reference_allows_is_allowed_by_all(
    box: Sandbox, dtype: str, monkeypatch: Any
) -> None:
    asked = replace(case(step(tokens=5), step(tokens=3), head_dim=19), dtype=dtype)
    runs: list[Any] = []
    run = Settler.run
    monkeypatch.setattr(Settler, "run", lambda *args: runs.append(args) or run(*args))
    with Settler(box, load_challenge(CHALLENGE)) as settler:
        once = settler.settle(asked, shakes=0).golden.steps
        assert len(runs) == 1
        often = settler.settle(asked, shakes=2).golden.steps
    for quick, whole in zip(once, often, strict=True):
        assert quick.dtypes == whole.dtypes
        for name, item in quick.tensors.items():
            best = whole.tensors[name].values.astype(np.float64)
            apart = np.abs(item.values.astype(np.float64) - best)
            allowed = apart + quick.tolerances[name]
            assert (allowed <= np.maximum(whole.tolerances[name], 0) * (1 + 1e-6)).all(), name


def test_moved_numbers_are_those_of_the_dtype(box: Sandbox) -> None:
    """A tiny key in half precision has fewer digits than its draw, which float64 would keep."""
    tiny = replace(case(step(tokens=5, regimes={"key": "tiny"}), head_dim=19), dtype="float16")
    challenge = load_challenge(CHALLENGE)
    with Settler(box, challenge) as settler:
        found = settler.settle(tiny)
    (right,) = found.golden.steps[1:]
    assert right.tolerances["cache/key"] == 0
    with SubmissionRunner(box, challenge, challenge.reference_text.encode()) as runner:
        assert runner.run(found.case, found.golden).status == "passed"
