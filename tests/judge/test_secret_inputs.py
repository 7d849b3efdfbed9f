"""Remembered outputs are worth nothing: fresh inputs find them out."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from grader.content import ContentError, load_challenge
from grader.judge import grade_source
from grader.judge.golden_check import prepare
from grader.judge.oracle import BASE, Oracle
from grader.judge.request_cache import Answers
from grader.judge.script import Script
from grader.judge.secret_inputs import SecretInputs
from grader.judge.worker_reuse import SubmissionRunner

NAME = "multi_head_attention"

# answers rightly unless it meets a query it has not seen before; the published inputs are all in its list
PARROT = """

_KNOWN = {known}
_right = KVCachedMultiHeadAttention.forward


def _forward(self, query, key, value, cache=None, use_causal_mask=True):
    output, new = _right(self, query, key, value, cache, use_causal_mask)
    seen = any(abs(float(query.flatten()[0]) - first) < 1e-6 for first in _KNOWN)
    return (output if seen else output * 0 + 0.5), new


KVCachedMultiHeadAttention.forward = _forward
"""


def first_numbers(challenge) -> list[float]:
    """The first number of every token of every query that the published cases send."""
    from grader.judge.golden import load_golden
    from grader.judge.script import CREATE, Script
    from grader.sandbox import Reply

    golden = load_golden(challenge)
    found = []
    for case in challenge.cases.values():
        script = Script(challenge, case)
        for index, step in zip(script.indices, golden.cases[case.id].steps, strict=True):
            request = script.request(index)
            if index != CREATE and "query" in request.tensors:
                found += request.tensors["query"].values[..., 0].ravel().tolist()
            script.answered(index, Reply(dict(step.values), dict(step.tensors)))
    return found


def test_a_file_that_knows_the_published_inputs_is_refused(sandbox_for) -> None:
    challenge = load_challenge(NAME)
    source = challenge.reference_text + PARROT.format(known=first_numbers(challenge))
    result = grade_source(challenge, source.encode(), sandbox=sandbox_for(NAME))
    failed = {case.id: case.cause for case in result.cases if case.status == "failed"}
    assert result.verdict == "failed"
    called = {n for n, c in challenge.cases.items() if any(s["do"] == "forward" for s in c.steps)}
    assert called <= set(failed), "every case that calls it, not a chosen few"
    assert all("fresh" in cause.rationale for cause in failed.values() if cause)
    assert all(
        cause.expected is None and cause.actual is None for cause in failed.values() if cause
    )


def test_a_lie_about_a_missing_helper_skips_no_scenario(sandbox_for) -> None:
    lie = b"""
from grader.kit import Wrong


class KVCachedMultiHeadAttention:
    def __init__(self, *args, **options):
        raise Wrong("missing", "not there", name="_split_heads")
"""
    result = grade_source(NAME, lie, sandbox=sandbox_for(NAME))
    assert result.verdict == "failed"
    cases = load_challenge(NAME).cases
    skipped = [case.id for case in result.cases if case.status == "skipped"]
    assert all("forward" not in [step["do"] for step in cases[name].steps] for name in skipped)


# right at the sizes that the published cases have
NARROW = """

_right = attention_with_kv_cache


def attention_with_kv_cache(query, *arguments, **options):
    output, cache = _right(query, *arguments, **options)
    return output + (query.shape[1] * query.shape[-1] not in {sizes}), cache
