"""The page of a kill matrix in a real Chromium: legible in both colour schemes, nothing requested, never too wide."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from test_browser_page import CONTRAST

from grader.author.cover import Cover
from grader.author.survey import STATES, Column, Fault, Survey
from grader.report.matrix_page import matrix_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


def made() -> Survey:
    """A matrix with every state in it, wider than any window."""
    cases = tuple(Column(f"case-{n}", f"Case <{n}>", "unit", ("bug-0",), ()) for n in range(60))
    faults = (
        Fault("bug-0", "A bug & more", "bug", tuple(case.id for case in cases), ("bug-1",)),
        Fault("bug-1", "Another", "bug", (), ()),
        Fault("zeros", "Zeros", "impostor", ("case-1",)),
    )
    cells = {
        fault.id: {case.id: STATES[n % len(STATES)] for n, case in enumerate(cases)}
        for fault in faults
    }
    return Survey("made", "Made <up>", faults, cases, cells, Cover(("case-1",), smallest=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_the_matrix_page_can_be_read(tmp_path: Path, scheme: str, width: int) -> None:
    from playwright.sync_api import sync_playwright

    path = tmp_path / "matrix.html"
    path.write_text(matrix_page(made()), "utf-8")
    requests: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        assert requests == [path.as_uri()]
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert (
            page.get_by_role("region", name="Which case catches what").get_attribute("tabindex")
            == "0"
        )
        assert page.get_by_role("rowheader", name="bug-0").first.is_visible()
        browser.close()
