"""A call that must be refused and is not: what was malformed in it is said."""

from __future__ import annotations

import pytest

from grader.content import load_challenge
from grader.content.entries import case_of
from grader.judge import grade_source
from grader.judge.failure_causes import malformed

CHALLENGE = load_challenge("static_cache")


def case(*steps, setup=None):
    entry = {
        "id": "made",
        "title": "Made",
        "why": "For a test.",
        "kind": "scenario",
        "seed": 1,
        "setup": setup or {},
        "steps": list(steps),
    }
    return case_of(entry, "it")


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (
            {"do": "forward", "spoil": "half_cache", "raises": "ValueError"},
            "Malformed in this call: `past` (half cache).",
        ),
        (
            {"do": "forward", "spoil": "fewer_new_keys", "tokens": 3},
            "Malformed in this call: `key` and `value` (fewer new keys).",
        ),
        ({"do": "forward", "spoil": "unheard_of"}, "an argument (unheard of)"),
        ({"do": "forward", "scale": -1.0, "raises": "ValueError"}, "The call was given scale = -1.0."),
        ({"do": "no_such_verb", "role": "function"}, 'The call was given role = "function".'),
        ({"do": "forward", "raises": "ValueError"}, None),
        ({"do": "forward", "text": "x" * 500}, "xxx ..."),
    ],
)  # fmt: skip
def test_what_was_malformed_is_read_off_the_case(step, told) -> None:
    said = malformed(CHALLENGE, case(step), 0)
    assert said is None if told is None else told in (said or "")


def test_of_a_creation_the_sizes_are_told() -> None:
    made = case({"do": "forward"}, setup={"heads": 3, "dim": 10})
    assert malformed(CHALLENGE, made, -1) == "It was created with heads = 3, dim = 10."


def test_the_learner_reads_it(sandbox_for) -> None:
    text = CHALLENGE.reference_text.replace("raise ValueError(", "print(")
    result = grade_source("static_cache", text.encode(), sandbox=sandbox_for("static_cache"))
    causes = [
        case.cause for case in result.cases if case.cause and case.cause.kind == "did_not_raise"
    ]
    assert causes
    helps = [cause.help or "" for cause in causes]
    assert any(text.startswith("Malformed in this call: `past` (") for text in helps)
    assert all(text.startswith(("Malformed in", "The call was given ")) for text in helps), helps