"""


def test_a_file_that_is_right_at_published_sizes_alone_is_told_the_size(sandbox_for) -> None:
    challenge = load_challenge("static_cache")
    asked = [
        request
        for case in challenge.cases.values()
        for request in Script(challenge, case, saved=Answers()).precomputed().values()
    ]
    queries = [request.tensors["query"] for request in asked if "query" in request.tensors]
    sizes = {query.shape[1] * query.shape[-1] for query in queries}
    source = (challenge.reference_text + NARROW.format(sizes=sizes)).encode()
    box = sandbox_for("static_cache")
    assert grade_source(challenge, source, sandbox=box, secret=False).verdict == "passed"
    result = grade_source(challenge, source, sandbox=box)
    told = [case.cause.rationale for case in result.cases if case.cause and case.cause.kind]
    assert result.verdict == "failed"
    assert any("fresh ones of other sizes" in text and "head" in text for text in told)


def test_what_is_out_of_time_on_secret_inputs_is_told_as_that(sandbox_for) -> None:
    """It is no wrong answer: plain loops may be right, and too slow for larger sizes."""
    challenge = replace(load_challenge("static_cache"), seconds=1)
    sizes = {case.setup["query_heads"] for case in challenge.cases.values()}
    spins = NARROW.replace(
        "    output, cache", "    while query.shape[1] not in {sizes}: pass\n    output, cache"
    )
    source = (
        challenge.reference_text
        + spins.replace(" + (query.shape[1] * query.shape[-1] not in {sizes})", "").format(
            sizes=sizes
        )
    ).encode()
    name = "prefill-then-decode"
    seeds = ({name: seed} for seed in range(40))
    for given in seeds:
        result = grade_source(
            challenge, source, sandbox=sandbox_for("static_cache"), cases=[name], seeds=given
        )
        if result.verdict == "failed":
            break
    (case,) = result.cases
    assert case.cause.kind == "timeout"
    assert case.cause.rationale.startswith(
        "Right on the published inputs. On fresh ones of other sizes"
    )
    assert "1 s of CPU time" in case.cause.rationale


def test_a_wild_answer_is_judged_once(sandbox_for, monkeypatch) -> None:
    """Tolerances that allow for rounding make no difference to it, so the file is not asked again."""
    challenge, box = load_challenge("static_cache"), sandbox_for("static_cache")
    seen = []
    run = SubmissionRunner.run

    def spy(self, case, golden, *, seed=None, info=None):
        seen.append(case.id)
        return run(self, case, golden, seed=seed, info=info)

    monkeypatch.setattr(SubmissionRunner, "run", spy)
    source = challenge.reference_text + NARROW.format(sizes={0})
    with closing(SecretInputs(box, challenge, prepare(challenge), seed=5)) as inputs:
        result = grade_source(
            challenge, source.encode(), sandbox=box, secret_inputs=inputs, parallel=1
        )
    assert result.verdict == "failed"
    assert len(seen) == len(set(seen))


def test_a_wrong_file_costs_no_secret_input(sandbox_for, monkeypatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the oracle was asked")

    monkeypatch.setattr(SecretInputs, "of", never)
    challenge = load_challenge("static_cache")
    wrong = challenge.starter.read_bytes()
    assert grade_source(challenge, wrong, sandbox=sandbox_for("static_cache")).verdict == "failed"


def test_a_class_is_asked_secret_inputs_alone(sandbox_for, monkeypatch) -> None:
    challenge, box = load_challenge("static_cache"), sandbox_for("static_cache")
    golden = prepare(challenge)
    seen = []
    run = SubmissionRunner.run

    def spy(self, case, golden, *, seed=None, info=None):
        if "random" not in case.tags:  # these are new to everybody
            seen.append(seed)
        return run(self, case, golden, seed=seed, info=info)

    monkeypatch.setattr(SubmissionRunner, "run", spy)
    with closing(SecretInputs(box, challenge, golden, seed=5)) as inputs:
        for _ in range(2):
            result = grade_source(
                challenge, challenge.reference_text.encode(), sandbox=box, golden=golden,
                secret_inputs=inputs, parallel=1,
            )  # fmt: skip
            assert result.verdict == "passed"
    half = len(seen) // 2
    assert seen[:half] == seen[half:], "the same for each file of the class"
    assert None not in seen, "no published inputs"


def test_sizes_vary_where_the_case_does_not_state_them(sandbox_for) -> None:
    challenge, box = load_challenge("static_cache"), sandbox_for("static_cache")
    varied = {}
    for seed in range(3):
        with closing(SecretInputs(box, challenge, prepare(challenge), seed=seed)) as inputs:
            for name in ("prefill-then-decode", "ragged-decode", "lengths-around-a-tile"):
                found = inputs.of(challenge.cases[name])
                varied.setdefault(name, {}).update(found.sizes)
                again = SecretInputs(box, challenge, prepare(challenge), {name: inputs.seeds[name]})
                with closing(again):
                    assert again.of(challenge.cases[name]).sizes == found.sizes
    assert "head_dim" in varied["prefill-then-decode"]
    # a length per row is stated, so rows and slots are those of the case
    assert not {"batch", "capacity"} & varied["ragged-decode"].keys()
    assert not {"batch", "capacity"} & varied["lengths-around-a-tile"].keys()


def test_an_answer_that_seems_wrong_is_judged_by_what_rounding_does_to_these_very_inputs(
    sandbox_for,
) -> None:
    """Other inputs may lie nearer to a tie than the recorded ones: tolerances grow with what rounding does there."""
    challenge = load_challenge(NAME)
    quiet = challenge.cases["two-continuations"]
    loud = replace(quiet, setup={**quiet.setup, "logits": 300})
    stored = prepare(challenge).cases[quiet.id]
    with Oracle(sandbox_for(NAME), challenge) as oracle:
        golden = oracle.expect_from_seed(loud, stored, 6)
        allowing = oracle.allowing_for_rounding(loud, stored, golden, 6)
    assert allowing is not None
    pairs = list(zip(golden.steps, allowing.steps, strict=True))
    assert all(new.tolerances[n] >= x for old, new in pairs for n, x in old.tolerances.items())
    assert any(new.tolerances[n] > 2 * x for old, new in pairs for n, x in old.tolerances.items())
    assert [old.tensors for old, _ in pairs] == [new.tensors for _, new in pairs]


def test_what_was_empty_on_the_published_inputs_may_be_off_by_rounding_on_others(
    sandbox_for,
) -> None:
    """Nothing to be off by was recorded; in other sizes there are numbers, and a file in another dtype is right."""
    challenge = load_challenge("quantised_cache")
    golden, case = prepare(challenge), challenge.cases["rows-in-any-order"]
    box, filled = sandbox_for("quantised_cache"), 0
    for seed in range(8):
        asking = SecretInputs(box, challenge, golden, seed=seed, after_published=True)
        with closing(asking) as inputs:
            steps = zip(golden.cases[case.id].steps, inputs.of(case).golden.steps, strict=True)
            for before, after in steps:
                for name, item in after.tensors.items():
                    if item.floating and item.values.size:
                        filled += not before.tensors[name].values.size
                        least = BASE[after.dtypes[name]] * max(1, abs(item.values).max())
                        assert after.tolerances[name] >= least * (1 - 1e-9), (seed, name)
    assert filled


def test_rounding_counts_where_a_driver_makes_anew_what_was_drawn(sandbox_for) -> None:
    """With scores in the ten thousands the logarithm of their sum is off by a thousandth, and so is a right weight."""
    challenge = load_challenge("quantised_cache")
    golden, case = prepare(challenge), challenge.cases["loud-scores"]
    softmax = "scores.masked_fill(later, -math.inf).softmax(dim=-1)"
    own = "(hidden := scores.masked_fill(later, -math.inf)).sub(hidden.logsumexp(-1, True)).exp()"
    assert softmax in challenge.reference_text
    source = challenge.reference_text.replace(softmax, own).encode()
    box, seemed_wrong = sandbox_for("quantised_cache"), 0
    with SubmissionRunner(box, challenge, source) as runner:
        for seed in range(17, 26):
            with closing(SecretInputs(box, challenge, golden, seed=seed)) as inputs:
                asked = inputs.of(case)
                if runner.run(asked.case, asked.golden, seed=asked.seed).status == "failed":
                    seemed_wrong += 1
                    asked = inputs.allowing_for_rounding(case)
                    result = runner.run(asked.case, asked.golden, seed=asked.seed)
                    assert result.status == "passed", (seed, result.cause)
    assert seemed_wrong


def test_where_rounding_decides_a_whole_number_other_inputs_are_asked(
    sandbox_for, monkeypatch
) -> None:
    """A right file may choose another greedy token at a tie; only an answer that differs has this looked into."""
    challenge, box = load_challenge(NAME), sandbox_for(NAME)
    case = challenge.cases["two-continuations"]
    allow, asked = Oracle.allowing_for_rounding, []

    def tied(self, case, stored, golden, seed):
        asked.append(seed)
        return None if len(asked) == 1 else allow(self, case, stored, golden, seed)

    monkeypatch.setattr(Oracle, "allowing_for_rounding", tied)
    with closing(SecretInputs(box, challenge, prepare(challenge), seed=5)) as inputs:
        first = inputs.of(case)
        assert not asked
        other = inputs.allowing_for_rounding(case)
        assert (other.case, other.seed) != (first.case, first.seed)
        assert inputs.of(case) is other, "for all who are asked from now on"
        assert inputs.allowing_for_rounding(case) is other
        assert len(asked) == 2
        again = SecretInputs(box, challenge, prepare(challenge), inputs.seeds)
        with closing(again):
            assert again.of(case).seed == first.seed, "the record repeats the whole way"


def test_inputs_on_which_the_reference_answers_in_another_way_are_drawn_anew(
    sandbox_for, monkeypatch
) -> None:
    challenge = load_challenge(NAME)
    golden, case = prepare(challenge), challenge.cases["one-token"]
    asked: list[int] = []
    right = Oracle.expect_from_seed

    def expect(self, one, stored, seed, **how):
        asked.append(seed)
        if len(set(asked)) < failing:
            raise ContentError("answered in another way than recorded")
        return right(self, one, stored, seed, **how)

    monkeypatch.setattr(Oracle, "expect_from_seed", expect)
    failing = 3
    with closing(SecretInputs(sandbox_for(NAME), challenge, golden, seed=5)) as drawn:
        found = drawn.of(case)
    assert found.seed == list(dict.fromkeys(asked))[2]
    assert found.seed != drawn.seeds[case.id]
    failing = 99
    with (
        closing(SecretInputs(sandbox_for(NAME), challenge, golden, seed=5)) as drawn,
        pytest.raises(ContentError, match="another way"),
    ):
        drawn.of(case)


def test_sizes_vary_where_the_seed_is_odd(sandbox_for) -> None:
    challenge = load_challenge(NAME)
    golden = prepare(challenge)
    for after_published in (False, True):
        with closing(
            SecretInputs(
                sandbox_for(NAME), challenge, golden, seed=5, after_published=after_published
            )
        ) as drawn:
            asked = [drawn.of(case) for case in challenge.cases.values()]
            odd = [drawn.seeds[one.case.id] % 2 == 1 for one in asked]
        assert not any(one.sizes for one, other in zip(asked, odd, strict=True) if not other)
        assert any(one.sizes for one in asked)
        # what was right in the published sizes is asked in others throughout, and a class in both
        assert all(odd) if after_published else 0.25 < sum(odd) / len(odd) < 0.75
