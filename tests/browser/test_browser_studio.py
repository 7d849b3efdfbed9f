"""A whole attempt in a real Chromium, with the real server and the real grader, by clicks and by keys alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from access import AXE, CHROMIUM, FAULTS

from grader.content import Challenge, load_challenge
from grader.ground.paths import ROOT

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
NAME = "multi_head_attention"
SCROLLED = "document.getElementById('mirror').shadowRoot.querySelector('.cm-scroller').scrollTop"
PATIENCE = 120_000  # ms; the first grading imports torch


@dataclass
class Served:
    """A running studio, and what its pages said and asked that they should not."""

    link: str
    work: Path
    said: list[str] = field(default_factory=list)

    @property
    def home(self) -> str:
        return self.link.partition("?")[0]

    @property
    def file(self) -> Path:
        return self.work / NAME / "kv_attention.py"

    def page(self, browser: Any, **how: Any) -> Any:
        """Open a page of a browser that was let in; whatever it says or asks elsewhere is noted."""
        context = browser.new_context(**how)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", self._asked)
        page.goto(self.link)
        return page

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.home, "data:")):
            self.said.append(f"asked {request.url}")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    environment = os.environ | {"KVDOJO_WORK": str(tmp_path / "work")}
    words = [sys.executable, "-m", "grader", "studio", "--no-open", "--port", "0"]
    with subprocess.Popen(
        words, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield Served(process.stdout.readline().strip(), tmp_path / "work")
        finally:
            process.terminate()
            told = process.communicate(timeout=30)[1]
    assert told == "kvdojo: interrupted\n"


@pytest.fixture(scope="module")
def challenge() -> Challenge:
    return load_challenge(NAME)


def replace_text(page: Any, text: str) -> None:
    """Type over the whole text, as a paste does."""
    page.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)


def faults(page: Any) -> list[str]:
    """Return what keeps somebody out, by our own rules and, where it is installed, by axe-core's."""
    found = list(page.evaluate(FAULTS))
    if AXE.exists():
        page.evaluate(AXE.read_text("utf-8"))
        told = page.evaluate("axe.run({resultTypes: ['violations']})")
        found += [
            f"axe {rule['id']}: {node['html'][:200]}"
            for rule in told["violations"]
            for node in rule["nodes"]
        ]
    return found


def test_attempt_from_the_list_to_the_stories_by_clicks(
    browser: Any, served: Served, challenge: Challenge
) -> None:
    page = served.page(browser, viewport={"width": 1280, "height": 800})
    assert faults(page) == []
    page.get_by_role("button", name="Start KV-cached multi-head attention").click()
    page.get_by_text("0 of 6 planted bugs fixed").wait_for()
    assert faults(page) == []
    page.get_by_role("button", name="Tell me one thing more").click()
    page.get_by_text("Place (rung 1 of 6)").wait_for()
    page.get_by_text("Step by step through the failing case").click()
    page.locator("#steps canvas").first.wait_for()
    text = served.file.read_text()
    page.locator(".cm-lineNumbers .cm-gutterElement", has_text=re.compile("^12$")).click()
    assert page.locator("#suspected").input_value() == "12"
    page.locator("[name=why]").fill("<script>alert(1)</script>")
    page.get_by_role("button", name="Note it").click()
    page.get_by_text("Noted: line 12").wait_for()
    assert page.locator("#suspicion").is_hidden()
    bug = challenge.bugs["seed-scale-missing-sqrt"]
    text = text.replace(bug.edits[0].replace, bug.edits[0].find)
    replace_text(page, text)
    assert page.locator("#unsaved").is_visible()
    page.get_by_role("button", name="Save and grade").click()
    page.get_by_text("1 of 6 planted bugs fixed", exact=False).first.wait_for()
    assert served.file.read_text() == text
    assert page.locator("#unsaved").is_hidden()
    page.get_by_text("Your suspicion of line 12 was not it").wait_for()
    story = page.locator("#state details", has_text="What was wrong with the ones you fixed")
    story.locator("summary").click()
    page.get_by_role("button", name="Run again").click()
    page.get_by_text("graded 3 times").wait_for()
    assert story.get_attribute("open") is not None, "what is open stays so"
    page.locator(".cm-content").click()
    page.keyboard.press("Control+Home")
    for _ in range(3):
        page.keyboard.press("PageDown")
    page.wait_for_function(f"{SCROLLED} > 300")
    served.file.write_text(challenge.reference_text)  # another editor saves
    page.get_by_text("All cases pass").wait_for()
    page.get_by_text("The file was saved elsewhere").wait_for()
    assert page.evaluate(SCROLLED) > 300, "what is looked at stays in sight"
    page.get_by_text("This attempt so far").click()
    page.locator("#log pre").wait_for()
    assert "<script>alert(1)</script>" in page.locator("#log pre").inner_text()
    assert faults(page) == []
    page.get_by_role("link", name="The museum").click()
    page.get_by_text("6 so far").wait_for()
    assert faults(page) == []
    page.get_by_role("link", name="Challenges").click()
    cases = len(challenge.cases)
    page.get_by_text(f"✓ default · {cases} of {cases} cases passed").wait_for()
    page.context.close()
    assert served.said == []


