"""JSON is read strictly, and the examples of the small helpers are true."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

from grader.ground import display, nearest, strict_json
from grader.ground.strict_json import StrictJSONError, parse_strict


@pytest.mark.parametrize(
    "module", [display, nearest, strict_json], ids=lambda module: module.__name__
)
def test_the_examples_are_true(module: Any) -> None:
    done = doctest.testmod(module)
    assert done.attempted > 0
    assert done.failed == 0


@pytest.mark.parametrize(
    ("text", "says", "line"),
    [
        ("", "Expecting value", 1),
        ("[1,\n2,]", "Expecting value|Illegal trailing comma", 2),
        ("[NaN]", "NaN is not a JSON number", None),
        ("[-Infinity]", "-Infinity is not a JSON number", None),
        ('{"a": {"b": 1, "b": 2}}', "the key 'b' stands twice in one object", None),
        ("[" * 100_000, "nested too deeply", None),
        ("9" * 5000, "digits", None),
    ],
)
def test_what_is_no_strict_json_is_refused_with_its_place(
    text: str, says: str, line: int | None
) -> None:
    with pytest.raises(StrictJSONError, match=says) as told:
        parse_strict(text)
    assert told.value.line == line


def test_a_number_that_no_float_holds_is_refused_where_asked() -> None:
    assert parse_strict("[1e999, 2.5]") == [float("inf"), 2.5]
    with pytest.raises(StrictJSONError, match="the number 1e999 is too large"):
        parse_strict("[1e999]", finite=True)
