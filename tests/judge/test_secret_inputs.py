"""Remembered outputs are worth nothing: fresh inputs find them out."""

from __future__ import annotations

from grader.content import load_challenge
from grader.judge import grade_source

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
    """The first number of every query that the published cases send."""
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
                found.append(float(request.tensors["query"].values.ravel()[0]))
            script.answered(index, Reply(dict(step.values), dict(step.tensors)))
    return found


def test_a_file_that_knows_the_published_inputs_is_refused(sandbox_for) -> None:
    challenge = load_challenge(NAME)
    source = challenge.reference_text + PARROT.format(known=first_numbers(challenge))
    result = grade_source(challenge, source.encode(), sandbox=sandbox_for(NAME))
    failed = {case.id: case.cause for case in result.cases if case.status == "failed"}
    assert result.verdict == "failed"
    assert set(failed) <= set(challenge.fresh)
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
