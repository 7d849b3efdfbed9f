"""The HTML page: everything of the submission comes out as text, and equal results give equal bytes."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from made_traces import trace, unmasked
from markupsafe import escape

from grader.content import load_challenge
from grader.content.planting import plant
from grader.judge.focus import Focus
from grader.judge.result import BugStatus, CaseResult, Cause, RandomOutcome, Result, Where
from grader.report.html_report import result_page
from grader.report.site_pages import Attempt, Card, Link, brief_page, index_page

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


def test_the_landing_page_leads_to_briefs_and_pages_easiest_first(challenge) -> None:
    other = load_challenge("static_cache")
    links = [Link("a.html", "starter", made(challenge))]
    attempts = [Attempt(f"work/{HOSTILE}: 2 of 6 bugs mended", passed=False)]
    cards = [Card(other, "other-brief.html"), Card(challenge, "brief.html", links, attempts)]
    page = index_page(cards, "kvdojo start static_cache")
    parsed = Tags()
    parsed.feed(page)
    leads = [value for name, value in parsed.attributes if name == "href"]
    assert leads == ["brief.html", "a.html", "other-brief.html"]
    assert not parsed.tags & {"script", "img"}
    for text in ("2 of 6 bugs mended", "difficulty 2 of 5", "kvdojo start static_cache"):
        assert text in page
    assert index_page([], "kvdojo list")


def test_a_brief_is_shown_without_its_comments_and_follows_no_markup(challenge) -> None:
    page = brief_page(challenge, "index.html")
    assert "<!-- " not in page.split("<main>")[1]
    assert 'href="index.html"' in page
    hostile = replace(challenge, folder=challenge.folder)
    hostile.__dict__["brief_text"] = f"# A title\n\n{HOSTILE}\n\n[a](javascript:alert(1))\n"
    page = brief_page(hostile, "index.html")
    parsed = Tags()
    parsed.feed(page)
    assert not parsed.tags & {"script", "img"}
    assert not [value for _, value in parsed.attributes if value and "javascript:" in value]


def test_the_first_screen_shows_progress_and_what_fails_first(challenge) -> None:
    planted = challenge.presets["default"].bugs
    states = ("present", "fixed", "changed", "present", "fixed", "present")
    bugs = tuple(
        BugStatus(name, challenge.bugs[name].title, state)
        for name, state in zip(planted, states, strict=True)
    )
    page = result_page(challenge, made(challenge, bugs=bugs), "x = 1\n", planted=planted)
    assert re.findall("[●◐○]", page.split("</header>")[0]) == ["●", "●", "◐", "○", "○", "○"]
    assert "2 of 6 bugs fixed" in page
    assert page.index("2 of 6 bugs fixed") < page.index("A case") < page.index("passed</summary>")


def test_what_passed_and_what_was_skipped_is_folded_by_reason(challenge) -> None:
    good = [CaseResult(f"good-{n}", f"Good {n}", "passed", 1, 1, 0.1) for n in range(20)]
    skip = [
        CaseResult(f"s-{n}", f"S {n}", "skipped", 0, 0, 0.0, Cause(None, "Skipped: no `_x`."))
        for n in range(30)
    ]
    page = result_page(challenge, made(challenge, cases=(*good, *skip)), "x = 1\n")
    assert "20 cases passed</summary>" in page
    assert page.count("no <code>_x</code>") == 1
    assert "30 skipped: no <code>_x</code>.</summary>" in page
    assert '<details class="list" open' not in page


def test_a_page_of_a_file_that_passed_begins_with_the_stories(challenge) -> None:
    planted = challenge.presets["default"].bugs
    bugs = tuple(BugStatus(name, challenge.bugs[name].title, "fixed") for name in planted)
    cases = (CaseResult("good", "Good", "passed", 1, 1, 0.1),)
    result = made(challenge, bugs=bugs, cases=cases, verdict="passed")
    page = result_page(challenge, result, "x = 1\n", planted=planted)
    first = challenge.bugs[planted[0]]
    assert page.index("Fixed, and why it mattered") < page.index("passed</summary>")
    assert str(escape(first.explanation[:30])) in page
    assert str(escape(first.edits[0].find.strip().splitlines()[0].strip())) in page
    # of a file that is not done the reference's lines are not shown
    half = result_page(challenge, replace(result, verdict="failed"), "x = 1\n", planted=planted)
    told = half.split("Changes against the starter")[0]
    assert str(escape(first.edits[0].find.strip().splitlines()[0].strip())) not in told


def test_each_case_has_an_address_and_its_command(challenge) -> None:
    page = result_page(
        challenge, made(challenge, file="my file.py"), "x = 1\n", command="kvdojo grade X"
    )
    assert 'id="case-a-case"' in page
    assert "<code>kvdojo grade X --case a-case</code>" in page
    page = result_page(challenge, made(challenge, file="my file.py"), "x = 1\n")
    assert "grade multi_head_attention &#39;my file.py&#39; --case a-case" in page


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


def test_a_hidden_scenario_is_counted_beside_the_unit_case_that_all_speak_of(challenge) -> None:
    wrong = Cause("wrong_value", "`output` differs.")
    cases = [
        CaseResult("a-unit", "A unit", "failed", 0, 1, 0.1, wrong, kind="unit"),
        CaseResult("secret", "A secret", "failed", 0, 1, 0.1, wrong, visibility="hidden"),
    ]
    result = replace(made(challenge), cases=tuple(cases), bugs=())
    focus = Focus(None, None, None, "a-unit")
    page = result_page(challenge, result, "x = 1\n", level="symptom", focus=focus)
    assert "2 cases not passed are counted here and not told" in page
    assert 'id="case-secret"' not in page
    page = result_page(challenge, result, "x = 1\n", level="cause", focus=focus)
    assert 'id="case-a-unit"' in page


def test_below_the_highest_level_only_the_case_in_focus_shows_the_inside(challenge) -> None:
    cases = [c for c in challenge.cases.values() if c.kind == "scenario"][:2]
    wrong = Cause("wrong_value", "`output` differs.", where=Where(1, "output", (0, 0, 0)))
    made_of = [CaseResult.judged(case, replace(wrong, expected=case.id)) for case in cases]
    traces = {case.id: trace(case.id, wrong=unmasked) for case in cases}
    result = made(challenge, cases=tuple(made_of))
    for level, inside in (("symptom", 0), ("place", 1), ("pattern", 1), ("cause", 2)):
        focus = Focus(None, None, cases[1].id)
        page = result_page(challenge, result, "x", level=level, focus=focus, traces=traces)
        assert page.count("First divergence:") == inside
        assert page.index(f'id="case-{cases[1].id}"') < page.index(f'id="case-{cases[0].id}"')
        assert page.count("<code>output</code>") >= 2


def test_a_file_of_which_no_case_can_be_judged_is_told_so_once(challenge) -> None:
    result = Result.unjudged(challenge, "f.py", "0" * 64, "the archive is damaged.")
    page = result_page(challenge, result, None)
    assert "Every case, for the same reason" in page
    assert page.count("the archive is damaged.") == 1
    assert f"{len(challenge.cases)} not judged" in page
    assert "--case" not in page
    assert "points</span>" not in page
    assert "Changes against" not in page


def test_the_names_of_many_cases_with_one_cause_are_folded(challenge) -> None:
    lost = Cause("raised", "NameError was raised.", raised_at="f.py:3")
    cases = tuple(CaseResult(f"c-{n}", "T", "failed", 0, 1, 0.1, lost) for n in range(40))
    good = CaseResult("good", "Good", "passed", 1, 1, 0.1)
    page = result_page(challenge, replace(made(challenge), cases=(*cases, good)), "x = 1\n")
    assert "The same happened in 39 more cases</summary>" in page
    assert page.count("NameError was raised.") == 1


def test_a_file_that_began_as_another_variant_is_not_compared_with_the_default_starter(
    challenge,
) -> None:
    """The lines in which the two differ are those of the variant's bugs."""
    usual = challenge.presets["default"].bugs
    other = next(b.id for b in challenge.bugs.values() if b.kind == "bug" and b.id not in usual)
    source = plant(challenge, [other])
    line = challenge.bugs[other].edits[0].replace.strip().splitlines()[0].strip()

    def page(*states: tuple[str, str], **told: str) -> str:
        bugs = tuple(BugStatus(n, challenge.bugs[n].title, state) for n, state in states)
        return result_page(challenge, made(challenge, bugs=bugs), source, **told)

    fixed = [(name, "fixed") for name in usual]
    assert str(escape(line)) not in page(*fixed, (other, "present"), level="pattern")
    assert str(escape(line)) not in page(*fixed, level="symptom")  # as bugs that nobody wrote show
    assert str(escape(line)) in page((usual[0], "present"), *fixed[1:], level="symptom")
    assert str(escape(line)) in page(*fixed, (other, "present"), starter="x = 1\n", level="symptom")
