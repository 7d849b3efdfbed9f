"""What a lower level of telling may not hold; each fault is found where it was put in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from grader.author.giveaways import giveaways
from grader.content import load_challenge
from grader.judge.result import CaseResult, Cause, Where

CHALLENGE = load_challenge("multi_head_attention")
BUG = CHALLENGE.bugs["seed-causal-offset-plus1"]
CASE = CHALLENGE.cases["chunks-3-3-2"]
UNIT = CHALLENGE.cases["mask-chunk"]
CAUSE = Cause(
    "wrong_value", "`output` differs.", "Every value is wrong.", "1", "2", Where(0, "output")
)


def found(cause: Cause = CAUSE, case=CASE, **fields: str) -> list[str]:
    """Return what is refused of one failed case, of which some fields are others than the challenge's."""
    result = CaseResult.judged(replace(case, **fields), cause)
    return [text for _, text in giveaways(CHALLENGE, [BUG.id], [result])]


def test_a_symptom_gives_nothing_away() -> None:
    assert found() == []
    inside = replace(CAUSE, divergence="step 1, `mask`: 1, not 2.", manner="Off by one along keys.")
    assert found(inside) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"why": BUG.title}, "the title of the bug"),
        ({"why": f"Mind: {BUG.explanation}"}, "the explanation of the bug"),
        ({"why": BUG.hints[1]}, "a hint"),
        ({"title": "What `_apply_causal_mask` does"}, "names `_apply_causal_mask`"),
        ({"why": "Look at offset = cache_len + 1 if cache_len else 0"}, "a line of code"),
        ({"why": UNIT.title}, "the title of the unit case"),
    ],
)
def test_what_belongs_to_a_higher_level_is_refused(fields: dict[str, str], said: str) -> None:
    texts = found(**fields)
    assert {text.split("'")[1] for text in texts} == {"symptom", "place", "pattern"}
    assert all(said in text for text in texts)


def test_the_line_of_the_bug_is_refused_unless_an_exception_came_from_it() -> None:
    from grader.content.planting import plant

    edit = BUG.edits[0].replace.strip().splitlines()[0]
    text = plant(CHALLENGE, [BUG.id])
    line = next(n for n, row in enumerate(text.splitlines(), 1) if edit in row)
    assert any(f"line {line}" in text for text in found(why=f"Look at line {line}."))
    raised = Cause(
        "raised", "It raised.", f"Line {line}: {edit}", line=line, raised_at=f"f.py:{line}"
    )
    assert found(raised) == []


def test_of_a_unit_case_nothing_is_looked_for_that_is_not_told() -> None:
    assert found(case=UNIT, why=BUG.hints[2]) == []


def test_what_one_level_takes_away_is_not_told_by_another_field() -> None:
    told = replace(CAUSE, rationale="`output` differs. Every value is wrong.")
    assert {text.split("'")[1] for text in found(told)} == {"symptom", "place"}
