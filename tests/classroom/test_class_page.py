"""The class page in a real Chromium: it asks for nothing and fits a phone and a desk."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.classroom.class_summary import summarise_class
from grader.classroom.run_batch import BatchOptions, run_batch
from grader.report.class_report import class_page
from tests.browser.access import AXE, CHROMIUM, FAULTS, OPTIONS
from tests.classroom.conftest import CHALLENGE, Workers


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_fits_and_asks_for_nothing(workers: Workers, klass: Path, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    (klass / f"{'long' * 30}.py").write_text("x = 1\n")
    (klass / "broken.zip").write_text("no")
    plan, store = run_batch(BatchOptions(CHALLENGE, klass, workers.out), pool_opener=workers.open)
    path = tmp_path / "class.html"
    path.write_text(class_page(summarise_class(CHALLENGE, plan, store), "symptom"), "utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        for scheme, width in (("light", 320), ("dark", 1200)):
            page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
            asked: list[str] = []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.goto(path.as_uri())
            assert asked == [path.as_uri()]
            assert page.evaluate(FAULTS) == []
            page.add_script_tag(path=AXE)
            found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
            assert [(fault["id"], fault["nodes"][0]["html"]) for fault in found] == []
            assert page.get_by_role("table").count() >= 4
            page.get_by_role("link", name="Learners").click()
            assert page.get_by_role("heading", name="Learners", exact=True).is_visible()
        browser.close()
