"""The pages in a real Chromium: nothing is requested, nothing goes wrong, text can be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from access import CHROMIUM, FAULTS, OPTIONS
from made_pages import pages

from grader.content import load_challenge
from grader.judge import grade_source
from grader.report.html_report import result_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
CHALLENGE = "multi_head_attention"
NAMES = [
    "graded",
    "passing",
    "one-bug",
    "eight-bugs",
    "crash",
    "timeout",
    "hostile",
    "symptom",
    "unjudged",
]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory, sandbox_for) -> Path:
    challenge = load_challenge(CHALLENGE)
    source = challenge.starter.read_bytes()
    result = grade_source(challenge, source, sandbox=sandbox_for(CHALLENGE))
    path = tmp_path_factory.mktemp("page") / "result.html"
    path.write_text(result_page(challenge, result, source.decode()), "utf-8")
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory, page_file) -> dict[str, Path]:
    """Pages by what they show; `graded` is that of a real grading."""
    folder = tmp_path_factory.mktemp("pages")
    found = {"graded": page_file}
    for name, text in pages(load_challenge(CHALLENGE)).items():
        found[name] = folder / f"{name}.html"
        found[name].write_text(text, "utf-8")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        made = play.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield made
        made.close()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("scheme", "width"), [("light", 320), ("dark", 1100)])
def test_page_opens_alone_and_can_be_read(browser, made, name, scheme, width) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    page = context.new_page()
    troubles: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: troubles.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(made[name].as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert troubles == []
    assert asked == [made[name].as_uri()]
    assert page.evaluate(FAULTS) == []
    context.close()


def test_pictures_can_be_read_aloud_and_scrolled_by_keyboard(browser, made) -> None:
    context = browser.new_context(viewport={"width": 240, "height": 900})
    page = context.new_page()
    page.goto(made["one-bug"].as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.get_by_role("img", name="Tokens in the cache after each step").count() == 1
    assert page.get_by_role("table", name="head 0: difference").count() == 1
    assert page.get_by_role("cell", name="first difference").count() == 2
    maps = page.get_by_role("group", name="weights").first
    maps.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("e => e.scrollLeft > 0", arg=maps.element_handle())
    context.close()


def test_it_prints(browser, made) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(made["one-bug"].as_uri())
    page.emulate_media(media="print", color_scheme="light")
    assert page.evaluate(FAULTS) == []
    closed = page.locator("details:not([open])")
    assert closed.count() >= 2
    # on paper nothing can be opened, so everything is
    hidden = "e => [...e.children].filter(c => c.tagName != 'SUMMARY' && !c.getClientRects().length).length"
    assert [closed.nth(at).evaluate(hidden) for at in range(closed.count())] == [0] * closed.count()
    assert page.pdf().startswith(b"%PDF")
    context.close()


def test_every_case_can_be_opened_by_keyboard_without_scripts(browser, page_file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.as_uri())
    summaries = page.locator("summary:visible")
    assert summaries.count() >= 4
    for at in range(4):
        before = page.locator("details[open]").count()
        summaries.nth(at).focus()
        page.keyboard.press("Enter")
        assert page.locator("details[open]").count() == before + 1
    context.close()


def test_pages_are_small(made) -> None:
    assert max(path.stat().st_size for path in made.values()) < 1_500_000
