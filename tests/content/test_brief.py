"""The sentences of a brief and what is said to check them."""

from __future__ import annotations

import pytest

from grader.content.brief import Promise, promises, without_comments

BRIEF = """# The title

A story. <!-- no promise --> With `a.b` in it, 1.5 of them.

## What it keeps to

- The dtype is kept. <!-- cases: half, brain --> So is the shape!
- It refuses, when
  - the scale is text; <!-- ranges: forward.text; cases: refused -->
- No full stop at the end

| name | is |
|---|---|
| `q` | a query <!-- cases: plain --> |
| `k` | a key |

```python
answer = f(x)  # <!-- part of the code -->
```
<!-- cases: f -->

## How to look at it
<!-- no promise -->

Print it.

### Deeper

Print more. <!-- no promise -->

## Last

What follows a silent section counts.
"""


def test_each_sentence_has_what_stands_behind_it() -> None:
    found = {promise.text: promise for promise in promises(BRIEF)}
    assert found["The dtype is kept."].cases == ("half", "brain")
    assert not found["So is the shape!"].kept
    assert found["A story."].nothing
    assert "With `a.b` in it, 1.5 of them." in found
    refused = found["the scale is text;"]
    assert (refused.cases, refused.ranges) == (("refused",), ("forward.text",))
    assert found["`q` | a query"].cases == ("plain",)
    assert not found["`k` | a key"].kept
    assert found["What follows a silent section counts."].line == 33


def test_a_block_of_code_is_one_sentence_and_its_comment_follows_it() -> None:
    code = next(item for item in promises(BRIEF) if "answer" in item.text)
    assert code.cases == ("f",)


def test_a_word_in_bold_is_part_of_the_sentence_behind_it() -> None:
    [promise] = promises("- **Turns.** A turn is whole. <!-- cases: whole -->\n")
    assert (promise.text, promise.cases) == ("Turns. A turn is whole.", ("whole",))


def test_headings_lines_into_lists_and_silent_sections_are_left_out() -> None:
    texts = " ".join(promise.text for promise in promises(BRIEF))
    for absent in ("The title", "It refuses, when", "Print it."):
        assert absent not in texts


def test_learners_see_no_comment_but_those_in_code() -> None:
    seen = without_comments(BRIEF)
    assert "cases:" not in seen
    assert "no promise" not in seen
    assert "# <!-- part of the code -->" in seen
    assert "```\n\n## How to look at it\n\nPrint it." in seen


@pytest.mark.parametrize(
    "comment",
    ["case: a", "cases:", "cases a", "cases: a; no", "no promises", "", "no promise; cases: a"],
)
def test_a_comment_that_is_not_understood_is_a_fault(comment: str) -> None:
    [promise] = promises(f"# T\n\nSomething is kept. <!-- {comment} -->\n")
    assert promise.fault
    assert not promise.nothing


def test_nothing_and_a_case_contradict_each_other() -> None:
    [promise] = promises("Kept. <!-- no promise --> <!-- cases: a -->\n")
    assert promise.fault == "is said to promise nothing and to be checked"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "<!--",
        "<!-- -->",
        "# T\n<!-- no promise",
        "|",
        "```",
        "- ",
        "\0",
        "a\0. b",
        "![](x)",
    ],
)
def test_any_text_can_be_read(text: str) -> None:
    assert all(isinstance(item, Promise) for item in promises(text))
    without_comments(text)
