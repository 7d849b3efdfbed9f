"""Every way in which a reply can be wrong is told apart; nothing that is wrong is accepted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grader.ground.arrays import Array, array
from grader.judge.compare_answers import excess, judge_reply
from grader.judge.golden import Expected
from grader.sandbox import Problem, Raised, Reply, Request

X = np.arange(12.0).reshape(3, 4) / 7 - 0.6
SENT = {"query": array(X, "float32")}
REQUEST = Request("forward", {}, SENT)
EXPECTED = Expected(
    values={"length": 3, "size": 0.5},
    dtypes={"output": "float32"},
    tolerances={"output": 1e-4},
    tensors={"output": array(X, "float64")},
)
GOOD = Reply(
    values={"length": 3, "size": 0.5}, tensors={"output": array(X, "float32")}, echo=dict(SENT)
)


def kind(reply: Reply, expected: Expected = EXPECTED) -> str | None:
    cause = judge_reply(0, REQUEST, reply, expected)
    return cause.kind if cause else None


def output(values: np.ndarray, dtype: str = "float32") -> Reply:
    return replace(GOOD, tensors={"output": array(values, dtype)})


def with_cell(value: float) -> np.ndarray:
    changed = X.copy()
    changed[1, 2] = value
    return changed


def test_a_right_reply_is_accepted() -> None:
    assert kind(GOOD) is None
    assert kind(output(X + 0.9e-4)) is None


@pytest.mark.parametrize(
    ("reply", "want"),
    [
        (output(X[:1]), "wrong_shape"),
        (output(X[None]), "wrong_shape"),
        (output(np.zeros(1)), "wrong_shape"),
        (output(X, "float64"), "wrong_dtype"),
        (output(X, "float16"), "wrong_dtype"),
        (output(np.full_like(X, np.nan)), "not_finite"),
        (output(with_cell(np.nan)), "not_finite"),
        (output(with_cell(np.inf)), "not_finite"),
        (output(with_cell(X[1, 2] + 2e-4)), "wrong_value"),
        (output(np.zeros_like(X)), "wrong_value"),
        (replace(GOOD, tensors={}), "missing"),
        (replace(GOOD, tensors={**GOOD.tensors, "more": GOOD.tensors["output"]}), "wrong_value"),
        (replace(GOOD, values={"length": 3}), "missing"),
        (replace(GOOD, values={"length": 4, "size": 0.5}), "wrong_value"),
        (replace(GOOD, values={"length": True, "size": 0.5}), "wrong_value"),
        (replace(GOOD, values={"length": 3.0, "size": 0.5}), "wrong_value"),
        (replace(GOOD, values={"length": 3, "size": float("nan")}), "wrong_value"),
        (replace(GOOD, values={"length": 3, "size": "0.5"}), "wrong_value"),
        (replace(GOOD, values={"length": 3, "size": 0.5, "output": None}, tensors={}), "missing"),
        (replace(GOOD, echo={"query": array(with_cell(0), "float32")}), "mutated_input"),
        (replace(GOOD, echo={"query": array(X[:1], "float32")}), "mutated_input"),
        (replace(GOOD, raised=Raised(("KeyError", "LookupError", "Exception"), "x")), "raised"),
        (replace(GOOD, raised=Raised(("MemoryError", "Exception"), "")), "memory"),
        (replace(GOOD, raised=Raised(("PermissionError",), "no", blocked=True)), "blocked"),
        (replace(GOOD, problem=Problem("missing", "None", None)), "missing"),
        (replace(GOOD, problem=Problem("made up", "None", None)), "wrong_value"),
    ],
)
def test_each_fault_has_its_kind(reply: Reply, want: str) -> None:
    assert kind(reply) == want


def test_an_expected_exception_and_nothing_else() -> None:
    expected = Expected(raised="ValueError")
    mro = ("UnicodeError", "ValueError", "Exception")
    assert kind(Reply(echo=dict(SENT), raised=Raised(mro, "full")), expected) is None
    assert kind(GOOD, expected) == "did_not_raise"
    assert kind(Reply(echo=dict(SENT), raised=Raised(("KeyError",), "")), expected) == "raised"
    changed = {"query": array(with_cell(0), "float32")}
    assert kind(Reply(echo=changed, raised=Raised(mro, "full")), expected) == "mutated_input"


def test_arguments_the_contract_lets_change_are_not_compared() -> None:
    reply = replace(GOOD, echo={"query": array(with_cell(0), "float32")})
    assert judge_reply(0, REQUEST, reply, EXPECTED) is not None
    assert judge_reply(0, REQUEST, reply, EXPECTED, {"query"}) is None


def test_an_argument_that_does_not_come_back_was_left_as_it_is() -> None:
    assert judge_reply(0, REQUEST, replace(GOOD, echo={}), EXPECTED) is None


def test_the_first_wrong_place_is_named() -> None:
    cause = judge_reply(4, REQUEST, output(with_cell(5.0)), EXPECTED)
    assert cause is not None
    assert cause.where is not None
    assert (cause.where.step, cause.where.output, cause.where.index) == (4, "output", (1, 2))
    assert cause.actual is not None
    assert cause.actual.startswith("[5, ")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.zeros_like(X), "zero"),
        (np.full_like(X, 0.25), "Every value is 0.25"),
        (X * 2.5, "2.5 times"),
        (X[::-1].copy(), "another order along axis 0"),
        (X.reshape(-1)[::-1].reshape(4, 3).T.copy(), "wrong places"),
    ],
)
def test_patterns_are_named(values: np.ndarray, says: str) -> None:
    cause = judge_reply(0, REQUEST, output(values), EXPECTED)
    assert cause is not None
    assert cause.help is not None
    assert says in cause.help


def test_excess_is_the_error_in_tolerances() -> None:
    assert excess(GOOD, EXPECTED) < 0.01
    assert excess(output(X + 5e-4), EXPECTED) == pytest.approx(5, rel=1e-2)
    assert excess(output(X[:1]), EXPECTED) == np.inf


def test_the_difference_that_is_told_is_one_that_is_not_allowed() -> None:
    tolerances = np.full(X.shape, 1e-4)
    tolerances[0, 0] = 1.0
    answer = with_cell(X[1, 2] + 0.25)
    answer[0, 0] += 0.5  # larger, and allowed there
    expected = replace(EXPECTED, tolerances={"output": tolerances})
    cause = judge_reply(0, REQUEST, output(answer), expected)
    assert cause is not None
    assert "1 of 12 values (largest difference 0.25, 0.0001 is allowed)" in cause.rationale


def test_integers_and_booleans_are_compared_exactly() -> None:
    ids = Array("int64", np.array([1, 2, 3]))
    expected = Expected(dtypes={"ids": "int64"}, tolerances={"ids": 0.0}, tensors={"ids": ids})
    right = Reply(tensors={"ids": ids}, echo=dict(SENT))
    assert kind(right, expected) is None
    wrong = Reply(tensors={"ids": Array("int64", np.array([1, 2, 4]))}, echo=dict(SENT))
    assert kind(wrong, expected) == "wrong_value"


@pytest.mark.parametrize("bits", [0x7FA00000, 0xFF800000, 0x7F7FFFFF])
def test_no_number_makes_the_comparison_complain(
    bits: int, recwarn: pytest.WarningsRecorder
) -> None:
    """A signalling NaN, an infinity, the largest float."""
    odd = np.full(X.shape, bits, np.uint32).view(np.float32)
    assert kind(replace(GOOD, tensors={"output": Array("float32", odd)})) is not None
    huge = replace(EXPECTED, tensors={"output": Array("float32", -np.abs(odd))})
    assert kind(replace(GOOD, tensors={"output": Array("float32", odd)}), huge) is not None
    assert not recwarn.list


def advice(got: np.ndarray, want: np.ndarray, **sent: np.ndarray) -> str:
    """Return what is said of numbers that are not finite, where these arguments were sent."""
    tensors = {name: array(values, "float32") for name, values in sent.items()}
    expected = replace(EXPECTED, values={}, tensors={"output": array(want, "float64")})
    reply = Reply(tensors={"output": array(got, "float32")})
    cause = judge_reply(0, Request("forward", {}, tensors), reply, expected)
    assert cause is not None
    assert cause.kind == "not_finite"
    return cause.help or ""


def test_advice_on_nan_has_its_evidence() -> None:
    rows, empty = np.where(np.arange(3)[:, None] == 1, np.nan, X), X.copy()
    empty[1] = 0
    assert "nothing is visible to these rows" in advice(rows, empty)
    one = with_cell(np.nan)
    for got, want in ((rows, X), (one, X), (one, empty), (np.full_like(X, np.nan), X)):
        assert "nothing is visible" not in advice(got, want)
        assert "softmax" not in advice(got, want)
    assert advice(one, X) == "Along axis 0, only index 1 is not finite."
    assert advice(np.full_like(X, np.nan), X) == "No value is finite."
    assert "hold NaN or infinity where they hold no token" in advice(one, X, past=rows)
    assert "reach 200; exp of a number above 88" in advice(one, X, query=X * 0 + 200)
    assert "exp of" not in advice(one, X, query=X)
    assert "grew too large" in advice(with_cell(np.inf), X)


def test_an_exception_after_a_changed_argument_says_so() -> None:
    changed = {"query": array(with_cell(0), "float32")}
    raised = Raised(("KeyError", "Exception"), "'w'")
    cause = judge_reply(-1, REQUEST, replace(GOOD, raised=raised, echo=changed), EXPECTED)
    assert cause is not None
    assert (cause.kind, cause.where and cause.where.step) == ("raised", None)
    assert cause.help == (
        "Before that: The call changed its argument `query`, which belongs to the caller."
    )
    assert "Before that" not in (
        judge_reply(0, REQUEST, replace(GOOD, raised=raised), EXPECTED).help or ""
    )


def test_minus_infinity_is_shown_where_a_number_only_stands_for_it() -> None:
    hidden = np.arange(12).reshape(3, 4) == 5
    want = {"lse": array(np.where(hidden, 0, X), "float64"), "lse is -inf": array(hidden, "bool")}
    dtypes = {"lse": "float32", "lse is -inf": "bool"}
    expected = Expected(
        values={}, dtypes=dtypes, tolerances={"lse": 1e-4, "lse is -inf": 0.0}, tensors=want
    )
    got = {
        "lse": array(np.where(hidden, -9.0, X), "float32"),
        "lse is -inf": array(np.zeros_like(hidden), "bool"),
    }
    cause = judge_reply(0, Request("decode", {}, {}), Reply(tensors=got), expected)
    assert cause is not None
    assert (cause.where and cause.where.output) == "lse"
    assert (cause.expected or "").startswith("[-inf, ")
    assert (cause.actual or "").startswith("[-9, ")
