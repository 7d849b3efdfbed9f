"""Nobody is kept out of a page: every fault that is looked for is found where it is, and none in our pages."""

from __future__ import annotations

import hashlib
import re

import pytest
from access import AXE, CHROMIUM, FAULTS
from made_matrix import made_matrix
from made_pages import HOSTILE, made_result, pages

from grader.arena.marks import BugMark, Marks
from grader.content import challenge_ids, load_challenge
from grader.report.arena_report import AgentRun, arena_page
from grader.report.kill_matrix_report import matrix_page
from grader.report.site_pages import Attempt, Card, Link, brief_page, index_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

# one fault of each rule
BAD = """<!doctype html><html><head><meta name=viewport content="width=device-width, user-scalable=no"></head>
<body><h3>One level left out</h3><main><h1>One</h1><h1>Two</h1>
<p style="color: #aaa" id=a>pale</p><p style="opacity: .3" id=a>faded</p>
<svg role=img aria-label=x><rect fill="#eee" width=9 height=9 /></svg><svg role=img></svg>
<div tabindex=3 role=group aria-label=y>first of all</div><span></span>
<table><tr><th>no scope</th></tr><tr><td>1</td><td>2</td></tr></table>
<ul><p>no item</p></ul><div style="width: 2000px">wide</div></main></body></html>"""


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    challenge = load_challenge("multi_head_attention")
    link = Link("a.html", "starter", made_result(challenge))
    attempts = [
        Attempt(f"work/{HOSTILE}: 2 of 6 bugs", passed=False),
        Attempt("work/b", passed=True),
    ]
    cards = [Card(load_challenge(name), "b.html", [link], attempts) for name in challenge_ids()]
    return {
        **pages(challenge),
        "index": index_page(cards, "kvdojo start static_cache"),
        "brief": brief_page(challenge, "index.html"),
        "matrix": matrix_page(made_matrix()),
    }


def test_every_fault_is_found(browser) -> None:
    page = browser.new_page()
    page.set_content(BAD)
    rules = set(re.findall(r"say\('([a-z ]+)'", FAULTS))
    assert {fault.split(":")[0] for fault in page.evaluate(FAULTS)} == rules
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_arena_s_page_keeps_nobody_out(browser, scheme) -> None:
    bugs = tuple(
        BugMark(f"b{n}", f"family {n}", 1 + n, n % 2 == 0, "fixed" if n % 3 else "present", False)
        for n in range(5)
    )
    one = Marks(
        *("t-0001", "static_cache", True, "failed", bugs, 2, 1, 0, 8, 6, 0, 0, 3, 4, 5, 1.0),
        isolation=("a",),
    )
    runs = [AgentRun(f"agent {n} " * n, (one, one), unjudged=n % 2) for n in range(1, 9)]
    for width in (320, 1100):
        page = browser.new_page(viewport={"width": width, "height": 600}, color_scheme=scheme)
        page.set_content(arena_page(runs))
        assert page.evaluate(FAULTS) == []
        page.close()


def test_the_index_keeps_nobody_out(browser, made) -> None:
    page = browser.new_page(viewport={"width": 320, "height": 600})
    for name in ("index", "brief"):
        page.set_content(made[name])
        assert page.evaluate(FAULTS) == []
    page.close()


def test_every_brief_can_be_read_on_a_phone(browser) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    for name in challenge_ids():
        page.set_content(brief_page(load_challenge(name), "index.html"))
        assert page.evaluate(FAULTS) == []
    page.close()


def test_the_tab_key_goes_through_a_page_in_order_and_is_seen(browser, made) -> None:
    page = browser.new_page()
    page.set_content(made["one-bug"])
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    stops = page.evaluate(
        "(window.stops = [...document.querySelectorAll('a, summary, [tabindex]')]).length"
    )
    for stop in range(stops):
        page.keyboard.press("Tab")
        at, outline = page.evaluate(
            "[stops.indexOf(document.activeElement), getComputedStyle(document.activeElement).outlineStyle]"
        )
        assert (at, outline) == (stop, "solid")
    assert stops > 5
    page.close()


def test_axe_is_what_was_published() -> None:
    digest = hashlib.sha256(AXE.read_bytes()).hexdigest()
    assert f"    {digest}\n" in AXE.with_name("README.md").read_text("utf-8")


def test_axe_finds_faults(browser) -> None:
    page = browser.new_page()
    page.set_content(BAD)
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert {"color-contrast", "html-has-lang", "page-has-heading-one"} & {f["id"] for f in found}
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing(browser, made, scheme, width) -> None:
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    for name in (
        "passing",
        "one-bug",
        "symptom",
        "unjudged",
        "hostile",
        "index",
        "brief",
        "matrix",
    ):
        page.set_content(made[name])
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        page.add_script_tag(path=AXE)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        assert [(fault["id"], fault["nodes"][0]["html"]) for fault in found] == []
    page.close()
