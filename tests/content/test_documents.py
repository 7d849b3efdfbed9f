"""A JSON document as statements, and as a module."""

from __future__ import annotations

import pytest

from grader.content import load_challenge
from grader.content.bug_detection import bug_status
from grader.content.statements import document_statements
from grader.sandbox.worker.host import as_python


def test_named_entries_are_scopes_and_members_statements() -> None:
    text = '{"a": 1, "tests": [{"name": "x", "n": [1,  2]}, {"name": "y", "n": null}]}'

    assert document_statements(text) == {
        (): ['"a": 1'],
        ("tests", "x"): ['"name": "x"', '"n": [1, 2]'],
        ("tests", "y"): ['"name": "y"', '"n": null'],
    }


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"a": ' + "[" * 100_000])
def test_what_is_no_object_has_no_statements(text: str) -> None:
    assert document_statements(text) is None


def test_flaws_are_told_by_the_member_they_change() -> None:
    challenge = load_challenge("broken_test")
    starter = challenge.starter.read_text()
    mended = starter.replace('"start": [4, 4, 4]', '"start": [2,7,   4]')

    before, after = bug_status(challenge, starter), bug_status(challenge, mended)

    assert {name for name in before if before[name] == "present"} == set(
        challenge.presets["default"].bugs
    )
    assert {name for name in before if before[name] != after[name]} == {"rows-of-one-length"}
    assert after["rows-of-one-length"] == "fixed"


def test_a_document_becomes_a_module_and_python_stays() -> None:
    made: dict[str, object] = {}
    exec(as_python("a.json", '{"a": [true, null, -0.5, "\\u2028\'"]}'), made)

    assert made["document"] == {"a": [True, None, -0.5, "\u2028'"]}
    assert as_python("a.py", '{"a": true}') == '{"a": true}'


def test_the_line_of_a_slip_is_told() -> None:
    with pytest.raises(SyntaxError, match="no valid JSON: Expecting value") as caught:
        as_python("a.json", '{\n"a": ,\n}')

    assert (caught.value.filename, caught.value.lineno) == ("a.json", 2)