def test_attempt_on_a_phone_in_the_dark_by_keys_alone(
    browser: Any, served: Served, challenge: Challenge
) -> None:
    page = served.page(browser, viewport={"width": 390, "height": 844}, color_scheme="dark")
    assert faults(page) == []

    def tab_to(name: str, most: int = 80) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            text = page.evaluate(
                "(() => { let e = document.activeElement;"
                " while (e.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;"
                " return (e.ariaLabel || e.textContent).replace(/\\s+/g, ' ').trim(); })()"
            )
            if text.startswith(name):
                return
        raise AssertionError(f"{name} is not reached")

    tab_to("Read the brief first: KV-cached multi-head attention")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Begin").wait_for()
    tab_to("Start")
    page.keyboard.press("Enter")
    page.locator(".cm-content").wait_for()
    tab_to("kv_attention.py")
    page.get_by_text("0 of 6 planted bugs fixed").wait_for()
    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.keyboard.press("Control+Home")
    page.keyboard.type("# mine")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.locator(".cm-line").nth(1).inner_text().startswith("    ")
    page.keyboard.press("Escape")
    tab_to("Tell me one thing more")
    page.keyboard.press("Enter")
    page.get_by_text("Place (rung 1 of 6)").wait_for()
    page.keyboard.press("Shift+Tab")
    page.locator(".cm-content").focus()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(challenge.reference_text)
    page.keyboard.press("Control+s")
    page.get_by_text("All cases pass").wait_for()
    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.context.close()
    assert served.said == []


def test_two_tabs_agree_and_nothing_typed_is_lost(
    browser: Any, served: Served, challenge: Challenge
) -> None:
    one = served.page(browser, viewport={"width": 1280, "height": 800})
    one.get_by_role("button", name="Start KV-cached multi-head attention").click()
    one.get_by_text("0 of 6 planted bugs fixed").wait_for()
    other = one.context.new_page()
    other.set_default_timeout(PATIENCE)
    other.goto(one.url)
    other.get_by_text("0 of 6 planted bugs fixed").wait_for()
    replace_text(one, "typed_in_one = 1\n")
    replace_text(other, "saved_in_other = 1\n")
    other.keyboard.press("Control+s")
    one.bring_to_front()
    one.get_by_text("The file was changed elsewhere").wait_for()
    assert "typed_in_one" in one.locator(".cm-content").inner_text()
    one.get_by_text("What is on the disk").click()
    assert one.locator("#theirs").inner_text().strip() == "saved_in_other = 1"
    one.get_by_role("button", name="Save mine").click()
    one.get_by_text("What lay there is kept as kv_attention.py.backup-1").wait_for()
    assert served.file.read_text() == "typed_in_one = 1\n"
    assert served.file.with_name("kv_attention.py.backup-1").read_text() == "saved_in_other = 1\n"
    other.bring_to_front()
    other.get_by_text("The file was saved elsewhere").wait_for()
    assert "typed_in_one" in other.locator(".cm-content").inner_text()
    numbers = [page.locator("#state .verdict").inner_text() for page in (one, other)]
    assert numbers[0] == numbers[1]
    one.context.close()
    assert served.said == []


def test_a_broken_line_is_marked_and_the_next_attempt_is_a_click_away(
    browser: Any, served: Served, challenge: Challenge
) -> None:
    page = served.page(browser, viewport={"width": 1280, "height": 800})
    page.get_by_role("button", name="Start KV-cached multi-head attention").click()
    page.get_by_text("0 of 6 planted bugs fixed").wait_for()
    replace_text(page, "one = 1\n\ndef two(:\n    pass\n" + "#\n" * 300)
    page.keyboard.press("Control+End")
    page.keyboard.type("on")
    page.locator(".cm-tooltip-autocomplete").wait_for()
    page.keyboard.press("Control+s")
    page.get_by_text("not valid Python yet, line 3").first.wait_for()
    assert page.locator(".cm-tooltip-autocomplete").count() == 0
    page.locator("#state .to-line", has_text="go to line 3").click()
    page.locator(".cm-lintRange-error", has_text="def two(:").wait_for()
    assert faults(page) == []
    replace_text(page, challenge.reference_text)
    page.keyboard.press("Control+s")
    page.get_by_text("All cases pass").wait_for()
    assert page.locator(".cm-lintRange-error").count() == 0
    page.get_by_role("button", name="Next: ").click()
    page.get_by_text("0 of ").first.wait_for()
    assert (served.work / f"{NAME}-contest").is_dir()
    page.context.close()
    assert served.said == []


def test_page_works_with_a_plain_text_area(
    browser: Any, served: Served, challenge: Challenge
) -> None:
    page = served.page(browser, viewport={"width": 800, "height": 900})
    page.route(
        "**/codemirror.js", lambda route: route.fulfill(body="", content_type="text/javascript")
    )
    page.get_by_role("button", name="Start KV-cached multi-head attention").click()
    area = page.locator("#text")
    area.wait_for()
    page.get_by_text("0 of 6 planted bugs fixed").wait_for()
    assert faults(page) == []
    area.click()
    page.keyboard.press("Control+Home")
    page.keyboard.type("if True:")
    page.keyboard.press("Enter")
    page.keyboard.type("pass")
    assert area.input_value().startswith("if True:\n    pass")
    assert page.locator("#numbers").inner_text().startswith("1\n2\n3")
    page.locator("#numbers").click(position={"x": 5, "y": 12})
    assert page.locator("#suspected").input_value() == "1"
    page.get_by_role("button", name="Leave it").click()
    area.fill(challenge.reference_text)
    page.keyboard.press("Control+s")
    page.get_by_text("All cases pass").wait_for()
    page.context.close()
    assert served.said == []
