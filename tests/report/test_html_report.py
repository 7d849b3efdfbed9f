"""The HTML page: everything of the submission comes out as text, and equal results give equal bytes."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from markupsafe import escape

from grader.content import load_challenge
from grader.judge.result import BugStatus, CaseResult, Cause, RandomOutcome, Result, Where
from grader.report.html_report import Link, index_page, result_page

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\u202e\"'&{{7*7}}"


@pytest.fixture(scope="module")
def challenge():
    return load_challenge("multi_head_attention")


def made(challenge, **changes) -> Result:
    cause = Cause("wrong_value", HOSTILE, HOSTILE, HOSTILE, HOSTILE, Where(2, HOSTILE, (0, 3)))
    case = CaseResult("a-case", "A case", "failed", 0, 2, 0.1, cause, why="why it is there")
    good = CaseResult("b-case", "B case", "passed", 1, 1, 0.1)
    skip = CaseResult("c-case", "C case", "skipped", 0, 0, 0.0, Cause(None, "Skipped: none"))
    bug = challenge.presets["default"].bugs[0]
    bugs = (
        BugStatus(bug, challenge.bugs[bug].title, "fixed"),
        BugStatus("other", "A title that gives it away", "present"),
    )
    environment = {"python": "3", "torch": "2", "triton": None, "device": "cpu", "isolation": ["a"]}
    result = Result(
        challenge.id, HOSTILE, "0" * 64, "failed", 1, 3, 0.5, (case, good, skip), bugs, environment
    )
    return replace(result, log=HOSTILE, **changes)


class Tags(HTMLParser):
    """Collects the tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs


def test_a_random_scenario_that_failed_comes_first_with_its_steps(challenge) -> None:
    steps = [{"do": "forward", "tokens": 5}]
    drawn = {"id": "random-7", "title": "A random scenario: forward", "why": "It asks."}
    drawn |= {"setup": {"batch": 2}, "seed": 7, "dtype": "float32", "steps": steps}
    cause = Cause("wrong_value", "`output` differs in 3 values.")
    result = made(challenge, random=RandomOutcome(3, 1, drawn, cause), bugs=())
    for level, shown in (("symptom", True), ("verdict", False)):
        page = result_page(challenge, result, challenge.reference_text, level=level)
        assert "A random scenario" in page
        for text in ('{"do": "forward", "tokens": 5}', "differs in 3 values."):
            assert (str(escape(text)) in page) is shown
        assert not shown or page.index("random-7") < page.index("a-case")


def test_hostile_text_is_only_text(challenge) -> None:
    page = result_page(challenge, made(challenge), HOSTILE + "\n" + challenge.reference_text)
    parsed = Tags()
    parsed.feed(page)
    assert not parsed.tags & {"script", "img", "iframe", "object", "link"}
    assert not [name for name, _ in parsed.attributes if name.startswith("on") or name == "src"]
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "{{7*7}}" in page
    assert "49" not in re.findall(r"&amp;(\d+)", page)


def test_the_same_result_gives_the_same_bytes_whatever_time_it_took(challenge) -> None:
    source = challenge.reference_text
    slow = made(challenge, seconds=9.0)
    assert result_page(challenge, made(challenge), source) == result_page(challenge, slow, source)


def test_bugs_still_there_are_counted_and_not_named(challenge) -> None:
    page = result_page(challenge, made(challenge), challenge.reference_text)
    assert "gives it away" not in page
    assert "Known bugs still in the file: 1" in page
    assert challenge.bugs[challenge.presets["default"].bugs[0]].explanation[:20] in page


def test_a_source_needs_no_address(challenge) -> None:
    bugs = [b for b in challenge.bugs.values() if any("url" not in s for s in b.sources)]
    fixed = tuple(BugStatus(bug.id, bug.title, "fixed") for bug in bugs)
    planted = [bug.id for bug in bugs]
    page = result_page(challenge, replace(made(challenge), bugs=fixed), "x = 1\n", planted=planted)
    assert bugs
    assert all(str(escape(s["title"])) in page for bug in bugs for s in bug.sources)


def test_one_cause_of_many_cases_is_told_once(challenge) -> None:
    lost = Cause("raised", "The file could not be loaded.")
    cases = tuple(
        CaseResult(name, "T", "failed", 0, 1, 0.1, replace(lost, rationale=text))
        for name, text in (("a", "Lost"), ("b", "Lost"), ("c", "Other"), ("d", "Lost"))
    )
    page = result_page(challenge, replace(made(challenge), cases=cases), "x = 1\n")
    assert page.count("Lost") == 1
    assert "The same happened in 2 more cases: b, d." in page


def test_backticks_become_code_and_nothing_else_does(challenge) -> None:
    cause = Cause("raised", "`weights` and `<b>` and ` alone")
    case = CaseResult("a", "T", "failed", 0, 1, 0.1, cause)
    page = result_page(challenge, replace(made(challenge), cases=(case,)), "x = 1\n")
    assert "<code>weights</code> and <code>&lt;b&gt;</code> and ` alone" in page


def test_a_hidden_case_shows_its_title_only(challenge) -> None:
    result = made(challenge)
    hidden = replace(result.cases[0], visibility="hidden", why="the secret reason")
    page = result_page(challenge, replace(result, cases=(hidden,), file="f.py", log=""), "x = 1\n")
    assert "A case" in page
    assert "secret reason" not in page
    assert "alert" not in page


def test_the_index_links_to_every_page(challenge) -> None:
    page = index_page([Link("a.html", "T", "starter", made(challenge))])
    assert 'href="a.html"' in page


@pytest.mark.parametrize("level", ["verdict", "symptom", "place", "pattern"])
def test_below_the_highest_level_a_page_names_no_unit_case_that_passes_or_fails(level) -> None:
    challenge = load_challenge("multi_head_attention")
    cases = [
        CaseResult.judged(case, Cause("wrong_value", f"[{case.id}] differs.") if n % 2 else None)
        for n, case in enumerate(challenge.cases.values())
    ]
    result = Result.of_cases(challenge.id, "f.py", "0" * 64, cases, environment={
        "python": "3", "torch": None, "triton": None, "device": "cpu", "isolation": [],
    })  # fmt: skip
    page = result_page(challenge, result, "x = 1\n", level=level)
    scenarios = " ".join(case.title for case in cases if case.kind == "scenario")
    for case in cases:
        if case.kind == "unit" and case.title not in scenarios:
            assert case.title not in page
            assert f"[{case.id}] differs." not in page
    assert "counted here and not told" in page
