"""The page of a kill matrix in a real Chromium: legible in both colour schemes, nothing requested, never too wide."""

from __future__ import annotations

from pathlib import Path

import pytest
from access import CHROMIUM, FAULTS, OPTIONS
from made_matrix import made_matrix

from grader.report.kill_matrix_report import matrix_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


def test_the_matrix_page_can_be_read(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    path = tmp_path / "matrix.html"
    path.write_text(matrix_page(made_matrix()), "utf-8")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        for scheme, width in (("light", 400), ("dark", 1400)):
            requests: list[str] = []
            page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
            page.on("request", lambda request, seen=requests: seen.append(request.url))
            page.goto(path.as_uri())
            assert requests == [path.as_uri()]
            assert page.evaluate(FAULTS) == []
            region = page.get_by_role("region", name="Which case catches what")
            assert region.get_attribute("tabindex") == "0"
            assert page.get_by_role("columnheader", name="bug-0").is_visible()
            assert page.get_by_role("rowheader", name="case-0").first.is_visible()
            assert region.evaluate("e => e.scrollWidth <= e.clientWidth")
        browser.close()
