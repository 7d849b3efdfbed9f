"""The pages for authors and instructors in a real Chromium, served as the studio serves them."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from access import AXE, CHROMIUM, FAULTS

from grader.classroom.run_batch import BatchOptions, run_batch
from grader.cli.studio_command import services_of
from grader.content import Catalogue
from grader.studio.class_folder import ClassFolder
from grader.studio.gatekeeper import Gatekeeper
from grader.studio.instructor_pages import instructor_routes
from grader.studio.open_attempts import OpenAttempts
from grader.studio.studio_app import studio_app
from grader.studio.studio_server import bind, serving
from tests.classroom.conftest import CHALLENGE, Workers

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
NAME = CHALLENGE.id
PAGES = {
    "authors": "/authors",
    "matrix": f"/authors/{NAME}",
    "case": f"/authors/{NAME}/case",
    "class": "/class",
    "files": "/class/files?left=the+starter&right=ann",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a studio with a class in it, and the key."""
    place = tmp_path_factory.mktemp("class")
    for name, text in {"ann": CHALLENGE.reference_text, "<b>ben": "x = 1\n" * 30}.items():
        (place / "in" / name).mkdir(parents=True)
        (place / "in" / name / CHALLENGE.file).write_text(text, "utf-8")
    options = BatchOptions(CHALLENGE, place / "in", place / "out")
    run_batch(options, pool_opener=Workers().open)
    catalogue = Catalogue()
    more, places = instructor_routes(catalogue, True, ClassFolder(place / "out", catalogue))
    attempts = OpenAttempts(services_of(catalogue))
    listening = bind(0)
    host = f"127.0.0.1:{listening.getsockname()[1]}"
    door = Gatekeeper(studio_app(attempts, more, places), [host], "studio")
    server = uvicorn.Server(serving(door))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://{host}", door.key
    server.should_exit = True
    thread.join()
    attempts.close()


@pytest.fixture
def opened(browser: Any, served: tuple[str, str]) -> Iterator[Callable[..., Any]]:
    """Open a page; nothing may go wrong in it, and nothing else may be asked for."""
    address, key = served
    contexts, troubles, asked = [], [], []

    def open_page(path: str, scheme: str = "light", width: int = 1280) -> Any:
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}/?key={key}")
        page.goto(address + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []
    assert [url for url in asked if not url.startswith((address, "data:"))] == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
@pytest.mark.parametrize("name", PAGES)
def test_pages_can_be_read_by_everybody(
    opened: Callable[..., Any], name: str, scheme: str, width: int
) -> None:
    page = opened(PAGES[name], scheme, width)
    if name == "case":
        page.wait_for_selector("#faults p")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(FAULTS) == []
    if AXE.exists():
        page.evaluate(AXE.read_text("utf-8"))
        assert page.evaluate("axe.run().then(r => r.violations.map(v => v.id))") == []


def test_a_filter_works_while_one_types(opened: Callable[..., Any]) -> None:
    page = opened(PAGES["matrix"])
    rows = page.locator(".kills tbody tr")
    before = rows.count()
    page.get_by_label("Bug", exact=True).type("scale")
    page.locator("#part > p", has_text=re.compile("^3 of 34 bugs")).wait_for()
    assert rows.count() == 3 < before
    assert page.get_by_label("Bug", exact=True).input_value() == "scale"
    assert page.locator(".kills tbody th").all_inner_texts()[0] == "seed-scale-missing-sqrt"
    page.get_by_label("Bug", exact=True).fill("")
    page.get_by_label("Only what no other case").check()
    page.locator(".kills .only").first.wait_for()
    assert 0 < rows.count() < before


def test_a_case_is_told_its_faults_while_it_is_typed(opened: Callable[..., Any]) -> None:
    page = opened(PAGES["case"])
    page.wait_for_selector("#faults .failed")
    page.get_by_role("button", name="Add reset").or_(
        page.get_by_role("button", name="Add describe")
    ).first.click()
    text = page.get_by_label("The case").input_value()
    assert '{"do":"describe"}' in text
    page.get_by_label("The case").fill('{"id": "')
    page.locator("#faults", has_text="broken JSON").wait_for()


def test_two_files_are_compared_line_by_line(opened: Callable[..., Any]) -> None:
    page = opened(PAGES["files"])
    page.wait_for_selector("#merged .cm-mergeView")
    assert page.locator("#merged .cm-changedLine").count() > 4
    assert page.locator("#merged .cm-collapsedLines").count() > 0
    phone = opened(PAGES["files"], width=390)
    phone.wait_for_selector("#merged .cm-deletedChunk")


def test_learners_are_chosen_from_the_class(opened: Callable[..., Any]) -> None:
    page = opened(PAGES["class"])
    page.get_by_role("radio", name="<b>ben on the left").check()
    page.get_by_role("radio", name="the starter on the right").check()
    page.get_by_role("button", name="Show the two files").click()
    assert (
        page.get_by_role("heading", level=1).inner_text() == "Side by side: <b>ben and the starter"
    )


def test_it_works_without_a_script(browser: Any, served: tuple[str, str], tmp_path: Path) -> None:
    address, key = served
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/?key={key}")
    page.goto(address + PAGES["matrix"])
    page.get_by_label("Family").select_option("scaling")
    page.get_by_role("button", name="Filter").click()
    assert "family=scaling" in page.url
    assert 0 < page.locator(".kills tbody tr").count() < 10
    page.goto(address + PAGES["files"])
    assert page.locator("#both pre").count() == 2
    context.close()
